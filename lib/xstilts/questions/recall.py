"""What intermediate training does to cross-lingual retrieval, from the tables of phase 3: ``8-retrieval.ipynb``.

Every retrieval target is looked at twice: by the states of the encoder as phase 2 left it ("raw"), and after a short
tuning for retrieval in the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions

from .. import results
from ..evaluation.metrics import CUTOFFS, task_metrics
from ..findings import with_interval
from ..results import MACRO, MEAN
from ..settings import SOURCE, UNTRAINED
from ..sources import Source
from ..study import NONE, Study, parse_run
from ..tasks import POOL, RETRIEVAL_KINDS, get
from ..tunings import pool_languages, tunings

TRAINED = {UNTRAINED: "raw", SOURCE: "tuned"}  # training language -> how it is called here
MAIN, CROSS, OWN = "main", "cross_map@20", "own@1"  # of a target's metrics; see evaluation/ranking.py
RECALL = tuple(f"recall@{cut}" for cut in CUTOFFS)
ALL_RUNS = "mean of the runs"  # in the column intermediate: over those trained in the source language


def read(study: Study) -> pd.DataFrame:
    """Statistics of the finished retrieval targets of further bundles, as ``results.read_stats`` with the column
    ``tuning``."""
    stats = results.read_stats(study, list(study.further))
    kinds = stats["target"].map({name: get(name).kind for name in stats["target"].unique()})
    stats = stats[kinds.isin(RETRIEVAL_KINDS) & stats["training_language"].isin(TRAINED) & (stats["examples"] == 0)]
    return stats.assign(tuning=stats["training_language"].map(TRAINED)).reset_index(drop=True)


def expected(study: Study, source: Source) -> pd.DataFrame:
    """What a finished study has: one row per tuning ("raw", "tuned"), intermediate, target, language and seed."""
    rows = [
        (TRAINED[one.training_language], run, one.target, language, seed)
        for run in study.intermediate
        for bundle in study.further
        if run in study.further[bundle].runs
        for one in tunings(study, source, bundle)
        if get(one.target).kind in RETRIEVAL_KINDS and one.training_language in TRAINED and not one.examples
        for language in one.languages(study, source)
        for seed in study.seed_numbers
    ]
    head = ["tuning", "intermediate", "target", "language", "seed"]
    return pd.DataFrame(rows, columns=head).drop_duplicates(ignore_index=True)


def missing(wanted: pd.DataFrame, stats: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`expected` of which nothing is there."""
    there = stats[list(wanted.columns)].drop_duplicates().assign(there=True)
    return wanted[wanted.merge(there, how="left")["there"].isna().to_numpy()].reset_index(drop=True)


def estimates(
    stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str, metrics: Sequence[str] = (MAIN, CROSS, OWN)
) -> pd.DataFrame:
    """``results.estimates`` of every metric, raw and tuned, with the columns tuning and metric, and with rows of the
    gain over all runs (``ALL_RUNS``), in every language and their ``MEAN``."""
    tables = []
    for metric in metrics:
        chosen = _as_main(stats, metric)
        for tuning, part in chosen.groupby("tuning", sort=False):
            here = wanted[(wanted["tuning"] == tuning) & wanted["target"].isin(part["target"])]
            found = results.resample(part, np.random.default_rng(0))
            table = results.estimates(found, here, source_language)
            tables.append(pd.concat([table, _over_runs(found, here)]).assign(tuning=tuning, metric=metric))
    return pd.concat(tables, ignore_index=True)


def tuning_gain(stats: pd.DataFrame, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """What tuning itself is worth without an intermediate run: ``results.estimates`` of its gain, metric by metric."""
    base, tables = wanted[wanted["intermediate"] == NONE], []
    base = base[base.duplicated(["target", "language", "seed"], keep=False)]
    base = base.assign(intermediate=base["tuning"].where(base["tuning"] != "raw", NONE))
    for metric in (MAIN, OWN):
        part = _as_main(stats[stats["intermediate"] == NONE], metric)
        part = part.assign(intermediate=part["tuning"].where(part["tuning"] != "raw", NONE))
        here = base[base["target"].isin(part["target"])]
        if "tuned" in set(part["intermediate"]) and len(here):
            found = results.resample(part[part["target"].isin(here["target"])], np.random.default_rng(0))
            table = results.estimates(found, here, source_language)
            tables.append(table[table["quantity"] == "gain"].assign(metric=metric))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["metric", "target", "language"])


def _as_main(stats: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The statistics of one metric under the name that :mod:`xstilts.results` takes a target's score from."""
    main = stats["target"].map({name: task_metrics(get(name))[0] for name in stats["target"].unique()})
    return stats[stats["metric"] == main] if metric == MAIN else stats[stats["metric"] == metric].assign(metric=main)


def _over_runs(found: results.Replicates, wanted: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The gain over ``none``, mean over the runs that were trained in the source language: per target, over all of
    them, and language by language."""
    runs = _source_runs(wanted["intermediate"].unique())
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    cells = [(target, MEAN, {target: codes}) for target, codes in languages.items()] + [(MACRO, MEAN, languages)]
    cells += [(target, code, {target: [code]}) for target, codes in languages.items() for code in codes]
    rows = []
    for target, language, members in cells:
        parts = []
        for run in runs:
            here, base = (results.mean_of([found.of(name, *part) for part in members.items()]) for name in (run, NONE))
            parts.append((here[0] - base[0], here[1] - base[1]))
        if parts:
            number = (len({code for codes in members.values() for code in codes}), len(members))
            gain = found.interval(*results.mean_of(parts), level)
            rows.append((ALL_RUNS, target, language, "gain", *gain, *number))
    head = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
    return pd.DataFrame(rows, columns=head)


def _source_runs(runs: Iterable[str]) -> list[str]:
    """Those of phase 2 in the source language."""
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
        for one in tunings(study, source, run.bundle):
            path = run.folder(study) / one.name / "layers.parquet"
            if path.is_file() and one.training_language in TRAINED and not one.examples:
                table = pd.read_parquet(path)
                table = table[table["metric"] == get(one.target).metrics[0]].assign(target=one.target, seed=run.seed)
                tables.append(table.assign(tuning=TRAINED[one.training_language], intermediate=run.intermediate))
    table = pd.concat(tables, ignore_index=True)
    keys = ["target", "tuning", "intermediate", "layer", "seed"]
    return table.groupby(keys, sort=False)["score"].mean().rename("value").reset_index()


def layer_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """:func:`layer_scores`, mean over seeds."""
    keys = ["target", "tuning", "intermediate", "layer"]
    return scores.groupby(keys, sort=False)["value"].mean().reset_index()


def layer_gains(scores: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """What the runs in the source language change at each layer, on average: columns tuning, target (``MACRO``: the
    mean over all), layer, value, low, high, seeds.

    Layers keep no statistics of single queries: the interval is Student's over seeds, the queries taken as given; of
    one seed there is none (NaN). Seeds that lack a run, ``none`` or a target are left out.
    """
    wide = scores.pivot(index=["tuning", "target", "layer", "seed"], columns="intermediate", values="value")
    runs = _source_runs(wide.columns)
    if NONE not in wide or not runs:
        return pd.DataFrame(columns=["tuning", "target", "layer", "value", "low", "high", "seeds"])
    gain = (wide[runs].mean(axis=1, skipna=False) - wide[NONE]).round(9)  # nothing changed is 0
    each = [part.unstack("target") for _, part in gain.groupby(level="tuning", sort=False)]  # tuned may be fewer
    every = pd.concat([part.mean(axis=1, skipna=False) for part in each])
    every = every.reset_index(name="value").assign(target=MACRO)
    table = pd.concat([gain.reset_index(name="value"), every]).dropna(subset="value")
    found = table.groupby(["tuning", "target", "layer"], sort=False)["value"].agg(["mean", "sem", "count"])
    width = found["sem"] * distributions.t.ppf((1 + level) / 2, found["count"] - 1)
    ends = {"value": found["mean"], "low": found["mean"] - width, "high": found["mean"] + width}
    return pd.DataFrame(ends).assign(seeds=found["count"]).reset_index()


def pool_shares(study: Study, source: Source, wanted: pd.DataFrame) -> dict[str, pd.Series]:
    """Of rankings: query language -> its share of the pool in percent: what ``own@1`` would be without any bias."""
    shares = {}
    for task in (get(name) for name in wanted["target"].unique() if get(name).kind == "ranking"):
        codes = pool_languages(study, source, task)
        languages = pd.concat([pd.Series(source.load(task, POOL, code)["language"][:]) for code in codes])
        asked = wanted.loc[wanted["target"] == task.name, "language"].unique()
        shares[task.name] = 100 * languages.value_counts(normalize=True).reindex(asked).fillna(0.0)
    return shares


def cross_table(table: pd.DataFrame) -> pd.DataFrame:
    """As a person reads them: mAP@20 and mAP@20 without the query's own language, "value [low, high]", of ``none``
    the score, of every run the gain."""
    rows = table[table["metric"].isin([MAIN, CROSS]) & (table["language"] == MEAN) & (table["target"] != MACRO)]
    rows = rows[rows["target"].isin(rows.loc[rows["metric"] == CROSS, "target"])]
    rows = rows[(rows["intermediate"] == NONE) | (rows["quantity"] == "gain")]
    rows = rows.assign(
        text=[with_interval(row) for row in rows.itertuples()], metric=rows["metric"].replace(MAIN, "map@20")
    )
    wide = rows.pivot(index="intermediate", columns=["target", "tuning", "metric"], values="text")
    return wide.loc[rows["intermediate"].unique()].sort_index(axis=1)
