"""Gains against distance from the source language, of intermediate training, of direct tuning and in alignment:
functions of the replicates of results.py.

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

from .. import results
from ..results import MEAN, Replicates, finished
from ..settings import DIRECT
from ..study import NONE, Study
from ..tasks import TASKS
from ..tunings import SOURCE
from .resources import EQUAL

WHOLE = f"{DIRECT}=0"  # the series DIRECT is its largest training sets
INTERMEDIATE, DIFFERENCE = "intermediate", "direct minus intermediate"
COMPARED = "mean"  # the part that averages every target with direct tuning
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


def layer_gains(
    layers: pd.DataFrame, averaged: Sequence[str], distance: pd.Series, rng: np.random.Generator
) -> pd.DataFrame:
    """Change of alignment by phase 2 in every hidden layer: the gain of ``INTERMEDIATE`` in each language and, as the
    language ``MEAN``, over all of them; over seeds alone, as :func:`aligned`. ``distance``: of these languages.

    Columns: metric, layer, main, language, value, low, high, seeds.
    """
    named = layers.assign(metric=layers["metric"] + "@" + layers["layer"].astype(str), main=True)
    found = aligned(named, rng)
    parts: dict[str, Sequence[str]] = {name: [name] for name in named["metric"].unique()}
    gains = {part: of for (part, _), of in series_gains(found, parts, [], averaged, distance.index).items()}
    rows = []
    for part, (values, spreads, seeds) in gains.items():
        metric, _, layer = part.rpartition("@")
        drawn = {
            code: np.append(value, value + spread)
            for (code, value), spread in zip(values.items(), spreads, strict=True)
        }
        drawn[MEAN] = np.mean(list(drawn.values()), axis=0)
        rows += [(metric, int(layer), code, *interval(draws), seeds) for code, draws in drawn.items()]
    table = pd.DataFrame(rows, columns=["metric", "layer", "language", "value", "low", "high", "seeds"])
    main = table["layer"].isin(layers.loc[layers["main"].astype(bool), "layer"])
    table.insert(2, "main", main)
    return table


def distances(languages: pd.DataFrame) -> pd.DataFrame:
    """Every distance from the source that the source's ``language_table()`` knows, a column each."""
    shares = {name: 1 - languages[name] for name in SHARES if name in languages}
    return languages[[name for name in KINDS if name in languages]].assign(**shares)


def missing(wanted: pd.DataFrame, sizes: pd.DataFrame, found: Replicates) -> list[str]:
    """What has not been run, in words: of ``wanted`` (``results.expected``) and of direct tuning, whose points are
    ``sizes`` (``learning_curves.training_sizes``)."""
    cells = [(row.intermediate, row.target, row.language) for row in wanted.drop(columns="seed").itertuples()]
    cells += [(row.run, row.target, row.language) for row in sizes.itertuples()]
    lacks = [run for run, *cell in cells if not np.isfinite(found.score.get((run, *cell), [np.nan])).all()]
    return [f"`{run}` ({lacks.count(run)} scores)" for run in dict.fromkeys(lacks)]


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
    gains: dict[tuple[str, str], Gains] = {}
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
        (part, series, code, distance[code], *interval(np.append(value, value + spread)), seeds)
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
        rows += [(part, series, key, *interval(drawn), len(values), seeds) for key, drawn in draws.items()]
    return pd.DataFrame(rows, columns=["part", "series", "quantity", "value", "low", "high", "languages", "seeds"])


def interval(draws: np.ndarray) -> tuple[float, float, float]:
    """(value, low, high), 95%, of a value followed by its resamples, of which some may be undefined or infinite."""
    there = draws[1:][~np.isnan(draws[1:])]
    # an end is a resample, not a point between two, of which one may be infinite
    return (draws[0], *(np.quantile(there, BOUNDS, method="inverted_cdf") if len(there) else (np.nan, np.nan)))


def every_distance(
    gains: dict[tuple[str, str], Gains], languages: pd.DataFrame, covariates: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Slopes of ``INTERMEDIATE`` and ``DIRECT`` over each distance that is known, and over ``distance`` with the
    ``covariates`` (:func:`predictors`) held fixed: part, series, over, held (those), value, low, high, languages."""
    rows: list[tuple] = []
    known = distances(languages)
    for (part, series), (values, spreads, seeds) in gains.items():
        if series in (INTERMEDIATE, DIRECT):
            for name in known:
                there = known[name].reindex(values.index).notna().to_numpy()
                if there.sum() > 2:
                    apart = known.loc[values.index[there], name].to_numpy()
                    draws = slope_draws(apart, values[there].to_numpy(), spreads[there], rng)
                    rows.append((part, series, name, "", *interval(draws), len(apart)))
            *found, count, held = adjusted((values, spreads, seeds), covariates, rng)
            if held and np.isfinite(found[0]):
                rows.append((part, series, "distance", ", ".join(held), *found, count))
    return pd.DataFrame(rows, columns=["part", "series", "over", "held", "value", "low", "high", "languages"])


def predictors(languages: pd.DataFrame, source_language: str, text: pd.Series) -> pd.DataFrame:
    """Distance and its covariates by language: other_script (than the source language's) and, where the others differ
    in it, log10_text. ``text``: how much the study's own encoder was pretrained on, in any unit
    (``resources.resources``); NaN where there was none."""
    script = (languages["script"] != languages.loc[source_language, "script"]).astype(float)
    table = languages[["distance"]].assign(other_script=script)
    text = text[text > 0]
    away = text.drop(source_language, errors="ignore")
    return table if away.max() <= EQUAL * away.min() else table.assign(log10_text=np.log10(text))


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
    return (*interval(theil_sen(distance.round(9), gain)), count, others)
