"""What intermediate training does to cross-lingual retrieval, from the tables of phase 3: ``8-retrieval.ipynb``.

Every retrieval target is looked at twice: by the states of the encoder as phase 2 left it ("raw"), and after a short
tuning for retrieval in the source language ("tuned"). Gains and their intervals are those of :mod:`xstilts.results`.


The answer of ``8-retrieval.ipynb`` in words, from the tables of :mod:`.recall` alone.

Figures of ``8-retrieval.ipynb`` from the tables of :mod:`.recall`; colours and marks as in
:mod:`xstilts.figures.drawing`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats as distributions

from xstilts import plots, results
from xstilts.evaluation.metrics import CUTOFFS, task_metrics
from xstilts.plots import DIVERGING, LOSS, NEUTRAL, SEQUENTIAL, by_distance, colour_limit, score_dots
from xstilts.results import MACRO, MEAN, marked
from xstilts.settings import SOURCE, UNTRAINED
from xstilts.sources import Source
from xstilts.study import NONE, Study, parse_run
from xstilts.summaries import with_interval
from xstilts.target_runs import pool_languages, tunings
from xstilts.tasks import POOL, RETRIEVAL_KINDS, get

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


def answer(
    table: pd.DataFrame, tuned: pd.DataFrame, curves: pd.DataFrame, layers: pd.DataFrame, shares: dict[str, pd.Series],
    gaps: pd.DataFrame, study: Study,
) -> str:  # fmt: skip
    """What the study found, in Markdown, from ``recall.estimates``, ``tuning_gain``, ``recall_curves``,
    ``layer_scores``, ``pool_shares`` and ``missing``."""
    lines = [_setting(table, study), ""]
    tunings = [name for name in TRAINED.values() if name in set(table["tuning"])]
    for tuning in tunings:
        lines.append(_effect(table[(table["tuning"] == tuning) & (table["metric"] == MAIN)], tuning))
    lines += _tuning(tuned)
    for tuning in tunings:
        lines += _recall(curves[curves["tuning"] == tuning], tuning)
    for tuning in tunings:
        lines += _places(table[(table["tuning"] == tuning) & (table["metric"] == MAIN)], tuning)
    lines += _bias(table, shares) + _layers(layers)
    if len(gaps):
        names = [f"`{run}` {tuning}" for tuning, run in gaps.groupby(["tuning", "intermediate"], sort=False).groups]
        lines.append(f"- Missing, in whole or in part: {', '.join(names)}.")
    return "\n".join([*lines, "", *_chance(table)])


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


def _recall(curves: pd.DataFrame, tuning: str) -> list[str]:
    """Recall among the first k: of ``none``, and what the runs change."""
    parts = []
    for target, rows in curves.groupby("target", sort=False):
        rows = rows.sort_values("k")
        base = rows[(rows["intermediate"] == NONE) & (rows["quantity"] == "score")]
        scores = " / ".join("missing" if np.isnan(value) else f"{value:.1f}" for value in base["value"])
        gain = rows[rows["intermediate"] == ALL_RUNS]
        changes = ", ".join(with_interval(row) for row in gain.itertuples())
        verdict = _grouped(gain, lambda row: str(row.k), "at ")
        changed = f", changed by {changes} ({verdict})" if changes else ""
        parts.append(f"{get(target).title} `none` {scores}{changed}")
    if not parts:
        return []
    cuts = ", ".join(map(str, sorted(curves["k"].unique())))
    return [f"- Recall@k, {tuning}, k = {cuts}, and its change by the mean of the runs: {'; '.join(parts)}."]


def _places(table: pd.DataFrame, tuning: str) -> list[str]:
    """The mean effect of the runs, language by language."""
    rows = table[(table["intermediate"] == ALL_RUNS) & (table["language"] != MEAN)].dropna(subset="value")
    parts = []
    for target, part in rows.groupby("target", sort=False):
        ends = [part.loc[part["value"].idxmin()], part.loc[part["value"].idxmax()]]
        span = " to ".join(f"{with_interval(row)} in {row['language']}" for row in ends)
        parts.append(f"{get(target).title} {span} ({_grouped(part, lambda row: row.language, 'in ')})")
    return [f"- By language, {tuning}, mean of the runs: {'; '.join(parts)}."] if parts else []


def _grouped(rows: pd.DataFrame, name: Callable[[Any], str], before: str) -> str:
    """Where an effect is above and below zero, and where there is no evidence."""
    words = [
        f"{word} {before}{', '.join(map(name, rows[chosen].itertuples()))}"
        for word, chosen in (("helps", rows["low"] > 0), ("hurts", rows["high"] < 0))
        if chosen.any()
    ]
    if (~results.marked(rows) & rows["value"].notna()).any():
        words.append(f"no evidence {before}{'the others' if words else 'any'}")
    return "; ".join(words)


def _bias(table: pd.DataFrame, shares: dict[str, pd.Series]) -> list[str]:
    """Language bias of ``none`` beside a language's share of the pool, what the runs change in it, and in mAP@20
    without it."""
    mean, lines = table[table["language"] == MEAN], []
    for target, share in shares.items():
        words, cross = [], []
        for tuning, part in mean[mean["target"] == target].groupby("tuning", sort=False):
            own, beyond = part[part["metric"] == OWN], part[part["metric"] == CROSS]
            base = own[(own["intermediate"] == NONE) & (own["quantity"] == "score")].iloc[0]
            runs = own[(own["quantity"] == "gain") & (own["intermediate"] != ALL_RUNS)].dropna(subset="value")
            more, less = int((runs["low"] > 0).sum()), int((runs["high"] < 0).sum())
            words.append(
                f"{tuning}, `none` {with_interval(base)}{_change(own, 'raised', 'lowered')} ({more} of {len(runs)} "
                f"runs raise it, {less} lower it, no evidence for {len(runs) - more - less})"
            )
            for row in beyond[(beyond["intermediate"] == NONE) & (beyond["quantity"] == "score")].itertuples():
                cross.append(f"{tuning}, `none` {with_interval(row)}{_change(beyond, 'raised', 'lowered')}")
        if words:
            lines.append(
                f"- Language bias in {get(target).title}, the share of first answers in the query's own language, "
                f"{share.mean():.1f} of the pool: {'; '.join(words)}."
            )
        if cross:
            lines.append(
                f"- Without the bias, mAP@20 in {get(target).title} among the candidates in other languages: "
                f"{'; '.join(cross)}."
            )
    return lines


def _change(rows: pd.DataFrame, more: str, less: str) -> str:
    """What the mean of the runs does to a score, as a clause; "" where there is none."""
    for row in rows[rows["intermediate"] == ALL_RUNS].dropna(subset="value").itertuples():
        word = more if row.low > 0 else less if row.high < 0 else "no evidence of a change"
        return f", by the mean of the runs {with_interval(row)}: {word}"
    return ""


def _layers(layers: pd.DataFrame) -> list[str]:
    """Where ``none`` is best, and what the runs in the source language do at each layer."""
    if layers["layer"].nunique() < 2:
        return []
    gains, lines = layer_gains(layers), []
    for tuning, part in layers.groupby("tuning", sort=False):
        none = part[part["intermediate"] == NONE].groupby("layer")["value"].mean()
        found = gains[(gains["tuning"] == tuning) & (gains["target"] == MACRO)].sort_values("layer")
        if none.empty or found.empty:
            continue
        steps = [f"{row.layer}: {_seeds_alone(row)}" for row in found.assign(quantity="gain").itertuples()]
        several = found["seeds"].max() > 1
        cover = "intervals over seeds alone, the queries taken as given" if several else "one seed: no intervals"
        lines.append(
            f"- By layer, {tuning}: `none` is best at layer {none.idxmax()} ({none.max():.1f}, mean of the targets); "
            f"change by the mean of the runs at layer {', '.join(steps)} ({cover})."
        )
    return lines


def _seeds_alone(row: Any) -> str:
    if np.isnan(row.low):
        return f"{round(row.value, 1) + 0.0:+.1f}".replace("-", "−")
    return with_interval(row) + ("" if row.low > 0 or row.high < 0 else " no evidence")


def _chance(table: pd.DataFrame) -> list[str]:
    rows = table[(table["metric"] == MAIN) & (table["quantity"] == "gain") & (table["intermediate"] != ALL_RUNS)]
    rows = rows[(rows["target"] != MACRO) & (rows["language"] == MEAN)].dropna(subset="value")
    if rows.empty:
        return []
    apart = int(results.marked(rows).sum())
    return [
        f"Of the {len(rows)} intervals of single runs on single targets, raw and tuned, {apart} exclude zero; if no "
        f"intermediate run had any effect, about {0.05 * len(rows):.0f} would by chance."
    ]


LINES = {"raw": "-", "tuned": "--"}
MEAN_LINE: dict[str, Any] = {"color": LOSS, "linestyle": "--", "linewidth": 1.1}


def gain_panels(table: pd.DataFrame) -> Figure:
    """Gain of every run over ``none``, raw and tuned, a panel per target and one for their mean."""
    rows = table[(table["metric"] == MAIN) & (table["language"] == MEAN)]
    targets = list(rows["target"].unique())
    gain = rows[(rows["quantity"] == "gain") & (rows["intermediate"] != NONE)]
    runs = [run for run in gain["intermediate"].unique() if run != ALL_RUNS] + [ALL_RUNS]
    size = (1.3 + 1.75 * len(targets), 1.3 + 0.23 * len(runs))
    figure, grid = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    for ax, target in zip(grid.flat, targets, strict=True):
        score_dots(gain[gain["target"] == target], ax, "intermediate", "tuning", runs)
        base = rows[(rows["target"] == target) & (rows["intermediate"] == NONE) & (rows["quantity"] == "score")]
        scores = "  ".join(f"{row.tuning} {row.value:.1f}" for row in base.itertuples())
        ax.set_title(_title(target), loc="left", fontweight="bold", pad=13)
        ax.annotate(f"none: {scores}", (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.axhline(len(runs) - 1.5, color="0.6", linewidth=0.5, linestyle=":")
    figure.supxlabel(f"gain over none in points, mean over languages ({_seeds(rows)})", fontsize=8)
    _legend(figure, grid.flat[0])
    what = "Dots with 95% intervals: gain over none in points, mean over languages, raw and tuned"
    figure.set_label(plots.alternative_text(what, gain, ["intermediate", "target", "tuning"], signed=True))
    return figure


def language_heatmap(table: pd.DataFrame, languages: pd.DataFrame, target: str) -> Figure:
    """One target language by language: the score of ``none``, the gain of every run and their mean, raw beside
    tuned."""
    rows = table[(table["metric"] == MAIN) & (table["target"] == target)]
    order = by_distance(rows, languages)
    tunings, names = list(rows["tuning"].unique()), rows["intermediate"].unique()
    runs = [*(name for name in names if name != ALL_RUNS), *(name for name in names if name == ALL_RUNS)]
    limit = colour_limit(rows.loc[rows["quantity"] == "gain", "value"])
    wide = len(order) > 12  # one below the other
    shape = (len(tunings), 1) if wide else (1, len(tunings))
    size = (1.2 + max(2.2, 0.36 * len(order)) * shape[1], 1.1 + (0.2 + 0.23 * len(runs) + 0.3 * wide) * shape[0])
    figure, grid = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    for ax, tuning in zip(grid.flat, tunings, strict=True):
        part = rows[rows["tuning"] == tuning]
        for top, run in enumerate(runs):
            kind = "score" if run == NONE else "gain"
            here = part[(part["intermediate"] == run) & (part["quantity"] == kind)].set_index("language").reindex(order)
            scale = (SEQUENTIAL, Normalize(0, 100)) if run == NONE else (DIVERGING, Normalize(-limit, limit))
            _heat_row(ax, here, top, run != NONE, *scale)
        ax.set_title(f"{_title(target)}, {tuning}", loc="left", fontweight="bold")
        ax.set_xticks(np.arange(len(order)) + 0.5, order, rotation=90 if len(order) > 8 else 0)
        ax.set_yticks(np.arange(len(runs)) + 0.5, ["none (score)" if run == NONE else run for run in runs])
        ax.set(xlim=(0, len(order)), ylim=(len(runs), 0))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    note = "gain over none in points (bold with *: its 95% interval excludes zero; hatched: missing)"
    figure.supxlabel(f"language, nearest to the source first\n{note}, {_seeds(rows)}", fontsize=7.5)
    single = rows[rows["language"].isin(order)]
    gain = single[(single["quantity"] == "gain") & (single["intermediate"] != NONE)]
    scores = single[(single["quantity"] == "score") & (single["intermediate"] == NONE)]
    what = f"Heatmap of {_title(target)}, runs by query languages, raw and tuned. Gain over none in points"
    said = [plots.alternative_text(what, gain, ["intermediate", "language", "tuning"], signed=True)]
    figure.set_label(" ".join([*said, plots.alternative_text("Score of none", scores, ["language", "tuning"])]))
    return figure


def _heat_row(ax: Axes, row: pd.DataFrame, top: int, signed: bool, colours: Any, norm: Normalize) -> None:
    for left, (cell, star) in enumerate(zip(row.itertuples(), marked(row), strict=True)):
        there = np.isfinite(cell.value)
        colour = colours(norm(cell.value)) if there else (1, 1, 1, 1)
        look = (
            {"edgecolor": "white", "linewidth": 0.7}
            if there
            else {"edgecolor": "0.6", "linewidth": 0, "hatch": "//////"}
        )
        ax.add_patch(plt.Rectangle((left, top), 1, 1, facecolor=colour, **look))
        value = round(cell.value, 1) + 0.0 if there else 0  # no -0.0
        text = (f"{value:+.{int(abs(value) < 10)}f}" if signed else f"{value:.0f}").replace("-", "−") if there else ""
        bold = signed and bool(star)
        ax.text(
            left + 0.5, top + 0.5, text + "*" * bold, ha="center", va="center", fontsize=5.5,
            fontweight="bold" if bold else "normal",
            color="white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else "black",
        )  # fmt: skip


def recall_panels(curves: pd.DataFrame) -> Figure:
    """Recall among the first k: above, ``none`` as a line and the other runs as the band that they fill; below, what
    the mean of the runs changes, with its interval. Raw and tuned."""
    targets, cuts = list(curves["target"].unique()), sorted(curves["k"].unique())
    size = (1.0 + 2.1 * len(targets), 4.4)
    figure, grid = plt.subplots(
        2, len(targets), figsize=size, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2)
    )
    place = np.arange(len(cuts))
    for (ax, below), target in zip(grid.T, targets, strict=True):
        for number, (tuning, part) in enumerate(curves[curves["target"] == target].groupby("tuning", sort=False)):
            score = part[part["quantity"] == "score"]
            wide = score.pivot(index="k", columns="intermediate", values="value").reindex(cuts)
            shade = "black" if tuning == "raw" else NEUTRAL
            others = wide.drop(columns=NONE, errors="ignore")
            if len(others.columns):
                low, high = others.min(axis=1), others.max(axis=1)
                ax.fill_between(place, low, high, color=shade, alpha=0.15, linewidth=0, label=f"other runs, {tuning}")
            look = {"color": shade, "marker": "oD"[number % 2], "markersize": 3}
            if NONE in wide:
                ax.plot(place, wide[NONE], **look, linestyle=LINES[tuning], label=f"none, {tuning}")
            gain = part[part["intermediate"] == ALL_RUNS].set_index("k").reindex(cuts)
            beside = place + 0.1 * (number - 0.5)
            below.vlines(beside, gain["low"], gain["high"], colors=shade, linewidth=1)
            below.plot(beside, gain["value"], **look, linestyle="")
        ax.set_title(_title(target), loc="left", fontweight="bold")
        ax.set_ylim(0, 102)
        below.axhline(0, color="0.3", linewidth=0.6)
        below.set_xticks(place, cuts)
        for panel in (ax, below):
            panel.grid(axis="y")
    grid[0, 0].set_ylabel("recall@k (%)", fontsize=7.5)
    grid[1, 0].set_ylabel("gain over none (points),\nmean of the runs", fontsize=7.5)
    figure.supxlabel(f"k; mean over languages; below with 95% intervals ({_seeds(curves)})", fontsize=8)
    _legend(figure, grid[0, 0])
    shown = curves.assign(k=[f"k = {k}" for k in curves["k"]])
    keys = ["target", "intermediate", "tuning", "k"]
    what = "Recall among the first k in percent, none as a line and the other runs as a band, raw and tuned"
    said = [plots.alternative_text(what, shown[shown["quantity"] == "score"], keys)]
    gain = shown[shown["intermediate"] == ALL_RUNS]
    figure.set_label(
        " ".join([*said, plots.alternative_text("Below, gain over none in points", gain, keys, signed=True)])
    )
    return figure


def layer_panels(curves: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """The main metric by layer, a row for raw and tuned, a panel per target: ``none`` in black, a grey line for each
    other run, the highest and the lowest of them at the last layer named, and dashed, as far below or above ``none``
    as their mean gain, the mean of the runs with the interval of that gain. Of ``recall.layer_curves`` and
    ``recall.layer_gains``."""
    targets, tunings = list(curves["target"].unique()), [name for name in LINES if name in set(curves["tuning"])]
    size = (1.2 + 2.1 * len(targets), 0.9 + 1.8 * len(tunings))
    figure, grid = plt.subplots(len(tunings), len(targets), figsize=size, sharex=True, sharey="col", squeeze=False)
    for axes, tuning in zip(grid, tunings, strict=True):
        for ax, target in zip(axes, targets, strict=True):
            part = curves[(curves["target"] == target) & (curves["tuning"] == tuning)]
            wide = part.pivot(index="layer", columns="intermediate", values="value").sort_index()
            others = wide.drop(columns=NONE, errors="ignore")
            ax.plot(others.index, others, color="0.8", linewidth=0.7)
            if NONE in wide:
                ax.plot(wide.index, wide[NONE], color="black", marker="o", markersize=3)
                gain = gains[(gains["target"] == target) & (gains["tuning"] == tuning)].set_index("layer")
                gain, base = gain.reindex(wide.index), wide[NONE]
                ax.plot(wide.index, base + gain["value"], **MEAN_LINE)
                ends = (np.maximum(base + gain[end], 0) for end in ("low", "high"))
                ax.vlines(wide.index, *ends, colors=MEAN_LINE["color"], linewidth=1)
            last = others.iloc[-1].dropna() if len(others) else pd.Series(dtype=float)
            for run, shift in ((last.idxmax(), 2), (last.idxmin(), -2)) if len(last) > 1 else ():
                at = (others.index[-1], last[run])
                look = {"textcoords": "offset points", "fontsize": 5.5, "va": "bottom" if shift > 0 else "top"}
                ax.annotate(run, at, (3, shift), **look, annotation_clip=False)
            ax.set_title(f"{_title(target)}, {tuning}", loc="left", fontweight="bold")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            ax.margins(x=0.04)
            ax.set(ylim=(0, 1.1 * curves.loc[curves["target"] == target, "value"].max() + 1))
            ax.grid(axis="y")
    seeds = int(gains["seeds"].max()) if len(gains) else 0
    cover = f"95% intervals of its distance from none, over {seeds} seeds alone" if seeds > 1 else "no intervals"
    figure.supxlabel(f"hidden layer (0: embeddings); mean of the runs in the source language: {cover}", fontsize=7.5)
    figure.supylabel("main score, mean over languages", fontsize=8)
    looks: tuple[dict, ...] = {"color": "black", "marker": "o", "markersize": 3}, {"color": "0.8", "linewidth": 0.7}
    handles = [plt.Line2D([], [], **style) for style in (*looks, MEAN_LINE)]
    figure.legend(handles, ["none", "each other run", ALL_RUNS], loc="outside upper center", ncols=3)
    shown, changed = (table.assign(layer=[f"layer {layer}" for layer in table["layer"]]) for table in (curves, gains))
    what = "Main score by hidden layer, none in black and each other run in grey, raw and tuned"
    said = [plots.alternative_text(what, shown, ["target", "intermediate", "tuning", "layer"])]
    if len(gains):
        said.append(
            plots.alternative_text("Mean gain of the runs", changed, ["target", "tuning", "layer"], signed=True)
        )
    figure.set_label(" ".join(said))
    return figure


def bias_panels(table: pd.DataFrame, languages: pd.DataFrame, shares: dict[str, pd.Series]) -> Figure:
    """Share of first answers in the query's own language, raw and tuned: by run above, of ``none`` by language below.
    Dotted is a language's share of the pool, above the mean of the languages'."""
    rows = table[(table["metric"] == OWN) & (table["quantity"] == "score")]
    order = by_distance(rows, languages)
    runs = list(rows["intermediate"].unique())
    heights = [0.6 + len(runs), 0.6 + len(order)]
    size = (2.0 + 2.6 * len(shares), 1.5 + 0.19 * sum(heights))
    figure, grid = plt.subplots(
        2, len(shares), figsize=size, squeeze=False, sharey="row", sharex=True, height_ratios=heights
    )
    for column, (target, share) in enumerate(shares.items()):
        part = rows[rows["target"] == target]
        score_dots(part[part["language"] == MEAN], grid[0, column], "intermediate", "tuning", runs)
        score_dots(part[part["intermediate"] == NONE], grid[1, column], "language", "tuning", order)
        grid[0, column].set_title(f"{_title(target)}, mean of the languages", loc="left", fontweight="bold")
        grid[1, column].set_title("none, query language by language", loc="left", fontsize=7.5)
        look = {"colors": "black", "linewidth": 0.8, "linestyles": ":"}
        grid[0, column].vlines(share.mean(), 0, 1, transform=grid[0, column].get_xaxis_transform(), **look)
        places = np.arange(len(order))
        grid[1, column].vlines(share.reindex(order), places - 0.5, places + 0.5, **look)
        grid[0, column].set(xlim=(-2, 102))
    figure.supxlabel(
        f"first answers in the query's own language, percent\n(dotted: its share of the pool; {_seeds(rows)})",
        fontsize=7.5,
    )
    _legend(figure, grid[0, 0])
    what = "Dots with 95% intervals: first answers in the query's own language (percent), by run"
    said = [plots.alternative_text(what, rows[rows["language"] == MEAN], ["target", "intermediate", "tuning"])]
    pool = ", ".join(f"{share.mean():.1f}% for {_title(target)}" for target, share in shares.items())
    figure.set_label(f"{said[0]} A language's share of the pool: {pool}.")
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))


def _title(target: str) -> str:
    return "mean of the targets" if target == MACRO else get(target).title


def _seeds(rows: pd.DataFrame) -> str:
    count = int(rows["seeds"].max())
    return f"{count} seeds" if count > 1 else "one seed: intervals cover queries alone"
