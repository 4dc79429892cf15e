"""What a study costs before it is paid for: every run's examples, steps, tokens, FLOPs, hours and disk."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import transformers

from ..errors import UserError
from ..needed import check_share
from ..runs import Fingerprints, Run, list_runs, state
from ..settings import PhaseSettings
from ..sources import open_source
from ..sources.kept import KeptSource
from ..study import Study
from ..tasks import RETRIEVAL_KINDS, get
from ..training.checkpoints import locate
from ..tunings import training_sets, tunings
from .costs import Amount, shape_of
from .rates import Rate, rate
from .samples import Samples

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
