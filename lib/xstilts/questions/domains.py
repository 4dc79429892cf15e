"""How far apart two sets of texts are: a domain classifier's error, and the words they share. Pure functions.

The proxy A-distance is 2 (1 - 2 e), e the error of a classifier that tells the two sets apart (Ben-David et al. 2007,
"Analysis of representations for domain adaptation", NIPS 19; Ben-David et al. 2010, doi:10.1007/s10994-009-5152-4):
0 where they cannot be told apart, 2 where they always can. Here the classifier is a logistic regression on hashed
n-grams of characters, which every script has, or on words, and sees the beginning of each text: by their lengths alone
the texts of two tasks could be told apart, whatever they are about.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from scipy.stats import binomtest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from ..errors import UserError
from ..tasks import Task

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
