"""Worst language, spread and losers, by hand and against an independent computation."""

import numpy as np
import pandas as pd
import pytest

from synthetic import known, statistics
from xstilts import results
from xstilts.questions import distance as robust
from xstilts.questions.distance import INTERMEDIATE, robustness
from xstilts.settings import DIRECT

SCORES = {  # run -> scores in qab, qac, qad on XNLI; on UDPOS ten more
    "none": (60, 40, 20),
    "mnli": (70, 30, 20),
    "ccg": (59, 39, 25),
    "direct=0": (60, 60, 60),
}
CODES = ["qab", "qac", "qad"]


def test_by_hand():
    def score(run, target, code, seed):
        return SCORES[run][CODES.index(code)] + (10 if target == "udpos" else 0) + seed

    stats = known(score, list(SCORES), ["xnli", "udpos"], CODES, [1, 2])
    found = results.resample(stats, np.random.default_rng(0), 50)
    table = robustness(found, ["xnli", "udpos"], ["mnli", "ccg"], ["mnli", "ccg"], CODES).set_index("series")
    assert list(table.index) == ["none", "mnli", "ccg", DIRECT, INTERMEDIATE]
    assert table["worst"].tolist() == pytest.approx([26.5, 26.5, 31.5, 66.5, 29], abs=1e-4)
    assert table["worst_gain"].tolist() == pytest.approx([0, 0, 5, 40, 2.5], abs=1e-4)
    assert table["sd"].tolist() == pytest.approx([np.std(SCORES[run]) for run in SCORES] + [table["sd"][1:3].mean()])
    assert table["sd_gain"][DIRECT] == pytest.approx(-np.std(SCORES["none"]), abs=1e-4)
    assert table["lose"].tolist() == pytest.approx([0, 100 / 3, 200 / 3, 0, 50])
    assert table["lose_clearly"].tolist() == table["lose"].tolist(), "there is no noise"
    assert table["cells"].tolist() == [6, 6, 6, 6, 12] and set(table["seeds"]) == {2}
    ends = table.loc[INTERMEDIATE, ["worst_low", "worst_high", "sd_low", "sd_high"]].tolist()
    assert ends == pytest.approx([2.5, 2.5, *[table["sd_gain"][INTERMEDIATE]] * 2], abs=1e-4)


def test_a_run_is_compared_over_its_own_seeds():
    def score(run, target, code, seed):
        return SCORES[run][CODES.index(code)] + 10 * seed

    stats = known(score, ["none", "mnli"], ["xnli"], CODES, [1, 2])
    stats = stats[(stats["intermediate"] == "none") | (stats["seed"] == 2)]
    table = robustness(results.resample(stats, np.random.default_rng(0), 50), ["xnli"], ["mnli"], [], CODES)
    row = table[table["series"] == "mnli"].iloc[0]
    assert row["worst_gain"] == pytest.approx(0, abs=1e-4) and row["seeds"] == 1
    assert row["lose"] == pytest.approx(100 / 3)


def test_the_mean_of_runs_is_as_sure_as_its_runs_allow():
    """Runs that differ from ``none`` by one and the same noise are no surer together; independent ones are."""
    runs = ["none", *(f"mnli={number}" for number in range(1, 5))]
    stats = statistics(runs, ["xnli"], ["qaa", *CODES], [1, 2, 3], 150)
    copied = stats[stats["intermediate"].isin(runs[:2])]
    copied = pd.concat([copied, copied[copied["intermediate"] == runs[1]].assign(intermediate=runs[2])])
    width = {}
    for name, table, some in (("apart", stats, runs[1:]), ("same", copied, runs[1:3])):
        found = results.resample(table, np.random.default_rng(0), 300)
        even = robustness(found, ["xnli"], some, some, CODES).set_index("series")
        size = even["worst_high"] - even["worst_low"]
        width[name] = size[INTERMEDIATE] / size[some].mean()
    assert width["same"] == pytest.approx(1, abs=1e-3) and width["apart"] < 0.9


def test_without_none_nothing_is_known():
    stats = known(lambda run, target, code, seed: 50, ["mnli"], ["xnli"], CODES, [1, 2])
    table = robustness(results.resample(stats, np.random.default_rng(0), 50), ["xnli"], ["mnli"], ["mnli"], CODES)
    assert table["worst"].isna().all() and set(table["seeds"]) == {0}


def test_deviations_of_the_worst_and_of_the_spread_are_their_derivatives():
    values, moved, step = np.array([60.0, 40, 20, 35]), np.random.default_rng(0).normal(size=(4, 30)), 1e-5
    part = np.c_[values, moved]
    for ours, exact in ((robust._lowest, np.min), (robust._scatter, np.std)):
        changed = [exact(values + step * column) for column in moved.T]
        assert ours(part)[0] == exact(values)
        np.testing.assert_allclose(ours(part)[1:], (np.array(changed) - exact(values)) / step, atol=1e-4)


def test_noise_alone_makes_no_run_less_even():
    """Minimum and deviation are biased on resamples; their intervals are not to be."""
    runs = ["none", *(f"mnli={number}" for number in range(1, 13))]
    stats = statistics(runs, ["xnli"], ["qaa", *CODES], [1, 2, 3], 150)
    table = robustness(results.resample(stats, np.random.default_rng(0), 300), ["xnli"], runs[1:], [], CODES)[1:]
    for name in ("worst", "sd"):
        assert ((table[f"{name}_low"] <= 0) & (table[f"{name}_high"] >= 0)).sum() >= 10
        middle = (table[f"{name}_low"] + table[f"{name}_high"]) / 2 - table[f"{name}_gain"]
        width = table[f"{name}_high"] - table[f"{name}_low"]
        assert abs(middle.mean()) < 0.1 * width.mean(), "centred on the change itself"
