"""Question 7: distances between texts by hand, tables against direct computations, then its notebook on runs of the
micro-world and on real files."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import small
from synthetic import known, run_cells, write
from synthetic import study as make_study
from toy import placeholder
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.questions import domain_shift as shift
from xstilts.questions.domain_shift import AGAINST, DROP, FARTHER, IN, LESS, MORE, NEARER, OUT, WORST
from xstilts.results import ZERO_SHOT
from xstilts.study import load_study
from xstilts.tasks import get

LETTERS = "abcdefghijklmnopqrst"
CODES = ["qaa", "qab", "qah"]
GROUPS = {ZERO_SHOT: CODES[1:], "qaa": ["qaa"], "qab": ["qab"], "qah": ["qah"]}
HALVES = GROUPS | {FARTHER: ["qah"], NEARER: ["qab"]}
RUNS = {"socialiqa": "social", "piqa": "physical", "socialiqa@qab": "social", "piqa@qab": "physical"}
XCOPA = get("xcopa")


@pytest.mark.parametrize("features", ["characters", "words"])
def test_a_distance_is_zero_for_the_same_texts_and_two_without_a_common_word(features):
    sample = [f"word{i} of{i % 7}" for i in range(100)]
    value, low, high, error = shift.a_distance(sample, sample[::-1], features).values()
    assert (value, error, low) == (0, 0.5, 0) and 0 < high < 0.3
    latin = [f"dog {a}{b}" for a in "abcdef" for b in LETTERS]
    greek = [f"σκύλος {i % 9}" for i in range(120)]
    value, low, high, error = shift.a_distance(latin, greek, features).values()
    assert value == high == 2 and error == 0 and 1.8 < low < 2


def test_half_of_the_texts_in_common_is_half_of_the_distance():
    """A text of both sets is judged right on one side and wrong on the other, whatever the classifier says."""
    common = [f"{a}{a} same" for a in LETTERS]
    foxes, whales = ([f"{word} {a}{a}{a}" for a in LETTERS] for word in ("fox", "whale"))
    distance = shift.a_distance(common + foxes, common + whales, "words")
    assert distance["words_error"] == 20 / 80 and distance["words_low"] < distance["words"] == 1


def test_only_the_beginnings_of_texts_count():
    same = [" ".join(LETTERS[i : i + shift.FIRST_WORDS]) for i in range(10)] * 3
    assert shift.a_distance(same, [f"{text} and much more of it" for text in same])["characters"] == 0


def test_shared_words_by_hand():
    # vocabularies {a, b, c} and {b, d}: one of four in both; of b, B and d two are known
    assert shift.overlap(["a b", "c"], ["b B", "d."]) == {"jaccard": 1 / 4, "covered": 2 / 3}


def test_sets_of_texts_are_made_equally_large():
    first, second = shift.same_size(["x"] * 30, [str(i) for i in range(20)])
    assert len(first) == 20 and sorted(second, key=int) == [str(i) for i in range(20)]
    assert [len(part) for part in shift.same_size(["x"] * 3000, ["y"] * 2000)] == [shift.MAX_TEXTS] * 2
    for pair in ((["a"] * 6, ["b"] * 5), (["a"] * 4, ["b"] * 4)):
        with pytest.raises(UserError, match="as many of either, at least 5"):
            shift.a_distance(*pair)


def test_texts_leave_out_fixed_questions():
    row = {"context": ["it rained"], "question": ["What was the effect?"], "choices": [["wet", "dry"]], "label": [0]}
    assert shift.texts(get("copa"), row) == ["it rained wet dry"]
    assert shift.texts(get("csqa"), row | {"context": [""]}) == ["What was the effect? wet dry"]
    assert shift.texts(get("xnli"), {"text_a": ["a"], "text_b": ["b"]}) == ["a b"]
    assert shift.texts(get("udpos"), {"tokens": [["a", "b"]]}) == ["a b"]


def statistics(is_right, runs=RUNS, items=40):
    """Statistics and topics: ``is_right(run, topic, item, language)`` says whether an item is answered; two topics by
    turns, every fifth item of neither."""
    topics = ["" if i % 5 == 4 else ("social", "physical")[i % 2] for i in range(items)]

    def score(run, target, code, seed):
        return [100 * is_right(run, topic, item, code) for item, topic in enumerate(topics)]

    stats = known(score, ["none", *runs], ["xcopa"], CODES, [1, 2], items)
    return stats, {f"xcopa-{item}": topic for item, topic in enumerate(topics)}


def indexed(table):
    return table.set_index(["side", "trained_in", "quantity", "group"]).sort_index()


def made(stats, topics, groups=GROUPS):
    return shift.estimates(*shift.crossed(stats, topics, RUNS), XCOPA, groups)


def measured(stats, runs=RUNS, groups=GROUPS, home=""):
    return indexed(shift.estimates(stats, shift.cells(runs), XCOPA, groups, home))


def test_a_run_is_a_task_and_a_language():
    runs = ["piqa", "piqa@qab", "piqa@all=3000", "piqa=50", "hellaswag+mlm@qab,qac"]
    languages = ["source", "qab", "all=3000", "source=50", "qab,qac"]
    assert [shift.split_run(run) for run in runs] == list(zip([*["piqa"] * 4, "hellaswag+mlm"], languages, strict=True))


def test_the_crossed_drop_is_that_of_a_direct_computation():
    draws = iter(np.random.default_rng(1).random(100_000))

    def is_right(run, topic, item, code):
        return next(draws) < 0.4 + 0.2 * (topic == "social") + 0.3 * (RUNS.get(run) == topic) - 0.1 * (code == "qah")

    stats, topics = statistics(is_right, items=200)
    table = indexed(made(stats, topics))
    scores = stats.assign(topic=stats["id"].map(topics)).query("topic != ''")
    scores = 100 * scores.groupby(["intermediate", "language", "topic"])["numerator"].mean()

    def direct(tail, code, first, second):
        return (scores[f"socialiqa{tail}", code, first] + scores[f"piqa{tail}", code, second]) / 2

    for code in ("qab", "qah"):
        inside, inside_qab = (direct(tail, code, "social", "physical") for tail in ("", "@qab"))
        outside, outside_qab = (direct(tail, code, "physical", "social") for tail in ("", "@qab"))
        expected = {
            (IN, "source", "score"): inside, (OUT, "qab", "score"): outside_qab,
            (DROP, "source", DROP): inside - outside, (OUT, "qab", AGAINST): outside_qab - outside,
            (DROP, "qab", AGAINST): inside_qab - outside_qab - inside + outside,
        }  # fmt: skip
        values = [table.loc[(*key, code), "value"] for key in expected]
        assert values == pytest.approx(list(expected.values()))
    drop = table.loc[(DROP, "source", DROP, ZERO_SHOT)]
    assert 0 < drop.low < 30 < drop.high and drop.seeds == drop.languages == 2  # the truth is 30 points


def test_the_halves_differ_by_the_difference_of_their_scores():
    """Intermediate training is worth twenty points more in the far language; each half's own interval does not say
    so. Languages share items: without an effect the difference is 0 on every resample."""
    name = "farther half minus nearer half"
    stats, _ = statistics(lambda run, _, item, code: item % 10 < 5 + (run != "none") * (1 + 2 * (code == "qah")))
    table = measured(stats, groups=HALVES)
    gain = table.loc[("piqa", "source", "gain", name)]
    assert gain.value == pytest.approx(20) and gain.low > 0 and gain.languages == 2
    assert table.loc[("none", "none", "score", name), "value"] == 0
    flat, _ = statistics(lambda run, topic, item, _: item % 2)
    assert (measured(flat, groups=HALVES).xs(name, level="group")[["value", "low", "high"]] == 0).all(axis=None)


def test_the_measured_drop_is_from_the_targets_own_domain():
    tenths = {"none": 3, "copa": 9, "copa@sw=8": 6, "copa=8": 7, "piqa": 5, "xnli@sw": 4}
    runs = [run for run in tenths if run != "none"]
    stats, _ = statistics(lambda run, topic, item, _: item % 10 < tenths[run], runs)
    value = measured(stats, runs, home="copa").xs(ZERO_SHOT, level="group")["value"]
    drops, against = (value.xs(quantity, level="quantity").to_dict() for quantity in (DROP, AGAINST))
    assert drops == {("piqa", "source"): pytest.approx(40)}  # no copa in all of Swahili's XNLI
    assert against == {("copa", "sw=8"): pytest.approx(-10)}  # beside as many examples, not beside all


def test_the_target_may_be_a_task_of_ones_own():
    """It has no entry in the table of tasks, which knows the metrics of a task otherwise."""
    stats, topics = statistics(lambda run, topic, *_: RUNS.get(run) == topic)
    own, sides = shift.crossed(stats.assign(target="mine"), topics, RUNS)
    table = shift.estimates(own, sides, replace(XCOPA, name="mine"), GROUPS)
    pd.testing.assert_frame_equal(table, made(stats, topics))


def test_how_hard_a_topic_is_cancels_out():
    """Social items are always answered, physical ones never, whatever the run: raw scores differ by 100 points between
    the topics, the drop is 0 on every resample."""
    table = indexed(made(*statistics(lambda run, topic, *_: topic == "social")))
    drop = table.loc[(DROP, "source", DROP, ZERO_SHOT)]
    assert (drop.value, drop.low, drop.high) == (0, 0, 0)


def test_a_seed_that_lacks_a_topic_is_left_out_and_a_lacking_run_is_missing():
    stats, topics = statistics(lambda run, topic, *_: RUNS.get(run) == topic)
    is_run = stats["intermediate"] == "piqa@qab"
    seeds = indexed(made(stats[~(is_run & (stats["seed"] == 2))], topics))["seeds"]
    assert seeds[IN, "qab", "score", "qaa"] == 1 and seeds[IN, "source", "score", "qaa"] == 2
    table = indexed(made(stats[~is_run], topics))
    assert np.isnan(table.loc[(DROP, "qab", DROP, "qaa"), "value"])
    assert table.loc[(OUT, "qab", "score", WORST), "seeds"] == 0


def test_the_worst_language_is_the_lowest_of_the_others():
    quarters = {"qaa": 0, "qab": 2, "qah": 1}  # the source language has the lowest score
    stats, _ = statistics(lambda run, topic, item, code: item % 4 < quarters[code])
    worst = measured(stats).loc[("piqa", "source", "score", WORST)]
    assert worst.low < worst.value == 25 < worst.high


def test_the_answer_counts_what_the_intervals_show():
    far = {("socialiqa@qab", "qah"), ("piqa@qab", "qah")}
    stats, topics = statistics(lambda run, topic, _, code: RUNS.get(run) == topic or (run, code) in far)
    table = made(stats, topics, HALVES)
    lines = shift.sentences(table, pd.DataFrame({"rho": [-0.5], "low": [-0.9], "high": [0.1]}))
    for number, (side, better) in enumerate({IN: 0, OUT: 1}.items()):
        text = f"In the farther half, {side}: another language than the source is better in {better} of 1 comparisons"
        assert lines[number].startswith(text)
    assert lines[2] == "Scores drop under shift in 2 of 2 comparisons."
    assert lines[3].startswith("The gain over `none` neither falls nor rises") and "−0.50 [−0.90, 0.10]" in lines[3]
    assert shift.verdicts(table)["gain"].tolist() == ["+0.0 [0.0, 0.0]", "+100.0 [100.0, 100.0]"]


@pytest.mark.parametrize("first", [1, 3, np.nan])  # Haitian Creole is not in CC-100
def test_languages_are_halved_by_text_or_where_all_have_as_much_by_distance(monkeypatch, first):
    codes = ["qaa", "qab", "qac", "qah"]
    table = pd.DataFrame({"distance": [0, 0.1, 0.2, 0.9]}, codes)
    amount = pd.Series([9, 3, first, 3 if first == 3 else 2], codes)
    monkeypatch.setattr(shift, "pretraining_text", lambda *_: (amount, "documents"))
    groups = shift.language_groups(load_study("domain-shift"), SimpleNamespace(language_table=lambda: table), codes)
    by_text, by_distance = {LESS: ["qac"], MORE: ["qah", "qab"]}, {FARTHER: ["qah"], NEARER: ["qac", "qab"]}
    untrained = {shift.UNTRAINED: ["qac"]}  # the only one that no run is trained in
    expected = {ZERO_SHOT: codes[1:]} | (by_distance if first == 3 else by_text) | untrained
    assert groups == expected | {code: [code] for code in codes}


def test_gain_against_distance():
    fifths = {("socialiqa", "social"): 5, ("piqa", "physical"): 4, ("csqa", "social"): 3, ("csqa", "physical"): 2,
              ("socialiqa", "physical"): 1, ("piqa", "social"): 0}  # fmt: skip
    pairs = [(*pair, 0.4 * number) for number, pair in enumerate(fifths)]
    distances = pd.DataFrame(pairs, columns=["task", "topic", "characters"])
    runs = ["socialiqa", "piqa", "csqa"]
    stats, topics = statistics(
        lambda run, topic, item, _: item // 10 % 5 < fifths.get((run, topic), 0), runs, items=400
    )  # fmt: skip
    points, rho = shift.by_distance(stats, XCOPA, distances, topics, ["qab", "qah"])
    assert points["value"].tolist() == pytest.approx([100, 80, 60, 40, 20, 0])
    rho = rho.iloc[0]
    assert rho["rho"] == pytest.approx(-1) and rho["high"] < 0 and rho["domains"] == rho["distances"] == 6
    assert rho["p"] == pytest.approx(2 / 720)
    few = shift.by_distance(stats, XCOPA, distances[:4], topics, ["qab"])[1]
    assert np.isnan(few["rho"].iloc[0]), "four are too few"
    two = distances.assign(characters=[0.4, 0.41, 0.39, 1.6, 1.61, 1.59])
    assert np.isnan(shift.by_distance(stats, XCOPA, two, topics, ["qab"])[1]["rho"].iloc[0]), "six, at two distances"


def answered(study):
    """The tables and the text of a finished study's notebook."""
    run_cells(study)
    tables = {path.stem: pd.read_parquet(path) for path in (study.own_folder / "domain-shift").glob("*.parquet")}
    text = (study.figures_folder / "answer.md").read_text("utf-8")
    assert "missing" not in text.lower() and "nan" not in text
    return tables, {path.stem for path in study.figures_folder.glob("*.png")}


def test_the_micro_study_from_nothing_to_its_answer(tmp_path):
    study = make_study(
        tmp_path, question="domain-shift", intermediate=["none", *RUNS], targets=["xcopa"], figures=str(tmp_path),
        micro={"languages": CODES, "documents": 200, "choice": {"train": 30, "dev": 4, "test": 20}}, seeds=1,
        encoder=small.SMALL["encoder"], training={"intermediate": {"steps": 2}, "target": {"steps": 2}},
    )  # fmt: skip
    small.at_once(study.path)
    tables, figures = answered(study)
    assert set(tables["made"]["trained_in"]) == {"none", "source", "qab"} and (tables["made"]["seeds"] == 1).all()
    assert figures == {"made", "drop", "against-source"}


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
def test_the_distances_of_real_files(tmp_path):
    """Made-up scores of runs of the committed study; the texts are real."""
    runs = ["none", "copa", "copa=9", "copa@sw=9", "copa@all=9", "csqa", "xnli", "xnli@sw"]
    study = make_study(
        tmp_path, based_on="files", question="domain-shift", intermediate=runs, targets=["xcopa"], training_sets={},
        figures=str(tmp_path), bundle="each", encoder={"checkpoint": str(placeholder(tmp_path / "tiny"))},
        files=load_study("files-domain-shift").files.model_dump(exclude_defaults=True)
        | {"limits": {"train": 40, "dev": 10, "test": 12}},
        further={"few": {"runs": runs, "targets": ["xcopa"], "training_languages": ["source"], "examples": [8]}},
    )  # fmt: skip
    codes = "en et id it sw th tr vi zh".split()
    stats = known(lambda run, *_: 50 + len(run), runs, ["xcopa"], codes, study.seed_numbers)
    write(stats, study.folder, "xcopa")
    write(stats.assign(examples=8), study.folder, "few")
    tables, figures = answered(study)
    runs, distances = tables["runs"], tables["measured"].set_index("task")
    assert tables["made"].empty and set(codes[1:]) < set(runs["group"]) and set(runs["examples"]) == {0, 8}
    assert (runs[runs["group"] == LESS]["languages"] == 4).all()
    assert distances.loc["copa", "characters"] == 0 and distances.loc["copa", "characters_error"] >= 0.5
    assert set(runs[runs["quantity"] == DROP]["side"]) == {"csqa", "xnli"}
    against = runs[runs["quantity"] == AGAINST][["side", "trained_in"]].drop_duplicates()
    assert against.to_numpy().tolist() == [["copa", "sw=9"], ["copa", "all=9"], ["xnli", "sw"]]
    assert "drop" in figures
