"""The answer of ``8-retrieval.ipynb`` in words, from the tables of :mod:`.recall` alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .. import results
from ..findings import with_interval
from ..results import MACRO, MEAN
from ..study import NONE, Study
from ..tasks import get
from .recall import ALL_RUNS, CROSS, MAIN, OWN, TRAINED, layer_gains


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
