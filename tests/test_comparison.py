"""Which published numbers are compared with ours."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from comparable import NINE, estimates, one, resized, whole, without
from xstilts import published
from xstilts.published import Setting, compare, shipped
from xstilts.results import MACRO, MACRO_TRAINED, MEAN
from xstilts.study import load_study
from xstilts.tasks import get

# --- what agrees ---------------------------------------------------------------------------------------------


def judged(row, setting, target="xnli", language=MEAN, **options):
    values = {("mnli", target, "score"): 77.5, ("none", target, "score"): 70.0, ("mnli", target, "gain"): 7.5}
    return compare(row, estimates(values, language), setting, **options).iloc[0]


def test_a_number_that_agrees_is_compared():
    result = judged(one(), whole(["xnli"]))
    assert (result["status"], result["why"], result["seeds"]) == ("compared", "", 3)
    assert (result["ours"], result["low"], result["high"], result["difference"]) == (77.5, 76.5, 78.5, 2.5)
    assert judged(one(kind="gain", value=9.0), whole(["xnli"]))["difference"] == -1.5
    assert judged(one(language="sw", languages=np.nan), whole(["xnli"]), language="sw")["difference"] == 2.5
    for target, split in (("xquad", "dev"), ("xquad", "test"), ("tydiqa", "dev"), ("tydiqa", "test")):
        assert judged(one(target, split=split), whole([target]), target)["difference"] == 2.5, "there is one set only"


XNLI, UDPOS = whole(["xnli"]), whole(["udpos"])


@pytest.mark.parametrize(
    ("row", "setting", "why"),
    [
        (one(), Setting(constructed=True), "constructed languages"),
        (one("pawsx"), XNLI, "not a target here"),
        (one(split="dev"), XNLI, "xnli on dev, ours on test"),
        (one(), without(XNLI, splits={"xnli": "dev"}), "xnli on test, ours on dev"),
        (one(metric="f1"), XNLI, "f1, ours is accuracy"),
        (one("xquad", metric="f1"), whole(["xquad"]), "f1, ours is f1\\+exact_match"),
        (one(), resized(XNLI, {("xnli", "sw"): 0}), "other languages"),
        (one(), resized(XNLI, {("xnli", "ja"): 5010}), "other languages"),
        (one(language="sw"), resized(XNLI, {("xnli", "sw"): 0}), "language not here"),
        (one(), resized(XNLI, {("xnli", "sw"): 1200}), "xnli in sw: 1,200 examples, published 5,010"),
        (one(), without(XNLI, training={"xnli": "trained on sick, not mnli"}), "trained on sick"),
        (one("udpos"), resized(UDPOS, {("udpos", "de"): 22458}), "udpos in de: 22,458 examples, published 20,436"),
        (one("tydiqa"), resized(whole(["tydiqa"]), {("tydiqa", "ko"): 276}), "tydiqa: 4,789 of 5,077 examples"),
        (one("copa"), Setting(False, {"copa": "test"}, {("copa", "en"): 500}, {}, {}), "size of copa test in en not"),
        (one(MACRO), XNLI, "averages other targets"),
        (one(MACRO), whole([*NINE, "xcopa"]), "averages other targets"),
        (one(run="ccg"), XNLI, "no score of ours with ccg"),
        (one(), without(XNLI, runs={"mnli": "mnli trained on part of mnli"}), "mnli trained on part of mnli"),
    ],
)
def test_a_number_that_does_not_agree_is_left_out(row, setting, why):
    result = judged(row, setting, row["target"][0], row["language"][0])
    assert result["status"] == "left out" and re.match(why, result["why"]) and np.isnan(result["difference"])
    assert published.shown(pd.DataFrame([result])).empty


def test_tatoebas_three_baselines_follow_three_protocols():
    rows = shipped().query("target == 'tatoeba' and language == @MEAN and provenance != 'recalled' or value == 77.3")
    ours = estimates({("none", "tatoeba", "score"): 33.0, ("squad1", "tatoeba", "score"): 60.0})
    setting = whole(["tatoeba"])
    result = compare(rows, ours, setting).set_index("value")
    assert sorted(round(value, 1) for value in result.index) == [31.0, 57.3, 77.3]
    assert result["note"].nunique() == 3 and result["note"].str.len().min() > 20, "each says its protocol"
    assert result.loc[31.022, ["status", "difference"]].tolist() == ["compared", pytest.approx(33 - 31.022)]
    assert result.loc[57.3, ["status", "why"]].tolist() == ["alone", "retrieval protocol not known"]
    assert result.loc[77.3, ["status", "why"]].tolist() == ["alone", "mean of 41 languages"]
    for retrieval in ((13, "mean"), (14, "cls"), (-1, "mean"), None):
        other = compare(rows, ours, without(setting, retrieval=retrieval))
        assert other["difference"].isna().all() and set(other["status"]) == {"alone"}
    alone = shipped().query("target == 'tatoeba' and language == 'af'")
    elsewhere = without(setting, retrieval=(13, "mean"))
    assert compare(alone, ours, elsewhere)["status"].tolist() == ["left out"], "the mean says enough"


def test_a_run_that_is_not_known_gets_the_span_of_ours_and_no_difference():
    for run, why in (("best", "run chosen per target"), ("unstated", "run not stated")):
        result = judged(one(run=run), XNLI)
        assert (result["status"], result["why"], result["low"], result["high"]) == ("alone", why, 70.0, 77.5)
        assert np.isnan(result["ours"]) and np.isnan(result["difference"])


def test_averages_over_targets_need_the_same_nine():
    ours = estimates({("mnli", MACRO, "gain"): 6.0, ("none", MACRO_TRAINED, "score"): 71.0})
    rows = shipped()[shipped()["target"].isin([MACRO, MACRO_TRAINED])]
    on_test = compare(rows, ours, whole(NINE)).query("status == 'compared'")
    assert on_test[["target", "value", "difference"]].values.tolist() == [[MACRO_TRAINED, 70.1, pytest.approx(0.9)]]
    dev = whole(NINE)
    dev = without(dev, splits={target: published._only_split(get(target)) or "dev" for target in NINE})
    sizes = {key: published.set_sizes().get((key[0], "dev", key[1]), (0, 0))[1] for key in dev.examples}
    dev = without(dev, examples={key: sizes[key] or count for key, count in dev.examples.items()})
    result = compare(rows, ours, dev).query("value == 7.5").iloc[0]
    assert result["why"] == "size of udpos dev in kk not known", "UD has no development set there"


def test_setting_of_a_study():
    assert published.setting(SimpleNamespace(source="micro"), None, None) == Setting(constructed=True)
    gold = Dataset.from_dict({"side": ["foreign", "foreign", "source"], "gold": [["a"], [], ["b"]]})
    source = SimpleNamespace(languages=lambda task, split: ["en"], load=lambda task, split, language: gold)
    stats = pd.DataFrame(
        [("xnli", "en", "1", "accuracy"), ("xnli", "en", "2", "accuracy"), ("xquad", "en", "1", "f1"),
         ("xquad", "en", "1", "exact_match"), ("bucc", "zh", "1", "f1"), ("bucc", "zh", "2", "f1")],
        columns=["target", "language", "id", "metric"],
    )  # fmt: skip
    study = load_study(
        "files", targets=["xnli", "xquad", "udpos", "xcopa", "bucc"], training_sets={"xnli": "sick"},
        retrieval={"layer": 2}, intermediate=["none", "anli", "hellaswag"],
    )  # fmt: skip
    result = published.setting(study, source, stats)
    assert result.examples == {("xnli", "en"): 2, ("xquad", "en"): 1, ("bucc", "zh"): 1}, "gold pairs of BUCC"
    assert result.training == {"xnli": "trained on sick, not mnli"} and result.retrieval == (2, "mean")
    assert result.runs == {"anli": "anli trained on part of anli"}, "of its development file"
    assert result.splits["xnli"] == "test"
    limits = study.files.limits.model_copy(update={"train": 10})
    cut = study.model_copy(update={"files": study.files.model_copy(update={"limits": limits})})
    assert published.setting(cut, source, stats).training["udpos"] == "trained on part of udpos"
    for changes in ({"special_tokens": False}, {"centre": True}):
        other = study.model_copy(update={"retrieval": study.retrieval.model_copy(update=changes)})
        assert published.setting(other, source, stats).retrieval is None
