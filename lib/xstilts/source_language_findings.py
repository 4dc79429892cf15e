"""What a study found on the source language, in words: computed from the tables of source_language.py alone."""

import pandas as pd

from .findings import covers, with_interval
from .results import MEAN
from .settings import SOURCE
from .source_language import ADDED, BOTH, DROPPED, JOINT, METRICS, NEITHER, OVER_RUNS, TARGET, Design
from .study import NONE, Study
from .tasks import get


def answer(study: Study, plan: Design, tables: dict[str, pd.DataFrame], names: pd.Series, missing: list[str]) -> str:
    """Markdown. ``tables``: as ``source_language.tables`` gives them, of exact match; ``names``: of the languages, by
    code; ``missing``: runs that are not done."""
    home, comparisons = f"{names[plan.source]} ({plan.source})", tables["comparisons"]
    pairs = comparisons[comparisons["second"] != NONE]
    several = pairs["first"].map(lambda run: len(plan.trained[run]) > 1)
    lines = [
        _setting(study, plan, tables, home),
        "",
        *_part(f"**Phase 2 in several languages or in {home} alone?**", pairs[several.astype(bool)], plan),
        *_part(f"**Phase 2 in another language than {home}?**", pairs[~several.astype(bool)], plan),
        *[_seen(row) for row in tables["seen"].itertuples()],
        "",
        f"**Phase 3: is {home} the best language to train on?** {_best(tables['sources'], names)}",
        *_factors(tables["factors"], home),
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
            "Phase 2 is measured in epochs: a run with more examples is trained for longer, so that only runs with as "
            "many examples (`=n`) differ in language alone."
        )
    return "Runs of phase 2 differ in their number of steps: compare those with the same."


def _setting(study: Study, plan: Design, tables: dict[str, pd.DataFrame], home: str) -> str:
    where = "In the generated micro-world (constructed languages; not TyDiQA itself)"
    where = where if study.source == "micro" else "On real text"
    table = tables["languages"]
    base = table[(table["intermediate"] == NONE) & (table["language"] == MEAN)].iloc[0]
    return (
        f"{where}: {next(iter(METRICS.values()))} on {get(TARGET).title} in {len(plan.languages)} languages, "
        f"{len(plan.trained) - 1} intermediate runs; {home} is the source language. "
        f"{covers(study, int(table['seeds'].max())).capitalize()}. With `none`: {with_interval(base)}. "
        f"{length(study, plan)}"
    )


def _part(title: str, table: pd.DataFrame, plan: Design) -> list[str]:
    if table.empty:
        return []
    mean = table[table["group"] == MEAN]
    rows = [_comparison(part, plan) for _, part in table.groupby(["first", "second"], sort=False)]
    return [f"{title} {_verdicts(mean)}", "", *rows, ""]


def _verdicts(mean: pd.DataFrame) -> str:
    there = mean.dropna(subset="value")
    words = []
    for word, part in (("helps", there[there["low"] > 0]), ("hurts", there[there["high"] < 0])):
        if len(part):
            words.append(f"On average over the languages it {word}: {_runs(part)}.")
    unclear = there[(there["low"] <= 0) & (there["high"] >= 0)]
    if len(unclear):
        words.append(f"No evidence on average, either way: {_runs(unclear)}.")
    return " ".join(words) or "Nothing has been run."


def _runs(table: pd.DataFrame) -> str:
    return ", ".join(f"`{run}`" for run in table["first"])


def _comparison(part: pd.DataFrame, plan: Design) -> str:
    one, other = part[["first", "second"]].iloc[0]
    said = {
        MEAN: "over all languages",
        ADDED: f"over the {{}} that only `{one}` has seen in phase 2",
        DROPPED: f"over the {{}} that only `{other}` has seen",
        BOTH: "over the {} that both have seen",
        NEITHER: "over the {} that neither has seen",
    }
    parts = []
    for row in part.itertuples():
        only = plan.source if row.languages == 1 and row.group in (BOTH, DROPPED) else ""
        count = f"one ({only})" if only else "one" if row.languages == 1 else str(row.languages)
        parts.append(f"{with_interval(row)} {said[row.group].format(count)}")
    return f"- `{one}` against `{other}`: {'; '.join(parts)}"


def _seen(row) -> str:
    verdict = "gains" if row.low > 0 else "loses" if row.high < 0 else "gains or loses nothing that is in evidence"
    return (
        f"A language that `{row.task}` is trained in {verdict}: {with_interval(row)}, run and language held fixed "
        f"({row.runs} runs of one language each)."
    )


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
    parts = [f"no evidence for {_list(unclear, names)}"] if len(unclear) else []
    if len(worse):
        parts.insert(0, f"worse: {_list(worse, names)}")
    if len(better):
        head = f"No: better {'is' if len(better) == 1 else 'are'} {_list(better, names)}"
    elif len(unclear) or len(there) < len(rows):
        head = "No other is shown to be better" if len(worse) else "No evidence that any other is better or worse"
    else:
        head = "Yes: every other is worse"
    over = "mean over phase 2, " if run == OVER_RUNS else f"after `{run}`, "
    how = f"{over}on the languages that are neither's; intervals that hold for all {len(there)} at once"
    return f"{head} ({how}){': ' + '; '.join(parts) if parts else ''}."


def _list(table: pd.DataFrame, names: pd.Series) -> str:
    return ", ".join(f"{names.get(row.training, '')} ({row.training}) {with_interval(row)}" for row in table.itertuples())


def _factors(table: pd.DataFrame, home: str) -> list[str]:
    said = {
        "lead": f"lead of {home} over the other training languages, their mean",
        "own": f"trained in the test language itself instead of {home}",
        **{joint: f"trained in {joint} languages instead of {home} (other test languages)" for joint in JOINT},
        "change of lead": "change of that lead by phase 2, against `none`",
    }
    lines = []
    for effect, text in said.items():
        rows = table[table["effect"] == effect]
        if len(rows):
            parts = [
                f"{row.intermediate if row.intermediate == OVER_RUNS else f'`{row.intermediate}`'} {with_interval(row)}"
                for row in rows.itertuples()
            ]
            evidence = ((rows["low"] > 0) | (rows["high"] < 0)).any()
            lines.append(f"- {text}: {', '.join(parts)}{'' if evidence else ' (no evidence)'}")
    return ["", *lines] if lines else []
