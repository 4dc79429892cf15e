"""Source language against several, in phase 2 and in phase 3: TyDiQA, by exact match and by F1.

Phase 2. A comparison is of two intermediate runs of the same task, and its languages fall into groups by whether
phase 2 has seen them: in both runs, in the one alone, in the other alone, in neither. Comparing the languages that a
run has seen with those it has not says nothing, as they differ in difficulty; so the effect of having been seen is
estimated with run and language held fixed (:func:`seen`).

Phase 3. A model scores best in its own training language, which therefore does not count. Two training languages are
compared on the languages that are neither's, the same ones for both, and always with the source language, so that
"is the source the best one?" is a comparison with a control. (Averages over all languages but one's own would be over
other languages for each.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..results import MEAN, Replicates, finished, read_stats
from ..runs import Run
from ..settings import ALL, SOURCE
from ..sources import Source
from ..sources.kept import KeptSource
from ..study import NONE, Study
from ..tasks import TRANSLATED, get
from ..tunings import Tuning, evaluation_languages, training_sets, tunings
from ..writing import read_record
from .contrasts import Contrast, average, estimates, mean, minus, possible, simultaneous

TARGET = "tydiqa"
METRICS = {"exact_match": "exact match", "f1": "F1"}  # the headline first
# languages of a comparison, by which of the two runs was trained in them in phase 2
BOTH, ADDED, DROPPED, NEITHER = "in both", "in the first alone", "in the second alone", "in neither"
OVER_RUNS = "mean of runs"
JOINT = {ALL: "all languages", TRANSLATED: "all translated languages"}  # training languages that are several


@dataclass(frozen=True)
class Design:
    """What is compared: everything that the study's settings say should be there."""

    source: str
    languages: tuple[str, ...]  # TyDiQA is scored in, source language first
    trained: dict[str, frozenset[str]]  # run -> languages of its phase 2
    examples: dict[str, int]  # run -> on how many examples of them, all of its languages together
    pairs: tuple[tuple[str, str], ...]  # (run, run of the same task in the source language alone)
    families: dict[str, tuple[str, ...]]  # task -> runs of it in one language, where there are several
    tuned: dict[str, tuple[str, ...]]  # run -> training languages of phase 3, where there are several


def design(study: Study, source: KeptSource) -> Design:
    """Who is compared with whom, from the names of the study's runs and the sets that train them."""
    languages = tuple(evaluation_languages(study, source, get(TARGET)))
    names = [name for name in study.intermediate if name not in study.left_out]
    runs = {name: study.intermediate_run(name) for name in names}
    sets = {
        name: {task: training_sets(name, get(task), run.languages, source) for task in run.tasks}
        for name, run in runs.items()
    }
    trained = {name: frozenset(code for part in parts.values() for _, code in part) for name, parts in sets.items()}
    examples = {
        name: sum(_drawn(study, source, name, task, part) for task, part in parts.items())
        for name, parts in sets.items()
    }
    tasks = {name: "+".join([*run.tasks, *["mlm"] * run.mlm]) for name, run in runs.items() if name != NONE}
    alone = [name for name in tasks if len(trained[name]) == 1]
    home = {tasks[name]: name for name in alone if trained[name] == {study.source_language}}
    families = {task: tuple(name for name in alone if tasks[name] == task) for task in (tasks[name] for name in alone)}
    return Design(
        study.source_language,
        languages,
        trained,
        examples,
        tuple((name, home[task]) for name, task in tasks.items() if home.get(task, name) != name),
        {task: group for task, group in families.items() if len({trained[name] for name in group}) > 1},
        _tuned(study, source),
    )


def _drawn(study: Study, source: KeptSource, run: str, task: str, sets: list[tuple[str, str]]) -> int:
    """How many examples of a task a run draws from its sets, as many from each."""
    sizes = [source.size(get(task), *part) for part in sets]
    most = study.phase("intermediate", run).examples
    return sum(min(size, most // len(sizes)) for size in sizes) if most else sum(sizes)


def _tuned(study: Study, source: Source) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for bundle, further in study.further.items():
        here = [one for one in tunings(study, source, bundle) if _counts(one)]
        for run in further.runs if here else ():
            found.setdefault(run, [SOURCE]).extend(_training(one.training_language, study) for one in here)
    return {run: tuple(dict.fromkeys(codes)) for run, codes in found.items() if len(set(codes)) > 1}


def _counts(tuning: Tuning) -> bool:
    """Trainings on the whole set of TyDiQA that are scored in every language."""
    return tuning.target == TARGET and not tuning.examples and not tuning.own


def _training(language: str, study: Study) -> str:
    return SOURCE if language == study.source_language else language


def model(run: str, training: str = SOURCE) -> str:
    """Name of a run with TyDiQA trained in a language: ``squad1``, ``squad1 > qab``."""
    return run if training == SOURCE else f"{run} > {training}"


def read(study: Study, source: Source) -> pd.DataFrame:
    """Statistics of TyDiQA, whole training sets alone; the column intermediate holds the name of the :func:`model`,
    as trainings of phase 3 are compared like runs of phase 2. UserError where nothing is finished."""
    stats = read_stats(study, [*study.bundles(), *_bundles(study, source)], targets=[TARGET])
    stats = stats[stats["examples"] == 0]
    training = stats["training_language"].map(lambda language: _training(language, study))
    names = stats[["intermediate"]].assign(training=training).drop_duplicates()
    labels = {(row.intermediate, row.training): model(row.intermediate, row.training) for row in names.itertuples()}
    label = [labels[key] for key in zip(stats["intermediate"], training, strict=True)]
    stats = stats.assign(intermediate=label, training_language=SOURCE)
    # a further bundle may repeat what the study's own has
    return stats.drop_duplicates(["intermediate", "language", "seed", "metric", "id"], ignore_index=True)


def _bundles(study: Study, source: Source) -> list[str]:
    return [name for name in study.further if any(map(_counts, tunings(study, source, name)))]


# ---- phase 2


def by_language(found: Replicates, plan: Design) -> pd.DataFrame:
    """Score of ``none`` and gain of every other run in each language and on average.

    Columns: intermediate, language (a code or ``MEAN``), quantity ("score" or "gain"), value, low, high, seeds, seen
    (whether phase 2 was trained in the language)."""
    contrasts = {}
    for run in plan.trained:
        for language, codes in {**{code: [code] for code in plan.languages}, MEAN: plan.languages}.items():
            base, here = average(NONE, TARGET, codes), average(run, TARGET, codes)
            quantity, contrast = ("score", here) if run == NONE else ("gain", minus(here, base))
            contrasts[run, language, quantity] = contrast
    table = possible(_named(estimates(found, contrasts), ["intermediate", "language", "quantity"]))
    return table.assign(seen=[row.language in plan.trained[row.intermediate] for row in table.itertuples()])


def groups(plan: Design, one: str, other: str) -> dict[str, tuple[str, ...]]:
    """Languages by which of two runs was trained in them; empty groups are left out."""
    first, second = plan.trained[one], plan.trained[other]
    names = {(True, True): BOTH, (True, False): ADDED, (False, True): DROPPED, (False, False): NEITHER}
    split = {code: names[code in first, code in second] for code in plan.languages}
    found = {name: tuple(code for code in plan.languages if split[code] == name) for name in names.values()}
    return {name: codes for name, codes in found.items() if codes}


def compared(found: Replicates, plan: Design, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """First run minus second, averaged over all languages and over each of their :func:`groups`.

    Columns: first, second, group (``MEAN`` or as above), quantity ("gain"), value, low, high, seeds, languages."""
    contrasts, count = {}, {}
    for one, other in pairs:
        for group, codes in {MEAN: plan.languages, **groups(plan, one, other)}.items():
            contrasts[one, other, group] = minus(average(one, TARGET, codes), average(other, TARGET, codes))
            count[one, other, group] = len(codes)
    table = estimates(found, contrasts).assign(languages=pd.Series(count, dtype=int), quantity="gain")
    return _named(table, ["first", "second", "group"])


def seen(found: Replicates, plan: Design) -> pd.DataFrame:
    """What a language gains when phase 2 is trained in it, run and language held fixed: the coefficient of "trained in
    it" in score = run + language + trained in it, by least squares over a task's runs in one language each.

    Columns: task, quantity ("gain"), value, low, high, seeds, runs."""
    contrasts: dict[str, Contrast] = {}
    for task, runs in plan.families.items():
        there = np.array([[code in plan.trained[run] for code in plan.languages] for run in runs], float)
        # by Frisch and Waugh the residual of the regressor on runs and languages: of a full table, double centring
        rest = there - there.mean(axis=0) - there.mean(axis=1, keepdims=True) + there.mean()
        if not (total := (rest**2).sum()) > 1e-9:  # none of the languages is scored, or only one is there
            continue
        cells = np.ndenumerate(rest / total)
        contrasts[task] = {(runs[row], TARGET, plan.languages[column]): weight for (row, column), weight in cells}
    count = {task: len(plan.families[task]) for task in contrasts}
    table = estimates(found, contrasts).assign(runs=pd.Series(count, dtype=int), quantity="gain")
    return _named(table, ["task"])


def amounts(study: Study, plan: Design) -> pd.DataFrame:
    """What each run of phase 2 was trained on. Columns: intermediate, languages (how many), examples, steps, passes
    over the examples: means over the seeds that have run, NaN where none has."""
    rows = []
    for name in [run for run in plan.trained if run != NONE]:
        folders = [Run("intermediate", seed, name).folder(study) for seed in study.seed_numbers]
        records = [record for folder in folders if (record := read_record(folder / "training.json"))]
        examples = np.mean([sum(record["examples"].values()) for record in records]) if records else np.nan
        steps = np.mean([record["steps"] for record in records]) if records else np.nan
        phase = study.phase("intermediate", name)
        passes = steps * phase.batch_size * phase.accumulate / examples
        rows.append((name, len(plan.trained[name]), examples, steps, passes))
    return pd.DataFrame(rows, columns=["intermediate", "languages", "examples", "steps", "passes"])


# ---- phase 3


def matrix(found: Replicates, plan: Design) -> pd.DataFrame:
    """Scores by training language and test language. Columns: intermediate (a run, or ``OVER_RUNS``), training,
    language (a code), quantity ("score"), value, low, high, seeds."""
    contrasts = {
        (run, training, code): average(model(run, training), TARGET, [code])
        for run, trainings in plan.tuned.items()
        for training in trainings
        for code in plan.languages
    }
    for training in _shared(plan):
        for code in plan.languages:
            contrasts[OVER_RUNS, training, code] = mean([contrasts[run, training, code] for run in plan.tuned])
    table = possible(estimates(found, contrasts).assign(quantity="score"))
    return _named(table, ["intermediate", "training", "language"])


def _shared(plan: Design) -> list[str]:
    """Training languages that every run has; none where there is one run or none."""
    parts = list(plan.tuned.values())
    return [code for code in parts[0] if all(code in part for part in parts)] if len(parts) > 1 else []


def others(plan: Design, training: str) -> tuple[str, ...]:
    """Test languages in which a training language is compared with the source: those that are neither's."""
    return tuple(code for code in plan.languages if code not in (training, plan.source))


def against_source(found: Replicates, plan: Design) -> pd.DataFrame:
    """TyDiQA trained in another language minus trained in the source language, over the languages that are neither's;
    the intervals of a run hold together for all of its training languages.

    Columns: intermediate (a run, or ``OVER_RUNS``), training, quantity ("gain"), value, low, high, seeds, languages."""
    tables = []
    for run, contrasts in _differences(plan).items():
        table = _named(simultaneous(found, contrasts).assign(quantity="gain"), ["training"])
        tables.append(table.assign(intermediate=run, languages=[len(others(plan, code)) for code in table["training"]]))
    head = ["intermediate", "training", "quantity", "value", "low", "high", "seeds", "languages"]
    return pd.concat(tables, ignore_index=True)[head] if tables else pd.DataFrame(columns=head)


def _differences(plan: Design) -> dict[str, dict[str, Contrast]]:
    """Run (or ``OVER_RUNS``) -> training language -> its contrast with the source language."""
    parts = {
        run: {
            code: minus(average(model(run, code), TARGET, codes), average(model(run), TARGET, codes))
            for code in trainings
            if code not in (SOURCE, *JOINT) and (codes := others(plan, code))
        }
        for run, trainings in plan.tuned.items()
    }
    shared = [code for code in _shared(plan) if all(code in part for part in parts.values())]
    if shared:
        parts[OVER_RUNS] = {code: mean([part[code] for part in parts.values()]) for code in shared}
    return {run: part for run, part in parts.items() if part}


def factors(found: Replicates, plan: Design) -> pd.DataFrame:
    """The rest of the second factor, per run.

    Columns: intermediate, effect, quantity ("gain"), value, low, high, seeds.

    Effects: "lead", of the source language over the others as training languages, their mean; "change of lead", the
    same minus that with ``none`` (the interaction of phase 2 with phase 3); "own", trained in the test language itself
    against the source; "all" (or "mt"), trained in every language against the source, over the other languages."""
    differences, contrasts = _differences(plan), {}
    leads = {run: minus({}, mean(list(part.values()))) for run, part in differences.items()}
    for run, lead in leads.items():
        contrasts[run, "lead"] = lead
        same = set(differences.get(NONE, ())) == set(differences[run])
        if run not in (NONE, OVER_RUNS) and same:
            contrasts[run, "change of lead"] = minus(lead, leads[NONE])
    for run, trainings in plan.tuned.items():
        away = [code for code in plan.languages if code != plan.source]
        own = [code for code in away if code in trainings]
        if own:
            parts = [minus(average(model(run, code), TARGET, [code]), average(run, TARGET, [code])) for code in own]
            contrasts[run, "own"] = mean(parts)
        for joint in [code for code in trainings if code in JOINT]:
            contrasts[run, joint] = minus(average(model(run, joint), TARGET, away), average(run, TARGET, away))
    table = estimates(found, contrasts).assign(quantity="gain")
    return _named(table, ["intermediate", "effect"])


def tables(found: Replicates, plan: Design) -> dict[str, pd.DataFrame]:
    """Every table of one metric: languages, comparisons (with the source language and with ``none``), seen, matrix,
    sources, factors."""
    to_none = [(run, NONE) for run in plan.trained if run != NONE]
    return {
        "languages": by_language(found, plan),
        "comparisons": compared(found, plan, [*plan.pairs, *to_none]),
        "seen": seen(found, plan),
        "matrix": matrix(found, plan),
        "sources": against_source(found, plan),
        "factors": factors(found, plan),
    }


def missing(study: Study, source: Source, plan: Design) -> list[str]:
    """Runs of phase 3 that are not done, as messages name them, with their seeds."""
    names, found = [*study.bundles(), *_bundles(study, source)], []
    done = set(finished(study, names))
    for run in plan.trained:
        for name in [name for name in names if name in study.bundles_of(run)]:
            gaps = [seed for seed in study.seed_numbers if Run("targets", seed, run, name) not in done]
            if gaps:
                found.append(f"targets/{run}/{name} (seed {', '.join(map(str, gaps))})")
    return found


def _named(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The keys of the contrasts as columns of these names."""
    keys = pd.DataFrame(table.index.to_list(), columns=names, dtype=object)
    return pd.concat([keys, table.reset_index(drop=True)], axis=1)
