"""What a study found, in words: computed from the estimates of results.py, so that text and figures cannot disagree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xstilts.names import NONE
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, ZERO_SHOT, marked
from xstilts.study import Study
from xstilts.tasks import get

LARGE = "xlm-roberta-large"


def macro_table(table: pd.DataFrame) -> pd.DataFrame:
    """Averages over targets as a person reads them: a row per run, "value [low, high]" per average."""
    macro = table[table["target"].isin([MACRO, MACRO_TRAINED])].copy()
    macro["text"] = [with_interval(row) for row in macro.itertuples()]
    macro["shown"] = (macro["intermediate"] == NONE) | (macro["quantity"] == "gain")
    order = macro["intermediate"].unique()
    wide = macro[macro["shown"]].pivot(index="intermediate", columns=["target", "language"], values="text")
    wide["seeds", ""] = macro[macro["shown"]].groupby("intermediate")["seeds"].min()
    return wide.loc[order]


def answer(table: pd.DataFrame, rho: pd.DataFrame, study: Study) -> str:
    """What the study found, in Markdown, from ``results.estimates`` and ``results.correlations`` alone."""
    mean = table[table["language"] == MEAN]
    gain, base = mean[mean["quantity"] == "gain"], mean[mean["intermediate"] == NONE].set_index("target")
    single = gain[~gain["target"].isin([MACRO, MACRO_TRAINED])]
    macro, seeds = gain[gain["target"] == MACRO].dropna(subset="value"), int(table["seeds"].max())
    lines = [_setting(table, study, seeds) + f" With `none` the average score is {with_interval(base.loc[MACRO])}."]
    if study.absence:
        lines.append(f"Not the whole study: {study.absence}.")
    if len(macro):
        lines.append(_average(macro, gain[gain["target"] == MACRO_TRAINED]))
    lines += _guesses(mean[mean["quantity"] == "score"])
    places = table[(table["quantity"] == "gain") & ~table["language"].isin([MEAN, ZERO_SHOT])].dropna(subset="value")
    lines += [""]
    for run, part in single.groupby("intermediate", sort=False):
        lines.append(_run_line(run, part) + _places(places[places["intermediate"] == run]))
    lines += [""]
    there = single.dropna(subset="value")
    if len(there):
        lines.append(
            f"{int(marked(there).sum())} of {len(there)} intervals exclude zero; if no intermediate run had any "
            f"effect, about {0.05 * len(there):.0f} would by chance."
        )
    if len(places):
        lines.append(
            f"Of the {len(places):,} intervals of single languages, {int(marked(places).sum()):,} exclude zero; "
            f"about {0.05 * len(places):,.0f} would by chance."
        )
    known = rho.dropna()
    if len(known):
        span = f"{known['rho'].min():.2f} to {known['rho'].max():.2f}".replace("-", "−")
        lines.append(
            f"Zero-shot scores of `none` fall with distance from the source language, interval below zero, in "
            f"{int((known['high'] < 0).sum())} of {len(known)} targets (Spearman's ρ {span}; "
            f"{_range(known['languages'])} languages)."
        )
    return "\n".join(lines)


def _setting(table: pd.DataFrame, study: Study, seeds: int) -> str:
    languages = table.loc[~table["language"].isin([MEAN, ZERO_SHOT]), "language"].nunique()
    targets = table.loc[~table["target"].isin([MACRO, MACRO_TRAINED]), "target"].nunique()
    runs = table["intermediate"].nunique() - 1
    found = ((runs, "intermediate run"), (targets, "target"), (languages, "language"))
    counts = ", ".join(counted(number, thing) for number, thing in found)
    return f"{where(study, seeds)}: {counts}, {covers(study, seeds)}."


def counted(number: int, thing: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def where(study: Study, seeds: int) -> str:
    """The words that every answer begins with."""
    micro = study.source == "micro"
    place = "In the generated micro-world (constructed languages; not XTREME)" if micro else "On real text"
    return f"Two seeds say little of how much seeds differ: intervals are wide. {place}" if seeds == 2 else place


def covers(study: Study, seeds: int) -> str:
    """How many seeds there are, and what intervals therefore cover."""
    if seeds == 1:
        return "one seed: the intervals cover the draw of test examples, not that of seeds"
    own = ", each with an encoder of its own" if not study.encoder.checkpoint else ""
    return f"{seeds} seeds{own}: the intervals (95%) cover test examples and seeds"


def _average(macro: pd.DataFrame, trained: pd.DataFrame) -> str:
    """Which runs help or hurt on average over targets; with and without retrieval where both are there."""
    ordered = macro.sort_values("value", ascending=False)
    without = trained.set_index("intermediate")
    sentences = []
    for word, part in (("helps", ordered[ordered["low"] > 0]), ("hurts", ordered[ordered["high"] < 0][::-1])):
        if len(part):
            found = [
                f"`{row.intermediate}` {with_interval(row)}"
                + (f" (without retrieval {with_interval(without.loc[row.intermediate])})" if len(without) else "")
                for row in part.itertuples()
            ]
            sentences.append(f"On average over the targets, {word}: {'; '.join(found)}.")
    rest = ordered[~marked(ordered)]["intermediate"]
    if len(rest):
        sentences.append(f"No evidence of an average effect either way: {', '.join(f'`{name}`' for name in rest)}.")
    return " ".join(sentences)


def _guesses(scores: pd.DataFrame) -> list[str]:
    """Targets that were not learned: a gain or loss to or from there says little else. One line, or none."""
    found = []
    for target, part in scores[~scores["target"].isin([MACRO, MACRO_TRAINED])].groupby("target", sort=False):
        task = get(target)
        at = part[part["low"] <= task.chance]["intermediate"]
        if task.chance and len(at):
            names = ", ".join(f"`{name}`" for name in at) if len(at) < len(part) else "any run"
            found.append(f"{task.title} ({task.chance:.0f}) after {names}")
    return [f"No better than guessing, interval and all: {'; '.join(found)}."] if found else []


def _run_line(run: str, part: pd.DataFrame) -> str:
    words = []
    for word, chosen in (("helps", part[part["low"] > 0]), ("hurts", part[part["high"] < 0])):
        if len(chosen):
            ordered = chosen.sort_values("value", key=abs, ascending=False)
            found = [f"{get(row.target).title} {with_interval(row)}" for row in ordered.itertuples()]
            words.append(f"{word} {', '.join(found)}")
    gap = int(part["value"].isna().sum())
    unclear = len(part) - int(marked(part).sum()) - gap
    if unclear:
        among = f"{'the' if words else 'any of the'} {unclear}" if unclear > 1 else "the one"
        words.append(f"no evidence for {among}{' other' if words else ''} target{'s' if unclear > 1 else ''}")
    if gap:
        words.append(f"{gap} missing")
    return f"- `{run}`: {'; '.join(words)}"


def _places(part: pd.DataFrame) -> str:
    """In how many languages of its targets a run helps or hurts, and where most; "" where in none."""
    words = []
    for word, chosen in (("helps", part[part["low"] > 0]), ("hurts", part[part["high"] < 0])):
        if len(chosen):
            most = chosen.loc[chosen["value"].abs().idxmax()]
            where_most = f"{get(most['target']).title} in {most['language']} {with_interval(most)}"
            words.append(f"{word} in {len(chosen)} of {len(part)}, most {where_most}")
    return f". Language by language: {'; '.join(words)}" if words else ""


def with_interval(row: Any) -> str:
    """A row of ``results.estimates`` as ``+1.2 [0.3, 2.1]``; a score has no sign."""
    if not np.isfinite(row.value):
        return "missing"
    sign = "+" if row.quantity == "gain" else ""
    if not np.isfinite(row.low):
        return f"{round(float(row.value), 1) + 0.0:{sign}.1f} (one seed: no interval)".replace("-", "−")
    low, high = (_bound(float(bound), row.low > 0 or row.high < 0) for bound in (row.low, row.high))
    return f"{round(float(row.value), 1) + 0.0:{sign}.1f} [{low}, {high}]".replace("-", "−")


def with_evidence(row: Any) -> str:
    """A difference with its interval, and that there is no evidence where this spans zero."""
    return with_interval(row) + (", no evidence" if row.low <= 0 <= row.high else "")


def _bound(bound: float, apart: bool) -> str:
    """To one decimal, without -0.0; of an interval ``apart`` from zero to as many as show that it is."""
    places = next((places for places in range(1, 4) if not apart or round(bound, places)), 3)
    return f"{round(bound, places) + 0.0:.{places}f}"


def verdict(row: Any) -> str:
    """What the interval of a difference shows."""
    if not np.isfinite(row.value):
        return "missing"
    return "helps" if row.low > 0 else "hurts" if row.high < 0 else "no evidence"


def verdict_table(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Differences as a person reads them. ``columns``: column of ``rows`` -> its heading, those that say what is
    compared; then verdict, gain with its interval, and seeds."""
    table = rows[list(columns)].rename(columns=columns)
    gains = list(rows.assign(quantity="gain").itertuples())
    table["verdict"] = [verdict(row) for row in gains]
    table["gain"] = [with_interval(row) for row in gains]
    return table.assign(seeds=rows["seeds"]).reset_index(drop=True)


def chance(rows: pd.DataFrame) -> str:
    """How many of the intervals exclude zero, and how many would by chance."""
    rows = rows.dropna(subset=["low", "high"])
    return (
        f"Of {len(rows):,} intervals {int(marked(rows).sum()):,} exclude zero; without any effect about "
        f"{0.05 * len(rows):,.0f} would."
    )


def question_answer(
    study: Study, seeds: int, sentences: list[str], table: pd.DataFrame, absent: Sequence[str] = ()
) -> str:
    """The answer to one of the four questions in Markdown: ``sentences`` after how far they reach, then ``table`` (of
    :func:`verdict_table`). ``absent``: runs that lack scores."""
    lines = [f"{where(study, seeds)}: {covers(study, seeds)}.", *sentences]
    if len(absent):
        lines.append(f"Missing, in whole or in part: {', '.join(f'`{run}`' for run in absent)}.")
    cells = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join([*(f"- {line}" for line in lines), "", *(f"| {' | '.join(row)} |" for row in cells)])


def tatoeba_protocol(study: Study) -> str:
    """One sentence: which of the three published Tatoeba baselines of XLM-R Large this study's settings follow.

    31.0: the authors' code (jiant-dev pull request 128); 57.3: XTREME, as in VECO's table; 77.3: XTREME-R, recalled
    and unchecked. The first two name one layer and pooling; why they differ is not known.
    """
    settings, name = study.retrieval, study.encoder.checkpoint
    large = name.rsplit("/", 1)[-1] == LARGE
    pooling = "mean over all tokens" if settings.special_tokens else "mean over all tokens but <s> and </s>"
    ours = {
        LARGE: LARGE if large else name or "an encoder of the study's own",
        "hidden layer 14": f"hidden layer {settings.indices(24)[0] if large else settings.layer}",
        "mean over all tokens": "the first token" if settings.pooling == "cls" else pooling,
        "no centring": "centring by language" if settings.centre else "no centring",
    }
    other = [f"{here}, not {there}" for there, here in ours.items() if here != there]
    if other:
        return (
            "Tatoeba's published baselines of XLM-R Large, 31.0 (Phang et al.'s code), 57.3 (XTREME) and 77.3 "
            f"(XTREME-R, recalled), are three protocols, and this study follows none of them: {'; '.join(other)}."
        )
    tuned = "`squad1` starts from" if "squad1" in study.intermediate else "a run `squad1` would start from"
    return (
        "Of Tatoeba's published baselines of XLM-R Large, `none` follows that of Phang et al.'s code, 31.0 "
        f"({', '.join(ours)}); XTREME's script names the same, yet 57.3 is published from it, for reasons unknown; "
        f"{tuned} the SQuAD-tuned encoder of XTREME-R's 77.3 (recalled; that mean has five more languages)."
    )


def _range(numbers: pd.Series) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return str(low) if low == high else f"{low}–{high}"
