"""Question 6: is one source language the best, in phase 2 and in phase 3? On TyDiQA, by exact match and by F1.

Phase 2. A comparison is of two intermediate runs of the same task. Its languages fall into groups by whether phase 2
has seen them: in both runs, in the first alone, in the second alone, in neither. To compare the languages that a run
has seen with those it has not says nothing, as they differ in difficulty; the effect of having been seen is estimated
with run and language held fixed (:func:`seen`).

Phase 3. A model scores best in its own training language, which therefore does not count. Two training languages are
compared on the languages that are neither's, and always with the source language, so that "is the source the best?"
is a comparison with a control. (Averages over all languages but a model's own would differ in their languages.)

Every number is a linear combination of scores on the same examples and seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from xstilts import results
from xstilts.inference import ENDS, LEVEL, Combination, Scores, difference, mean, mean_score, weighted
from xstilts.names import ALL, NONE, SOURCE, compared
from xstilts.results import MEAN, significant
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import tally, verdict_table, with_evidence
from xstilts.target_runs import evaluation_languages, target_runs, training_sets
from xstilts.tasks import TRANSLATED

TARGET = "tydiqa"
METRICS = {"exact_match": "exact match", "f1": "F1"}  # the headline first
# languages of a comparison, by whether phase 2 of the first and of the second run was trained in them
BOTH, ADDED, DROPPED, NEITHER = "in both", "in the first alone", "in the second alone", "in neither"
GROUPS = {(True, True): BOTH, (True, False): ADDED, (False, True): DROPPED, (False, False): NEITHER}
OVER_RUNS = "mean of runs"
JOINT = (ALL, TRANSLATED)  # training "languages" that are several

Names = tuple[str, ...]
Contrasts = dict[Any, Combination]


# --- what is compared --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """What is compared: everything that the study's settings say should be scored."""

    source: str
    languages: Names  # TyDiQA is scored in, source language first
    trained: dict[str, frozenset[str]]  # run -> languages of its phase 2
    tasks: dict[str, str]  # run -> what it is trained on
    tuned: dict[str, Names]  # run -> training languages of phase 3, where these are several


def design(study: Study, source: Source) -> Design:
    """The design of a study, from the names of its runs and the sets that train them."""
    trained, tasks = {}, {}
    for name in [name for name in [NONE, *compared(study.intermediate)] if name not in study.left_out]:
        run = study.intermediate_run(name)
        sets = [part for task in run.tasks for part in training_sets(name, study.task(task), run.languages, source)]
        trained[name] = frozenset(code for _, code in sets)
        tasks[name] = "+".join([*run.tasks, *["mlm"] * run.mlm])
    tuned: dict[str, list[str]] = {}
    for bundle, further in study.further.items():
        for tuning in target_runs(study, source, bundle):
            if tuning.target == TARGET and not tuning.examples and not tuning.own:
                home = tuning.training_language == study.source_language
                for name in further.runs:
                    tuned.setdefault(name, [SOURCE]).append(SOURCE if home else tuning.training_language)
    several = {name: tuple(dict.fromkeys(codes)) for name, codes in tuned.items() if len(set(codes)) > 1}
    languages = tuple(evaluation_languages(study, source, study.task(TARGET)))
    return Design(study.source_language, languages, trained, tasks, several)


def read(study: Study) -> pd.DataFrame:
    """Statistics of TyDiQA, whole training sets alone; the column intermediate holds the run and, but for the
    source language, the training language ("squad1 > qab"), as both are compared alike.
    UserError where nothing is finished."""
    stats = results.read_stats(study, [*study.bundles(), *study.further], targets=[TARGET])
    stats = stats[stats["examples"] == 0]
    training = stats["training_language"].replace(study.source_language, SOURCE)
    models = stats["intermediate"].where(training == SOURCE, stats["intermediate"] + " > " + training)
    stats = stats.assign(intermediate=models, training_language=SOURCE)
    # a further bundle may repeat what the study's own has
    return stats.drop_duplicates(["intermediate", "language", "seed", "metric", "id"], ignore_index=True)


# --- contrasts ---------------------------------------------------------------------------------------------


def average(run: str, codes: Sequence[str]) -> Combination:
    """The unweighted mean of a run's scores over languages."""
    return mean_score(run, TARGET, codes)


def estimates(scores: Scores, contrasts: Contrasts, keys: Names, simultaneous: bool = False) -> pd.DataFrame:
    """Value and 95% interval of each contrast, in points. Columns: ``keys`` (names for those of ``contrasts``), value,
    low, high, seeds (NaN and 0 where every seed lacks a part), p, significant (the table is a family).

    ``simultaneous``: intervals that cover all the true values at once, so that the largest of several may be picked
    after looking. Comparisons with a control (Dunnett 1955, doi:10.1080/01621459.1955.10501294): one multiple of each
    deviation, the quantile of the largest over the draws, which knows how the contrasts hang together, and no less than
    a single one's; significant is what they exclude zero for.
    """
    rows = [(*key, *scores.estimate(contrast)) for key, contrast in contrasts.items()]
    table = significant(pd.DataFrame(rows, columns=[*keys, "value", "low", "high", "seeds", "p"]))
    if simultaneous and len(table):
        drawn = scores.draws(list(contrasts.values()))
        single = norm.ppf(ENDS[1])
        spread = (table["high"] - table["low"]).to_numpy() / (2 * single)
        known = spread > 0
        sizes = np.abs(drawn[known, 1:] - drawn[known, :1]) / spread[known, None]
        largest = max(np.quantile(sizes.max(axis=0), LEVEL), single) if known.any() else single
        table = table.assign(low=table["value"] - largest * spread, high=table["value"] + largest * spread)
        apart = (table["low"] > 0) | (table["high"] < 0)
        table["significant"] = apart & (table["seeds"] > 1)
    return table


# --- phase 2 -----------------------------------------------------------------------------------------------


def languages(scores: Scores, plan: Design) -> pd.DataFrame:
    """Score of ``none`` and gain of every other run in each language and on average.

    Columns: intermediate, language (a code or ``MEAN``), quantity ("score" or "gain"), value, low, high, seeds, seen
    (whether phase 2 was trained in the language)."""
    contrasts = {
        (run, name): difference(average(run, codes), average(NONE, codes) if run != NONE else {})
        for run in plan.trained
        for name, codes in {**{code: (code,) for code in plan.languages}, MEAN: plan.languages}.items()
    }
    table = estimates(scores, contrasts, ("intermediate", "language"))
    table.insert(2, "quantity", np.where(table["intermediate"] == NONE, "score", "gain"))
    scored = table["quantity"] == "score"
    table.loc[scored, ["low", "high"]] = table[["low", "high"]].clip(0, 100)
    table.loc[scored, "p"] = np.nan
    average_gain = table["language"] == MEAN
    table = significant(table, [average_gain])
    return table.assign(seen=[row.language in plan.trained[row.intermediate] for row in table.itertuples()])


def comparisons(scores: Scores, plan: Design) -> pd.DataFrame:
    """Each run minus that of the same task in the source language, then minus ``none``: averaged over all languages
    and over those that phase 2 has seen in both runs, in the first alone, in the second alone, in neither.

    Columns: first, second, group (``MEAN``, ``BOTH``, …), value, low, high, seeds, languages, quantity ("gain")."""
    in_source = {plan.tasks[run]: run for run, codes in plan.trained.items() if codes == {plan.source}}
    pairs = [(run, in_source.get(task, run)) for run, task in plan.tasks.items()] + [(run, NONE) for run in plan.tasks]
    contrasts, counts = {}, []
    for run, other in [pair for pair in pairs if len(set(pair)) > 1]:
        split = [GROUPS[code in plan.trained[run], code in plan.trained[other]] for code in plan.languages]
        for group in (MEAN, *GROUPS.values()):
            codes = [code for code, name in zip(plan.languages, split, strict=True) if group in (MEAN, name)]
            if codes:
                contrasts[run, other, group] = difference(average(run, codes), average(other, codes))
                counts.append(len(codes))
    table = estimates(scores, contrasts, ("first", "second", "group"))
    return table.assign(languages=counts, quantity="gain")


def seen(scores: Scores, plan: Design) -> pd.DataFrame:
    """What a language gains when phase 2 is trained in it, run and language held fixed: the coefficient of "trained in
    it" in score = run + language + trained in it, by least squares over a task's runs in one language each.

    Columns: task, value, low, high, seeds, runs, quantity ("gain")."""
    contrasts, counts = {}, []
    single = [run for run, codes in plan.trained.items() if len(codes) == 1]
    for task in dict.fromkeys(plan.tasks[run] for run in single):
        runs = [run for run in single if plan.tasks[run] == task]
        trained = np.array([[code in plan.trained[run] for code in plan.languages] for run in runs], float)
        # by Frisch and Waugh the residual of the regressor on runs and languages: of a full table, double centring
        rest = trained - trained.mean(axis=0) - trained.mean(axis=1, keepdims=True) + trained.mean()
        total = (rest**2).sum()
        if total > 1e-9:  # else the runs are of one language, or none of theirs is scored
            weights = dict(zip(product(runs, plan.languages), (rest / total).ravel(), strict=True))
            contrasts[(task,)] = weighted(*[(weight, average(run, [code])) for (run, code), weight in weights.items()])
            counts.append(len(runs))
    return estimates(scores, contrasts, ("task",)).assign(runs=counts, quantity="gain")


# --- phase 3 -----------------------------------------------------------------------------------------------


def cells(plan: Design) -> Contrasts:
    """(run, training language, test language) -> score; where there are several runs, also their mean ``OVER_RUNS``
    for the training languages that all of them have."""
    scores: Contrasts = {}
    for run, training in [(run, training) for run, trainings in plan.tuned.items() for training in trainings]:
        model = run if training == SOURCE else f"{run} > {training}"  # as :func:`read` names it
        scores |= {(run, training, code): average(model, [code]) for code in plan.languages}
    everywhere = [training for run, training, _ in scores if all(training in codes for codes in plan.tuned.values())]
    for training in dict.fromkeys(everywhere if len(plan.tuned) > 1 else []):
        for code in plan.languages:
            scores[OVER_RUNS, training, code] = mean([scores[run, training, code] for run in plan.tuned])
    return scores


def matrix(scores: Scores, plan: Design) -> pd.DataFrame:
    """Scores by training language and test language. Columns: intermediate (a run, or ``OVER_RUNS``), training,
    language (a code), value, low, high, seeds, quantity ("score")."""
    table = estimates(scores, cells(plan), ("intermediate", "training", "language"))
    table[["low", "high"]] = table[["low", "high"]].clip(0, 100)
    return table.drop(columns=["p", "significant"]).assign(quantity="score")


def differences(scores: Contrasts, plan: Design) -> dict[str, Contrasts]:
    """Run (or ``OVER_RUNS``) -> (run, training language) -> its contrast with the source language, in the languages
    that are neither's. ``scores``: of :func:`cells`."""
    parts: dict[str, Contrasts] = {}
    for run, training in dict.fromkeys((run, training) for run, training, _ in scores):
        others = [code for code in plan.languages if code not in (training, plan.source)]
        if others and training not in (SOURCE, *JOINT):
            gains = [difference(scores[run, training, code], scores[run, SOURCE, code]) for code in others]
            parts.setdefault(run, {})[run, training] = mean(gains)
    return parts


def sources(scores: Scores, plan: Design) -> pd.DataFrame:
    """TyDiQA trained in another language minus trained in the source language, over the languages that are neither's;
    the intervals of a run hold together for all of its training languages.

    Columns: intermediate (a run, or ``OVER_RUNS``), training, quantity ("gain"), value, low, high, seeds, languages."""
    parts = differences(cells(plan), plan).values()
    tables = [estimates(scores, part, ("intermediate", "training"), simultaneous=True) for part in parts]
    table = pd.concat(tables or [estimates(scores, {}, ("intermediate", "training"))], ignore_index=True)
    table.insert(2, "quantity", "gain")
    return table.assign(languages=[len({*plan.languages} - {code, plan.source}) for code in table["training"]])


def factors(scores: Scores, plan: Design) -> pd.DataFrame:
    """The rest of the second factor, per run.

    Columns: intermediate, effect, value, low, high, seeds, quantity ("gain").

    Effects: "lead", of the source language over the others as training languages, their mean; "change of lead", the
    same minus that with ``none`` (the interaction of phase 2 with phase 3); "own", trained in the test language itself
    against the source; "all" (or "mt"), trained in every language against the source, over the other languages."""
    matrix = cells(plan)
    parts = differences(matrix, plan)
    contrasts: Contrasts = {(run, "lead"): weighted((-1, mean(list(part.values())))) for run, part in parts.items()}
    for run in [run for run in parts if run not in (NONE, OVER_RUNS)]:
        if {code for _, code in parts[run]} == {code for _, code in parts.get(NONE, ())}:
            contrasts[run, "change of lead"] = difference(contrasts[run, "lead"], contrasts[NONE, "lead"])
    away = [code for code in plan.languages if code != plan.source]
    for run, trainings in plan.tuned.items():
        effects = {"own": [(code, code) for code in away if code in trainings]}
        effects |= {joint: [(joint, code) for code in away] for joint in JOINT if joint in trainings}
        for effect, pairs in effects.items():
            gains = [difference(matrix[run, training, code], matrix[run, SOURCE, code]) for training, code in pairs]
            contrasts |= {(run, effect): mean(gains)} if gains else {}
    return estimates(scores, contrasts, ("intermediate", "effect")).assign(quantity="gain")


def tables(scores: Scores, plan: Design) -> dict[str, pd.DataFrame]:
    """Every table of one metric, by the name of its function."""
    return {make.__name__: make(scores, plan) for make in (languages, comparisons, seen, matrix, sources, factors)}


# --- the answer --------------------------------------------------------------------------------------------


def over_runs(sources: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`sources` the mean over runs or, of a single run, that one: the last."""
    return sources[sources["intermediate"].isin(sources["intermediate"].tail(1))]


def sentences(tables: dict[str, pd.DataFrame], plan: Design) -> list[str]:
    """What the study shows. ``tables``: of :func:`tables`, for the headline metric."""
    mean = tables["comparisons"].query("group == @MEAN and second != @NONE")
    several = mean["first"].map(lambda run: len(plan.trained[run]) > 1).astype(bool)
    questions = {
        f"Phase 2 in several languages instead of {plan.source}": mean[several],
        f"Phase 2 in one other language instead of {plan.source}": mean[~several],
        f"TyDiQA trained in another language than {plan.source}": over_runs(tables["sources"]),
    }
    text = ": better in {above} of {count} comparisons, worse in {below}."
    lines = [line for question, rows in questions.items() for line in tally(question + text, rows)]
    for row in tables["seen"].itertuples():
        lines.append(f"What a language gains by being among those of phase 2 (`{row.task}`): {with_evidence(row)}.")
    return lines


def verdicts(tables: dict[str, pd.DataFrame], plan: Design) -> pd.DataFrame:
    """The verdict table, on average over languages: comparisons of phase 2 and, of phase 3, training languages."""
    mean = tables["comparisons"].query("group == @MEAN")
    sources = over_runs(tables["sources"])
    sources = sources.assign(first="TyDiQA in " + sources["training"], second=f"TyDiQA in {plan.source}")
    return verdict_table(pd.concat([mean, sources]), {"first": "run", "second": "against"})
