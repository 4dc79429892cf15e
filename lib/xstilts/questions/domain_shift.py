"""How far apart two sets of texts are: a domain classifier's error, and the words they share. Pure functions.

The proxy A-distance is 2 (1 - 2 e), e the error of a classifier that tells the two sets apart (Ben-David et al. 2007,
"Analysis of representations for domain adaptation", NIPS 19; Ben-David et al. 2010, doi:10.1007/s10994-009-5152-4):
0 where they cannot be told apart, 2 where they always can. Here the classifier is a logistic regression on hashed
n-grams of characters, which every script has, or on words, and sees the beginning of each text: by their lengths alone
the texts of two tasks could be told apart, whatever they are about.


Domain shift between phase 2 and the target, made and measured, and non-source against source phase 2.

The shift is made by a crossed design. Two intermediate tasks are about two topics that share nothing, and a test item
is about one of them, or both (then it is left out). In-domain, an item is scored with the phase 2 of its own topic;
out-of-domain the same item with that of the other topic. Both sides so cover the same items, on every resample too:
how hard an item is cancels out of their difference, the drop under shift, and every interval is a paired one.

Where the topic of an item is not known the shift is measured (:mod:`.domains`), and runs stand for their domains: the
drop is the score after phase 2 in the target's own domain, its training set, minus that after another domain.


The answer on domain shift in words, computed from the estimates of :mod:`.shift` alone.

Figures on domain shift, from the tables of :mod:`.shift`."""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest, rankdata
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from xstilts import plots
from xstilts.errors import UserError
from xstilts.plots import NEUTRAL, gain_limits, language_dots, score_dots
from xstilts.results import SAME_AMOUNT, ZERO_SHOT, Replicates, marked, pretraining_text, resample
from xstilts.sources import Source
from xstilts.sources.cache import KeptSource
from xstilts.study import NONE, Study, parse_run
from xstilts.summaries import covers, where, with_interval
from xstilts.tasks import Task, get

WORD = r"\w+"
FEATURES: dict[str, dict[str, Any]] = {  # what the classifier sees
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
    "words": {"analyzer": "word", "token_pattern": WORD},
}
FOLDS, MOST, BEGINNING = 5, 1000, 10  # of the cross-validation; texts of either set; words of each


class Distance(NamedTuple):
    """``value`` with its 95% interval (Wilson's of the error), ``error`` and ``texts`` of either set."""

    value: float
    low: float
    high: float
    error: float
    texts: int


class Overlap(NamedTuple):
    """``jaccard``: words in both vocabularies among words in either; ``covered``: share of the second set's running
    words that the first set has. Both 0 to 1."""

    jaccard: float
    covered: float


def texts(task: Task, dataset: Dataset) -> list[str]:
    """What each example is about. Of a choice: its context, or its question where there is none, and every
    alternative. Questions beside a context are left out: few fixed wordings, they would tell the sets apart by form."""
    if task.kind == "choice":
        rows = zip(dataset["context"][:], dataset["question"][:], dataset["choices"][:], strict=True)
        return [" ".join([context or question, *choices]) for context, question, choices in rows]
    if task.kind == "classification":
        return [f"{a} {b}" for a, b in zip(dataset["text_a"][:], dataset["text_b"][:], strict=True)]
    return dataset["context"][:] if task.kind == "span" else [" ".join(words) for words in dataset["tokens"][:]]


def same_size(first: list[str], second: list[str], seed: int = 0, most: int = MOST) -> tuple[list[str], list[str]]:
    """As many texts of either set, at most ``most``, drawn without replacement."""
    size, rng = min(len(first), len(second), most), np.random.default_rng(seed)
    first, second = ([one[place] for place in rng.permutation(len(one))[:size]] for one in (first, second))
    return first, second


def a_distance(first: list[str], second: list[str], features: str = "characters", seed: int = 0) -> Distance:
    """Proxy A-distance of two sets of the same size. A text that recurs, in one set or in both, is never both learned
    from and judged; an error above a half counts as a half. UserError for fewer texts than folds."""
    if len(first) != len(second) or len(first) < FOLDS:
        raise UserError(f"domains: {len(first)} and {len(second)} texts; expected as many of either, at least {FOLDS}")
    begun, sides = [" ".join(text.split()[:BEGINNING]) for text in (*first, *second)], np.repeat([0, 1], len(first))
    seen = HashingVectorizer(**FEATURES[features], n_features=2**16, alternate_sign=False).transform(begun)
    groups, folds = (
        np.unique(begun, return_inverse=True)[1],
        StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed),
    )
    classifier = LogisticRegression(C=10, solver="liblinear", random_state=seed)
    wrong = int((cross_val_predict(classifier, seen, sides, groups=groups, cv=folds) != sides).sum())
    errors = np.array([wrong / len(sides), *binomtest(wrong, len(sides)).proportion_ci(method="wilson")])
    value, high, low = 2 * (1 - 2 * np.minimum(errors, 0.5))
    return Distance(float(value), float(low), float(high), float(errors[0]), len(first))


def overlap(first: list[str], second: list[str]) -> Overlap:
    """Words, in lower case, that the second set shares with the first."""
    known, told = (re.findall(WORD, " ".join(part).lower()) for part in (first, second))
    types = set(known)
    union = types.union(told)
    return Overlap(len(types.intersection(told)) / len(union), sum(word in types for word in told) / len(told))


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
    amount = pretraining_text(study, source)[0].reindex(away).fillna(0)
    names, order = (LESS, MORE), amount.sort_values(kind="stable").index
    if len(away) and amount.max() <= SAME_AMOUNT * amount.min():
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
    against = {("", trained.name): texts(trained, whole)}
    if run_topics(study, source):
        topic = source.topics(trained, "train")
        for name in sorted(set(topic.values()) - {""}):
            part = whole.select([place for place, key in enumerate(whole["id"][:]) if topic[key] == name])
            against[name, f"{trained.name}: {name}"] = texts(trained, part)
    for task in _tasks(study):
        own = texts(task, source.load(task, "train", study.source_language))
        for (topic, name), others in against.items():
            pair = same_size(own, others)
            row = {"task": task.name, "against": name, "topic": topic, "texts": len(pair[0])}
            for features in FEATURES:
                found = a_distance(*pair, features)
                row |= {features: found.value, f"{features}_low": found.low, f"{features}_high": found.high}
                row[f"{features}_error"] = found.error
            rows.append(row | overlap(*pair)._asdict())
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


SIDES = {IN: "in-domain", OUT: "out-of-domain", DROP: "the drop"}


def answer(
    table: pd.DataFrame, made: pd.DataFrame, measured: pd.DataFrame, rho: pd.DataFrame, unit: str, study: Study
) -> str:
    """Markdown. ``table``: estimates of the runs; ``made``: those of the crossed design, empty where the shift is
    not made; ``measured``, ``rho``: of :func:`~.shift.measure` and :func:`~.shift.by_distance`; ``unit``: of the
    pretraining text."""
    home = study.training_task(get(study.targets[0])).name
    seeds, codes = int(table["seeds"].max()), table.loc[table["group"] == ZERO_SHOT, "languages"].max()
    lines = [
        f"{where(study, seeds)}: {len(study.intermediate) - 1} intermediate runs, {codes} languages other than the "
        f"source, {covers(study, seeds)}. {_halves(table, unit)} The lowest of several scores varies downwards: the "
        "interval of a worst language leans that way.",
        "",
        _short(made if len(made) else table),
        "",
        _distances(measured),
    ]
    for examples in numbers(table):
        lines += ["", f"**Tuned on {amount(examples)}:**", ""]
        here = (made if len(made) else table).query("examples == @examples")
        lines += [*(_made(here) if len(made) else _runs(here, home)), *_languages(here)]
        lines += [_along(rho[rho["examples"] == examples].iloc[0])]
    lines += ["", _chance(made if len(made) else table)]
    gaps = table[(table["seeds"] == 0) & (table["quantity"] == "score")]
    absent = [f"`{name}`" for name in dict.fromkeys(run_name(row.side, row.trained_in) for row in gaps.itertuples())]
    return "\n".join(lines + (["", f"Missing: {', '.join(absent)}."] if absent else []))


def numbers(table: pd.DataFrame) -> list[int]:
    """Numbers of training examples, the whole set (0) last."""
    return sorted(table["examples"].unique(), key=lambda number: number or float("inf"))


def amount(examples: int) -> str:
    """A number of training examples as a person reads it; 0 is all."""
    return f"{examples:,} examples" if examples else "the whole training set"


def run_name(side: str, trained_in: str) -> str:
    """As runs are written: ``piqa@qab``, ``piqa=50``."""
    language, _, examples = trained_in.partition("=")
    named = side if language in (SOURCE, NONE) else f"{side}@{language}"
    return f"{named}={examples}" if examples else named


def _short(table: pd.DataFrame) -> str:
    """The question's answer: phase 2 in another language, in the poorer or farther half."""
    rows = table[(table["quantity"] == AGAINST) & table["group"].isin([LESS, FARTHER]) & (table["side"] != DROP)]
    parts = []
    for examples in numbers(rows):
        for side in rows["side"].unique():
            verdict = _verdict(rows[(rows["examples"] == examples) & (rows["side"] == side)], _language)
            parts.append(f"- {_named(side)}, tuned on {amount(examples)}: {verdict};")
    if not parts:
        return "No run of phase 2 is in another language than the source: the question has no answer here."
    head = f"**In short**, in the {rows['group'].iloc[0]}, phase 2 in another language against the source language is"
    return "\n".join([head, "", *parts])


def _named(side: str) -> str:
    return SIDES.get(side, f"`{side}`")


def _language(row: Any) -> str:
    return f"in `{row.trained_in}`"


def _halves(table: pd.DataFrame, unit: str) -> str:
    if LESS in set(table["group"]):
        return f"Low- and high-resource half: the languages with less and with more pretraining text ({unit})."
    return (
        "All languages but the source have as much pretraining text: there is no low- and high-resource half, and the "
        "halves farther from and nearer to the source are told apart in their place."
    )


def _distances(measured: pd.DataFrame) -> str:
    parts = [
        f"`{row.task}` to {row.against} {row.characters:.2f} [{row.characters_low:.2f}, {row.characters_high:.2f}] "
        f"(error {row.characters_error:.1%}, {row.covered:.0%} of the words known)"
        for row in measured.itertuples()
    ]
    return (
        "Shift measured in the source language, proxy A-distance (0 to 2) with the error of the domain classifier: "
        f"{'; '.join(parts)}."
    )


def _one(table: pd.DataFrame, side: str, language: str, quantity: str, group: str) -> Any:
    found = table[
        (table["side"] == side) & (table["trained_in"] == language) & (table["quantity"] == quantity)
        & (table["group"] == group)
    ]  # fmt: skip
    return next(found.itertuples(), None)


def _signed(row: Any) -> str:
    return with_interval(row._replace(quantity="gain"))


def _verdict(rows: pd.DataFrame, name: Callable[[Any], str]) -> str:
    """Which of ``rows`` are above and below zero; the others have no evidence."""
    parts = []
    for word, part in (("higher", rows[rows["low"] > 0]), ("lower", rows[rows["high"] < 0])):
        if len(part):
            parts.append(f"{word} {', '.join(f'{name(row)} {_signed(row)}' for row in part.itertuples())}")
    rest, gaps = rows[~marked(rows) & rows["value"].notna()], rows[rows["value"].isna()]
    if len(rest):
        parts.append(
            f"no evidence of a difference {', '.join(f'{name(row)} {_signed(row)}' for row in rest.itertuples())}"
        )
    if len(gaps):
        parts.append(f"missing {', '.join(map(name, gaps.itertuples()))}")
    return "; ".join(parts)


def _made(made: pd.DataFrame) -> list[str]:
    none = _one(made, NONE, NONE, "score", ZERO_SHOT)
    lines = [f"- without phase 2 {with_interval(none)} on average over the languages other than the source;"]
    for language in [name for name in made["trained_in"].unique() if name != NONE]:
        sides = [with_interval(_one(made, side, language, "score", ZERO_SHOT)) for side in (IN, OUT)]
        drop = _one(made, DROP, language, DROP, ZERO_SHOT)
        sure = "" if drop.low > 0 or drop.high < 0 or not drop.seeds else " (no evidence of a drop)"
        worst = [with_interval(_one(made, side, language, "score", WORST)) for side in (IN, OUT)]
        lines.append(
            f"- phase 2 in `{language}`: in-domain {sides[0]}, out-of-domain {sides[1]}, drop {_signed(drop)}{sure}; "
            f"worst language {worst[0]} and {worst[1]};"
        )
    return lines


def _runs(table: pd.DataFrame, home: str) -> list[str]:
    none, worst = (_one(table, NONE, NONE, "score", group) for group in (ZERO_SHOT, WORST))
    away = table[table["group"] == ZERO_SHOT]
    lines = [
        f"- without phase 2 {with_interval(none)} on average over the languages other than the source, worst language "
        f"{with_interval(worst)};",
        f"- gain over that: {_verdict(away[away['quantity'] == 'gain'], _run)};",
    ]
    lowest = table[(table["group"] == WORST) & (table["side"] != NONE)]
    lines.append(f"- worst language: {', '.join(f'{_run(row)} {with_interval(row)}' for row in lowest.itertuples())};")
    drop = away[away["quantity"] == DROP]
    if len(drop):
        lines.append(
            f"- the drop, phase 2 in the target's own domain (`{home}`) minus another: {_verdict(drop, _run)};"
        )
    return lines


def _run(row: Any) -> str:
    if row.side in SIDES:
        return _language(row) if row.side == DROP else f"{row.side} {_language(row)}"
    return f"`{run_name(row.side, row.trained_in)}`"


def _languages(table: pd.DataFrame) -> list[str]:
    """Non-source against source phase 2 in the other groups, its drop in the poorer half, and the halves against each
    other: an effect in one of them alone is no difference between them."""
    lines, against = [], table[table["quantity"] == AGAINST]
    for group in (LESS, MORE, FARTHER, NEARER, UNTRAINED, *APART):
        rows = against[against["group"] == group]
        if group in (LESS, FARTHER):  # the sides are said in short
            rows = rows[rows["side"] == DROP]
        elif group in APART:
            rows = rows[rows["side"] != DROP]  # of differences between differences between differences no more
        for side in rows["side"].unique():
            verdict = _verdict(rows[rows["side"] == side], _language)
            lines.append(f"- {group}, {_named(side)}, phase 2 in another language than the source: {verdict};")
    halves = table[table["group"].isin(APART)]
    for group in halves["group"].unique():
        scores = halves[(halves["group"] == group) & (halves["quantity"] == "score")]
        lines.append(f"- {group}, accuracy: {_verdict(scores, _run)};")
        drop = halves[(halves["group"] == group) & (halves["quantity"] == DROP)]
        if len(drop):
            lines.append(f"- {group}, the drop: {_verdict(drop, _run)};")
    return lines


def _chance(table: pd.DataFrame) -> str:
    grouped = ~table["group"].str.fullmatch("[a-z]{2,3}")  # a code is one language
    rows = table[table["quantity"].isin(["gain", DROP, AGAINST]) & grouped].dropna(subset="value")
    return (
        f"Of the {len(rows)} intervals of gains, drops and differences in groups {int(marked(rows).sum())} "
        f"exclude zero; if there were no effect at all, about {0.05 * len(rows):.0f} would by chance."
    )


def _along(found: Any) -> str:
    if found.rho != found.rho:
        why = "too few domains" if found.domains < 3 else "a domain is missing or all are as far"
        return f"- gain against measured distance: not known, {why}."
    text = f"ρ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
    text += f" over {found.domains:.0f} points at {found.distances:.0f} distances, taken as given"
    sure = "falls" if found.high < 0 else "rises" if found.low > 0 else "no evidence that it falls or rises"
    return f"- gain against measured distance: {sure} (Spearman's {text})."


ENDS = ("value", "low", "high")
GROUPS = {ZERO_SHOT: "all but the source language"}  # phase 2 may have been in one of them
QUANTITIES = {DROP: "drop, in-domain minus out-of-domain", AGAINST: "gain over source-language phase 2"}


def side_panels(table: pd.DataFrame, groups: list[str], sides: list[str]) -> Figure:
    """Scores by language of phase 2 (lines) and side (markers): a column per group of languages, a row per number of
    training examples. The band is ``none`` with its interval."""
    rows = table[(table["quantity"] == "score") & table["group"].isin(groups)]
    lines = [name for name in rows["trained_in"].unique() if name != NONE]
    counts = numbers(rows)
    size = (1.2 + min(6.9, 2.3 * len(groups)), 0.8 + (0.45 + 0.24 * len(lines)) * len(counts))
    figure, grid = plt.subplots(len(counts), len(groups), figsize=size, squeeze=False, sharex=True, sharey=True)
    for (examples, group), ax in zip([(n, g) for n in counts for g in groups], grid.flat, strict=True):
        part = rows[(rows["examples"] == examples) & (rows["group"] == group)]
        for base in part[part["side"] == NONE].dropna(subset="value").itertuples():
            ax.axvspan(base.low, base.high, color="0.92", linewidth=0, label="none, 95% interval", zorder=0)
            ax.axvline(base.value, color=NEUTRAL, linewidth=0.8, linestyle="--", label="none", zorder=1)
        score_dots(part[part["side"].isin(sides)], ax, "trained_in", "side", lines)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for ax, group in zip(grid[0], groups, strict=True):
        ax.set_title(GROUPS.get(group, group), loc="left", fontsize=7)
    for ax, examples in zip(grid[:, 0], counts, strict=True):
        ax.set_ylabel(f"tuned on {amount(examples)}", fontsize=7)
    figure.legend(*_handles(grid[0][0]), loc="outside upper center", ncols=2 + len(sides))
    figure.supxlabel("accuracy (%); 95% intervals", fontsize=8)
    figure.supylabel("language of phase 2", fontsize=8)
    what = "Dots with 95% intervals: accuracy by language of phase 2, in-domain and out-of-domain"
    figure.set_label(plots.alternative_text(what, _told(rows), ["group", "side", "trained_in", "examples"]))
    return figure


def run_panels(table: pd.DataFrame, groups: list[str]) -> Figure:
    """Gain over ``none`` of every run (lines) in groups of languages (markers), a column per number of examples."""
    rows = table[(table["quantity"] == "gain") & table["group"].isin(groups)]
    names = [run_name(*pair) for pair in zip(rows["side"], rows["trained_in"], strict=True)]
    rows = rows.assign(run=names, group=rows["group"].replace(GROUPS))
    counts = numbers(rows)
    size = (1.2 + 2.8 * len(counts), 0.9 + 0.26 * rows["run"].nunique())
    figure, axes = plt.subplots(1, len(counts), figsize=size, squeeze=False, sharey=True)
    for examples, ax in zip(counts, axes.flat, strict=True):
        score_dots(rows[rows["examples"] == examples], ax, "run", "group")
        ax.set_title(f"tuned on {amount(examples)}", loc="left", fontsize=7)
    figure.legend(*_handles(axes[0][0]), loc="outside upper center", ncols=len(groups))
    figure.supxlabel("gain over none (points); 95% intervals", fontsize=8)
    what = "Dots with 95% intervals: gain over none in points, by run and group of languages"
    figure.set_label(plots.alternative_text(what, _told(rows), ["run", "group", "examples"], signed=True))
    return figure


def language_panels(table: pd.DataFrame, order: list[str]) -> Figure:
    """One quantity language by language: a column per language of phase 2 (per side, where there is one language
    alone), a row per side and number of examples; a panel that no run was asked for is empty.
    The widest intervals may leave the panels. ``order``: languages."""
    across, down = ("trained_in", "side") if table["trained_in"].nunique() > 1 else ("side", "trained_in")
    columns = list(table[across].unique())
    lines = [(name, examples) for name in table[down].unique() for examples in numbers(table)]
    size = (0.9 + max(1.2, 0.17 * len(order)) * len(columns), 0.8 + 1.15 * len(lines))
    figure, grid = plt.subplots(len(lines), len(columns), figsize=size, squeeze=False, sharex=True, sharey=True)
    for (name, examples), axes in zip(lines, grid, strict=True):
        for column, ax in zip(columns, axes, strict=True):
            chosen = table[(table[down] == name) & (table["examples"] == examples) & (table[across] == column)]
            if chosen.empty:
                ax.spines[:].set_visible(False)
                ax.tick_params(length=0)
                ax.tick_params(axis="x", rotation=90, labelsize=5.5)
                continue
            language_dots(chosen.assign(quantity="gain"), ax, order)
            language = chosen["trained_in"].iloc[0]
            for place in [place for place, code in enumerate(order) if code in language.split("=")[0].split(",")]:
                ax.axvspan(place - 0.4, place + 0.4, color="0.9", linewidth=0, zorder=0)
            ax.set_ylim(*gain_limits(table))
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.tick_params(axis="x", rotation=90, labelsize=5.5)
        told = amount(examples) if name in (DROP, SOURCE) else f"{name}\n{amount(examples)}"
        axes[0].set_ylabel(told, fontsize=6)
    for column, ax in zip(columns, grid[0], strict=True):
        title = f"phase 2 in {column}" if across == "trained_in" else f"phase 2 on {column}"
        ax.set_title(title, loc="left", fontweight="bold", fontsize=7)
    figure.supylabel(f"{QUANTITIES[table['quantity'].iloc[0]]} (points)", fontsize=8)
    figure.supxlabel(
        "language, nearest to the source first; filled: the 95% interval excludes zero\ngrey: the language of phase 2 "
        "itself; a line that reaches the edge goes on beyond it",
        fontsize=7.5,
    )
    what = f"Language by language, in points: {QUANTITIES[table['quantity'].iloc[0]]}"
    figure.set_label(
        plots.alternative_text(what, _told(table), ["side", "trained_in", "language", "examples"], signed=True)
    )
    return figure


def measured_panels(measured: pd.DataFrame) -> Figure:
    """The measured shift: proxy A-distances of each task from each part of the target's text, and shared words."""
    pair = measured["task"] + " → " + measured["against"]
    distances = [
        pd.DataFrame({"pair": pair, "by": name, "quantity": "score", "value": measured[name],
                      "low": measured[f"{name}_low"], "high": measured[f"{name}_high"]})
        for name in ("characters", "words")
    ]  # fmt: skip
    labels = {"covered": "running words known", "jaccard": "vocabulary shared (Jaccard)"}
    shares = [
        pd.DataFrame({"pair": pair, "by": label, "quantity": "score"} | dict.fromkeys(ENDS, measured[name]))
        for name, label in labels.items()
    ]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 1.1 + 0.24 * len(measured)), sharey=True)
    for ax, parts, label, end in (
        (left, distances, "proxy A-distance, 2 (1 − 2 × the classifier's error)", 2),
        (right, shares, "share", 1),
    ):
        score_dots(pd.concat(parts), ax, "pair", "by")
        ax.set(xlabel=label, xlim=(-0.03 * end, 1.03 * end))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1, handletextpad=0.2)
    said = [
        plots.alternative_text(
            "Dots: how far apart domains are, as proxy A-distance", pd.concat(distances), ["pair", "by"], decimals=2
        )
    ]
    said.append(plots.alternative_text("Shares of words in common", pd.concat(shares), ["pair", "by"], decimals=2))
    figure.set_label(" ".join(said))
    return figure


def distance_panels(points: pd.DataFrame, rho: pd.DataFrame) -> Figure:
    """Gain against measured distance, a panel per number of examples; columns as ``shift.by_distance`` gives them."""
    counts = numbers(points)
    size = (0.8 + 2.9 * len(counts), 2.8)
    figure, axes = plt.subplots(1, len(counts), figsize=size, squeeze=False, sharex=True, sharey=True)
    for examples, ax in zip(counts, axes.flat, strict=True):
        part = points[points["examples"] == examples].dropna(subset="value")
        ax.axhline(0, color="0.3", linewidth=0.6)
        beside = part.groupby(part["characters"].round(1)).cumcount().to_numpy()  # of points that are as far
        for number, row in enumerate(part.itertuples()):
            place = row.characters + 0.04 * beside[number]
            shade, marker = str(0.1 + 0.5 * number / len(part)), "oD^svP*X"[number % 8]
            ax.vlines(place, row.low, row.high, colors=shade, linewidth=0.9)
            ax.hlines(row.value, row.characters_low, row.characters_high, colors=shade, linewidth=0.9)
            name = f"{row.task}, {row.topic} items" if row.topic else row.task
            face = shade if row.low > 0 or row.high < 0 else "white"
            ax.scatter(place, row.value, s=18, marker=marker, facecolors=face, edgecolors=shade, label=name, zorder=3)
        found = rho[rho["examples"] == examples].iloc[0]
        text = f"ρ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]" if np.isfinite(found.rho) else "ρ: too few"
        ax.set_title(f"tuned on {amount(examples)}", loc="left", fontsize=7)
        ax.set_title(text.replace("-", "−"), loc="right", fontsize=7)
        ax.grid(axis="y")
    figure.legend(*_handles(axes[0][0]), loc="outside upper center", ncols=4)
    figure.supxlabel(
        "proxy A-distance of phase 2 from the target's text (filled: the gain's interval excludes zero)", fontsize=7
    )
    figure.supylabel("gain over none (points)", fontsize=8)
    what = "Gain over none in points against the domain's distance from the target"
    said = [plots.alternative_text(what, _told(points), ["task", "examples"], signed=True)]
    correlations = _told(rho).rename(columns={"rho": "value"})
    figure.set_label(
        " ".join([*said, plots.alternative_text("Spearman's rho", correlations, ["examples"], signed=True, decimals=2)])
    )
    return figure


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """With numbers of training examples in words."""
    return table.assign(examples=[amount(number) for number in table["examples"]])


def _handles(ax: Axes) -> tuple[list, list]:
    named = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    return list(named.values()), list(named)
