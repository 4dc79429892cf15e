"""Alternative text of figures, computed from the tables they are drawn from."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..results import MACRO, MACRO_TRAINED, marked
from ..tasks import TASKS

AVERAGES = {MACRO: "average of all targets", MACRO_TRAINED: "average without retrieval"}


def values(what: str, table: pd.DataFrame, by: Sequence[str], signed: bool = False, decimals: int = 1) -> str:
    """``what``, then how many values there are, the lowest and the highest, and how many are missing.

    ``table``: a row per value, in the column value; ``by``: columns that say which one a value is. ``signed``: they
    are differences; where they have intervals (low, high), how many lie above and below zero is said, too.
    """
    there = table.dropna(subset="value")
    gaps = len(table) - len(there)
    missing = f"; {gaps} missing" if gaps else ""
    if there.empty:
        return f"{what}: no values{missing}."
    numbers = there["value"].to_numpy()
    ends = [
        f"{_number(numbers[place], signed, decimals)} ({', '.join(_name(there.iloc[place], column) for column in by)})"
        for place in ((numbers.argmin(), numbers.argmax()) if len(there) > 1 else (0,))
    ]
    text = f"{what}: {len(there)} values, from {ends[0]} to {ends[-1]}" if len(there) > 1 else f"{what}: {ends[0]}"
    if signed and {"low", "high"} <= set(there.columns):
        above, below = int((there["low"] > 0).sum()), int((there["high"] < 0).sum())
        text += f"; {_count(int(marked(there).sum()))}, {above} above and {below} below it"
    return f"{text}{missing}."


def course(what: str, x: Sequence[float], y: Sequence[float]) -> str:
    """``what``, then the first and the last point of a curve."""
    at, values = np.asarray(x), np.asarray(y)
    ends = [f"{_number(values[place], False, 2)} at {at[place]:,}" for place in (0, -1)]
    return f"{what}: from {' to '.join(ends)}."


def _count(marks: int) -> str:
    return "1 interval excludes zero" if marks == 1 else f"{marks} intervals exclude zero"


def _number(value: float, signed: bool, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", "−")  # no -0.0


def _name(row: pd.Series, column: str) -> str:
    name = row[column]
    if column in ("target", "part") and name in TASKS:
        return TASKS[name].title
    return AVERAGES.get(name, str(name).replace("_", " "))
