"""How much text of each language an encoder was pretrained on.

Learning curves of direct tuning, and how many examples of the target language an intermediate task is worth: where
the curve meets the task's zero-shot score.


How even a run is over languages: the worst of them, their spread, and how many lose.

The worst language and the standard deviation are no means: noise alone lowers the one and raises the other, on every
resample. Their intervals are therefore those of the first order (delta method): of the language that is the worst,
and of the deviation as a function of small changes in each language.


Gains against distance from the source language, of intermediate training, of direct tuning and in alignment:
functions of the replicates of results.py.

A *series* is what is compared with zero-shot ``none``: an intermediate run, ``INTERMEDIATE`` (the mean of those in
the source language), or direct tuning, ``none`` tuned on the very language that is scored.

How the intervals are made. A mean over languages takes the languages as given: its interval is over test examples
and seeds, as in results.py. A slope is the median of the slopes of all pairs of languages (Theil-Sen), its interval a
bootstrap over languages in which each resample also moves the languages' gains by their deviations on resampled
examples and seeds. The scatter of languages holds that of examples already: slightly wide, never narrow.


What a study found on distance, in words: computed from the tables of distances.py alone.

Figures of the question of distance, from the tables of distances.py; each function lays out its own figure."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from xstilts import plots, results
from xstilts.plots import GAIN, LOSS, SEQUENTIAL, score_dots
from xstilts.results import MEAN, SAME_AMOUNT, Replicates, finished, marked, mean_of
from xstilts.settings import DIRECT
from xstilts.sources.cache import KeptSource
from xstilts.study import NONE, Study
from xstilts.summaries import counted, covers, where, with_interval
from xstilts.target_runs import SOURCE, tunings
from xstilts.tasks import TASKS

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
    (``results.pretraining_text``); NaN where there was none."""
    script = (languages["script"] != languages.loc[source_language, "script"]).astype(float)
    table = languages[["distance"]].assign(other_script=script)
    text = text[text > 0]
    away = text.drop(source_language, errors="ignore")
    return table if away.max() <= SAME_AMOUNT * away.min() else table.assign(log10_text=np.log10(text))


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


ENDS = ["value", "low", "high"]


class Change(NamedTuple):
    """A difference in points, as the rows of a table of slopes have it."""

    value: float
    low: float
    high: float
    quantity: str = "gain"


def answer(
    study: Study,
    slopes: pd.DataFrame,
    alignment: pd.DataFrame,
    layers: pd.DataFrame,
    sizes: pd.DataFrame,
    worth: pd.DataFrame,
    robustness: pd.DataFrame,
    missing: list[str],
) -> str:
    """Markdown. ``slopes`` and ``alignment``: ``distances.against_distance`` of scores (a part per target with direct
    tuning, and ``COMPARED``) and of alignment; ``layers``: ``distances.layer_gains``; ``sizes``, ``worth``,
    ``robustness``: of learning_curves.py and robustness.py; ``missing``: what has not been run, in words."""
    lines = [f"{_setting(study, slopes)} {_amounts(study, sizes)}"]
    compared = [COMPARED] if COMPARED in set(slopes["part"]) else []
    lines += [_sentence(slopes, part) for part in compared] + [""]
    lines += [f"- {title(part)}: {_short(slopes, part)}" for part in slopes["part"].unique() if part != COMPARED]
    if len(alignment):
        head = (
            "Alignment of parallel sentences, before and after phase 2, at the layer of retrieval, then at the others"
        )
        lines += ["", f"{head} (these intervals cover seeds, not sentences):", ""]
        lines += [
            f"- {title(part)}: {_short(alignment, part)}{_layers(layers[layers['metric'] == part])}"
            for part in alignment["part"].unique()
        ]
    lines += ["", *(_worth(part) for _, part in worth.groupby("target", sort=False))]
    lines += [_robustness(row) for row in robustness[robustness["series"].isin([INTERMEDIATE, DIRECT])].itertuples()]
    if missing or study.absence:
        lines += ["", f"Missing: {'; '.join([*missing, *filter(None, [study.absence])])}."]
    return "\n".join(lines)


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """``distances.every_distance`` as a person reads it: a row per part and series, a column per distance,
    "value [low, high]"; "" where there is none."""
    over = table["over"].where(table["held"] == "", table["over"] + ", " + table["held"] + " held fixed")
    text = [with_interval(row) for row in table.assign(quantity="gain").itertuples()]
    text = [words.replace(", ", ",\N{NO-BREAK SPACE}") for words in text]  # narrow columns break before the interval
    shown = table.assign(part=table["part"].map(title), over=over, text=text)
    found = shown.pivot(index=["part", "series"], columns="over", values="text")
    rows = pd.MultiIndex.from_frame(shown[["part", "series"]].drop_duplicates())
    return found.reindex(index=rows, columns=over.unique()).fillna("").rename_axis(columns=None).reset_index()


def _setting(study: Study, slopes: pd.DataFrame) -> str:
    count, seeds = len(source_runs(study)), int(slopes["seeds"].max()) if len(slopes) else 0
    languages = int(slopes["languages"].max()) if len(slopes) else 0
    return (
        f"{where(study, seeds)}: {counted(count, 'intermediate run')} in the source language against "
        f"direct tuning in each of up to {languages} other languages; {covers(study, seeds)}. Slopes are over distance "
        "from the source, 0 to 1, and cover the choice of languages, too."
    )


def _amounts(study: Study, sizes: pd.DataFrame) -> str:
    """On how many examples both are tuned, and how many of them they see."""
    equal, unequal, cut = [], [], []
    for target, part in sizes.groupby("target", sort=False):
        direct = part.loc[part["run"] == WHOLE, "examples"]
        home = part.loc[part["run"] == f"{SOURCE}=0", "examples"].max()
        low, high = direct.min(), direct.max()
        if low == high == home:
            equal.append(f"{title(target)} {home:,}")
        else:
            span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            unequal.append(f"{title(target)} {span} against {home:,}")
        phase = study.phase("target", study.training_task(TASKS[target]).name)
        if 0 < (seen := phase.steps * phase.batch_size * phase.accumulate) < max(high, home):
            cut.append(f"{title(target)} {seen:,}")
    said = [f"Learning curves of direct tuning begin with {sizes['examples'].min():,} examples"]
    said += [f"the whole sets have as many as the source language's: {', '.join(equal)}"] if equal else []
    said += [f"the whole sets do not have as many as the source language's: {', '.join(unequal)}"] if unequal else []
    text = f"{'; '.join(said)}."
    return text + (f" The steps of a tuning are fixed; at most so many are seen: {', '.join(cut)}." if cut else "")


def _layers(rows: pd.DataFrame) -> str:
    """What phase 2 does in the other layers, on average over languages: in how many, and where most."""
    rows = rows[(rows["language"] == MEAN) & ~rows["main"]].dropna(subset=["low", "high"])
    words = []
    for word, part in (("lower", rows[rows["high"] < 0]), ("higher", rows[rows["low"] > 0])):
        if len(part):
            most = part.loc[part["value"].abs().idxmax()]
            words.append(f"{word} in {len(part)} (most in layer {most['layer']}: {_number(Change(*most[ENDS]))})")
    if rows.empty:
        return ""
    clear = int(marked(rows).sum())
    rest = [f"no evidence in {len(rows) - clear}"] if clear < len(rows) else []
    return f"; of {counted(len(rows), 'other layer')} {', '.join([*words, *rest])}"


def _pick(table: pd.DataFrame, part: str, series: str, quantity: str) -> Any:
    chosen = table[(table[["part", "series", "quantity"]] == [part, series, quantity]).all(axis=1)]
    return next(chosen.itertuples(), None)


def _number(row: Any) -> str:
    if not row:
        return "missing"
    text = with_interval(row._replace(quantity="gain"))
    return text if np.isfinite(row.low) else f"{text.split()[0]} (one seed: no interval)"


def _with_evidence(row: Any) -> str:
    return _number(row) + (", no evidence" if row and row.low <= 0 <= row.high else "")


WORDS = {  # of what each number says: below zero, above, neither
    (INTERMEDIATE, "slope"): (
        "The gain of intermediate training in the source language falls with distance",
        "The gain of intermediate training in the source language rises with distance",
        "No evidence that the gain of intermediate training in the source language depends on distance",
    ),
    (INTERMEDIATE, "mean"): (
        "on average over languages it hurts",
        "on average over languages it helps",
        "on average over languages there is no evidence of an effect",
    ),
    (DIRECT, "slope"): (
        "The gain of direct tuning falls with distance",
        "The gain of direct tuning rises with distance",
        "No evidence that the gain of direct tuning depends on distance",
    ),
    (DIFFERENCE, "mean"): (
        "direct tuning is worse than intermediate training",
        "direct tuning is better than intermediate training",
        "no evidence that either of the two is better",
    ),
    (DIFFERENCE, "slope"): (
        "the nearer the language, the more it is ahead",
        "the more distant the language, the more it is ahead",
        "no evidence that the lead depends on distance",
    ),
}


def _sentence(slopes: pd.DataFrame, part: str) -> str:
    """The answer to the question, over all the targets that direct tuning was done for."""
    said = {key: _verdict(_pick(slopes, part, *key), words, key[1]) for key, words in WORDS.items()}
    ours = "; ".join(text for key, text in said.items() if key[0] == INTERMEDIATE)
    return f"{ours}. " + "; ".join(text for key, text in said.items() if key[0] != INTERMEDIATE) + "."


def _verdict(row: Any, words: tuple[str, str, str], what: str) -> str:
    below, above, neither = words
    if row is None or not np.isfinite(row.value):
        return f"{neither} (missing)"
    said = below if row.high < 0 else above if row.low > 0 else neither
    return f"{said} ({what} {_number(row)}, {row.languages} languages)"


def _short(table: pd.DataFrame, part: str) -> str:
    words = []
    for series, name in ((INTERMEDIATE, "intermediate training"), (DIRECT, "direct tuning")):
        mean, slope = (_pick(table, part, series, quantity) for quantity in ("mean", "slope"))
        if mean:
            words.append(f"{name} {_with_evidence(mean)} (slope {_with_evidence(slope)})")
    return "; ".join(words)


def _worth(part: pd.DataFrame) -> str:
    """What zero-shot ``none`` and the intermediate runs are worth on one target, medians over languages."""
    medians = part[part["language"] == MEDIAN].set_index("run")
    runs = medians["examples"].drop([NONE, INTERMEDIATE], errors="ignore")

    def said(run: str) -> str:
        if run not in medians.index:
            return "missing"
        row = medians.loc[run]
        value, low, high = (
            worth_text(row[name], int(row["smallest"]), int(row["largest"])) for name in ("examples", "low", "high")
        )
        return f"{value} [{low}, {high}]"

    words = f"Examples of the language itself that equal a zero-shot score on {title(part['target'].iloc[0])}, median "
    words += f"over {counted(part['language'].nunique() - 1, 'language')}: `none` {said(NONE)}"
    if len(runs):
        words += f"; mean of the intermediate runs {said(INTERMEDIATE)}; single runs from {said(runs.idxmin())} "
        words += f"(`{runs.idxmin()}`) to {said(runs.idxmax())} (`{runs.idxmax()}`)"
    return f"- {words}."


def _robustness(row: Any) -> str:
    what = "direct tuning" if row.series == DIRECT else "intermediate training (mean of the runs)"
    worst = _with_evidence(Change(row.worst_gain, row.worst_low, row.worst_high))
    deviation = _with_evidence(Change(row.sd_gain, row.sd_low, row.sd_high))
    return (
        f"- Robustness of {what}: {row.lose:.0f}% of {row.cells:.0f} cells lose (without any effect half would), "
        f"{row.lose_clearly:.0f}% with an interval below zero (2.5% would); the worst language "
        f"{worst}; the standard deviation over languages {deviation}."
    )


METRICS = {"accuracy": "retrieval accuracy", "cka": "linear CKA", "cosine_margin": "cosine margin"}
TITLES = METRICS | {COMPARED: "mean of the targets"}
LOOKS = {INTERMEDIATE: {"color": GAIN, "marker": "o"}, DIRECT: {"color": LOSS, "marker": "s", "mfc": "white"}}
NAMES = {INTERMEDIATE: "mean of the intermediate runs", DIRECT: "direct tuning (whole set)"}
COLUMNS = 8  # languages side by side


def title(part: str) -> str:
    """A target's, metric's or kind's name as a figure gives it."""
    return TASKS[part].title if part in TASKS else TITLES.get(part, part)


def gain_panels(gains: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """Gain over ``none`` against distance, a panel per part: the mean of the intermediate runs, and direct tuning
    where there is any, with 95% intervals (the widest may leave the panel) and Theil-Sen lines, whose slopes stand
    below with their intervals. Languages are named where they are few. ``gains``: ``distances.gain_table``;
    ``slopes``: ``distances.against_distance``."""
    gains = gains[gains["series"].isin(LOOKS)]
    parts = list(gains["part"].unique())
    columns = min(4, len(parts))
    lines = -(-len(parts) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(2.1 * columns, 0.75 + 2.05 * lines), squeeze=False)
    for ax, part in zip(grid.flat, parts, strict=False):
        here = gains[gains["part"] == part]
        for number, (series, shown) in enumerate(here.groupby("series", sort=False)):
            look = LOOKS[series]
            shift = (0.004 if series == DIRECT else -0.004) * (2 if here["series"].nunique() > 1 else 0)
            ax.vlines(shown["distance"] + shift, shown["low"], shown["high"], colors=look["color"], linewidth=0.6)
            ax.plot(
                shown["distance"] + shift, shown["value"], linestyle="", markersize=3.5, label=NAMES[series], **look
            )
            if len(slope := slopes[(slopes[["part", "series", "quantity"]] == [part, series, "slope"]).all(axis=1)]):
                _line(ax, shown, slope["value"].iloc[0], look["color"], "--" if series == DIRECT else "-")
                _name_slope(ax, slope, look["color"], number)
        ax.axhline(0, color="0.3", linewidth=0.6)
        named = here["language"].nunique() <= 12
        above = f"alignment: {title(part)}" if part in METRICS else title(part)
        ax.set_title(above, loc="left", fontweight="bold", fontsize=7, pad=17 if named else 6)
        ax.margins(x=0.06)
        ax.set_ylim(*_limits(here))
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y")
        if named:
            _name_languages(ax, here.drop_duplicates("language"))
    for ax in list(grid.flat)[len(parts) :]:
        ax.remove()
    figure.supxlabel("distance from the source language (0 to 1)", fontsize=8)
    figure.supylabel("gain over none (points)", fontsize=8)
    handles = {name: handle for ax in figure.axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2)
    what = "Gain over none in points against distance from the source language, a panel per target or measure"
    figure.set_label(plots.alternative_text(what, gains, ["part", "series", "language"], signed=True))
    return figure


def _line(ax: Axes, shown: pd.DataFrame, slope: float, colour: str, style: str) -> None:
    ends = np.array([shown["distance"].min(), shown["distance"].max()])
    level = (shown["value"] - slope * shown["distance"]).median()  # scipy's intercept, "separate"
    ax.plot(ends, level + slope * ends, color=colour, linestyle=style, linewidth=0.9)


def _name_slope(ax: Axes, slope: pd.DataFrame, colour: str, number: int) -> None:
    """The slope, a table's one row, with its interval in the ``number``-th line below the panel, bold where the
    interval excludes zero."""
    text = with_interval(next(slope.assign(quantity="gain").itertuples()))
    weight = "bold" if marked(slope).all() else "normal"
    ax.annotate(
        f"slope {text}", (0, 0), (0, -20 - 8 * number), xycoords="axes fraction", textcoords="offset points", va="top",
        fontsize=6, color=colour, weight=weight,
    )  # fmt: skip


def _name_languages(ax: Axes, rows: pd.DataFrame) -> None:
    """Codes above the panel, in two lines, so that near neighbours do not touch."""
    for number, row in enumerate(rows.sort_values("distance").itertuples()):
        ax.annotate(
            row.language, (row.distance, 1), (0, 2 + 6 * (number % 2)), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=5, color="0.3",
        )  # fmt: skip


def slope_panels(slopes: pd.DataFrame) -> Figure:
    """Slopes over distance with 95% intervals: a panel per part, a line per series. ``slopes``: as
    ``distances.against_distance`` gives it."""
    slopes = slopes[slopes["quantity"] == "slope"].assign(quantity="gain")
    parts, lines = list(slopes["part"].unique()), list(slopes["series"].unique())
    size = (1.1 + 1.35 * len(parts), 0.85 + 0.2 * len(lines))
    figure, axes = plt.subplots(1, len(parts), figsize=size, sharey=True, squeeze=False)
    for ax, part in zip(axes.flat, parts, strict=True):
        score_dots(slopes[slopes["part"] == part], ax, "series", "part", lines)
        ax.set_xlim(*_limits(slopes[slopes["part"] == part]))
        ax.set_title(title(part), loc="left", fontweight="bold", fontsize=7)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.flat[0].set_yticks(range(len(lines)), [NAMES.get(line, line) for line in lines])
    figure.supxlabel(
        "slope of the gain over distance (points from distance 0 to 1; a line that reaches the edge goes on beyond it)",
        fontsize=7.5,
    )
    what = "Dots with 95% intervals: slope of the gain over distance, in points from distance 0 to 1"
    figure.set_label(plots.alternative_text(what, slopes, ["part", "series"], signed=True))
    return figure


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Of an axis that holds every value, zero and most of the intervals."""
    low = min(0, rows["value"].min(), rows["low"].quantile(0.2))
    high = max(0, rows["value"].max(), rows["high"].quantile(0.8))
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge


def shown_languages(codes: list[str]) -> list[str]:
    """At most ``COLUMNS`` of them, first and last among them, the rest evenly spaced."""
    places = np.linspace(0, len(codes) - 1, min(COLUMNS, len(codes))).round().astype(int)
    return [codes[place] for place in places]


def curve_panels(curves: pd.DataFrame, levels: pd.DataFrame, codes: list[str]) -> Figure:
    """Learning curves of direct tuning by language (columns, ``codes``) and target (rows), and of zero-shot transfer
    from as many source-language examples, with 95% bands (the widest leave the panel); level lines: zero-shot ``none``
    and each intermediate run on whole sets.

    ``curves``: ``learning_curves.learning_curves``; ``levels``: ``results.estimates``, of these targets.
    """
    targets, codes = list(curves["target"].unique()), shown_languages(codes)
    size = (0.7 + 1.05 * len(codes), 0.8 + 1.25 * len(targets))
    figure, grid = plt.subplots(len(targets), len(codes), figsize=size, squeeze=False, sharex=True, sharey="row")
    looks = {
        DIRECT: (LOSS, "-", "s", "direct tuning"),
        "source": ("0.35", "--", "", "none, as many of the source language"),
    }
    for line, target in zip(grid, targets, strict=True):
        for ax, code in zip(line, codes, strict=True):
            here = levels[(levels["target"] == target) & (levels["language"] == code) & (levels["quantity"] == "score")]
            for row in here.itertuples():
                if row.intermediate == NONE:
                    ax.axhline(
                        row.value, color="black", linestyle=":", linewidth=1.1, zorder=2, label="none, zero-shot"
                    )
                else:
                    ax.axhline(
                        row.value, color=GAIN, linewidth=0.5, alpha=0.6, zorder=1, label="intermediate runs, zero-shot"
                    )
            for series, (colour, style, marker, name) in looks.items():
                part = curves[(curves[["target", "language", "series"]] == [target, code, series]).all(axis=1)]
                ax.plot(
                    part["examples"], part["value"], color=colour, linestyle=style, marker=marker, ms=2.5, label=name
                )
                ax.fill_between(part["examples"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
            ax.set_xscale("log")
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.grid(axis="y")
        shown = pd.concat([curves, levels[levels["quantity"] == "score"]])
        shown = shown.loc[(shown["target"] == target) & shown["language"].isin(codes), "value"]
        edge = 0.06 * (shown.max() - shown.min()) or 1.0
        line[0].set(ylabel=title(target), ylim=(shown.min() - edge, shown.max() + edge))
    for ax, code in zip(grid[0], codes, strict=True):
        ax.set_title(code, fontsize=7)
    figure.supxlabel("training examples, in the language itself (zero-shot: in the source language)", fontsize=8)
    figure.supylabel("score", fontsize=8)
    handles = {name: handle for ax in grid.flat for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    what = "Learning curves of direct tuning by language and target, with zero-shot scores as level lines. Scores"
    shown = curves[curves["language"].isin(codes)]
    shown = shown.assign(examples=[f"{number:,} examples" for number in shown["examples"]])
    figure.set_label(plots.alternative_text(what, shown, ["target", "language", "series", "examples"]))
    return figure


def worth_text(examples: float, smallest: int, largest: int) -> str:
    """A number of examples as a person reads it: "35", "<10", ">3,000"; "" where there is none."""
    if np.isnan(examples):
        return ""
    if examples in (0, np.inf):
        return f"<{smallest:,}" if examples == 0 else f">{largest:,}"
    return f"{float(f'{examples:.2g}'):,.0f}"


def worth_heatmap(worth: pd.DataFrame, codes: list[str]) -> Figure:
    """How many examples of the language itself give the zero-shot score of each run: rows are runs, columns the
    languages ``codes`` and their median, a panel per target. ``worth``: as ``learning_curves.worth`` gives it."""
    codes = [*codes, MEDIAN]
    targets, runs = list(worth["target"].unique()), list(worth["run"].unique())
    size = (1.1 + 0.33 * max(4, len(codes)) * len(targets), 0.8 + 0.2 * len(runs))
    figure, axes = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    for ax, target in zip(axes.flat, targets, strict=True):
        here = worth[worth["target"] == target].set_index(["run", "language"])
        shade = np.log10(here["examples"].clip(here["smallest"] / 2, here["largest"] * 2)).unstack()
        ends = np.log10([here["smallest"].min() / 2, here["largest"].max() * 2])
        ax.imshow(shade.reindex(index=runs, columns=codes), cmap=SEQUENTIAL, vmin=ends[0], vmax=ends[1], aspect="auto")
        for (run, code), row in here.iterrows():
            text = worth_text(row["examples"], int(row["smallest"]), int(row["largest"]))
            if code in codes:
                ax.text(codes.index(code), runs.index(run), text, ha="center", va="center", fontsize=5)
        ax.set_xticks(range(len(codes)), codes, rotation=90 if len(codes) > 8 else 0, fontsize=5.5)
        ax.set_yticks(range(len(runs)), [NAMES.get(run, run) for run in runs])
        ax.axvline(len(codes) - 1.5, color="white", linewidth=2)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(title(target), loc="left", fontweight="bold", fontsize=7)
    figure.supxlabel(
        "examples of the language itself whose direct tuning equals the run's zero-shot score", fontsize=7.5
    )
    what = "Heatmap: examples of the language itself whose direct tuning equals a run's zero-shot score, if reached"
    reached = worth[np.isfinite(worth["examples"]) & (worth["examples"] > 0) & worth["language"].isin(codes)]
    figure.set_label(
        plots.alternative_text(
            what, reached.rename(columns={"examples": "value"}), ["target", "run", "language"], decimals=0
        )
    )
    return figure


def alignment_panels(layers: pd.DataFrame, gains: pd.DataFrame, averaged: list[str], codes: list[str]) -> Figure:
    """Retrieval accuracy, CKA and cosine margin by hidden layer, before phase 2 (``none``) and after: a column per
    language; thin lines are runs, the thick one their mean, with the interval of its difference from ``none``.
    ``layers``: ``distances.read_layers``, mean over seeds; ``gains``: ``distances.layer_gains``."""
    codes = shown_languages(codes)
    metrics = [metric for metric in METRICS if metric in set(layers["metric"])]
    mean = layers.pivot_table("score", "layer", ["metric", "language", "intermediate"])
    size = (0.7 + 1.05 * len(codes), 0.8 + 1.1 * len(metrics))
    figure, grid = plt.subplots(len(metrics), len(codes), figsize=size, squeeze=False, sharex=True, sharey="row")
    for line, metric in zip(grid, metrics, strict=True):
        for ax, code in zip(line, codes, strict=True):
            here = mean[metric, code]
            after = here[[run for run in averaged if run in here]]
            ax.plot(after.index, after, color=GAIN, linewidth=0.4, alpha=0.5)
            ax.plot(after.index, after.mean(axis=1), color=GAIN, marker="o", ms=2.5, label=NAMES[INTERMEDIATE])
            if NONE in here:
                change = gains[(gains["metric"] == metric) & (gains["language"] == code)].set_index("layer")
                base = here[NONE].reindex(change.index)
                ax.vlines(base.index, base + change["low"], base + change["high"], colors=GAIN, linewidth=0.9)
                ax.plot(here.index, here[NONE], color="black", linestyle="--", marker="x", ms=3, label="none")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.grid(axis="y")
        line[0].set_ylabel(title(metric))
    for ax, code in zip(grid[0], codes, strict=True):
        ax.set_title(code, fontsize=7)
    figure.supxlabel("hidden layer (0: embeddings)", fontsize=8)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    what = "Alignment by hidden layer, before phase 2 (none) and after it, by measure and language; at the last layer"
    last = layers[(layers["layer"] == layers["layer"].max()) & layers["language"].isin(codes)]
    last = last[last["metric"].isin(metrics)]
    figure.set_label(
        plots.alternative_text(what, last.rename(columns={"score": "value"}), ["metric", "intermediate", "language"])
    )
    return figure


def robustness_panels(table: pd.DataFrame) -> Figure:
    """Change of the worst language and of the standard deviation over languages, and the share of languages that
    lose. ``table``: as ``robustness.robustness`` gives it, without ``none``."""
    table = table[table["series"] != NONE].assign(quantity="gain", what="")
    lines = list(table["series"])
    figure, axes = plt.subplots(1, 3, figsize=(7, 0.85 + 0.2 * len(lines)), sharey=True)
    named = {"worst": "worst language:\nchange (points)", "sd": "standard deviation over\nlanguages: change (points)"}
    for ax, (name, label) in zip(axes, named.items(), strict=False):
        columns = {f"{name}_gain": "value", f"{name}_low": "low", f"{name}_high": "high"}
        score_dots(table.rename(columns=columns), ax, "series", "what", lines)
        ax.set_xlim(*_limits(table.rename(columns=columns)))
        ax.set_xlabel(label)
    place = np.arange(len(lines))
    axes[2].barh(place, table["lose"], height=0.6, color="0.8", label="lose")
    axes[2].barh(place, table["lose_clearly"], height=0.6, color="0.35", label="interval below zero")
    axes[2].set(xlim=(0, 100), xlabel="cells (target × language)\nthat lose (%)")
    axes[2].grid(axis="x")
    axes[0].set_yticks(place, [NAMES.get(line, line) for line in lines])
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    what = "Dots with 95% intervals and bars: robustness over languages by run. Change of the worst language's score"
    worst = {"worst_gain": "value", "worst_low": "low", "worst_high": "high"}
    said = [plots.alternative_text(what, table.rename(columns=worst), ["series"], signed=True)]
    said.append(
        plots.alternative_text("Percent of cells that lose", table.rename(columns={"lose": "value"}), ["series"])
    )
    figure.set_label(" ".join(said))
    return figure
