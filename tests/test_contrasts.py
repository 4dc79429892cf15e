"""Linear contrasts against numbers worked by hand, against results.py, and their joint coverage by simulation."""

import numpy as np
import pandas as pd
import pytest

from synthetic import statistics, wanted
from xstilts import results
from xstilts.questions import source_language as contrasts

LANGUAGES = ["qaa", "qab", "qac"]


def replicates(scores, deviations=None, resamples=400, rng=None):
    """Replicates by hand: {run: [score of each seed]} of one target and language."""
    rng, keys = rng or np.random.default_rng(0), [(run, "tydiqa", "qaa") for run in scores]
    spread = deviations if deviations is not None else np.zeros((len(scores), resamples))
    values = [np.array(score, float) for score in scores.values()]
    shape = (len(values[0]), resamples)
    return results.Replicates(
        dict(zip(keys, values, strict=True)),
        {key: np.broadcast_to(row, shape) for key, row in zip(keys, spread, strict=True)},
        list(range(shape[0])),
        resamples,
        rng,
    )


def test_contrasts_add_up():
    one, other = contrasts.average("a", "tydiqa", ["x", "y"]), contrasts.average("b", "tydiqa", ["y"])
    assert one == {("a", "tydiqa", "x"): 0.5, ("a", "tydiqa", "y"): 0.5}
    assert contrasts.minus(one, other) == one | {("b", "tydiqa", "y"): -1.0}
    assert contrasts.minus(one, one) == dict.fromkeys(one, 0.0)
    assert contrasts.mean([one, contrasts.minus(one, other)]) == one | {("b", "tydiqa", "y"): -0.5}


def test_only_scores_are_kept_inside_what_they_can_be():
    table = pd.DataFrame({"quantity": ["score", "gain"], "low": [-3.0, -3.0], "high": [104.0, 104.0]})
    assert contrasts.possible(table)[["low", "high"]].values.tolist() == [[0, 100], [-3, 104]]


def test_a_difference_is_the_gain_of_results_to_the_last_bit():
    stats = statistics(["none", "squad1"], ["tydiqa"], LANGUAGES, [1, 2, 3], 60)
    table = results.estimates(
        results.resample(stats, np.random.default_rng(3), 300),
        wanted(["none", "squad1"], ["tydiqa"], LANGUAGES, [1, 2, 3]),
        "qaa",
    )
    gain = table[(table["quantity"] == "gain") & (table["target"] == "tydiqa")].set_index("language")
    found = results.resample(stats, np.random.default_rng(3), 300)
    groups = {code: [code] for code in LANGUAGES} | {"mean": LANGUAGES}
    here = contrasts.estimates(found, {name: contrasts.minus(
        contrasts.average("squad1", "tydiqa", codes), contrasts.average("none", "tydiqa", codes))
        for name, codes in groups.items()})  # fmt: skip
    for column in contrasts.COLUMNS:
        np.testing.assert_allclose(here[column].astype(float), gain.loc[here.index, column].astype(float), atol=1e-5)


def test_a_seed_that_lacks_a_part_does_not_count_and_no_seed_is_a_gap():
    found = replicates({"a": [3, 5, np.nan], "b": [1, 1, 1]})
    cells = {run: (run, "tydiqa", "qaa") for run in ("a", "b", "c")}
    table = contrasts.estimates(found, {
        "a - b": {cells["a"]: 1.0, cells["b"]: -1.0}, "b - c": {cells["b"]: 1.0, cells["c"]: -1.0},
    })  # fmt: skip
    assert table["seeds"].tolist() == [2, 0]
    assert table.loc["a - b", "value"] == 3.0 and np.isnan(table.loc["b - c", "value"])
    joint = contrasts.simultaneous(found, {"b - c": {cells["b"]: 1.0, cells["c"]: -1.0}})
    assert joint[["value", "low", "high"]].isna().all(axis=None) and joint["seeds"].tolist() == [0]


def test_scores_by_one_metric():
    stats = statistics(["none"], ["tydiqa"], LANGUAGES, [1], 40)
    parts = {metric: results.resample(stats, np.random.default_rng(0), 50, metric) for metric in ("exact_match", "f1")}
    both = results.resample(stats, np.random.default_rng(0), 50)
    by_hand = stats.groupby(["metric", "language"])["numerator"].mean() * 100
    for code in LANGUAGES:
        key = ("none", "tydiqa", code)
        values = [parts[metric].score[key][0] for metric in parts]
        assert values == pytest.approx([by_hand[metric, code] for metric in parts])
        assert both.score[key][0] == pytest.approx(np.mean(values))
        # one and the same resamples: the mean of the parts is the whole, resample by resample
        mean = np.mean([parts[metric].deviation[key] for metric in parts], axis=0)
        np.testing.assert_allclose(both.deviation[key], mean, atol=1e-4)


def test_simultaneous_intervals_cover_all_truths_at_once():
    """Seven contrasts whose truth is 0, five seeds; single intervals miss one of seven far more often."""
    rng, hits, single = np.random.default_rng(1), [], []
    for _ in range(150):
        examples, seeds = rng.normal(0, 1.5, 7), rng.normal(0, 2, (7, 5))
        scores = {f"r{row}": examples[row] + seeds[row] for row in range(7)}
        found = replicates(scores, rng.normal(0, 1.5, (7, 400)), rng=rng)
        asked = {run: {(run, "tydiqa", "qaa"): 1.0} for run in scores}
        for hit, table in ((hits, contrasts.simultaneous(found, asked)), (single, contrasts.estimates(found, asked))):
            hit.append(((table["low"] <= 0) & (table["high"] >= 0)).all())
    assert np.mean(hits) >= 0.92 and np.mean(single) < 0.87


def test_simultaneous_intervals_of_one_contrast_are_those_of_a_normal():
    found = replicates({"a": [7]}, np.random.default_rng(0).normal(0, 2, (1, 4000)), 4000)
    table = contrasts.simultaneous(found, {"a": {("a", "tydiqa", "qaa"): 1.0}})
    assert table.loc["a", "value"] == 7
    assert (table.loc["a", "high"] - table.loc["a", "low"]) / 2 == pytest.approx(1.96 * 2, rel=0.05)
