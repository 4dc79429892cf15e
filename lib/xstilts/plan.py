"""What a study costs, before it runs: examples, steps, tokens, FLOPs, hours and disk of every run.

Costs follow the rules of training; nothing is trained or downloaded. Lengths in tokens are measured on samples of the
sets that are on this machine; of others they are typical ones.

A forward pass takes 2 FLOPs per token and per parameter other than embeddings, a backward pass twice as many: 6 N per
token of training (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention over a row of T tokens adds, in
training, 12 * layers * width * T per token, a third of it forward (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B). Matrices that an adapter freezes have no gradient, as their inputs have (Hu et al. 2022, arXiv:2106.09685,
section 4.2): 4 N per token, and 6 of each of the adapter's parameters. Frozen embeddings and the share of their rows
that is trained change nothing here; DeBERTa's relative positions are not counted, nor is padding, as batches are
grouped by length. Scoring is a forward pass, in the precision of training and at the same share of a GPU's peak.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import transformers
from datasets import Dataset

from xstilts import results
from xstilts.errors import UserError, nearest, refuse
from xstilts.features import encode, encode_text, label_names, token_rows
from xstilts.names import SHUFFLED, STEPS, compared
from xstilts.preflight import check_share, repeated_rows, unscored_languages
from xstilts.runs import Fingerprints, Run, list_runs, state
from xstilts.settings import AdapterSettings, EncoderSettings, PhaseSettings, Study
from xstilts.sources import Source, open_source
from xstilts.target_runs import TargetRun, evaluation_split, pool_languages, target_runs, training_sets
from xstilts.tasks import POOL, RETRIEVAL_KINDS, Task
from xstilts.training.checkpoints import locate
from xstilts.training.tokenizer import encode as encode_documents
from xstilts.training.tokenizer import new_config, train_tokenizer

TABLES = Path(__file__).with_name("tables")
GPUS = TABLES / "gpus.csv"  # peak TFLOPS, dense, by precision, each with its source
ENCODERS = TABLES / "encoders.csv"  # from config.json of the checkpoints named most often: a plan needs no network
BERT_SHAPED = ("bert", "roberta", "xlm-roberta")  # model types
BYTES = 4  # per parameter: checkpoints are written in float32
LEFT_OUT = "left out"
MACRO_TITLE = "the average"
# of one run: training examples, optimizer steps, tokens trained on and scored, FLOPs in all and of scoring, bytes that
# stay, bytes that are deleted once the run's targets are scored, and whether only a published size of a set is known
COLUMNS = "examples steps training_tokens scoring_tokens flops scoring_flops disk temporary estimated".split()


@dataclass(frozen=True)
class Amount:
    """Data that goes through the encoder: ``examples`` of a set, ``features`` made of them (windows of a passage),
    ``rows`` (each choice is one), ``tokens``, and ``squares``, the sum of squared row lengths."""

    examples: float = 0
    features: float = 0
    rows: float = 0
    tokens: float = 0
    squares: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*np.add(astuple(self), astuple(other)).tolist())

    def __mul__(self, factor: float) -> "Amount":
        return Amount(*np.multiply(astuple(self), factor).tolist())


class Encoder:
    """The sizes of an encoder, without its pooler: ``parameters``, ``body``, those other than embeddings, and
    ``trained``, those that an ``adapter`` has, or all.

    ``checkpoint_bytes``: of an encoder on disk, or with a small head of a target's model. ``training_bytes``: the most
    that a training has on disk: what it resumes from (trained weights and AdamW's two moments) and its best weights so
    far; the old files of both stay until the new ones are complete.
    """

    def __init__(self, config: transformers.PretrainedConfig, adapter: AdapterSettings | None = None):
        self.config, self.adapter = config, adapter
        by_hand = config.model_type in BERT_SHAPED and not adapter
        self.parameters, self.body, self.trained = _bert_sizes(config) if by_hand else _sizes(config, adapter)
        # 40 per vocabulary entry, roughly: XLM-R's tokenizer.json has 9 MB for 250,002
        self.checkpoint_bytes = BYTES * self.parameters + 40 * config.vocab_size
        self.training_bytes = 2 * (3 + 1) * BYTES * self.trained

    def forward(self, amount: Amount, head: str = "", labels: int = 2, masked: float = 0) -> float:
        """FLOPs of one forward pass.

        ``head``: the kind of the task whose head is computed, "text" for masked LM, "" without one. ``masked``: share
        of the tokens whose vocabulary logits the masked-LM head computes.
        """
        width = self.config.hidden_size
        flops = 2 * self.body * amount.tokens + 4 * self.config.num_hidden_layers * width * amount.squares
        if head in ("classification", "choice"):  # a dense layer and the output, at <s>
            return flops + 2 * width * (width + (labels if head == "classification" else 1)) * amount.rows
        if head == "text":
            return flops + 2 * width * (width + self.config.vocab_size) * masked * amount.tokens
        return flops + (2 * width * labels * amount.tokens if head else 0)  # per token; of a span: start and end

    def training(self, amount: Amount, head: str, labels: int = 2, masked: float = 0) -> dict[str, float]:
        """Tokens and FLOPs of training on an amount; the backward pass takes twice as many as the forward pass."""
        flops = 3 * self.forward(amount, head, labels, masked)
        if self.adapter:
            flops += 2 * (3 * self.trained - self.body) * amount.tokens
        return {"training_tokens": amount.tokens, "flops": flops}

    def scoring(self, amount: Amount, head: str = "", labels: int = 2) -> dict[str, float]:
        """Tokens and FLOPs of scoring it."""
        flops = self.forward(amount, head, labels)
        return {"scoring_tokens": amount.tokens, "flops": flops, "scoring_flops": flops}


def _bert_sizes(config: transformers.PretrainedConfig) -> tuple[int, int, int]:
    """Parameters, all but the pooler's; those of the layers; those that are trained, all. By hand: the modelling code
    of transformers takes five seconds to import, which most studies' plans need not wait for."""
    width, inner = config.hidden_size, config.intermediate_size
    layer = 4 * width * (width + 1) + 2 * width * inner + inner + width + 4 * width  # attention, feed-forward, norms
    embeddings = width * (config.vocab_size + config.max_position_embeddings + config.type_vocab_size + 2)
    body = config.num_hidden_layers * layer
    return embeddings + body, body, embeddings + body


def _sizes(config: transformers.PretrainedConfig, adapter: AdapterSettings | None = None) -> tuple[int, int, int]:
    """The same, of any encoder, with an adapter or without, counted in its weights."""
    import torch

    from xstilts.training.adapters import add_adapter

    with torch.device("meta"):  # no memory, no weights
        model = transformers.AutoModel.from_config(config)
        sizes = _parameters(model)
        if adapter:
            add_adapter(model, adapter)
    body = sum(size for name, size in sizes.items() if re.search(r"\blayers?\.", name))
    trained = sum(size for name, size in _parameters(model).items() if "lora_" in name or not adapter)
    return sum(sizes.values()), body, trained


def _parameters(model: "transformers.PreTrainedModel") -> dict[str, int]:
    weights = model.named_parameters()
    return {name: weight.numel() for name, weight in weights if not name.startswith("pooler")}


def read_config(settings: EncoderSettings, vocabulary: int, folder: Path) -> transformers.PretrainedConfig:
    """The configuration of a study's encoder: that of its checkpoint ``folder``, if it exists; else of the checkpoint
    that it names; else of the encoder that it will pretrain, with ``vocabulary`` entries.

    Raises UserError for a checkpoint whose config.json is neither here, nor known, nor on the hub.
    """
    name = str(folder) if (folder / "config.json").is_file() else settings.checkpoint
    if not name:
        return new_config(vocabulary, settings.pretrain)
    layers = {"num_hidden_layers": settings.layers} if settings.layers else {}
    known = pd.read_csv(ENCODERS, index_col="checkpoint")
    for checkpoint, sizes in known.to_dict("index").items():
        if name in (checkpoint, checkpoint.split("/")[1]):
            return transformers.AutoConfig.for_model(**{**sizes, **layers})
    try:
        return transformers.AutoConfig.from_pretrained(name, revision=settings.revision or None, **layers)
    except (OSError, ValueError) as error:
        why = f"its config.json cannot be read ({str(error).strip().splitlines()[0]})"
        choice = f"name a folder that holds one, or one that is known without a network: {', '.join(known.index)}"
        raise UserError(f'encoder.checkpoint "{name}": {why}; {choice}') from None


def peak_flops(gpu: str, precision: str) -> tuple[float, str]:
    """FLOPs per second at the peak of a GPU, as gpus.csv names it, and where the figure comes from. UserError for an
    unknown GPU, or a precision that it lacks."""
    table = pd.read_csv(GPUS, index_col="gpu")
    refuse(gpu not in table.index, f'--gpu: unknown GPU "{gpu}"{nearest(gpu, table.index)}')
    peak, available = table.loc[gpu, precision], ", ".join(table.loc[gpu].drop("source").dropna().index)
    refuse(pd.isna(peak), f"--precision: {gpu} has no {precision}; it has {available}")
    return peak * 1e12, f"{peak:g} TFLOP/s in {precision} of the {table.loc[gpu, 'source']}"


class Samples:
    """Amounts of data in a study's sets, and the sizes of its encoder.

    ``tasks`` collects the names of tasks by what their amounts rest on: "measured" on a sample, "assumed" from
    lengths.csv; "published" sizes from sizes.csv; "unknown" where nothing is known.
    """

    def __init__(self, study: Study, source: Source | None = None):
        self.study, self.source = study, source or open_source(study)
        self.fingerprints = Fingerprints(study)
        self.tasks: dict[str, set[str]] = defaultdict(set)
        # tokens per row, rows per feature, features per example of sets whose text or tokenizer is not here. Measured
        # on excerpts of the original files with a unigram tokenizer of 32,000 pieces trained on their text, rows at
        # most 256 (spans 384) long; XLM-R's, of 250,002, makes somewhat shorter rows.
        self._typical = pd.read_csv(TABLES / "lengths.csv", index_col="set")
        # examples of sets that are on no hub, and not on this machine either, each with its source there (BUCC:
        # sentences of both sides; doi:10.18653/v1/W17-2512)
        sizes = pd.read_csv(TABLES / "sizes.csv", index_col=["set", "split", "language"])["examples"]
        self._published_sizes = {
            (name, split, language): size
            for (name, split, language), size in sizes.items()
            if study.source == "hub" and language not in self.source.languages(study.task(name), split)
        }
        self._average = cache(self._average)  # type: ignore[method-assign]  # per instance
        self.labels = cache(self.labels)  # type: ignore[method-assign]
        checkpoint = Run("encoder", study.seed_numbers[0]).folder(study) / "checkpoint"
        self.tokenizer = self._tokenizer(checkpoint)
        settings, pretrain = study.encoder, study.encoder.pretrain
        vocabulary = pretrain.vocab_size if pretrain.tokenizer == "unigram" else len(self.tokenizer or ())
        if settings.checkpoint:  # may be a folder relative to the project or to the home folder
            settings = settings.model_copy(update={"checkpoint": str(locate(study))})
        self.encoder = Encoder(read_config(settings, vocabulary, checkpoint), study.training.adapter)

    def _tokenizer(self, checkpoint: Path) -> transformers.PreTrainedTokenizerBase | None:
        """The encoder's, if it is on this machine. Before the study has pretrained its own: one trained on a sample of
        the text, which splits all but rare words the same way."""
        settings = self.study.encoder
        if not (checkpoint.is_dir() or settings.checkpoint):
            return train_tokenizer(self._documents(), settings.pretrain) if self.source.text_at_hand() else None
        path, revision = (checkpoint, None) if checkpoint.is_dir() else (locate(self.study), settings.revision or None)
        try:
            return transformers.AutoTokenizer.from_pretrained(path, revision=revision, local_files_only=True)
        except (OSError, ValueError):
            return None

    def _documents(self) -> Dataset:
        return _spaced(self.source.text(1), 3000)

    def pretraining(self) -> tuple[int, Amount]:
        """Number of documents of the pretraining text, and the amount in an average step of pretraining."""
        budget, documents = self.study.encoder.pretrain.batch_tokens, len(self.source.text(1))
        sample = self._documents()
        lengths, sampled = np.unique([len(row) for row in encode_documents(sample, self.tokenizer)], return_counts=True)
        counts = sampled * documents / len(sample)
        batches = np.ceil(counts / np.maximum(budget // lengths, 1)).sum()
        epoch = Amount(documents, counts.sum(), counts.sum(), (counts * lengths).sum(), (counts * lengths**2).sum())
        return documents, epoch * (1 / batches)

    def text(self, documents: int) -> Amount:
        """``documents`` of masked-LM text as phase 2 mixes it in."""
        length = self.study.training.max_length.mlm
        if not (self.tokenizer and self.source.text_at_hand()):
            return self._assumed("text", "text", length) * documents
        sample = self._documents()
        features = encode_text(sample["text"][:], self.tokenizer, length)
        return mean_amount(features, len(sample)) * min(documents, len(self.source.text(1)))

    def training(self, name: str, task: Task, sets: list[tuple[str, str]], examples: int) -> Amount:
        """One epoch of run ``name`` on these (split, language) of a task: at most ``examples`` of all together,
        0 = all. Translated rows that nothing can be learned from are counted."""
        check_share(self.study, name, sets, examples)
        return sum((self._amount(task, split, language, examples // len(sets)) for split, language in sets), Amount())

    def development(self, task: Task, examples: int = 0) -> Amount:
        """The source language's development set of a task, at most ``examples`` of it, 0 = all."""
        return self._amount(task, "dev", self.source.source_language, examples)

    def selection(self, task: Task, phase: PhaseSettings, steps: int) -> Amount:
        """What is scored to compare checkpoints in ``steps`` steps; that ``patience`` may end them is not counted."""
        if not phase.evaluate_every:
            return Amount()  # of a task that may have no development set, such as Mewsli-X
        return self.development(task, phase.evaluate_examples) * math.ceil(steps / phase.evaluate_every)

    def evaluation(self, target_run: TargetRun) -> Amount:
        """What a target is scored on. A mining task embeds its development set as well; the source-language side of a
        retrieval set is counted with every language, also where it is the same."""
        task = target_run.task
        splits = {evaluation_split(self.source, task)} | ({"dev"} if task.kind == "mining" else set())
        sets = [(split, code) for code in target_run.languages(self.study, self.source) for split in sorted(splits)]
        if not sets:
            wanted = self.study.languages or task.languages
            sets = [key[1:] for key in self._published_sizes if key[0] == task.name and key[2] in wanted]
        if not sets:
            self.tasks["unknown"].add(task.name)
        sets += [(POOL, code) for code in pool_languages(self.study, self.source, task)]
        return sum((self._amount(task, split, language) for split, language in sets), Amount())

    def labels(self, name: str) -> int:
        """Outputs of the head of a task; where they come from the training data, those of a sample."""
        task = self.study.task(name)
        if task.labels or task.kind in ("span", "choice"):
            return len(task.labels) or 2
        sample = self._sample(task, "train", self.source.source_language)
        return len(label_names(task, sample)) if sample else 1363  # of CCG in jiant (jiant/tasks/lib/ccg.py)

    def _amount(self, task: Task, split: str, language: str, limit: int = 0) -> Amount:
        """A set, at most ``limit`` of its examples, 0 = all."""
        key = (task.name, split, language)
        if key in self._published_sizes:
            self.tasks["published"].add(task.name)
            largest = 0 if task.kind in RETRIEVAL_KINDS else getattr(self.study.hub.limits, split)
            size = min(largest or math.inf, self._published_sizes[key])
        else:
            size = self.source.size(task, split, language)
        return self._average(task.name, split, language) * min(limit or size, size)

    def _average(self, name: str, split: str, language: str) -> Amount:
        """The average example of a set."""
        task, lengths = self.study.task(name), self.study.training.max_length
        is_retrieval = task.kind in RETRIEVAL_KINDS
        longest = lengths.retrieval if is_retrieval else getattr(lengths, task.kind)
        sample = self._sample(task, split, language) if self.tokenizer else None
        if not sample:
            return self._assumed(task.name, task.kind, longest)
        self.tasks["measured"].add(task.name)
        if not is_retrieval:
            return mean_amount(encode(task, sample, self.tokenizer, lengths, label_names(task, sample)), len(sample))
        columns = [column for column in ("query", "candidate", "text") if column in sample.column_names]
        texts = [text for column in columns for text in sample[column][:]]
        return mean_amount(encode_text(texts, self.tokenizer, longest), len(sample))

    def _sample(self, task: Task, split: str, language: str) -> Dataset | None:
        if (task.name, split, language) in self._published_sizes or not self.source.at_hand(task, split, language):
            return None
        return _spaced(self.source.load(task, split, language), 300)

    def _assumed(self, name: str, kind: str, longest: int) -> Amount:
        """An example of typical length."""
        self.tasks["assumed"].add(name)
        row = self._typical.loc[name if name in self._typical.index else kind]
        tokens, rows = min(row["tokens"], longest), row["features"] * row["rows"]
        # in that measurement the mean squared length of a row is 1.1 times its squared mean
        return Amount(1, row["features"], rows, rows * tokens, rows * tokens**2 * 1.1)


def _spaced(rows: Dataset, count: int) -> Dataset:
    """At most ``count`` rows, evenly spaced."""
    return rows.select(range(0, len(rows), max(1, math.ceil(len(rows) / count))))


def mean_amount(features: list, examples: int) -> Amount:
    """The average of the ``examples`` that ``features`` were made of."""
    lengths = np.array([len(row) for feature in features for row in token_rows(feature["input_ids"])])
    return Amount(examples, len(features), len(lengths), lengths.sum(), (lengths**2).sum()) * (1 / examples)


def encoder_cost(samples: Samples, run: Run) -> Iterator[dict[str, float]]:
    """Phase 1: pretraining, where the study does it."""
    settings, encoder = samples.study.encoder.pretrain, samples.encoder
    yield {"disk": encoder.checkpoint_bytes}
    if settings.steps and not samples.study.encoder.checkpoint:
        documents, step = samples.pretraining()
        yield {"examples": documents, "steps": settings.steps}
        yield encoder.training(step * settings.steps, "text", masked=settings.mask_share)


def intermediate_cost(samples: Samples, run: Run) -> Iterator[dict[str, float]]:
    """Phase 2."""
    study, encoder, name = samples.study, samples.encoder, run.intermediate
    parsed = study.intermediate_run(name)
    phase, mix = study.phase("intermediate", name), study.training.mix
    tasks = [study.task(task) for task in parsed.tasks]
    sets = [training_sets(name, task, parsed.languages, samples.source) for task in tasks]
    epochs = [samples.training(name, *pair, phase.examples) for pair in zip(tasks, sets, strict=True)]
    steps = phase.total_steps([round(epoch.features) for epoch in epochs], mix, parsed.mlm)
    mlm_steps = int(steps * mix.mlm_share) if parsed.mlm else 0
    weights = [min(epoch.features, mix.cap) ** (1 / mix.temperature) for epoch in epochs]
    yield {"examples": sum(epoch.examples for epoch in epochs), "steps": steps}
    for task, epoch, weight in zip(tasks, epochs, weights, strict=True):
        amount = _trained(epoch, (steps - mlm_steps) * weight / sum(weights), phase)
        yield encoder.training(amount, task.kind, samples.labels(task.name))
        scored = samples.development(task) + samples.selection(task, phase, steps)
        yield encoder.scoring(scored, task.kind, samples.labels(task.name))
    if mlm_steps:
        text = samples.text(mix.mlm_documents)
        yield {"examples": text.examples}
        yield encoder.training(_trained(text, mlm_steps, phase), "text", masked=mix.mlm_probability)
    yield {"temporary" if study.keep == "pretrained" else "disk": encoder.checkpoint_bytes}
    yield {"estimated": not samples.tasks["published"].isdisjoint(parsed.tasks)}


def targets_cost(samples: Samples, run: Run) -> Iterator[dict[str, float]]:
    """Phase 3 of a bundle of targets, the same after every intermediate run but ``none+steps``."""
    study, encoder = samples.study, samples.encoder
    targets = target_runs(study, samples.source, run.bundle)
    # a set that several targets share is trained on once
    models = {target_run.model(study): target_run for target_run in targets if not target_run.untrained}
    for target_run in models.values():
        task, phase = study.training_task(target_run.task), target_run.phase(study, run.intermediate)
        epoch = samples.training(target_run.name, task, target_run.training_sets(study, samples.source), phase.examples)
        steps = phase.total_steps([round(epoch.features)], study.training.mix)
        yield {"examples": epoch.examples, "steps": steps}
        yield encoder.training(_trained(epoch, steps, phase), task.kind, samples.labels(task.name))
        yield encoder.scoring(samples.selection(task, phase, steps))
    for target_run in targets:
        task, scored = target_run.task, samples.evaluation(target_run)
        labels = 0 if target_run.retrieval else samples.labels(study.training_task(task).name)
        yield encoder.scoring(scored, "" if target_run.retrieval else task.kind, labels)
        # bytes of statistics and predictions per example: an assumption, small beside checkpoints
        yield {"disk": 40 * scored.examples}
    yield {"disk" if study.keep == "all" else "temporary": len(models) * encoder.checkpoint_bytes}
    yield {"estimated": not samples.tasks["published"].isdisjoint(target_run.target for target_run in targets)}


def _trained(epoch: Amount, steps: float, phase: PhaseSettings) -> Amount:
    """The amount in ``steps`` average steps: the last batch of an epoch may be smaller."""
    return epoch * (steps * phase.accumulate / math.ceil(round(epoch.features) / phase.batch_size))


def cost_table(samples: Samples) -> pd.DataFrame:
    """A row per run, also of those left out because their data is missing.

    Columns: run (its name), phase, intermediate, bundle, seed, state ("done", "stale", "missing" or "left out"), then
    ``COLUMNS``.
    """
    study, runs = samples.study, list_runs(samples.study)
    for seed in study.seed_numbers:
        for name in study.left_out:
            runs.append(Run("intermediate", seed, name))
            runs += [Run("targets", seed, name, bundle) for bundle in study.bundles_of(name)]
    phases, order = ["encoder", "intermediate", "targets", study.question], ["", *study.intermediate]
    runs.sort(key=lambda run: (phases.index(run.phase), run.seed, order.index(run.intermediate)))
    cost_of_phase = {"encoder": encoder_cost, "intermediate": intermediate_cost, "targets": targets_cost}
    costs: dict[tuple[str, str, bool], dict[str, float]] = {}  # by phase and what it does: seeds cost the same
    rows = []
    for run in runs:
        key = (run.phase, run.bundle or run.intermediate, run.intermediate == STEPS)
        if key not in costs:
            parts = [] if run.final else list(cost_of_phase[run.phase](samples, run))
            costs[key] = {column: sum(part.get(column, 0) for part in parts) for column in COLUMNS}
        standing = LEFT_OUT if run.intermediate in study.left_out else state(study, run, samples.fingerprints)
        rows.append({"run": run.name, **vars(run), "state": standing, **costs[key]})
    table = pd.DataFrame(rows).astype({"estimated": bool})
    return table[["run", "phase", "intermediate", "bundle", "seed", "state", *COLUMNS]]


def print_plan(study: Study, gpu: str, precision: str, utilisation: float, csv: Path | None) -> None:
    """Print what the study costs; write every run to ``csv``, if given.

    ``utilisation``: the share of the GPU's peak that training and scoring are taken to reach, an assumption, not a
    measurement (PaLM reports 0.46, arXiv:2204.02311).
    """
    transformers.logging.set_verbosity_error()  # rows longer than the encoder takes are cut or split
    share = f"--utilisation: expected a share of the peak between 0 and 1, found {utilisation:g}"
    refuse(not 0 < utilisation <= 1, share)
    peak, origin = peak_flops(gpu, precision or study.training.target.precision)
    samples = Samples(study)
    table = cost_table(samples)
    table["hours"] = table["flops"] / (utilisation * peak) / 3600
    if csv:
        try:
            table.round({"hours": 6}).to_csv(csv, index=False)
        except OSError as error:
            raise UserError(f"--csv: {csv} cannot be written: {error.strerror}") from None
    bf16 = pd.read_csv(GPUS, index_col="gpu").loc[gpu, "bf16"] * 1e12  # NaN: the GPU lacks it
    print(report(samples, table, gpu, f"{utilisation:.0%} of the {origin}", peak / bf16 if bf16 > peak else 0))


def report(samples: Samples, table: pd.DataFrame, gpu: str, rate: str, bf16: float = 0) -> str:
    """Lines of at most 100 characters, by ``site/templates/plan.txt.j2``: what one seed of each run costs, totals over
    seeds, what is done. ``table``: of :func:`cost_table`, and the column hours, of a ``gpu`` at a ``rate`` in words;
    ``bf16``: the share of them that is left in that precision, 0 where nothing is gained.

    The cost of a bundle of targets does not depend on the intermediate run before it: it has one line.
    """
    left_out, targets = table["state"] == LEFT_OUT, table["phase"] == "targets"
    runs = table[(table["phase"] != samples.study.question) & ~left_out]
    lines = table[(table["phase"] != samples.study.question) & ~(left_out & targets)]
    single = {
        phase: list(group.groupby("bundle" if phase == "targets" else "intermediate", sort=False))
        for phase, group in lines.groupby("phase", sort=False)
    }
    sums = [*runs.groupby("phase", sort=False), ("total", runs), ("left out *", table[left_out])]
    folder = Path(__file__).with_name("site") / "templates"
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": _count, "bytes": _bytes, "hours": _hours, "done": _done}
    values = {"gpu": gpu, "rate": rate, "bf16": bf16, "runs": runs, "single": single, "sums": sums}
    values["scoring"] = (runs["hours"] * runs["scoring_flops"] / runs["flops"]).sum()
    values["advice"] = [*control_lines(samples, runs), *power_lines(samples.study)]
    checks = (unscored_languages, repeated_rows)
    values["repeated"] = [line for check in checks for line in check(samples.study, samples.source)]
    return environment.get_template("plan.txt.j2").render(vars(samples) | values)


def control_lines(samples: Samples, runs: pd.DataFrame) -> list[str]:
    """What controls that the study lacks would take, a seed each."""
    study, rate = samples.study, runs["hours"].sum() / max(runs["flops"].sum(), 1)
    flops, names = {}, [name for name in compared(study.intermediate) if name not in study.left_out]
    if STEPS not in study.intermediate and bool(study.training.intermediate.steps) == bool(study.training.target.steps):
        parts = [part for name in study.bundles() for part in targets_cost(samples, Run("targets", 1, STEPS, name))]
        flops[STEPS] = sum(part.get("flops", 0) for part in parts)
    if names and not any(SHUFFLED in name for name in study.intermediate):
        single = runs[(runs["intermediate"] == names[0]) & (runs["seed"] == runs["seed"].max())]
        flops[names[0] + SHUFFLED] = single["flops"].sum()
    costs = [f"{name} ({_hours(rate * flops[name])} h a seed)" for name in flops]
    return [f"Controls that would show what is budget, not transfer: {', '.join(costs)}"] if costs else []


def power_lines(study: Study) -> list[str]:
    """How many seeds show gains of 2 and 5 points, from ``results.power``; [] where no seed variance is known."""
    table = results.power(study)
    if table.empty:
        return []
    titles = [MACRO_TITLE if target == results.MACRO else study.task(target).title for target in table["target"]]
    pairs = zip(titles, table[2], table[5], strict=True)
    needed = ", ".join(f"{title} {two:,} / {five:,}" for title, two, five in pairs)
    return [f"Seeds that show a gain of 2 / 5 points over the zero-shot languages in 80 of 100 studies: {needed}"]


def _count(number: float) -> str:
    """1,234; 12.3 k; 4.6 M."""
    return _scaled(number) if number >= 10_000 else f"{round(number):,}" if number else "–"


def _bytes(number: float) -> str:
    return f"{_scaled(number)}B" if number else "–"


def _scaled(number: float) -> str:
    units = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    scale, unit = next((pair for pair in units if number >= pair[0]), (1, ""))
    return f"{number / scale:.3g} {unit}"


def _hours(hours: float) -> str:
    return "<0.01" if 0 < hours < 0.01 else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def _done(runs: pd.DataFrame) -> str:
    return LEFT_OUT if (runs["state"] == LEFT_OUT).all() else f"{(runs['state'] == 'done').sum()}/{len(runs)}"
