"""Scores as ratios of sums: every example yields, per metric, a numerator and a denominator.

A table of statistics has the columns language, id, metric, numerator, denominator; a score over any
subset or resample of examples is 100 x sum(numerator) / sum(denominator). Sums over a whole set
equal the official scorers.

Every function takes ``ids``, ``gold`` and ``predicted`` in the same order and raises ValueError, naming
the example, for an id that stands twice and for a prediction that is missing or one too many.
"""

import re
import string
import unicodedata
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, zip_longest
from typing import Any

import pandas as pd

from xstilts.tasks import Task

COLUMNS = ["language", "id", "metric", "numerator", "denominator"]
BIOES = {"L-": "E-", "U-": "S-", "M-": "I-"}  # what stands for the letters of BILOU and BMES
Lists = Sequence[Sequence[Any]]  # of each example: its tags, answers or ids


def classification(ids: Sequence[str], gold: Sequence[int], predicted: Sequence[int], language: str) -> pd.DataFrame:
    """Accuracy of labels, of chosen alternatives or of retrieved rows. ValueError for a gold label below 0
    (unlabelled)."""
    _check(ids, gold, predicted, language)
    for example, label in zip(ids, gold, strict=True):
        if label < 0:
            raise ValueError(f"{language}: example {example} has no gold label")
    right = [float(g == p) for g, p in zip(gold, predicted, strict=True)]
    return _table(language, ids, {"accuracy": (right, [1.0] * len(ids))})


def tagging(ids: Sequence[str], gold: Lists, predicted: Lists, language: str, scorer: str = "") -> pd.DataFrame:
    """Entity F1 as seqeval 1.2.2 counts it (XTREME scores UDPOS with it too, on bare tags), and token accuracy.

    F1 is micro: numerator 2tp, denominator 2tp + fp + fn of the sentence. Where tags lack the B-, I- the
    sentences go in as one corpus, as in ``seqeval.metrics.f1_score``: the chunk of an "X" that opens a
    sentence then begins where the last chunk before it did, be that in the sentence before. Chunks count
    for the sentence they end in.

    ``scorer`` of a user's own tags, else "": "words" counts each word with a tag but O as a chunk of its own;
    "chunks" reads BIO, BIOES and BILOU (or BMES), whose L-, U- and M- are E-, S- and I-.
    """
    _check(ids, gold, predicted, language)
    for example, right, tags in zip(ids, gold, predicted, strict=True):
        if len(right) != len(tags):
            raise ValueError(f"{language}: example {example} has {len(right)} words and {len(tags)} predicted tags")
        if not all(right) or not all(tags):
            raise ValueError(f"{language}: example {example} has a word without a gold or predicted tag")
    starts = list(accumulate((len(right) + 1 for right in gold), initial=0))  # seqeval puts an O between sentences
    shared, both = [0] * len(ids), [0] * len(ids)
    gold_chunks, predicted_chunks = _chunks(gold, scorer), _chunks(predicted, scorer)
    for chunk in [*gold_chunks, *predicted_chunks]:
        both[bisect_right(starts, chunk[2]) - 1] += 1
    for chunk in gold_chunks & predicted_chunks:
        shared[bisect_right(starts, chunk[2]) - 1] += 2
    correct = [sum(map(str.__eq__, *pair)) for pair in zip(gold, predicted, strict=True)]
    return _table(language, ids, {"f1": (shared, both), "accuracy": (correct, list(map(len, gold)))})


def span(ids: Sequence[str], gold: Lists, predicted: Sequence, language: str, scorer: str = "squad") -> pd.DataFrame:
    """Exact match and token F1, the best over the gold answers of each question.

    ``scorer``: "squad" (SQuAD's normalisation whatever the language, as XTREME scores XQuAD and TyDiQA) or
    "mlqa" (articles by language, all Unicode punctuation, Chinese split into characters; a language that
    MLQA lacks is split at white space and has no articles).

    Under "squad" a set with unanswerable questions (no gold answer; "" is right) goes by the rules of
    SQuAD v2.0, any other by v1.1's. They differ where normalisation leaves nothing, as of "The": F1 of two
    such answers is 1 in v2.0 and 0 in v1.1 and MLQA; v2.0 passes over such gold answers.
    ValueError for a question without gold answer under "mlqa".
    """
    _check(ids, gold, predicted, language)
    words: Callable[[str], list[str]] = _squad_words if scorer == "squad" else lambda text: _mlqa_words(text, language)
    second = not all(gold)  # some are unanswerable
    if scorer == "mlqa" and second:
        raise ValueError(f"{language}: example {ids[list(map(bool, gold)).index(False)]} has no gold answer")
    exact, overlap = [], []
    for answers, answer in zip(gold, predicted, strict=True):
        prediction = words(answer)
        right = [words(text) for text in answers]
        if second:
            right = [text for text in right if text] or [[]]
        exact.append(float(prediction in right))
        overlap.append(exact[-1] if second and right == [[]] else max(_overlap(text, prediction) for text in right))
    ones = [1.0] * len(ids)
    return _table(language, ids, {"f1": (overlap, ones), "exact_match": (exact, ones)})


def mining(ids: Sequence[str], gold: Lists, predicted: Lists, language: str) -> pd.DataFrame:
    """F1 on sets of mined pairs, as BUCC scores it: numerator 2tp, denominator 2tp + fp + fn.

    ``ids`` are all foreign sentences, ``gold`` and ``predicted`` the source-language ids each is paired with.
    """
    _check(ids, gold, predicted, language)
    pairs = [(set(right), set(prediction)) for right, prediction in zip(gold, predicted, strict=True)]
    shared = [2 * len(right & prediction) for right, prediction in pairs]
    return _table(language, ids, {"f1": (shared, [len(right) + len(prediction) for right, prediction in pairs])})


CUTOFFS = (1, 5, 10, 20)  # of recall; the last is as deep as a ranking is looked at


def ranking(ids: Sequence[str], gold: Lists, predicted: Lists, language: str) -> pd.DataFrame:
    """Average precision of the first 20 candidates ("map@20") and the share of the relevant ones among the first
    1, 5, 10 and 20 ("recall@1", …), for each query.

    ``gold`` are the relevant candidates of each query, ``predicted`` the ranked ones, best first. Average precision
    is XTREME-R's (``utils_lareqa.average_precision_at_k``): the precisions at the relevant candidates among the
    first 20, added up and divided by min(relevant, 20); with one relevant candidate it is the reciprocal rank, as
    Mewsli-X is scored. Recall is divided by all relevant ones: with eight of them recall@1 is at most 12.5 %.
    ValueError for a query without a relevant candidate and for a candidate ranked twice.
    """
    _check(ids, gold, predicted, language)
    depth = CUTOFFS[-1]
    values: dict[str, list[float]] = {name: [] for name in ("map@20", *(f"recall@{cut}" for cut in CUTOFFS))}
    for example, right, prediction in zip(ids, gold, predicted, strict=True):
        if not right:
            raise ValueError(f"{language}: query {example} has no relevant candidate")
        if len(set(prediction)) < len(prediction):
            raise ValueError(f"{language}: query {example} has a candidate ranked twice")
        relevant = set(right)
        ranks = [rank for rank, candidate in enumerate(prediction[:depth], 1) if candidate in relevant]
        precisions = sum(count / rank for count, rank in enumerate(ranks, 1))
        values["map@20"].append(precisions / min(len(relevant), depth))
        for cut in CUTOFFS:
            values[f"recall@{cut}"].append(sum(rank <= cut for rank in ranks) / len(relevant))
    return _table(language, ids, {name: (column, [1.0] * len(ids)) for name, column in values.items()})


def score(stats: pd.DataFrame) -> pd.DataFrame:
    """Percent per language (rows, in the order they came) and metric (columns).

    0 where nothing was there to be found and nothing was found (no entity, no pair), as the official
    scorers have it.
    """
    sums = stats.groupby(["language", "metric"], sort=False)[["numerator", "denominator"]].sum()
    return (100 * sums["numerator"] / sums["denominator"].where(sums["denominator"] > 0, 1)).unstack("metric")


def task_metrics(task: Task) -> tuple[str, ...]:
    """Metrics averaged into a task's score, as XTREME does: F1 and exact match of spans, else the main one."""
    return task.metrics if task.kind == "span" else task.metrics[:1]


def _check(ids: Sequence, gold: Sequence, predicted: Sequence, language: str) -> None:
    if len(ids) != len(gold):
        raise ValueError(f"{language}: {len(ids)} ids and {len(gold)} gold labels do not match")
    if len(predicted) > len(ids):
        raise ValueError(f"{language}: {len(predicted) - len(ids)} more predictions than examples")
    for example, prediction in zip_longest(ids, predicted):
        if prediction is None:
            raise ValueError(f"{language}: no prediction for example {example}")
    for example, count in Counter(ids).items():
        if count > 1:
            raise ValueError(f"{language}: id {example} stands twice")


def _table(language: str, ids: Sequence[str], metrics: dict[str, tuple[Sequence, Sequence]]) -> pd.DataFrame:
    """Rows metric by metric, in the order of the examples; ``metrics``: name -> (numerators, denominators)."""
    columns = ((language, list(ids), metric, *sums) for metric, sums in metrics.items())
    parts = [pd.DataFrame(dict(zip(COLUMNS, part, strict=True))) for part in columns]
    return pd.concat(parts, ignore_index=True).astype({"numerator": float, "denominator": float})


def _chunks(sentences: Sequence[Sequence[Any]], scorer: str) -> set[tuple[str, int, int]]:
    """(type, first, last word) of every chunk; words are numbered through the corpus, one O after each sentence."""
    if scorer == "words":
        tags = enumerate(chain.from_iterable([*sentence, "O"] for sentence in sentences))
        return {(tag, position, position) for position, tag in tags if tag != "O"}
    if scorer == "chunks":
        sentences = [[BIOES.get(tag[:2], tag[:2]) + tag[2:] for tag in sentence] for sentence in sentences]
    from seqeval.metrics.sequence_labeling import get_entities  # brings all of scikit-learn: only where tags are scored

    with warnings.catch_warnings(action="ignore"):  # "NOUN seems not to be NE tag"
        return set(get_entities([list(tags) for tags in sentences]))


def _overlap(right: list[str], prediction: list[str]) -> float:
    """F1 of two bags of words; 0 where they share none."""
    common = sum((Counter(right) & Counter(prediction)).values())
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(right)
    return 2 * precision * recall / (precision + recall)


_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _squad_words(text: str) -> list[str]:
    """The normalisation of SQuAD v1.1 and v2.0: lower case, no ASCII punctuation, no English articles."""
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_ASCII_PUNCTUATION)).split()


# articles that MLQA's evaluation script (mlqa_evaluation_v1.py) strips; the Arabic pattern is as odd there
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
}


def _mlqa_words(text: str, language: str) -> list[str]:
    letters = (letter for letter in text.lower() if unicodedata.category(letter)[0] != "P")
    text = "".join(letters).translate(_ASCII_PUNCTUATION)  # some of which are symbols to Unicode
    if language in _ARTICLES:
        text = re.sub(_ARTICLES[language], " ", text)
    if language == "zh":  # each Chinese character is a word; anything between is split at white space
        text = re.sub(r"([\u4e00-\u9fa5])", r" \1 ", text)
    return text.split()
