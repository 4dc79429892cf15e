"""How much there is of every set, and how long it is in tokens: from a sample, never from all of it.

What a study costs before it is paid for: every run's examples, steps, tokens, FLOPs, hours and disk."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import transformers
from datasets import Dataset

from xstilts.costs import Amount, Rate, rate, shape_of
from xstilts.errors import UserError
from xstilts.features import encode, encode_text, label_names
from xstilts.io import read_record
from xstilts.preflight import check_share
from xstilts.runs import Fingerprints, Run, list_runs, state
from xstilts.settings import PhaseSettings
from xstilts.sources import open_source
from xstilts.sources.cache import KeptSource
from xstilts.study import Study
from xstilts.target_runs import Tuning, evaluation_split, pool_languages, training_sets, tunings
from xstilts.tasks import POOL, RETRIEVAL_KINDS, Task, get
from xstilts.training.checkpoints import locate
from xstilts.training.pretraining import encode as encode_documents
from xstilts.training.pretraining import train_tokenizer

SAMPLE = 300  # examples of a set, evenly spaced
DOCUMENTS = 3000  # documents of the pretraining text
# tokens per row, rows per feature, features per example of sets whose text or tokenizer is not here. Measured on
# excerpts of the original files with a unigram tokenizer of 32,000 pieces trained on their text, rows at most 256
# (spans 384) long; XLM-R's, of 250,002, makes somewhat shorter rows.
TYPICAL = Path(__file__).with_name("tables") / "lengths.csv"
# examples of sets that are on no hub, each with its source (BUCC: sentences of both sides; doi:10.18653/v1/W17-2512)
SIZES = Path(__file__).with_name("tables") / "sizes.csv"
SPREAD = 1.1  # mean squared length of a row over its squared mean, there
SUPERTAGS = 1363  # labels of CCG in jiant (jiant/tasks/lib/ccg.py), where no sample shows them


class Samples:
    """Amounts of a study's sets. ``measured`` and ``assumed`` collect the sets whose lengths were taken from a
    sample and from lengths.csv, ``published`` those whose sizes were taken from sizes.csv, ``unknown`` those of which
    nothing is known. Nothing is downloaded."""

    def __init__(self, study: Study, source: KeptSource, fingerprints: Fingerprints):
        self.study, self.source = study, source
        self.measured: set[str] = set()
        self.assumed: set[str] = set()
        self.published: set[str] = set()
        self.unknown: set[str] = set()
        self.made = self._made(fingerprints)
        self.tokenizer = self._tokenizer()
        self.vocabulary = len(self.tokenizer) if self.tokenizer else 0
        self._typical = pd.read_csv(TYPICAL, index_col="set")
        sizes = pd.read_csv(SIZES, index_col=["set", "split", "language"])["examples"]
        self._sizes = {key: int(count) for key, count in sizes.items()} if study.source == "hub" else {}
        self._set = cache(self._set)  # type: ignore[method-assign]  # kept per instance
        self.labels = cache(self.labels)  # type: ignore[method-assign]

    def _made(self, fingerprints: Fingerprints) -> Path:
        """Checkpoint folder of the study's encoder where one is there, of any seed; else where one will be."""
        runs = [Run("encoder", seed) for seed in self.study.seed_numbers]
        folders = [run.folder(self.study) for run in runs]
        for run, folder in zip(runs, folders, strict=True):
            if read_record(folder / "training.json").get("fingerprint") == fingerprints.of(run):
                return folder / "checkpoint"
        return folders[0] / "checkpoint"

    def _tokenizer(self) -> Any:
        """The encoder's, if it is on this machine. Before the study has pretrained its own: one trained on a
        sample of the text, which splits words the same way but for rare ones."""
        settings = self.study.encoder
        if self.made.is_dir():
            return transformers.AutoTokenizer.from_pretrained(self.made)
        if not settings.checkpoint:
            return train_tokenizer(self._documents(), settings.pretrain) if self.source.at_hand() else None
        try:
            return transformers.AutoTokenizer.from_pretrained(
                locate(self.study), revision=settings.revision or None, local_files_only=True
            )
        except (OSError, ValueError):
            return None

    def _documents(self) -> Dataset:
        text = self.source.text(1)
        return text.select(_spaced(len(text), DOCUMENTS))

    def pretraining(self) -> tuple[int, Amount]:
        """Documents of the pretraining text, and what the average step of pretraining sees."""
        budget, documents = self.study.encoder.pretrain.batch_tokens, len(self.source.text(1))
        sample = self._documents()
        lengths, sampled = np.unique([len(row) for row in encode_documents(sample, self.tokenizer)], return_counts=True)
        counts = sampled * documents / len(sample)
        batches = np.ceil(counts / np.maximum(budget // lengths, 1)).sum()
        whole = Amount(documents, counts.sum(), counts.sum(), (counts * lengths).sum(), (counts * lengths**2).sum())
        return documents, whole * (1 / batches)

    def text(self, documents: int) -> Amount:
        """``documents`` of masked-LM text as phase 2 mixes it in."""
        length = self.study.training.max_length.mlm
        if not (self.tokenizer and self.source.at_hand()):
            return self._assumed("text", "text", documents, length)
        sample, there = self._documents(), len(self.source.text(1))
        features = encode_text(sample["text"][:], self.tokenizer, length)
        return self._amount(features, len(sample)) * min(documents, there)

    def training(self, task: Task, asked: Sequence[tuple[str, str]], examples: int) -> Amount:
        """One epoch of the training sets ``asked`` for, as (split, language): at most ``examples`` of all
        together, 0 = all. Translated rows that nothing can be learned from are counted."""
        total = Amount()
        for split, language in asked:
            size = self._size(task, split, language)
            share = (examples or size * len(asked)) // len(asked)
            total += self._set(task.name, split, language) * min(share, size)
        return total

    def development(self, task: Task, examples: int = 0) -> Amount:
        """The source language's development set of a task, at most ``examples`` of it, 0 = all."""
        language = self.source.source_language
        size = self._size(task, "dev", language)
        return self._set(task.name, "dev", language) * min(examples or size, size)

    def selection(self, task: Task, phase: PhaseSettings, steps: int) -> Amount:
        """What is scored to compare checkpoints in ``steps`` steps, none of them saved by ``patience``."""
        if not phase.evaluate_every:
            return Amount()
        return self.development(task, phase.evaluate_examples) * math.ceil(steps / phase.evaluate_every)

    def evaluation(self, tuning: Tuning) -> Amount:
        """What a training of phase 3 is scored on. A mining task embeds its development set as well; the
        source-language side of a retrieval set is counted with every language, also where it is the same."""
        task = get(tuning.target)
        splits = {evaluation_split(self.source, task)} | ({"dev"} if task.kind == "mining" else set())
        sets = [(split, code) for code in tuning.languages(self.study, self.source) for split in sorted(splits)]
        if not sets:
            wanted = self.study.languages or task.languages
            sets = [key[1:] for key in self._sizes if key[0] == task.name and key[2] in wanted]
        if not sets:
            self.unknown.add(task.name)
        total = Amount()
        for split, language in sets:
            total += self._set(task.name, split, language) * self._size(task, split, language)
        for code in pool_languages(self.study, self.source, task):
            total += self._set(task.name, POOL, code) * self.source.size(task, POOL, code)
        return total

    def _absent(self, task: Task, split: str, language: str) -> bool:
        """Whether a set that is on no hub is not here either."""
        known = (task.name, split, language) in self._sizes
        return known and language not in self.source.languages(task, split)

    def _size(self, task: Task, split: str, language: str) -> int:
        """Examples of a set, or of one that is yet to be fetched."""
        if not self._absent(task, split, language):
            return self.source.size(task, split, language)
        self.published.add(task.name)
        size = self._sizes[task.name, split, language]
        limit = 0 if task.kind in RETRIEVAL_KINDS else getattr(self.study.hub.limits, split)
        return min(limit or size, size)

    def _set(self, name: str, split: str, language: str) -> Amount:
        """The average example of a set."""
        task, lengths = get(name), self.study.training.max_length
        longest = lengths.retrieval if task.kind in RETRIEVAL_KINDS else getattr(lengths, task.kind)
        here = not self._absent(task, split, language) and self.source.at_hand(task, split, language)
        if not (self.tokenizer and here):
            return self._assumed(task.name, task.kind, 1, longest)
        self.measured.add(task.name)
        sample = self._sample(task, split, language)
        if task.kind in RETRIEVAL_KINDS:
            columns = [name for name in ("query", "candidate", "text") if name in sample.column_names]
            texts = [text for column in columns for text in sample[column][:]]
            return self._amount(encode_text(texts, self.tokenizer, longest), len(sample))
        return self._amount(encode(task, sample, self.tokenizer, lengths, label_names(task, sample)), len(sample))

    def labels(self, name: str) -> int:
        """Outputs of the head of a task; where they come from the training data, those of a sample."""
        task = get(name)
        if task.labels or task.kind in ("span", "choice"):
            return len(task.labels) or 2
        asked = (task, "train", self.source.source_language)
        if self._absent(*asked) or not self.source.at_hand(*asked):
            return SUPERTAGS
        return len(label_names(task, self._sample(*asked)))

    def _sample(self, task: Task, split: str, language: str) -> Dataset:
        data = self.source.load(task, split, language)
        return data.select(_spaced(len(data), SAMPLE))

    def _assumed(self, name: str, kind: str, examples: float, longest: int) -> Amount:
        self.assumed.add(name)
        found = self._typical.loc[name if name in self._typical.index else kind]
        tokens, rows = min(found["tokens"], longest), found["features"] * found["rows"]
        return Amount(1, found["features"], rows, rows * tokens, rows * tokens**2 * SPREAD) * examples

    @staticmethod
    def _amount(features: list, examples: int) -> Amount:
        """The average example of those that ``features`` were made of."""
        nested = (f["input_ids"] if isinstance(f["input_ids"][0], list) else [f["input_ids"]] for f in features)
        lengths = np.array([len(row) for rows in nested for row in rows])
        whole = Amount(examples, len(features), len(lengths), int(lengths.sum()), int((lengths**2).sum()))
        return whole * (1 / examples)


def _spaced(size: int, count: int) -> list[int]:
    """At most ``count`` places of ``size``, evenly spaced."""
    step = max(1, math.ceil(size / count))
    return list(range(0, size, step))


EXAMPLE_BYTES = 40  # of statistics and predictions per scored example: an assumption, nothing beside checkpoints
WIDTH = 100  # columns of the printed table
CELL = 9  # width of a column of figures
LEFT_OUT = "left out"
NOT_COUNTED = "What is left out is, with its targets, in no total but its own."
SMALL = 10e6  # parameters other than embeddings below which kernels are over before the next is launched
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Cost:
    """Of one run: training examples, optimizer steps, tokens trained on and scored, FLOPs, bytes that stay and
    bytes that are there only until the run's targets are scored."""

    examples: float = 0
    steps: int = 0
    training_tokens: float = 0
    scoring_tokens: float = 0
    flops: float = 0
    disk: float = 0
    passing: float = 0


class Plan:
    """The costs of a study's runs, computed by the same rules as its training: nothing is trained."""

    def __init__(self, study: Study, source: KeptSource | None = None):
        self.study, self.source = study, source or open_source(study)
        self.fingerprints = Fingerprints(study)
        self.samples = Samples(study, self.source, self.fingerprints)
        own = study.encoder.pretrain
        vocabulary = own.vocab_size if own.tokenizer == "unigram" else self.samples.vocabulary
        settings = study.encoder
        if settings.checkpoint:  # a folder may be said relative to the project or to the home folder
            settings = settings.model_copy(update={"checkpoint": str(locate(study))})
        self.shape = shape_of(settings, vocabulary, self.samples.made)

    def table(self) -> pd.DataFrame:
        """A row per run: name, phase, intermediate, bundle, seed, state ("left out": not run, for want of its data),
        then the fields of Cost."""
        costs: dict[tuple[str, str, str], Cost] = {}  # no run's cost depends on its seed
        rows = []
        for run in self._runs():
            key = (run.phase, run.intermediate, run.bundle)
            if key not in costs:
                costs[key] = Cost() if run.final else getattr(self, f"_{run.phase}")(run)
            names = {"run": run.name, "phase": run.phase, "intermediate": run.intermediate, "bundle": run.bundle}
            left_out = run.intermediate in self.study.left_out
            rows.append({**names, "seed": run.seed,
                         "state": LEFT_OUT if left_out else state(self.study, run, self.fingerprints),
                         **vars(costs[key])})  # fmt: skip
        return pd.DataFrame(rows)

    def _runs(self) -> list[Run]:
        """The runs of the study, with those that are left out for want of data in their places."""
        study, runs = self.study, list_runs(self.study)
        for seed in study.seed_numbers:
            for name in study.left_out:
                runs.append(Run("intermediate", seed, name))
                runs += [Run("targets", seed, name, bundle) for bundle in study.bundles_of(name)]
        phases, order = ["encoder", "intermediate", "targets", study.question], ["", *study.intermediate]
        return sorted(runs, key=lambda run: (phases.index(run.phase), run.seed, order.index(run.intermediate)))

    def estimated(self, phase: str, name: str) -> bool:
        """Whether the cost of an intermediate run, or of a bundle of targets, is in part that of sets of which only the
        published size is known."""
        if phase == "encoder":
            return False
        if phase == "intermediate":
            return bool({*self.study.intermediate_run(name).tasks} & self.samples.published)
        scored = {tuning.target for tuning in tunings(self.study, self.source, name)}
        return bool(scored & self.samples.published)

    def _encoder(self, run: Run) -> Cost:
        settings = self.study.encoder.pretrain
        disk = self.shape.checkpoint_bytes
        if self.study.encoder.checkpoint or not settings.steps:
            return Cost(disk=disk)
        documents, step = self.samples.pretraining()
        seen = step * settings.steps
        flops = self.shape.training("text", seen, masked=settings.mask_share)
        return Cost(documents, settings.steps, seen.tokens, 0, flops, disk)

    def _intermediate(self, run: Run) -> Cost:
        study, parsed = self.study, self.study.intermediate_run(run.intermediate)
        phase, mix = study.phase("intermediate", run.intermediate), study.training.mix
        tasks = [get(name) for name in parsed.tasks]
        epochs = []
        for task in tasks:
            sets = training_sets(parsed.name, task, parsed.languages, self.source)
            check_share(study, run.intermediate, sets, phase.examples)
            epochs.append(self.samples.training(task, sets, phase.examples))
        steps = phase.total_steps([round(epoch.features) for epoch in epochs], mix, parsed.mlm)
        masked = int(steps * mix.mlm_share) if parsed.mlm else 0
        weights = [min(epoch.features, mix.cap) ** (1 / mix.temperature) for epoch in epochs]
        examples = sum(epoch.examples for epoch in epochs)
        training = scoring = flops = 0.0
        for task, epoch, weight in zip(tasks, epochs, weights, strict=True):
            seen = trained_on(epoch, (steps - masked) * weight / sum(weights), phase)
            scored = self.samples.development(task) + self.samples.selection(task, phase, steps)
            labels = self.samples.labels(task.name)
            training += seen.tokens
            scoring += scored.tokens
            flops += self.shape.training(task.kind, seen, labels)
            flops += self.shape.forward(scored) + self.shape.head(task.kind, scored, labels)
        if masked:
            text = self.samples.text(mix.mlm_documents)
            seen = trained_on(text, masked, phase)
            examples += text.examples
            training += seen.tokens
            flops += self.shape.training("text", seen, masked=mix.mlm_probability)
        encoder = self.shape.checkpoint_bytes
        disk, passing = (0, encoder) if study.keep == "pretrained" else (encoder, 0)
        return Cost(examples, steps, training, scoring, flops, disk, passing)

    def _targets(self, run: Run) -> Cost:
        study, bundle = self.study, tunings(self.study, self.source, run.bundle)
        # a set that several targets share is trained on once
        trained = {tuning.model(study): tuning for tuning in bundle if not tuning.untrained}
        examples = steps = training = scoring = flops = disk = 0.0
        for tuning in trained.values():
            task, phase = study.training_task(get(tuning.target)), tuning.phase(study)
            sets = tuning.training_sets(study, self.source)
            check_share(study, tuning.name, sets, phase.examples)
            epoch = self.samples.training(task, sets, phase.examples)
            own = phase.total_steps([round(epoch.features)], study.training.mix)
            seen, compared = trained_on(epoch, own, phase), self.samples.selection(task, phase, own)
            scoring, flops = scoring + compared.tokens, flops + self.shape.forward(compared)
            examples, steps, training = examples + epoch.examples, steps + own, training + seen.tokens
            flops += self.shape.training(task.kind, seen, self.samples.labels(task.name))
        for tuning in bundle:
            task, scored = get(tuning.target), self.samples.evaluation(tuning)
            scoring += scored.tokens
            flops += self.shape.forward(scored)
            if task.kind not in RETRIEVAL_KINDS:
                flops += self.shape.head(task.kind, scored, self.samples.labels(study.training_task(task).name))
            disk += EXAMPLE_BYTES * scored.examples
        models = len(trained) * self.shape.checkpoint_bytes
        disk, passing = (disk + models, 0) if study.keep == "all" else (disk, models)
        return Cost(examples, int(steps), training, scoring, flops, disk, passing)


def trained_on(epoch: Amount, steps: float, phase: PhaseSettings) -> Amount:
    """What ``steps`` steps see on average: the last batch of an epoch may be smaller."""
    return epoch * (steps * phase.accumulate / math.ceil(round(epoch.features) / phase.batch_size))


def print_plan(study: Study, gpu: str, precision: str, utilisation: float, csv: Path | None) -> None:
    """Print what the study costs, and write every run to ``csv`` where that is given."""
    transformers.logging.set_verbosity_error()  # rows longer than the encoder takes are cut or split, no news here
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation: expected a share of the peak between 0 and 1, found {utilisation:g}")
    plan = Plan(study)
    table = plan.table()
    trained, settings = table[table["training_tokens"] > 0], study.training.target
    rows = (trained["steps"] * settings.batch_size * settings.accumulate).sum()
    length = round(trained["training_tokens"].sum() / rows) if rows else study.training.max_length.retrieval
    length = min(max(length, 8), plan.shape.positions - 2)
    speed = rate(gpu, precision or settings.precision, utilisation, plan.shape, settings.batch_size, length)
    table["hours"] = table["flops"] / speed.flops / 3600
    if csv:
        try:
            table.round({"hours": 6}).to_csv(csv, index=False)
        except OSError as error:
            raise UserError(f"--csv: {csv} cannot be written: {error.strerror}") from None
    print("\n".join(report(plan, table, speed)))


def report(plan: Plan, table: pd.DataFrame, speed: Rate) -> list[str]:
    """Lines of at most 100 characters: what one seed of each run costs, totals over seeds, what is done.

    What a bundle of targets costs does not depend on the intermediate run before it: it has one line."""
    study, shape = plan.study, plan.shape
    out, started = table["state"] == LEFT_OUT, len(study.intermediate) - len(study.left_out)
    runs, absent = table[(table["phase"] != study.question) & ~out], table[out]
    lines = [
        f"{study.title or study.name}. Intermediate runs: {started - 1} and none, targets: {len(study.targets)}, "
        f"seeds: {study.seeds}, runs in all: {len(runs)}.",
        f"Encoder: {study.encoder.checkpoint or 'pretrained by the study'}, {shape.layers} layers of {shape.width}, "
        f"{_short(shape.parameters)} parameters, {_short(shape.body)} without embeddings.",
        f"Hours: of one {speed.unit}, {speed.origin}.",
    ]
    lines = [part for line in lines for part in textwrap.wrap(line, WIDTH)]
    lines += ["", _line("", ["", "", "training", "scoring", *[""] * 4])]
    lines += [_line("one seed of each run", "examples steps tokens tokens FLOPs hours disk done".split())]
    for phase, group in runs.groupby("phase", sort=False):
        label = f"{phase}, after each of {started} intermediate runs" if phase == "targets" else phase
        lines.append(label)
        shown = group if phase == "targets" else table[table["phase"] == phase]
        for name, same in shown.groupby("bundle" if phase == "targets" else "intermediate", sort=False):
            label = f"  {name or 'one'}{' *' if plan.estimated(phase, str(name)) else ''}"
            lines.append(_line(label, [*_figures(same.iloc[0]), _done(same)]))
    lines += ["", "all seeds of all runs"]
    for phase, group in [*runs.groupby("phase", sort=False), ("total", runs)]:
        lines.append(_line(f"  {phase}", [*_figures(group.sum(numeric_only=True)), _done(group)]))
    if len(absent):
        lines.append(_line("  left out *", [*_figures(absent.sum(numeric_only=True)), _done(absent)]))
    done, stale = runs[runs["state"] == "done"], (runs["state"] == "stale").sum()
    whole, spent = runs["hours"].sum(), done["hours"].sum()
    notes = [
        f"Already done: {len(done)} of {len(runs)} runs"
        + (f"; stale, to be done again: {stale}" if stale else "")
        + f". Left: {_hours(whole - spent)} of {_hours(whole)} {speed.unit}-hours.",
        *_sizes(plan.samples),
        *([f"{study.absence}. {NOT_COUNTED}"] if study.absence else []),
        _disk(study, runs, shape.training_bytes),
        _lengths(plan.samples),
    ]
    if shape.body < SMALL and speed.unit != "core":
        notes.append("So small an encoder keeps no GPU busy: with --gpu cpu this machine is measured.")
    return [*lines, "", *(part for note in notes for part in textwrap.wrap(note, WIDTH))]


def _disk(study: Study, runs: pd.DataFrame, training: int) -> str:
    stay = {
        "all": "encoders and every target's model",
        "encoders": "the encoders of phases 1 and 2",
        "pretrained": "the encoders of phase 1",
    }[study.keep]
    waiting = runs.groupby("phase")["passing"].max().sum()
    return (
        f"Disk: {_bytes(runs['disk'].sum())} stay (keep: {study.keep}, that is {stay}); each job that runs at the "
        f"same time needs up to {_bytes(waiting)} more until its targets are scored, and up to {_bytes(training)} "
        "while it trains."
    )


def _lengths(samples: Samples) -> str:
    parts = []
    if samples.measured:
        parts.append(f"measured on samples of {len(samples.measured)} sets")
    if samples.assumed:
        names = ", ".join(sorted(samples.assumed))
        why = "no tokenizer here" if samples.tokenizer is None else "not on this machine"
        parts.append(f"typical ones, from lib/xstilts/planning/lengths.csv, for {names} ({why})")
    return f"Lengths in tokens: {'; '.join(parts)}. Loading, tokenising, searching and starting up are not counted."


def _sizes(samples: Samples) -> list[str]:
    """What is said of sets that are not here."""
    notes = []
    if samples.published:
        names = ", ".join(sorted(samples.published))
        notes.append(
            f"* Estimated for {names}: not on the hub and not here; sizes as published, from "
            "lib/xstilts/planning/sizes.csv."
        )
    if samples.unknown:
        notes.append(f"Not known, and in no total: {', '.join(sorted(samples.unknown))}, whose data is not here.")
    return notes


def _figures(row: pd.Series) -> list[str]:
    """The cells of a line but the last, of a run or a sum."""
    counts = [_short(row[key]) for key in ("examples", "steps", "training_tokens", "scoring_tokens")]
    work = [f"{row['flops']:.1e}", _hours(row["hours"])] if row["flops"] else ["–", "–"]
    return [*counts, *work, _bytes(row["disk"])]


def _done(runs: pd.DataFrame) -> str:
    if (runs["state"] == LEFT_OUT).all():
        return LEFT_OUT
    return f"{(runs['state'] == 'done').sum()}/{len(runs)}"


def _line(label: str, cells: list[str]) -> str:
    room = WIDTH - len(cells) * CELL
    return (label if len(label) <= room else f"{label[: room - 1]}…").ljust(room) + "".join(
        f"{cell:>{CELL}}" for cell in cells
    ).rstrip()


def _short(count: float) -> str:
    """1,234; 12.3 k; 4.6 M."""
    if count < 10_000:
        return f"{round(count):,}" if count else "–"
    scale, unit = next(pair for pair in UNITS if count >= pair[0])
    return f"{count / scale:.3g} {unit}"


def _bytes(count: float) -> str:
    scale, unit = next((pair for pair in UNITS if count >= pair[0]), (1, ""))
    return f"{count / scale:.3g} {unit}B" if count else "–"


def _hours(hours: float) -> str:
    return "<0.01" if 0 < hours < 0.01 else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"
