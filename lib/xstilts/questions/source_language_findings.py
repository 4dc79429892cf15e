"""What a study found on the source language, in words: computed from the tables of source_language.py alone."""

from typing import Any

import numpy as np
import pandas as pd

from ..findings import covers, with_interval
from ..results import MEAN
from ..study import NONE, Study
from ..tasks import get
from .source_language import ADDED, BOTH, DROPPED, JOINT, METRICS, NEITHER, OVER_RUNS, TARGET, Design, groups


def answer(study: Study, plan: Design, tables: dict[str, pd.DataFrame], names: pd.Series, missing: list[str]) -> str:
    """Markdown. ``tables``: as ``source_language.tables`` gives them, of exact match; ``names``: of the languages, by
    code; ``missing``: runs that are not done."""
    home, comparisons = f"{names[plan.source]} ({plan.source})", tables["comparisons"]
    pairs = comparisons[comparisons["second"] != NONE]
    several = pairs["first"].map(lambda run: len(plan.trained[run]) > 1)
    lines = [
        _setting(study, plan, tables, home),
        "",
        *[
            line
            for amount, part in pairs[several.astype(bool)].groupby(
                lambda row: _amount(pairs.loc[row], plan), sort=False
            )
            for line in _part(f"**Phase 2 in several languages or in {home} alone, on {amount}?**", part, plan)
        ],
        *_part(f"**Phase 2 in another language than {home}?**", pairs[~several.astype(bool)], plan),
        *_part("**Phase 2 or none?**", comparisons[comparisons["second"] == NONE], plan),
        *_seen(tables["seen"]),
        f"**Phase 3: is {home} the best language to train on?** {_best(tables['sources'], names)}",
        *_factors(tables["factors"], home, bool(study.phase("target", study.training_task(get(TARGET)).name).steps)),
    ]
    if missing or study.absence:
        lines += ["", f"Missing: {'; '.join([*missing, *filter(None, [study.absence])])}."]
    return "\n".join(lines)


def length(study: Study, plan: Design) -> str:
    """One sentence: whether runs on more examples are trained for longer."""
    phases = [study.phase("intermediate", run) for run in plan.trained if run != NONE]
    steps = {(phase.steps, phase.batch_size * phase.accumulate) for phase in phases}
    if len(steps) == 1 and phases[0].steps:
        number, batch = steps.pop()
        return (
            f"Every run of phase 2 takes {number:,} steps of {batch} examples: one with more examples, or in more "
            "languages, is not trained for longer."
        )
    if all(phase.epochs for phase in phases):
        return (
            "Phase 2 is measured in epochs: a run with more examples is trained for longer; languages alone are "
            "compared between runs with as many examples (`=n`)."
        )
    return "Runs of phase 2 differ in their number of steps: compare those with the same."


def _setting(study: Study, plan: Design, tables: dict[str, pd.DataFrame], home: str) -> str:
    where = "In the generated micro-world (constructed languages; not TyDiQA itself)"
    where = where if study.source == "micro" else "On real text"
    table, count = tables["languages"], len(plan.trained) - 1
    base = table[(table["intermediate"] == NONE) & (table["language"] == MEAN)].iloc[0]
    return (
        f"{where}: {next(iter(METRICS.values()))} on {get(TARGET).title} in {len(plan.languages)} languages, "
        f"{count} intermediate run{'s' * (count != 1)}; {home} is the source language. "
        f"{covers(study, int(table['seeds'].max())).capitalize()}. With `none`: {with_interval(base)}. "
        f"{length(study, plan)}"
    )


def _part(title: str, table: pd.DataFrame, plan: Design) -> list[str]:
    """A question, the verdict on average over the languages, and a line per comparison that is not with ``none``."""
    if table.empty:
        return []
    pairs = table[(table["second"] != NONE) & (table["group"] != MEAN)].groupby(["first", "second"], sort=False)
    lines = [_comparison(part, plan) for _, part in pairs]
    return [f"{title} {_verdicts(table[table['group'] == MEAN])}", "", *lines, *[""] * bool(lines)]


def _amount(pair: pd.Series, plan: Design) -> str:
    """Whether the first of two runs had as many examples in phase 2: within a hundredth, as they are drawn evenly from
    all of its languages."""
    one, other = plan.examples[pair["first"]], plan.examples[pair["second"]]
    return (
        "as many examples" if abs(one - other) <= other / 100 else "more examples" if one > other else "fewer examples"
    )


def _evidence(row: Any) -> str:
    """A difference with its interval, and that there is no evidence where this spans zero."""
    return with_interval(row) + (" (no evidence)" if row.low <= 0 <= row.high else "")


def _verdicts(mean: pd.DataFrame) -> str:
    helps, hurts = mean["low"] > 0, mean["high"] < 0
    missing = mean["value"].isna()
    words = [
        f"{said}: {', '.join(f'`{row.first}` {with_interval(row)}' for row in part.itertuples())}."
        for said, part in (
            ("On average over the languages it helps", mean[helps]),
            ("On average over the languages it hurts", mean[hurts]),
            ("No evidence on average, either way", mean[~helps & ~hurts & ~missing]),
        )
        if len(part)
    ]
    gaps = [f"`{row.first}`" for row in mean[missing].itertuples()]
    return " ".join([*words, *([f"Missing: {', '.join(gaps)}."] if gaps else [])])


def _comparison(part: pd.DataFrame, plan: Design) -> str:
    one, other = part[["first", "second"]].iloc[0]
    said = {
        ADDED: f"that only `{one}` has seen",
        DROPPED: f"that only `{other}` has seen",
        BOTH: "that both have seen",
        NEITHER: "that neither has seen",
    }
    split = groups(plan, one, other)
    parts = [
        f"{_evidence(row)} in {_counted(split[row.group])} {said[row.group]}"
        for row in part.itertuples()
        if np.isfinite(row.value)
    ]
    return f"- `{one}` against `{other}`: {'; '.join(parts) or 'missing'}"


def _counted(codes: tuple[str, ...]) -> str:
    return f"the language ({codes[0]})" if len(codes) == 1 else f"the {len(codes)} languages"


def _seen(table: pd.DataFrame) -> list[str]:
    lines = []
    for row in table.itertuples():
        verdict = "gains " if row.low > 0 else "loses " if row.high < 0 else "no evidence either way, "
        verdict = verdict if np.isfinite(row.value) else ""
        lines.append(f"- `{row.task}`: {verdict}{with_interval(row)} ({row.runs} runs of one language each)")
    title = "**What is it worth to a language that phase 2 was trained in it**, with run and language held fixed?"
    return [title, "", *lines, ""] if lines else []


def _best(table: pd.DataFrame, names: pd.Series) -> str:
    """The verdict over all runs, or that of the one run there is."""
    if table.empty:
        return "TyDiQA is trained in the source language alone: this study does not ask."
    run = OVER_RUNS if OVER_RUNS in set(table["intermediate"]) else table["intermediate"].iloc[0]
    rows = table[table["intermediate"] == run].sort_values("value", ascending=False)
    there = rows.dropna(subset="value")
    if there.empty:
        return "Missing."
    better, worse = there[there["low"] > 0], there[there["high"] < 0]
    unclear = there.drop([*better.index, *worse.index])
    if len(better):
        head = f"No: better {'is' if len(better) == 1 else 'are'} {_list(better, names)}"
    elif len(worse) == len(rows):
        head = "Yes: every other is worse"
    else:
        head = "No other is shown to be better" if len(worse) else "No evidence that any other is better or worse"
    shown = [("Worse", worse), ("Neither shown" if len(unclear) < len(there) else "Differences", unclear)]
    parts = [f"{word}: {_list(part, names)}." for word, part in shown if len(part)]
    over = "mean over phase 2, " if run == OVER_RUNS else f"after `{run}`, "
    at_once = f"; intervals that hold for all {len(there)} at once" if len(there) > 1 else ""
    return f"{head} ({over}on the languages that are neither's{at_once}). {' '.join(parts)}"


def _list(table: pd.DataFrame, names: pd.Series) -> str:
    return ", ".join(
        f"{names.get(row.training, '')} ({row.training}) {with_interval(row)}" for row in table.itertuples()
    )


def _factors(table: pd.DataFrame, home: str, steps: bool) -> list[str]:
    as_long = ", in as many steps" if steps else ""
    said = {
        "lead": f"lead of {home} over the other training languages, their mean",
        "own": f"trained in the test language itself instead of {home}",
        **{
            joint: f"trained in {name} instead of {home}{as_long} (other test languages)"
            for joint, name in JOINT.items()
        },
        "change of lead": "change of that lead by phase 2, against `none`",
    }
    lines = []
    for effect, text in said.items():
        rows = table[table["effect"] == effect]
        if len(rows):
            parts = [
                f"{row.intermediate if row.intermediate == OVER_RUNS else f'`{row.intermediate}`'} {_evidence(row)}"
                for row in rows.itertuples()
            ]
            lines.append(f"- {text}: {', '.join(parts)}")
    return ["", *lines] if lines else []
