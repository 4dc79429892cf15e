"""Learning curves of direct tuning, and how many examples of the target language an intermediate task is worth: where
the curve meets the task's zero-shot score.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from ..results import Replicates, mean_of
from ..settings import DIRECT
from ..sources.kept import KeptSource
from ..study import Study
from ..tasks import TASKS
from ..tunings import SOURCE, tunings
from .distances import INTERMEDIATE, interval, present

MEDIAN = "median"  # in the column language


def training_sizes(study: Study, source: KeptSource) -> pd.DataFrame:
    """Points of the learning curves, one row each: target, language (it is trained in), run (its name in
    ``distances.read_stats``) and examples, on how many it is really trained; of two that are the same the whole set."""
    rows = []
    for tuning in tunings(study, source, DIRECT):
        task = study.training_task(TASKS[tuning.target])
        whole = sum(source.size(task, *part) for part in tuning.training_sets(study, source))
        word, code = (DIRECT, tuning.language) if tuning.language else (SOURCE, study.source_language)
        examples = min(tuning.phase(study).examples or whole, whole)
        rows.append((tuning.target, code, f"{word}={tuning.examples}", examples, tuning.examples == 0))
    table = pd.DataFrame(rows, columns=["target", "language", "run", "examples", "whole"])
    table = table.sort_values(["target", "language", "examples", "whole"], ignore_index=True)
    return table.drop_duplicates(["target", "language", "examples"], keep="last").drop(columns="whole")


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Learning curves [sizes, ...] made to rise: the nearest, in least squares, that never fall (isotonic)."""
    flat = scores.reshape(len(scores), -1)
    return np.stack([isotonic_regression(curve).x for curve in flat.T], axis=1).reshape(scores.shape)


def crossing(examples: Sequence[int], curve: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Number of examples at which a curve that never falls ([sizes, ...]) first meets ``level`` ([...]), linear in
    log examples between its points. Censored: 0 where its first point does already, inf where none does."""
    above = curve >= level
    first = above.argmax(axis=0)
    if len(curve) == 1:
        return np.where(above[0], 0.0, np.inf)
    place = np.maximum(first, 1)
    low, high = (np.take_along_axis(curve, index[None], 0)[0] for index in (place - 1, place))
    logs = np.log10(examples)
    share = np.clip(np.divide(level - low, high - low, out=np.zeros(low.shape), where=high > low), 0, 1)
    between = 10 ** (logs[place - 1] + share * (logs[place] - logs[place - 1]))
    return np.select([~above.any(axis=0), first == 0], [np.inf, 0.0], between)


def learning_curves(found: Replicates, sizes: pd.DataFrame, codes: Sequence[str]) -> pd.DataFrame:
    """Scores by number of examples: target, language (scored in), series (``DIRECT``, or "source": zero-shot from as
    many of the source language), examples, value, low, high, seeds. ``sizes``: of :func:`training_sizes`."""
    rows = []
    for row in sizes.itertuples():
        series = row.run.partition("=")[0]
        for code in codes if series == SOURCE else [row.language]:
            score, spread, seeds = found.deviations(*found.of(row.run, row.target, [code]))
            if seeds:
                bounds = np.clip(interval(np.append(score, score + spread)), 0, 100)
                rows.append((row.target, code, series, row.examples, *bounds, seeds))
    head = ["target", "language", "series", "examples", "value", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=head)


def worth(found: Replicates, sizes: pd.DataFrame, runs: Sequence[str], averaged: Sequence[str]) -> pd.DataFrame:
    """How many examples of the target language, in direct tuning, give the zero-shot score of each run, and the mean
    score of those of ``averaged`` (``INTERMEDIATE``); then, as the language ``MEDIAN``, the median over languages, the
    lower one of two.

    Columns: target, language, run, examples, low, high (over test examples and seeds), smallest, largest (sizes that
    were trained), seeds. Censored as :func:`crossing` says: 0 is fewer than the smallest, inf more than the largest.
    Curve and level are moved together on each resample: the same test examples score both.
    """
    rows, direct = [], sizes[sizes["run"].str.startswith(DIRECT)]
    medians: dict[tuple[str, str], list[tuple]] = {}
    for (target, code), part in direct.groupby(["target", "language"], sort=False):
        drawn = {row.examples: found.deviations(*found.of(row.run, target, [code])) for row in part.itertuples()}
        moved = {count: np.append(score, score + spread) for count, (score, spread, seeds) in drawn.items() if seeds}
        if not moved:
            continue
        curve = smoothed(np.stack(list(moved.values())))
        levels = {run: found.of(run, target, [code]) for run in runs}
        if among := present(found, averaged, [target]):
            levels[INTERMEDIATE] = mean_of([found.of(run, target, [code]) for run in among])
        for run, level in levels.items():
            score, spread, seeds = found.deviations(*level)
            if seeds:
                met = crossing(list(moved), curve, np.append(score, score + spread))
                rows.append((target, code, run, *interval(met), min(moved), max(moved), seeds))
                medians.setdefault((target, run), []).append((met, min(moved), max(moved), seeds))
    for (target, run), parts in medians.items():
        numbers, smallest, largest, counts = zip(*parts, strict=True)
        middle = np.quantile(np.stack(numbers), 0.5, axis=0, method="lower")  # one of them: some may be infinite
        rows.append((target, MEDIAN, run, *interval(middle), min(smallest), max(largest), min(counts)))
    head = ["target", "language", "run", "examples", "low", "high", "smallest", "largest", "seeds"]
    return pd.DataFrame(rows, columns=head)
