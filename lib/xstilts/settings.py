"""What a study may set about its parts: the generated world, the sources of data, pretraining and fine-tuning."""

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from xstilts.errors import UserError, nearest
from xstilts.tasks import SPLITS, get

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes that file systems take


class Section(BaseModel):
    """A section of a study's file: keys that are not declared and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_written(cls, value: Any, info: ValidationInfo) -> Any:
        """No text that cannot be written to a file or, but for titles, is too long to name one."""
        if isinstance(value, str):
            if control := CONTROL.search(value):
                raise ValueError(f"holds the control character {control[0]!r}; leave it out")
            parts = [len(part.encode()) for part in value.split("/")]
            if info.field_name != "title" and (len(value.encode()) > LONGEST_PATH or max(parts) > LONGEST_NAME):
                raise ValueError(f"{len(value)} characters, too long for a name or a path; shorten it")
        return value


class PretrainSettings(Section):
    """A small XLM-R pretrained from scratch. The budget is in steps: alignment comes after an early
    plateau, and a budget in seconds would make results depend on the machine."""

    tokenizer: Literal["word", "unigram"] = Field("word", description="word: micro-world; unigram: real text")
    vocab_size: int = Field(8000, ge=300, description="unigram only; the word tokenizer takes every word it sees")
    steps: int = Field(6000, ge=0, description="0 gives the untrained control encoder")
    batch_tokens: int = Field(1024, ge=16)
    learning_rate: float = Field(5e-3, gt=0, description="1e-2 collapses")
    warmup_steps: int = Field(100, ge=0)
    mask_share: float = Field(0.3, gt=0, lt=1)
    layers: int = Field(3, ge=1)
    width: int = Field(64, ge=4)
    heads: int = Field(4, ge=1)
    feed_forward: int = Field(256, ge=4)
    positions: int = Field(160, ge=8, description="longest input, special tokens included")
    initializer_range: float = Field(0.05, gt=0)
    log_every: int = Field(500, ge=1)


class MixSettings(Section):
    """Several tasks in phase 2: examples-proportional up to ``cap``, flattened by ``temperature``;
    ``mlm_share`` of the steps of a ``+mlm`` run are masked-LM steps."""

    cap: int = Field(2**17, gt=0)
    temperature: float = Field(1.0, gt=0)
    mlm_share: float = Field(0.2, gt=0, lt=1)
    mlm_documents: int = Field(20_000, gt=0)
    mlm_probability: float = Field(0.15, gt=0, lt=1)


class PhaseSettings(Section):
    """Fine-tuning in phase 2 or 3 by AdamW: linear warm-up, then linear decay to zero.

    One of ``steps`` and ``epochs`` sets the length. A step is ``accumulate`` batches of ``batch_size``.
    With ``evaluate_every`` the checkpoint is the best, every so many steps, on the development set of the
    *source* language (its first ``evaluate_examples``), and ``patience`` evaluations without a better one
    end the training; 0 takes the last checkpoint. A target language has no part in this.
    """

    steps: int = Field(0, ge=0)
    epochs: float = Field(0, ge=0)
    batch_size: int = Field(32, gt=0)
    accumulate: int = Field(1, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps")
    weight_decay: float = Field(0.01, ge=0, description="none on biases and layer norms")
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0, description="0 = gradients are not clipped")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the training; scoring is always fp32")
    examples: int = Field(0, ge=0, description="at most so many training examples; 0 = all")
    freeze_embeddings: bool = False
    evaluate_every: int = Field(0, ge=0, description="steps")
    evaluate_examples: int = Field(0, ge=0, description="0 = all")
    patience: int = Field(0, ge=0, description="evaluations; 0 = no early end")

    min_steps: int = Field(0, ge=0, description="at least so many, however small the training set")

    def total_steps(self, sizes: Sequence[int], mix: MixSettings, mlm: bool = False) -> int:
        """Optimizer steps on training sets of so many features (examples, windows, sentence pieces).

        An epoch is one pass over the set; over several, as many features as they have together, each
        counted up to ``mix.cap``. Masked-LM steps come on top: a run sees as much of its task with
        ``+mlm`` as without.
        """
        if self.steps:
            return max(self.steps, self.min_steps)
        whole = sizes[0] if len(sizes) == 1 else sum(min(size, mix.cap) for size in sizes)
        share = 1 - mix.mlm_share if mlm else 1
        steps = math.ceil(self.epochs * whole / (self.batch_size * self.accumulate) / share)
        return max(steps, self.min_steps)


class FurtherSettings(Section):
    """Further trainings of phase 3 beside the study's own: each of ``targets`` from the encoder of each of ``runs``,
    in each training language, with each number of examples. Its name is that of a bundle."""

    runs: tuple[str, ...] = Field(("none",), min_length=1, description="intermediate runs of the study")
    targets: tuple[str, ...] = Field(min_length=1)
    training_languages: tuple[str, ...] = Field(
        min_length=1,
        description="source; each: every other language alone; all; mt; a code; untrained: of retrieval, the encoder",
    )
    examples: tuple[Annotated[int, Field(ge=0, lt=10**9)], ...] = Field(
        (0,), min_length=1, description="0 = the whole set"
    )
    scored_in: Literal["own", "all"] = Field(
        "all", description="own: a model trained in another language is scored in that language alone"
    )
    min_steps: int = Field(0, ge=0, description="at least so many optimizer steps, however few the examples")
    bundle: Literal["all", "each"] = Field("all", description="each: every target in a job of its own")


SLICE = re.compile(r"(train|dev|test|mt|pool)(?:\[(?:(\d{1,3})%)?:(?:(\d{1,3})%)?\])?")


class Limits(Section):
    """At most so many leading examples of a split, in every language; 0 = all. Retrieval sets are never
    cut: what is found depends on how much there is to find it in."""

    train: int = Field(0, ge=0)
    dev: int = Field(0, ge=0)
    test: int = Field(0, ge=0)


class FilesSettings(Section):
    """The files source: original distributions below one folder."""

    root: str = Field(
        "",
        description="folder of the files, relative to the project; empty: XSTILTS_DATA in the environment names it",
    )
    limits: Limits = Limits()
    splits: dict[str, dict[str, str]] = Field(
        {},
        description="task -> split -> where its rows come from instead, such as dev[:80%]: for sets whose "
        "training or development file is not at hand",
    )
    documents_per_language: int = Field(
        5000, ge=0, description="documents of the text for masked LM, per language; 0 = all there are"
    )

    @field_validator("splits")
    @classmethod
    def _known_and_disjoint(cls, splits: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, parts in splits.items():
            try:
                declared = get(name).files
            except UserError as error:
                raise ValueError(str(error)) from None
            for split, value in parts.items():
                if split not in SPLITS:
                    raise ValueError(f'{name}.{split}: unknown split "{split}"{nearest(split, SPLITS)}')
                match = SLICE.fullmatch(value)
                if not match or match[1] not in declared or not 0 <= _percent(match, 2) < _percent(match, 3) <= 100:
                    raise ValueError(
                        f'{name}.{split}: "{value}" names no rows; expected one of {", ".join(declared)}, '
                        "whole or in part, such as dev[:80%] or dev[80%:]"
                    )
            ranges = {split: _range(parts.get(split, split)) for split in SPLITS if split in declared or split in parts}
            for (first, rows), (second, others) in combinations(sorted(ranges.items()), 2):
                if rows[0] == others[0] and rows[1] < others[2] and others[1] < rows[2]:
                    raise ValueError(f"{name}: {first} and {second} would share rows of the {rows[0]} file")
        return splits

    def rows_of(self, name: str, split: str) -> tuple[str, int, int]:
        """(split of the files, from per cent, to per cent) that ``split`` of a task is read from."""
        return _range(self.splits.get(name, {}).get(split, split))

    def trained_from(self) -> dict[str, tuple[str, ...]]:
        """Task -> splits of the files that its training rows come from, where the study changes that."""
        return {name: (self.rows_of(name, "train")[0],) for name in self.splits}


def _percent(match: re.Match, group: int) -> int:
    return int(match[group]) if match[group] else {2: 0, 3: 100}[group]


def _range(value: str) -> tuple[str, int, int]:
    match = SLICE.fullmatch(value)
    assert match, value  # validated
    return match[1], _percent(match, 2), _percent(match, 3)


class HubSettings(Section):
    """The hub source: pinned repositories of the Hugging Face hub, and folders for what it does not hold."""

    mirror: str = Field(
        "", description="folder with the repositories as on the hub (google/xtreme/…); the network is then not used"
    )
    limits: Limits = Limits()
    ccgbank: str = Field("", description="folder of LDC2005T13 (data/AUTO) or of train.tsv and dev.tsv: word, supertag")
    bucc: str = Field("", description="folder of de-en.dev.de, de-en.dev.en, de-en.dev.gold, de-en.test.de, …")
    translations: str = Field(
        "", description="folder of machine-translated training sets (xtreme_translations/, …), for runs named task@mt"
    )
    documents_per_language: int = Field(
        5000, ge=1, description="leading Wikipedia articles of each language, as the text for masked LM"
    )


NEEDS_NO_COLUMNS = {"tagging": "a word, a tab and its tag a line", "span": "SQuAD's JSON"}


class OwnTask(Section):
    """Files, relative to the project, and what their columns are called.

    Classification and choice: ``.csv``, ``.tsv`` (raw, no quotes) or ``.jsonl``; tagging: a word, a tab and its tag a
    line, or ``.conllu``; span: SQuAD's JSON.
    """

    kind: Literal["classification", "choice", "tagging", "span"]
    title: str = Field("", description="in figures and sentences; empty: its name")
    train: str = Field(min_length=1, description="in the source language")
    dev: str = Field("", description="in the source language; empty: every fifth row of train is kept for it")
    test: dict[str, str] | str = Field(
        {}, description="language -> file, or one path with {language} in it; none: dev is what is scored"
    )
    id: str = Field("", description="column; empty: rows are numbered. Equal ids are translations of each other")
    label: str = Field("label", description="column; of a choice: the right column's name, or its number from 0")
    text_a: str = Field("text", description="column of a classification's text")
    text_b: str = Field("", description="column of the second one; empty: it has one")
    context: str = Field("", description="column of what a choice follows; empty: none")
    question: str = Field("", description="column; empty: none")
    choices: tuple[str, ...] = Field((), description="columns")
    labels: tuple[str, ...] = Field((), description="in the order of the head; empty: those of train, sorted")

    @model_validator(mode="after")
    def _columns_of_the_kind(self) -> "OwnTask":
        stated = self.model_fields_set & {"id", "label", "text_a", "text_b", "context", "question", "choices"}
        stated = {name for name in stated if getattr(self, name) != type(self).model_fields[name].default}
        if self.kind in NEEDS_NO_COLUMNS and stated:
            raise ValueError(f"{min(stated)}: a {self.kind} task has no columns to name: {NEEDS_NO_COLUMNS[self.kind]}")
        if self.kind == "choice" and len(set(self.choices)) < 2:
            raise ValueError("choices: name the columns to choose from, two or more")
        if self.kind == "choice" and not (self.context or self.question):
            raise ValueError("context, question: name the column that the choices follow, one or both")
        if isinstance(self.test, str) and self.test and "{language}" not in self.test:
            raise ValueError(f'test: "{self.test}": write {{language}} where its code stands, or language: file pairs')
        return self
