"""How many examples an intermediate task is worth: crossings by hand, against scikit-learn, and on known curves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import IsotonicRegression

from synthetic import known, study
from xstilts import results
from xstilts.questions import distance as learning_curves
from xstilts.questions.distance import INTERMEDIATE, MEDIAN, crossing, smoothed
from xstilts.sources import open_source

SIZES = [10, 100, 1000]


def at(scores, level, sizes=SIZES):
    curve = smoothed(np.array(scores, float)[:, None])
    return crossing(sizes, curve, np.array([float(level)]))[0]


def test_crossings_by_hand():
    assert at([40, 50, 60], 45) == pytest.approx(10**1.5)
    assert at([40, 50, 60], 50) == pytest.approx(100) and at([40, 50, 60], 60) == pytest.approx(1000)
    assert at([40, 50, 60], 40) == at([40, 50, 60], 12) == 0, "fewer than the smallest"
    assert at([40, 50, 60], 60.1) == np.inf, "more than the largest"
    assert at([40, 60, 50], 55) == pytest.approx(100), "the fall is smoothed to 55, 55"
    assert at([40, 60, 50], 56) == np.inf
    assert at([50, 50, 60], 50) == 0 and at([40], 40, [10]) == 0 and at([40], 41, [10]) == np.inf


def test_crossings_are_those_of_an_isotonic_regression_turned_round():
    rng, sizes = np.random.default_rng(0), np.array([10, 30, 100, 300, 1000])
    scores, levels = 30 + 5 * np.arange(5)[:, None] + rng.normal(0, 6, (5, 200)), rng.uniform(25, 55, 200)
    found = crossing(sizes, smoothed(scores), levels)
    for curve, level, one in zip(scores.T, levels, found, strict=True):
        fitted = IsotonicRegression().fit_transform(np.log10(sizes), curve)
        grid = np.linspace(1, 3, 200_001)
        there = np.interp(grid, np.log10(sizes), fitted) >= level
        if 0 < one < np.inf:
            assert np.log10(one) == pytest.approx(grid[there.argmax()], abs=2e-5)
        else:
            assert (one == 0) == there[0] and (one == np.inf) == (not there.any())
    assert {0, np.inf} < set(found)


def table(smallest=10, points=(10, 100, 1000)):
    return pd.DataFrame(
        [("xnli", code, f"direct={count}", count) for code in ("qab", "qac") for count in points]
        + [("xnli", "qaa", f"source={count}", count) for count in points],
        columns=["target", "language", "run", "examples"],
    )


def test_known_crossings_are_found():
    """Direct tuning scores 30 + 10 log10(n), in qac 8 more; ``none`` and the runs are levels."""
    levels = {"none": 45, "mnli": 55, "ccg": 20, "qqp": 70}

    def score(run, target, code, seed):
        word, _, count = run.partition("=")
        if word in levels:
            return levels[word] + seed
        return (20 if word == "source" else 30) + 10 * np.log10(int(count)) + seed + (8 if code == "qac" else 0)

    runs = [*levels, *(f"{word}={count}" for word in ("direct", "source") for count in SIZES)]
    found = results.resample(known(score, runs, ["xnli"], ["qab", "qac"], [1, 2]), np.random.default_rng(0), 100)
    runs = ["none", "mnli", "ccg", "qqp", "absent"]
    worth = learning_curves.worth(found, table(), runs, ["mnli", "qqp", "absent"]).set_index(["language", "run"])
    expected = {"none": 10**1.5, "mnli": 10**2.5, "ccg": 0, "qqp": np.inf}
    for run, examples in expected.items():
        row = worth.loc["qab", run]
        assert row[["examples", "low", "high"]].tolist() == pytest.approx([examples] * 3, rel=1e-3)
    assert worth.loc[("qac", "none"), "examples"] == 0 and worth.loc[("qac", "mnli"), "examples"] == pytest.approx(
        10**1.7
    )
    # the mean of 55 and 70 is beyond both curves; of the two languages' numbers the median is the lower one
    medians = worth.loc[MEDIAN, "examples"].to_dict()
    assert medians == pytest.approx(
        {"none": 0, "mnli": 10**1.7, "ccg": 0, "qqp": np.inf, INTERMEDIATE: 10**2.45}, rel=1e-3
    )
    assert worth.loc[("qab", INTERMEDIATE), "examples"] == np.inf
    assert set(worth["smallest"]) == {10} and set(worth["largest"]) == {1000} and "absent" not in worth.index.levels[1]
    curves = learning_curves.learning_curves(found, table(), ["qaa", "qab", "qac"])
    drawn = curves.pivot(index=["series", "language"], columns="examples", values="value")
    assert drawn.loc["direct", "qac"].tolist() == pytest.approx([49.5, 59.5, 69.5], abs=1e-4)
    assert drawn.loc["source", "qab"].tolist() == pytest.approx([31.5, 41.5, 51.5], abs=1e-4)
    assert len(drawn) == 4, "the source language was not scored"


def test_a_curve_that_falls_is_smoothed_first():
    scores = {"direct=10": 40, "direct=100": 60, "direct=1000": 50, "none": 55, "mnli": 58}
    stats = known(lambda run, *_: scores[run], list(scores), ["xnli"], ["qab"], [1])
    found = results.resample(stats, np.random.default_rng(0), 20)
    worth = learning_curves.worth(found, table()[lambda rows: rows["language"] == "qab"], ["none", "mnli"], [])
    assert worth["examples"].tolist() == [pytest.approx(100, rel=1e-3), np.inf] * 2, "its median is the one language's"


def test_curve_and_level_move_together():
    """A run that answers every example as ``direct=100`` does is worth a hundred examples on every resample."""
    rng, rows = np.random.default_rng(1), []
    ease = rng.random(200)
    for run, chance in (("direct=10", 0.2), ("direct=100", 0.5), ("direct=1000", 0.8), ("none", 0.5)):
        rows.append((run, (ease < chance).astype(float)))
    stats = known(lambda *_: 0, [run for run, _ in rows], ["xnli"], ["qab"], [1], examples=200)
    stats["numerator"] = np.concatenate([values for _, values in rows])
    found = results.resample(stats, np.random.default_rng(0), 300)
    row = learning_curves.worth(found, table()[lambda rows: rows["language"] == "qab"], ["none"], []).iloc[0]
    assert row[["examples", "low", "high"]].tolist() == pytest.approx([100] * 3)


def test_sizes_are_what_is_trained_on(tmp_path):
    direct = {"targets": ["xnli", "udpos"], "training_languages": ["source", "each"], "examples": [10, 300, 0]}
    micro = {"languages": ["qaa", "qab"], "classification": {"train": 400}, "tagging": {"train": 200}}
    one = study(tmp_path, targets=["xnli", "udpos"], micro=micro, further={"direct": direct})
    sizes = learning_curves.training_sizes(one, open_source(one))
    found = sizes.groupby(["target", "language"])[["run", "examples"]].agg(list)
    assert found.loc["xnli", "qab"].tolist() == [["direct=10", "direct=300", "direct=0"], [10, 300, 400]]
    # 300 of 200 is the whole set, and stands once
    assert found.loc["udpos", "qaa"].tolist() == [["source=10", "source=0"], [10, 200]]
