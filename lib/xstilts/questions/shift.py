"""Domain shift between phase 2 and the target, made and measured, and non-source against source phase 2.

The shift is made by a crossed design. Two intermediate tasks are about two topics that share nothing, and a test item
is about one of them, or both (then it is left out). In-domain, an item is scored with the phase 2 of its own topic;
out-of-domain the same item with that of the other topic. Both sides so cover the same items, on every resample too:
how hard an item is cancels out of their difference, the drop under shift, and every interval is a paired one.

Where the topic of an item is not known the shift is measured (:mod:`.domains`), and runs stand for their domains: the
drop is the score after phase 2 in the target's own domain, its training set, minus that after another domain.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..results import ZERO_SHOT, Replicates, resample
from ..sources import Source
from ..sources.kept import KeptSource
from ..study import NONE, Study, parse_run
from ..tasks import Task, get
from . import domains
from .resources import EQUAL, resources

IN, OUT, DROP = "in-domain", "out-of-domain", "drop"
AGAINST = "against source"  # phase 2 in another language minus the same in the source language
WORST, UNTRAINED = "worst language", "untrained languages"
LESS, MORE, NEARER, FARTHER = "low-resource half", "high-resource half", "nearer half", "farther half"
APART = {f"{one} minus {other}": (one, other) for one, other in ((LESS, MORE), (FARTHER, NEARER))}  # of the halves
SOURCE = "source"


def trained_in(run: str) -> tuple[str, str]:
    """(task, language) of a run of phase 2: ``piqa@all=3000`` is ("piqa", "all=3000"), ``piqa`` ("piqa", "source")."""
    parsed = parse_run(run)
    task, language = "+".join([*parsed.tasks, *["mlm"] * parsed.mlm]), ",".join(parsed.languages) or SOURCE
    return task, language + (f"={parsed.examples}" if parsed.examples else "")


def cells(runs: Iterable[str]) -> dict[tuple[str, str], str]:
    """(side, language of phase 2) -> run, ``none`` left out; a side is a task, in-domain or out-of-domain."""
    return {trained_in(run): run for run in runs if run != NONE}


def run_topics(study: Study, source: Source) -> dict[str, str]:
    """Run -> its topic, for runs whose one task has one; {} where the source does not know what its sets are about."""
    topics: Any = getattr(source, "topics", None)
    found: dict[str, str] = {}
    for run in study.intermediate if topics else ():
        tasks = study.intermediate_run(run).tasks
        known = set(topics(get(tasks[0]), "train").values()) if len(tasks) == 1 else set()
        if len(known) == 1 and "" not in known:
            found[run] = known.pop()
    return found


def crossed(stats: pd.DataFrame, items: dict[str, str], runs: dict[str, str]) -> pd.DataFrame:
    """Statistics relabelled: ``intermediate`` becomes (side, language of phase 2) as ``in-domain@qab``; ``none`` stays.

    ``items``: test item -> topic; ``runs``: run -> topic. Items of no run's topic are left out, and so is a language
    of phase 2 in seeds that lack one of its topics: its sides would cover other items.
    """
    topics = set(runs.values())
    stats = stats[stats["id"].map(items).isin(topics) & stats["intermediate"].isin([NONE, *runs])]
    base, tuned = stats[stats["intermediate"] == NONE], stats[stats["intermediate"] != NONE]
    told = tuned["intermediate"].map(runs)
    language = tuned["intermediate"].map({run: trained_in(run)[1] for run in runs})
    whole = told.groupby([tuned["examples"], tuned["seed"], language]).transform("nunique") == len(topics)
    side = np.where(tuned["id"].map(items) == told, IN, OUT)
    return pd.concat([base, tuned.assign(intermediate=side + "@" + language)[whole]], ignore_index=True)


def language_groups(study: Study, source: Source, codes: list[str]) -> dict[str, list[str]]:
    """Name -> languages: each alone, all but the source, the half with less and the half with more pretraining text
    (of an odd number the latter has one more) or, where all have as much, the nearer and the farther half; and those
    in which no phase 2 in a single language was."""
    away = [code for code in codes if code != study.source_language]
    amount = resources(study, source)[0].reindex(away).fillna(0)
    names, order = (LESS, MORE), amount.sort_values(kind="stable").index
    if len(away) and amount.max() <= EQUAL * amount.min():
        distance = source.language_table()["distance"].reindex(away)
        names, order = (FARTHER, NEARER), distance.sort_values(ascending=False, kind="stable").index
    half = len(away) // 2
    halves = {name: part for name, part in zip(names, (list(order[:half]), list(order[half:])), strict=True) if part}
    used = {code for run in study.intermediate for code in study.intermediate_run(run).languages}
    apart = [code for code in away if code not in used]
    return {ZERO_SHOT: away} | halves | ({UNTRAINED: apart} if apart != away else {}) | {code: [code] for code in codes}


def estimates(
    stats: pd.DataFrame, target: str, runs: dict[tuple[str, str], str], groups: dict[str, list[str]],
    rng: np.random.Generator, home: str = "", level: float = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """Every quantity with its interval, in each group of languages, for each number of training examples.

    ``runs``: as :func:`cells` gives them, those that should be there; ``home``: the task that is the target's own
    domain, where sides are tasks. Columns: examples, side (a task, in-domain, out-of-domain or drop), trained_in,
    quantity ("score"; "gain" over none; "drop", in-domain minus out-of-domain; ``AGAINST``), group, value, low, high,
    seeds, languages. ``none`` has its own side and only scores. The groups ``APART`` are of the difference between
    halves. The group ``WORST`` is the lowest score over languages, on every resample anew: as the lowest of several it
    varies downwards more than upwards. NaN and 0 seeds: missing.
    """
    halves = {name: pair for name, pair in APART.items() if set(pair) <= set(groups)}
    rows = []
    for examples, part in stats[stats["target"] == target].groupby("examples"):
        found = resample(part, rng)
        for side, language, quantity, terms in _terms(runs, home):
            of = _combination(found, target, terms)
            for group, codes in groups.items():
                value, low, high, seeds = found.interval(*of(codes), level)  # type: ignore[call-arg]  # a pair and the level
                ends = np.clip([low, high], 0, 100) if quantity == "score" else (low, high)  # what a score can be
                rows.append((examples, side, language, quantity, group, value, *ends, seeds, len(codes)))
            for group, pair in halves.items():
                (one, spread), (other, beside) = (of(groups[name]) for name in pair)
                apart = found.interval(one - other, spread - beside, level)
                rows.append(
                    (examples, side, language, quantity, group, *apart, sum(len(groups[name]) for name in pair))
                )
            if quantity == "score":
                each = [found.deviations(*of([code])) for code in groups[ZERO_SHOT]]
                rows.append((examples, side, language, quantity, WORST, *_lowest(each, level), 1))
    head = ["examples", "side", "trained_in", "quantity", "group", "value", "low", "high", "seeds", "languages"]
    return pd.DataFrame(rows, columns=head)


def _terms(runs: dict[tuple[str, str], str], home: str) -> list[tuple[str, str, str, list[tuple[float, str]]]]:
    """(side, trained_in, quantity, what is added up): one row per quantity."""
    rows: list[tuple[str, str, str, list[tuple[float, str]]]] = [(NONE, NONE, "score", [(1, NONE)])]
    for (side, language), run in runs.items():
        rows += [(side, language, "score", [(1, run)]), (side, language, "gain", [(1, run), (-1, NONE)])]
        if base := _base(runs, side, language):
            rows.append((side, language, AGAINST, [(1, run), (-1, base)]))
        if side != home and (home, language) in runs:
            rows.append((side, language, DROP, [(1, runs[home, language]), (-1, run)]))
    for language in [language for side, language in runs if side == IN]:
        drop: list[tuple[float, str]] = [(1, runs[IN, language]), (-1, runs[OUT, language])]
        rows.append((DROP, language, DROP, drop))
        if (base := _base(runs, IN, language)) and (beyond := _base(runs, OUT, language)):
            rows.append((DROP, language, AGAINST, [*drop, (-1, base), (1, beyond)]))
    return rows


def _base(runs: dict[tuple[str, str], str], side: str, language: str) -> str | None:
    """The run in the source language that one in another is compared with: of as many examples where there is one."""
    name, _, examples = language.partition("=")
    same = runs.get((side, f"{SOURCE}={examples}")) if examples else None
    return None if name == SOURCE else same or runs.get((side, SOURCE))


def _combination(found: Replicates, target: str, terms: list[tuple[float, str]]) -> Callable:
    def of(codes: list[str]) -> tuple[np.ndarray, np.ndarray]:
        parts = [(weight, *found.of(run, target, codes)) for weight, run in terms]
        score = sum((weight * score for weight, score, _ in parts), np.zeros(()))
        return score, sum((weight * spread for weight, _, spread in parts), np.zeros(()))

    return of


def _lowest(parts: list[tuple[float, np.ndarray, int]], level: float) -> tuple[float, float, float, int]:
    seeds = min((count for _, _, count in parts), default=0)
    if not seeds:
        return np.nan, np.nan, np.nan, 0
    low, high = np.quantile(np.min([value + spread for value, spread, _ in parts], axis=0).clip(0, 100), _ends(level))
    return min(value for value, _, _ in parts), low, high, seeds


def _ends(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def measure(study: Study, source: KeptSource) -> pd.DataFrame:
    """The distance of each intermediate task's source-language training texts from those of the target's training
    set, or from its part on each topic where topics are known: one row per task and part.

    Columns: task, against ("copa", "copa: social", …), topic, texts (of either), by characters and by words the proxy
    A-distance with its interval (characters, characters_low, …) and the classifier's error, jaccard, covered.
    """
    trained = study.training_task(get(study.targets[0]))
    whole, rows = source.load(trained, "train", study.source_language), []
    against = {("", trained.name): domains.texts(trained, whole)}
    if run_topics(study, source):
        topic = source.topics(trained, "train")
        for name in sorted(set(topic.values()) - {""}):
            part = whole.select([place for place, key in enumerate(whole["id"][:]) if topic[key] == name])
            against[name, f"{trained.name}: {name}"] = domains.texts(trained, part)
    for task in _tasks(study):
        own = domains.texts(task, source.load(task, "train", study.source_language))
        for (topic, name), others in against.items():
            pair = domains.same_size(own, others)
            row = {"task": task.name, "against": name, "topic": topic, "texts": len(pair[0])}
            for features in domains.FEATURES:
                found = domains.a_distance(*pair, features)
                row |= {features: found.value, f"{features}_low": found.low, f"{features}_high": found.high}
                row[f"{features}_error"] = found.error
            rows.append(row | domains.overlap(*pair)._asdict())
    return pd.DataFrame(rows)


def _tasks(study: Study) -> list[Task]:
    """Tasks that some run of phase 2 is trained on alone, in the source language."""
    alone = [trained_in(run) for run in study.intermediate if run != NONE]
    return [get(task) for task, language in alone if language == SOURCE and "+" not in task]


def by_distance(
    stats: pd.DataFrame, target: str, measured: pd.DataFrame, items: dict[str, str], codes: list[str],
    rng: np.random.Generator, level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Gains over ``none`` of phase 2 in the source language, mean over ``codes``, beside the measured distance.

    ``items``: test item -> topic, {} where unknown; with topics each is scored on its own items alone. Returns the
    points (``measured`` with examples, value, low, high, seeds) and, per number of examples, Spearman's rho of gain
    with distance (by characters) over the points, with its interval over test items and seeds: domains are taken as
    given; how many they are, and at how many distances to one decimal.
    """
    topics, points, rhos = sorted(set(measured["topic"]) - {""}), [], []
    kept = measured[measured["topic"].isin(topics or [""])]
    for examples, part in stats[stats["target"] == target].groupby("examples"):
        parts = {topic: part[part["id"].map(items) == topic] for topic in topics} or {"": part}
        found, spreads = {topic: resample(rows, rng) for topic, rows in parts.items()}, []
        for row in kept.to_dict("records"):
            here = found[row["topic"]]
            gain = _combination(here, target, [(1, row["task"]), (-1, NONE)])(codes)
            value, low, high, seeds = here.interval(*gain, level)  # type: ignore[call-arg]  # a pair and the level
            points.append({**row, "examples": examples, "value": value, "low": low, "high": high, "seeds": seeds})
            spreads.append(np.append(value, value + here.deviations(*gain)[1]))
        values, far = np.array(spreads), rankdata(kept["characters"])
        if len(values) > 2 and np.isfinite(values).all() and np.ptp(far):
            ranks = rankdata(values, axis=0).T
            rho = [np.corrcoef(far, column)[0, 1] if np.ptp(column) else 0.0 for column in ranks]
            rhos.append((examples, rho[0], *np.quantile(rho[1:], _ends(level)), len(values)))
        else:
            rhos.append((examples, np.nan, np.nan, np.nan, len(values)))
    table = pd.DataFrame(rhos, columns=["examples", "rho", "low", "high", "domains"])
    return pd.DataFrame(points), table.assign(distances=kept["characters"].round(1).nunique())
