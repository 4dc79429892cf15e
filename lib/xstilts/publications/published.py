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
"""

import csv
import io
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import UserError, nearest
from ..results import MACRO, MACRO_TRAINED, MEAN, task_metrics
from ..sources.rawfiles import text_of
from ..study import NONE, ROOT, Study, parse_run
from ..tasks import TASKS, Task

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
    folder = Path(__file__).with_name("numbers")
    return pd.concat([read_table(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """A table with ``COLUMNS``, rows of provenance "missing" dropped; value, languages, layer numbers or NaN.

    UserError naming file, line and column for anything else than the module's docstring describes.
    """
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    rows, seen = [], {}
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

    def check(column: str, known) -> None:
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

    row = dict.fromkeys(COLUMNS, "") | given
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
