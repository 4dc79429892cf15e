"""A study and what it may set: sources of data, pretraining, fine-tuning, retrieval. Imports nothing heavy."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from microworld.settings import MicroSettings
from xstilts.errors import UserError, nearest
from xstilts.io import ROOT, write_text
from xstilts.names import MLM, MULTI, SHUFFLED, TASK_NAME, IntermediateRun, parse_run
from xstilts.tasks import SPLITS, TASKS, Task, get

DATA = "XSTILTS_DATA"  # environment variable: the folder of the files source
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
STUDY_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"


class Section(BaseModel):
    """A section of a study's file: keys that are not declared and values of another type are refused."""

    # defaults, too: 0 of a float is 0.0, as it is where it was read from a file, so that fingerprints are the same
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*")
    @classmethod
    def _can_be_written(cls, value: Any, info: ValidationInfo) -> Any:
        """No text that cannot be written to a file or, but for titles, is too long to name one."""
        if isinstance(value, str):
            if control := CONTROL.search(value):
                raise ValueError(f"holds the control character {control[0]!r}; leave it out")
            parts = [len(part.encode()) for part in value.split("/")]
            # bytes that file systems take
            if info.field_name != "title" and (len(value.encode()) > 4000 or max(parts) > 255):
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
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the training, and on a GPU of scoring")
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
        whole = sizes[0] if len(sizes) == 1 else sum(min(size, mix.cap) for size in sizes)
        share = 1 - mix.mlm_share if mlm else 1
        epochs = math.ceil(self.epochs * whole / (self.batch_size * self.accumulate) / share)
        return max(self.steps or epochs, self.min_steps)


class FurtherSettings(Section):
    """Further trainings of phase 3 beside the study's own: each of ``targets`` from the encoder of each of ``runs``,
    in each training language, with each number of examples. Its name is that of a bundle."""

    runs: tuple[str, ...] = Field(("none",), min_length=1, description="intermediate runs of the study")
    targets: tuple[str, ...] = Field(min_length=1)
    # source; each: every other language alone; all; mt; a code; untrained: of retrieval, the encoder
    training_languages: tuple[str, ...] = Field(min_length=1, description="source, each, all, mt, untrained or codes")
    examples: tuple[Annotated[int, Field(ge=0, lt=10**9)], ...] = Field((0,), min_length=1, description="0 = all")
    scored_in: Literal["own", "all"] = Field("all", description="own: models of other languages in their own alone")
    min_steps: int = Field(0, ge=0, description="at least so many optimizer steps, however few the examples")
    bundle: Literal["all", "each"] = Field("all", description="each: every target in a job of its own")


SLICE = re.compile(r"(train|dev|test|mt|pool)(?:\[(?:(\d{1,3})%)?:(?:(\d{1,3})%)?\])?")


def _rows(value: str) -> tuple[str, int, int]:
    """(split, from per cent, to per cent) of such as ``dev[:80%]``; a split "" where it is none."""
    match = SLICE.fullmatch(value)
    return (match[1], int(match[2] or 0), int(match[3] or 100)) if match else ("", 0, 0)


class Limits(Section):
    """At most so many leading examples of a split, in every language; 0 = all. Retrieval sets are never
    cut: what is found depends on how much there is to find it in."""

    train: int = Field(0, ge=0)
    dev: int = Field(0, ge=0)
    test: int = Field(0, ge=0)


class FilesSettings(Section):
    """The files source: original distributions below one folder."""

    # folder of the files, relative to the project
    root: str = Field(default_factory=lambda: os.environ.get(DATA, ""), description="default: what XSTILTS_DATA names")
    limits: Limits = Limits()
    # for sets whose training or development file is not at hand
    splits: dict[str, dict[str, str]] = Field({}, description="task -> split -> its rows, such as dev[:80%]")
    documents_per_language: int = Field(5000, ge=0, description="documents of the text for masked LM; 0 = all")

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
                file, start, stop = _rows(value)
                if file not in declared or not start < stop <= 100:
                    choice = f"one of {', '.join(declared)}, whole or in part, such as dev[:80%] or dev[80%:]"
                    raise ValueError(f'{name}.{split}: "{value}" names no rows; expected {choice}')
            ranges = [(split, _rows(parts.get(split, split))) for split in sorted({*declared, *parts} & {*SPLITS})]
            for (first, rows), (second, others) in combinations(ranges, 2):
                if rows[0] == others[0] and rows[1] < others[2] and others[1] < rows[2]:
                    raise ValueError(f"{name}: {first} and {second} would share rows of the {rows[0]} file")
        return splits

    def rows_of(self, name: str, split: str) -> tuple[str, int, int]:
        """(split of the files, from per cent, to per cent) that ``split`` of a task is read from."""
        return _rows(self.splits.get(name, {}).get(split, split))

    def trained_from(self) -> dict[str, str]:
        """Task -> split of the files that its training rows come from, where the study changes that."""
        return {name: self.rows_of(name, "train")[0] for name in self.splits}

    def parted(self) -> list[str]:
        """Pairs and choices in several languages that are trained on some rows of a file and scored on others, the same
        ones in each: files whose rows are no translations of each other, one by one, are refused as they are read."""
        translated = [name for name in self.splits if len(get(name).languages) > 1]
        names = [name for name in translated if get(name).kind in ("classification", "choice")]
        scored = {name: [self.rows_of(name, split)[0] for split in ("dev", "test")] for name in names}
        return [name for name in names if self.rows_of(name, "train")[0] in scored[name]]


class HubSettings(Section):
    """The hub source: pinned repositories of the Hugging Face hub, and folders for what it does not hold."""

    mirror: str = Field("", description="folder with the repositories (google/xtreme/…); the network is not used")
    limits: Limits = Limits()
    ccgbank: str = Field("", description="folder of LDC2005T13 (data/AUTO) or of train.tsv and dev.tsv: word, supertag")
    bucc: str = Field("", description="folder of de-en.dev.de, de-en.dev.en, de-en.dev.gold, de-en.test.de, …")
    translations: str = Field("", description="folder of xtreme_translations/, … for runs named task@mt")
    documents_per_language: int = Field(5000, ge=1, description="leading Wikipedia articles, the text for masked LM")


NEEDS_NO_COLUMNS = {"tagging": "a word, a tab and its tag a line", "span": "SQuAD's JSON"}


class OwnTask(Section):
    """Files, relative to the project, and what their columns are called.

    Classification and choice: ``.csv``, ``.tsv`` or ``.txt`` (raw, no quotes; columns are named, or numbered from "1"
    where the first line is no header) or ``.jsonl``; tagging: a word, a tab and its tag a line, the columns of
    CoNLL-2003 or UNER, or ``.conllu``; span: SQuAD's JSON.
    """

    kind: Literal["classification", "choice", "tagging", "span"]
    title: str = Field("", description="in figures and sentences; empty: its name")
    train: str = Field(min_length=1, description="in the source language")
    dev: str = Field("", description="in the source language; empty: every fifth row of train is kept for it")
    test: dict[str, str] | str = Field({}, description="language -> file, or a path with {language}; none: dev")
    id: str = Field("", description="column; empty: rows are numbered. Equal ids are translations of each other")
    label: str = Field(
        "label", description="column; of a choice: the right column's name, its number from 0, or its letter"
    )
    text_a: str = Field("text", description="column of a classification's text")
    text_b: str = Field("", description="column of the second one; empty: it has one")
    context: str = Field("", description="column of what a choice follows; empty: none")
    question: str = Field("", description="column; empty: none")
    choices: tuple[str, ...] = Field((), description="columns, or one that holds lists")
    labels: tuple[str, ...] = Field((), description="in the order of the head; empty: those of train, sorted")

    @model_validator(mode="after")
    def _columns_of_the_kind(self) -> "OwnTask":
        stated = self.model_fields_set & {"id", "label", "text_a", "text_b", "context", "question", "choices"}
        stated = {name for name in stated if getattr(self, name) != type(self).model_fields[name].default}
        if self.kind in NEEDS_NO_COLUMNS and stated:
            raise ValueError(f"{min(stated)}: a {self.kind} task has no columns to name: {NEEDS_NO_COLUMNS[self.kind]}")
        if self.kind == "choice" and not 0 < len(set(self.choices)) == len(self.choices):
            raise ValueError("choices: name the columns to choose from, two or more, or one that holds lists")
        if self.kind == "choice" and not (self.context or self.question):
            raise ValueError("context, question: name the column that the choices follow, one or both")
        if isinstance(self.test, str) and self.test and "{language}" not in self.test:
            raise ValueError(f'test: "{self.test}": write {{language}} where its code stands, or language: file pairs')
        return self


class EncoderSettings(Section):
    """Phase 1: a checkpoint (folder, hub id or packaged/…) or, without one, the study's own pretraining."""

    checkpoint: str = ""
    revision: str = ""
    layers: int = Field(0, ge=0, description="of the checkpoint, its first so many; 0 = all")
    shuffled: bool = Field(False, description="a control: the checkpoint, each token with the embedding of another")
    pretrain: PretrainSettings = PretrainSettings()


class LengthSettings(Section):
    """Longest inputs in tokens: pairs and choices are cut, taggings split, passages windowed, each window ``stride``
    tokens after the one before. What a study does not state is no longer than the encoder that it pretrains takes."""

    classification: int = Field(256, ge=8)
    choice: int = Field(256, ge=8)
    tagging: int = Field(256, ge=8)
    span: int = Field(384, ge=8)
    stride: int = Field(128, ge=1)
    retrieval: int = Field(512, ge=8)
    mlm: int = Field(256, ge=8)


class AdapterSettings(Section):
    """LoRA in phases 2 and 3: the encoder is frozen and each of its matrices learns an update, ``alpha / rank`` times
    the product of two matrices of ``rank``, which is added to it before it is saved. Large encoders want a learning
    rate some ten times that of full tuning."""

    rank: int = Field(ge=1)
    alpha: int = Field(0, ge=0, description="0 = twice the rank")
    dropout: float = Field(0, ge=0, lt=1, description="of what an update is computed from")
    matrices: tuple[str, ...] = Field((), description="names' last parts, such as query; empty: every linear layer")


class TrainingSettings(Section):
    """``overrides`` changes single fields of a phase for an intermediate run or a training set, by name:
    ``mnli`` in all phases, ``intermediate/mnli``, ``target/mnli`` or ``retrieval/squad1`` in one, ``+mlm`` for all
    runs with masked LM; those of ``mnli`` hold for ``mnli@de``, ``mnli=500`` and ``mnli+shuffled``, too. The more
    particular wins; ``steps`` and ``epochs`` replace each other."""

    intermediate: PhaseSettings = PhaseSettings(epochs=3)
    target: PhaseSettings = PhaseSettings(epochs=3)
    retrieval: PhaseSettings = PhaseSettings(  # of dual encoders, in phase 3; XTREME-R's train_lareqa.sh
        epochs=3, batch_size=4, accumulate=4, learning_rate=2e-5, warmup=0, weight_decay=0
    )
    overrides: dict[str, dict[str, Any]] = Field({})
    adapter: AdapterSettings | None = Field(None, description="null: every weight is trained")
    mix: MixSettings = MixSettings()
    max_length: LengthSettings = LengthSettings()
    # how a training is done, not what it is: neither makes a result stale
    save_minutes: float = Field(15, ge=0, description="between checkpoints that a killed training goes on from")
    tensorboard: bool = Field(False, description="write the curves of every training that is yet to be done")
    # equal to one within rounding, not to the bit: another number is another result
    processes: int = Field(1, ge=1, description="GPUs, or processes without, that share a batch; dual encoders take 1")


class RetrievalSettings(Section):
    """``layer`` indexes the hidden states (0 = embeddings, -1 = last) and gives the scores; ``layers`` are
    scored beside it in the same pass, for the curve. ``special_tokens``: whether "mean" pools <s> and </s> too
    (the authors do); ``centre`` subtracts each language's mean."""

    layer: int = -1
    layers: tuple[int, ...] | Literal["all"] = ()
    pooling: Literal["mean", "cls"] = "mean"
    special_tokens: bool = True
    centre: bool = False

    def indices(self, depth: int) -> list[int]:
        """Hidden states to pool of an encoder of ``depth`` layers, from 0, ``layer`` first, each once.
        UserError for one that it lacks."""
        further = range(depth + 1) if self.layers == "all" else self.layers
        layers = [("layer", self.layer), *(("layers", layer) for layer in further)]
        for key, layer in layers:
            if not -depth - 1 <= layer <= depth:
                choice = f"0 (embeddings) to {depth}, or -1 for the last"
                raise UserError(f"retrieval.{key}: {layer}, and the encoder has {depth} layers: {choice}")
        return list(dict.fromkeys(layer % (depth + 1) for _, layer in layers))


class Study(Section):
    """A validated study. ``seeds`` is how many; they are numbered 1, 2, …"""

    name: str = Field(pattern=f"^{STUDY_NAME}$")
    title: str = ""
    source: Literal["micro", "files", "hub"] = "micro"
    source_language: str = "qaa"
    languages: tuple[str, ...] = ()  # () = every language that the source has
    intermediate: tuple[str, ...]
    targets: tuple[str, ...]
    own: dict[Annotated[str, Field(pattern=TASK_NAME)], OwnTask] = Field({}, description="the user's tasks, by name")
    training_sets: dict[str, str] = Field({}, description="target -> task that trains it, where not the target's own")
    bundle: Literal["all", "each"] = "all"
    # bundle -> what it trains beside the study's own targets
    further: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")], FurtherSettings] = {}
    question: Literal["transfer", "distance", "source-language", "domain-shift", "retrieval"] = "transfer"
    # the study it is based on, where it keeps its runs beside that one's: none is done twice
    shares: str = Field("", pattern=f"^({STUDY_NAME})?$")
    seeds: int = Field(1, gt=0, le=1000)
    encoder: EncoderSettings = EncoderSettings()
    training: TrainingSettings = TrainingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    micro: MicroSettings = MicroSettings()
    files: FilesSettings = Field(default_factory=FilesSettings)  # whose root is that of the environment
    hub: HubSettings = HubSettings()
    published: str = ""  # a table of numbers to compare with, see published.py; relative to the project
    # checkpoints that stay once their targets are scored: all; encoders, those of phases 1 and 2, without the
    # targets' fine-tuned models; pretrained, the encoders of phase 1 alone
    keep: Literal["all", "encoders", "pretrained"] = "encoders"
    controls: tuple[str, ...] = ()  # studies with another encoder, shown beside this one once they have run
    runs: str = Field("runs", min_length=1)  # folder for everything a run makes; relative to the project
    figures: str = Field("figures", min_length=1)
    _path: Path = PrivateAttr(default=Path())  # the file it was read from
    _own_tasks: dict[str, Task] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """``runs/<study>``: its runs, or the folder of the study that it shares them with."""
        return ROOT / self.runs / (self.shares or self.name)

    @property
    def own_folder(self) -> Path:
        """``runs/<study>``: its final notebook, also where its runs are shared."""
        return ROOT / self.runs / self.name

    @property
    def figures_folder(self) -> Path:
        return ROOT / self.figures / self.name

    @property
    def path(self) -> str:
        """The parameter file the study was read from; relative to the project where it lies in it."""
        return str(self._path.relative_to(ROOT) if self._path.is_relative_to(ROOT) else self._path)

    @property
    def given(self) -> str:
        """As ``make study STUDY=…`` takes it: its name in params/, else the path of its file."""
        path = Path(self.path)
        return path.stem if path.parent == Path("params") else self.path

    def resolve(self) -> Path:
        """Write the study, every default filled in, beside its runs: what all of its jobs read, so
        that editing ``params/`` while a study runs changes nothing half-way."""
        path = self.own_folder / "study.yaml"
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False))  # also YAML 1.2
        return path

    @property
    def all_targets(self) -> tuple[str, ...]:
        """The targets, and those that further trainings alone have."""
        further = [name for bundle in self.further.values() for name in bundle.targets]
        return tuple(dict.fromkeys([*self.targets, *further]))

    @property
    def seed_numbers(self) -> range:
        return range(1, self.seeds + 1)

    @property
    def tasks(self) -> dict[str, Task]:
        """Every task by name, those of the user's own among them."""
        return TASKS | self._own_tasks

    def task(self, name: str) -> Task:
        """The task of that name. UserError with the nearest name for an unknown one."""
        tasks = self.tasks
        if name not in tasks:
            raise UserError(f'unknown task "{name}"{nearest(name, tasks)}')
        return tasks[name]

    def training_task(self, target: Task) -> Task:
        """The task whose training split trains ``target`` in this study."""
        return self.task(self.training_sets.get(target.name, target.training_set))

    @property
    def absent(self) -> tuple[str, ...]:
        """Intermediate tasks whose licensed data the study has not been given: ``multi`` goes on without them."""
        return ("ccg",) if self.source == "hub" and not self.hub.ccgbank else ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Intermediate runs that name an absent task: never run, and missing in the tables."""
        return tuple(name for name in self.intermediate if set(self.intermediate_run(name).tasks) & set(self.absent))

    @property
    def absence(self) -> str:
        """One line on what is left out for want of data; "" where nothing is."""
        parts = [f"{name} is left out" for name in self.left_out]
        cut = [name for name in self.intermediate if self.absent and name.startswith(MULTI)]
        parts += [f"{name} is trained without {', '.join(self.absent)}" for name in cut]
        return f"{'; '.join(parts)}: no CCGbank (LDC2005T13), whose folder hub.ccgbank names" if parts else ""

    def intermediate_run(self, name: str) -> IntermediateRun:
        """The intermediate run of that name; ``multi`` holds every intermediate task but the absent ones, in a study of
        files, which are rarely all there, those that it also trains on one by one."""
        run = parse_run(name, self.tasks)
        if not name.startswith(MULTI):
            return run
        single = tuple(task for task in self.intermediate if task in self.tasks) if self.source == "files" else ()
        return replace(run, tasks=single or tuple(task for task in run.tasks if task not in self.absent))

    def phase(self, phase: Literal["intermediate", "target", "retrieval"], name: str) -> PhaseSettings:
        """Settings of a phase for one run or training set, overrides applied."""
        run = IntermediateRun(name, (name,)) if name in self.tasks else parse_run(name, self.tasks)
        values = getattr(self.training, phase).model_dump()
        base = re.split("[@=]", name.replace(SHUFFLED, ""))[0]
        for key in ([MLM] if run.mlm else []) + [base, f"{phase}/{base}", name, f"{phase}/{name}"]:
            fields = self.training.overrides.get(key, {})
            replaced = {"steps": 0, "epochs": 0} if {"steps", "epochs"} & fields.keys() else {}
            values |= replaced | fields
        values["examples"] = run.examples or values["examples"]
        if run.shuffled:  # nothing is learned that a development set could show: the last weights are taken
            values |= {"evaluate_every": 0, "evaluate_examples": 0, "patience": 0}
        return PhaseSettings.model_validate(values)

    def bundles(self) -> dict[str, tuple[str, ...]]:
        """Bundle name -> the targets one execution of ``3-targets.ipynb`` does; see ``further`` for the others."""
        return {"all": self.targets} if self.bundle == "all" else {target: (target,) for target in self.targets}

    def bundles_of(self, run: str) -> list[str]:
        """Every bundle that starts from an intermediate run, the further ones last."""
        started = [name for name, further in self.further.items() if run in further.runs]
        return [*self.bundles(), *(part for name in started for part in self.parts(name))]

    def parts(self, name: str) -> list[str]:
        """The bundles that a further one is split into: itself, or ``direct-xnli``, … where its targets go singly."""
        further = self.further.get(name)
        return [f"{name}-{target}" for target in further.targets] if further and further.bundle == "each" else [name]
