"""What a study shows, in tables and sentences computed from the estimates of :mod:`xstilts.results`, so that text and
figures cannot disagree.

An answer is at most 120 words, no sentence with more than three numbers, above one table of verdicts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from xstilts.names import NONE
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, marked
from xstilts.runs import finished_target_runs, list_runs
from xstilts.settings import Study
from xstilts.tasks import RETRIEVAL_KINDS

LARGE = "xlm-roberta-large"


class NothingToShow(Exception):
    """No result of a study exists yet. Jupyter shows the message alone, without a traceback, and stops there."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def report_missing(study: Study) -> Markdown | None:
    """Which target runs of a study are missing and how to run them; None where none is.

    NothingToShow where one of the bundles that a final notebook compares has no finished run.
    """
    command = f"make study STUDY={study.given}"
    bundles = [*study.bundles(), *study.further]
    expected = [run for run in list_runs(study) if run.phase == "targets"]
    done = finished_target_runs(study, bundles)
    missing = [f"`{run.name}`" for run in expected if run not in done]
    if not missing:
        return None
    begun = {run.bundle for run in done}
    own = any(begun.intersection(study.parts(name)) for name in study.bundles())
    further = all(begun.intersection(study.parts(name)) for name in study.further)
    if not (own and further):
        raise NothingToShow(f"Nothing to show yet: run `{command}` in the project's folder, then this notebook again.")
    names = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return Markdown(
        f"**{len(done)} of {len(expected)} target runs are done.** The others are shown as missing ({names}): "
        f"`{command}` runs them, or `3-targets.ipynb` one at a time."
    )


def transfer_verdicts(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Which run to train first, by target, from the rows of ``results.estimates`` in the mean over languages.

    "train first" is the run with the highest gain among those whose gain lies above zero and whose score lies above
    guessing (``Task.chance``), intervals and all; "none" where there is no such run. Targets of one kind with the
    same runs share a row. Columns: target, train first, gain, hurts (runs whose gain lies below zero).
    """
    mean = table[(table["language"] == MEAN) & ~table["target"].isin([MACRO, MACRO_TRAINED])]
    rows = []
    for name, part in mean.groupby("target", sort=False):
        task = study.task(name)
        gains = part[part["quantity"] == "gain"]
        scores = part[part["quantity"] == "score"].set_index("intermediate")
        learned = gains["intermediate"].map(scores["low"] > task.chance).astype(bool)
        best = gains[(gains["low"] > 0) & learned].nlargest(1, "value")
        missing = gains["value"].isna().all()
        rows.append(
            {
                "kind": "retrieval" if task.kind in RETRIEVAL_KINDS else task.kind,
                "target": task.title,
                "train first": "missing" if missing else f"`{best['intermediate'].iloc[0]}`" if len(best) else NONE,
                "gain": with_interval(next(best.itertuples())) if len(best) else "–",
                "hurts": code_list(gains.loc[gains["high"] < 0, "intermediate"]) or "–",
            }
        )
    columns = ["kind", "target", "train first", "gain", "hurts"]
    grouped = pd.DataFrame(rows, columns=columns).groupby(["kind", "train first", "hurts"], sort=False)
    joined = grouped[["target", "gain"]].agg(lambda values: ", ".join(dict.fromkeys(values))).reset_index()
    return joined[columns[1:]]


def transfer_sentences(table: pd.DataFrame, rho: pd.DataFrame, study: Study) -> list[str]:
    """What stands above :func:`transfer_verdicts`; ``rho``: of ``results.correlations``."""
    mean = table[table["language"] == MEAN]
    gains = mean[mean["quantity"] == "gain"]
    macro, single = gains[gains["target"] == MACRO], gains[~gains["target"].isin([MACRO, MACRO_TRAINED])]
    sentences = [f"Not the whole study: {study.absence}."] if study.absence else []
    if macro["value"].notna().any():
        helping = code_list(macro.loc[macro["low"] > 0, "intermediate"]) or "no run"
        hurting = code_list(macro.loc[macro["high"] < 0, "intermediate"]) or "no run"
        sentences.append(f"On average over the targets {helping} is shown to help, {hurting} to hurt.")
    guesses = guessing(mean[mean["quantity"] == "score"], study)
    if guesses:
        sentences.append(f"No better than guessing after some runs: {', '.join(guesses)}.")
    if single["value"].notna().any():
        sentences.append(chance(single))
    known = rho.dropna()
    if len(known):
        sentences.append(
            f"Zero-shot scores of `none` fall with distance from the source language in "
            f"{int((known['high'] < 0).sum())} of {len(known)} targets."
        )
    return sentences


def guessing(scores: pd.DataFrame, study: Study) -> list[str]:
    """Titles of the targets on which the score of some run is not shown to lie above guessing."""
    scores = scores[~scores["target"].isin([MACRO, MACRO_TRAINED])]
    tasks = {name: study.task(name) for name in scores["target"].unique()}
    chances = scores["target"].map({name: task.chance for name, task in tasks.items()})
    guessed = scores.loc[(chances > 0) & (scores["low"] <= chances), "target"].unique()
    return [tasks[name].title for name in guessed]


def code_list(names: Sequence[str]) -> str:
    """Names of runs as Markdown code."""
    return ", ".join(f"`{name}`" for name in names)


def macro_table(table: pd.DataFrame) -> pd.DataFrame:
    """Averages over targets as a person reads them: a row per run, "value [low, high]" per average."""
    macro = table[table["target"].isin([MACRO, MACRO_TRAINED])].copy()
    macro["text"] = [with_interval(row) for row in macro.itertuples()]
    macro["shown"] = (macro["intermediate"] == NONE) | (macro["quantity"] == "gain")
    order = macro["intermediate"].unique()
    wide = macro[macro["shown"]].pivot(index="intermediate", columns=["target", "language"], values="text")
    wide["seeds", ""] = macro[macro["shown"]].groupby("intermediate")["seeds"].min()
    return wide.loc[order]


def counted(number: int, thing: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def setting_text(study: Study, seeds: int) -> str:
    """The words that every answer begins with."""
    micro = study.source == "micro"
    setting = "In the generated micro-world (constructed languages; not XTREME)" if micro else "On real text"
    return f"Two seeds say little of how much seeds differ: intervals are wide. {setting}" if seeds == 2 else setting


def covers(study: Study, seeds: int) -> str:
    """How many seeds there are, and what intervals therefore cover."""
    if seeds == 1:
        return "one seed: the intervals cover the draw of test examples, not that of seeds"
    own = ", each with an encoder of its own" if not study.encoder.checkpoint else ""
    return f"{seeds} seeds{own}: the intervals (95%) cover test examples and seeds"


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
    lines = [f"{setting_text(study, seeds)}: {covers(study, seeds)}.", *sentences]
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
    other = [f"{value}, not {published}" for published, value in ours.items() if value != published]
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


def readable_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """``results.rank_runs`` as a person reads it."""
    ranked = table["rank"].notna()
    ranks = table[["rank", "low", "high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="score")
    gains = table[["gain", "gain_low", "gain_high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="gain")
    columns = {
        "run": table["intermediate"],
        f"mean rank of {ranked.sum()}": [with_interval(row) for row in ranks.itertuples()],
        f"best on (of {table['targets'].max()} targets)": table["best"].astype(object).where(ranked, "missing"),
        "mean gain in points": [with_interval(row) if np.isfinite(row.value) else "–" for row in gains.itertuples()],
        "seeds": table["seeds"],
    }
    return pd.DataFrame(columns)


def readable_effort(table: pd.DataFrame) -> pd.DataFrame:
    """``results.effort`` as a person reads it; columns that no run fills (of a GPU) are left out."""
    shown = table.copy()
    for name in ("examples", "steps", "tokens"):
        shown[name] = table[name].map("{:,.0f}".format)
    for name in ("hours", "core_hours", "gpu_hours"):
        shown[name] = table[name].map("{:,.2f}".format)
    empty = [name for name in ("core_hours", "gpu_hours") if not table[name].any()]
    return shown.drop(columns=[*empty, *(["gpu"] if "gpu_hours" in empty else [])]).set_index("phase")
