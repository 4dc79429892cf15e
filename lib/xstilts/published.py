"""Published numbers: those shipped with the package and those of a study's own file. None is without its source.

``numbers/*.csv`` holds them (``make_published.py`` says where each row comes from). A study may add a file of
its own, ``published: path/to/table.csv`` in the study file: a row per number, with the columns

* required: ``intermediate`` (a run, or "best": chosen per target on development sets, or "unstated"), ``target``
  (a task, "macro" or "macro without retrieval"), ``split`` (dev, test), ``kind`` (score, gain), ``value`` (percent
  or points) and ``source``;
* where not the usual: ``system``, ``language`` (a code, or "mean"), ``languages`` (how many a mean is over: all of
  the task's), ``metric`` (the task's own), ``layer`` and ``pooling`` (of a retrieval target; unknown when empty),
  ``provenance`` (seen; recalled: not checked; derived: computed from what was seen; missing: not shown), ``note``.

:mod:`.comparison` says which of them a study's scores can be compared with.


Published numbers beside ours: only where task, split, metric and language agree.

"Agree" is meant strictly. The set that is scored must be the whole published one (``sources/hub_sizes.csv`` has
the sizes), in the same languages; the target must be trained on its own training set; an average must be over the
same targets. Encoders may differ, and both are named. A difference is given only where, besides, a run of ours
is the published one and, for retrieval, layer and pooling are the same.


Published numbers beside ours, as a sentence, a table and a figure, each with its sources.

In the figure diamonds are published and dots ours, so that they are told apart in grayscale.
"""

import csv
import io
import textwrap
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats as distributions

from xstilts import plots
from xstilts.errors import UserError, nearest
from xstilts.io import ROOT
from xstilts.locations import Hub
from xstilts.names import MULTI, NONE, parse_run
from xstilts.plots import NEUTRAL
from xstilts.readers.records import text_of
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, task_metrics
from xstilts.sources import Source
from xstilts.sources.hub import SIZES
from xstilts.study import Study
from xstilts.summaries import with_interval
from xstilts.target_runs import evaluation_split
from xstilts.tasks import RETRIEVAL_KINDS, TARGETS, TASKS, Task, get

BEST, UNSTATED = "best", "unstated"  # no single run: chosen per target on development sets; not said which
MEAN_OF_TARGETS, MAP = "mean of targets", "map"  # metrics no task declares: of an average; of LAReQA
REQUIRED = ("intermediate", "target", "split", "kind", "value", "source")
COLUMNS = (
    "system", "intermediate", "target", "language", "languages", "split", "metric", "kind", "value", "layer",
    "pooling", "source", "provenance", "note",
)  # fmt: skip
CHOICES = {
    "split": ("dev", "test"), "kind": ("score", "gain"), "pooling": ("", "mean", "cls"),
    "provenance": ("seen", "recalled", "derived", "missing"),
}  # fmt: skip
IDENTITY = ("system", "intermediate", "target", "language", "split", "metric", "kind")  # of a number
AVERAGES = (MACRO, MACRO_TRAINED)  # over XTREME's nine targets; over the seven that are trained


def metric_of(task: Task) -> str:
    """What a score of ours is: the task's metric, or those that are averaged, as "f1+exact_match"."""
    return "+".join(task_metrics(task))


def read(study: Study) -> pd.DataFrame:
    """Every published number: those shipped, and those of the file that the study names."""
    if not study.published:
        return shipped()
    own = ROOT / study.published
    if not own.is_file():
        raise UserError(f"{study.path}: published: no file {own}; name a CSV of published numbers or drop the key")
    return pd.concat([shipped(), read_table(own)], ignore_index=True)


@cache
def shipped() -> pd.DataFrame:
    """The numbers that come with the package; see ``make_published.py``."""
    folder = Path(__file__).with_name("tables") / "published"
    return pd.concat([read_table(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """A table with ``COLUMNS``, rows of provenance "missing" dropped; value, languages, layer numbers or NaN.

    UserError naming file, line and column for anything else than the module's docstring describes.
    """
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    seen: dict[tuple, int] = {}
    try:
        header = next(reader, [])
        for column in header:
            if column not in COLUMNS or header.count(column) > 1:
                twice = " stands twice" if column in COLUMNS else f": unknown column{nearest(column, COLUMNS)}"
                raise UserError(f'{path}:1: "{column}"{twice}')
        lacking = [column for column in REQUIRED if column not in header]
        if lacking:
            raise UserError(f"{path}:1: no column {', '.join(lacking)}; required are {', '.join(REQUIRED)}")
        for cells in reader:
            if not cells:
                continue
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} columns, expected {len(header)} as in the first line")
            row = _row(dict(zip(header, (cell.strip() for cell in cells), strict=True)), where, path.stem)
            key = tuple(row[name] for name in IDENTITY)
            if key in seen:
                raise UserError(f"{where}: the same number as in line {seen[key]} ({', '.join(key)})")
            seen[key] = reader.line_num
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not readable as CSV: {error}") from None
    if not rows:
        raise UserError(f"{path}: holds no number")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table[table["provenance"] != "missing"].reset_index(drop=True)


def _row(given: dict[str, str], where: str, system: str) -> dict:
    """One line, checked and completed."""

    def check(column: str, known: Collection[str]) -> None:
        if row[column] not in known:
            raise UserError(f'{where}: {column}: unknown "{row[column]}"{nearest(row[column], known)}')

    def number(column: str, low: float, high: float, kind: type = float) -> float:
        try:
            value = kind(row[column])
        except ValueError:
            value = np.nan
        if not low <= value <= high:
            raise UserError(f'{where}: {column}: expected a number from {low} to {high}, found "{row[column]}"')
        return value

    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | given
    usual = {"system": system, "language": MEAN, "provenance": "seen"}
    row |= {column: value for column, value in usual.items() if not row[column]}
    check("target", [*TASKS, *AVERAGES])
    task = TASKS.get(row["target"])
    own = metric_of(task) if task else MEAN_OF_TARGETS
    row["metric"] = row["metric"] or own
    check("metric", {own, MAP, *(task.metrics if task else ())})
    check("language", [MEAN, *(task.languages if task else ())])
    for column, known in CHOICES.items():
        check(column, known)
    if row["intermediate"] not in (BEST, UNSTATED):
        try:
            parse_run(row["intermediate"])
        except UserError as error:
            raise UserError(f"{where}: intermediate: {error}") from None
    if row["intermediate"] == NONE and row["kind"] == "gain":
        raise UserError(f'{where}: kind: a gain is measured from "none"; that of "none" itself is no number')
    if not row["source"]:
        raise UserError(f"{where}: source: is empty; no number is shown without its source")
    if row["provenance"] == "missing":
        row["value"] = np.nan
    else:
        row["value"] = number("value", 0 if row["kind"] == "score" else -100, 100)
    averaged = len(task.languages) if task and row["language"] == MEAN else np.nan
    row["languages"] = number("languages", 1, 200, int) if row["languages"] else averaged
    row["layer"] = number("layer", 0, 200, int) if row["layer"] else np.nan
    return row


XTREME = {target for target in TARGETS if target != "xcopa"}  # the nine that the paper averages
MEMBERS = {MACRO: XTREME, MACRO_TRAINED: {name for name in XTREME if get(name).kind not in RETRIEVAL_KINDS}}
COMPARED, ALONE, LEFT_OUT = "compared", "alone", "left out"
SAME = ["system", "target", "language", "languages", "split", "metric", "layer", "pooling"]  # score and its baseline
OPEN = {BEST: "run chosen per target", UNSTATED: "run not stated"}
# 22,458 there. The range is that of all languages: RemBERT (arXiv:2010.12821), table 11
LARGER_ON_THE_HUB = {("udpos", "test", "de"): (47, 20_436)}
CELLS = 5  # the fewest gains that are ranked


@cache
def set_sizes() -> dict[tuple[str, str, str], tuple[int, int]]:
    """(target, split, language or "all") -> fewest and most examples (BUCC: gold pairs) of the published set."""
    sizes: dict[tuple[str, str, str], tuple[int, int]] = {}
    for task in map(get, TARGETS):
        for split, language in product({"dev", "test"} & set(task.hub), task.languages):
            place = task.hub[split][0]
            if task.kind == "mining":  # its sentences are not on the hub
                place = Hub("", "google/xtreme", "bucc18.{language}", {"dev": "validation"}.get(split, split))
            assert isinstance(place, Hub)
            key = (place.repo, place.config_of(language), place.split)
            known, whole = SIZES.get((*key, language)), SIZES.get((*key, ""))
            if count := known or whole:
                sizes[task.name, split, "all" if place.mixed and not known else language] = (count, count)
    return sizes | LARGER_ON_THE_HUB


@dataclass(frozen=True)
class Setting:
    """What decides whether a study's scores are on a published set and by a published protocol.

    ``splits``: target -> the split it is scored on; ``examples``: (target, language) -> how many (BUCC: gold
    pairs); ``training``: target -> in what its training set is not the published one; ``runs``: the same of
    intermediate runs; ``retrieval``: layer and pooling, None where states are changed after pooling.
    """

    constructed: bool = False
    splits: dict[str, str] = field(default_factory=dict)
    examples: dict[tuple[str, str], int] = field(default_factory=dict)
    training: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    retrieval: tuple[int, str] | None = None


def setting(study: Study, source: Source, stats: pd.DataFrame) -> Setting:
    """The setting of a study; ``stats``: its statistics, as ``results.read_stats`` gives them."""
    if study.source == "micro":
        return Setting(constructed=True)
    tasks = [get(target) for target in study.targets]
    splits = {task.name: evaluation_split(source, task) for task in tasks}
    examples = stats.groupby(["target", "language"], observed=True)["id"].nunique().to_dict()
    training, runs = {}, {}
    for task in tasks:
        if task.kind == "mining":
            for name, code in [key for key in examples if key[0] == task.name]:
                examples[name, code] = _gold_pairs(source.load(task, splits[name], code))
        if task.kind in RETRIEVAL_KINDS:
            continue
        trained = study.training_task(task).name
        if trained != task.training_set:
            training[task.name] = f"trained on {trained}, not {task.training_set}"
        elif study.phase("target", trained).examples or _cut(study, trained):
            training[task.name] = f"trained on part of {trained}"
    for name in study.intermediate:
        without = study.absent if name.startswith(MULTI) else ()
        cut = [task for task in parse_run(name).tasks if task in without or _cut(study, task)]
        if cut or study.phase("intermediate", name).examples:
            runs[name] = f"{name} trained on part of {', '.join(cut) or 'its sets'}"
    how = study.retrieval
    known = None if how.centre or not how.special_tokens else (how.layer, how.pooling)
    return Setting(False, splits, examples, training, runs, known)


def _cut(study: Study, task: str) -> bool:
    """Whether a study takes less, or other rows, than the training file of a task holds."""
    settings = getattr(study, study.source)
    return bool(settings.limits.train) or task in getattr(settings, "splits", {})


def _gold_pairs(data: Dataset) -> int:
    return sum(len(gold) for gold, side in zip(data["gold"][:], data["side"][:], strict=True) if side == "foreign")


def compare(rows: pd.DataFrame, table: pd.DataFrame, setting: Setting, any_split: bool = False) -> pd.DataFrame:
    """Published ``rows`` beside the estimates ``table`` (of ``results.estimates``), one row per published number.

    Added columns: status ("compared"; "alone": the same set, but the run or the retrieval protocol is not known to
    be one of ours; "left out"), why, ours, low, high, seeds and difference (ours minus published). Where only the
    run is not known, low and high are the lowest and highest of our runs. ``any_split`` lets a development set
    stand for a test set and the reverse: for ranks of gains, not for differences.
    """
    here, empty = dict(list(table.groupby(["target", "language", "quantity"]))), table[:0]
    found = []
    for row in rows.itertuples(index=False):
        why, status = _set_differs(row, setting, any_split), LEFT_OUT
        cell = dict.fromkeys(("ours", "low", "high", "difference"), np.nan) | {"seeds": 0}
        if not why:
            why, status = _protocol_differs(row, setting), ALONE
        values = here.get((row.target, row.language, row.kind), empty)
        if status == ALONE and why:  # of 36 languages by another protocol, the mean says enough
            status = ALONE if row.language == MEAN else LEFT_OUT
        elif not why and row.intermediate in OPEN:
            cell |= {"low": values["value"].min(), "high": values["value"].max()}
            why = OPEN[row.intermediate]
        elif not why and row.intermediate in setting.runs:
            status, why = LEFT_OUT, setting.runs[row.intermediate]
        elif not why:
            estimate = values[values["intermediate"] == row.intermediate].dropna(subset="value")
            status, why = (COMPARED, "") if len(estimate) else (LEFT_OUT, f"no score of ours with {row.intermediate}")
            for one in estimate.itertuples():
                cell = {"ours": one.value, "low": one.low, "high": one.high, "seeds": one.seeds}
                cell["difference"] = one.value - row.value
        found.append({**row._asdict(), "status": status, "why": why, **cell})
    return pd.DataFrame(found)


def _set_differs(row: Any, setting: Setting, any_split: bool) -> str:
    """Why a number is on another set than ours, or ""."""
    if setting.constructed:
        return "constructed languages"
    if row.target in MEMBERS and MEMBERS[row.target] != _averaged(setting, row.target):
        return "averages other targets"
    for target in MEMBERS.get(row.target, (row.target,)):
        task = get(target)
        if target not in setting.splits:
            return "not a target here"
        if target in setting.training:
            return setting.training[target]
        split = _only_split(task) or setting.splits[target]
        if not any_split and split != (_only_split(task) or row.split):
            return f"{target} on {row.split}, ours on {split}"
        if row.target == target and row.metric != metric_of(task):
            return f"{row.metric}, ours is {metric_of(task)}"
        languages = task.languages if row.language == MEAN else (row.language,)
        here = {code for name, code in setting.examples if name == target}
        if not here.issuperset(languages) or (row.language == MEAN and here != set(languages)):
            return "other languages" if row.language == MEAN else "language not here"
        differs = _size_differs(target, split, languages, setting.examples)
        if differs:
            return differs
    return ""


def _averaged(setting: Setting, average: str) -> set[str]:
    """Targets that an average of ours is over."""
    return {t for t in setting.splits if average == MACRO or get(t).kind not in RETRIEVAL_KINDS}


def _only_split(task: Task) -> str:
    """The split of a task with a single evaluation set, which goes as "dev" and as "test" in print."""
    splits = [split for split in ("dev", "test") if split in task.files]
    return splits[0] if len(splits) == 1 else ""


def _size_differs(target: str, split: str, languages: Collection[str], examples: dict[tuple[str, str], int]) -> str:
    sizes, total = set_sizes(), set_sizes().get((target, split, "all"))
    if total:
        here = sum(count for (name, _), count in examples.items() if name == target)
        return "" if total[0] <= here <= total[1] else f"{target}: {here:,} of {total[1]:,} examples"
    for code in languages:
        least, most = sizes.get((target, split, code), (0, 0))
        if not most:
            return f"size of {target} {split} in {code} not known"
        if not least <= examples[target, code] <= most:
            return f"{target} in {code}: {examples[target, code]:,} examples, published {most:,}"
    return ""


def _protocol_differs(row: Any, setting: Setting) -> str:
    """Why a number on the same set was had in another way, or ""."""
    retrieves = row.target == MACRO or (row.target in TASKS and get(row.target).kind in RETRIEVAL_KINDS)
    if row.language == MEAN and row.target in TASKS and row.languages != len(get(row.target).languages):
        return f"mean of {row.languages:.0f} languages"
    if retrieves and not (np.isfinite(row.layer) and row.pooling):
        return "retrieval protocol not known"
    if retrieves and (row.layer, row.pooling) != setting.retrieval:
        return f"retrieval from layer {row.layer:.0f}, {row.pooling}"
    return ""


def shown(compared: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`compare` that a table or figure may hold: scores, then gains; averages over languages first."""
    place = {target: number for number, target in enumerate([*TASKS, *AVERAGES])}
    keys = {
        "gain": compared["kind"] == "gain",
        "single": compared["language"] != MEAN,
        "place": compared["target"].map(place),
        "tuned": compared["intermediate"] != NONE,
    }
    ordered = compared.assign(**keys).sort_values([*keys, "language"], kind="stable").drop(columns=list(keys))
    return ordered[ordered["status"] != LEFT_OUT].reset_index(drop=True)


def with_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows``, and the gains that follow from scores whose table has a row of ``none`` from the same source."""
    score, same = rows[rows["kind"] == "score"], [*SAME, "source"]
    base = score.loc[score["intermediate"] == NONE, [*same, "value", "provenance"]]
    paired = score[score["intermediate"] != NONE].merge(base, on=same, suffixes=("", "_none"))
    checked = (paired["provenance"] != "recalled") & (paired["provenance_none"] != "recalled")
    provenance = np.where(checked, "derived", "recalled")
    paired = paired.assign(kind="gain", value=paired["value"] - paired["value_none"], provenance=provenance)
    both = pd.concat([rows, paired[list(COLUMNS)]], ignore_index=True)
    return both.drop_duplicates(["intermediate", "kind", *SAME], ignore_index=True)


def agreement(
    rows: pd.DataFrame, table: pd.DataFrame, setting: Setting, rng: np.random.Generator, resamples: int = 1000
) -> pd.DataFrame:
    """How far the gains of a published table agree with ours in sign and in rank, over all targets and for each.

    Gains in the mean over languages, of the same task, metric and languages; the split may be the other one
    (same_split counts those on ours). Columns: system, target ("all" or one), gains (how many), same_split,
    equal_signs (share), tau (Kendall's tau-b), low, high (95%, gains drawn with replacement and taken as given),
    source. Nothing for tables with fewer than ``CELLS`` such gains.
    """
    gains = with_gains(rows).query("kind == 'gain' and language == @MEAN and target in @TASKS")
    found = compare(gains, table, setting, any_split=True) if len(gains) else pd.DataFrame(columns=["status"])
    found = found[found["status"] == COMPARED]
    parts = []
    for system, part in found.groupby("system", sort=False) if len(found) else ():
        for target, cells in [("all", part), *part.groupby("target", sort=False)]:
            if len(cells) >= CELLS:
                on_ours = sum(not _set_differs(row, setting, False) for row in cells.itertuples())
                signs = (np.sign(cells["ours"]) == np.sign(cells["value"])).mean()
                tau = kendall(cells["ours"].to_numpy(), cells["value"].to_numpy(), rng, resamples)
                recalled = int((cells["provenance"] == "recalled").sum())
                sources = "; ".join(cells["source"].unique()) + f" († {recalled} recalled)" * (recalled > 0)
                parts.append((system, target, len(cells), on_ours, signs, *tau, sources))
    head = ["system", "target", "gains", "same_split", "equal_signs", "tau", "low", "high", "source"]
    return pd.DataFrame(parts, columns=head)


def kendall(ours: np.ndarray, published: np.ndarray, rng: np.random.Generator, resamples: int) -> tuple[float, ...]:
    """(tau-b, low, high): percentile bootstrap of pairs; a resample without spread counts as 0."""

    def tau(one: np.ndarray, other: np.ndarray) -> float:
        return np.nan_to_num(distributions.kendalltau(one, other, method="asymptotic").statistic)

    interval = distributions.bootstrap(
        (ours, published), tau, paired=True, vectorized=False, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return float(tau(ours, published)), float(interval.low), float(interval.high)


def summary(compared: pd.DataFrame, checkpoint: str = "") -> str:
    """How many published numbers are compared, and why the others are not."""
    counts = compared["status"].value_counts()
    out = compared[compared["status"] == LEFT_OUT]
    if len(out) == len(compared):
        reasons = "; ".join(out["why"].value_counts().index[:3])
        return f"No published number has the task, split, metric and language of one of ours ({reasons})."
    left = []
    for target, part in out.groupby("target", sort=False):
        reasons = part["why"].value_counts().index  # the most frequent first
        left.append(f"{len(part)} of {target} ({'; '.join(reasons[:2])}{'; …' if len(reasons) > 2 else ''})")
    return (
        f"{counts.get(COMPARED, 0)} published numbers are compared with ours, {counts.get(ALONE, 0)} stand beside "
        f"them without a difference. Ours are of {checkpoint or 'an encoder pretrained here'}.\n"
        f"Left out: {', '.join(left) or 'none'}."
    )


def readable(part: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``comparison.shown`` as a person reads them; a dagger marks a number that was not checked."""
    rows = []
    for row in part.rename(columns={"kind": "quantity"}).itertuples():
        difference, ours = row.why, "–"
        if row.status == COMPARED:
            difference, ours = f"{row.difference:+.1f}", with_interval(row._replace(value=row.ours))
        elif np.isfinite(row.low):
            ours = f"{row.low:.1f} to {row.high:.1f} over our runs"
        rows.append(
            {
                "target": title(row.target),
                "language": row.language,
                "run": row.intermediate,
                "what": f"{row.quantity}, {row.metric}, {row.split}",
                "published": printed(row.value) + dagger(row.provenance),
                "ours": ours,
                "difference": difference,
                "system": row.system,
                "protocol": row.note,
                "source": row.source + (" († recalled, not checked)" if dagger(row.provenance) else ""),
            }
        )
    table = pd.DataFrame(rows)
    numbers = [name for name in ("published", "ours", "difference") if len(table)]
    table[numbers] = table[numbers].replace("-(?=[0-9])", "−", regex=True)
    return table


def title(target: str) -> str:
    """A target as a person reads it."""
    if target in TASKS:
        return get(target).title
    return f"mean of {len(MEMBERS[target])} targets" + (", no retrieval" if target == MACRO_TRAINED else "")


def printed(value: float) -> str:
    """A published number as it stood: one decimal, or two where it has them."""
    return f"{value:.2f}".removesuffix("0")


def dagger(provenance: str) -> str:
    """The mark of a number that nobody checked."""
    return "†" if provenance == "recalled" else ""


def published_panel(table: pd.DataFrame) -> Figure:
    """Published numbers beside ours with intervals, the difference at the right, the sources below.

    ``table``: rows of ``comparison.shown``. A panel per target for averages over languages; per target, run and
    system for single languages. A grey bar spans our runs where it is not known which the published one is.
    """
    sources = {source: f"[{number}]" for number, source in enumerate(table["source"].unique(), 1)}
    notes = [f"{mark} {source}" for source, mark in sources.items()]
    notes += ["† recalled, not checked"] if (table["provenance"] == "recalled").any() else []
    notes = [line for note in notes for line in textwrap.wrap(note, 105)]
    panels = _panels(table.assign(mark=table["source"].map(sources)))
    heights = [len(part) + 0.6 for part in panels.values()]
    size = (5.5, 0.55 + 0.17 * sum(heights) + 0.24 * len(panels) + 0.11 * len(notes))
    figure, grid = plt.subplots(len(panels), 1, figsize=size, squeeze=False, height_ratios=heights)
    axes = dict(zip(panels, grid.flat, strict=True))
    for name, ax in axes.items():
        published_dots(panels[name], ax)
        ax.set_title(name, loc="left", fontweight="bold", fontsize=7)
    grid[0, 0].set_title("ours − published", loc="right", fontsize=6, x=1.12)
    for kind, label in (("score", "score"), ("gain", "gain over none (points)")):  # one scale each
        alike = [ax for name, ax in axes.items() if (panels[name]["kind"] == kind).all()]
        if alike:
            low, high = min(ax.get_xlim()[0] for ax in alike), max(ax.get_xlim()[1] for ax in alike)
            limits = (max(low, -3), min(high, 103)) if kind == "score" else (min(low, -0.5), max(high, 0.5))
            plt.setp(alike, xlim=limits)
            alike[-1].set_xlabel(label)
        for ax in alike[:-1]:
            ax.tick_params(labelbottom=False)
    entries: dict[str, Any] = {}
    for ax in grid.flat:
        handles, names = ax.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=len(entries))
    figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=6, color="0.3")
    what = "Published numbers as diamonds beside ours as dots with 95% intervals. Published"
    said = [plots.alternative_text(what, table, ["target", "intermediate", "language", "system"])]
    if table["difference"].notna().any():
        differences = table.dropna(subset="difference")[["target", "intermediate", "difference"]]
        differences = differences.rename(columns={"difference": "value"})
        said.append(
            plots.alternative_text("Ours minus published", differences, ["target", "intermediate"], signed=True)
        )
    figure.set_label(" ".join(said))
    return figure


def _panels(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Title -> rows, each with the column line."""
    titles, lines = [], []
    for row in table.itertuples():
        name = title(row.target) + ", gain" * (row.kind == "gain")
        published, mean = f"{row.system} {row.mark}", row.language == MEAN
        titles.append(name if mean else f"{name}, {row.intermediate}: {published}")
        lines.append((f"{row.intermediate} · {published}" if mean else row.language) + dagger(row.provenance))
    return dict(list(table.assign(line=lines).groupby(np.array(titles), sort=False)))


def published_dots(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line per row of ``table``: value (published), ours, low, high, difference; named by the column line."""
    place, known = np.arange(len(table)), table["ours"].notna().to_numpy()
    if table.loc[~known, "low"].notna().any():
        part = table[~known]
        ax.hlines(place[~known], part["low"], part["high"], color="0.82", linewidth=5, label="range of our runs")
    if known.any():
        part = table[known]
        ax.hlines(place[known], part["low"], part["high"], color=NEUTRAL, linewidth=1)
        ax.scatter(part["ours"], place[known], s=16, color=NEUTRAL, label="ours", zorder=2)
    look = {"marker": "D", "s": 18, "facecolors": "none", "edgecolors": "black", "linewidths": 0.9}
    ax.scatter(table["value"], place, label="published", zorder=3, **look)
    for position, difference in zip(place, table["difference"], strict=True):
        text = f"{difference:+.1f}".replace("-", "−") if np.isfinite(difference) else "–"
        ax.text(1.01, position, text, transform=ax.get_yaxis_transform(), va="center", fontsize=6)
    ax.set_yticks(place, table["line"], fontsize=6)
    ax.set(ylim=(len(table) - 0.5, -0.5))
    ax.tick_params(axis="y", length=0)
    ax.grid()
    return ax
