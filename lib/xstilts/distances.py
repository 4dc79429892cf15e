"""Gains against distance from the source language, what an intermediate task is worth in examples of the target
language, and robustness over languages: functions of the replicates of results.py.

A *series* is what is compared with zero-shot ``none``: an intermediate run, ``INTERMEDIATE`` (the mean of those in
the source language), or direct tuning, ``none`` tuned on the very language that is scored.

How the intervals are made. A mean over languages takes the languages as given: its interval is over test examples
and seeds, as in results.py. A slope is the median of the slopes of all pairs of languages (Theil-Sen), its interval a
bootstrap over languages in which each resample also moves the languages' gains by their deviations on resampled
examples and seeds. The scatter of languages holds that of examples already: slightly wide, never narrow.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from . import results
from .results import Replicates, finished
from .sources import Source
from .study import NONE, Study
from .tasks import TASKS
from .tunings import SOURCE, tunings

DIRECT = "direct"  # the bundle of further trainings that this question reads; as a series, its whole training sets
WHOLE = f"{DIRECT}=0"
INTERMEDIATE, DIFFERENCE = "intermediate", "direct minus intermediate"
KINDS = ("distance", "syntactic", "phonological", "genetic", "geographic", "order", "morphology")
SHARES = ("cognates", "names")  # of the micro-world, shared with the source: 1 - share is a distance
BOUNDS = (0.025, 0.975)

Gains = tuple[pd.Series, np.ndarray, int]  # by language; deviations [languages, resamples]; seeds


# --- what there is -----------------------------------------------------------------------------------------


def read_stats(study: Study) -> pd.DataFrame:
    """Statistics of the study's own bundles and, as further runs beside them, those of the bundle ``direct``, so that
    all are resampled together: ``direct=100`` is ``none`` tuned on a hundred examples of the language it is scored
    in, ``source=100`` on a hundred of the source language; 0 is the whole set."""
    stats = results.read_stats(study)
    if not finished(study, [DIRECT]):
        return stats
    direct = results.read_stats(study, [DIRECT], runs=[NONE])
    home = direct["training_language"] == SOURCE
    direct = direct[home | (direct["training_language"] == direct["language"])]
    names = direct["training_language"].where(home, DIRECT) + "=" + direct["examples"].astype(str)
    return pd.concat([stats, direct.assign(intermediate=names)], ignore_index=True)


def training_sizes(study: Study, source: Source) -> pd.DataFrame:
    """Points of the learning curves, one row each: target, language (it is trained in), run (as :func:`read_stats`
    names it) and examples, how many it is really trained on; of two that come to the same the whole set."""
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


def source_runs(study: Study) -> list[str]:
    """The study's intermediate runs in the source language alone: English intermediate training."""
    return [name for name in study.intermediate if name != NONE and not study.intermediate_run(name).languages]


def read_layers(study: Study) -> pd.DataFrame:
    """Alignment and retrieval of parallel sentences by layer, before (``none``) and after phase 2: intermediate,
    seed, target, language, layer, metric, score (percent), main (whether it is the layer that retrieval uses).
    Empty without a parallel target."""
    tables = [pd.DataFrame(columns=["intermediate", "seed", "target", "language", "layer", "metric", "score", "main"])]
    for run in finished(study, list(study.bundles())):
        for target in study.targets:
            path = run.folder(study) / target / "layers.parquet"
            if TASKS[target].kind == "parallel" and path.is_file():
                table = pd.read_parquet(path)
                main = table["layer"] == table["layer"].iloc[0]  # it comes first
                tables.append(table.assign(intermediate=run.intermediate, seed=run.seed, target=target, main=main))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def aligned(layers: pd.DataFrame, rng: np.random.Generator, resamples: int = 1000) -> Replicates:
    """Scores of the main layer as replicates, the metric in the place of the target. Their deviations are those of
    seeds alone, for a measure of a whole set has no examples to resample; with one seed there are none (NaN)."""
    seeds = sorted(layers["seed"].unique().tolist())
    main = (
        layers[layers["main"].astype(bool)]
        .pivot_table("score", ["intermediate", "metric", "language"], "seed")
        .reindex(columns=seeds)
    )
    score = dict(zip(main.index, main.to_numpy(float), strict=True))
    nothing = np.full((len(seeds), resamples), 0.0 if len(seeds) > 1 else np.nan)
    return Replicates(score, dict.fromkeys(score, nothing), seeds, resamples, rng)


def distances(languages: pd.DataFrame) -> pd.DataFrame:
    """Every distance from the source that the source's ``language_table()`` knows, a column each."""
    shares = {name: 1 - languages[name] for name in SHARES if name in languages}
    return languages[[name for name in KINDS if name in languages]].assign(**shares)


# --- gains of languages ------------------------------------------------------------------------------------


def present(found: Replicates, runs: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Those of ``runs`` with a score on each of ``targets``."""
    there = {(run, target) for (run, target, _), score in found.score.items() if np.isfinite(score).any()}
    return [run for run in runs if all((run, target) in there for target in targets)]


def language_gains(found: Replicates, runs: Sequence[str], targets: Sequence[str], codes: Sequence[str]) -> Gains:
    """Gain over ``none`` in points, mean over ``runs`` and over those of ``targets`` that a language is scored in;
    languages without one are left out. With the fewest seeds that any rests on."""
    values, spreads, seeds = {}, [], []
    for code in codes:
        parts = []
        for target in [target for target in targets if (NONE, target, code) in found.score]:
            base = found.of(NONE, target, [code])
            here = [found.of(run, target, [code]) for run in runs]
            parts += [(score - base[0], deviation - base[1]) for score, deviation in here]
        value, spread, count = (
            found.deviations(*(np.mean([part[place] for part in parts], axis=0) for place in (0, 1)))
            if parts
            else (np.nan, np.nan, 0)
        )
        if count:
            values[code] = value
            spreads.append(spread)
            seeds.append(count)
    spread = np.array(spreads).reshape(len(values), found.resamples)
    return pd.Series(values, dtype=float), spread, min(seeds, default=0)


def series_gains(
    found: Replicates,
    parts: dict[str, Sequence[str]],
    runs: Sequence[str],
    averaged: Sequence[str],
    codes: Sequence[str],
) -> dict[tuple[str, str], Gains]:
    """(part, series) -> gains of the languages ``codes``. ``parts``: name -> targets that are averaged; ``runs``:
    series of their own; ``averaged``: those of the mean ``INTERMEDIATE``. ``DIRECT``, and ``DIFFERENCE`` in the
    languages of both, are there where direct tuning has been scored on all targets of a part."""
    gains = {}
    for part, targets in parts.items():
        groups = {run: [run] for run in runs} | {INTERMEDIATE: averaged, DIRECT: [WHOLE]}
        groups = {name: present(found, group, targets) for name, group in groups.items()}
        here = {name: language_gains(found, group, targets, codes) for name, group in groups.items() if group}
        if {DIRECT, INTERMEDIATE} <= set(here):
            (direct, moved, seeds), (values, spreads, others) = here[DIRECT], here[INTERMEDIATE]
            both = direct.index.intersection(values.index, sort=False)
            spread = moved[direct.index.get_indexer(both)] - spreads[values.index.get_indexer(both)]
            here[DIFFERENCE] = direct[both] - values[both], spread, min(seeds, others)
        gains |= {(part, name): found for name, found in here.items() if len(found[0])}
    return gains


def gain_table(gains: dict[tuple[str, str], Gains], distance: pd.Series) -> pd.DataFrame:
    """Gains with their intervals: part, series, language, distance, value, low, high, seeds."""
    rows = [
        (part, series, code, distance[code], *_interval(np.append(value, value + spread)), seeds)
        for (part, series), (values, spreads, seeds) in gains.items()
        for (code, value), spread in zip(values.items(), spreads, strict=True)
    ]
    return pd.DataFrame(rows, columns=["part", "series", "language", "distance", "value", "low", "high", "seeds"])


# --- gains against distance --------------------------------------------------------------------------------


def theil_sen(distance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median of the slopes of all pairs over the last axis, pairs at the same distance left out (Theil 1950, Sen
    1968); NaN where none is left. scipy.stats.theilslopes for many resamples at once."""
    first, second = np.triu_indices(distance.shape[-1], 1)
    apart, rise = distance[..., second] - distance[..., first], values[..., second] - values[..., first]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN: one language drawn every time
        return np.nanmedian(np.where(apart == 0, np.nan, rise / apart), axis=-1)


def slope_draws(distance: np.ndarray, values: np.ndarray, spreads: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[1 + resamples]: the Theil-Sen slope of ``values`` [languages], then those of resampled languages, moved by
    ``spreads`` [languages, resamples]."""
    draws = rng.integers(len(distance), size=(spreads.shape[1], len(distance)))
    moved = (values[:, None] + np.nan_to_num(spreads)).T
    return np.append(theil_sen(distance, values), theil_sen(distance[draws], np.take_along_axis(moved, draws, 1)))


def against_distance(
    gains: dict[tuple[str, str], Gains], distance: pd.Series, rng: np.random.Generator
) -> pd.DataFrame:
    """Of each gain (:func:`series_gains`) its mean over languages and its slope over distance from the source, which
    needs three languages.

    Columns: part, series, quantity ("mean", in points; "slope", in points per unit of distance), value, low, high,
    languages, seeds.
    """
    rows = []
    for (part, series), (values, spreads, seeds) in gains.items():
        draws = {"mean": np.append(values.mean(), values.mean() + spreads.mean(axis=0))}
        if len(values) > 2:
            draws["slope"] = slope_draws(distance[values.index].to_numpy(), values.to_numpy(), spreads, rng)
        rows += [(part, series, key, *_interval(drawn), len(values), seeds) for key, drawn in draws.items()]
    return pd.DataFrame(rows, columns=["part", "series", "quantity", "value", "low", "high", "languages", "seeds"])


def _interval(draws: np.ndarray) -> tuple[float, float, float]:
    """(value, low, high) of a value followed by its resamples, of which some may be undefined."""
    there = draws[1:][~np.isnan(draws[1:])]
    # an end is a resample, not a point between two: some are infinite
    return (draws[0], *(np.quantile(there, BOUNDS, method="inverted_cdf") if len(there) else (np.nan, np.nan)))


def predictors(languages: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Distance and its covariates by language: other_script (than the source language's), log10 of cc100_gib."""
    script = (languages["script"] != languages.loc[source_language, "script"]).astype(float)
    table = languages[["distance"]].assign(other_script=script)
    return table.assign(log10_cc100_gib=np.log10(languages["cc100_gib"])) if "cc100_gib" in languages else table


def adjusted(gains: Gains, table: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float, float, int, list[str]]:
    """The slope over the column ``distance`` of ``table`` with its other columns held fixed: Theil-Sen on what least
    squares leaves of gain and distance once these are taken out (Frisch-Waugh-Lovell).

    (value, low, high, languages, the covariates): those that are known for all the languages and vary. NaN with
    fewer than two languages a coefficient.
    """
    values, spreads, _ = gains
    table = table.loc[values.index].dropna(axis="columns")
    table = table.loc[:, table.nunique() > 1]
    others = [name for name in table if name != "distance"]
    count = len(table)
    if count < 2 * (len(others) + 2) or "distance" not in table:
        return (np.nan,) * 3 + (count, others)
    draws = np.vstack([np.arange(count), rng.integers(count, size=(spreads.shape[1], count))])
    moved = np.vstack([values, (values.to_numpy()[:, None] + np.nan_to_num(spreads)).T])
    taken = np.concatenate([np.ones((count, 1)), table[others]], axis=1)[draws]
    gain, distance = (
        part - (taken @ (np.linalg.pinv(taken) @ part[..., None]))[..., 0]
        for part in (np.take_along_axis(moved, draws, 1), table["distance"].to_numpy()[draws])
    )
    distance = np.where(np.abs(distance).max(axis=1, keepdims=True) < 1e-9, 0, distance)  # told apart by nothing
    return (*_interval(theil_sen(distance.round(9), gain)), count, others)


# --- what an intermediate task is worth --------------------------------------------------------------------


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
                interval = np.clip(_interval(np.append(score, score + spread)), 0, 100)
                rows.append((row.target, code, series, row.examples, *interval, seeds))
    head = ["target", "language", "series", "examples", "value", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=head)


def worth(found: Replicates, sizes: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """How many examples of the target language, in direct tuning, give the zero-shot score of each run.

    Columns: target, language, run, examples, low, high (over test examples and seeds), smallest, largest (sizes that
    were trained), seeds. Censored as :func:`crossing` says: 0 is fewer than the smallest, inf more than the largest.
    Curve and level are moved together on each resample: the same test examples score both.
    """
    rows, direct = [], sizes[sizes["run"].str.startswith(DIRECT)]
    for (target, code), part in direct.groupby(["target", "language"], sort=False):
        drawn = {row.examples: found.deviations(*found.of(row.run, target, [code])) for row in part.itertuples()}
        drawn = {count: np.append(score, score + spread) for count, (score, spread, seeds) in drawn.items() if seeds}
        curve = smoothed(np.stack(list(drawn.values()))) if drawn else None
        for run in runs if drawn else []:
            score, spread, seeds = found.deviations(*found.of(run, target, [code]))
            if seeds:
                met = crossing(list(drawn), curve, np.append(score, score + spread))
                rows.append((target, code, run, *_interval(met), min(drawn), max(drawn), seeds))
    head = ["target", "language", "run", "examples", "low", "high", "smallest", "largest", "seeds"]
    return pd.DataFrame(rows, columns=head)


# --- robustness --------------------------------------------------------------------------------------------


def robustness(
    found: Replicates, targets: Sequence[str], runs: Sequence[str], averaged: Sequence[str], codes: Sequence[str]
) -> pd.DataFrame:
    """How even each run is over the languages ``codes``, beside ``none``; one row a run, then ``INTERMEDIATE`` (of
    the table's rows of ``averaged``, without intervals) and ``DIRECT`` where all of ``targets`` have it.

    Columns: series; worst (lowest score of a language, mean over targets), worst_gain (that minus that of ``none``),
    worst_low, worst_high; sd (standard deviation over languages, mean over targets), sd_gain, sd_low, sd_high; lose
    (share of cells, target by language, that lose) and lose_clearly (whose interval is below zero), in percent;
    cells, seeds.
    """
    groups = {run: present(found, [run], targets) for run in runs} | {DIRECT: present(found, [WHOLE], targets)}
    rows = [
        (name, *_evenness(found, group[0], targets, codes))
        for name, group in ({NONE: [NONE]} | groups).items()
        if group
    ]
    head = (
        "series worst worst_gain worst_low worst_high sd sd_gain sd_low sd_high lose lose_clearly cells seeds".split()
    )
    table = pd.DataFrame(rows, columns=head)
    among = table[table["series"].isin(averaged)]
    if among.empty:
        return table
    numbers = ["worst", "worst_gain", "sd", "sd_gain", "lose", "lose_clearly"]
    mean = among[numbers].mean().to_dict() | {"series": INTERMEDIATE, "cells": among["cells"].sum()}
    return pd.concat([table, pd.DataFrame([mean | {"seeds": among["seeds"].min()}])], ignore_index=True)


def _evenness(found: Replicates, run: str, targets: Sequence[str], codes: Sequence[str]) -> tuple:
    worst, spread, gains, seeds = [], [], [], []
    for target in targets:
        pairs = []
        for code in codes:
            here, base = found.of(run, target, [code]), found.of(NONE, target, [code])
            base = base[0] + 0 * here[0], base[1]  # the seeds of the run
            (score, moved, count), (level, other, _) = found.deviations(*here), found.deviations(*base)
            if count and np.isfinite(level):
                pairs.append(np.stack([np.append(score, score + moved), np.append(level, level + other)]))
                seeds.append(count)
        if pairs:
            cells = np.stack(pairs)  # [languages, run and none, 1 + resamples]
            worst.append(cells.min(axis=0))
            spread.append(cells.std(axis=0))
            gains += [_interval(one - other) for one, other in cells]
    found_numbers = []
    for drawn in (worst, spread):
        one, other = np.mean(drawn, axis=0)
        found_numbers += [one[0], *_interval(one - other)]
    below = [(value < 0, high < 0) for value, _, high in gains]
    return (*found_numbers, *(100 * np.mean(below, axis=0)), len(gains), min(seeds))
