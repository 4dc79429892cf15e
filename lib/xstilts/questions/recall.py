"""What intermediate training does to cross-lingual retrieval, from the tables of phase 3: ``8-retrieval.ipynb``.

Every retrieval target is looked at twice: by the states of the encoder as phase 2 left it ("raw"), and after a short
tuning for retrieval in the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .. import results
from ..evaluation.metrics import task_metrics
from ..findings import with_interval
from ..results import MACRO, MEAN
from ..settings import SOURCE, UNTRAINED
from ..sources import Source
from ..study import NONE, Study, parse_run
from ..tasks import POOL, RETRIEVAL_KINDS, get
from ..tunings import pool_languages, tunings

TRAINED = {UNTRAINED: "raw", SOURCE: "tuned"}  # training language -> how it is called here
MAIN, CROSS, OWN = "main", "cross_map@20", "own@1"  # of a target's metrics; see evaluation/ranking.py
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
    gain over all runs (``ALL_RUNS``), language ``MEAN``."""
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
    """The gain over ``none``, mean over the runs that were trained in the source language, per target and over all."""
    runs = [name for name in wanted["intermediate"].unique() if name != NONE and not parse_run(name).languages]
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    rows = []
    for target, members in [*((target, [target]) for target in languages), (MACRO, list(languages))]:
        parts = []
        for run in runs:
            here, base = (
                results.mean_of([found.of(name, one, languages[one]) for one in members]) for name in (run, NONE)
            )
            parts.append((here[0] - base[0], here[1] - base[1]))
        if parts:
            codes = len({code for one in members for code in languages[one]})
            rows.append(
                (ALL_RUNS, target, MEAN, "gain", *found.interval(*results.mean_of(parts), level), codes, len(members))
            )
    head = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
    return pd.DataFrame(rows, columns=head)


def recall_curves(stats: pd.DataFrame) -> pd.DataFrame:
    """Columns target, tuning, intermediate, k, value: recall among the first k in percent, mean over languages and
    seeds."""
    part = stats[stats["metric"].str.startswith("recall@")]
    scores = results.scores(part).assign(k=lambda table: table["metric"].str.removeprefix("recall@").astype(int))
    scores["tuning"] = scores["training_language"].map(TRAINED)
    return scores.groupby(["target", "tuning", "intermediate", "k"], sort=False)["value"].mean().reset_index()


def layer_curves(study: Study, source: Source) -> pd.DataFrame:
    """Columns target, tuning, intermediate, layer, value: the main metric in percent at every layer that was scored,
    mean over languages and seeds."""
    tables = []
    for run in results.finished(study, list(study.further)):
        for one in tunings(study, source, run.bundle):
            path = run.folder(study) / one.name / "layers.parquet"
            if path.is_file() and one.training_language in TRAINED and not one.examples:
                table = pd.read_parquet(path)
                table = table[table["metric"] == get(one.target).metrics[0]].assign(target=one.target, seed=run.seed)
                tables.append(table.assign(tuning=TRAINED[one.training_language], intermediate=run.intermediate))
    table = pd.concat(tables, ignore_index=True)
    keys = ["target", "tuning", "intermediate", "layer"]
    return table.groupby(keys, sort=False)["score"].mean().rename("value").reset_index()


def pool_shares(study: Study, source: Source, targets: Sequence[str]) -> dict[str, float]:
    """Of rankings: the mean share of a language in the pool, in percent; what ``own@1`` would be without any bias."""
    shares = {}
    for task in (get(name) for name in targets if get(name).kind == "ranking"):
        codes = [code for code in pool_languages(study, source, task)]
        languages = pd.concat([pd.Series(source.load(task, POOL, code)["language"][:]) for code in codes])
        shares[task.name] = 100 / languages.nunique()
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
    return wide.loc[rows["intermediate"].unique()]


# ---- in words


def answer(
    table: pd.DataFrame, tuned: pd.DataFrame, layers: pd.DataFrame, shares: dict[str, float], gaps: pd.DataFrame,
    study: Study,
) -> str:  # fmt: skip
    """What the study found, in Markdown, from :func:`estimates`, :func:`tuning_gain`, :func:`layer_curves`,
    :func:`pool_shares` and :func:`missing` alone."""
    lines = [_setting(table, study), ""]
    for tuning in [name for name in TRAINED.values() if name in set(table["tuning"])]:
        lines.append(_effect(table[(table["tuning"] == tuning) & (table["metric"] == MAIN)], tuning))
    lines += _tuning(tuned) + _bias(table, shares) + _layers(layers)
    if len(gaps):
        names = [f"`{run}` {tuning}" for tuning, run in gaps.groupby(["tuning", "intermediate"], sort=False).groups]
        lines.append(f"- Missing, in whole or in part: {', '.join(names)}.")
    return "\n".join(lines)


def _setting(table: pd.DataFrame, study: Study) -> str:
    main = table[(table["metric"] == MAIN) & (table["intermediate"] == NONE)]
    targets = [get(name).title for name in main["target"].unique() if name != MACRO]
    seeds, runs = int(table["seeds"].max()), table["intermediate"].nunique() - 2
    where = "In the generated micro-world (constructed languages; not XTREME-R)" if study.source == "micro" else (
        "On real text with the study's encoder (no result on XTREME-R unless it is a whole one)"
    )  # fmt: skip
    covers = "one seed: intervals (95%) cover the draw of queries alone" if seeds == 1 else (
        f"{seeds} seeds: intervals (95%) cover queries and seeds"
    )  # fmt: skip
    languages = int(main["languages"].max())
    return f"{where}: {runs} intermediate runs, {', '.join(targets)}, {languages} languages, {covers}."


def _effect(table: pd.DataFrame, tuning: str) -> str:
    """Scores of ``none``, the mean effect of the runs, and which of them help or hurt."""
    mean = table[table["language"] == MEAN]
    base = mean[(mean["intermediate"] == NONE) & (mean["quantity"] == "score") & (mean["target"] != MACRO)]
    gain = mean[(mean["quantity"] == "gain") & (mean["target"] == MACRO)]
    scores = ", ".join(f"{get(row.target).title} {with_interval(row)}" for row in base.itertuples())
    name = "**Raw** (states of the encoder as it is)" if tuning == "raw" else "**Tuned** (after a short dual encoder)"
    words = [f"- {name}: `none` {scores}."]
    overall = mean[(mean["intermediate"] == ALL_RUNS) & (mean["quantity"] == "gain")]
    for row in overall[overall["target"] == MACRO].itertuples():
        single = ", ".join(
            f"{get(part.target).title} {with_interval(part)}"
            for part in overall[overall["target"] != MACRO].itertuples()
        )
        words.append(f"Intermediate training in the source language, mean of its runs: {_verdict(row)} ({single}).")
    rows = gain[gain["intermediate"] != ALL_RUNS].sort_values("value")
    for word, part in (("helps", rows[rows["low"] > 0][::-1]), ("hurts", rows[rows["high"] < 0])):
        if len(part):
            found = ", ".join(f"`{row.intermediate}` {with_interval(row)}" for row in part.itertuples())
            words.append(f"On average over the targets, {word}: {found}.")
    unclear = rows[~results.marked(rows) & rows["value"].notna()]["intermediate"]
    if len(unclear):
        words.append(f"No evidence either way: {', '.join(f'`{run}`' for run in unclear)}.")
    return " ".join(words)


def _verdict(row: Any) -> str:
    """A gain as a finding."""
    if not np.isfinite(row.value):
        return "missing"
    word = "it helps" if row.low > 0 else "it hurts" if row.high < 0 else "no evidence of an effect"
    return f"{with_interval(row)} points, {word}"


def _tuning(tuned: pd.DataFrame) -> list[str]:
    rows = tuned[(tuned["language"] == MEAN) & (tuned["metric"] == MAIN) & (tuned["target"] != MACRO)]
    found = [f"{get(row.target).title} {_verdict(row)}" for row in rows.itertuples()]
    return [f"- Tuning itself, from `none`: {'; '.join(found)}."] if found else []


def _bias(table: pd.DataFrame, shares: dict[str, float]) -> list[str]:
    """Language bias of ``none`` beside a language's share of the pool, and which runs change it."""
    own, lines = table[(table["metric"] == OWN) & (table["language"] == MEAN)], []
    for target, share in shares.items():
        words = []
        for tuning, part in own[own["target"] == target].groupby("tuning", sort=False):
            base = part[(part["intermediate"] == NONE) & (part["quantity"] == "score")].iloc[0]
            runs = part[(part["quantity"] == "gain") & (part["intermediate"] != ALL_RUNS)].dropna(subset="value")
            more, less = int((runs["low"] > 0).sum()), int((runs["high"] < 0).sum())
            words.append(
                f"{tuning}, `none` {with_interval(base)} ({more} of {len(runs)} runs raise it, {less} lower it, "
                f"no evidence for {len(runs) - more - less})"
            )
        if words:
            lines.append(
                f"- Language bias in {get(target).title}, the share of first answers in the query's own language, "
                f"{share:.1f} of the pool: {'; '.join(words)}."
            )
    return lines


def _layers(layers: pd.DataFrame) -> list[str]:
    """Where ``none`` is best, and what the runs do at each layer; means, without intervals."""
    if layers["layer"].nunique() < 2:
        return []
    lines = []
    for tuning, part in layers.groupby("tuning", sort=False):
        wide = part.groupby(["layer", "intermediate"], sort=True)["value"].mean().unstack()
        if NONE not in wide or len(wide.columns) < 2:
            continue
        change = (wide.drop(columns=NONE).mean(axis=1) - wide[NONE]).round(1) + 0.0
        steps = ", ".join(f"{layer}: {value:+.1f}".replace("-", "−") for layer, value in change.items())
        lines.append(
            f"- By layer, {tuning}: `none` is best at layer {wide[NONE].idxmax()} ({wide[NONE].max():.1f}, mean of the "
            f"targets); mean change by the intermediate runs at layer {steps} (no intervals)."
        )
    return lines
