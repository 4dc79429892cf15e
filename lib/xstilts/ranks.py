"""Intermediate runs ranked by the scores of their targets."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from xstilts.results import MACRO, MEAN, Replicates
from xstilts.summaries import with_interval


def standings(found: Replicates, wanted: pd.DataFrame, estimates: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Runs, ``none`` among them, best first: on each target the one with the highest score (mean over languages) has
    rank 1; ties share the mean of their ranks.

    ``wanted``, ``estimates``: as ``results.expected`` and ``results.estimates`` give them. Columns: intermediate; rank,
    the mean over targets; low, high, its percentile interval over the resamples of examples and seeds (noise draws
    ranks towards the middle: an interval may end before the rank of an outlier); best, on how many targets the run is
    first; gain, gain_low, gain_high, the mean over targets; seeds; targets. Runs that lack a target are not ranked:
    their rank is NaN, and they come last.
    """
    runs = list(wanted["intermediate"].unique())
    codes = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    scores, seeds = np.empty((len(runs), len(codes), 1 + found.resamples)), np.empty((len(runs), len(codes)), int)
    for row, run in enumerate(runs):
        for column, (target, languages) in enumerate(codes.items()):
            value, spread, seeds[row, column] = found.deviations(*found.of(run, target, languages))
            scores[row, column] = value + np.array([0.0, *spread])
    whole = seeds.min(axis=1) > 0
    ranks = np.full(scores.shape, np.nan)
    ranks[whole] = rankdata(-scores[whole], axis=0) if whole.any() else 0
    mean = ranks.mean(axis=1)
    low, high = np.quantile(mean[:, 1:], [(1 - level) / 2, (1 + level) / 2], axis=1)
    macro = (estimates["target"] == MACRO) & (estimates["language"] == MEAN)
    gain = estimates[macro & (estimates["quantity"] == "gain")].set_index("intermediate")
    gain = gain[["value", "low", "high"]].reindex(runs).to_numpy().T
    table = {"intermediate": runs, "rank": mean[:, 0], "low": low, "high": high}
    table |= {"best": (ranks[:, :, 0] == 1).sum(axis=1), "gain": gain[0], "gain_low": gain[1], "gain_high": gain[2]}
    table |= {"seeds": seeds.min(axis=1), "targets": len(codes)}
    return pd.DataFrame(table).sort_values("rank", kind="stable", ignore_index=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`standings` as a person reads it."""
    ranked = table["rank"].notna()
    ranks = table[["rank", "low", "high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="score")
    gains = table[["gain", "gain_low", "gain_high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="gain")
    columns = {
        "run": table["intermediate"],
        f"mean rank of {ranked.sum()}": [with_interval(row) for row in ranks.itertuples()],
        f"best on (of {table['targets'].max()} targets)": table["best"].astype(object).where(ranked, "missing"),
        "mean gain in points": [with_interval(row) if np.isfinite(row.value) else "–" for row in gains.itertuples()],
        "seeds": table["seeds"],
    }
    return pd.DataFrame(columns)
