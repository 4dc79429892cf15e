"""Question 8, retrieval: tables, figures and answer of ``8-retrieval.ipynb``.

What does intermediate training in the source language do to cross-lingual retrieval? Every retrieval target is scored
twice: by the states of the encoder as intermediate training left it ("raw"), and after a short tuning for retrieval in
the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions

from xstilts import results
from xstilts.evaluation.metrics import CUTOFFS
from xstilts.results import MACRO, MEAN, Replicates, mean_of
from xstilts.settings import SOURCE, UNTRAINED
from xstilts.sources import Source
from xstilts.study import NONE, Study, parse_run
from xstilts.target_runs import Tuning, pool_languages, tunings
from xstilts.tasks import POOL, RETRIEVAL_KINDS, get

TRAINED = {UNTRAINED: "raw", SOURCE: "tuned"}  # training language -> value of the column tuning
MAIN, CROSS, OWN = "main", "cross_map@20", "own@1"  # of a target's metrics; see evaluation/ranking.py
RECALL = tuple(f"recall@{cut}" for cut in CUTOFFS)
ALL_RUNS = "mean of the runs"  # in the column intermediate: over those trained in the source language
KEYS = ["tuning", "intermediate", "target", "language", "seed"]


def read(study: Study) -> pd.DataFrame:
    """Statistics of the finished retrieval targets of further bundles, as ``results.read_stats`` with the column
    ``tuning``."""
    stats = results.read_stats(study, list(study.further))
    retrieval = [name for name in stats["target"].unique() if get(name).kind in RETRIEVAL_KINDS]
    stats = stats[stats["target"].isin(retrieval) & (stats["examples"] == 0)]
    return stats.assign(tuning=stats["training_language"].map(TRAINED)).dropna(subset="tuning").reset_index(drop=True)


def expected(study: Study, source: Source) -> pd.DataFrame:
    """What a finished study has: one row per tuning ("raw", "tuned"), intermediate, target, language and seed."""
    rows = [
        (TRAINED[tuning.training_language], run, tuning.target, language, seed)
        for run in study.intermediate
        for bundle in study.further
        if run in study.further[bundle].runs
        for tuning in _retrieval_tunings(study, source, bundle)
        for language in tuning.languages(study, source)
        for seed in study.seed_numbers
    ]
    return pd.DataFrame(rows, columns=KEYS).drop_duplicates(ignore_index=True)


def _retrieval_tunings(study: Study, source: Source, bundle: str) -> list[Tuning]:
    """Tunings of the bundle's retrieval targets on no or on all examples, in the source language."""
    return [
        tuning
        for tuning in tunings(study, source, bundle)
        if get(tuning.target).kind in RETRIEVAL_KINDS and tuning.training_language in TRAINED and not tuning.examples
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
            tables.append(pd.concat([table, _over_runs(replicates, rows)]).assign(tuning=tuning, metric=metric))
    return pd.concat(tables, ignore_index=True)


def tuning_gain(stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """What tuning is worth without intermediate training, tuned minus raw: ``results.estimates`` of that gain with the
    column metric."""
    stats, wanted = (
        table[table["intermediate"] == NONE].assign(intermediate=table["tuning"].replace("raw", NONE))
        for table in (stats, wanted)
    )
    wanted = wanted[wanted.duplicated(["target", "language", "seed"], keep=False)]
    tables = []
    for metric in (MAIN, OWN):
        part = _with_metric(stats, metric)
        part = part[part["target"].isin(wanted["target"])]
        if "tuned" in set(part["intermediate"]):
            rows = wanted[wanted["target"].isin(part["target"])]
            table = results.estimates(_resample(part, metric), rows, source_language)
            tables.append(table[table["quantity"] == "gain"].assign(metric=metric))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["metric", "target", "language"])


def _with_metric(stats: pd.DataFrame, metric: str) -> pd.DataFrame:
    return stats if metric == MAIN else stats[stats["metric"] == metric]


def _resample(stats: pd.DataFrame, metric: str) -> Replicates:
    return results.resample(stats, np.random.default_rng(0), metric="" if metric == MAIN else metric)


def _over_runs(replicates: Replicates, wanted: pd.DataFrame) -> pd.DataFrame:
    """The gain over ``none``, mean over the runs that were trained in the source language: per target, over all of
    them, and language by language."""
    runs = _source_runs(wanted["intermediate"].unique())
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    averages = [(target, MEAN, {target: codes}) for target, codes in languages.items()] + [(MACRO, MEAN, languages)]
    averages += [(target, code, {target: [code]}) for target, codes in languages.items() for code in codes]

    def gain(run: str, members: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
        score, base = (mean_of([replicates.of(name, *part) for part in members.items()]) for name in (run, NONE))
        return score[0] - base[0], score[1] - base[1]

    rows = []
    for target, language, members in averages if runs else ():
        value, low, high, seeds = replicates.interval(*mean_of([gain(run, members) for run in runs]), 0.95)
        number = len({code for codes in members.values() for code in codes})
        rows.append((ALL_RUNS, target, language, "gain", value, low, high, seeds, number, len(members)))
    head = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
    return pd.DataFrame(rows, columns=head)


def _source_runs(runs: Iterable[str]) -> list[str]:
    """Those trained in the source language."""
    return [name for name in runs if name != NONE and not parse_run(name).languages]


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
    for run in results.finished(study, list(study.further)):
        for tuning in _retrieval_tunings(study, source, run.bundle):
            path = run.folder(study) / tuning.name / "layers.parquet"
            if path.is_file():
                table = pd.read_parquet(path)
                table = table[table["metric"] == get(tuning.target).metrics[0]]
                labels = {"target": tuning.target, "tuning": TRAINED[tuning.training_language]}
                tables.append(table.assign(**labels, intermediate=run.intermediate, seed=run.seed))
    keys = ["target", "tuning", "intermediate", "layer", "seed"]
    table = pd.concat(tables).rename(columns={"score": "value"})
    return table.groupby(keys, sort=False)["value"].mean().reset_index()


def layer_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """:func:`layer_scores`, mean over seeds."""
    keys = ["target", "tuning", "intermediate", "layer"]
    return scores.groupby(keys, sort=False)["value"].mean().reset_index()


def layer_gains(scores: pd.DataFrame) -> pd.DataFrame:
    """What the runs in the source language change at each layer, on average: columns tuning, target (``MACRO``: the
    mean over all), layer, value, low, high, seeds.

    Layers keep no statistics of single queries: the 95% interval is Student's over seeds, the queries taken as given;
    of one seed there is none (NaN). Seeds that lack a run, ``none`` or a target are left out.
    """
    wide = scores.pivot(index=["tuning", "target", "layer", "seed"], columns="intermediate", values="value")
    runs = _source_runs(wide.columns)
    if NONE not in wide or not runs:
        return pd.DataFrame(columns=["tuning", "target", "layer", "value", "low", "high", "seeds"])
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
    for task in (get(name) for name in wanted["target"].unique() if get(name).kind == "ranking"):
        pools = [source.load(task, POOL, code) for code in pool_languages(study, source, task)]
        languages = pd.concat([pd.Series(pool["language"][:]) for pool in pools])
        queries = wanted.loc[wanted["target"] == task.name, "language"].unique()
        shares[task.name] = 100 * languages.value_counts(normalize=True).reindex(queries).fillna(0.0)
    return shares


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`estimates` that answer the question: the gain by the mean of the runs in the source language, per
    target and on average over targets, mean over languages, raw and tuned."""
    gain = (table["quantity"] == "gain") & (table["metric"] == MAIN) & (table["language"] == MEAN)
    return table[gain & (table["intermediate"] == ALL_RUNS)]


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
        lines.append(
            "Language bias, the share of first answers in the query's own language, is lowered by the mean of the runs "
            f"in {(bias['high'] < 0).sum()} of {len(bias)} comparisons and raised in {(bias['low'] > 0).sum()}."
        )
    for tuning, rows in layers[layers["target"] == MACRO].groupby("tuning", sort=False):
        hurts = (rows["high"] < 0).sum()
        lines.append(f"{tuning.capitalize()}: the mean of the runs hurts at {hurts} of {len(rows)} layers.")
    return lines
