"""How well two languages' sentence vectors are aligned: linear CKA and the mean cosine margin of parallel sentences."""

import numpy as np


def alignment(queries: np.ndarray, candidates: np.ndarray) -> dict[str, float]:
    """{"cka", "cosine_margin"} in percent of parallel sentences' pooled states: row i of (sentences, width) is the
    translation of row i of the other."""
    return {"cka": 100 * linear_cka(queries, candidates), "cosine_margin": 100 * cosine_margin(queries, candidates)}


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment, 0 to 1 (Kornblith et al. 2019, arXiv:1905.00414, section 3); rows are
    examples, columns may differ in number. It does not change when either side is rotated, shifted or scaled as a
    whole: alignment up to an orthogonal map, which a cosine does not see.

    Biased upwards where sentences are few for the width: compare what has the same sentences and width. NaN where
    one side does not vary.
    """
    x, y = (side - side.mean(axis=0, dtype=np.float64) for side in (x, y))
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norms) if norms else np.nan


def cosine_margin(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over parallel rows of their cosine minus the mean cosine with the non-translations, -2 to 2: the
    "distance" margin of Artetxe and Schwenk (2019, arXiv:1811.01136) with all the other sentences, not the k
    nearest, for neighbours. What a language's vectors have in common raises every cosine and leaves the margin.
    NaN of fewer than two rows.
    """
    count = len(x)
    if count < 2:
        return np.nan
    x, y = (side.astype(np.float64) for side in (x, y))
    x, y = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (x, y))
    gold = (x * y).sum()
    others = x.sum(axis=0) @ y.sum(axis=0) - gold  # the sum over all pairs is the product of the sums
    return float(gold / count - others / (count * (count - 1)))
