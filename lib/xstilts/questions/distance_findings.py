"""What a study found on distance, in words: computed from the tables of distances.py alone."""

from typing import Any

import numpy as np
import pandas as pd

from ..findings import counted, covers, where, with_interval
from ..settings import DIRECT
from ..study import NONE, Study
from .distance_figures import title, worth_text
from .distances import COMPARED, DIFFERENCE, INTERMEDIATE, source_runs


def answer(
    study: Study,
    slopes: pd.DataFrame,
    alignment: pd.DataFrame,
    worth: pd.DataFrame,
    robustness: pd.DataFrame,
    missing: list[str],
) -> str:
    """Markdown. ``slopes`` and ``alignment``: ``distances.against_distance`` of scores (a part per target with direct
    tuning, and ``COMPARED``) and of alignment; ``worth``, ``robustness``: of learning_curves.py and robustness.py;
    ``missing``: what has not been run, in words."""
    lines = [_setting(study, slopes)]
    compared = [COMPARED] if COMPARED in set(slopes["part"]) else []
    lines += [_sentence(slopes, part) for part in compared] + [""]
    lines += [f"- {title(part)}: {_short(slopes, part)}" for part in slopes["part"].unique() if part != COMPARED]
    if len(alignment):
        lines += ["", "Alignment of parallel sentences, before and after phase 2, at the layer of retrieval:", ""]
        lines += [f"- {title(part)}: {_short(alignment, part)}" for part in alignment["part"].unique()]
    lines += ["", *(_worth(part) for _, part in worth.groupby("target", sort=False))]
    lines += [_robustness(row) for row in robustness[robustness["series"].isin([INTERMEDIATE, DIRECT])].itertuples()]
    if missing or study.absence:
        lines += ["", f"Missing: {'; '.join([*missing, *filter(None, [study.absence])])}."]
    return "\n".join(lines)


def _setting(study: Study, slopes: pd.DataFrame) -> str:
    count, seeds = len(source_runs(study)), int(slopes["seeds"].max()) if len(slopes) else 0
    languages = int(slopes["languages"].max()) if len(slopes) else 0
    return (
        f"{where(study, seeds)}: {counted(count, 'intermediate run')} in the source language against "
        f"direct tuning in each of up to {languages} other languages; {covers(study, seeds)}. Slopes are over distance "
        "from the source, 0 to 1, and cover the choice of languages, too."
    )


def _pick(table: pd.DataFrame, part: str, series: str, quantity: str) -> Any:
    chosen = table[(table[["part", "series", "quantity"]] == [part, series, quantity]).all(axis=1)]
    return next(chosen.itertuples(), None)


def _number(row: Any) -> str:
    if not row:
        return "missing"
    text = with_interval(row._replace(quantity="gain"))
    return text if np.isfinite(row.low) else f"{text.split()[0]} (one seed: no interval)"


def _with_evidence(row: Any) -> str:
    return _number(row) + (", no evidence" if row and row.low <= 0 <= row.high else "")


WORDS = {  # of what each number says: below zero, above, neither
    (INTERMEDIATE, "slope"): (
        "The gain of intermediate training in the source language falls with distance",
        "The gain of intermediate training in the source language rises with distance",
        "No evidence that the gain of intermediate training in the source language depends on distance",
    ),
    (INTERMEDIATE, "mean"): (
        "on average over languages it hurts",
        "on average over languages it helps",
        "on average over languages there is no evidence of an effect",
    ),
    (DIRECT, "slope"): (
        "The gain of direct tuning falls with distance",
        "The gain of direct tuning rises with distance",
        "No evidence that the gain of direct tuning depends on distance",
    ),
    (DIFFERENCE, "mean"): (
        "direct tuning is worse than intermediate training",
        "direct tuning is better than intermediate training",
        "no evidence that either of the two is better",
    ),
    (DIFFERENCE, "slope"): (
        "the nearer the language, the more it is ahead",
        "the more distant the language, the more it is ahead",
        "no evidence that the lead depends on distance",
    ),
}


def _sentence(slopes: pd.DataFrame, part: str) -> str:
    """The answer to the question, over all the targets that direct tuning was done for."""
    said = {key: _verdict(_pick(slopes, part, *key), words, key[1]) for key, words in WORDS.items()}
    ours = "; ".join(text for key, text in said.items() if key[0] == INTERMEDIATE)
    return f"{ours}. " + "; ".join(text for key, text in said.items() if key[0] != INTERMEDIATE) + "."


def _verdict(row: Any, words: tuple[str, str, str], what: str) -> str:
    below, above, neither = words
    if row is None or not np.isfinite(row.value):
        return f"{neither} (missing)"
    said = below if row.high < 0 else above if row.low > 0 else neither
    return f"{said} ({what} {_number(row)}, {row.languages} languages)"


def _short(table: pd.DataFrame, part: str) -> str:
    words = []
    for series, name in ((INTERMEDIATE, "intermediate training"), (DIRECT, "direct tuning")):
        mean, slope = (_pick(table, part, series, quantity) for quantity in ("mean", "slope"))
        if mean:
            words.append(f"{name} {_with_evidence(mean)} (slope {_with_evidence(slope)})")
    return "; ".join(words)


def _worth(part: pd.DataFrame) -> str:
    """What zero-shot ``none`` and the intermediate runs are worth on one target, medians over languages."""
    smallest, largest = int(part["smallest"].min()), int(part["largest"].max())
    medians = part.groupby("run", sort=False)["examples"].quantile(0.5, interpolation="lower")
    runs = medians.drop(NONE, errors="ignore")

    def said(number: float) -> str:
        return worth_text(number, smallest, largest)

    words = f"Examples of the language itself that equal a zero-shot score on {title(part['target'].iloc[0])}"
    words += f", median over {part['language'].nunique()} languages: `none` {said(medians.get(NONE, np.nan))}"
    if len(runs):
        words += f"; of the intermediate runs from {said(runs.min())} (`{runs.idxmin()}`) to {said(runs.max())}"
        words += f" (`{runs.idxmax()}`)"
    return f"- {words}."


def _robustness(row: Any) -> str:
    what = "direct tuning" if row.series == DIRECT else "intermediate training (mean of the runs)"
    worst, deviation = f"{row.worst_gain:+.1f}".replace("-", "−"), f"{row.sd_gain:+.1f}".replace("-", "−")
    return (
        f"- Robustness of {what}: {row.lose:.0f}% of {row.cells:.0f} cells lose, {row.lose_clearly:.0f}% with an "
        f"interval below zero; the worst language {worst} points, the standard deviation over languages {deviation}."
    )
