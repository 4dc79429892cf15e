"""Slopes over distance: by hand, against scipy, on statistics of known slope, and in coverage."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import theilslopes

from synthetic import known, study
from xstilts import results
from xstilts.questions import distance as distances
from xstilts.questions.distance import COMPARED, DIFFERENCE, INTERMEDIATE
from xstilts.results import MEAN
from xstilts.settings import DIRECT

DISTANCE = pd.Series({"qaa": 0.0, "qab": 0.1, "qac": 0.3, "qad": 0.4, "qae": 0.8})
AWAY = DISTANCE[DISTANCE > 0]


def replicates(stats, resamples=200):
    return results.resample(stats, np.random.default_rng(0), resamples)


def pick(table, **where):
    rows = table[np.logical_and.reduce([table[key] == value for key, value in where.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def exact():
    """``none`` falls by 30 points from distance 0 to 1, the gain of two runs by 20 and 10, that of a run in another
    language rises; direct tuning gains 5 points and 40 per unit of distance. Seeds differ by what gains do not see."""

    def score(run, target, code, seed):
        far = DISTANCE[code]
        gain = {"none": 0, "mnli": 6 - 20 * far, "ccg": 2 - 10 * far, "mnli@qad": 70 * far, "direct=0": 5 + 40 * far}
        level = 50 if target == "xnli" else 40
        return level + 3 * seed - 30 * far + gain[run] * (1 if target == "xnli" else 0.5)

    runs = ["none", "mnli", "ccg", "mnli@qad", "direct=0"]
    return known(score, runs, ["xnli", "udpos"], list(DISTANCE.index), [1, 2])


# --- slopes ------------------------------------------------------------------------------------------------


def test_theil_sen_by_hand():
    """Slopes of the pairs 1, 3 and 2; then with two points at one distance, whose pair does not count: 4 and 2."""
    assert distances.theil_sen(np.array([0.0, 1, 2]), np.array([0.0, 1, 4])) == 2
    assert distances.theil_sen(np.array([0.0, 1, 1]), np.array([0.0, 4, 2])) == 3
    assert np.isnan(distances.theil_sen(np.ones(3), np.arange(3.0)))


def test_theil_sen_is_scipys_for_every_resample():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (20, 9)).astype(float), rng.normal(size=(20, 9))
    found = distances.theil_sen(x, y)
    assert found == pytest.approx([theilslopes(values, far).slope for far, values in zip(x, y, strict=True)])
    y[:, 0] += 1000  # one outlier is not the answer
    assert abs(distances.theil_sen(x, y) - found).max() < 3


def test_known_slopes_means_and_differences_are_found():
    found = replicates(exact())
    parts = {"xnli": ["xnli"], COMPARED: ["xnli", "udpos"]}
    gains = distances.series_gains(found, parts, ["mnli", "mnli@qad"], ["mnli", "ccg"], AWAY.index)
    table = distances.against_distance(gains, DISTANCE, np.random.default_rng(1))
    slopes = table[table["quantity"] == "slope"].set_index(["part", "series"])["value"]
    assert slopes["xnli"].to_dict() == pytest.approx(
        {"mnli": -20, "mnli@qad": 70, INTERMEDIATE: -15, DIRECT: 40, DIFFERENCE: 55}
    )
    assert slopes[COMPARED].to_dict() == pytest.approx(
        {"mnli": -15, "mnli@qad": 52.5, INTERMEDIATE: -11.25, DIRECT: 30, DIFFERENCE: 41.25}
    )
    mean = pick(table, part="xnli", series=DIFFERENCE, quantity="mean")
    far = AWAY.mean()
    assert mean["value"] == pytest.approx(5 + 40 * far - (4 - 15 * far)) and mean["languages"] == 4
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["high"] >= table["value"] - 1e-9).all()
    assert (table["high"] - table["low"]).max() < 1e-3, "there is no noise"
    by_language = distances.gain_table(gains, DISTANCE)
    row = pick(by_language, part="xnli", series="mnli", language="qae")
    assert (row["distance"], row["seeds"]) == (0.8, 2) and row["value"] == pytest.approx(6 - 16)


def test_direct_tuning_that_lacks_a_target_or_a_language_is_compared_where_it_is():
    stats = exact()
    direct = stats["intermediate"] == "direct=0"
    stats = stats[~(direct & ((stats["target"] == "udpos") | (stats["language"] == "qac")))]
    parts = {"xnli": ["xnli"], COMPARED: ["xnli", "udpos"]}
    gains = distances.series_gains(replicates(stats), parts, [], ["mnli", "ccg", "qqp"], AWAY.index)
    assert set(gains) == {("xnli", INTERMEDIATE), ("xnli", DIRECT), ("xnli", DIFFERENCE), (COMPARED, INTERMEDIATE)}
    assert list(gains["xnli", DIFFERENCE][0].index) == ["qab", "qad", "qae"]
    assert gains["xnli", DIFFERENCE][0]["qad"] == pytest.approx(5 + 16 - (4 - 6))


@pytest.mark.parametrize("noise", ["languages", "examples"])
def test_the_interval_of_a_slope_covers_it(noise):
    """Where languages scatter about the line, and where only test examples do; 95 of 100, give or take."""
    rng, far, covered = np.random.default_rng(2), np.array([0.1, 0.2, 0.25, 0.45, 0.6, 0.75, 0.9]), 0
    for _ in range(150):
        error = rng.normal(0, 3, (7, 1))
        spread = rng.normal(0, 3, (7, 300)) if noise == "examples" else np.zeros((7, 300))
        draws = distances.slope_draws(far, -20 * far + error[:, 0], spread, rng)
        low, high = distances.interval(draws)[1:]
        covered += low <= -20 <= high
    assert covered >= 135
    assert covered < 150 or noise == "examples"  # the scatter of languages holds that of examples: counted twice


def test_script_and_pretraining_size_are_held_fixed():
    far = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
    other, size = np.array([0, 0, 1, 0, 1, 1, 0, 1.0]), np.array([2, 1, 0.5, 2, 1, 0, 0.1, 1.5])
    codes = [f"l{number}" for number in range(8)]
    values = pd.Series(7 - 20 * far - 8 * other + 3 * size, index=codes)
    table = pd.DataFrame({"distance": far, "other_script": other, "log10_text": size}, index=codes)
    rng, gains = np.random.default_rng(0), (values, np.zeros((8, 100)), 1)
    value, low, high, count, held = distances.adjusted(gains, table, rng)
    assert [value, low, high] == pytest.approx([-20] * 3) and count == 8
    assert held == ["other_script", "log10_text"]
    assert distances.theil_sen(far, values.to_numpy()) < -22, "distance alone takes some of the script's blame"
    unknown = table.assign(log10_text=[np.nan, *size[1:]], other_script=1.0)
    assert distances.adjusted(gains, unknown, rng)[4] == [], "known for all, and varying"
    assert np.isnan(distances.adjusted((values[:5], np.zeros((5, 100)), 1), table, rng)[0]), "too few languages"
    languages = pd.DataFrame(
        {"script": ["Latin", "Latin", "Greek"], "distance": [0, 0.1, 0.2], "cc100_gib": [300, 100, 10]}, ["a", "b", "c"]
    )
    found = distances.predictors(languages, "a", languages["cc100_gib"])
    assert found["other_script"].tolist() == [0, 0, 1] and found["log10_text"][1:].tolist() == [2, 1]
    found = distances.predictors(languages, "a", pd.Series({"a": 300, "b": 105, "c": 100}))
    assert "log10_text" not in found, "the others have as much"
    found = distances.predictors(languages, "a", pd.Series({"a": 300, "b": 100, "c": 0}))
    assert "log10_text" not in distances.adjusted((pd.Series({"b": 1.0, "c": 2.0}), np.zeros((2, 9)), 1), found, rng)[4]


def test_every_kind_of_distance_has_its_slope():
    languages = pd.DataFrame({"distance": DISTANCE, "cognates": 1 - DISTANCE / 2, "script": ["L", "L", "G", "L", "G"]})
    languages["genetic"] = [0, 0.5, np.nan, 0.2, 0.3]
    gains = distances.series_gains(replicates(exact()), {"xnli": ["xnli"]}, [], ["mnli"], AWAY.index)
    covariates = distances.predictors(languages, "qaa", pd.Series(1, languages.index))
    table = distances.every_distance(gains, languages, covariates, np.random.default_rng(0))
    over = table[(table["series"] == INTERMEDIATE) & (table["held"] == "")].set_index("over")
    assert over["value"][["distance", "cognates"]].tolist() == pytest.approx([-20, -40])
    genetic = theilslopes(6 - 20 * DISTANCE[["qab", "qad", "qae"]], [0.5, 0.2, 0.3]).slope
    assert over.loc["genetic", ["value", "languages"]].tolist() == pytest.approx([genetic, 3])


# --- what is read ------------------------------------------------------------------------------------------


def test_alignment_before_and_after_is_paired_by_seed():
    rows = [
        (run, seed, code, layer, metric, score + 10 * seed + (5 if run == "mnli" else 0) * (code == "qac"), layer == 1)
        for run in ("none", "mnli") for seed in (1, 2) for code in ("qab", "qac") for layer in (1, 0)
        for metric, score in (("cka", 50 + layer), ("accuracy", 20))
    ]  # fmt: skip
    head = ["intermediate", "seed", "language", "layer", "metric", "score", "main"]
    found = distances.aligned(pd.DataFrame(rows, columns=head), np.random.default_rng(0), 50)
    assert found.score["none", "cka", "qab"].tolist() == [61, 71], "of the main layer"
    gains = distances.series_gains(found, {"cka": ["cka"]}, [], ["mnli"], ["qab", "qac"])["cka", INTERMEDIATE]
    assert gains[0].to_dict() == {"qab": 0, "qac": 5} and np.abs(gains[1]).max() < 1e-9 and gains[2] == 2
    one = pd.DataFrame(rows, columns=head).query("seed == 1")
    single = distances.aligned(one, np.random.default_rng(0), 50)
    drawn = distances.series_gains(single, {"cka": ["cka"]}, [], ["mnli"], ["qab", "qac"])
    assert np.isnan(distances.gain_table(drawn, DISTANCE)["low"]).all(), "one seed has no interval"


def test_alignment_changes_layer_by_layer():
    """Phase 2 takes 4 points a layer and 10 more of qac in layer 2; seeds differ by what differences do not see."""
    rows = [
        (run, seed, code, layer, "cka", 60 + seed - (4 * layer + 10 * (layer == 2 and code == "qac")) * (run == "mnli"))
        for run in ("none", "mnli", "mnli@qab") for seed in (1, 2) for code in ("qab", "qac") for layer in (1, 0, 2)
    ]  # fmt: skip
    layers = pd.DataFrame(rows, columns=["intermediate", "seed", "language", "layer", "metric", "score"])
    layers["main"] = layers["layer"] == 1
    table = distances.layer_gains(layers, ["mnli"], AWAY[["qab", "qac"]], np.random.default_rng(0))
    found = table.set_index(["layer", "language"])
    assert found["value"].to_dict() == pytest.approx(
        {(0, "qab"): 0, (0, "qac"): 0, (0, MEAN): 0, (1, "qab"): -4, (1, "qac"): -4, (1, MEAN): -4,
         (2, "qab"): -8, (2, "qac"): -18, (2, MEAN): -13}
    )  # fmt: skip
    assert set(table.loc[table["main"], "layer"]) == {1} and set(table["seeds"]) == {2}
    assert (table["high"] - table["low"]).max() < 1e-9, "the seeds agree"
    rows = layers["seed"].eq(2) & layers["intermediate"].eq("mnli") & layers["layer"].eq(2)
    apart = distances.layer_gains(
        layers.assign(score=layers["score"] - 2 * rows), ["mnli"], AWAY[["qab", "qac"]], np.random.default_rng(0)
    ).set_index(["layer", "language"])
    low, high = apart.loc[(2, MEAN), ["low", "high"]]
    assert low < -14 - 1 and high > -14 + 1, "two seeds, two points apart: widened beyond both"


def test_source_language_runs_and_distances(tmp_path):
    one = study(tmp_path, intermediate=["none", "mnli", "ccg=100", "mnli@qab", "squad1@all"])
    assert distances.source_runs(one) == ["mnli", "ccg=100"]
    languages = pd.DataFrame({"distance": [0.0, 0.4], "order": [0, 1], "cognates": [1, 0.2], "name": ["a", "b"]})
    assert distances.distances(languages).iloc[1].to_dict() == {"distance": 0.4, "order": 1, "cognates": 0.8}


def test_what_is_missing_is_named():
    stats = exact()
    stats = stats[~((stats["intermediate"] == "ccg") & (stats["seed"] == 2) & (stats["target"] == "xnli"))]
    wanted = stats[["intermediate", "target", "language", "seed"]].drop_duplicates()
    sizes = pd.DataFrame(
        {"target": "xnli", "language": ["qab", "qac"], "run": ["direct=0", "direct=10"], "examples": 9}
    )
    assert distances.missing(wanted, sizes, replicates(stats)) == ["`ccg` (5 scores)", "`direct=10` (1 scores)"]
