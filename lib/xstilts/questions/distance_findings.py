"""What a study found on distance, in words: computed from the tables of distances.py alone."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..findings import counted, covers, where, with_interval
from ..results import MEAN, marked
from ..settings import DIRECT
from ..study import NONE, Study
from ..tasks import TASKS
from ..tunings import SOURCE
from .distance_figures import title, worth_text
from .distances import COMPARED, DIFFERENCE, INTERMEDIATE, WHOLE, source_runs
from .learning_curves import MEDIAN

ENDS = ["value", "low", "high"]


class Change(NamedTuple):
    """A difference in points, as the rows of a table of slopes have it."""

    value: float
    low: float
    high: float
    quantity: str = "gain"


def answer(
    study: Study,
    slopes: pd.DataFrame,
    alignment: pd.DataFrame,
    layers: pd.DataFrame,
    sizes: pd.DataFrame,
    worth: pd.DataFrame,
    robustness: pd.DataFrame,
    missing: list[str],
) -> str:
    """Markdown. ``slopes`` and ``alignment``: ``distances.against_distance`` of scores (a part per target with direct
    tuning, and ``COMPARED``) and of alignment; ``layers``: ``distances.layer_gains``; ``sizes``, ``worth``,
    ``robustness``: of learning_curves.py and robustness.py; ``missing``: what has not been run, in words."""
    lines = [f"{_setting(study, slopes)} {_amounts(study, sizes)}"]
    compared = [COMPARED] if COMPARED in set(slopes["part"]) else []
    lines += [_sentence(slopes, part) for part in compared] + [""]
    lines += [f"- {title(part)}: {_short(slopes, part)}" for part in slopes["part"].unique() if part != COMPARED]
    if len(alignment):
        head = (
            "Alignment of parallel sentences, before and after phase 2, at the layer of retrieval, then at the others"
        )
        lines += ["", f"{head} (these intervals cover seeds, not sentences):", ""]
        lines += [
            f"- {title(part)}: {_short(alignment, part)}{_layers(layers[layers['metric'] == part])}"
            for part in alignment["part"].unique()
        ]
    lines += ["", *(_worth(part) for _, part in worth.groupby("target", sort=False))]
    lines += [_robustness(row) for row in robustness[robustness["series"].isin([INTERMEDIATE, DIRECT])].itertuples()]
    if missing or study.absence:
        lines += ["", f"Missing: {'; '.join([*missing, *filter(None, [study.absence])])}."]
    return "\n".join(lines)


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """``distances.every_distance`` as a person reads it: a row per part and series, a column per distance,
    "value [low, high]"; "" where there is none."""
    over = table["over"].where(table["held"] == "", table["over"] + ", " + table["held"] + " held fixed")
    text = [with_interval(row) for row in table.assign(quantity="gain").itertuples()]
    text = [words.replace(", ", ",\N{NO-BREAK SPACE}") for words in text]  # narrow columns break before the interval
    shown = table.assign(part=table["part"].map(title), over=over, text=text)
    found = shown.pivot(index=["part", "series"], columns="over", values="text")
    rows = pd.MultiIndex.from_frame(shown[["part", "series"]].drop_duplicates())
    return found.reindex(index=rows, columns=over.unique()).fillna("").rename_axis(columns=None).reset_index()


def _setting(study: Study, slopes: pd.DataFrame) -> str:
    count, seeds = len(source_runs(study)), int(slopes["seeds"].max()) if len(slopes) else 0
    languages = int(slopes["languages"].max()) if len(slopes) else 0
    return (
        f"{where(study, seeds)}: {counted(count, 'intermediate run')} in the source language against "
        f"direct tuning in each of up to {languages} other languages; {covers(study, seeds)}. Slopes are over distance "
        "from the source, 0 to 1, and cover the choice of languages, too."
    )


def _amounts(study: Study, sizes: pd.DataFrame) -> str:
    """On how many examples both are tuned, and how many of them they see."""
    equal, unequal, cut = [], [], []
    for target, part in sizes.groupby("target", sort=False):
        direct = part.loc[part["run"] == WHOLE, "examples"]
        home = part.loc[part["run"] == f"{SOURCE}=0", "examples"].max()
        low, high = direct.min(), direct.max()
        if low == high == home:
            equal.append(f"{title(target)} {home:,}")
        else:
            span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            unequal.append(f"{title(target)} {span} against {home:,}")
        phase = study.phase("target", study.training_task(TASKS[target]).name)
        if 0 < (seen := phase.steps * phase.batch_size * phase.accumulate) < max(high, home):
            cut.append(f"{title(target)} {seen:,}")
    said = [f"Learning curves of direct tuning begin with {sizes['examples'].min():,} examples"]
    said += [f"the whole sets have as many as the source language's: {', '.join(equal)}"] if equal else []
    said += [f"the whole sets do not have as many as the source language's: {', '.join(unequal)}"] if unequal else []
    text = f"{'; '.join(said)}."
    return text + (f" The steps of a tuning are fixed; at most so many are seen: {', '.join(cut)}." if cut else "")


def _layers(rows: pd.DataFrame) -> str:
    """What phase 2 does in the other layers, on average over languages: in how many, and where most."""
    rows = rows[(rows["language"] == MEAN) & ~rows["main"]].dropna(subset=["low", "high"])
    words = []
    for word, part in (("lower", rows[rows["high"] < 0]), ("higher", rows[rows["low"] > 0])):
        if len(part):
            most = part.loc[part["value"].abs().idxmax()]
            words.append(f"{word} in {len(part)} (most in layer {most['layer']}: {_number(Change(*most[ENDS]))})")
    if rows.empty:
        return ""
    clear = int(marked(rows).sum())
    rest = [f"no evidence in {len(rows) - clear}"] if clear < len(rows) else []
    return f"; of {counted(len(rows), 'other layer')} {', '.join([*words, *rest])}"


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
    medians = part[part["language"] == MEDIAN].set_index("run")
    runs = medians["examples"].drop([NONE, INTERMEDIATE], errors="ignore")

    def said(run: str) -> str:
        if run not in medians.index:
            return "missing"
        row = medians.loc[run]
        value, low, high = (
            worth_text(row[name], int(row["smallest"]), int(row["largest"])) for name in ("examples", "low", "high")
        )
        return f"{value} [{low}, {high}]"

    words = f"Examples of the language itself that equal a zero-shot score on {title(part['target'].iloc[0])}, median "
    words += f"over {counted(part['language'].nunique() - 1, 'language')}: `none` {said(NONE)}"
    if len(runs):
        words += f"; mean of the intermediate runs {said(INTERMEDIATE)}; single runs from {said(runs.idxmin())} "
        words += f"(`{runs.idxmin()}`) to {said(runs.idxmax())} (`{runs.idxmax()}`)"
    return f"- {words}."


def _robustness(row: Any) -> str:
    what = "direct tuning" if row.series == DIRECT else "intermediate training (mean of the runs)"
    worst = _with_evidence(Change(row.worst_gain, row.worst_low, row.worst_high))
    deviation = _with_evidence(Change(row.sd_gain, row.sd_low, row.sd_high))
    return (
        f"- Robustness of {what}: {row.lose:.0f}% of {row.cells:.0f} cells lose (without any effect half would), "
        f"{row.lose_clearly:.0f}% with an interval below zero (2.5% would); the worst language "
        f"{worst}; the standard deviation over languages {deviation}."
    )
