"""Does a study behave like XTREME, and does it make sense? What Phang et al. report (abstract of arXiv 2005.13013; of
XNLI, recalled), and what is known of multilingual encoders, beside the same comparison here."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from xstilts.inference import Scores, difference, from_statistics, mean, mean_score
from xstilts.names import MLM, MULTI, NONE, STEPS, compared
from xstilts.published import shipped
from xstilts.results import rank_correlation, read_stats
from xstilts.runs import finished_controls
from xstilts.settings import Study
from xstilts.tasks import RETRIEVAL_KINDS

Row = tuple[str, str, str, float, float, float]
Languages = dict[str, list[str]]  # target -> its languages but the source
COLUMNS = ["finding", "there", "here", "value", "low", "high"]
# points: XLM-R scores the languages of AmericasNLI, which it has not seen, 5 above (Ebrahimi et al. 2022, recalled)
NEAR_CHANCE = 6


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
    away = _zero_shot(study, wanted)

    def average(runs: Sequence[str], targets: Sequence[str]) -> dict:
        return mean([mean_score(run, target, away[target]) for run in runs for target in targets if target in away])

    rows = []
    for finding, (reported, runs, others, targets) in comparisons(study).items():
        if len(runs) and len(others) and len(targets):
            estimate = scores.estimate(difference(average(runs, targets), average(others, targets)))
            rows.append(_row(finding, reported, *estimate[:4]))
    known = [code for code in distance[distance > 0].index if all(code in part for part in away.values())]
    drawn = scores.draws([mean([mean_score(NONE, target, [code]) for target in away]) for code in known])
    rows.append(_row("Zero-shot scores fall with distance", "−", *rank_correlation(distance[known], drawn)[:3]))
    return pd.DataFrame(rows, columns=COLUMNS).dropna(subset="value").reset_index(drop=True)


def expectations(
    scores: Scores, stats: pd.DataFrame, study: Study, wanted: pd.DataFrame, languages: pd.DataFrame
) -> pd.DataFrame:
    """What is known of pretrained encoders beside a study that starts from one: rows as :func:`findings` has, over the
    zero-shot languages; none in any other study.

    Of ``none`` the rank correlation (Spearman's) with published accuracies of Tatoeba, the points above chance in
    languages that XLM-R was not pretrained on ("0": ``NEAR_CHANCE`` or fewer) and in the others, and above a control
    with shuffled embeddings; then the gains, in languages that it was pretrained on, of runs on the set that trains a
    target, or on one with its labels. Levels have a sign with one seed, too.

    ``stats``: of ``results.read_stats``, which ``scores`` are of; ``languages``: the source's ``language_table()``.
    """
    if study.source == "micro" or not study.encoder.checkpoint:
        return pd.DataFrame(columns=COLUMNS)
    away, seen = _zero_shot(study, wanted), set(languages.index[languages["cc100_gib"].notna()])
    none = stats[stats["intermediate"] == NONE]
    ranked, shuffled = _published_ranking(none, study, away), _above_shuffled(none, study, away)
    levels, gains = _levels(scores, study, away, seen), _same_task(scores, study, away, seen)
    table = pd.DataFrame(chain(ranked, levels, shuffled, gains), columns=COLUMNS)
    return table.dropna(subset="value").reset_index(drop=True)


def _published_ranking(none: pd.DataFrame, study: Study, away: Languages) -> Iterator[Row]:
    printed = shipped().query("target == 'tatoeba' and intermediate == @NONE and language != 'mean'")
    printed = printed[[study.encoder.checkpoint.endswith(system) for system in printed["system"]]]
    for metric, part in printed.set_index("language").groupby("metric"):
        codes = [code for code in away.get("tatoeba", []) if code in part.index]
        tatoeba = from_statistics(none[none["target"] == "tatoeba"], metric)
        drawn = tatoeba.draws([mean_score(NONE, "tatoeba", [code]) for code in codes])
        yield _row("Tatoeba ranks languages as published", "+", *rank_correlation(part.loc[codes, "value"], drawn)[:3])


def _levels(scores: Scores, study: Study, away: Languages, seen: set[str]) -> Iterator[Row]:
    guessed = {target: study.task(target).chance for target in away if study.task(target).chance}
    for finding, reported, known in (
        ("Languages that were not pretrained on are near chance", "0", False),
        ("Languages that were pretrained on are above chance", "+", True),
    ):
        codes = {target: [code for code in away[target] if (code in seen) == known] for target in guessed}
        levels = [mean_score(NONE, target, part) for target, part in codes.items() if part]
        if levels:
            chance = np.mean([guessed[target] for target, part in codes.items() if part])
            row = _row(finding, reported, *np.subtract(scores.estimate(mean(levels))[:3], chance))
            near = reported == "0" and abs(row[3]) <= NEAR_CHANCE
            yield (finding, reported, "0", *row[3:]) if near else row


def _above_shuffled(none: pd.DataFrame, study: Study, away: Languages) -> Iterator[Row]:
    for control, seeds in finished_controls(study):
        shared = [target for target in away if target in control.targets]
        if seeds and shared and control.encoder.shuffled:
            shuffled = read_stats(control, runs=[NONE], targets=shared, seeds=seeds)
            both = from_statistics(pd.concat([none, shuffled.assign(intermediate=control.name)]), tasks=study.tasks)
            drops = [difference(*(mean_score(run, target, away[target]) for run in (NONE, control.name)))
                     for target in shared]  # fmt: skip
            yield _row("The encoder with shuffled embeddings is below", "+", *both.estimate(mean(drops))[:3])


def _same_task(scores: Scores, study: Study, away: Languages, seen: set[str]) -> Iterator[Row]:
    for target in away:
        task, trained = study.task(target), study.training_task(study.task(target)).name
        runs = [run for run in compared(study.intermediate) if run in study.tasks and task.kind not in RETRIEVAL_KINDS
                and (run == trained or (task.labels and study.task(run).labels == task.labels))]  # fmt: skip
        codes = [code for code in away[target] if code in seen]
        if runs and codes:
            gains = [difference(mean_score(run, target, codes), mean_score(NONE, target, codes)) for run in runs]
            yield _row(f"{', '.join(runs)}: the same task helps {task.title}", "+", *scores.estimate(mean(gains))[:4])


def _zero_shot(study: Study, wanted: pd.DataFrame) -> Languages:
    codes = {target: part["language"].unique() for target, part in wanted.groupby("target", sort=False)}
    return {target: [code for code in part if code != study.source_language] for target, part in codes.items()}


def sentence(table: pd.DataFrame, same_as: str = "As in the paper") -> str:
    """Which findings a table of :func:`findings` or :func:`expectations` shares with what is reported, which it has the
    other way, and which it does not show."""
    same = table["here"] == table["there"]
    opposite = (table["there"] + table["here"]).isin(["+−", "−+"])
    parts = {same_as: same, "The other way": opposite, "Not shown here": ~same & ~opposite}
    listed = {name: "; ".join(table.loc[rows, "finding"]) for name, rows in parts.items() if rows.any()}
    return " ".join(f"{name}: {text}." for name, text in listed.items())


def _row(finding: str, reported: str, value: float, low: float, high: float, seeds: float = 2) -> Row:
    """Of ``COLUMNS``. Of one seed a difference has no sign."""
    sign = "0" if low <= 0 <= high else "+" if value > 0 else "−"
    return finding, reported, "?" if seeds == 1 or not np.isfinite(low) else sign, value, low, high
