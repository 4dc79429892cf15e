"""Does a study behave like XTREME? What Phang et al. report (abstract of arXiv 2005.13013; of XNLI, recalled), beside
the same comparison here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xstilts.inference import Scores, difference, mean, mean_score
from xstilts.names import MLM, MULTI, NONE, STEPS, compared
from xstilts.results import rank_correlation
from xstilts.settings import Study
from xstilts.tasks import RETRIEVAL_KINDS


def comparisons(study: Study) -> dict[str, tuple[str, Sequence[str], Sequence[str], list[str]]]:
    """Finding -> sign of the difference that the paper reports ("0": nothing consistent), the runs that are averaged,
    those they are compared with, and the targets; the parts that a study has, which may be none."""
    runs = {name: study.intermediate_run(name) for name in compared(study.intermediate)}
    single = [name for name, run in runs.items() if len(run.tasks) == 1 and name == run.tasks[0]]
    mixed = {name: name.replace(MLM, "") for name, run in runs.items() if run.mlm and name.replace(MLM, "") in runs}
    away = {name: run.tasks[0] for name, run in runs.items() if run.languages and run.tasks[0] in runs}
    kinds = {target: study.task(target).kind for target in study.targets}
    retrieval = [target for target, kind in kinds.items() if kind in RETRIEVAL_KINDS]
    spans = [target for target, kind in kinds.items() if kind == "span"]
    answering = [name for name in single if study.task(name).kind == "span"]
    everywhere, baseline = list(study.targets), [NONE]
    matched = [STEPS if STEPS in study.intermediate else NONE]
    return {
        "Intermediate tasks help, on average over the targets": ("+", single, baseline, everywhere),
        "They raise retrieval": ("+", single, baseline, retrieval),
        "Question answering helps question answering": ("+", answering, baseline, spans),
        "All tasks at once are better than the average task": ("+", list({MULTI} & {*runs}), single, everywhere),
        "MNLI helps XNLI no more than as many steps do": (
            "0",
            list({"mnli"} & {*runs}),
            matched,
            list({"xnli"} & {*everywhere}),
        ),
        "Masked LM beside the task is no consistent help": ("0", list(mixed), list(mixed.values()), everywhere),
        "Other languages in phase 2 are no consistent help": ("0", list(away), list(away.values()), everywhere),
    }


def findings(scores: Scores, study: Study, wanted: pd.DataFrame, distance: pd.Series) -> pd.DataFrame:
    """A row per finding that the study can show, over the zero-shot languages: finding, there and here (the sign, "0"
    where the 95% interval spans zero, "?" with one seed), value, low, high (points; of distance Spearman's rho).

    ``wanted``: of ``results.expected``. ``distance``: from the source language, by language.
    """
    codes = {target: part["language"].unique() for target, part in wanted.groupby("target", sort=False)}
    away = {target: [code for code in part if code != study.source_language] for target, part in codes.items()}

    def average(runs: Sequence[str], targets: Sequence[str]) -> dict:
        return mean([mean_score(run, target, away[target]) for run in runs for target in targets if target in away])

    rows = []
    for finding, (reported, runs, others, targets) in comparisons(study).items():
        if len(runs) and len(others) and len(targets):
            value, low, high, seeds, _ = scores.estimate(difference(average(runs, targets), average(others, targets)))
            rows.append((finding, reported, _sign(value, low, high, seeds), value, low, high))
    known = [code for code in distance[distance > 0].index if all(code in part for part in away.values())]
    drawn = scores.draws([mean([mean_score(NONE, target, [code]) for target in away]) for code in known])
    value, low, high, _ = rank_correlation(distance[known], drawn)
    rows.append(("Zero-shot scores fall with distance", "−", _sign(value, low, high, 2), value, low, high))
    return (
        pd.DataFrame(rows, columns=["finding", "there", "here", "value", "low", "high"])
        .dropna(subset="value")
        .reset_index(drop=True)
    )


def sentence(table: pd.DataFrame) -> str:
    """Which findings a table of :func:`findings` shares with the paper, which it has the other way, and which it does
    not show."""
    same = table["here"] == table["there"]
    opposite = (table["there"] + table["here"]).isin(["+−", "−+"])
    parts = {"As in the paper": same, "The other way": opposite, "Not shown here": ~same & ~opposite}
    listed = {name: "; ".join(table.loc[rows, "finding"]) for name, rows in parts.items() if rows.any()}
    return " ".join(f"{name}: {text}." for name, text in listed.items())


def _sign(value: float, low: float, high: float, seeds: int) -> str:
    if seeds == 1 or not np.isfinite(low):
        return "?"
    return "0" if low <= 0 <= high else "+" if value > 0 else "−"
