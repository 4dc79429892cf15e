"""Question 6: is one source language the best, in phase 2 and in phase 3? On TyDiQA, by exact match and by F1.

Phase 2. A comparison is of two intermediate runs of the same task. Its languages fall into groups by whether phase 2
has seen them: in both runs, in the first alone, in the second alone, in neither. To compare the languages that a run
has seen with those it has not says nothing, as they differ in difficulty; the effect of having been seen is estimated
with run and language held fixed (:func:`seen`).

Phase 3. A model scores best in its own training language, which therefore does not count. Two training languages are
compared on the languages that are neither's, and always with the source language, so that "is the source the best?"
is a comparison with a control. (Averages over all languages but a model's own would differ in their languages.)

Every number is a linear contrast of scores on the same resampled examples and seeds.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from xstilts import results
from xstilts.io import read_record
from xstilts.results import MEAN, Replicates
from xstilts.runs import Run
from xstilts.settings import ALL, SOURCE
from xstilts.sources import Source
from xstilts.sources.cache import KeptSource
from xstilts.study import NONE, Study
from xstilts.target_runs import evaluation_languages, training_sets, tunings
from xstilts.tasks import TRANSLATED, get

TARGET = "tydiqa"
METRICS = {"exact_match": "exact match", "f1": "F1"}  # the headline first
# languages of a comparison, by which of the two runs was trained in them in phase 2
BOTH, ADDED, DROPPED, NEITHER = "in both", "in the first alone", "in the second alone", "in neither"
OVER_RUNS = "mean of runs"
JOINT = (ALL, TRANSLATED)  # training "languages" that are several

LEVEL = 0.95

Names = tuple[str, ...]
Contrasts = dict[tuple[str, ...], np.ndarray]  # each [seeds, 1 + resamples]: a value, then its deviations


# --- what is compared --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """What is compared: everything that the study's settings say should be scored."""

    source: str
    languages: Names  # TyDiQA is scored in, source language first
    trained: dict[str, frozenset[str]]  # run -> languages of its phase 2
    pairs: list[tuple[str, str]]  # (run, run of the same task in the source language alone)
    families: dict[str, Names]  # task -> runs of it in a single language, where these are several
    tuned: dict[str, Names]  # run -> training languages of phase 3, where these are several


def design(study: Study, source: KeptSource) -> Design:
    """The comparisons that follow from the names of the study's runs and the sets that train them."""
    trained, tasks = {}, {}
    for name in [name for name in study.intermediate if name not in study.left_out]:
        run = study.intermediate_run(name)
        sets = [part for task in run.tasks for part in training_sets(name, get(task), run.languages, source)]
        trained[name] = frozenset(code for _, code in sets)
        tasks[name] = "+".join([*run.tasks, *["mlm"] * run.mlm])
    single = [name for name in trained if len(trained[name]) == 1]
    in_source = {tasks[name]: name for name in single if trained[name] == {study.source_language}}
    pairs = [(name, in_source.get(task, name)) for name, task in tasks.items()]
    families = {tasks[run]: tuple(name for name in single if tasks[name] == tasks[run]) for run in single}
    tuned: dict[str, list[str]] = {}
    for bundle, codes in training_languages(study, source).items():
        for run in study.further[bundle].runs:
            tuned.setdefault(run, [SOURCE]).extend(codes)
    return Design(
        study.source_language,
        tuple(evaluation_languages(study, source, get(TARGET))),
        trained,
        [(run, other) for run, other in pairs if run != other],
        {task: runs for task, runs in families.items() if len({trained[run] for run in runs}) > 1},
        {run: tuple(dict.fromkeys(codes)) for run, codes in tuned.items() if len(set(codes)) > 1},
    )


def training_languages(study: Study, source: Source) -> dict[str, list[str]]:
    """Further bundle -> languages that it trains TyDiQA in, on whole sets, to be scored in every language."""
    languages: dict[str, list[str]] = {}
    for bundle in study.further:
        for tuning in tunings(study, source, bundle):
            if tuning.target == TARGET and not tuning.examples and not tuning.own:
                code = tuning.training_language
                languages.setdefault(bundle, []).append(SOURCE if code == study.source_language else code)
    return languages


def model(run: str, training: str = SOURCE) -> str:
    """Name of a run with TyDiQA trained in a language: ``squad1``, ``squad1 > qab``."""
    return run if training == SOURCE else f"{run} > {training}"


def read(study: Study, source: Source) -> pd.DataFrame:
    """Statistics of TyDiQA, whole training sets alone; the column intermediate holds the name of the :func:`model`,
    as trainings of phase 3 are compared like runs of phase 2. UserError where nothing is finished."""
    stats = results.read_stats(study, [*study.bundles(), *training_languages(study, source)], targets=[TARGET])
    stats = stats[stats["examples"] == 0]
    training = stats["training_language"].replace(study.source_language, SOURCE)
    models = stats["intermediate"].where(training == SOURCE, stats["intermediate"] + " > " + training)
    stats = stats.assign(intermediate=models, training_language=SOURCE)
    # a further bundle may repeat what the study's own has
    return stats.drop_duplicates(["intermediate", "language", "seed", "metric", "id"], ignore_index=True)


# --- contrasts ---------------------------------------------------------------------------------------------


def average(replicates: Replicates, run: str, codes: Names) -> np.ndarray:
    """The unweighted mean of a run's scores over languages; NaN in seeds that lack one."""
    weight = 1 / len(codes)
    return sum(np.column_stack([weight * part for part in replicates.of(run, TARGET, [code])]) for code in codes)


def difference(replicates: Replicates, run: str, other: str, codes: Names) -> np.ndarray:
    """The mean of a run over languages less that of another."""
    return average(replicates, run, codes) - average(replicates, other, codes)


def with_mean(contrasts: Contrasts) -> Contrasts:
    """Contrasts and, under ``OVER_RUNS``, their mean over several runs (the first of their keys), for all that each
    of the runs has."""
    runs = list(dict.fromkeys(run for run, *_ in contrasts))
    keys = [key for run, *key in contrasts if run == runs[0] and len(runs) > 1]
    shared = [key for key in keys if all((run, *key) in contrasts for run in runs)]
    return contrasts | {(OVER_RUNS, *key): np.mean([contrasts[run, *key] for run in runs], axis=0) for key in shared}


def estimates(replicates: Replicates, contrasts: Contrasts, keys: Names, simultaneous: bool = False) -> pd.DataFrame:
    """Value and 95% interval of each contrast, in points. Columns: ``keys`` (names for those of ``contrasts``), value,
    low, high, seeds (NaN and 0 where every seed lacks a part).

    ``simultaneous``: intervals that cover all the true values at once, so that the largest of several may be picked
    after looking. Comparisons with a control (Dunnett 1955, doi:10.1080/01621459.1955.10501294): one multiple of each
    deviation, the quantile of the largest over the resamples, which knows how the contrasts hang together, and no
    less than a single one's. In simulations of seven contrasts, five seeds, all were covered in 94 to 97 of 100
    cases; with two or three seeds that differ much more than examples do, in 89 or 90.
    """
    cells = [(contrast[:, 0], contrast[:, 1:]) for contrast in contrasts.values()]
    rows = [(*key, *replicates.interval(*cell, LEVEL)) for key, cell in zip(contrasts, cells, strict=True)]
    table = pd.DataFrame(rows, columns=[*keys, "value", "low", "high", "seeds"])
    if simultaneous:
        deviations = np.array([replicates.deviations(*cell)[1] for cell in cells])
        spread = deviations.std(axis=1)
        sizes = np.abs(deviations[spread > 0]) / spread[spread > 0, None]
        largest = np.quantile(sizes.max(axis=0), LEVEL) if len(sizes) else 0.0
        half = max(largest, norm.ppf((1 + LEVEL) / 2)) * spread
        table = table.assign(low=table["value"] - half, high=table["value"] + half)
    return table


# --- phase 2 -----------------------------------------------------------------------------------------------


def languages(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """Score of ``none`` and gain of every other run in each language and on average.

    Columns: intermediate, language (a code or ``MEAN``), quantity ("score" or "gain"), value, low, high, seeds, seen
    (whether phase 2 was trained in the language)."""
    contrasts: Contrasts = {}
    for run in plan.trained:
        for name, codes in {**{code: (code,) for code in plan.languages}, MEAN: plan.languages}.items():
            if run == NONE:
                contrasts[run, name, "score"] = average(replicates, run, codes)
            else:
                contrasts[run, name, "gain"] = difference(replicates, run, NONE, codes)
    table = estimates(replicates, contrasts, ("intermediate", "language", "quantity"))
    table.loc[table["quantity"] == "score", ["low", "high"]] = table[["low", "high"]].clip(0, 100)
    return table.assign(seen=[row.language in plan.trained[row.intermediate] for row in table.itertuples()])


def groups(plan: Design, run: str, other: str) -> dict[str, Names]:
    """Languages by which of two runs was trained in them; empty groups are left out."""
    names = {(True, True): BOTH, (True, False): ADDED, (False, True): DROPPED, (False, False): NEITHER}
    split = {code: names[code in plan.trained[run], code in plan.trained[other]] for code in plan.languages}
    parts = {name: tuple(code for code in split if split[code] == name) for name in names.values()}
    return {name: codes for name, codes in parts.items() if codes}


def comparisons(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """Each run minus that of the same task in the source language, then minus ``none``, averaged over all languages
    and over each of their :func:`groups`.

    Columns: first, second, group (``MEAN`` or as above), value, low, high, seeds, languages, quantity ("gain")."""
    codes = {
        (run, other, group): codes
        for run, other in [*plan.pairs, *((run, NONE) for run in plan.trained if run != NONE)]
        for group, codes in {MEAN: plan.languages, **groups(plan, run, other)}.items()
    }
    contrasts = {key: difference(replicates, *key[:2], members) for key, members in codes.items()}
    table = estimates(replicates, contrasts, ("first", "second", "group"))
    return table.assign(languages=[len(members) for members in codes.values()], quantity="gain")


def seen(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """What a language gains when phase 2 is trained in it, run and language held fixed: the coefficient of "trained in
    it" in score = run + language + trained in it, by least squares over a task's runs in one language each.

    Columns: task, value, low, high, seeds, runs, quantity ("gain")."""
    contrasts: Contrasts = {}
    for task, runs in plan.families.items():
        trained = pd.DataFrame({code: [code in plan.trained[run] for run in runs] for code in plan.languages}, runs)
        # by Frisch and Waugh the residual of the regressor on runs and languages: of a full table, double centring
        rest = trained.astype(float).sub(trained.mean()).sub(trained.mean(axis=1), axis=0) + trained.to_numpy().mean()
        total = (rest**2).to_numpy().sum()
        if total > 1e-9:  # else none of the languages is scored, or only one is
            weights = (rest / total).stack().items()
            contrasts[(task,)] = sum(weight * average(replicates, run, (code,)) for (run, code), weight in weights)
    table = estimates(replicates, contrasts, ("task",))
    return table.assign(runs=[len(plan.families[task]) for task in table["task"]], quantity="gain")


def amounts(study: Study, plan: Design) -> pd.DataFrame:
    """What each run of phase 2 was trained on. Columns: intermediate, languages (how many), examples, steps, passes
    over the examples: means over the seeds that have run, NaN where none has."""
    rows = []
    for run in [run for run in plan.trained if run != NONE]:
        phase = study.phase("intermediate", run)
        for seed in study.seed_numbers:
            record = read_record(Run("intermediate", seed, run).folder(study) / "training.json")
            examples = sum(record["examples"].values()) if record else np.nan
            steps = record["steps"] if record else np.nan
            passes = steps * phase.batch_size * phase.accumulate / examples
            rows.append((run, len(plan.trained[run]), examples, steps, passes))
    table = pd.DataFrame(rows, columns=["intermediate", "languages", "examples", "steps", "passes"])
    return table.groupby("intermediate", sort=False, as_index=False).mean()


# --- phase 3 -----------------------------------------------------------------------------------------------


def matrix(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """Scores by training language and test language. Columns: intermediate (a run, or ``OVER_RUNS``), training,
    language (a code), value, low, high, seeds, quantity ("score")."""
    contrasts = {
        (run, training, code): average(replicates, model(run, training), (code,))
        for run, trainings in plan.tuned.items()
        for training in trainings
        for code in plan.languages
    }
    table = estimates(replicates, with_mean(contrasts), ("intermediate", "training", "language"))
    table[["low", "high"]] = table[["low", "high"]].clip(0, 100)
    return table.assign(quantity="score")


def differences(replicates: Replicates, plan: Design) -> dict[str, Contrasts]:
    """Run (or ``OVER_RUNS``) -> (run, training language) -> its contrast with the source language, in the languages
    that are neither's."""
    contrasts: Contrasts = {}
    for run, trainings in plan.tuned.items():
        for code in trainings:
            others = tuple(other for other in plan.languages if other not in (code, plan.source))
            if others and code not in (SOURCE, *JOINT):
                contrasts[run, code] = difference(replicates, model(run, code), run, others)
    parts: dict[str, Contrasts] = {}
    for (run, code), contrast in with_mean(contrasts).items():
        parts.setdefault(run, {})[run, code] = contrast
    return parts


def sources(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """TyDiQA trained in another language minus trained in the source language, over the languages that are neither's;
    the intervals of a run hold together for all of its training languages.

    Columns: intermediate (a run, or ``OVER_RUNS``), training, quantity ("gain"), value, low, high, seeds, languages."""
    parts = differences(replicates, plan).values()
    tables = [estimates(replicates, part, ("intermediate", "training"), simultaneous=True) for part in parts]
    table = pd.concat(tables or [estimates(replicates, {}, ("intermediate", "training"))], ignore_index=True)
    table.insert(2, "quantity", "gain")
    return table.assign(languages=[len({*plan.languages} - {code, plan.source}) for code in table["training"]])


def factors(replicates: Replicates, plan: Design) -> pd.DataFrame:
    """The rest of the second factor, per run.

    Columns: intermediate, effect, value, low, high, seeds, quantity ("gain").

    Effects: "lead", of the source language over the others as training languages, their mean; "change of lead", the
    same minus that with ``none`` (the interaction of phase 2 with phase 3); "own", trained in the test language itself
    against the source; "all" (or "mt"), trained in every language against the source, over the other languages."""
    parts = differences(replicates, plan)
    codes = {run: {code for _, code in part} for run, part in parts.items()}
    leads = {run: -np.mean(list(part.values()), axis=0) for run, part in parts.items()}
    contrasts: Contrasts = {}
    for run, lead in leads.items():
        contrasts[run, "lead"] = lead
        if run not in (NONE, OVER_RUNS) and codes.get(NONE) == codes[run]:
            contrasts[run, "change of lead"] = lead - leads[NONE]
    away = tuple(code for code in plan.languages if code != plan.source)
    for run, trainings in plan.tuned.items():
        if own := [difference(replicates, model(run, code), run, (code,)) for code in away if code in trainings]:
            contrasts[run, "own"] = np.mean(own, axis=0)
        for joint in [code for code in trainings if code in JOINT]:
            contrasts[run, joint] = difference(replicates, model(run, joint), run, away)
    return estimates(replicates, contrasts, ("intermediate", "effect")).assign(quantity="gain")


TABLES = (languages, comparisons, seen, matrix, sources, factors)


def tables(replicates: Replicates, plan: Design) -> dict[str, pd.DataFrame]:
    """Every table of one metric, by the name of its function."""
    return {table.__name__: table(replicates, plan) for table in TABLES}
