"""Question 5: do gains fall with the distance of a language from the source language?

Compared with zero-shot ``none`` are *series*: an intermediate run; ``INTERMEDIATE``, the mean of the runs in the
source language; and ``DIRECT``, ``none`` fine-tuned on the language that is scored. Alignment of parallel sentences
is compared in the same way, a metric taking the place of a target.

How intervals are made. A number is held as *draws*, [1 + resamples]: its value, then its value on every resample of
results.py. A mean over languages takes the languages as given. A slope is the median of the slopes of all pairs of
languages (Theil-Sen); its resamples also draw the languages, each moved by its own deviations: the scatter of
languages holds that of examples already, so these intervals are slightly wide, never narrow. Minimum and standard
deviation over languages are biased on resamples (noise alone lowers the one and raises the other); theirs are of
first order (delta method): of the language that is the worst, and of the deviation as a function of small changes.
"""

import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from xstilts import results
from xstilts.names import DIRECT, NONE, SOURCE
from xstilts.plots import title
from xstilts.results import MEAN, SAME_AMOUNT, Replicates, interval_of, mean_of
from xstilts.runs import finished_target_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import tally, verdict_table, with_evidence, with_interval
from xstilts.target_runs import target_runs

WHOLE = f"{DIRECT}=0"  # the series DIRECT is tuned on whole training sets
INTERMEDIATE, DIFFERENCE = "intermediate", "direct minus intermediate"
ALL_TARGETS = "mean"  # in the column part: the mean of the targets with direct tuning
MEDIAN = "median"  # in the column language
KINDS = ("distance", "syntactic", "phonological", "genetic", "geographic", "order", "morphology")
SHARES = ("cognates", "names")  # of the micro-world, shared with the source: 1 - share is a distance
METRICS = {"accuracy": "retrieval accuracy", "cka": "linear CKA", "cosine_margin": "cosine margin"}

Names = Sequence[str]
Gains = dict[tuple[str, str], tuple[pd.DataFrame, int]]  # (part, series) -> draws by language, fewest seeds


def read_stats(study: Study) -> pd.DataFrame:
    """Statistics of the study's own bundles and, as further runs, those of the bundle ``direct``, so that all are
    resampled together: ``direct=100`` is ``none`` tuned on a hundred examples of the language it is scored in,
    ``source=100`` on a hundred of the source language; 0 is the whole set."""
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


def aligned(layers: pd.DataFrame, rng: np.random.Generator, resamples: int = 1000) -> Replicates:
    """Scores of the main layer, the metric in place of the target. Their deviations are those of seeds alone, as a
    measure of a whole set has no examples to resample; with one seed there are none (NaN)."""
    seeds = sorted(layers["seed"].unique().tolist())
    main = layers[layers["main"].astype(bool)]
    main = main.pivot_table("score", ["intermediate", "metric", "language"], "seed").reindex(columns=seeds)
    score = dict(zip(main.index, main.to_numpy(float), strict=True))
    deviation = np.full((len(seeds), resamples), 0.0 if len(seeds) > 1 else np.nan)
    return Replicates(score, dict.fromkeys(score, deviation), seeds, resamples, rng)


# --- gains and their intervals -----------------------------------------------------------------------------


def scored(replicates: Replicates, groups: dict[str, Names], targets: Names) -> dict[str, list[str]]:
    """Of each group of runs those with a score on each of ``targets``; groups without any are left out."""
    pairs = {(run, target) for (run, target, _), score in replicates.score.items() if np.isfinite(score).any()}
    complete = {run for run, _ in pairs if pairs.issuperset((run, target) for target in targets)}
    members = {series: [run for run in group if run in complete] for series, group in groups.items()}
    return {series: group for series, group in members.items() if group}


def language_gains(replicates: Replicates, runs: Names, targets: Names, codes: Names) -> tuple[pd.DataFrame, int]:
    """Gains over ``none`` in points, mean over ``runs`` and over those of ``targets`` that a language is scored in:
    draws by language (those without a gain are left out) and the fewest seeds that any rests on."""
    draws, counts = {}, []
    for code in codes:
        shared = [target for target in targets if (NONE, target, code) in replicates.score]
        if gains := [gain(replicates, run, target, code) for target in shared for run in runs]:
            drawn, seeds = replicates.draws(*mean_of(gains))
            if seeds:
                draws[code] = drawn
                counts.append(seeds)
    return pd.DataFrame(draws).T, min(counts, default=0)


def gain(replicates: Replicates, run: str, target: str, code: str) -> tuple[np.ndarray, np.ndarray]:
    """([seeds], [seeds, resamples]) of a run less those of ``none``."""
    ours, none = replicates.of(run, target, [code]), replicates.of(NONE, target, [code])
    return ours[0] - none[0], ours[1] - none[1]


def series_gains(replicates: Replicates, parts: dict[str, Names], runs: Names, averaged: Names, codes: Names) -> Gains:
    """Gains of the languages ``codes`` in each of ``parts`` (name -> targets that are averaged).

    Series: each of ``runs``; ``INTERMEDIATE``, the mean of ``averaged``; where direct tuning has been scored on all
    targets of a part, ``DIRECT`` and, in the languages of both, ``DIFFERENCE``.
    """
    groups = {run: [run] for run in runs} | {INTERMEDIATE: averaged, DIRECT: [WHOLE]}
    gains: Gains = {}
    for part, targets in parts.items():
        for series, members in scored(replicates, groups, targets).items():
            gains[part, series] = language_gains(replicates, members, targets, codes)
        if (part, INTERMEDIATE) in gains and (part, DIRECT) in gains:
            (zero_shot, seeds), (direct, fewer) = gains[part, INTERMEDIATE], gains[part, DIRECT]
            both = direct.index.intersection(zero_shot.index, sort=False)
            gains[part, DIFFERENCE] = direct.loc[both] - zero_shot.loc[both], min(seeds, fewer)
    return {key: (draws, seeds) for key, (draws, seeds) in gains.items() if len(draws)}


def gain_table(gains: Gains, distance: pd.Series) -> pd.DataFrame:
    """Gains with their intervals: part, series, language, distance, value, low, high, seeds."""
    rows = []
    for (part, series), (draws, seeds) in gains.items():
        for code in draws.index:
            rows.append((part, series, code, distance[code], *interval_of(draws.loc[code].to_numpy()), seeds))
    return pd.DataFrame(rows, columns=["part", "series", "language", "distance", "value", "low", "high", "seeds"])


def layer_gains(layers: pd.DataFrame, averaged: Names, distance: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """Change of alignment by phase 2 in every hidden layer: the gain of ``INTERMEDIATE`` in each language of
    ``distance`` and, as the language ``MEAN``, over all of them; over seeds alone, as :func:`aligned`.

    Columns: metric, layer, main, language, value, low, high, seeds.
    """
    named = layers.assign(metric=layers["metric"] + "@" + layers["layer"].astype(str), main=True)
    parts: dict[str, Names] = {name: [name] for name in named["metric"].unique()}
    gains = series_gains(aligned(named, rng), parts, [], averaged, distance.index)
    for draws, _ in gains.values():
        draws.loc[MEAN] = draws.mean()
    table = gain_table(gains, distance.reindex([*distance.index, MEAN]))
    table["metric"] = [part.partition("@")[0] for part in table["part"]]
    table["layer"] = [int(part.partition("@")[2]) for part in table["part"]]
    table["main"] = table["layer"].isin(layers.loc[layers["main"].astype(bool), "layer"])
    return table[["metric", "layer", "main", "language", "value", "low", "high", "seeds"]]


# --- slopes over distance ----------------------------------------------------------------------------------


def theil_sen(distance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median of the slopes of all pairs over the last axis, pairs at the same distance left out (Theil 1950, Sen
    1968); NaN where none is left. scipy.stats.theilslopes for many resamples at once."""
    first, second = np.triu_indices(distance.shape[-1], 1)
    run, rise = distance[..., second] - distance[..., first], values[..., second] - values[..., first]
    # all NaN where one language is drawn every time
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.nanmedian(np.where(run == 0, np.nan, rise / run), axis=-1)


def slope_draws(
    distance: pd.Series, draws: pd.DataFrame, rng: np.random.Generator, held: pd.DataFrame | None = None
) -> np.ndarray:
    """Draws of the Theil-Sen slope of gains over ``distance``, languages resampled too. With covariates ``held``
    fixed it is that of what least squares on them leaves of gain and distance (Frisch-Waugh-Lovell)."""
    count = len(draws)
    languages = np.vstack([np.arange(count), rng.integers(count, size=(draws.shape[1] - 1, count))])
    values = np.where(draws.isna(), draws.iloc[:, :1], draws)
    gains, apart = np.take_along_axis(values.T, languages, axis=1), distance.to_numpy()[languages]
    if held is not None:
        covariates = np.concatenate([np.ones((count, 1)), held], axis=1)[languages]
        residual = np.eye(count) - covariates @ np.linalg.pinv(covariates)
        gains, apart = ((residual @ part[..., None])[..., 0] for part in (gains, apart))
        apart = np.where(np.abs(apart).max(axis=1, keepdims=True) < 1e-9, 0, apart).round(9)  # rounding alone is left
    return theil_sen(apart, gains)


def against_distance(gains: Gains, distance: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """Mean of each gain over languages and its slope over distance from the source, which needs three languages.

    Columns: part, series, quantity ("mean", in points; "slope", in points from distance 0 to 1), value, low, high,
    languages, seeds.
    """
    rows = []
    for (part, series), (draws, seeds) in gains.items():
        quantities = {"mean": draws.mean().to_numpy()}
        if len(draws) > 2:
            quantities["slope"] = slope_draws(distance[draws.index], draws, rng)
        rows += [(part, series, name, *interval_of(drawn), len(draws), seeds) for name, drawn in quantities.items()]
    return pd.DataFrame(rows, columns=["part", "series", "quantity", "value", "low", "high", "languages", "seeds"])


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


def every_distance(gains: Gains, table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Slopes of ``INTERMEDIATE`` and ``DIRECT`` over each distance of ``table`` (:func:`predictors`) that is known for
    three languages, and over ``distance`` with those covariates held fixed that are known for all of the languages
    and vary; this needs two languages a coefficient.

    Columns: part, series, over, held, value, low, high, languages.
    """
    rows = []
    kinds = [name for name in (*KINDS, *SHARES) if name in table]
    compared = {key: draws for key, (draws, _) in gains.items() if key[1] in (INTERMEDIATE, DIRECT)}
    for (part, series), draws in compared.items():
        known = table.loc[draws.index]
        slopes = [(name, known[name].dropna(), None) for name in kinds]
        held = known.drop(columns=kinds).dropna(axis="columns")
        held = held.loc[:, held.nunique() > 1]
        if held.shape[1] and len(draws) >= 2 * held.shape[1] + 4:
            slopes.append(("distance", known["distance"], held))
        for name, distance, covariates in slopes:
            if len(distance) > 2:
                drawn = slope_draws(distance, draws.loc[distance.index], rng, covariates)
                names = ", ".join(() if covariates is None else covariates)
                rows.append((part, series, name, names, *interval_of(drawn), len(distance)))
    return pd.DataFrame(rows, columns="part series over held value low high languages".split()).dropna(subset="value")


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


def learning_curves(replicates: Replicates, sizes: pd.DataFrame, codes: Names) -> pd.DataFrame:
    """Scores by number of examples: target, language (scored in), series (``DIRECT``, or "source": zero-shot from as
    many of the source language), examples, value, low, high, seeds. ``sizes``: of :func:`training_sizes`."""
    rows = []
    for row in sizes.itertuples():
        series = row.run.partition("=")[0]
        for code in codes if series == SOURCE else [row.language]:
            draws, seeds = mean_score(replicates, [row.run], row.target, code)
            if seeds:
                rows.append((row.target, code, series, row.examples, *np.clip(interval_of(draws), 0, 100), seeds))
    return pd.DataFrame(rows, columns="target language series examples value low high seeds".split())


def mean_score(replicates: Replicates, runs: Names, target: str, code: str) -> tuple[np.ndarray, int]:
    """Draws of the mean score of ``runs`` in a language, and the seeds it rests on."""
    return replicates.draws(*mean_of([replicates.of(run, target, [code]) for run in runs]))


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Learning curves [sizes, resamples] made to rise: the nearest, in least squares, that never fall (isotonic)."""
    return np.stack([isotonic_regression(curve).x for curve in scores.T], axis=1)


def crossing(examples: Sequence[int], curves: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Number of examples at which curves that never fall [sizes, resamples] first meet ``level`` [resamples], linear
    in log examples between their points. Censored: 0 where the first point does already, inf where none does."""
    logs = np.log10(examples)
    column = np.arange(len(level))
    after = np.clip((curves < level).sum(axis=0), 1, len(curves) - 1)
    low, high = curves[after - 1, column], curves[after, column]
    with np.errstate(all="ignore"):  # where it is censored
        between = 10 ** (logs[after - 1] + (level - low) / (high - low) * (logs[after] - logs[after - 1]))
    return np.select([level > curves[-1], level <= curves[0]], [np.inf, 0.0], between)


def worth(replicates: Replicates, sizes: pd.DataFrame, runs: Names, averaged: Names) -> pd.DataFrame:
    """How many examples of the target language, in direct tuning, give the zero-shot score of each run, and the mean
    score of those of ``averaged`` (``INTERMEDIATE``); then, as the language ``MEDIAN``, the median over languages, the
    lower one of two.

    Columns: target, language, run, examples, low, high (over test examples and seeds), smallest, largest (sizes that
    were trained), seeds. Censored as :func:`crossing` says: 0 is fewer than the smallest, inf more than the largest.
    Curve and level are moved together on each resample: the same test examples score both.
    """
    rows: list[tuple] = []
    direct = sizes[sizes["run"].str.startswith(DIRECT)]
    for (target, code), points in direct.groupby(["target", "language"], sort=False):
        scores = {row.examples: mean_score(replicates, [row.run], target, code) for row in points.itertuples()}
        curve = {examples: draws for examples, (draws, seeds) in scores.items() if seeds}
        if not curve:
            continue
        rising = smoothed(np.stack(list(curve.values())))
        groups = {run: [run] for run in runs} | {INTERMEDIATE: averaged}
        for run, members in scored(replicates, groups, [target]).items():
            level, seeds = mean_score(replicates, members, target, code)
            if seeds:
                rows.append((target, code, run, crossing(list(curve), rising, level), min(curve), max(curve), seeds))
    table = pd.DataFrame(rows, columns=["target", "language", "run", "draws", "smallest", "largest", "seeds"])
    for (target, run), part in table.groupby(["target", "run"], sort=False):
        middle = np.quantile(np.stack(part["draws"]), 0.5, axis=0, method="lower")  # some may be infinite
        rows.append((target, MEDIAN, run, middle, part["smallest"].min(), part["largest"].max(), part["seeds"].min()))
    rows = [(*row[:3], *interval_of(row[3]), *row[4:]) for row in rows]
    return pd.DataFrame(rows, columns="target language run examples low high smallest largest seeds".split())


# --- robustness over languages -----------------------------------------------------------------------------


def robustness(replicates: Replicates, targets: Names, runs: Names, averaged: Names, codes: Names) -> pd.DataFrame:
    """How even each run is over the languages ``codes``, beside ``none``; one row a run, then ``DIRECT`` where all of
    ``targets`` have it and ``INTERMEDIATE``, the mean over those of ``averaged``.

    Columns: series; worst (lowest score of a language, mean over targets), worst_gain (that minus that of ``none``),
    worst_low, worst_high; sd (standard deviation over languages, mean over targets), sd_gain, sd_low, sd_high; lose
    (share of cells, target by language, that lose) and lose_clearly (whose interval is below zero), in percent;
    cells, seeds.
    """
    groups = {run: [run] for run in runs} | {DIRECT: [WHOLE], INTERMEDIATE: averaged}
    members = {NONE: [NONE]} | scored(replicates, groups, targets)
    rows = [(series, *evenness(replicates, group, targets, codes)) for series, group in members.items()]
    head = "series worst worst_gain worst_low worst_high sd sd_gain sd_low sd_high lose lose_clearly cells seeds"
    return pd.DataFrame(rows, columns=head.split())


def evenness(replicates: Replicates, runs: Names, targets: Names, codes: Names) -> tuple:
    """A row of :func:`robustness`, without its name."""
    measures, gains, counts = [], [], []
    for run, target in product(runs, targets):
        cells = []
        for code in codes:
            ours, none = replicates.of(run, target, [code]), replicates.of(NONE, target, [code])
            draws, seeds = replicates.draws(*ours)
            base, _ = replicates.draws(none[0] + 0 * ours[0], none[1])  # over the seeds that the run has
            if seeds and np.isfinite(base[0]):
                cells.append((draws, base))
                gains.append(interval_of(draws - base))
                counts.append(seeds)
        if cells:
            measures.append([(part[part[:, 0].argmin()], deviation(part)) for part in np.swapaxes(cells, 0, 1)])
    levels, bases = np.mean(measures, axis=0) if measures else np.full((2, 2, 1 + replicates.resamples), np.nan)
    worst, sd = [(level[0], *interval_of(level - base)) for level, base in zip(levels, bases, strict=True)]
    below = pd.DataFrame(gains, columns=["value", "low", "high"], dtype=float)[["value", "high"]].lt(0)
    return *worst, *sd, *(100 * below.mean()), len(gains), min(counts, default=0)


def deviation(draws: np.ndarray) -> np.ndarray:
    """Draws of the standard deviation over languages, to first order in their deviations."""
    values = draws[:, 0]
    size = values.std()
    slope = (values - values.mean()) / (len(values) * size) if size else np.zeros(len(values))
    return size + slope @ (draws - values[:, None])


# --- the answer --------------------------------------------------------------------------------------------

SERIES = {INTERMEDIATE: "intermediate training", DIRECT: "direct tuning", SOURCE: "zero-shot, as many examples"}
SENTENCES = {
    (INTERMEDIATE, "mean"): "Gain of intermediate training in the source language, mean over the other languages",
    (INTERMEDIATE, "slope"): "Change of this gain from distance 0 to 1",
    (DIFFERENCE, "mean"): "Direct tuning minus intermediate training",
    (DIFFERENCE, "slope"): "Change of this difference from distance 0 to 1",
}


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the series that ``SERIES`` names, by these names; parts by their titles."""
    rows = table[table["series"].isin(SERIES)].assign(quantity="gain", axis="gain over none (points)")
    return rows.assign(series=rows["series"].map(SERIES), part=[METRICS.get(key, title(key)) for key in rows["part"]])


def sentences(slopes: pd.DataFrame, alignment: pd.DataFrame, worth: pd.DataFrame) -> list[str]:
    """What the study shows, over all targets with direct tuning (the last part of ``slopes``)."""
    rows = slopes[slopes["part"] == slopes["part"].iloc[-1]].set_index(["series", "quantity"]).assign(quantity="gain")
    lines = [f"{text}: {with_evidence(rows.loc[key])}." for key, text in SENTENCES.items() if key in rows.index]
    medians = worth[(worth["language"] == MEDIAN) & (worth["run"] == INTERMEDIATE)].sort_values("examples")
    if len(medians):
        ends = " to ".join(dict.fromkeys(examples_text(row) for _, row in medians.iloc[[0, -1]].iterrows()))
        lines.append(f"Direct tuning equals intermediate training with {ends} examples (medians, by target).")
    mean = alignment[(alignment["series"] == INTERMEDIATE) & (alignment["quantity"] == "mean")]
    text = "Of {count} measures of alignment intermediate training lowers {below} and raises {above}."
    return lines + tally(text, mean)


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
