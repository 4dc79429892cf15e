"""Scores, gains, gaps and intervals against numbers worked by hand, and coverage by simulation."""

import numpy as np
import pandas as pd
import pytest

from synthetic import cell, statistics, study, wanted, write
from xstilts import results
from xstilts.errors import UserError
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, ZERO_SHOT

LANGUAGES = ["qaa", "qab", "qac"]


def table(rows, target="xnli", metric="accuracy"):
    """Statistics from (run, language, seed, [numerators]) with denominators of 1."""
    parts = [cell(run, target, language, seed, metric, np.array(values, float)) for run, language, seed, values in rows]
    return pd.concat(parts, ignore_index=True)


def estimate(stats, want, resamples=500):
    """The estimates by run, target, language and quantity."""
    estimates = results.estimates(results.resample(stats, np.random.default_rng(0), resamples), want, "qaa")
    return estimates.set_index(["intermediate", "target", "language", "quantity"]).sort_index()


def test_a_score_is_a_ratio_of_sums_and_a_task_score_the_mean_of_its_xtreme_metrics():
    f1 = table([("none", "qaa", 1, [1, 1])], "xquad", "f1").assign(numerator=[1.0, 0.5])
    exact = table([("none", "qaa", 1, [1, 0])], "xquad", "exact_match")
    tags = table([("none", "qaa", 1, [2, 0])], "udpos", "f1").assign(denominator=[3.0, 1.0])
    words = table([("none", "qaa", 1, [5, 1])], "udpos", "accuracy").assign(denominator=[5.0, 3.0])
    scores = results.scores(pd.concat([f1, exact, tags, words]))
    assert list(scores.columns) == [*results.KEYS, "metric", "value", "n"]
    assert scores["value"].tolist() == [75.0, 50.0, 50.0, 75.0]
    assert scores["n"].tolist() == [2, 2, 2, 2]
    # (75 + 50) / 2 for spans; entity F1 alone for tagging, as XTREME scores UDPOS
    assert results.task_scores(scores).set_index("target")["value"].to_dict() == {"xquad": 62.5, "udpos": 50.0}
    alone = results.task_scores(results.scores(f1))
    assert alone["value"].isna().all(), "half a task's metrics are no score"


def test_nothing_to_find_and_nothing_found_is_0_as_for_the_scorers_and_no_data_is_a_gap():
    rows = [("none", "qaa", 1, [1, 0]), ("none", "qab", 1, [0, 0]), ("mnli", "qaa", 1, [1, 1])]
    stats = table(rows, "panx", "f1")
    stats.loc[stats["language"] == "qab", "denominator"] = 0.0
    assert results.scores(stats)["value"].tolist() == [50.0, 0.0, 100.0]
    estimates = estimate(stats, wanted(["none", "mnli"], ["panx"], ["qaa", "qab"], [1]))
    assert estimates.loc["none", "panx", "qab", "score"]["value"] == 0.0
    gap = estimates.loc["mnli", "panx", "qab", "score"]
    assert np.isnan(gap["value"]) and gap["seeds"] == 0


def test_values_of_cells_and_averages_by_hand():
    parts = [
        table([("none", "qaa", 1, [1, 1, 1, 0]), ("none", "qab", 1, [1, 0, 0, 0])]),
        table([("mnli", "qaa", 1, [1, 1, 1, 1]), ("mnli", "qab", 1, [1, 1, 0, 0])]),
        table([("none", "qab", 1, [1, 0, 0, 0]), ("mnli", "qab", 1, [0, 0, 0, 0])], "tatoeba"),
    ]
    want = wanted(["none", "mnli"], ["xnli", "tatoeba"], ["qaa", "qab"], [1])
    expected = {
        ("none", "xnli", MEAN, "score"): 50.0,  # (75 + 25) / 2
        ("none", "xnli", ZERO_SHOT, "score"): 25.0,
        ("none", MACRO, MEAN, "score"): 37.5,  # (50 + 25) / 2: over targets, not over languages
    }
    gains = {"xnli": 25.0, "tatoeba": -25.0, MACRO: 0.0, MACRO_TRAINED: 25.0}
    expected |= {("mnli", target, MEAN, "gain"): gain for target, gain in gains.items()}
    assert estimate(pd.concat(parts), want)["value"][list(expected)].to_dict() == expected


def test_an_average_with_a_part_missing_is_empty_not_smaller():
    runs, targets, seeds = ["none", "mnli"], ["xnli", "pawsx", "tatoeba"], [1, 2, 3]
    stats, want = statistics(runs, targets, LANGUAGES, seeds, 30), wanted(runs, targets, LANGUAGES, seeds)
    mnli = stats["intermediate"] == "mnli"
    gone = mnli & (stats["target"] == "tatoeba")  # everywhere
    gone |= mnli & (stats["target"] == "pawsx") & (stats["seed"] == 2) & (stats["language"] == "qac")  # one seed
    missing = results.missing(want, results.task_scores(results.scores(stats[~gone])))
    assert missing.groupby("target").size().to_dict() == {"tatoeba": 6, "pawsx": 1}
    assert missing[missing["target"] == "pawsx"].values.tolist() == [["mnli", "pawsx", "qac", 2]]

    estimates = estimate(stats[~gone], want)
    seeds = [estimates["seeds"]["mnli", target, MEAN, "gain"] for target in ("tatoeba", MACRO, "pawsx", MACRO_TRAINED)]
    assert seeds == [0, 0, 2, 2] and estimates["seeds"]["none", MACRO, MEAN, "score"] == 3
    assert estimates.loc[estimates["seeds"] == 0, ["value", "low", "high"]].isna().all(axis=None)
    by_seed = results.task_scores(results.scores(stats)).query("target != 'tatoeba' and seed != 2")
    means = by_seed.groupby(["intermediate", "target"])["value"].mean().groupby("intermediate").mean()
    gain = estimates["value"]["mnli", MACRO_TRAINED, MEAN, "gain"]
    assert gain == pytest.approx(means["mnli"] - means["none"])


def test_one_seed_interval_is_the_bootstrap_of_the_examples():
    right = np.arange(400) < 300
    estimates = estimate(table([("none", "qaa", 1, right)]), wanted(["none"], ["xnli"], ["qaa"], [1]), resamples=4000)
    cell = estimates.loc["none", "xnli", "qaa", "score"]
    half = 100 * 1.959964 * np.sqrt(0.75 * 0.25 / 400)  # the normal interval of a proportion
    assert cell["value"] == 75.0 and MACRO_TRAINED not in estimates.index.levels[1], "one kind has one average"
    assert (cell["high"] - cell["low"]) / 2 == pytest.approx(half, rel=0.06)


def test_runs_are_paired_on_examples():
    rng = np.random.default_rng(0)
    right = {seed: rng.random(100) < 0.5 for seed in (1, 2, 3)}
    rows = [(run, "qaa", seed, values) for run in ("none", "mnli") for seed, values in right.items()]
    estimates = estimate(table(rows), wanted(["none", "mnli"], ["xnli"], ["qaa"], [1, 2, 3]))
    assert estimates.loc["mnli", "xnli", "qaa", "gain"][["value", "low", "high"]].tolist() == [0, 0, 0]


def test_languages_that_share_examples_are_resampled_together():
    right = np.random.default_rng(0).random(200) < 0.5
    shared = table([("none", language, 1, right) for language in LANGUAGES])
    apart = shared.assign(id=shared["language"] + shared["id"])
    want = wanted(["none"], ["xnli"], LANGUAGES, [1])
    widths = []
    for stats in (shared, apart):
        cell = estimate(stats, want, resamples=4000).loc["none", "xnli", MEAN, "score"]
        widths.append(cell["high"] - cell["low"])
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(3), rel=0.08)  # three copies of one set are one set


def test_chunks_of_examples_do_not_change_a_score_or_its_spread(monkeypatch):
    stats = statistics(["none", "mnli"], ["xnli", "xquad"], LANGUAGES, [1, 2], 150)
    want = wanted(["none", "mnli"], ["xnli", "xquad"], LANGUAGES, [1, 2])
    whole = estimate(stats, want, resamples=2000)
    monkeypatch.setattr(results, "CHUNK", 37)
    parts = estimate(stats, want, resamples=2000)
    assert parts["value"].tolist() == whole["value"].tolist()
    # 97.5% quantiles of 2,000 resamples each: 3 standard errors apart at most, near enough
    assert np.allclose((parts["high"] - parts["low"]) / (whole["high"] - whole["low"]), 1, atol=0.15)


@pytest.mark.parametrize(("seeds", "sd"), [(2, 0.04), (3, 0.04), (5, 0.0)])
def test_intervals_cover_the_true_gain(seeds, sd):
    """Simulated studies with a true gain of 10 points, seed effects of ``sd`` per run, paired examples.

    Each study is a language with examples of its own, so that one call resamples them all.
    """
    worlds, examples, rng = 300, 200, np.random.default_rng(seeds)
    axes = {"language": worlds, "intermediate": 2, "seed": seeds, "id": examples}
    base, shift = rng.uniform(0.3, 0.6, (worlds, 1, 1, examples)), np.array([0, 0.1])[:, None, None]
    chance = np.clip(base + shift + rng.normal(0, sd, (worlds, 2, seeds, 1)), 0, 1)
    index = np.indices(tuple(axes.values())).reshape(4, -1)
    stats = pd.DataFrame(dict(zip(axes, index, strict=True))).assign(target="xnli", metric="accuracy", denominator=1.0)
    stats["intermediate"] = np.array(["none", "mnli"])[index[1]]
    stats["id"] = stats["language"] * examples + stats["id"]
    stats["numerator"] = (rng.random(chance.shape) < chance).ravel().astype(float)
    replicates = results.resample(stats, rng, 400)

    hits = {}
    for factor in (results.widening(seeds), 1.0):
        covered = 0
        for world in range(worlds):
            ours, theirs = (replicates.of(run, "xnli", [world]) for run in ("mnli", "none"))
            _, low, high, _ = replicates.interval(ours[0] - theirs[0], ours[1] - theirs[1])
            covered += low <= 10 <= high
        hits[factor] = covered / worlds
        replicates._draws[seeds] = replicates._draws[seeds] / factor  # undoes the widening for the second round
    assert results.widening(5) == pytest.approx(np.sqrt(5 / 4) * 2.7764451 / 1.9599640)  # of tables of Student's t
    widened, bare = hits.values()
    assert widened >= 0.93  # 0.95 less 1.6 standard errors of 300 simulations
    if sd:
        assert bare < 0.92, "without widening the same intervals are too narrow"


def test_runs_scored_on_different_examples_are_refused():
    stats = table([("none", "qaa", 1, [1, 0, 1]), ("mnli", "qaa", 1, [1, 0])])
    with pytest.raises(UserError, match="xnli, qaa: runs or seeds were scored on different examples"):
        results.resample(stats, np.random.default_rng(0))


def test_rank_correlation_with_distance():
    rows = [("none", f"q{number}", 1, np.arange(100) < right) for number, right in enumerate([95, 90, 60, 70, 30])]
    codes = [f"q{number}" for number in range(5)]
    distance = pd.Series([0.0, 0.1, 0.2, 0.3, 0.4], codes)
    replicates = results.resample(table(rows), np.random.default_rng(0), 200)
    rho = results.correlations(replicates, wanted(["none"], ["xnli"], codes, [1]), distance).iloc[0]
    # without the source: ranks 1 2 3 4 against 4 2 3 1: 1 - 6 * (9 + 0 + 0 + 9) / 60
    assert rho["rho"] == pytest.approx(-0.8)
    assert rho["languages"] == 4 and rho["low"] >= -1 and rho["high"] < 0
    distance["q4"] = np.nan
    few = results.correlations(replicates, wanted(["none"], ["xnli"], codes[:4], [1]), distance[:3]).iloc[0]
    assert np.isnan(few["rho"]) and few["languages"] == 2


def test_only_finished_runs_of_the_study_are_read(tmp_path):
    toy = study(tmp_path, intermediate=["none", "mnli"], targets=["xnli"], seeds=2)
    with pytest.raises(UserError, match="no finished target run"):
        results.read_stats(toy)
    stats = statistics(["none", "mnli", "qqp"], ["xnli", "pawsx"], ["qaa"], [1, 2, 3], 5)
    write(stats, toy.folder)
    (toy.folder / "targets/mnli/all/seed2/run.json").unlink()
    finished = results.read_stats(toy, targets=["xnli"])
    assert set(zip(finished["intermediate"], finished["seed"], strict=True)) == {("none", 1), ("none", 2), ("mnli", 1)}
    assert set(finished["target"]) == {"xnli"}


def test_controls_are_shown_by_name_with_the_seeds_that_are_done(tmp_path, monkeypatch):
    targets, want = ["xnli", "tatoeba"], wanted(["none"], ["xnli", "tatoeba"], LANGUAGES, [1, 2])
    write(statistics(["none"], targets, LANGUAGES, [1, 2], 20), tmp_path / "toy")
    write(statistics(["none"], ["xnli"], LANGUAGES, [1, 2], 20), tmp_path / "untrained")
    studies = {name: study(tmp_path, name, targets=targets, seeds=2) for name in ("toy", "untrained", "unfinished")}
    done = [(studies["untrained"], [1]), (studies["unfinished"], [])]
    monkeypatch.setattr(results, "finished_controls", lambda _: done)
    control = results.controls(studies["toy"], want, np.random.default_rng(0))
    means = control[(control["language"] == ZERO_SHOT) & control["target"].isin(targets)]
    expected = [["toy", "xnli", 2], ["toy", "tatoeba", 2], ["untrained", "xnli", 1]]
    assert means[["study", "target", "seeds"]].values.tolist() == expected
