"""Linear contrasts of scores, each with an interval from the same resamples.

A contrast is what is added up: {(run, target, language): weight}. As all of them are taken on the same resampled
examples and the same seeds, a difference is a paired one, and several can be given intervals that hold together.


Source language against several, in phase 2 and in phase 3: TyDiQA, by exact match and by F1.

Phase 2. A comparison is of two intermediate runs of the same task, and its languages fall into groups by whether
phase 2 has seen them: in both runs, in the one alone, in the other alone, in neither. Comparing the languages that a
run has seen with those it has not says nothing, as they differ in difficulty; so the effect of having been seen is
estimated with run and language held fixed (:func:`seen`).

Phase 3. A model scores best in its own training language, which therefore does not count. Two training languages are
compared on the languages that are neither's, the same ones for both, and always with the source language, so that
"is the source the best one?" is a comparison with a control. (Averages over all languages but one's own would be over
other languages for each.)


What a study found on the source language, in words: computed from the tables of source_language.py alone.

Figures on the source language, from the tables of :mod:`.source_language`. A filled dot is a language that phase 2
was trained in, a hollow one a language that it was not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from xstilts import plots
from xstilts.io import read_record
from xstilts.plots import NEUTRAL, SEQUENTIAL, by_distance, score_dots
from xstilts.results import MEAN, Replicates, finished, read_stats
from xstilts.runs import Run
from xstilts.settings import ALL, SOURCE
from xstilts.sources import Source
from xstilts.sources.cache import KeptSource
from xstilts.study import NONE, Study
from xstilts.summaries import covers, with_interval
from xstilts.target_runs import Tuning, evaluation_languages, training_sets, tunings
from xstilts.tasks import TRANSLATED, get

Contrast = dict[tuple[str, str, str], float]
COLUMNS = ["value", "low", "high", "seeds"]


def average(run: str, target: str, languages: Sequence[str]) -> Contrast:
    """The unweighted mean of a run's scores over ``languages``."""
    return {(run, target, language): 1 / len(languages) for language in languages}


def weighted(parts: Sequence[tuple[float, Contrast]]) -> Contrast:
    """Sum of contrasts, each times its factor."""
    total: Contrast = {}
    for factor, contrast in parts:
        for cell, weight in contrast.items():
            total[cell] = total.get(cell, 0.0) + factor * weight
    return total


def minus(one: Contrast, other: Contrast) -> Contrast:
    """The first less the second."""
    return weighted([(1.0, one), (-1.0, other)])


def mean(contrasts: Sequence[Contrast]) -> Contrast:
    """The unweighted mean of contrasts."""
    return weighted([(1 / len(contrasts), contrast) for contrast in contrasts])


def estimates(found: Replicates, contrasts: Mapping[Any, Contrast], level: float = 0.95) -> pd.DataFrame:
    """Value and interval of each contrast, in percentage points. Index: the keys of ``contrasts``; columns value, low,
    high, seeds (NaN and 0 where every seed lacks a part)."""
    rows = [found.interval(*_sums(found, contrast), level) for contrast in contrasts.values()]
    return pd.DataFrame(rows, index=_index(contrasts), columns=COLUMNS)


def possible(table: pd.DataFrame) -> pd.DataFrame:
    """A table of estimates with the intervals of its scores, not of differences, inside what a score can be."""
    score = table["quantity"] == "score"
    table.loc[score, ["low", "high"]] = table.loc[score, ["low", "high"]].clip(0, 100)
    return table


def simultaneous(found: Replicates, contrasts: Mapping[Any, Contrast], level: float = 0.95) -> pd.DataFrame:
    """As :func:`estimates`, with intervals that cover all the true values at once, so that the largest of several may
    be picked after looking.

    Comparisons with a control (Dunnett 1955, doi:10.1080/01621459.1955.10501294): one multiple of each deviation, the
    quantile of the largest over the resamples, which knows how the contrasts hang together, and no less than a single
    one's. In simulations of seven contrasts, five seeds, all were covered in 94 to 97 of 100 cases; with two or three
    seeds that differ much more than examples do, in 89 or 90.
    """
    parts = [found.deviations(*_sums(found, contrast)) for contrast in contrasts.values()]
    spread = np.array([deviation.std() for _, deviation, _ in parts])
    sizes = [np.abs(deviation) / sd for (_, deviation, _), sd in zip(parts, spread, strict=True) if sd > 0]
    multiple = max(np.quantile(np.max(sizes, axis=0), level), norm.ppf((1 + level) / 2)) if sizes else 0.0
    rows = [
        (value, value - multiple * sd, value + multiple * sd, seeds)
        for (value, _, seeds), sd in zip(parts, spread, strict=True)
    ]
    return pd.DataFrame(rows, index=_index(contrasts), columns=COLUMNS)


def _sums(found: Replicates, contrast: Contrast) -> tuple[np.ndarray, np.ndarray]:
    """([seeds], [seeds, resamples]) of a contrast; NaN in seeds that lack a part of it."""
    total = np.zeros(len(found.seeds)), np.zeros((len(found.seeds), found.resamples))
    for (run, target, language), weight in contrast.items():
        for into, part in zip(total, found.of(run, target, [language]), strict=True):
            into += weight * part
    return total


def _index(contrasts: Mapping[Any, Contrast]) -> pd.Index:
    return pd.Index(list(contrasts), tupleize_cols=all(isinstance(key, tuple) for key in contrasts) and bool(contrasts))


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


GROUPS = {
    MEAN: "all languages",
    ADDED: "seen by the first run alone",
    BOTH: "seen by both",
    DROPPED: "seen by the second alone",
    NEITHER: "seen by neither",
}


def language_panels(table: pd.DataFrame, languages: pd.DataFrame, metric: str) -> Figure:
    """Score of ``none`` and gain of every run by language, nearest to the source first; one scale for all gains.

    ``table``: of ``source_language.by_language``; ``languages``: the source's ``language_table()``."""
    order, runs = by_distance(table, languages), list(table["intermediate"].unique())
    columns = min(4, len(runs))
    lines = -(-len(runs) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(7.2, 0.9 + 1.25 * lines), squeeze=False, sharex=True)
    limits = {quantity: _limits(part) for quantity, part in table.groupby("quantity")}
    for number, (ax, run) in enumerate(zip(grid.flat, runs, strict=False)):
        part = table[table["intermediate"] == run].set_index("language")
        seen_dots(part, ax, order)
        ax.set_title("none (score)" if run == NONE else run, loc="left", fontweight="bold", fontsize=7, pad=11)
        mean = f"mean {with_interval(part.loc[MEAN])}"
        ax.annotate(mean, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6, color="0.3")
        ax.set_ylim(*limits["score" if run == NONE else "gain"])
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.tick_params(axis="y", labelleft=number % columns == 0 or number == 1)
        if number % columns == 0 or number == 1:
            ax.set_ylabel(metric if run == NONE else f"gain in {metric}\nover none (points)", fontsize=7)
        ax.tick_params(axis="x", rotation=90, labelsize=6, labelbottom=number + columns >= len(runs))
    for ax in list(grid.flat)[len(runs) :]:
        ax.remove()
    look = {"linestyle": "", "marker": "o", "markersize": 4, "color": "0.15"}
    handles = [
        plt.Line2D([], [], label="phase 2 was trained in the language", **look),
        plt.Line2D([], [], label="it was not", **look | {"markerfacecolor": "white"}),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    figure.supxlabel("language, nearest to the source first", fontsize=8)
    single = table[table["language"].isin(order)]
    gain, scores = (single[single["quantity"] == quantity] for quantity in ("gain", "score"))
    what = f"Small multiples, a panel per run, language by language. Gain in {metric} over none in points"
    said = [plots.alternative_text(what, gain, ["intermediate", "language"], signed=True)]
    figure.set_label(
        " ".join([*said, plots.alternative_text("Score of none", scores[scores["intermediate"] == NONE], ["language"])])
    )
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Zero, and all but the few widest intervals."""
    there = table.dropna(subset="value")
    low, high = (min(0, there["low"].quantile(0.05)), max(1, there["high"].quantile(0.95))) if len(there) else (-1, 1)
    edge = 0.08 * (high - low)
    return low - edge, high + edge


def seen_dots(rows: pd.DataFrame, ax: Axes, order: list[str]) -> Axes:
    """One value per language with its interval. ``rows``: of one run, indexed by language."""
    rows, place = rows.reindex(order), np.arange(len(order))
    score = (rows["quantity"] == "score").all()
    colour = NEUTRAL if score else "0.15"
    if not score:
        ax.axhline(0, color="0.3", linewidth=0.6)
    ax.vlines(place, rows["low"], rows["high"], colors=colour, linewidth=0.9, zorder=2)
    faces = np.where(rows["seen"].eq(True), colour, "white")
    ax.scatter(place, rows["value"], s=14, facecolors=faces, edgecolors=colour, linewidths=0.9, zorder=3)
    for position in place[rows["value"].isna()]:
        look = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 5.5, "color": "0.4"}
        ax.text(position, 0.5, "missing", transform=ax.get_xaxis_transform(), **look)
    ax.set_xticks(place, order)
    ax.set_xlim(-0.6, len(order) - 0.4)
    ax.grid(axis="y")
    return ax


def comparison_dots(table: pd.DataFrame, plan: Design, metric: str) -> Figure:
    """Each run minus that of the same task in the source language, by whether phase 2 has seen the languages.

    ``table``: of ``source_language.compared``; without such pairs, each run minus ``none``."""
    table = table[table["second"] != NONE] if plan.pairs else table
    table = table.assign(
        pair=[f"{one} − {other}" for one, other in zip(table["first"], table["second"], strict=True)],
        group=table["group"].map(GROUPS),
    )
    table["group"] = pd.Categorical(table["group"], list(GROUPS.values()))
    return _dots(table.sort_values("group", kind="stable"), "pair", "group", f"difference in {metric} (points)")


def source_dots(table: pd.DataFrame, languages: pd.DataFrame, metric: str, plan: Design) -> Figure:
    """Training languages of phase 3 against the source language. ``table``: of ``against_source``."""
    names = languages["name"].reindex(table["training"])
    shown = table.assign(training=[f"{name} ({code})" for code, name in names.items()])
    order = [f"{languages.loc[code, 'name']} ({code})" for code in _by_distance(table["training"].unique(), languages)]
    shown = shown.sort_values("intermediate", key=lambda run: run != OVER_RUNS, kind="stable")
    what = f"{metric}: trained in it minus trained in {plan.source}, on the languages that are neither's (points)"
    return _dots(shown, "training", "intermediate", what, order)


def _by_distance(codes: Iterable[str], languages: pd.DataFrame) -> list[str]:
    known = [code for code in languages.index if code in set(codes)]
    return [*known, *[code for code in codes if code not in known]]


def _dots(table: pd.DataFrame, row: str, series: str, label: str, order: list[str] | None = None) -> Figure:
    rows, names = table[row].nunique(), table[series].nunique()
    figure, ax = plt.subplots(figsize=(6.4, 1.1 + (0.14 + 0.09 * names) * rows))
    score_dots(table, ax, row, series, order or list(dict.fromkeys(table[row])))
    ax.set_xlabel(label)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=names if names <= 4 else 3)
    figure.set_label(plots.alternative_text(f"Dots with 95% intervals: {label}", table, [row, series], signed=True))
    return figure


def matrix_panels(table: pd.DataFrame, languages: pd.DataFrame, metric: str, plan: Design) -> Figure:
    """Score by training language (rows) and test language (columns), a panel per run; outlined: the same language.

    ``table``: of ``source_language.matrix``."""
    runs = list(table["intermediate"].unique())
    tests, trained = _by_distance(plan.languages, languages), list(table["training"].unique())
    trained = [SOURCE, *_by_distance([code for code in trained if code != SOURCE], languages)]
    norm = Normalize(np.floor(table["value"].min()), np.ceil(table["value"].max()))
    width, height = 0.9 + (0.25 * len(tests) + 0.15) * min(2, len(runs)) * 1.25, 0.3 + 0.21 * len(trained)
    lines = -(-len(runs) // 2)
    figure, grid = plt.subplots(lines, min(2, len(runs)), figsize=(width, 0.6 + (height + 0.2) * lines), squeeze=False)
    for number, (ax, run) in enumerate(zip(grid.flat, runs, strict=False)):
        cells = table[table["intermediate"] == run].pivot(index="training", columns="language", values="value")
        cells = cells.reindex(index=trained, columns=tests)
        ax.pcolormesh(cells, cmap=SEQUENTIAL, norm=norm, edgecolors="white", linewidth=0.6)
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            text = f"{value:.0f}" if np.isfinite(value) else "–"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6)
            if tests[column] == (plan.source if trained[row] == SOURCE else trained[row]):
                ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=0.9))
        ax.invert_yaxis()
        ax.set_xticks(np.arange(len(tests)) + 0.5, tests, rotation=90)
        shown = [plan.source if code == SOURCE else code for code in trained]
        ax.set_yticks(np.arange(len(trained)) + 0.5, shown if number % 2 == 0 else [])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(run, loc="left", fontweight="bold", fontsize=7)
    for ax in list(grid.flat)[len(runs) :]:
        ax.remove()
    figure.supxlabel(f"test language ({metric})", fontsize=8)
    figure.supylabel("training language of phase 3", fontsize=8)
    what = f"Heatmap of {metric} by training language (rows) and test language (columns), a panel per run"
    figure.set_label(plots.alternative_text(what, table, ["intermediate", "training", "language"]))
    return figure
