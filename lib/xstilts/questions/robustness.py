"""How even a run is over languages: the worst of them, their spread, and how many lose.

The worst language and the standard deviation are no means: noise alone lowers the one and raises the other, on every
resample. Their intervals are therefore those of the first order (delta method): of the language that is the worst,
and of the deviation as a function of small changes in each language.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..results import Replicates
from ..settings import DIRECT
from ..study import NONE
from .distances import INTERMEDIATE, WHOLE, interval, present


def robustness(
    found: Replicates, targets: Sequence[str], runs: Sequence[str], averaged: Sequence[str], codes: Sequence[str]
) -> pd.DataFrame:
    """How even each run is over the languages ``codes``, beside ``none``; one row a run, then ``DIRECT`` where all of
    ``targets`` have it and ``INTERMEDIATE``, the mean of the table's rows of ``averaged``.

    Columns: series; worst (lowest score of a language, mean over targets), worst_gain (that minus that of ``none``),
    worst_low, worst_high; sd (standard deviation over languages, mean over targets), sd_gain, sd_low, sd_high; lose
    (share of cells, target by language, that lose) and lose_clearly (whose interval is below zero), in percent;
    cells, seeds.
    """
    groups = {run: present(found, [run], targets) for run in runs} | {DIRECT: present(found, [WHOLE], targets)}
    evenness = {
        name: _evenness(found, group[0], targets, codes) for name, group in ({NONE: [NONE]} | groups).items() if group
    }
    if among := [evenness[name] for name in averaged if name in evenness]:
        levels, changes, lose, cells, seeds = zip(*among, strict=True)
        mean = np.mean(levels, axis=0), np.mean(changes, axis=0), np.mean(lose, axis=0), sum(cells), min(seeds)
        evenness[INTERMEDIATE] = mean
    rows = []
    for name, ((worst, deviation), (lower, wider), lose, cells, seeds) in evenness.items():
        rows.append((name, worst, *interval(lower), deviation, *interval(wider), *lose, cells, seeds))
    head = (
        "series worst worst_gain worst_low worst_high sd sd_gain sd_low sd_high lose lose_clearly cells seeds".split()
    )
    return pd.DataFrame(rows, columns=head)


def _evenness(found: Replicates, run: str, targets: Sequence[str], codes: Sequence[str]) -> tuple:
    """(worst and standard deviation [2], their changes and then those on resamples [2, 1 + resamples], shares that
    lose [2] in percent, cells, seeds) of a run."""
    worst, deviation, gains, seeds = [], [], [], []
    for target in targets:
        cells = []
        for code in codes:
            here, base = found.of(run, target, [code]), found.of(NONE, target, [code])
            base = base[0] + 0 * here[0], base[1]  # the seeds that the run has
            (score, moved, count), (level, other, _) = found.deviations(*here), found.deviations(*base)
            if count and np.isfinite(level):
                cells.append([np.append(score, moved), np.append(level, other)])
                seeds.append(count)
                gains.append(interval(np.append(score - level, score - level + moved - other)))
        if cells:
            pairs = np.swapaxes(cells, 0, 1)  # [run and none, languages, value and then deviations]
            worst.append([_lowest(part) for part in pairs])
            deviation.append([_scatter(part) for part in pairs])
    if not gains:
        return np.full(2, np.nan), np.full((2, 1 + found.resamples), np.nan), np.full(2, np.nan), 0, 0
    ones, others = np.mean([worst, deviation], axis=1).swapaxes(0, 1)
    change = ones - others
    change[:, 1:] += change[:, :1]
    below = [(value < 0, high < 0) for value, _, high in gains]
    return ones[:, 0], change, 100 * np.mean(below, axis=0), len(gains), min(seeds)


def _lowest(part: np.ndarray) -> np.ndarray:
    return part[part[:, 0].argmin()]


def _scatter(part: np.ndarray) -> np.ndarray:
    """Standard deviation over languages, and its first-order deviations."""
    values, moved = part[:, 0], part[:, 1:]
    size = values.std()
    pull = (values - values.mean()) / (len(values) * size) if size else np.zeros(len(values))
    return np.append(size, pull @ moved)
