"""CKA and cosine margin: hand-worked, invariant where they should be, and equal to other formulations."""

import numpy as np
import pytest

from xstilts.evaluation.retrieval import alignment, cosine_margin, linear_cka


def rotation(rng, width):
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def hsic_cka(x, y):
    """CKA from Gram matrices: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), HSIC = tr(KHLH) / (n - 1)^2 (Gretton et
    al. 2005, as in Kornblith et al. 2019, equations 2 and 3)."""
    count = len(x)
    centring = np.eye(count) - 1 / count

    def hsic(k, m):
        return np.trace(k @ centring @ m @ centring) / (count - 1) ** 2

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("shape", [(12, 5, 5), (6, 20, 9), (2, 3, 3)])
def test_cka_is_that_of_the_gram_matrices(shape):
    count, left, right = shape
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (count, left))
    y = 0.5 * x[:, :1] + rng.normal(size=(count, right))
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), abs=1e-12)
    assert linear_cka(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(hsic_cka(x, y), abs=1e-5)


def test_cka_sees_through_rotation_shift_and_scale_but_not_a_permutation():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 6))
    assert linear_cka(x, 3 * x @ rotation(rng, 6) + 7) == pytest.approx(1)
    assert linear_cka(x, x @ np.diag([10, 1, 1, 1, 1, 1])) < 0.9, "no invariance to any linear map"
    assert linear_cka(x, x[rng.permutation(40)]) < 0.5
    assert np.isnan(linear_cka(x, np.ones((40, 2))))
    assert cosine_margin(x, x @ rotation(rng, 6)) < 0.5 < cosine_margin(x, x), "a cosine does not see through it"


def test_margin_by_hand():
    """Gold cosines 1 and 0.6; the others are 0.8 (first with the second) and 0 (second with the first)."""
    x, y = np.array([[1.0, 0], [0, 2]]), np.array([[3.0, 0], [0.8, 0.6]])
    assert cosine_margin(x, y) == pytest.approx((1 + 0.6) / 2 - (0.8 + 0) / 2)
    assert alignment(x, y) == pytest.approx({"cka": 100 * linear_cka(x, y), "cosine_margin": 40})
    assert np.isnan(cosine_margin(x[:1], y[:1]))


def test_margin_is_the_mean_over_the_whole_matrix_of_cosines():
    rng = np.random.default_rng(2)
    x, y = rng.normal(1, 1, (30, 7)).astype(np.float32), rng.normal(1, 1, (30, 7))
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x])
    per_row = [cosines[i, i] - np.delete(cosines[i], i).mean() for i in range(30)]
    assert cosine_margin(x, y) == pytest.approx(np.mean(per_row), abs=1e-6)
    assert cosine_margin(x, y) == pytest.approx(cosine_margin(y, x), abs=1e-6)
