"""Intervals: analytic variances by hand and against resampling, clusters, moderation, and what intervals cover."""

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from scipy import stats
from tools import coverage

from synthetic import cell, statistics
from xstilts.evaluation.prediction import evaluate
from xstilts.inference import (
    Scores,
    difference,
    discoveries,
    from_statistics,
    mean,
    mean_score,
    residual_variance,
    seeds_needed,
    weighted,
)  # fmt: skip
from xstilts.io import ROOT
from xstilts.tasks import get

CODES = ["qaa", "qab", "qac"]


def test_the_influence_of_examples_is_the_poisson_bootstraps():
    """F1, a ratio of sums, in parallel languages: a gain's standard error is the spread of 20,000 resamples."""
    rng = np.random.default_rng(0)
    parts = []
    for run, code in [(run, code) for run in ("none", "mnli") for code in CODES]:
        whole = rng.integers(1, 9, 300)
        part = cell(run, "panx", code, 1, "f1", rng.binomial(whole, 0.6).astype(float))
        parts.append(part.assign(denominator=whole.astype(float)))
    scores = from_statistics(pd.concat(parts))
    gain = difference(mean_score("mnli", "panx", CODES), mean_score("none", "panx", CODES))
    weights = rng.poisson(1, (20_000, 300))
    totals = [weights @ part["numerator"].to_numpy() / (weights @ part["denominator"].to_numpy()) for part in parts]
    resampled = 100 * (np.mean(totals[3:], axis=0) - np.mean(totals[:3], axis=0))
    value, low, high, seeds, p = scores.estimate(gain)
    assert (high - low) / 2 / stats.t.ppf(0.975, 299) == pytest.approx(resampled.std(), rel=0.03)
    assert value == pytest.approx(resampled.mean(), abs=0.1) and seeds == 1 and np.isnan(p)


def test_an_interval_of_several_seeds_by_hand():
    """Two runs whose examples are all alike: seeds alone vary, and the interval is the paired t test's."""
    none, mnli = np.array([50.0, 54, 58]), np.array([55.0, 61, 62])
    scores = Scores({("none", "xnli", "qaa"): none, ("mnli", "xnli", "qaa"): mnli}, [1, 2, 3])
    gain = difference(mean_score("mnli", "xnli", ["qaa"]), mean_score("none", "xnli", ["qaa"]))
    expected = stats.ttest_rel(mnli, none)
    ends = expected.confidence_interval(0.95)
    assert scores.estimate(gain) == pytest.approx((16 / 3, *ends, 3, expected.pvalue))
    ends = stats.ttest_1samp(none, 0).confidence_interval(0.95)
    scores = Scores({("none", "xnli", "qaa"): none}, [1, 2, 3])
    assert scores.estimate(mean_score("none", "xnli", ["qaa"]))[1:3] == pytest.approx(tuple(ends))


def test_the_variance_of_seeds_is_pooled_over_the_runs_of_a_target():
    """Twelve runs of one variance, two seeds: Student's interval of the residual of a two-way analysis of variance."""
    rng = np.random.default_rng(3)
    table = 50 + rng.normal(0, 5, 2) + rng.normal(0, 2, (12, 2))  # a seed moves all runs alike
    scores = Scores({(f"r{run}", "xnli", "qaa"): row for run, row in enumerate(table)}, [1, 2])
    scores.prior = np.inf
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    half = stats.t.ppf(0.975, 11) * np.sqrt((rest**2).sum() / 11 * 2 / 2)
    gain = difference(mean_score("r1", "xnli", ["qaa"]), mean_score("r0", "xnli", ["qaa"]))
    value, low, high, *_ = scores.estimate(gain)
    assert ((high - low) / 2, value) == pytest.approx((half, (table[1] - table[0]).mean()))
    scores.prior = 3.0  # the gain's own variance, one degree of freedom, counts a quarter
    own = (table[1] - table[0]).var(ddof=1)
    half = stats.t.ppf(0.975, 4) * np.sqrt((3 * (rest**2).sum() / 11 * 2 + own) / 4 / 2)
    value, low, high, *_ = scores.estimate(gain)
    assert (high - low) / 2 == pytest.approx(half)


def test_shrinkage_follows_how_much_runs_differ_in_variance():
    rng = np.random.default_rng(0)
    priors = []
    for uneven in (0, 1.5):
        sizes = np.exp(rng.normal(0, uneven, (10, 12, 1)))
        rows = {(f"r{run}", f"t{target}", "qaa"): 50 + sizes[target, run] * rng.normal(size=5)
                for target in range(10) for run in range(12)}  # fmt: skip
        priors.append(Scores(rows, [1, 2, 3, 4, 5]).prior)
    assert priors[0] > 15 and priors[1] < 4


def test_examples_of_a_cluster_count_as_a_whole():
    """Four equal answers to each of 50 passages are 50 answers; the names of clusters differ from language to
    language, as a passage lacks its first question in one of them."""
    right = np.repeat(np.random.default_rng(0).random(50) < 0.5, 4).astype(float)
    table = pd.concat([cell("none", "xnli", code, 1, "accuracy", right) for code in ("qaa", "qab")])
    heads = [f"xnli-{number - number % 4}" for number in range(200)]
    clustered = table.assign(cluster=heads * 2)
    clustered = clustered[~((clustered["language"] == "qab") & (clustered["id"] == "xnli-0"))]
    clustered.loc[(clustered["language"] == "qab") & (clustered["cluster"] == "xnli-0"), "cluster"] = "xnli-1"
    score = mean_score("none", "xnli", ["qaa"])
    scores = from_statistics(clustered)
    assert set(scores.positions["xnli", "qaa"]) == set(scores.positions["xnli", "qab"]) == set(range(50))
    widths = [np.ptp(from_statistics(part).estimate(score)[1:3]) for part in (clustered, table)]
    expected = np.sqrt(4 * (49.75 / 50) * (50 / 49)) * stats.t.ppf(0.975, 49) / stats.t.ppf(0.975, 199)
    assert widths[0] / widths[1] == pytest.approx(expected, rel=1e-2)


def test_clusters_are_passages_premises_and_contexts():
    ids = ["a", "b", "c", "d"]
    texts = ["p", "q", "p", "r"]
    answers = [{"text": ["x"], "answer_start": [0]}] * 4
    spans = Dataset.from_dict({"id": ids, "context": texts, "answers": answers})
    assert evaluate(get("xquad"), spans, ["x"] * 4, "en")["cluster"].tolist() == ["a", "b", "a", "d"] * 2
    pairs = Dataset.from_dict({"id": ids, "text_a": texts, "label": [0] * 4})
    assert evaluate(get("xnli"), pairs, [0] * 4, "en")["cluster"].tolist() == ["a", "b", "a", "d"]
    choices = Dataset.from_dict({"id": ids, "context": ["", "", "p", "p"], "label": [0] * 4})
    assert evaluate(get("xcopa"), choices, [0] * 4, "et")["cluster"].tolist() == ["a", "b", "c", "c"]
    tags = Dataset.from_dict({"id": ids, "tags": [["O"]] * 4})
    assert evaluate(get("panx"), tags, [["O"]] * 4, "en")["cluster"].tolist() == ids
    repeated = Dataset.from_dict({"id": ids, "text_a": ["always the same"] * 4, "label": [0] * 4})
    assert evaluate(get("xnli"), repeated, [0] * 4, "en")["cluster"].tolist() == ids


def test_what_is_zero_is_zero():
    """A mean of three languages in which two runs are one and the same, and one that differs in a single example."""
    right = np.random.default_rng(0).random(99) < 0.7
    rows = [(run, code, seed) for run in ("none", "mnli") for code in CODES for seed in (1, 2)]
    scores = from_statistics(pd.concat([cell(r, "xnli", c, s, "accuracy", right.astype(float)) for r, c, s in rows]))
    gain = difference(mean_score("mnli", "xnli", CODES), mean_score("none", "xnli", CODES))
    assert scores.estimate(gain) == (0, 0, 0, 2, 1)
    assert scores.estimate(weighted((1, gain), (1, mean_score("none", "xnli", ["qad"])))).seeds == 0
    assert discoveries(pd.Series([np.nan, np.nan])).tolist() == [False, False]


def test_draws_have_the_intervals_and_hang_together():
    table = statistics(["none", "mnli", "ccg"], ["xnli", "xquad"], CODES, [1, 2, 3], 80)
    scores = from_statistics(table)
    gains = [difference(mean_score("mnli", target, CODES), mean_score("none", target, CODES))
             for target in ("xnli", "xquad")]  # fmt: skip
    drawn = scores.draws([*gains, mean(gains)])
    assert (drawn == scores.draws([*gains, mean(gains)])).all(), "the same on every call"
    np.testing.assert_allclose(drawn[2], drawn[:2].mean(axis=0), atol=1e-6)
    for part, row in zip(gains, drawn, strict=False):
        value, low, high, *_ = scores.estimate(part)
        assert row[0] == value
        assert np.subtract(*np.quantile(row[1:], [0.975, 0.025])) == pytest.approx(high - low, rel=0.25)


def test_the_seeds_that_a_gain_needs():
    """By simulation: five runs that vary by two points from seed to seed, one of them two points better."""
    rng = np.random.default_rng(0)
    seeds = seeds_needed(4.0, 2.0, 5)
    shown = {}
    for count in (seeds - 1, seeds):
        tables = rng.normal(0, 2, (3000, 5, count)) + 2 * (np.arange(5) == 1)[:, None]
        error = np.sqrt([residual_variance(table) * 2 / count for table in tables])
        gain = tables[:, 1].mean(axis=1) - tables[:, 0].mean(axis=1)
        shown[count] = np.mean(np.abs(gain) > stats.t.ppf(0.975, 4 * (count - 1)) * error)
    assert shown[seeds - 1] < 0.82 and shown[seeds] >= 0.78
    assert seeds_needed(4.0, 5.0, 5) < seeds and seeds_needed(0.0, 2.0, 5) == 2 and seeds_needed(1e9, 2.0, 5) == 1000


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.0), (2, 0.05), (3, 0.01), (5, 0.05)])
@pytest.mark.parametrize("shape", coverage.SHAPES[:3], ids=["parallel", "clustered", "separate"])
def test_intervals_cover_the_truth(seeds, spread, shape):
    """93 to 98 of 100, give or take what 60 simulated studies do (three standard errors of 95 are 8.4)."""
    covered = coverage.coverage(60, seeds=seeds, spread=spread, **shape)
    for name in coverage.QUANTITIES:
        assert covered[name] >= 93 - 8.4, name
    assert np.mean([covered[name] for name in coverage.QUANTITIES]) < 100


def test_the_committed_table_of_coverage():
    """And what docs/scores.md says of it: the range by quantity and number of seeds, and that of single settings."""
    table = pd.read_csv(ROOT / "tools" / "coverage.csv")
    assert set(table["seeds"]) == {2, 3, 5} and len(table) == len(coverage.SHAPES) * 9
    text = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    ranges = []
    for _, part in table.groupby("runs"):
        single = part[list(coverage.QUANTITIES)]
        means = single.groupby(part["seeds"]).mean()
        ranges += [f"{values.min().min():.1f} to {values.max().max():.1f}" for values in (means, single)]
        assert single.min().min() >= 93 - 300 * np.sqrt(0.95 * 0.05 / part["studies"].min())
        assert single.mean().mean() == pytest.approx(96, abs=1.5)
    two, two_single, ten, ten_single = ranges
    assert f"with ten runs {ten} (single settings {ten_single}), with two runs" in text
    assert f"`none` and one other, {two} ({two_single})." in text
