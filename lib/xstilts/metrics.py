"""Scores as ratios of sums: every example yields, per metric, a numerator and a denominator.

A table of statistics has the columns language, id, metric, numerator, denominator; a score over any
subset or resample of examples is 100 x sum(numerator) / sum(denominator). Sums over a whole set
equal the official scorers.
"""

import re
import string
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import pandas as pd
from seqeval.metrics.sequence_labeling import get_entities

COLUMNS = ["language", "id", "metric", "numerator", "denominator"]


def classification(ids: Sequence[str], gold: Sequence[int], predicted: Sequence[int], language: str) -> pd.DataFrame:
    """Accuracy of labels or of chosen alternatives. ValueError for a gold label below 0 (unlabelled)."""
    _aligned(ids, gold, predicted)
    for example, label in zip(ids, gold, strict=True):
        if label < 0:
            raise ValueError(f"{language}: example {example} has no gold label")
    return _table(language, ids, {"accuracy": [(float(g == p), 1.0) for g, p in zip(gold, predicted, strict=True)]})


def tagging(
    ids: Sequence[str], gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], language: str
) -> pd.DataFrame:
    """Entity F1 as seqeval counts it (XTREME scores UDPOS with it too, on bare tags), and token accuracy.

    F1 is micro: numerator 2tp, denominator 2tp + fp + fn of the sentence. seqeval separates sentences
    with an O before it looks for entities, so the sums over sentences are the corpus's.
    """
    _aligned(ids, gold, predicted)
    f1, accuracy = [], []
    for example, right, found in zip(ids, gold, predicted, strict=True):
        if len(right) != len(found):
            raise ValueError(f"{language}: example {example} has {len(right)} words and {len(found)} predicted tags")
        # the trailing O is seqeval's own sentence separator; some of its rules look at the next tag
        with warnings.catch_warnings(action="ignore"):  # "NOUN seems not to be NE tag"
            there, seen = set(get_entities([*right, "O"])), set(get_entities([*found, "O"]))
        f1.append((2.0 * len(there & seen), float(len(there) + len(seen))))
        accuracy.append((float(sum(g == p for g, p in zip(right, found, strict=True))), float(len(right))))
    return _table(language, ids, {"f1": f1, "accuracy": accuracy})


def span(
    ids: Sequence[str], gold: Sequence[Sequence[str]], predicted: Sequence[str], language: str, scorer: str = "squad"
) -> pd.DataFrame:
    """Exact match and token F1, the best over the gold answers; no gold answer means "" is right.

    ``scorer``: "squad" (SQuAD v1.1/v2.0 normalisation whatever the language, as XTREME scores XQuAD and
    TyDiQA) or "mlqa" (articles by language, all Unicode punctuation, Chinese split into characters).
    """
    _aligned(ids, gold, predicted)
    words: Callable[[str], list[str]] = _squad_words if scorer == "squad" else lambda text: _mlqa_words(text, language)
    exact, overlap = [], []
    for answers, answer in zip(gold, predicted, strict=True):
        found = words(answer)
        right = [words(text) for text in answers] or [[]]
        exact.append((float(any(found == text for text in right)), 1.0))
        overlap.append((max(_overlap(text, found) for text in right), 1.0))
    return _table(language, ids, {"f1": overlap, "exact_match": exact})


def mining(ids: Sequence[str], gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], language: str) -> pd.DataFrame:
    """F1 on sets of mined pairs, as BUCC scores it. ``ids`` are the foreign sentences, ``gold`` and
    ``predicted`` the source-language ids each is paired with."""
    _aligned(ids, gold, predicted)
    pairs = [(set(right), set(found)) for right, found in zip(gold, predicted, strict=True)]
    return _table(language, ids, {"f1": [(2.0 * len(r & f), float(len(r) + len(f))) for r, f in pairs]})


def score(stats: pd.DataFrame) -> pd.DataFrame:
    """Percent per language (rows, in the order they came) and metric (columns)."""
    sums = stats.groupby(["language", "metric"], sort=False)[["numerator", "denominator"]].sum()
    return (100 * sums["numerator"] / sums["denominator"]).unstack("metric")


def _aligned(ids: Sequence, gold: Sequence, predicted: Sequence) -> None:
    if not len(ids) == len(gold) == len(predicted):
        raise ValueError(f"{len(ids)} ids, {len(gold)} gold labels and {len(predicted)} predictions do not match")


def _table(language: str, ids: Sequence[str], metrics: dict[str, list[tuple[float, float]]]) -> pd.DataFrame:
    rows = [
        (language, example, metric, *pair)
        for metric, pairs in metrics.items()
        for example, pair in zip(ids, pairs, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _overlap(right: list[str], found: list[str]) -> float:
    """Token F1; where either side is empty, 1 only if both are (SQuAD v2.0's rule)."""
    if not right or not found:
        return float(right == found)
    common = sum((Counter(right) & Counter(found)).values())
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(right)
    return 2 * precision * recall / (precision + recall)


def _squad_words(text: str) -> list[str]:
    """The official SQuAD v1.1 normalisation: lower case, no ASCII punctuation, no English articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


# facebookresearch/MLQA mlqa_evaluation_v1.py: articles stripped per language
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
}


@cache
def _unicode_punctuation() -> frozenset[str]:
    letters = (chr(code) for code in range(sys.maxunicode + 1))
    return frozenset(letter for letter in letters if unicodedata.category(letter).startswith("P")) | set(
        string.punctuation
    )


def _mlqa_words(text: str, language: str) -> list[str]:
    punctuation = _unicode_punctuation()
    text = "".join(letter for letter in text.lower() if letter not in punctuation)
    if language in _ARTICLES:
        text = re.sub(_ARTICLES[language], " ", text)
    if language != "zh":
        return text.split()
    # mixed segmentation: each Chinese character is a token, runs of anything else are split on space
    return re.sub(r"([\u4e00-\u9fa5])", r" \1 ", text).split()
