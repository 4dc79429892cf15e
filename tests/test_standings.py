"""Ranks of runs by hand, ties, gaps, and intervals that hold what they should."""

import numpy as np

from synthetic import known, statistics, wanted
from xstilts import results, summaries
from xstilts.inference import from_statistics

RUNS, TARGETS, CODES = ["none", "mnli", "ccg", "qqp"], ["xnli", "pawsx", "udpos"], ["qaa", "qab"]
SCORES = {"none": (50, 60, 70), "mnli": (60, 60, 65), "ccg": (40, 50, 80), "qqp": (45, 70, 60)}  # of TARGETS


def ranked(stats, seeds):
    scores = from_statistics(stats)
    want = wanted(RUNS, TARGETS, CODES, seeds)
    table = results.rank_runs(scores, want, results.estimates(scores, want, "qaa"), "qaa")
    return table.set_index("intermediate")


def score(run, target, language, seed):
    value = SCORES[run][TARGETS.index(target)]
    return value if language != "qaa" else 100 - value  # the source language has no part in ranks


def test_mean_ranks_by_hand():
    table = ranked(known(score, RUNS, TARGETS, CODES, [1]), [1])
    # xnli: mnli none qqp ccg; pawsx: qqp, then none and mnli with 2.5 each, ccg; udpos: ccg none mnli qqp
    assert table["rank"].to_dict() == {"none": 6.5 / 3, "mnli": 6.5 / 3, "qqp": 8 / 3, "ccg": 3}
    assert list(table.index) == ["none", "mnli", "qqp", "ccg"]
    assert table["best"].to_dict() == {"none": 0, "mnli": 1, "qqp": 1, "ccg": 1}
    assert np.isclose(table.loc["mnli", "gain"], 5 / 3) and np.isnan(table.loc["none", "gain"])
    assert (table["low"] == table["rank"]).all() and (table["high"] == table["rank"]).all(), "without noise"


def test_a_run_that_lacks_a_target_is_not_ranked_and_does_not_count_for_others():
    stats = known(score, RUNS, TARGETS, CODES, [1])
    table = ranked(stats[~((stats["intermediate"] == "mnli") & (stats["target"] == "udpos"))], [1])
    assert list(table.index)[-1] == "mnli" and np.isnan(table.loc["mnli", "rank"]) and table.loc["mnli", "best"] == 0
    assert table["rank"].iloc[:3].to_dict() == {"none": 5 / 3, "qqp": 2.0, "ccg": 7 / 3}
    shown = summaries.readable_ranks(table.reset_index())
    assert shown.iloc[-1].tolist() == ["mnli", "missing", "missing", "–", 0]
    assert shown.iloc[0].tolist() == ["none", "1.7 [1.7, 1.7]", 1, "–", 1]
    assert list(shown.columns)[1:3] == ["mean rank of 3", "best on (of 3 targets)"]


def test_intervals_tell_a_clear_winner_from_noise():
    gain = {("mnli", target): 2.5 for target in TARGETS}
    table = ranked(statistics(RUNS, TARGETS, CODES, [1, 2, 3], 100, gain=gain, spread=0.05), [1, 2, 3])
    assert table.index[0] == "mnli" and table.loc["mnli", ["rank", "low", "high", "best"]].tolist() == [1, 1, 1, 3]
    assert (table.drop("mnli")["high"] - table.drop("mnli")["low"] > 0.2).all()
    assert (table["seeds"] == 3).all() and (table["targets"] == 3).all()
