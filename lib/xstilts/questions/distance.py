"""Question 5: do gains fall with the distance of a language from the source language?

Compared with zero-shot ``none`` are *series*: an intermediate run; ``INTERMEDIATE``, the mean of the runs in the
source language; ``CHOSEN``, the run that development data in the source language would choose for a target; and
``DIRECT``, ``none`` fine-tuned on the language that is scored. Alignment of parallel sentences
is compared in the same way, a metric taking the place of a target.

Intervals are those of :mod:`xstilts.inference`: the languages are taken as given, for means and slopes alike. A slope
is the median of the slopes of all pairs of languages (Theil-Sen), its interval over test examples and seeds; whether
gains go with distance at all, beyond these languages, is said by its p, of permutations of the languages. Minimum and
standard deviation over languages are biased on draws (noise alone lowers the one and raises the other); theirs are of
first order (delta method): of the language that is the worst, and of the deviation as a function of small changes.
"""

import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from xstilts import results
from xstilts.inference import ENDS, MISSING, Combination, Estimate, Scores, difference, mean, mean_score, weighted
from xstilts.io import read_record
from xstilts.names import DIRECT, NONE, SOURCE
from xstilts.plots import title
from xstilts.results import MEAN, SAME_AMOUNT, permutation_p, significant
from xstilts.runs import finished_target_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import verdict_table, with_evidence, with_interval
from xstilts.target_runs import target_runs

WHOLE = f"{DIRECT}=0"  # the series DIRECT is tuned on whole training sets
INTERMEDIATE, CHOSEN = "intermediate", "chosen run"
ALL_TARGETS = "mean"  # in the column part: the mean of the targets with direct tuning
MEDIAN = "median"  # in the column language
KINDS = ("distance", "syntactic", "phonological", "genetic", "geographic", "order", "morphology")
SHARES = ("cognates", "names")  # of the micro-world, shared with the source: 1 - share is a distance
METRICS = {"accuracy": "retrieval accuracy", "cka": "linear CKA", "cosine_margin": "cosine margin"}

Names = Sequence[str]
Gains = dict[tuple[str, str], dict[str, Combination]]  # (part, series) -> gain in each language


def read_stats(study: Study) -> pd.DataFrame:
    """Statistics of the study's own bundles and, as further runs, those of the bundle ``direct``: ``direct=100`` is
    ``none`` tuned on a hundred examples of the language it is scored in, ``source=100`` on a hundred of the source
    language; 0 is the whole set."""
    stats = results.read_stats(study)
    if not finished_target_runs(study, [DIRECT]):
        return stats
    direct = results.read_stats(study, [DIRECT], runs=[NONE])
    source = direct["training_language"] == SOURCE
    direct = direct[source | (direct["training_language"] == direct["language"])]
    names = direct["training_language"].where(source, DIRECT) + "=" + direct["examples"].astype(str)
    return pd.concat([stats, direct.assign(intermediate=names)], ignore_index=True)


def read_layers(study: Study, source: Source) -> pd.DataFrame:
    """Alignment and retrieval of parallel sentences by layer, before (``none``) and after phase 2, as
    ``results.read_layers``. Empty without a parallel target."""
    layers = results.read_layers(study, source, list(study.bundles())).drop(columns=["training_language", "examples"])
    return layers[layers["target"].isin([name for name in study.targets if study.task(name).kind == "parallel"])]


def aligned(layers: pd.DataFrame) -> Scores:
    """Scores of the main layer, the metric in place of the target. A measure of a whole set has no examples: intervals
    are of seeds alone; with one seed there are none (NaN)."""
    seeds = sorted(layers["seed"].unique().tolist())
    main = layers[layers["main"].astype(bool)]
    main = main.pivot_table("score", ["intermediate", "metric", "language"], "seed").reindex(columns=seeds)
    return Scores(dict(zip(main.index, main.to_numpy(float), strict=True)), seeds)


# --- gains and their intervals -----------------------------------------------------------------------------


def scored(scores: Scores, groups: dict[str, Names], targets: Names) -> dict[str, list[str]]:
    """Of each group of runs those with a score on each of ``targets``; groups without any are left out."""
    pairs = {(run, target) for (run, target, _), score in scores.values.items() if np.isfinite(score).any()}
    complete = {run for run, _ in pairs if pairs.issuperset((run, target) for target in targets)}
    members = {series: [run for run in group if run in complete] for series, group in groups.items()}
    return {series: group for series, group in members.items() if group}


def language_gains(scores: Scores, pairs: Sequence[tuple[str, str]], codes: Names) -> dict[str, Combination]:
    """Gain over ``none`` by language, mean over those (run, target) of ``pairs`` whose target a language is scored in;
    languages without a gain are left out."""
    gains = {}
    for code in codes:
        if parts := [gain(run, target, code) for run, target in pairs if (NONE, target, code) in scores.values]:
            gains[code] = mean(parts)
    return {code: part for code, part in gains.items() if np.isfinite(scores.of(part)).any()}


def gain(run: str, target: str, code: str) -> Combination:
    """The score of a run less that of ``none``."""
    return difference(mean_score(run, target, [code]), mean_score(NONE, target, [code]))


def series_gains(
    scores: Scores, parts: dict[str, Names], runs: Names, averaged: Names, codes: Names, chosen: Mapping[str, str] = {}
) -> Gains:
    """Gains of the languages ``codes`` in each of ``parts`` (name -> targets that are averaged).

    Series: each of ``runs``; ``INTERMEDIATE``, the mean of ``averaged``; ``CHOSEN``, after the run that ``chosen``
    names for each target; where direct tuning has been scored on all targets of a part, ``DIRECT`` and, in the
    languages of both, :func:`direct_minus` every other series.
    """
    groups = {run: [run] for run in runs} | {INTERMEDIATE: averaged, DIRECT: [WHOLE]}
    gains: Gains = {}
    for part, targets in parts.items():
        pairs = {name: [*product(members, targets)] for name, members in scored(scores, groups, targets).items()}
        if chosen.keys() >= set(targets):
            pairs[CHOSEN] = [(chosen[target], target) for target in targets]
        by_series = {series: language_gains(scores, named, codes) for series, named in pairs.items()}
        direct = by_series.get(DIRECT, {})
        gains |= {(part, series): by_language for series, by_language in by_series.items()}
        for series in [name for name in by_series if name != DIRECT]:
            other = by_series[series]
            both = {code: difference(direct[code], other[code]) for code in direct if code in other}
            gains[part, direct_minus(series)] = both
    return {key: by_language for key, by_language in gains.items() if by_language}


def direct_minus(series: str) -> str:
    """Name of the series of direct tuning less another one."""
    return f"{DIRECT} minus {series}"


def chosen_runs(study: Study, targets: Names, runs: Names) -> dict[str, str]:
    """Target -> the run, ``none`` among them, with the highest score on the development set in the source language,
    mean over the seeds; without targets whose checkpoints are not compared by it (``evaluate_every``)."""
    chosen = {}
    for target in targets:
        values: dict[str, list[float]] = {}
        for run in finished_target_runs(study, list(study.bundles())):
            record = read_record(run.folder(study) / target / "scored.json")
            if run.intermediate in (NONE, *runs) and "selection" in record:
                values.setdefault(run.intermediate, []).append(record["selection"]["best_score"])
        if values:
            chosen[target] = max(values, key=lambda run: float(np.mean(values[run])))
    return chosen


def gain_table(scores: Scores, gains: Gains, distance: pd.Series) -> pd.DataFrame:
    """Gains with their intervals: part, series, language, distance, value, low, high, seeds, p, significant (the
    languages of a part and series are a family)."""
    rows = []
    for (part, series), by_language in gains.items():
        for code, combination in by_language.items():
            rows.append((part, series, code, distance[code], *scores.estimate(combination)))
    table = pd.DataFrame(rows, columns="part series language distance value low high seeds p".split())
    return significant(table, ["part", "series"])


def layer_gains(layers: pd.DataFrame, averaged: Names, distance: pd.Series) -> pd.DataFrame:
    """Change of alignment by phase 2 in every hidden layer: the gain of ``INTERMEDIATE`` in each language of
    ``distance`` and, as the language ``MEAN``, over all of them; over seeds alone, as :func:`aligned`.

    Columns: metric, layer, main, language, value, low, high, seeds.
    """
    named = layers.assign(metric=layers["metric"] + "@" + layers["layer"].astype(str), main=True)
    parts: dict[str, Names] = {name: [name] for name in named["metric"].unique()}
    scores = aligned(named)
    gains = series_gains(scores, parts, [], averaged, distance.index)
    gains = {key: part | {MEAN: mean(list(part.values()))} for key, part in gains.items()}
    table = gain_table(scores, gains, distance.reindex([*distance.index, MEAN]))
    table["metric"] = [part.partition("@")[0] for part in table["part"]]
    table["layer"] = [int(part.partition("@")[2]) for part in table["part"]]
    table["main"] = table["layer"].isin(layers.loc[layers["main"].astype(bool), "layer"])
    return table[["metric", "layer", "main", "language", "value", "low", "high", "seeds"]]


# --- slopes over distance ----------------------------------------------------------------------------------


def theil_sen(distance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median of the slopes of all pairs over the last axis, pairs at the same distance left out (Theil 1950, Sen
    1968); NaN where none is left. scipy.stats.theilslopes for many rows at once."""
    first, second = np.triu_indices(distance.shape[-1], 1)
    run, rise = distance[..., second] - distance[..., first], values[..., second] - values[..., first]
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # all NaN
        return np.nanmedian(np.where(run == 0, np.nan, rise / run), axis=-1)


def slope(
    scores: Scores, distance: pd.Series, gains: dict[str, Combination], held: pd.DataFrame | None = None
) -> Estimate:
    """The Theil-Sen slope over ``distance`` of gains by language. With covariates ``held`` fixed it is that of what
    least squares on them leaves of gain and distance (Frisch-Waugh-Lovell).

    The interval is that of the linear combination which follows the slope where the gains are moved a little. Its p
    says that this slope of these languages is zero; :func:`permuted` asks whether gains go with distance.
    """
    estimates = [scores.estimate(gain) for gain in gains.values()]
    values, errors = np.array([(part.value, part.high - part.low) for part in estimates]).T / [[1], [4]]
    if not np.isfinite(errors).all():
        return MISSING._replace(value=float(theil_sen(*_left(distance[list(gains)].to_numpy(float), values, held))))
    moves = np.random.default_rng(0).standard_normal((2000, len(values))) * max(np.median(errors), 1e-3)
    far, moved = _left(distance[list(gains)].to_numpy(float), np.vstack([values, values + moves]), held)
    slopes = theil_sen(far, moved)
    if not np.isfinite(slopes).all():
        return MISSING._replace(value=float(slopes[0]))
    weights = np.linalg.lstsq(moves, slopes[1:] - slopes[1:].mean(), rcond=None)[0]
    weights -= weights.mean()  # what moves all languages alike moves no slope
    estimate = scores.estimate(weighted(*zip(weights, gains.values(), strict=True)))
    half = (estimate.high - estimate.low) / 2
    value, low, high = (round(float(bound), 9) + 0.0 for bound in (slopes[0], slopes[0] - half, slopes[0] + half))
    return Estimate(value, low, high, estimate.seeds, estimate.p)


def _left(far: np.ndarray, values: np.ndarray, held: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
    """Distance [languages] and values [..., languages], less what least squares on ``held`` explains of them."""
    if held is None:
        return far, values
    covariates = np.column_stack([np.ones(len(held)), held])
    residual = np.eye(len(held)) - covariates @ np.linalg.pinv(covariates)
    rest = (far @ residual).round(9)
    return np.where(np.abs(rest).max() < 1e-6, 0.0, rest), values @ residual  # rounding alone is left


def permuted(
    scores: Scores, distance: pd.Series, gains: dict[str, Combination], held: pd.DataFrame | None = None
) -> float:
    """p of a slope as far from zero when the gains of the languages are put into another order. NaN with one seed."""
    values = np.array([scores.estimate(gain) for gain in gains.values()], float)
    if not np.isfinite(values[:, 0]).all() or values[:, 3].min() < 2:
        return np.nan
    far, rest = _left(distance[list(gains)].to_numpy(float), values[:, 0], held)
    if not np.ptp(far):
        return np.nan
    return permutation_p(rest, lambda orders, axis: theil_sen(far, np.moveaxis(orders, axis, -1)))


def against_distance(scores: Scores, gains: Gains, distance: pd.Series) -> pd.DataFrame:
    """Mean of each gain over languages and its slope over distance from the source, which needs three languages.

    Columns: part, series, quantity ("mean", in points; "slope", in points from distance 0 to 1), value, low, high,
    languages, seeds, p, significant (the series of a quantity, of all parts, are a family).
    """
    rows = []
    for (part, series), by_language in gains.items():
        *numbers, seeds, p = scores.estimate(mean(list(by_language.values())))
        rows.append((part, series, "mean", *numbers, len(by_language), seeds, p))
        if len(by_language) > 2:
            *numbers, seeds, _ = slope(scores, distance, by_language)
            p = permuted(scores, distance, by_language)
            rows.append((part, series, "slope", *numbers, len(by_language), seeds, p))
    table = pd.DataFrame(rows, columns="part series quantity value low high languages seeds p".split())
    return significant(table, ["quantity"])


def predictors(languages: pd.DataFrame, source_language: str, text: pd.Series) -> pd.DataFrame:
    """What slopes are taken over, by language: every distance of the source's ``language_table()``, other_script
    (than the source language's) and, where the other languages differ in it, log10_text. ``text``: how much the
    encoder was pretrained on (``results.pretraining_text``); NaN where there was none."""
    table = languages[[name for name in KINDS if name in languages]]
    table = table.assign(**{name: 1 - languages[name] for name in SHARES if name in languages})
    table["other_script"] = (languages["script"] != languages.loc[source_language, "script"]).astype(float)
    text = text[text > 0]
    away = text.drop(source_language, errors="ignore")
    return table if away.max() <= SAME_AMOUNT * away.min() else table.assign(log10_text=np.log10(text))


def every_distance(scores: Scores, gains: Gains, table: pd.DataFrame) -> pd.DataFrame:
    """Slopes of ``INTERMEDIATE`` and ``DIRECT`` over each distance of ``table`` (:func:`predictors`) that is known for
    three languages, and over ``distance`` with those covariates held fixed that are known for all of the languages
    and vary; this needs two languages a coefficient.

    Columns: part, series, over, held, value, low, high, languages, p.
    """
    rows = []
    kinds = [name for name in (*KINDS, *SHARES) if name in table]
    compared = {key: by_language for key, by_language in gains.items() if key[1] in (INTERMEDIATE, DIRECT)}
    for (part, series), by_language in compared.items():
        known = table.loc[list(by_language)]
        slopes = [(name, known[name].dropna(), None) for name in kinds]
        held = known.drop(columns=kinds).dropna(axis="columns")
        held = held.loc[:, held.nunique() > 1]
        if held.shape[1] and len(by_language) >= 2 * held.shape[1] + 4:
            slopes.append(("distance", known["distance"], held))
        for name, distance, covariates in slopes:
            if len(distance) > 2:
                own = {code: by_language[code] for code in distance.index}
                numbers = slope(scores, distance, own, covariates)[:3]
                p = permuted(scores, distance, own, covariates)
                names = ", ".join(() if covariates is None else covariates)
                rows.append((part, series, name, names, *numbers, len(distance), p))
    columns = "part series over held value low high languages p".split()
    return pd.DataFrame(rows, columns=columns).dropna(subset="value")


# --- what an intermediate task is worth in examples --------------------------------------------------------


def training_sizes(study: Study, source: Source) -> pd.DataFrame:
    """Points of the learning curves, one row each: target, language (it is trained in), run (its name in
    :func:`read_stats`) and examples, on how many it is really trained; of two that are the same the whole set."""
    points = {}
    for tuning in sorted(target_runs(study, source, DIRECT), key=lambda tuning: tuning.examples == 0):
        task = study.training_task(tuning.task)
        whole = sum(source.size(task, *part) for part in tuning.training_sets(study, source))
        examples = min(tuning.phase(study).examples or whole, whole)
        language, series = (tuning.language, DIRECT) if tuning.language else (study.source_language, SOURCE)
        points[tuning.target, language, examples] = f"{series}={tuning.examples}"
    rows = [(target, language, run, examples) for (target, language, examples), run in sorted(points.items())]
    return pd.DataFrame(rows, columns=["target", "language", "run", "examples"])


def learning_curves(scores: Scores, sizes: pd.DataFrame, codes: Names) -> pd.DataFrame:
    """Scores by number of examples: target, language (scored in), series (``DIRECT``, or "source": zero-shot from as
    many of the source language), examples, value, low, high, seeds. ``sizes``: of :func:`training_sizes`."""
    rows = []
    for row in sizes.itertuples():
        series = row.run.partition("=")[0]
        for code in codes if series == SOURCE else [row.language]:
            value, low, high, seeds, _ = scores.estimate(mean_score(row.run, row.target, [code]))
            if seeds:
                rows.append((row.target, code, series, row.examples, value, *np.clip([low, high], 0, 100), seeds))
    return pd.DataFrame(rows, columns="target language series examples value low high seeds".split())


def smoothed(curves: np.ndarray) -> np.ndarray:
    """Learning curves [sizes, draws] made to rise: the nearest, in least squares, that never fall (isotonic regression
    by its formula: of the means of all stretches that hold a point the greatest over beginnings of the least over
    ends)."""
    count = len(curves)
    means = {(i, j): curves[i : j + 1].mean(axis=0) for i in range(count) for j in range(i, count)}
    least = [[np.min([means[i, k] for k in range(j, count)], axis=0) for i in range(j + 1)] for j in range(count)]
    return np.stack([np.max(part, axis=0) for part in least])


def crossing(examples: Sequence[int], curves: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Number of examples at which curves that never fall [sizes, draws] first meet ``level`` [draws], linear in log
    examples between their points. Censored: 0 where the first point does already, inf where none does."""
    logs = np.log10(examples)
    column = np.arange(len(level))
    after = np.clip((curves < level).sum(axis=0), 1, len(curves) - 1)
    low, high = curves[after - 1, column], curves[after, column]
    with np.errstate(all="ignore"):  # where it is censored
        between = 10 ** (logs[after - 1] + (level - low) / (high - low) * (logs[after] - logs[after - 1]))
    return np.select([level > curves[-1], level <= curves[0]], [np.inf, 0.0], between)


def worth(scores: Scores, sizes: pd.DataFrame, runs: Names, averaged: Names) -> pd.DataFrame:
    """How many examples of the target language, in direct tuning, give the zero-shot score of each run, and the mean
    score of those of ``averaged`` (``INTERMEDIATE``); then, as the language ``MEDIAN``, the median over languages, the
    lower one of two.

    Columns: target, language, run, examples, low, high (over test examples and seeds), smallest, largest (sizes that
    were trained), seeds. Censored as :func:`crossing` says: 0 is fewer than the smallest, inf more than the largest.
    Curve and level are moved together on each draw: the same test examples score both.
    """
    rows: list[tuple] = []
    groups = {run: [run] for run in runs} | {INTERMEDIATE: averaged}
    direct = sizes[sizes["run"].str.startswith(DIRECT)]
    for target, points in direct.groupby("target", sort=False):
        cells: dict[tuple[str, Any], Combination] = {
            (row.language, row.examples): mean_score(row.run, target, [row.language]) for row in points.itertuples()
        }
        members, codes = scored(scores, groups, [target]), points["language"].unique()
        for code, (run, group) in product(codes, members.items()):
            cells[code, run] = mean([mean_score(name, target, [code]) for name in group])
        cells = {key: cell for key, cell in cells.items() if np.isfinite(scores.of(cell)).any()}
        drawn = dict(zip(cells, scores.draws(list(cells.values())), strict=True))
        for code in codes:
            known = [examples for language, examples in cells if language == code and not isinstance(examples, str)]
            if not known:
                continue
            rising = smoothed(np.stack([drawn[code, examples] for examples in known]))
            for run in members:
                if (code, run) in drawn:
                    seeds = int(np.isfinite(scores.of(cells[code, run])).sum())
                    numbers = crossing(known, rising, drawn[code, run])
                    rows.append((target, code, run, numbers, min(known), max(known), seeds))
    table = pd.DataFrame(rows, columns=["target", "language", "run", "draws", "smallest", "largest", "seeds"])
    for (target, run), part in table.groupby(["target", "run"], sort=False):
        middle = np.quantile(np.stack(part["draws"]), 0.5, axis=0, method="lower")  # some may be infinite
        rows.append((target, MEDIAN, run, middle, part["smallest"].min(), part["largest"].max(), part["seeds"].min()))
    # an end is a draw, not a point between two, of which one may be infinite
    ends = [np.quantile(row[3][1:], ENDS, method="inverted_cdf") for row in rows]
    rows = [(*row[:3], row[3][0], *pair, *row[4:]) for row, pair in zip(rows, ends, strict=True)]
    return pd.DataFrame(rows, columns="target language run examples low high smallest largest seeds".split())


# --- robustness over languages -----------------------------------------------------------------------------


def robustness(scores: Scores, targets: Names, runs: Names, averaged: Names, codes: Names) -> pd.DataFrame:
    """How even each run is over the languages ``codes``, beside ``none``; one row a run, then ``DIRECT`` where all of
    ``targets`` have it and ``INTERMEDIATE``, the mean over those of ``averaged``.

    Columns: series; worst (lowest score of a language, mean over targets), worst_gain (that minus that of ``none``),
    worst_low, worst_high; sd (standard deviation over languages, mean over targets), sd_gain, sd_low, sd_high; lose
    (share of cells, target by language, that lose) and lose_clearly (whose interval is below zero), in percent;
    cells, seeds.
    """
    groups = {run: [run] for run in runs} | {DIRECT: [WHOLE], INTERMEDIATE: averaged}
    members = {NONE: [NONE]} | scored(scores, groups, targets)
    rows = [(series, *evenness(scores, group, targets, codes)) for series, group in members.items()]
    head = "series worst worst_gain worst_low worst_high sd sd_gain sd_low sd_high lose lose_clearly cells seeds"
    return pd.DataFrame(rows, columns=head.split())


def evenness(scores: Scores, runs: Names, targets: Names, codes: Names) -> tuple:
    """A row of :func:`robustness`, without its name."""
    measures: dict[str, list[tuple[Combination, Combination]]] = {"worst": [], "sd": []}  # of the run, of ``none``
    gains = []
    for run, target in product(runs, targets):
        by_language = {code: scores.estimate(gain(run, target, code)) for code in codes}
        known = [code for code in codes if by_language[code].seeds]
        gains += [by_language[code] for code in known]
        if known:
            both = np.array([[scores.of({(name, target, code): 1.0}) for code in known] for name in (run, NONE)])
            values = both[:, :, np.isfinite(both).all(axis=(0, 1))].mean(axis=2)  # over the seeds that the run has
            cells = [[mean_score(name, target, [code]) for code in known] for name in (run, NONE)]
            lowest = [cells[number][row.argmin()] for number, row in enumerate(values)]
            spread = [weighted(*zip(deviation(row), cells[number], strict=True)) for number, row in enumerate(values)]
            measures["worst"].append((lowest[0], lowest[1]))
            measures["sd"].append((spread[0], spread[1]))
    numbers: list[float] = []
    for pairs in measures.values():
        change = mean([difference(*pair) for pair in pairs]) if pairs else {}
        level = scores.of(mean([ours for ours, _ in pairs]) if pairs else {})[np.isfinite(scores.of(change))]
        numbers += [level.mean() if len(level) else np.nan, *scores.estimate(change)[:3]]
    below = pd.DataFrame([(part.value, part.high) for part in gains], columns=["value", "high"], dtype=float).lt(0)
    return *numbers, *(100 * below.mean()), len(gains), min((part.seeds for part in gains), default=MISSING.seeds)


def deviation(values: np.ndarray) -> np.ndarray:
    """Weights of ``values`` whose sum is their standard deviation and, to first order, follows its changes."""
    size = values.std()
    return (values - values.mean()) / (len(values) * size) if size > 1e-9 else np.zeros(len(values))


# --- the answer --------------------------------------------------------------------------------------------

SERIES = {
    INTERMEDIATE: "intermediate training", CHOSEN: "run chosen in development", DIRECT: "direct tuning",
    SOURCE: "zero-shot, as many examples",
}  # fmt: skip
SENTENCES = {
    (INTERMEDIATE, "mean"): "Gain of intermediate training in the source language, other languages",
    (INTERMEDIATE, "slope"): "Its change from distance 0 to 1",
    (direct_minus(INTERMEDIATE), "mean"): "Direct tuning minus intermediate training",
    (direct_minus(INTERMEDIATE), "slope"): "Its change",
    (direct_minus(CHOSEN), "mean"): "Direct tuning minus the run chosen in development",
    (direct_minus(CHOSEN), "slope"): "Its change",
}


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the series that ``SERIES`` names, by these names; parts by their titles."""
    rows = table[table["series"].isin(SERIES)].assign(quantity="gain", axis="gain over none (points)")
    return rows.assign(series=rows["series"].map(SERIES), part=[METRICS.get(key, title(key)) for key in rows["part"]])


def sentences(slopes: pd.DataFrame, worth: pd.DataFrame) -> list[str]:
    """What the study shows, over all targets with direct tuning (the last part of ``slopes``)."""
    rows = slopes[slopes["part"] == slopes["part"].iloc[-1]].set_index(["series", "quantity"]).assign(quantity="gain")
    lines = []
    for (series, quantity), text in SENTENCES.items():
        if (series, quantity) in rows.index:
            row, order = rows.loc[series, quantity], ""
            if quantity == "slope" and np.isfinite(row.p):  # a star is for these; the interval takes languages as given
                order = f"; languages permuted: p {row.p:.2f}"
            lines.append(f"{text}: {with_evidence(row)}{order}.")
    medians = worth[(worth["language"] == MEDIAN) & (worth["run"] == INTERMEDIATE)].sort_values("examples")
    if len(medians):
        ends = " to ".join(dict.fromkeys(examples_text(row) for _, row in medians.iloc[[0, -1]].iterrows()))
        lines.append(f"Direct tuning equals intermediate training with {ends} examples (medians, by target).")
    return lines


def verdicts(slopes: pd.DataFrame, alignment: pd.DataFrame) -> pd.DataFrame:
    """The verdict table: gains of intermediate training and of direct tuning, mean over languages, by target and
    measure of alignment, each with its slope over distance."""
    rows = labelled(pd.concat([slopes, alignment]).rename(columns={"quantity": "what"}))
    rows["slope"] = [with_interval(row) for row in rows.itertuples()]
    slope = rows[rows["what"] == "slope"].set_index(["part", "series"])["slope"]
    mean = rows[rows["what"] == "mean"].drop(columns="slope").join(slope, on=["part", "series"]).fillna({"slope": ""})
    return verdict_table(mean, {"part": "of", "series": "by", "slope": "slope over distance"})


def examples_text(row: pd.Series) -> str:
    """A number of examples in a row of :func:`worth`: "35", "<10", ">3,000"."""
    if row["examples"] == 0:
        return f"<{row['smallest']:,}"
    return f">{row['largest']:,}" if np.isinf(row["examples"]) else f"{float(f'{row.examples:.2g}'):,.0f}"
