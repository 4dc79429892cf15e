"""Scores, gains, gaps and intervals against numbers worked by hand; coverage is in test_inference.py."""

import numpy as np
import pandas as pd
import pytest

from synthetic import cell, known, statistics, study, wanted, write
from xstilts import results
from xstilts.errors import UserError
from xstilts.inference import from_statistics
from xstilts.results import MACRO, MACRO_LEARNED, MACRO_TRAINED, MEAN, ZERO_SHOT, task_metrics
from xstilts.tasks import get

LANGUAGES = ["qaa", "qab", "qac"]


def table(rows, target="xnli", metric="accuracy"):
    """Statistics from (run, language, seed, [numerators]) with denominators of 1."""
    parts = [cell(run, target, language, seed, metric, np.array(values, float)) for run, language, seed, values in rows]
    return pd.concat(parts, ignore_index=True)


def estimate(stats, want):
    """The estimates by run, target, language and quantity."""
    estimates = results.estimates(from_statistics(stats), want, "qaa")
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


def test_a_gain_that_as_many_steps_give_is_budget():
    runs, seeds = ["none", "none+steps", "mnli", "anli", "mnli+shuffled"], [1, 2, 3, 4]
    values = dict(zip(runs, (50, 60, 60, 80, 40), strict=True))
    noise = np.random.default_rng(1).integers(0, 2, (len(seeds), 200)) * 2

    def score(run, target, language, seed):
        return values[run] + noise[seed - 1]

    stats = known(score, runs, ["xnli"], LANGUAGES, seeds, examples=200)
    want = wanted(runs, ["xnli"], LANGUAGES, seeds)
    cells = estimate(stats, want).xs(("xnli", ZERO_SHOT, "gain"), level=(1, 2, 3))
    assert cells["matched"].round(9).to_dict() == {"none+steps": 0, "mnli": 0, "anli": 20, "mnli+shuffled": -20}
    assert cells.index[cells["budget"]].tolist() == ["mnli"]
    assert cells.loc[["mnli", "anli"], "significant"].all()
    without = estimate(stats[stats["intermediate"] != "none+steps"], want[want["intermediate"] != "none+steps"])
    assert not without["budget"].any() and without["matched"].isna().all()


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


def test_one_seed_interval_is_that_of_the_examples():
    right = np.arange(400) < 300
    estimates = estimate(table([("none", "qaa", 1, right)]), wanted(["none"], ["xnli"], ["qaa"], [1]))
    cell = estimates.loc["none", "xnli", "qaa", "score"]
    half = 100 * 1.965927 * np.sqrt(0.75 * 0.25 / 399)  # Student's interval of a mean, 399 degrees of freedom
    assert cell["value"] == 75.0 and MACRO_TRAINED not in estimates.index.levels[1], "one kind has one average"
    assert (cell["high"] - cell["low"]) / 2 == pytest.approx(half, rel=1e-6)


def test_runs_are_paired_on_examples():
    rng = np.random.default_rng(0)
    right = {seed: rng.random(100) < 0.5 for seed in (1, 2, 3)}
    rows = [(run, "qaa", seed, values) for run in ("none", "mnli") for seed, values in right.items()]
    estimates = estimate(table(rows), wanted(["none", "mnli"], ["xnli"], ["qaa"], [1, 2, 3]))
    assert estimates.loc["mnli", "xnli", "qaa", "gain"][["value", "low", "high"]].tolist() == [0, 0, 0]


def test_languages_that_share_examples_vary_together():
    right = np.random.default_rng(0).random(200) < 0.5
    shared = table([("none", language, 1, right) for language in LANGUAGES])
    apart = shared.assign(id=shared["language"] + shared["id"])
    want = wanted(["none"], ["xnli"], LANGUAGES, [1])
    widths = []
    for stats in (shared, apart):
        cell = estimate(stats, want).loc["none", "xnli", MEAN, "score"]
        widths.append(cell["high"] - cell["low"])
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(3), rel=0.01)  # three copies of one set are one set


def test_runs_scored_on_different_examples_are_refused():
    stats = table([("none", "qaa", 1, [1, 0, 1]), ("mnli", "qaa", 1, [1, 0])])
    with pytest.raises(UserError, match="xnli, qaa: runs or seeds were scored on different examples"):
        from_statistics(stats)


def test_rank_correlation_with_distance():
    right = [95, 90, 60, 70, 50, 30]
    rows = [("none", f"q{number}", 1, np.arange(100) < share) for number, share in enumerate(right)]
    codes = [f"q{number}" for number in range(6)]
    distance = pd.Series([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], codes)
    scores, want = from_statistics(table(rows)), wanted(["none"], ["xnli"], codes, [1])
    rho = results.correlations(scores, want, distance).iloc[0]
    # without the source: ranks 1 2 3 4 5 against 5 3 4 2 1: 1 - 6 * (16 + 1 + 1 + 4 + 16) / 120
    assert rho["rho"] == pytest.approx(-0.9)
    assert rho["languages"] == 5 and rho["low"] >= -1 and rho["high"] < 0
    # of 120 orders 5 reach -0.9 (-1, and four neighbours exchanged), so many the other way
    assert rho["p"] == pytest.approx(10 / 120) and not rho["significant"]
    alike = from_statistics(table([(*row[:3], rows[0][3]) for row in rows]))
    assert results.correlations(alike, want, distance)[["rho", "low", "high", "p"]].isna().all(axis=None), "all equal"
    distance["q5"] = np.nan
    few = results.correlations(scores, want, distance).iloc[0]
    assert np.isnan(few["rho"]) and few["languages"] == 4, "four languages are too few"


def test_averages_are_given_without_each_target_and_over_those_that_were_learned():
    """PAWS-X stays at chance with seed 2 of mnli: it leaves the average of learned targets for that run alone."""
    right = {"xnli": (60, 70, 80), "pawsx": (90, 50, 90), "xquad": (30, 40, 20)}  # none, mnli, ccg
    parts = []
    for target, shares in right.items():
        for run, share in zip(("none", "mnli", "ccg"), shares, strict=True):
            for metric, seed, code in [(m, s, c) for m in task_metrics(get(target)) for s in (1, 2) for c in LANGUAGES]:
                parts.append(cell(run, target, code, seed, metric, (np.arange(100) < share).astype(float)))
    stats, want = pd.concat(parts), wanted(["none", "mnli", "ccg"], list(right), LANGUAGES, [1, 2])
    estimates = estimate(stats, want)
    gain = estimates.xs("gain", level="quantity").xs(ZERO_SHOT, level="language")
    assert gain.loc["mnli", MACRO][["value", "lowest", "highest", "targets"]].tolist() == pytest.approx(
        [-20 / 3, -15, 10, 3]
    )
    assert gain.loc["mnli", MACRO_LEARNED][["value", "targets"]].tolist() == pytest.approx([10, 2])
    assert gain.loc["ccg", MACRO_LEARNED][["value", "targets"]].tolist() == pytest.approx([10 / 3, 3])
    score = estimates.xs("score", level="quantity").xs(ZERO_SHOT, level="language")
    assert score["learned"].xs("pawsx", level="target").to_dict() == {"none": 1, "mnli": 0, "ccg": 1}
    known = results.learned(from_statistics(stats), want, "qaa")
    rows = results.seed_scores(results.scores(stats), known)
    assert list(rows) == ["intermediate", "target", "language", "seed", "metric", "value", "learned"]
    assert (
        len(rows) == 3 * 2 * 3 * 4 and rows.query("target == 'pawsx' and intermediate == 'mnli'")["learned"].sum() == 0
    )


def test_chance_is_judged_one_sided_by_the_source_language():
    """58 of 100 of two labels are no better than guessing (52 + 1.66 * 5), 59 are; far languages are not asked."""
    for right, expected in ((58, False), (59, True)):
        rows = [("none", "qaa", 1, np.arange(100) < right), ("none", "qab", 1, np.zeros(100))]
        scores = from_statistics(table(rows, "pawsx"))
        known = results.learned(scores, wanted(["none"], ["pawsx"], ["qaa", "qab"], [1]), "qaa")
        assert known["learned"].tolist() == [expected]


def test_stars_are_benjamini_and_hochbergs_within_a_figure():
    p = [0.001, 0.012, 0.04, 0.9]
    rows = [("mnli", f"t{number}", MEAN, "gain", value) for number, value in enumerate(p)]
    rows += [("mnli", "xnli", "qab", "gain", 0.04), ("mnli", MACRO, MEAN, "gain", 0.04)]
    rows += [("none", "t0", MEAN, "score", np.nan)]
    table = pd.DataFrame(rows, columns=["intermediate", "target", "language", "quantity", "p"])
    # 0.05 * rank / 4: 0.0125, 0.025, 0.0375; the languages of a target and the averages are families of their own
    assert results.starred(table)["significant"].tolist() == [True, True, False, False, True, True, False]


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


def test_the_power_of_a_study_is_from_its_runs_or_from_the_committed_scores(tmp_path):
    runs, targets = ["none", "mnli", "ccg"], ["xnli", "xquad"]
    toy = study(tmp_path, intermediate=runs, targets=targets, seeds=2, figures=str(tmp_path / "figures"))
    assert results.power(toy).empty
    stats = statistics(runs, targets, LANGUAGES, [1, 2, 3], 50)
    table = results.scores(stats)
    known = results.learned(from_statistics(stats), wanted(runs, targets, LANGUAGES, [1, 2, 3]), "qaa")
    toy.figures_folder.mkdir(parents=True)
    results.seed_scores(table, known).to_csv(toy.figures_folder / "scores.csv", index=False)
    committed = results.power(toy)
    assert committed["target"].tolist() == [*targets, MACRO]
    away = results.task_scores(table).query("language != 'qaa' and target == 'xnli'")
    wide = away.groupby(["intermediate", "seed"])["value"].mean().unstack()
    rest = wide.sub(wide.mean(axis=1), axis=0).sub(wide.mean(axis=0) - wide.mean(axis=None))
    assert committed["sd"][0] == pytest.approx(np.sqrt((rest**2).sum(axis=None) / 4))
    assert (committed[2] >= committed[5]).all() and (committed[5] >= 2).all()
    write(stats.query("seed < 3"), toy.folder)
    assert results.power(toy)["sd"][0] != committed["sd"][0], "its own runs come first"


def test_controls_are_shown_by_name_with_the_seeds_that_are_done(tmp_path, monkeypatch):
    targets, want = ["xnli", "tatoeba"], wanted(["none"], ["xnli", "tatoeba"], LANGUAGES, [1, 2])
    write(statistics(["none"], targets, LANGUAGES, [1, 2], 20), tmp_path / "toy")
    write(statistics(["none"], ["xnli"], LANGUAGES, [1, 2], 20), tmp_path / "untrained")
    studies = {name: study(tmp_path, name, targets=targets, seeds=2) for name in ("toy", "untrained", "unfinished")}
    done = [(studies["untrained"], [1]), (studies["unfinished"], [])]
    monkeypatch.setattr(results, "finished_controls", lambda _: done)
    control = results.controls(studies["toy"], want)
    means = control[(control["language"] == ZERO_SHOT) & control["target"].isin(targets)]
    expected = [["toy", "xnli", 2], ["toy", "tatoeba", 2], ["untrained", "xnli", 1]]
    assert means[["study", "target", "seeds"]].values.tolist() == expected
