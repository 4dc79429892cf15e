"""What a study costs, before it runs: examples, steps, tokens, FLOPs, hours and disk of every run.

Costs follow the rules of training (:mod:`xstilts.costs` has those of FLOPs); nothing is trained or downloaded. Lengths
in tokens are measured on samples of the sets that are on this machine; of others they are typical ones.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import transformers
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from xstilts.costs import Amount, Encoder, Rate, device_rate, read_config
from xstilts.errors import UserError
from xstilts.features import encode, encode_text, label_names
from xstilts.io import read_record
from xstilts.preflight import check_share
from xstilts.runs import Fingerprints, Run, list_runs, state
from xstilts.settings import PhaseSettings, Study
from xstilts.sources import open_source
from xstilts.sources.cache import CachedSource
from xstilts.target_runs import TargetRun, evaluation_split, pool_languages, target_runs, training_sets
from xstilts.tasks import POOL, RETRIEVAL_KINDS, Task
from xstilts.training.checkpoints import locate
from xstilts.training.pretraining import encode as encode_documents
from xstilts.training.pretraining import train_tokenizer

SAMPLE = 300  # examples of a set, evenly spaced
DOCUMENTS = 3000  # documents of the pretraining text
TABLES = Path(__file__).with_name("tables")
# tokens per row, rows per feature, features per example of sets whose text or tokenizer is not here. Measured on
# excerpts of the original files with a unigram tokenizer of 32,000 pieces trained on their text, rows at most 256
# (spans 384) long; XLM-R's, of 250,002, makes somewhat shorter rows.
LENGTHS = TABLES / "lengths.csv"
# examples of sets that are on no hub, each with its source (BUCC: sentences of both sides; doi:10.18653/v1/W17-2512)
SIZES = TABLES / "sizes.csv"
SPREAD = 1.1  # mean squared length of a row over its squared mean, in that measurement
SUPERTAGS = 1363  # labels of CCG in jiant (jiant/tasks/lib/ccg.py), where no sample shows them
EXAMPLE_BYTES = 40  # of statistics and predictions per scored example: an assumption, small beside checkpoints
LEFT_OUT = "left out"
UNITS = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k"}


class Samples:
    """Amounts of data in a study's sets, and the sizes of its encoder.

    ``measured`` and ``assumed`` collect the sets whose lengths were taken from a sample and from lengths.csv,
    ``published`` those whose sizes were taken from sizes.csv, ``unknown`` those of which nothing is known.
    """

    def __init__(self, study: Study, source: CachedSource | None = None):
        self.study, self.source = study, source or open_source(study)
        self.fingerprints = Fingerprints(study)
        self.measured: set[str] = set()
        self.assumed: set[str] = set()
        self.published: set[str] = set()
        self.unknown: set[str] = set()
        self._typical = pd.read_csv(LENGTHS, index_col="set")
        sizes = pd.read_csv(SIZES, index_col=["set", "split", "language"])["examples"]
        self._published_sizes = sizes.to_dict() if study.source == "hub" else {}
        self._average = cache(self._average)  # type: ignore[method-assign]  # per instance
        self.labels = cache(self.labels)  # type: ignore[method-assign]
        settings, checkpoint = study.encoder, self._checkpoint()
        self.tokenizer = self._tokenizer(checkpoint)
        unigram = settings.pretrain.tokenizer == "unigram"
        vocabulary = settings.pretrain.vocab_size if unigram else len(self.tokenizer or ())
        if settings.checkpoint:  # may be a folder relative to the project or to the home folder
            settings = settings.model_copy(update={"checkpoint": str(locate(study))})
        self.encoder = Encoder(read_config(settings, vocabulary, checkpoint))

    def _checkpoint(self) -> Path:
        """Folder of a finished encoder of the study, of any seed; without one, of the first seed."""
        runs = [Run("encoder", seed) for seed in self.study.seed_numbers]
        for run in runs:
            record = read_record(run.folder(self.study) / "training.json")
            if record.get("fingerprint") == self.fingerprints.of(run):
                return run.folder(self.study) / "checkpoint"
        return runs[0].folder(self.study) / "checkpoint"

    def _tokenizer(self, checkpoint: Path) -> PreTrainedTokenizerBase | None:
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
        return _spaced(self.source.text(1), DOCUMENTS)

    def pretraining(self) -> tuple[int, Amount]:
        """Number of documents of the pretraining text, and the amount in an average step of pretraining."""
        budget, documents = self.study.encoder.pretrain.batch_tokens, len(self.source.text(1))
        sample = self._documents()
        rows = encode_documents(sample, self.tokenizer)
        lengths, sampled = np.unique([len(row) for row in rows], return_counts=True)
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
        return _mean_amount(features, len(sample)) * min(documents, len(self.source.text(1)))

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
            return Amount()
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
            self.unknown.add(task.name)
        sets += [(POOL, code) for code in pool_languages(self.study, self.source, task)]
        return sum((self._amount(task, split, language) for split, language in sets), Amount())

    def labels(self, name: str) -> int:
        """Outputs of the head of a task; where they come from the training data, those of a sample."""
        task, language = self.study.task(name), self.source.source_language
        if task.labels or task.kind in ("span", "choice"):
            return len(task.labels) or 2
        sample = self._sample(task, "train", language)
        return len(label_names(task, sample)) if sample else SUPERTAGS

    def _amount(self, task: Task, split: str, language: str, limit: int = 0) -> Amount:
        """A set, at most ``limit`` of its examples, 0 = all."""
        if self._is_absent(task, split, language):
            self.published.add(task.name)
            size = self._published_sizes[task.name, split, language]
            largest = 0 if task.kind in RETRIEVAL_KINDS else getattr(self.study.hub.limits, split)
            size = min(largest or size, size)
        else:
            size = self.source.size(task, split, language)
        return self._average(task.name, split, language) * min(limit or size, size)

    def _average(self, name: str, split: str, language: str) -> Amount:
        """The average example of a set."""
        task, lengths = self.study.task(name), self.study.training.max_length
        longest = lengths.retrieval if task.kind in RETRIEVAL_KINDS else getattr(lengths, task.kind)
        sample = self._sample(task, split, language) if self.tokenizer else None
        if not sample:
            return self._assumed(task.name, task.kind, longest)
        self.measured.add(task.name)
        if task.kind not in RETRIEVAL_KINDS:
            return _mean_amount(encode(task, sample, self.tokenizer, lengths, label_names(task, sample)), len(sample))
        columns = [column for column in ("query", "candidate", "text") if column in sample.column_names]
        texts = [text for column in columns for text in sample[column][:]]
        return _mean_amount(encode_text(texts, self.tokenizer, longest), len(sample))

    def _is_absent(self, task: Task, split: str, language: str) -> bool:
        """Whether a set that is on no hub is not on this machine either."""
        key = (task.name, split, language)
        return key in self._published_sizes and language not in self.source.languages(task, split)

    def _sample(self, task: Task, split: str, language: str) -> Dataset | None:
        if self._is_absent(task, split, language) or not self.source.at_hand(task, split, language):
            return None
        return _spaced(self.source.load(task, split, language), SAMPLE)

    def _assumed(self, name: str, kind: str, longest: int) -> Amount:
        """An example of typical length."""
        self.assumed.add(name)
        row = self._typical.loc[name if name in self._typical.index else kind]
        tokens = min(row["tokens"], longest)
        rows = row["features"] * row["rows"]
        return Amount(1, row["features"], rows, rows * tokens, rows * tokens**2 * SPREAD)


def _spaced(rows: Dataset, count: int) -> Dataset:
    """At most ``count`` rows, evenly spaced."""
    return rows.select(range(0, len(rows), max(1, math.ceil(len(rows) / count))))


def _mean_amount(features: list, examples: int) -> Amount:
    """The average of the ``examples`` that ``features`` were made of."""
    inputs = (feature["input_ids"] for feature in features)
    lengths = np.array([len(row) for ids in inputs for row in (ids if isinstance(ids[0], list) else [ids])])
    return Amount(examples, len(features), len(lengths), lengths.sum(), (lengths**2).sum()) * (1 / examples)


@dataclass
class Cost:
    """Of one run: training examples, optimizer steps, tokens trained on and scored, FLOPs, bytes that stay, bytes that
    are deleted once the run's targets are scored, and whether a set is needed of which only a published size is known.
    """

    examples: float = 0
    steps: int = 0
    training_tokens: float = 0
    scoring_tokens: float = 0
    flops: float = 0
    disk: float = 0
    temporary: float = 0
    estimated: bool = False

    def train(self, amount: Amount, forward: float) -> None:
        """``forward``: FLOPs of the forward pass; the backward pass takes twice as many."""
        self.training_tokens += amount.tokens
        self.flops += 3 * forward

    def score(self, amount: Amount, forward: float) -> None:
        self.scoring_tokens += amount.tokens
        self.flops += forward


def encoder_cost(samples: Samples, run: Run) -> Cost:
    """Phase 1: pretraining, where the study does it."""
    settings, encoder = samples.study.encoder.pretrain, samples.encoder
    cost = Cost(disk=encoder.checkpoint_bytes)
    if settings.steps and not samples.study.encoder.checkpoint:
        cost.examples, step = samples.pretraining()
        cost.steps = settings.steps
        amount = step * settings.steps
        cost.train(amount, encoder.forward(amount, "text", masked=settings.mask_share))
    return cost


def intermediate_cost(samples: Samples, run: Run) -> Cost:
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
    cost = Cost(sum(epoch.examples for epoch in epochs), steps)
    for task, epoch, weight in zip(tasks, epochs, weights, strict=True):
        labels = samples.labels(task.name)
        amount = _trained(epoch, (steps - mlm_steps) * weight / sum(weights), phase)
        scored = samples.development(task) + samples.selection(task, phase, steps)
        cost.train(amount, encoder.forward(amount, task.kind, labels))
        cost.score(scored, encoder.forward(scored, task.kind, labels))
    if mlm_steps:
        text = samples.text(mix.mlm_documents)
        amount = _trained(text, mlm_steps, phase)
        cost.examples += text.examples
        cost.train(amount, encoder.forward(amount, "text", masked=mix.mlm_probability))
    if study.keep == "pretrained":
        cost.temporary = encoder.checkpoint_bytes
    else:
        cost.disk = encoder.checkpoint_bytes
    cost.estimated = not samples.published.isdisjoint(parsed.tasks)
    return cost


def targets_cost(samples: Samples, run: Run) -> Cost:
    """Phase 3 of a bundle of targets, the same after every intermediate run."""
    study, encoder, cost = samples.study, samples.encoder, Cost()
    targets = target_runs(study, samples.source, run.bundle)
    # a set that several targets share is trained on once
    models = {target_run.model(study): target_run for target_run in targets if not target_run.untrained}
    for target_run in models.values():
        task, phase = study.training_task(target_run.task), target_run.phase(study)
        epoch = samples.training(target_run.name, task, target_run.training_sets(study, samples.source), phase.examples)
        steps = phase.total_steps([round(epoch.features)], study.training.mix)
        amount, compared = _trained(epoch, steps, phase), samples.selection(task, phase, steps)
        cost.examples += epoch.examples
        cost.steps += steps
        cost.train(amount, encoder.forward(amount, task.kind, samples.labels(task.name)))
        cost.score(compared, encoder.forward(compared))
    for target_run in targets:
        task, scored = target_run.task, samples.evaluation(target_run)
        head = "" if target_run.retrieval else task.kind
        labels = 0 if target_run.retrieval else samples.labels(study.training_task(task).name)
        cost.score(scored, encoder.forward(scored, head, labels))
        cost.disk += EXAMPLE_BYTES * scored.examples
    if study.keep == "all":
        cost.disk += len(models) * encoder.checkpoint_bytes
    else:
        cost.temporary = len(models) * encoder.checkpoint_bytes
    cost.estimated = not samples.published.isdisjoint(target_run.target for target_run in targets)
    return cost


def _trained(epoch: Amount, steps: float, phase: PhaseSettings) -> Amount:
    """The amount in ``steps`` average steps: the last batch of an epoch may be smaller."""
    return epoch * (steps * phase.accumulate / math.ceil(round(epoch.features) / phase.batch_size))


COSTS = {"encoder": encoder_cost, "intermediate": intermediate_cost, "targets": targets_cost}


def cost_table(samples: Samples) -> pd.DataFrame:
    """A row per run, also of those left out because their data is missing.

    Columns: run (its name), phase, intermediate, bundle, seed, state ("done", "stale", "missing" or "left out"), then
    the fields of :class:`Cost`.
    """
    study, runs = samples.study, list_runs(samples.study)
    for seed in study.seed_numbers:
        for name in study.left_out:
            runs.append(Run("intermediate", seed, name))
            runs += [Run("targets", seed, name, bundle) for bundle in study.bundles_of(name)]
    phases, order = ["encoder", "intermediate", "targets", study.question], ["", *study.intermediate]
    runs.sort(key=lambda run: (phases.index(run.phase), run.seed, order.index(run.intermediate)))
    costs: dict[tuple[str, str], Cost] = {}  # by phase and what it does: seeds cost the same
    rows = []
    for run in runs:
        key = (run.phase, run.bundle or run.intermediate)
        if key not in costs:
            costs[key] = COSTS[run.phase](samples, run) if run.phase in COSTS else Cost()
        is_left_out = run.intermediate in study.left_out
        standing = LEFT_OUT if is_left_out else state(study, run, samples.fingerprints)
        columns = {"run": run.name, "phase": run.phase, "intermediate": run.intermediate, "bundle": run.bundle}
        rows.append({**columns, "seed": run.seed, "state": standing, **vars(costs[key])})
    return pd.DataFrame(rows)


def print_plan(study: Study, gpu: str, precision: str, utilisation: float, csv: Path | None) -> None:
    """Print what the study costs; write every run to ``csv``, if given."""
    transformers.logging.set_verbosity_error()  # rows longer than the encoder takes are cut or split
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation: expected a share of the peak between 0 and 1, found {utilisation:g}")
    samples = Samples(study)
    table = cost_table(samples)
    trained, settings = table[table["training_tokens"] > 0], study.training.target
    rows = (trained["steps"] * settings.batch_size * settings.accumulate).sum()
    length = round(trained["training_tokens"].sum() / rows) if rows else study.training.max_length.retrieval
    length = min(max(length, 8), samples.encoder.config.max_position_embeddings - 2)
    rate = device_rate(gpu, precision or settings.precision, utilisation, samples.encoder, settings.batch_size, length)
    table["hours"] = table["flops"] / rate.flops / 3600
    if csv:
        try:
            table.round({"hours": 6}).to_csv(csv, index=False)
        except OSError as error:
            raise UserError(f"--csv: {csv} cannot be written: {error.strerror}") from None
    print(report(samples, table, rate))


def report(samples: Samples, table: pd.DataFrame, rate: Rate) -> str:
    """Lines of at most 100 characters, by ``site/templates/plan.txt.j2``: what one seed of each run costs, totals over
    seeds, what is done. ``table``: of :func:`cost_table`, and the column hours.

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
    values = {"study": samples.study, "samples": samples, "encoder": samples.encoder, "rate": rate, "runs": runs}
    return environment.get_template("plan.txt.j2").render(values, single=single, sums=sums)


def _count(number: float) -> str:
    """1,234; 12.3 k; 4.6 M."""
    return _scaled(number) if number >= 10_000 else f"{round(number):,}" if number else "–"


def _bytes(number: float) -> str:
    return f"{_scaled(number)}B" if number else "–"


def _scaled(number: float) -> str:
    scale, unit = next((pair for pair in UNITS.items() if number >= pair[0]), (1, ""))
    return f"{number / scale:.3g} {unit}"


def _hours(hours: float) -> str:
    return "<0.01" if 0 < hours < 0.01 else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def _done(runs: pd.DataFrame) -> str:
    return LEFT_OUT if (runs["state"] == LEFT_OUT).all() else f"{(runs['state'] == 'done').sum()}/{len(runs)}"
