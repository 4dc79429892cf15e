"""Question 8, retrieval: tables, figures and answer of ``8-retrieval.ipynb``.

What does intermediate training in the source language do to cross-lingual retrieval? Every retrieval target is scored
twice: by the states of the encoder as intermediate training left it ("raw"), and after a short tuning for retrieval in
the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats as distributions

from xstilts import results
from xstilts.evaluation.metrics import CUTOFFS
from xstilts.names import NONE, SOURCE, UNTRAINED, parse_run
from xstilts.plots import curves, heatmap, interval_panels, title
from xstilts.results import MACRO, MEAN, Replicates, mean_of
from xstilts.runs import finished_target_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import chance, verdict_table
from xstilts.target_runs import TargetRun, pool_languages, target_runs
from xstilts.tasks import POOL, RETRIEVAL_KINDS

TRAINED = {UNTRAINED: "raw", SOURCE: "tuned"}  # training language -> value of the column tuning
MAIN, CROSS, OWN = "main", "cross_map@20", "own@1"  # of a target's metrics; see evaluation/ranking.py
RECALL = tuple(f"recall@{cut}" for cut in CUTOFFS)
ALL_RUNS = "mean of the runs"  # in the column intermediate: over those trained in the source language
KEYS = ["tuning", "intermediate", "target", "language", "seed"]


def read(study: Study) -> pd.DataFrame:
    """Statistics of the finished retrieval targets of further bundles, as ``results.read_stats`` with the column
    ``tuning``."""
    stats = results.read_stats(study, list(study.further))
    retrieval = [name for name in stats["target"].unique() if study.task(name).kind in RETRIEVAL_KINDS]
    stats = stats[stats["target"].isin(retrieval) & (stats["examples"] == 0)]
    return stats.assign(tuning=stats["training_language"].map(TRAINED)).dropna(subset="tuning").reset_index(drop=True)


def expected(study: Study, source: Source) -> pd.DataFrame:
    """What a finished study has: one row per tuning ("raw", "tuned"), intermediate, target, language and seed."""
    rows = [
        (TRAINED[tuning.training_language], run, tuning.target, language, seed)
        for run in study.intermediate
        for bundle in study.further
        if run in study.further[bundle].runs
        for tuning in _retrieval_runs(study, source, bundle)
        for language in tuning.languages(study, source)
        for seed in study.seed_numbers
    ]
    return pd.DataFrame(rows, columns=KEYS).drop_duplicates(ignore_index=True)


def _retrieval_runs(study: Study, source: Source, bundle: str) -> list[TargetRun]:
    """Tunings of the bundle's retrieval targets on no or on all examples, in the source language."""
    return [
        tuning
        for tuning in target_runs(study, source, bundle)
        if tuning.task.kind in RETRIEVAL_KINDS and tuning.training_language in TRAINED and not tuning.examples
    ]


def missing(wanted: pd.DataFrame, stats: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`expected` that have no statistics."""
    return results.missing(wanted, stats[KEYS].drop_duplicates().assign(value=0.0))


def estimates(
    stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str, metrics: Sequence[str] = (MAIN, CROSS, OWN)
) -> pd.DataFrame:
    """``results.estimates`` of every metric, raw and tuned, with the columns tuning and metric, and with rows of the
    gain over all runs (``ALL_RUNS``), in every language and their ``MEAN``."""
    tables = []
    for metric in metrics:
        for tuning, part in _with_metric(stats, metric).groupby("tuning", sort=False):
            rows = wanted[(wanted["tuning"] == tuning) & wanted["target"].isin(part["target"])]
            replicates = _resample(part, metric)
            table = results.estimates(replicates, rows, source_language)
            if runs := source_runs(rows["intermediate"].unique()):
                table = pd.concat([table, _over_runs(replicates, rows, runs)])
            tables.append(table.assign(tuning=tuning, metric=metric))
    return pd.concat(tables, ignore_index=True)


def tuning_gain(stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """What tuning is worth without intermediate training, tuned minus raw: ``results.estimates`` of that gain, for
    targets that are both."""
    stats, wanted = (
        table[table["intermediate"] == NONE].assign(intermediate=table["tuning"].replace("raw", NONE))
        for table in (stats, wanted)
    )
    wanted = wanted[wanted.duplicated(["target", "language", "seed"], keep=False)]
    stats = stats[stats["target"].isin(wanted["target"])]
    table = results.estimates(_resample(stats, MAIN), wanted, source_language)
    return table[table["quantity"] == "gain"]


def _with_metric(stats: pd.DataFrame, metric: str) -> pd.DataFrame:
    return stats if metric == MAIN else stats[stats["metric"] == metric]


def _resample(stats: pd.DataFrame, metric: str) -> Replicates:
    return results.resample(stats, np.random.default_rng(0), metric="" if metric == MAIN else metric)


def _over_runs(replicates: Replicates, wanted: pd.DataFrame, runs: list[str]) -> pd.DataFrame:
    """The gain over ``none``, mean over ``runs``: per target, over all of them, and language by language."""
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    averages = [(target, MEAN, {target: codes}) for target, codes in languages.items()] + [(MACRO, MEAN, languages)]
    averages += [(target, code, {target: [code]}) for target, codes in languages.items() for code in codes]

    def gain(run: str, members: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
        score, base = (mean_of([replicates.of(name, *part) for part in members.items()]) for name in (run, NONE))
        return score[0] - base[0], score[1] - base[1]

    rows = []
    for target, language, members in averages:
        value, low, high, seeds = replicates.interval(*mean_of([gain(run, members) for run in runs]))
        number = len({code for codes in members.values() for code in codes})
        rows.append((ALL_RUNS, target, language, "gain", value, low, high, seeds, number, len(members)))
    head = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
    return pd.DataFrame(rows, columns=head)


def source_runs(runs: Iterable[str]) -> list[str]:
    """Those trained in the source language."""
    return [name for name in runs if name != NONE and not parse_run(name, None).languages]


def recall_curves(stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """:func:`estimates` of recall among the first k, mean over languages, target by target, with the column k."""
    table = estimates(stats, wanted, source_language, RECALL)
    table = table[(table["language"] == MEAN) & (table["target"] != MACRO)]
    cut = table["metric"].str.removeprefix("recall@").astype(int)
    return table.drop(columns="metric").assign(k=cut).reset_index(drop=True)


def layer_scores(study: Study, source: Source) -> pd.DataFrame:
    """Columns target, tuning, intermediate, layer, seed, value: the main metric in percent at every layer that was
    scored, mean over languages."""
    tables = []
    for run in finished_target_runs(study, list(study.further)):
        for tuning in _retrieval_runs(study, source, run.bundle):
            path = run.folder(study) / tuning.name / "layers.parquet"
            if path.is_file():
                table = pd.read_parquet(path)
                table = table[table["metric"] == tuning.task.metrics[0]]
                labels = {"target": tuning.target, "tuning": TRAINED[tuning.training_language]}
                tables.append(table.assign(**labels, intermediate=run.intermediate, seed=run.seed))
    keys = ["target", "tuning", "intermediate", "layer", "seed"]
    table = pd.concat(tables).rename(columns={"score": "value"})
    return table.groupby(keys, sort=False)["value"].mean().reset_index()


def layer_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """:func:`layer_scores`, mean over seeds."""
    return scores.groupby(["target", "tuning", "intermediate", "layer"], sort=False)["value"].mean().reset_index()


def layer_gains(scores: pd.DataFrame) -> pd.DataFrame:
    """What the runs in the source language change at each layer, on average: columns tuning, target (``MACRO``: the
    mean over all), layer, value, low, high, seeds.

    Layers keep no statistics of single queries: the 95% interval is Student's over seeds, the queries taken as given;
    of one seed there is none (NaN). Seeds that lack a run, ``none`` or a target are left out.
    """
    wide = scores.pivot(index=["tuning", "target", "layer", "seed"], columns="intermediate", values="value")
    runs = source_runs(wide.columns)
    if NONE not in wide or not runs:
        return pd.DataFrame(columns=["tuning", "target", "layer", "value", "low", "high", "seeds"], dtype=float)
    gain = (wide[runs].mean(axis=1, skipna=False) - wide[NONE]).round(9)  # nothing changed is 0
    by_tuning = [part.unstack("target") for _, part in gain.groupby(level="tuning", sort=False)]  # tuned may be fewer
    macro = pd.concat([part.mean(axis=1, skipna=False) for part in by_tuning])
    table = pd.concat([gain.reset_index(name="value"), macro.reset_index(name="value").assign(target=MACRO)])
    grouped = table.dropna(subset="value").groupby(["tuning", "target", "layer"], sort=False)["value"]
    table = grouped.agg(value="mean", sem="sem", seeds="count").reset_index()
    width = table.pop("sem") * distributions.t.ppf(0.975, table["seeds"] - 1)
    table.insert(4, "low", table["value"] - width)
    table.insert(5, "high", table["value"] + width)
    return table


def pool_shares(study: Study, source: Source, wanted: pd.DataFrame) -> dict[str, pd.Series]:
    """Of rankings: query language -> its share of the pool in percent: what ``own@1`` would be without any bias."""
    shares = {}
    for target, rows in wanted.groupby("target", sort=False):
        task = study.task(target)
        if task.kind == "ranking":
            pools = [source.load(task, POOL, code) for code in pool_languages(study, source, task)]
            languages = pd.concat([pd.Series(pool["language"][:]) for pool in pools])
            shares[target] = 100 * languages.value_counts(normalize=True).reindex(rows["language"].unique()).fillna(0.0)
    return shares


def gain_panels(table: pd.DataFrame) -> Figure:
    """Gain of every run over ``none``, mean over languages, raw and tuned: a panel per target and one for their mean,
    with the scores of ``none`` in its title."""
    rows = table[(table["metric"] == MAIN) & (table["language"] == MEAN)]
    labels = {}
    for target, part in rows[rows["intermediate"] == NONE].groupby("target"):
        scores = [f"{row.tuning} {row.value:.1f}" for row in part.itertuples()]
        labels[target] = f"{title(target).replace(chr(10), ' ')}\nnone: {', '.join(scores)}"
    gain = rows[rows["quantity"] == "gain"].assign(panel=rows["target"].map(labels))
    what = "Dots with 95% intervals: gain over none in points, mean over languages, raw and tuned"
    return interval_panels(gain, "intermediate", "tuning", "panel", what, "gain over none (points)", sharex=False)


def language_heatmap(table: pd.DataFrame, languages: list[str], target: str) -> Figure:
    """Gains on one target, runs by query languages with the score of ``none``, raw and tuned."""
    rows = table[(table["metric"] == MAIN) & (table["target"] == target)].set_index("language")
    rows = pd.concat([rows.loc[[code]] for code in languages if code in rows.index]).reset_index()
    none = rows[rows["intermediate"] == NONE].rename(columns={"value": "none"})
    rows = rows[rows["quantity"] == "gain"].merge(none[["language", "tuning", "none"]], on=["language", "tuning"])
    rows["query"] = [f"{row.language}\n{row.none:.0f}" for row in rows.itertuples()]
    what = f"Heatmap of {title(target)}, gain over none in points by run and query language"
    note = "query language, nearest to the source first; below it the score of none"
    return heatmap(rows, "intermediate", "query", "tuning", what, note)


def recall_panels(recall: pd.DataFrame) -> Figure:
    """Recall among the first k of ``none`` and, below, its gain by the mean of the runs. ``recall``: of
    :func:`recall_curves`."""
    scores = recall[(recall["intermediate"] == NONE) & (recall["quantity"] == "score")]
    rows = pd.concat([scores, recall[recall["intermediate"] == ALL_RUNS]])
    rows["row"] = rows["quantity"].map({"score": "recall@k of none (%)", "gain": "gain (points), mean of the runs"})
    return curves(rows, "k", "tuning", "target", "Recall among the first k", "k", "row")


def layer_panels(scores: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """Main score of ``none`` by hidden layer and, below, its gain by the mean of the runs. ``scores``: of
    :func:`layer_curves`; ``gains``: of :func:`layer_gains`."""
    scores = scores[scores["intermediate"] == NONE].assign(
        quantity="score", row="score of none", low=np.nan, high=np.nan
    )
    gains = gains[gains["target"] != MACRO].assign(quantity="gain", row="gain (points), mean of the runs")
    label = "hidden layer (0: embeddings); 95% intervals over seeds alone"
    return curves(pd.concat([scores, gains]), "layer", "tuning", "target", "Main score by hidden layer", label, "row")


def bias_panels(table: pd.DataFrame, shares: dict[str, pd.Series]) -> Figure:
    """Share of first answers in the query's own language by run, raw and tuned. ``shares``: of :func:`pool_shares`."""
    rows = table[(table["metric"] == OWN) & (table["quantity"] == "score") & (table["language"] == MEAN)]
    labels = {target: f"{title(target)}\nof the pool: {share.mean():.1f}%" for target, share in shares.items()}
    rows = rows[rows["target"].isin(labels)].assign(panel=rows["target"].map(labels))
    what = "Dots with 95% intervals: first answers in the query's own language (percent), by run"
    return interval_panels(
        rows, "intermediate", "tuning", "panel", what, "first answers in the query's own language (%)"
    )


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """The gain by the mean of the runs in the source language, per target and on average over targets, mean over
    languages, raw and tuned. ``table``: of :func:`estimates`."""
    rows = table[(table["quantity"] == "gain") & (table["metric"] == MAIN) & (table["language"] == MEAN)]
    rows = rows[rows["intermediate"] == ALL_RUNS]
    rows = rows.assign(target=[title(target).replace(chr(10), " ") for target in rows["target"]])
    return verdict_table(rows, {"intermediate": "run", "tuning": "encoder", "target": "target"})


def sentences(table: pd.DataFrame, layers: pd.DataFrame) -> list[str]:
    """What the study shows. ``table``: of :func:`estimates`; ``layers``: of :func:`layer_gains`."""
    lines = []
    mean = table[(table["quantity"] == "gain") & (table["language"] == MEAN)].dropna(subset="value")
    single = mean[mean["intermediate"] != ALL_RUNS]
    for tuning, rows in single[(single["target"] == MACRO) & (single["metric"] == MAIN)].groupby("tuning", sort=False):
        helps, hurts = (rows["low"] > 0).sum(), (rows["high"] < 0).sum()
        lines.append(
            f"{tuning.capitalize()}: on average over the targets {helps} of {len(rows)} runs help, {hurts} hurt."
        )
    bias = mean[(mean["intermediate"] == ALL_RUNS) & (mean["metric"] == OWN) & (mean["target"] != MACRO)]
    if len(bias):
        lower, higher = (bias["high"] < 0).sum(), (bias["low"] > 0).sum()
        lines.append(
            f"Language bias falls by the mean of the runs in {lower} of {len(bias)} cases and rises in {higher}."
        )
    for tuning, rows in layers[layers["target"] == MACRO].dropna(subset="low").groupby("tuning", sort=False):
        hurts = (rows["high"] < 0).sum()
        lines.append(f"{tuning.capitalize()}: the mean of the runs hurts at {hurts} of {len(rows)} layers.")
    return [*lines, chance(single[(single["target"] != MACRO) & (single["metric"] == MAIN)])]
