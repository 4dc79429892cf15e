"""Question 8, retrieval: tables and answer of ``8-retrieval.ipynb``.

What does intermediate training in the source language do to cross-lingual retrieval? Every retrieval target is scored
twice: by the states of the encoder as intermediate training left it ("raw"), and after a short tuning for retrieval in
the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats as distributions

from xstilts import results
from xstilts.evaluation.metrics import CUTOFFS
from xstilts.inference import from_statistics
from xstilts.names import NONE, SOURCE, UNTRAINED, compared, parse_run
from xstilts.plots import title
from xstilts.results import MACRO, MEAN, ZERO_SHOT, marked
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import chance, tally, verdict_table, with_interval
from xstilts.target_runs import pool_languages, target_runs
from xstilts.tasks import POOL, RETRIEVAL_KINDS

TRAINED = {UNTRAINED: "raw", SOURCE: "tuned"}  # training language -> value of the column tuning
MAIN, CROSS, OWN = "main", "cross_map@20", "own@1"  # of a target's metrics; see evaluation/ranking.py
FLOOR = 5  # points: a score that no run exceeds leaves nothing to compare
ALL_RUNS = "mean of the runs"  # in the column intermediate: over those trained in the source language
KEYS = ["tuning", "intermediate", "target", "language", "seed"]


def read(study: Study) -> pd.DataFrame:
    """Statistics of the finished retrieval targets of further bundles, as ``results.read_stats`` with the column
    ``tuning``."""
    stats = results.read_stats(study, list(study.further))
    retrieval = [name for name in stats["target"].unique() if study.task(name).kind in RETRIEVAL_KINDS]
    return _with_tuning(stats[stats["target"].isin(retrieval)])


def _with_tuning(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of raw encoders, and of those that are tuned on a whole training set in the source language."""
    table = table[table["examples"] == 0]
    return table.assign(tuning=table["training_language"].map(TRAINED)).dropna(subset="tuning").reset_index(drop=True)


def expected(study: Study, source: Source) -> pd.DataFrame:
    """What a finished study has: one row per tuning ("raw", "tuned"), intermediate, target, language and seed."""
    rows: list[tuple] = []
    for bundle, further in study.further.items():
        runs = [run for run in study.intermediate if run in further.runs]
        for tuning in target_runs(study, source, bundle):
            if tuning.retrieval and tuning.training_language in TRAINED and not tuning.examples:
                labels = [TRAINED[tuning.training_language]], runs, [tuning.target]
                rows += product(*labels, tuning.languages(study, source), study.seed_numbers)
    return pd.DataFrame(rows, columns=KEYS).drop_duplicates(ignore_index=True)


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
        for tuning, part in stats[stats["metric"].eq(metric) | (metric == MAIN)].groupby("tuning", sort=False):
            rows = wanted[(wanted["tuning"] == tuning) & wanted["target"].isin(part["target"])]
            scores = from_statistics(part, metric="" if metric == MAIN else metric)
            table = results.estimates(scores, rows, source_language)
            if runs := source_runs(rows["intermediate"].unique()):
                mean = results.estimates(scores, rows, source_language, {ALL_RUNS: runs})
                mean = mean[(mean["quantity"] == "gain") & (mean["language"] != ZERO_SHOT)]
                is_mean = mean["language"] == MEAN
                table = pd.concat([table, mean[is_mean], mean[~is_mean]])
            tables.append(table.assign(tuning=tuning, metric=metric))
    return pd.concat(tables, ignore_index=True)


def source_runs(runs: Iterable[str]) -> list[str]:
    """Those trained in the source language."""
    return [name for name in compared(runs) if not parse_run(name, None).languages]


def recall_curves(stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """:func:`estimates` of recall among the first k, mean over languages, target by target, with the column k."""
    table = estimates(stats, wanted, source_language, [f"recall@{cut}" for cut in CUTOFFS])
    table = table[(table["language"] == MEAN) & (table["target"] != MACRO)]
    cut = table["metric"].str.removeprefix("recall@").astype(int)
    return table.drop(columns="metric").assign(k=cut).reset_index(drop=True)


def layer_scores(study: Study, source: Source) -> pd.DataFrame:
    """Columns target, tuning, intermediate, layer, seed, value: the main metric in percent at every layer that was
    scored, mean over languages."""
    table = _with_tuning(results.read_layers(study, source, list(study.further)))
    table = table[table["metric"] == table["target"].map(lambda target: study.task(target).metrics[0])]
    keys = ["target", "tuning", "intermediate", "layer", "seed"]
    return table.groupby(keys, sort=False)["score"].mean().rename("value").reset_index()


def layer_gains(scores: pd.DataFrame) -> pd.DataFrame:
    """What the runs in the source language change at each layer, on average: columns tuning, target (``MACRO``: the
    mean over all), layer, value, low, high, seeds, p, significant (the layers of a tuning and target are a family).

    Layers keep no statistics of single queries: the 95% interval is Student's over seeds, the queries taken as given;
    of one seed there is none (NaN). Seeds that lack a run, ``none`` or a target are left out.
    """
    wide = scores.pivot(index=["tuning", "target", "layer", "seed"], columns="intermediate", values="value")
    runs = source_runs(wide.columns)
    if NONE not in wide or not runs:
        columns = "tuning target layer value low high seeds p significant".split()
        return pd.DataFrame(columns=columns, dtype=float)
    gain = (wide[runs].mean(axis=1, skipna=False) - wide[NONE]).round(9)  # nothing changed is 0
    by_tuning = [part.unstack("target") for _, part in gain.groupby(level="tuning", sort=False)]  # tuned may be fewer
    macro = pd.concat([part.mean(axis=1, skipna=False) for part in by_tuning])
    table = pd.concat([gain.reset_index(name="value"), macro.reset_index(name="value").assign(target=MACRO)])
    grouped = table.dropna(subset="value").groupby(["tuning", "target", "layer"], sort=False)["value"]
    table = grouped.agg(value="mean", low="sem", high="sem", seeds="count").reset_index()
    width = table["low"] * distributions.t.ppf(0.975, table["seeds"] - 1)
    ratio = (table["value"].abs() / table["low"]).fillna(0.0).where(table["seeds"] > 1)
    table = table.assign(low=table["value"] - width, high=table["value"] + width)
    table["p"] = 2 * distributions.t.sf(ratio, table["seeds"] - 1)
    return results.significant(table, ["tuning", "target"])


def pool_shares(study: Study, source: Source, wanted: pd.DataFrame) -> dict[str, pd.Series]:
    """Of rankings: query language -> its share of the pool in percent: what ``own@1`` would be without any bias."""
    shares = {}
    for target, rows in wanted.groupby("target", sort=False):
        task = study.task(target)
        if task.kind == "ranking":
            pools = [source.load(task, POOL, code)["language"][:] for code in pool_languages(study, source, task)]
            share = pd.Series(np.concatenate(pools)).value_counts(normalize=True)
            shares[target] = 100 * share.reindex(rows["language"].unique(), fill_value=0.0)
    return shares


def target_title(target: str) -> str:
    """The title of a target on one line."""
    return title(target).replace("\n", " ")


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """The gain by the mean of the runs in the source language, per target and on average over targets, mean over
    languages, raw and tuned. ``table``: of :func:`estimates`."""
    rows = table.query("quantity == 'gain' and metric == @MAIN and language == @MEAN and intermediate == @ALL_RUNS")
    rows = rows.assign(target=rows["target"].map(target_title))
    return verdict_table(rows, {"intermediate": "run", "tuning": "encoder", "target": "target"})


def sentences(table: pd.DataFrame, layers: pd.DataFrame) -> list[str]:
    """What the study shows. ``table``: of :func:`estimates`; ``layers``: of :func:`layer_gains`."""
    lines = []
    mean = table[(table["quantity"] == "gain") & (table["language"] == MEAN)].dropna(subset="value")
    single = mean[mean["intermediate"] != ALL_RUNS]
    for tuning, rows in single[(single["target"] == MACRO) & (single["metric"] == MAIN)].groupby("tuning", sort=False):
        text = ": on average over the targets {above} of {count} runs help, {below} hurt."
        lines += tally(tuning.capitalize() + text, rows)
    bias = mean[(mean["intermediate"] == ALL_RUNS) & (mean["metric"] == OWN) & (mean["target"] != MACRO)]
    text = "Language bias falls by the mean of the runs in {below} of {count} cases and rises in {above}."
    lines += tally(text, bias)
    changed = layers[(layers["target"] == MACRO) & (layers["low"] < layers["high"])]  # not frozen embeddings
    for tuning, rows in changed.assign(quantity="gain").groupby("tuning", sort=False):
        starred = rows[marked(rows)].sort_values("layer")
        by_layer = [f"{row.layer}: {with_interval(row)}" for row in starred.itertuples()]
        if len(starred) < len(rows):
            by_layer.append("no evidence" + " elsewhere" * bool(by_layer))
        lines.append(f"{tuning.capitalize()}, mean of the runs by layer: {'; '.join(by_layer)}.")
    main = table[(table["metric"] == MAIN) & (table["language"] == MEAN) & (table["quantity"] == "score")]
    highest = main[main["target"] != MACRO].groupby(["target", "tuning"], sort=False)["value"].max()
    floor = [f"{target_title(target)} ({tuning})" for (target, tuning), value in highest.items() if value < FLOOR]
    if floor:
        lines.append(f"At the floor, below {FLOOR} with every run, so that gains say little: {', '.join(floor)}.")
    return [*lines, chance(single[(single["target"] != MACRO) & (single["metric"] == MAIN)])]
