"""Published numbers beside ours: only where task, split, metric and language agree. None is without its source.

``tables/published/*.csv`` holds those shipped (``tools/make_published.py`` says where each row comes from). A study
may add a file of its own, ``published: path/to/table.csv`` in the study file: a row per number, with the columns

* required: ``intermediate`` (a run, or "best": chosen per target on development sets, or "unstated"), ``target``
  (a task, "macro" or "macro without retrieval"), ``split`` (dev, test), ``kind`` (score, gain), ``value`` (percent
  or points) and ``source``;
* where not the usual: ``system``, ``language`` (a code, or "mean"), ``languages`` (how many a mean is over: all of
  the task's), ``metric`` (the task's own), ``layer`` and ``pooling`` (of a retrieval target; unknown when empty),
  ``provenance`` (seen; recalled: not checked; derived: computed from what was seen; missing: not shown), ``note``.

"Agree" is meant strictly. The set that is scored must be the whole published one (``tables/hub_sizes.csv`` has the
sizes), in the same languages; the target must be trained on its own training set; an average must be over the same
targets. Encoders may differ, and both are named. A difference is given only where, besides, a run of ours is the
published one and, for retrieval, layer and pooling are the same.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xstilts.errors import UserError, located, nearest, refuse
from xstilts.io import ROOT
from xstilts.locations import Hub
from xstilts.names import MULTI, NONE, parse_run
from xstilts.plots import interval_panels, title
from xstilts.readers.records import csv_records
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, task_metrics
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.sources.hub import SIZES
from xstilts.summaries import with_interval
from xstilts.target_runs import evaluation_split
from xstilts.tasks import RETRIEVAL_KINDS, TARGETS, TASKS, Task, get

BEST, UNSTATED = "best", "unstated"  # instead of a run: chosen per target on development sets; not stated
MEAN_OF_TARGETS, MAP = "mean of targets", "map"  # metrics no task declares: of an average; of LAReQA
REQUIRED = ("intermediate", "target", "split", "kind", "value", "source")
COLUMNS = (
    "system", "intermediate", "target", "language", "languages", "split", "metric", "kind", "value", "layer",
    "pooling", "source", "provenance", "note",
)  # fmt: skip
IDENTITY = ("system", "intermediate", "target", "language", "split", "metric", "kind")  # of a number

XTREME = {target for target in TARGETS if target != "xcopa"}  # the nine that the paper averages
# what is averaged: XTREME's nine targets; the seven that are trained
MEMBERS = {MACRO: XTREME, MACRO_TRAINED: {name for name in XTREME if get(name).kind not in RETRIEVAL_KINDS}}
COMPARED, ALONE, LEFT_OUT = "compared", "alone", "left out"
OPEN = {BEST: "run chosen per target", UNSTATED: "run not stated"}


def metric_of(task: Task) -> str:
    """What a score of ours is: the task's metric, or those that are averaged, as "f1+exact_match"."""
    return "+".join(task_metrics(task))


def read(study: Study) -> pd.DataFrame:
    """Every published number: those shipped, and those of the file that the study names."""
    if not study.published:
        return shipped()
    own = ROOT / study.published
    message = f"{study.path}: published: no file {own}; name a CSV of published numbers or drop the key"
    refuse(not own.is_file(), message)
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
    rows: dict[tuple, dict] = {}
    for origin, cells in csv_records(path, REQUIRED):
        with located(origin):
            row = _row(cells, path.stem)
            key = tuple(row[name] for name in IDENTITY)
            refuse(key in rows, f"a number that an earlier line has, too ({', '.join(key)})")
        rows[key] = row
    refuse(not rows, f"{path}: holds no number")
    table = pd.DataFrame(rows.values(), columns=list(COLUMNS))
    return table[table["provenance"] != "missing"].reset_index(drop=True)


def _row(cells: dict[str, str], system: str) -> dict:
    """One line, checked and completed."""
    for column in set(cells) - set(COLUMNS):
        raise UserError(f'"{column}": unknown column{nearest(column, COLUMNS)}')
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {column: cell.strip() for column, cell in cells.items()}
    task = TASKS.get(row["target"])
    metric, languages = (metric_of(task), task.languages) if task else (MEAN_OF_TARGETS, ())
    averaged = len(languages) if languages and row["language"] in ("", MEAN) else ""
    usual = {"system": system, "language": MEAN, "languages": averaged, "metric": metric, "provenance": "seen"}
    row |= {column: value for column, value in usual.items() if not row[column]}
    choices = {
        "target": (*TASKS, *MEMBERS), "metric": (metric, MAP, *(task.metrics if task else ())),
        "language": (MEAN, *languages), "split": ("dev", "test"), "kind": ("score", "gain"),
        "pooling": ("", "mean", "cls"), "provenance": ("seen", "recalled", "derived", "missing"),
    }  # fmt: skip
    for column, known in choices.items():
        if row[column] not in known:
            raise UserError(f'{column}: unknown "{row[column]}"{nearest(row[column], known)}')
    if row["intermediate"] not in OPEN:
        with located("intermediate"):
            parse_run(row["intermediate"])
    gain, missing = row["kind"] == "gain", row["provenance"] == "missing"
    refuse(gain and row["intermediate"] == NONE, 'kind: a gain is measured from "none"; "none" itself has none')
    refuse(not row["source"], "source: is empty; no number is shown without its source")
    bounds = {"value": (-100 if gain else 0, 100), "languages": (1, 200), "layer": (0, 200)}
    for column, (low, high) in bounds.items():
        text = row[column]
        try:
            row[column] = float(text) if column == "value" else int(text)
        except ValueError:
            row[column] = np.nan
        needed = text != "" or (column == "value" and not missing)
        in_bounds = low <= row[column] <= high
        refuse(needed and not in_bounds, f'{column}: expected a number from {low} to {high}, found "{text}"')
    return row


@cache
def set_sizes() -> dict[tuple[str, str, str], tuple[int, int]]:
    """(target, split, language or "all") -> fewest and most examples (BUCC: gold pairs) of the published set."""
    sizes: dict[tuple[str, str, str], tuple[int, int]] = {}
    for task in map(get, TARGETS):
        for split, language in product({"dev", "test"} & set(task.hub), task.languages):
            location = task.hub[split][0]
            if task.kind == "mining":  # its sentences are not on the hub
                location = Hub("", "google/xtreme", "bucc18.{language}", {"dev": "validation"}.get(split, split))
            assert isinstance(location, Hub)
            key = location.key(language)
            known, whole = SIZES.get((*key, language)), SIZES.get((*key, ""))
            if count := known or whole:
                sizes[task.name, split, "all" if location.mixed and not known else language] = (count, count)
    # 22,458 on the hub. The range is that of all languages: RemBERT (arXiv:2010.12821), table 11
    return sizes | {("udpos", "test", "de"): (47, 20_436)}


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
    tasks = [study.task(target) for target in study.targets]
    splits = {task.name: evaluation_split(source, task) for task in tasks}
    examples = stats.groupby(["target", "language"], observed=True)["id"].nunique().to_dict()
    training, runs = {}, {}
    for task in tasks:
        if task.kind == "mining":
            for name, code in [key for key in examples if key[0] == task.name]:
                rows = source.load(task, splits[name], code).to_pandas()
                examples[name, code] = rows.loc[rows["side"] == "foreign", "gold"].map(len).sum()
        if task.kind in RETRIEVAL_KINDS:
            continue
        trained = study.training_task(task).name
        if trained != task.training_set:
            training[task.name] = f"trained on {trained}, not {task.training_set}"
        elif study.phase("target", trained).examples or _cut(study, trained):
            training[task.name] = f"trained on part of {trained}"
    for name in study.intermediate:
        without = study.absent if name.startswith(MULTI) else ()
        cut = [task for task in parse_run(name, study.tasks).tasks if task in without or _cut(study, task)]
        if cut or study.phase("intermediate", name).examples:
            runs[name] = f"{name} trained on part of {', '.join(cut) or 'its sets'}"
    how = study.retrieval
    known = None if how.centre or not how.special_tokens else (how.layer, how.pooling)
    return Setting(False, splits, examples, training, runs, known)


def _cut(study: Study, task: str) -> bool:
    """Whether a study takes less, or other rows, than the training file of a task holds."""
    settings = getattr(study, study.source)
    return bool(settings.limits.train) or task in getattr(settings, "splits", {})


def compare(rows: pd.DataFrame, table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Published ``rows`` beside the estimates ``table`` (of ``results.estimates``), one row per published number.

    Added columns: status ("compared"; "alone": the same set, but the run or the retrieval protocol is not known to
    be one of ours; "left out"), why, ours, low, high, seeds and difference (ours minus published). Where only the
    run is not known, low and high are the lowest and highest of our runs.
    """
    groups = dict(list(table.groupby(["target", "language", "quantity"])))
    compared = []
    for row in rows.itertuples(index=False):
        values = groups.get((row.target, row.language, row.kind), table[:0])
        estimate = values[values["intermediate"] == row.intermediate].dropna(subset="value")
        status, why = _status(row, setting, scored=len(estimate) > 0)
        cell = dict.fromkeys(("ours", "low", "high", "difference"), np.nan) | {"seeds": 0}
        if status == COMPARED:
            ours = estimate.iloc[0]
            cell |= {"ours": ours["value"], "difference": ours["value"] - row.value, **ours[["low", "high", "seeds"]]}
        elif status == ALONE and why in OPEN.values():
            cell |= {"low": values["value"].min(), "high": values["value"].max()}
        compared.append({**row._asdict(), "status": status, "why": why, **cell})
    return pd.DataFrame(compared)


def _status(row: Any, setting: Setting, scored: bool) -> tuple[str, str]:
    """Status of a published number, and why it is not compared."""
    if why := _set_differs(row, setting):
        return LEFT_OUT, why
    if why := _protocol_differs(row, setting):
        return ALONE if row.language == MEAN else LEFT_OUT, why  # of 36 languages the mean says enough
    if row.intermediate in OPEN:
        return ALONE, OPEN[row.intermediate]
    if row.intermediate in setting.runs:
        return LEFT_OUT, setting.runs[row.intermediate]
    return (COMPARED, "") if scored else (LEFT_OUT, f"no score of ours with {row.intermediate}")


def _set_differs(row: Any, setting: Setting) -> str:
    """Why a number is on another set than ours, or ""."""
    if setting.constructed:
        return "constructed languages"
    members = MEMBERS.get(row.target, {row.target})
    if row.target in MEMBERS and set(setting.splits) - (XTREME - members) != members:
        return "averages other targets"
    for target in sorted(members):
        task = get(target)
        if target not in setting.splits:
            return "not a target here"
        if target in setting.training:
            return setting.training[target]
        split = _only_split(task) or setting.splits[target]
        if split != (_only_split(task) or row.split):
            return f"{target} on {row.split}, ours on {split}"
        if row.target == target and row.metric != metric_of(task):
            return f"{row.metric}, ours is {metric_of(task)}"
        languages = task.languages if row.language == MEAN else (row.language,)
        scored = {code for name, code in setting.examples if name == target}
        if row.language == MEAN and scored != set(languages):
            return "other languages"
        if not scored.issuperset(languages):
            return "language not here"
        if differs := _size_differs(target, split, languages, setting.examples):
            return differs
    return ""


def _only_split(task: Task) -> str:
    """The split of a task with a single evaluation set, which goes as "dev" and as "test" in print."""
    splits = [split for split in ("dev", "test") if split in task.files]
    return splits[0] if len(splits) == 1 else ""


def _size_differs(target: str, split: str, languages: Collection[str], examples: dict[tuple[str, str], int]) -> str:
    counts = {code: examples[target, code] for code in languages}
    if (target, split, "all") in set_sizes():
        counts = {"all": sum(count for (name, _), count in examples.items() if name == target)}
    for code, count in counts.items():
        least, most = set_sizes().get((target, split, code), (0, 0))
        if not most:
            return f"size of {target} {split} in {code} not known"
        if not least <= count <= most:
            return f"{target} in {code}: {count:,} examples, published {most:,}"
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
    targets = [*TASKS, *MEMBERS]

    def position(row: Any) -> tuple:
        averaged, place = row.language == MEAN, targets.index(row.target)
        return row.kind == "gain", not averaged, place, row.intermediate != NONE, row.language

    ordered = sorted(compared[compared["status"] != LEFT_OUT].itertuples(), key=position)
    return compared.loc[[row.Index for row in ordered]].reset_index(drop=True)


def summary(compared: pd.DataFrame, checkpoint: str = "") -> str:
    """How many published numbers are compared, and why the others are not."""
    counts = compared["status"].value_counts()
    reasons = compared.loc[compared["status"] == LEFT_OUT, "why"].value_counts()
    if counts.get(LEFT_OUT, 0) == len(compared):
        why = "; ".join(reasons.index[:3])
        return f"No published number has the task, split, metric and language of one of ours ({why})."
    left_out = "; ".join(f"{number} for {why}" for why, number in reasons.items())
    return (
        f"{counts.get(COMPARED, 0)} published numbers are compared with ours, {counts.get(ALONE, 0)} stand beside "
        f"them without a difference. Ours are of {checkpoint or 'an encoder pretrained here'}.\n"
        f"Left out: {left_out or 'none'}."
    )


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`shown` as a person reads them; a dagger marks a number that was not checked."""
    recalled = table["provenance"] == "recalled"
    published = table["value"].map("{:.2f}".format).astype(str).str.removesuffix("0").str.replace("-", "−")
    difference = table["difference"].map("{:+.1f}".format).astype(str).str.replace("-", "−")
    columns = {
        "target": table["target"].map(title),
        "language": table["language"],
        "run": table["intermediate"],
        "what": table["kind"] + ", " + table["metric"] + ", " + table["split"],
        "published": published + np.where(recalled, "†", ""),
        "ours": [_ours(row) for row in table.rename(columns={"kind": "quantity"}).itertuples()],
        "difference": difference.where(table["status"] == COMPARED, table["why"]),
        "system": table["system"],
        "protocol": table["note"],
        "source": table["source"] + np.where(recalled, " († recalled, not checked)", ""),
    }
    return pd.DataFrame(columns)


def _ours(row: Any) -> str:
    """Our number beside a published one, or the span of our runs."""
    if row.status == COMPARED:
        return with_interval(row._replace(value=row.ours))
    return f"{row.low:.1f} to {row.high:.1f} over our runs".replace("-", "−") if np.isfinite(row.low) else "–"


def figure(table: pd.DataFrame) -> Figure:
    """Published numbers beside ours: rows of :func:`shown` that are compared. Their sources are in :func:`readable`."""
    rows = table[table["status"] == COMPARED]
    lines = rows["target"].map(title) + " · " + rows["intermediate"] + " · " + rows["system"]
    lines += np.where(rows["language"] == MEAN, "", " · " + rows["language"])
    lines += np.where(rows["provenance"] == "recalled", "†", "")
    rows = rows.assign(line=lines, quantity=rows["kind"]).drop_duplicates(["line", "kind"])
    printed = rows.assign(low=np.nan, high=np.nan, series="published")
    both = pd.concat([printed, rows.assign(value=rows["ours"], series="ours")])
    what, label = "Published numbers beside ours with 95% intervals", "score (%); gain over none (points)"
    return interval_panels(both, "line", "series", "kind", what, label, sharex=False)
