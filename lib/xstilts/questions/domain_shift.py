"""Question 7, domain shift: tables and answer of ``7-domain-shift.ipynb``.

Is intermediate training in another language than the source better or worse for XCOPA, and does it hold when the
intermediate task is about something else than the test?

Where the source knows the topics of its examples the shift is made, by a crossed design. Two intermediate tasks are
about two topics that share nothing, and a test item is about one of them, or both (then it is left out). In-domain, an
item is scored with the run of its own topic; out-of-domain the same item with that of the other topic. Both sides cover
the same items: how hard an item is cancels out of their difference, the drop under shift, and
every interval is a paired one.

Elsewhere the shift is measured, and intermediate tasks stand for their domains: the drop is the score after
intermediate training in the target's own domain, its training set, minus that after another domain. The proxy
A-distance is 2 (1 - 2 e), e the error of a classifier that tells two sets of texts apart (Ben-David et al. 2007,
"Analysis of representations for domain adaptation", NIPS 19; Ben-David et al. 2010, doi:10.1007/s10994-009-5152-4): 0
where they cannot be told apart, 2 where they always can. The classifier is a logistic regression on hashed n-grams of
characters, which every script has, or on words, and sees the beginning of each text: by their lengths alone the texts
of two tasks could be told apart, whatever they are about."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from scipy.stats import binomtest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from xstilts.errors import UserError
from xstilts.inference import ENDS, Combination, difference, from_statistics, mean_score, weighted
from xstilts.names import NONE, SOURCE, compared, parse_run
from xstilts.results import FEWEST, SAME_AMOUNT, ZERO_SHOT, pretraining_text, rank_correlation, significant
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.summaries import chance, tally, verdict_table
from xstilts.tasks import Task

WORD = r"\w+"
# what the classifier sees
FEATURES: dict[str, Any] = {"characters": {"analyzer": "char", "ngram_range": (1, 3)}, "words": {"token_pattern": WORD}}
FOLDS = 5  # of the cross-validation
MAX_TEXTS = 1000  # of either set
FIRST_WORDS = 10  # of each text

IN, OUT, DROP = "in-domain", "out-of-domain", "drop"
AGAINST = "against source"  # intermediate training in another language minus the same in the source language
WORST, UNTRAINED = "worst language", "untrained languages"
LESS, MORE, NEARER, FARTHER = "low-resource half", "high-resource half", "nearer half", "farther half"
HALVES = {f"{first} minus {second}": (first, second) for first, second in ((LESS, MORE), (FARTHER, NEARER))}
Groups = dict[str, list[str]]  # name -> languages
Runs = dict[tuple[str, str], str]  # (side, language) -> run; a side is a task, in-domain or out-of-domain


def texts(task: Task, dataset: Dataset) -> list[str]:
    """What each example is about. Of a choice: its context, or its question where there is none, and every
    alternative. Questions beside a context are left out: few fixed wordings, they would tell the sets apart by form."""
    if task.kind == "choice":
        rows = zip(dataset["context"][:], dataset["question"][:], dataset["choices"][:], strict=True)
        return [" ".join([context or question, *choices]) for context, question, choices in rows]
    if task.kind == "classification":
        return [f"{a} {b}" for a, b in zip(dataset["text_a"][:], dataset["text_b"][:], strict=True)]
    return dataset["context"][:] if task.kind == "span" else [" ".join(words) for words in dataset["tokens"][:]]


def same_size(first: list[str], second: list[str]) -> list[list[str]]:
    """As many texts of either set, at most ``MAX_TEXTS``, drawn without replacement."""
    size = min(len(first), len(second), MAX_TEXTS)
    rng = np.random.default_rng(0)
    return [[texts[index] for index in rng.permutation(len(texts))[:size]] for texts in (first, second)]


def a_distance(first: list[str], second: list[str], features: str = "characters") -> dict[str, float]:
    """Proxy A-distance of two sets of the same size by ``features`` (one of ``FEATURES``, the name of the value), its
    95% interval ``_low`` and ``_high`` (Wilson's of the error), and the classifier's ``_error``.

    A text that recurs, in one set or in both, is never both learned from and judged; an error above a half counts as a
    half. UserError for fewer texts than folds.
    """
    if len(first) != len(second) or len(first) < FOLDS:
        raise UserError(f"domains: {len(first)} and {len(second)} texts; expected as many of either, at least {FOLDS}")
    beginnings = [" ".join(text.split()[:FIRST_WORDS]) for text in (*first, *second)]
    sides = np.repeat([0, 1], len(first))
    vectors = HashingVectorizer(**FEATURES[features], n_features=2**16, alternate_sign=False).transform(beginnings)
    groups = np.unique(beginnings, return_inverse=True)[1]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    classifier = LogisticRegression(C=10, solver="liblinear", random_state=0)
    wrong = int((cross_val_predict(classifier, vectors, sides, groups=groups, cv=folds) != sides).sum())
    errors = np.array([wrong / len(sides), *binomtest(wrong, len(sides)).proportion_ci(method="wilson")])
    value, high, low = 2 * (1 - 2 * np.minimum(errors, 0.5))
    return {features: value, f"{features}_low": low, f"{features}_high": high, f"{features}_error": errors[0]}


def overlap(first: list[str], second: list[str]) -> dict[str, float]:
    """Words, in lower case, that the second set shares with the first. jaccard: words in both vocabularies among words
    in either; covered: share of the second set's running words that the first has. Both 0 to 1."""
    vocabulary = set(re.findall(WORD, " ".join(first).lower()))
    words = re.findall(WORD, " ".join(second).lower())
    shared = vocabulary.intersection(words)
    covered = sum(word in vocabulary for word in words) / len(words)
    return {"jaccard": len(shared) / len(vocabulary.union(words)), "covered": covered}


def split_run(run: str) -> tuple[str, str]:
    """(task, language) of a run: ``piqa@all=3000`` is ("piqa", "all=3000"), ``piqa`` is ("piqa", "source")."""
    parsed = parse_run(run, None)
    task = "+".join([*parsed.tasks, *["mlm"] * parsed.mlm])
    language = ",".join(parsed.languages) or SOURCE
    return task, f"{language}={parsed.examples}" if parsed.examples else language


def cells(runs: Iterable[str]) -> Runs:
    """(task, language) -> run, ``none`` and controls left out."""
    return {split_run(run): run for run in compared(runs)}


def run_topics(study: Study, source: Source) -> dict[str, str]:
    """Run -> its topic, for runs whose single task has a single one; {} where the source does not know topics."""
    by_run: dict[str, str] = {}
    for run in study.intermediate:
        tasks = study.intermediate_run(run).tasks
        names = set(source.topics(study.task(tasks[0]), "train").values()) if len(tasks) == 1 else set()
        if len(names) == 1 and "" not in names:
            by_run[run] = names.pop()
    return by_run


def crossed(stats: pd.DataFrame, items: dict[str, str], topics: dict[str, str]) -> tuple[pd.DataFrame, Runs]:
    """The crossed design as :func:`estimates` takes it: statistics whose ``intermediate`` is a side and a language
    ("in-domain@qab"; ``none`` stays), and the names of these by side and language.

    ``items``: test item -> topic; ``topics``: run -> topic. Items of no run's topic are left out, and so is a language
    of intermediate training in seeds that lack one of its topics: its sides would cover other items.
    """
    names = set(topics.values())
    stats = stats[stats["id"].map(items).isin(names) & stats["intermediate"].isin([NONE, *topics])]
    is_base = stats["intermediate"] == NONE
    base, tuned = stats[is_base], stats[~is_base]
    languages = {run: split_run(run)[1] for run in topics}
    topic, language = tuned["intermediate"].map(topics), tuned["intermediate"].map(languages)
    complete = topic.groupby([tuned["examples"], tuned["seed"], language]).transform("nunique") == len(names)
    side = np.where(tuned["id"].map(items) == topic, IN, OUT)
    stats = pd.concat([base, tuned.assign(intermediate=side + "@" + language)[complete]], ignore_index=True)
    return stats, {(side, code): f"{side}@{code}" for side in (IN, OUT) for code in dict.fromkeys(languages.values())}


def language_groups(study: Study, source: Source, languages: list[str]) -> Groups:
    """Name -> languages: all but the source, the half with less and the half with more pretraining text (of an odd
    number the latter has one more) or, where all have as much, the farther and the nearer half; those that no
    intermediate run was trained in; and each alone."""
    away = [code for code in languages if code != study.source_language]
    amount = pretraining_text(study, source)[0].reindex(away).fillna(0)
    first, second, order = LESS, MORE, amount
    if amount.max() <= SAME_AMOUNT * amount.min():
        first, second, order = FARTHER, NEARER, -source.language_table()["distance"].reindex(away)
    ordered, half = order.sort_values(kind="stable").index.tolist(), len(away) // 2
    groups = {ZERO_SHOT: away, first: ordered[:half], second: ordered[half:]}
    trained = {code for run in study.intermediate for code in study.intermediate_run(run).languages}
    if trained.intersection(away):
        groups[UNTRAINED] = [code for code in away if code not in trained]
    return {name: members for name, members in (groups | {code: [code] for code in languages}).items() if members}


def estimates(stats: pd.DataFrame, runs: Runs, target: Task, groups: Groups, home: str = "") -> pd.DataFrame:
    """Every quantity with its 95% interval, in each group of languages, for each number of training examples.

    ``runs``: those that should be there, of :func:`cells` or :func:`crossed`; ``home``: the task that is the target's
    own domain, where sides are tasks. Columns: examples, side (a task, in-domain, out-of-domain or drop), trained_in,
    quantity ("score"; "gain" over none; "drop", in-domain minus out-of-domain; ``AGAINST``), group, value, low, high,
    seeds, languages; p and significant of differences (a family: those of a quantity in single languages, or in groups
    of them). ``none`` has its own side and only scores. The groups ``HALVES`` are of the difference between
    halves. The group ``WORST`` is the lowest score over languages, in every draw anew: as the lowest of several it
    varies downwards more than upwards. NaN and 0 seeds: missing.
    """
    rows = []
    halves = {name: pair for name, pair in HALVES.items() if set(pair) <= set(groups)}
    sizes = {name: len(languages) for name, languages in groups.items()}
    sizes |= {name: sizes[first] + sizes[second] for name, (first, second) in halves.items()}
    for examples, part in stats[stats["target"] == target.name].groupby("examples"):
        scores = from_statistics(part, tasks={target.name: target})
        for side, language, quantity, weights in _contrasts(runs, home):
            values = {name: _combine(target, weights, languages) for name, languages in groups.items()}
            values |= {name: difference(values[first], values[second]) for name, (first, second) in halves.items()}
            for name, combination in values.items():
                value, low, high, seeds, p = scores.estimate(combination)
                if quantity == "score" and name not in halves:
                    low, high, p = *np.clip([low, high], 0, 100), np.nan  # what a score can be
                rows.append((examples, side, language, quantity, name, value, low, high, seeds, sizes[name], p))
            if quantity == "score":
                single = [values[code] for code in groups[ZERO_SHOT]]
                lowest = scores.draws(single).min(axis=0)
                low, high = np.quantile(lowest[1:].clip(0, 100), ENDS)
                seeds = min(int(np.isfinite(scores.of(part)).sum()) for part in single)
                rows.append((examples, side, language, quantity, WORST, lowest[0], low, high, seeds, 1, np.nan))
    columns = "examples side trained_in quantity group value low high seeds languages p"
    table = pd.DataFrame(rows, columns=columns.split())
    return significant(table, ["quantity", table["languages"] > 1])


def _contrasts(runs: Runs, home: str) -> list[tuple[str, str, str, dict[str, int]]]:
    """(side, trained_in, quantity, weight of each run's score in the quantity)."""
    rows = [(NONE, NONE, "score", {NONE: 1})]
    for (side, language), run in runs.items():
        rows += [(side, language, "score", {run: 1}), (side, language, "gain", {run: 1, NONE: -1})]
        if base := _source_run(runs, side, language):
            rows.append((side, language, AGAINST, {run: 1, base: -1}))
        if side != home and (home, language) in runs:
            rows.append((side, language, DROP, {runs[home, language]: 1, run: -1}))
    for language in [language for side, language in runs if side == IN]:
        drop = {runs[IN, language]: 1, runs[OUT, language]: -1}
        rows.append((DROP, language, DROP, drop))
        inside, outside = (_source_run(runs, side, language) for side in (IN, OUT))
        if inside and outside:
            rows.append((DROP, language, AGAINST, {**drop, inside: -1, outside: 1}))
    return rows


def _source_run(runs: Runs, side: str, trained_in: str) -> str | None:
    """The run in the source language that a run in another is compared with: of as many examples where there is such
    a run. None for runs in the source language."""
    language, _, examples = trained_in.partition("=")
    return None if language == SOURCE else runs.get((side, f"{SOURCE}={examples}")) or runs.get((side, SOURCE))


def _combine(target: Task, weights: dict[str, int], languages: list[str]) -> Combination:
    """Weighted sum over runs of their mean over languages."""
    return weighted(*[(weight, mean_score(run, target.name, languages)) for run, weight in weights.items()])


def measure(study: Study, source: Source) -> pd.DataFrame:
    """The distance of each intermediate task's source-language training texts from those of the target's training
    set, or from its part on each topic where topics are known: one row per task and part.

    Columns: task, against ("copa", "copa: social", …), topic, texts (of either), by characters and by words the proxy
    A-distance with its interval (characters, characters_low, …) and the classifier's error, jaccard, covered.
    """
    trained = study.training_task(study.task(study.targets[0]))
    dataset = source.load(trained, "train", study.source_language)
    against = {("", trained.name): texts(trained, dataset)}
    if run_topics(study, source):
        topic = pd.Series(dataset["id"][:]).map(source.topics(trained, "train"))
        for name in sorted(set(topic) - {""}):
            part = dataset.select(np.flatnonzero(topic == name))
            against[name, f"{trained.name}: {name}"] = texts(trained, part)
    rows = []
    for name in [task for task, language in cells(study.intermediate) if language == SOURCE and "+" not in task]:
        task = study.task(name)
        own = texts(task, source.load(task, "train", study.source_language))
        for (topic, part), others in against.items():
            first, second = same_size(own, others)
            row = {"task": name, "against": part, "topic": topic, "texts": len(first)}
            for features in FEATURES:
                row |= a_distance(first, second, features)
            rows.append(row | overlap(first, second))
    return pd.DataFrame(rows)


def by_distance(
    stats: pd.DataFrame, target: Task, measured: pd.DataFrame, items: dict[str, str], languages: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Gains over ``none`` of runs in the source language, mean over ``languages``, beside the measured distance.

    ``items``: test item -> topic, {} where unknown; with topics each is scored on its own items alone. Returns the
    points (``measured`` with examples, value, low, high, seeds) and, per number of examples, Spearman's rho of gain
    with distance (by characters) over the points, with its interval over test items and seeds: domains are taken as
    given; how many they are, and at how many distances to one decimal: below ``FEWEST`` of these there is none (NaN).
    """
    points, correlations = [], []
    topics = sorted(set(measured["topic"]) - {""}) or [""]
    measured = measured[measured["topic"].isin(topics)]
    distances = measured["characters"].round(1).nunique()
    for examples, part in stats[stats["target"] == target.name].groupby("examples"):
        topic = part["id"].map(lambda item: items.get(item, ""))
        part = part[topic.isin(topics)].assign(target=topic)  # each on items of its own, as if it were a target
        scores, gains = from_statistics(part, tasks=dict.fromkeys(topics, target)), []
        for row in measured.to_dict("records"):
            runs = {row["task"]: 1, NONE: -1}
            parts = [(weight, mean_score(run, row["topic"], languages)) for run, weight in runs.items()]
            gains.append(weighted(*parts))
            value, low, high, seeds, _ = scores.estimate(gains[-1])
            points.append(row | {"examples": examples, "value": value, "low": low, "high": high, "seeds": seeds})
        few = distances < FEWEST
        rho = (np.nan,) * 4 if few else rank_correlation(measured["characters"], scores.draws(gains))
        correlations.append((examples, *rho, len(gains), distances))
    columns = "examples rho low high p domains distances"
    return pd.DataFrame(points), pd.DataFrame(correlations, columns=columns.split())


def labelled(table: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Rows of :func:`estimates` in the order of ``groups`` and of training examples, with the columns training, the
    size of the training set in words, and run."""
    rows = pd.concat([table[table["group"] == group] for group in groups])
    rows = rows.sort_values("examples", key=lambda examples: examples.replace(0, np.inf), kind="stable")
    training = [f"{examples:,} examples" if examples else "whole training set" for examples in rows["examples"]]
    group = rows["group"].replace(ZERO_SHOT, "all but the source")
    return rows.assign(training=training, run=rows["side"] + ", " + rows["trained_in"], group=group)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`estimates` that answer the question: another language in intermediate training minus the source
    language, in the half with less pretraining text or, where all have as much, in the farther half."""
    rows = labelled(table[(table["quantity"] == AGAINST) & (table["side"] != DROP)], [LESS, FARTHER])
    return verdict_table(rows, {"training": "tuned on", "side": "side", "trained_in": "trained in", "group": "group"})


def sentences(table: pd.DataFrame, rho: pd.DataFrame) -> list[str]:
    """What the study shows. ``table``: estimates of the crossed design or, where there is none, of the runs; ``rho``:
    of :func:`by_distance`."""
    compared = labelled(table[(table["quantity"] == AGAINST) & (table["side"] != DROP)], [LESS, FARTHER])
    text = "another language than the source is better in {above} of {count} comparisons, worse in {below}."
    lines = []
    for (group, side), rows in compared.dropna(subset="value").groupby(["group", "side"], sort=False):
        lines += tally(f"In the {group}, {side}: {text}", rows)
    if compared["value"].isna().all():
        lines = ["No run is in another language than the source: the question has no answer here."]
    drops = table[(table["quantity"] == DROP) & (table["group"] == ZERO_SHOT)].dropna(subset="value")
    lines += tally("Scores drop under shift in {above} of {count} comparisons.", drops)
    for row in rho.dropna(subset="rho").tail(1).itertuples():
        change = "falls" if row.high < 0 else "rises" if row.low > 0 else "neither falls nor rises for certain"
        interval = f"{row.rho:.2f} [{row.low:.2f}, {row.high:.2f}]".replace("-", "−")
        lines.append(f"The gain over `none` {change} with the distance of the domain (Spearman's ρ {interval}).")
    rows = table[table["quantity"].isin(["gain", DROP, AGAINST]) & ~table["group"].str.fullmatch("[a-z]{2,3}")]
    return [*lines, chance(rows)]
