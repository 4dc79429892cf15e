"""Question 5. Slopes, crossings and robustness by hand, against scipy and scikit-learn, on statistics of known truth
and in coverage; then its notebook on real files, from a tiny checkpoint."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import theilslopes
from sklearn.isotonic import IsotonicRegression

from synthetic import known, run_cells, statistics, study
from toy import build_checkpoint
from xstilts import phases
from xstilts.errors import UserError
from xstilts.inference import Scores, from_statistics
from xstilts.io import ROOT, write_record
from xstilts.names import DIRECT
from xstilts.questions import distance
from xstilts.questions.distance import ALL_TARGETS, CHOSEN, INTERMEDIATE, MEDIAN, direct_minus
from xstilts.results import MEAN
from xstilts.runs import Run, list_runs
from xstilts.sources import open_source

DISTANCE = pd.Series({"qaa": 0.0, "qab": 0.1, "qac": 0.3, "qad": 0.4, "qae": 0.8})
AWAY = DISTANCE[DISTANCE > 0]


def rng(seed=0):
    return np.random.default_rng(seed)


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


def test_theil_sen_is_scipys_for_every_resample():
    x, y = rng().integers(0, 6, (20, 9)).astype(float), rng(1).normal(size=(20, 9))
    slopes = distance.theil_sen(x, y)
    assert slopes == pytest.approx([theilslopes(values, far).slope for far, values in zip(x, y, strict=True)])
    y[:, 0] += 1000  # robust to an outlier
    assert abs(distance.theil_sen(x, y) - slopes).max() < 3
    assert distance.theil_sen(np.array([0.0, 1, 1]), np.array([0.0, 4, 2])) == 3, "a pair at one distance has no slope"
    assert np.isnan(distance.theil_sen(np.ones(3), np.arange(3.0)))


def test_known_slopes_means_and_differences_are_recovered():
    parts = {"xnli": ["xnli"], ALL_TARGETS: ["xnli", "udpos"]}
    scores = from_statistics(exact())
    chosen = {"xnli": "mnli", "udpos": "none"}
    gains = distance.series_gains(scores, parts, ["mnli", "mnli@qad"], ["mnli", "ccg"], AWAY.index, chosen)
    table = distance.against_distance(scores, gains, DISTANCE)
    slopes = table[table["quantity"] == "slope"].set_index(["part", "series"])["value"]
    expected = {"mnli": -20, "mnli@qad": 70, INTERMEDIATE: -15, CHOSEN: -20, DIRECT: 40}
    expected |= {direct_minus(series): 40 - value for series, value in expected.items() if series != DIRECT}
    assert slopes["xnli"].to_dict() == pytest.approx(expected)
    both = {series: 0.75 * value for series, value in expected.items()}  # udpos has half of the gains
    both |= {CHOSEN: -10, direct_minus(CHOSEN): 30 + 10}  # and the chosen run none of them
    assert slopes[ALL_TARGETS].to_dict() == pytest.approx(both)
    mean = table.set_index(["part", "series", "quantity"]).loc["xnli", direct_minus(INTERMEDIATE), "mean"]
    far = AWAY.mean()
    assert mean["value"] == pytest.approx(5 + 40 * far - (4 - 15 * far)) and mean["languages"] == 4
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["high"] >= table["value"] - 1e-9).all()
    assert (table["high"] - table["low"]).max() < 1e-3, "there is no noise"
    row = (
        distance.gain_table(scores, gains, DISTANCE)
        .set_index(["part", "series", "language"])
        .loc["xnli", "mnli", "qae"]
    )
    assert row[["distance", "seeds"]].tolist() == [0.8, 2] and row["value"] == pytest.approx(6 - 16)


def test_direct_tuning_that_lacks_a_target_or_a_language_is_compared_where_it_has_been_scored():
    stats = exact()
    direct = stats["intermediate"] == "direct=0"
    stats = stats[~(direct & ((stats["target"] == "udpos") | (stats["language"] == "qac")))]
    parts = {"xnli": ["xnli"], ALL_TARGETS: ["xnli", "udpos"]}
    scores = from_statistics(stats)
    gains = distance.series_gains(scores, parts, [], ["mnli", "ccg", "qqp"], AWAY.index)
    both = {("xnli", series) for series in (INTERMEDIATE, DIRECT, direct_minus(INTERMEDIATE))}
    assert set(gains) == both | {(ALL_TARGETS, INTERMEDIATE)}
    both = gains["xnli", direct_minus(INTERMEDIATE)]
    assert list(both) == ["qab", "qad", "qae"] and scores.estimate(both["qad"]).value == pytest.approx(5 + 16 - (4 - 6))


def test_the_chosen_run_is_the_best_in_development(tmp_path):
    made = study(tmp_path, intermediate=["none", "mnli", "ccg"], targets=["xnli", "udpos"], seeds=2)
    development = {  # by target, of seeds 1 and 2
        "none": {"xnli": (50, 60), "udpos": (90, 90)}, "mnli": {"xnli": (70, 20), "udpos": (80, 80)},
        "ccg": {"xnli": (58, 58), "udpos": (95, 99)},
    }  # fmt: skip
    for run, seed in product(development, (1, 2)):
        folder = Run("targets", seed, run, "all").folder(made)
        for target, values in development[run].items():
            write_record(folder / target / "scored.json", {"selection": {"best_score": values[seed - 1]}})
        write_record(folder / "run.json", {"fingerprint": ""})
    assert distance.chosen_runs(made, ["xnli", "udpos"], ["mnli", "ccg"]) == {"xnli": "ccg", "udpos": "ccg"}
    assert distance.chosen_runs(made, ["xnli", "udpos"], ["mnli"]) == {"xnli": "none", "udpos": "none"}
    assert distance.chosen_runs(made, ["tatoeba"], ["mnli"]) == {}


def test_script_and_pretraining_size_are_held_fixed():
    far = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
    other, size = np.array([0, 0, 1, 0, 1, 1, 0, 1.0]), np.array([2, 1, 0.5, 2, 1, 0, 0.1, 1.5])
    codes = [f"l{number}" for number in range(8)]
    values = 7 - 20 * far - 8 * other + 3 * size
    cells = {("mnli", "xnli", code): np.array([value] * 2) for code, value in zip(codes, values, strict=True)}
    scores = Scores(cells | {("none", "xnli", code): np.zeros(2) for code in codes}, [1, 2])
    gains = distance.series_gains(scores, {"xnli": ["xnli"]}, [], ["mnli"], codes)
    table = pd.DataFrame({"distance": far, "other_script": other, "log10_text": size}, codes)
    alone, held = distance.every_distance(scores, gains, table).itertuples()
    assert (alone.held, held.held) == ("", "other_script, log10_text") and held.languages == 8
    assert [held.value, held.low, held.high] == pytest.approx([-20] * 3)
    assert alone.value < -22, "distance alone takes some of the script's blame"
    unknown = table.assign(log10_text=[np.nan, *size[1:]], other_script=1.0)
    assert list(distance.every_distance(scores, gains, unknown)["held"]) == [""], "known for all, and varying"
    few = {key: dict(list(part.items())[:5]) for key, part in gains.items()}
    assert list(distance.every_distance(scores, few, table)["held"]) == [""], "too few languages"


@pytest.mark.parametrize(
    ("text", "logs"),
    [((300, 100, 10), [2, 1]), ((300, 105, 100), None), ((300, 100, 0), None)],
    ids=["varies", "the others have as much", "known of one alone"],
)
def test_covariates_are_script_and_the_size_of_the_pretraining_text(text, logs):
    languages = pd.DataFrame({"script": ["Latin", "Latin", "Greek"], "distance": [0, 0.1, 0.2]}, list("abc"))
    table = distance.predictors(languages, "a", pd.Series(text, list("abc")))
    assert table["other_script"].tolist() == [0, 0, 1]
    assert (table["log10_text"][1:].tolist() if "log10_text" in table else None) == logs


def test_every_kind_of_distance_has_its_slope():
    languages = pd.DataFrame({"distance": DISTANCE, "cognates": 1 - DISTANCE / 2, "script": ["L", "L", "G", "L", "G"]})
    languages["genetic"] = [0, 0.5, np.nan, 0.2, 0.3]
    scores = from_statistics(exact())
    gains = distance.series_gains(scores, {"xnli": ["xnli"]}, [], ["mnli"], AWAY.index)
    predictors = distance.predictors(languages, "qaa", pd.Series(1, languages.index))
    table = distance.every_distance(scores, gains, predictors)
    over = table[(table["series"] == INTERMEDIATE) & (table["held"] == "")].set_index("over")
    assert over["value"][["distance", "cognates"]].tolist() == pytest.approx([-20, -40])
    genetic = theilslopes(6 - 20 * DISTANCE[["qab", "qad", "qae"]], [0.5, 0.2, 0.3]).slope
    assert over.loc["genetic", ["value", "languages"]].tolist() == pytest.approx([genetic, 3])


# --- alignment ---------------------------------------------------------------------------------------------


def alignment(change, runs=("none", "mnli", "mnli@qab")):
    """Linear CKA of two languages in three layers, of two seeds; ``change(layer, code)`` is what phase 2 does."""
    rows = [
        (run, seed, code, layer, "cka", 60 + 10 * seed + layer + change(layer, code) * (run == "mnli"), layer == 1)
        for run in runs for seed in (1, 2) for code in ("qab", "qac") for layer in (1, 0, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["intermediate", "seed", "language", "layer", "metric", "score", "main"])


def test_alignment_before_and_after_is_paired_by_seed():
    layers = alignment(lambda layer, code: 5 * (code == "qac"))
    main = distance.aligned(layers)
    assert main.values["none", "cka", "qab"].tolist() == [71, 81], "of the main layer"
    gains = distance.series_gains(main, {"cka": ["cka"]}, [], ["mnli"], ["qab", "qac"])
    table = distance.gain_table(main, gains, DISTANCE).set_index("language")
    assert table["value"].to_dict() == {"qab": 0, "qac": 5} and set(table["seeds"]) == {2}
    assert (table["high"] - table["low"]).max() < 1e-9, "the seeds agree"
    single = distance.aligned(layers[layers["seed"] == 1])
    gains = distance.series_gains(single, {"cka": ["cka"]}, [], ["mnli"], ["qab", "qac"])
    table = distance.gain_table(single, gains, DISTANCE)
    assert table["low"].isna().all() and table["value"].tolist() == [0, 5], "one seed has no interval"


def test_alignment_changes_layer_by_layer():
    """Phase 2 takes 4 points a layer and 10 more of qac in layer 2; seeds differ by what differences do not see."""
    layers = alignment(lambda layer, code: -4 * layer - 10 * (layer == 2 and code == "qac"))
    codes = AWAY[["qab", "qac"]]
    table = distance.layer_gains(layers, ["mnli"], codes)
    assert table.set_index(["layer", "language"])["value"].to_dict() == pytest.approx(
        {(0, "qab"): 0, (0, "qac"): 0, (0, MEAN): 0, (1, "qab"): -4, (1, "qac"): -4, (1, MEAN): -4,
         (2, "qab"): -8, (2, "qac"): -18, (2, MEAN): -13}
    )  # fmt: skip
    assert set(table.loc[table["main"], "layer"]) == {1} and set(table["seeds"]) == {2}
    assert (table["high"] - table["low"]).max() < 1e-9, "the seeds agree"
    rows = layers["seed"].eq(2) & layers["intermediate"].eq("mnli") & layers["layer"].eq(2)
    apart = distance.layer_gains(layers.assign(score=layers["score"] - 2 * rows), ["mnli"], codes)
    low, high = apart.set_index(["layer", "language"]).loc[(2, MEAN), ["low", "high"]]
    assert low < -14 - 1 and high > -14 + 1, "two seeds, two points apart: widened beyond both"


# --- what an intermediate task is worth in examples --------------------------------------------------------

SIZES = [10, 100, 1000]


@pytest.mark.parametrize(
    ("scores", "level", "examples"),
    [
        ([40, 50, 60], 45, 10**1.5), ([40, 50, 60], 50, 100), ([40, 50, 60], 60, 1000),
        ([40, 50, 60], 40, 0), ([40, 50, 60], 12, 0), ([40, 50, 60], 60.1, np.inf),
        ([40, 60, 50], 55, 100), ([40, 60, 50], 56, np.inf),  # the fall is smoothed to 55, 55
        ([50, 50, 60], 50, 0), ([40], 40, 0), ([40], 41, np.inf),
    ],
)  # fmt: skip
def test_crossings_by_hand(scores, level, examples):
    curve = distance.smoothed(np.array(scores, float)[:, None])
    assert distance.crossing(SIZES[: len(scores)], curve, np.array([float(level)]))[0] == pytest.approx(examples)


def test_crossings_are_those_of_an_isotonic_regression_turned_round():
    sizes = np.array([10, 30, 100, 300, 1000])
    scores, levels = 30 + 5 * np.arange(5)[:, None] + rng().normal(0, 6, (5, 200)), rng(1).uniform(25, 55, 200)
    crossings = distance.crossing(sizes, distance.smoothed(scores), levels)
    grid, expected = np.linspace(1, 3, 200_001), []
    for curve, level in zip(scores.T, levels, strict=True):
        above = np.interp(grid, np.log10(sizes), IsotonicRegression().fit_transform(np.log10(sizes), curve)) >= level
        expected.append(0 if above[0] else 10 ** grid[above.argmax()] if above.any() else np.inf)
    assert crossings == pytest.approx(expected, rel=1e-4) and {0, np.inf} < set(crossings)


def points(codes=("qab", "qac")):
    cells = [(code, DIRECT, count) for code in codes for count in SIZES] + [("qaa", "source", count) for count in SIZES]
    rows = [("xnli", code, f"{series}={count}", count) for code, series, count in cells]
    return pd.DataFrame(rows, columns=["target", "language", "run", "examples"])


def test_known_crossings_are_recovered():
    """Direct tuning scores 30 + 10 log10(n), in qac 8 more; ``none`` and the runs are levels."""
    levels = {"none": 45, "mnli": 55, "ccg": 20, "qqp": 70}

    def score(run, target, code, seed):
        word, _, count = run.partition("=")
        if word in levels:
            return levels[word] + seed
        return (20 if word == "source" else 30) + 10 * np.log10(int(count)) + seed + (8 if code == "qac" else 0)

    runs = [*levels, *(f"{word}={count}" for word in ("direct", "source") for count in SIZES)]
    scores = from_statistics(known(score, runs, ["xnli"], ["qab", "qac"], [1, 2]))
    runs = ["none", "mnli", "ccg", "qqp", "absent"]
    worth = distance.worth(scores, points(), runs, ["mnli", "qqp", "absent"]).set_index(["language", "run"])
    for run, examples in {"none": 10**1.5, "mnli": 10**2.5, "ccg": 0, "qqp": np.inf, INTERMEDIATE: np.inf}.items():
        row = worth.loc["qab", run]
        assert row[["examples", "low", "high"]].tolist() == pytest.approx([examples] * 3, rel=1e-3)
    assert worth.loc["qac", "examples"][["none", "mnli"]].tolist() == pytest.approx([0, 10**1.7])
    # the mean of 55 and 70 is beyond both curves; of the two languages' numbers the median is the lower one
    medians = {"none": 0, "mnli": 10**1.7, "ccg": 0, "qqp": np.inf, INTERMEDIATE: 10**2.45}
    assert worth.loc[MEDIAN, "examples"].to_dict() == pytest.approx(medians, rel=1e-3)
    assert set(worth["smallest"]) == {10} and set(worth["largest"]) == {1000} and "absent" not in worth.index.levels[1]
    curves = distance.learning_curves(scores, points(), ["qaa", "qab", "qac"])
    values = curves.pivot(index=["series", "language"], columns="examples", values="value")
    assert values.loc["direct", "qac"].tolist() == pytest.approx([49.5, 59.5, 69.5], abs=1e-4)
    assert values.loc["source", "qab"].tolist() == pytest.approx([31.5, 41.5, 51.5], abs=1e-4)
    assert len(values) == 4, "the source language was not scored"


def test_curve_and_level_move_together():
    """A run that answers every example as ``direct=100`` does is worth a hundred examples on every resample."""
    ease = rng(1).random(200)
    share = {"direct=10": 0.2, "direct=100": 0.5, "direct=1000": 0.8, "none": 0.5}
    stats = known(lambda *_: 0, list(share), ["xnli"], ["qab"], [1], examples=200)
    stats["numerator"] = np.concatenate([ease < chance for chance in share.values()]).astype(float)
    row = distance.worth(from_statistics(stats), points(["qab"]), ["none"], []).iloc[0]
    assert row[["examples", "low", "high"]].tolist() == pytest.approx([100] * 3)


def test_sizes_are_what_is_trained_on(tmp_path):
    direct = {"targets": ["xnli", "udpos"], "training_languages": ["source", "each"], "examples": [10, 300, 0]}
    micro = {"languages": ["qaa", "qab"], "classification": {"train": 400}, "tagging": {"train": 200}}
    small = study(tmp_path, targets=["xnli", "udpos"], micro=micro, further={"direct": direct})
    sizes = distance.training_sizes(small, open_source(small)).groupby(["target", "language"])[["run", "examples"]]
    sizes = sizes.agg(list)
    assert sizes.loc["xnli", "qab"].tolist() == [["direct=10", "direct=300", "direct=0"], [10, 300, 400]]
    # 300 of 200 is the whole set, which counts once
    assert sizes.loc["udpos", "qaa"].tolist() == [["source=10", "source=0"], [10, 200]]


# --- robustness over languages -----------------------------------------------------------------------------

# run -> scores in qab, qac, qad on XNLI; on UDPOS ten more
SCORES = {"none": (60, 40, 20), "mnli": (70, 30, 20), "ccg": (59, 39, 25), "direct=0": (60, 60, 60)}
CODES = ["qab", "qac", "qad"]


def test_robustness_by_hand():
    def score(run, target, code, seed):
        return SCORES[run][CODES.index(code)] + (10 if target == "udpos" else 0) + seed

    scores = from_statistics(known(score, list(SCORES), ["xnli", "udpos"], CODES, [1, 2]))
    table = distance.robustness(scores, ["xnli", "udpos"], ["mnli", "ccg"], ["mnli", "ccg"], CODES).set_index("series")
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
    stats = known(lambda run, _, code, seed: SCORES[run][CODES.index(code)] + 10 * seed, ["none", "mnli"], ["xnli"],
                  CODES, [1, 2])  # fmt: skip
    stats = stats[(stats["intermediate"] == "none") | (stats["seed"] == 2)]
    row = distance.robustness(from_statistics(stats), ["xnli"], ["mnli"], [], CODES).set_index("series").loc["mnli"]
    assert row[["worst_gain", "lose", "seeds"]].tolist() == pytest.approx([0, 100 / 3, 1], abs=1e-4)


def test_deviations_of_the_spread_are_its_derivatives():
    values, moved, step = np.array([60.0, 40, 20, 35]), rng().normal(size=(4, 30)), 1e-5
    weights = distance.deviation(values)
    changed = [np.std(values + step * column) for column in moved.T]
    assert weights @ values == pytest.approx(np.std(values))
    np.testing.assert_allclose(weights @ moved, (np.array(changed) - np.std(values)) / step, atol=1e-4)


def test_noise_alone_makes_no_run_less_even():
    """Minimum and deviation are biased on resamples; their intervals are not to be."""
    runs = ["none", *(f"mnli={number}" for number in range(1, 13))]
    stats = statistics(runs, ["xnli"], ["qaa", *CODES], [1, 2, 3], 150)
    table = distance.robustness(from_statistics(stats), ["xnli"], runs[1:], [], CODES)[1:]
    for name in ("worst", "sd"):
        assert ((table[f"{name}_low"] <= 0) & (table[f"{name}_high"] >= 0)).sum() >= 10
        middle = (table[f"{name}_low"] + table[f"{name}_high"]) / 2 - table[f"{name}_gain"]
        width = table[f"{name}_high"] - table[f"{name}_low"]
        assert abs(middle.mean()) < 0.1 * width.mean(), "centred on the change itself"


# --- studies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trained", "keys", "message"),
    [
        ([], {}, "further.direct: the question of distance compares with direct tuning"),
        (["each"], {"source": "files", "source_language": "de"}, '"de": distances are known from en alone'),
    ],
)
def test_a_study_that_the_question_cannot_be_asked_of_is_refused(tmp_path, trained, keys, message):
    further = {"direct": {"targets": ["xnli"], "training_languages": trained}} if trained else {}
    with pytest.raises(UserError, match=message):
        study(tmp_path, question="distance", further=further, **keys)


# --- the answer and the notebook ---------------------------------------------------------------------------


def test_the_answer_says_what_the_intervals_say():
    head = ["part", "series", "quantity", "value", "low", "high"]
    rows = [
        ("xnli", INTERMEDIATE, "mean", 9.0, 8.0, 10.0), (ALL_TARGETS, INTERMEDIATE, "mean", -1.2, -2.0, -0.4),
        (ALL_TARGETS, INTERMEDIATE, "slope", -8.0, -15.0, 1.0), (ALL_TARGETS, DIRECT, "mean", 5.0, 4.0, 6.0),
        (ALL_TARGETS, direct_minus(INTERMEDIATE), "mean", 6.2, 5.0, 7.0), (ALL_TARGETS, "mnli", "mean", 1.0, 0.5, 2.0),
    ]  # fmt: skip
    aligned = [(name, INTERMEDIATE, "mean", *values) for name, values in
               {"cka": (-9.0, -10.0, -8.0), "accuracy": (1.0, np.nan, np.nan)}.items()]  # fmt: skip
    slopes, alignment = (pd.DataFrame(part, columns=head).assign(seeds=5, p=0.07) for part in (rows, aligned))
    worth = pd.DataFrame({"language": MEDIAN, "run": INTERMEDIATE, "examples": [np.inf, 0.0, 347.0]})
    worth = worth.assign(smallest=10, largest=3000)
    assert distance.sentences(slopes, worth) == [
        "Gain of intermediate training in the source language, other languages: −1.2 [−2.0, −0.4].",
        "Its change from distance 0 to 1: −8.0 [−15.0, 1.0], no evidence; languages permuted: p 0.07.",
        "Direct tuning minus intermediate training: +6.2 [5.0, 7.0].",
        "Direct tuning equals intermediate training with <10 to >3,000 examples (medians, by target).",
    ]
    assert distance.examples_text(worth.iloc[2]) == "350"
    table = distance.verdicts(slopes, alignment)
    assert table["verdict"].tolist() == ["helps", "hurts", "helps", "hurts", "no evidence"]
    assert table["of"].tolist() == ["XNLI", "mean", "mean", "linear CKA", "retrieval accuracy"]
    assert table["slope over distance"].tolist() == ["", "−8.0 [−15.0, 1.0]", "", "", ""]


def f1(folder):
    """F1 of UDPOS by training language, number of examples and language."""
    stats = pd.read_parquet(folder / "stats.parquet").query("target == 'udpos' and metric == 'f1'")
    sums = stats.groupby(["training_language", "examples", "language"])[["numerator", "denominator"]].sum()
    return 100 * sums["numerator"] / sums["denominator"]


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
def test_real_files_from_a_tiny_checkpoint_and_what_is_missing(tmp_path):
    """The phases as their notebooks call them, then the cells of this one in order, on a run too few; the gains and
    slopes of UDPOS computed anew from the statistics on disk."""
    codes = ["de", "fi", "ko"]
    build_checkpoint(tmp_path / "encoder")
    toy = study(
        tmp_path, based_on="files-distance", encoder={"checkpoint": str(tmp_path / "encoder")}, figures=str(tmp_path),
        intermediate=["none", "sick", "mrpc"], targets=["udpos", "tatoeba"], languages=["en", *codes],
        files={"limits": {"train": 20, "dev": 8, "test": 8}}, seeds=1,
        further={"direct": {"targets": ["udpos"], "examples": [8, 0]}},
        training={"intermediate": {"steps": 2}, "target": {"steps": 2, "batch_size": 4}},
    )  # fmt: skip
    source = open_source(toy)
    phases.encoder(toy, source, 1)
    phases.intermediate(toy, source, "sick", 1)
    for run in list_runs(toy):
        if run.phase == "targets" and run.intermediate != "mrpc":
            list(phases.targets(toy, source, run.intermediate, run.bundle, 1))
    space = run_cells(toy)
    own, direct = (f1(toy.folder / f"targets/{name}/seed1") for name in ("none/all", "none/direct"))
    none = own["source", 0][codes]
    gains = {
        INTERMEDIATE: f1(toy.folder / "targets/sick/all/seed1")["source", 0][codes] - none,
        DIRECT: np.array([direct[code, 0, code] for code in codes]) - none,
    }
    slopes = pd.read_parquet(toy.own_folder / "distance" / "slopes.parquet")
    slopes = slopes.set_index(["part", "series", "quantity"])["value"]["udpos"]
    for series, gain in gains.items():
        expected = [gain.mean(), theilslopes(gain, source.language_table()["distance"][codes]).slope]
        assert slopes[series][["mean", "slope"]].tolist() == pytest.approx(expected, abs=1e-4)
    text = (toy.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert "On real text" in text and "- Missing: `mrpc` (7 scores).\n" in text
    for name in ("gain-distance", "slopes", "learning-curves", "examples-worth", "alignment", "robustness"):
        assert (toy.figures_folder / f"{name}.png").stat().st_size > 1000
        assert (toy.figures_folder / f"{name}.csv").stat().st_size > 100
    aligned = pd.read_parquet(toy.own_folder / "distance" / "alignment.parquet")
    assert set(aligned["part"]) == set(distance.METRICS)
    assert {"syntactic", "phonological", "genetic", "geographic"} <= set(space["by_distance"]["over"])
    assert (space["by_distance"]["held"] == "").all(), "three languages are too few to hold anything fixed"
