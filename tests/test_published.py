"""Published numbers: what is shipped, what a user's own file may hold, which are compared with ours, how it looks."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from tools import make_published

from test_figures import COLUMNS as ESTIMATES
from test_figures import labels, overlapping
from xstilts import plots, published
from xstilts.errors import UserError
from xstilts.io import ROOT, write_table
from xstilts.published import COLUMNS, Setting, compare, read_table, shipped
from xstilts.results import MACRO, MACRO_TRAINED, MEAN
from xstilts.runs import Fingerprints, Run
from xstilts.study import load_study
from xstilts.tasks import TASKS, get

NINE = ["xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"]
RUNS = ["none", "mnli", "squad1", "hellaswag", "multi", "ccg"]


def estimates(values, language=MEAN):
    """Estimates by hand: {(run, target, quantity): value}, each with an interval of one point either side."""
    rows = [(*key[:2], language, key[2], value, value - 1, value + 1, 3, 1, 1) for key, value in values.items()]
    return pd.DataFrame(rows, columns=ESTIMATES)


def largest(target, split, code):
    """Most examples of the published set, 0 where it is not known."""
    return published.set_sizes().get((target, split, code), (0, 0))[1]


def whole(targets):
    """A setting in which every set is the published one, scored on its test split, retrieval as the authors'."""
    splits = {target: published._only_split(get(target)) or "test" for target in targets}
    keys = [(target, code) for target in targets for code in get(target).languages]
    examples = {(name, code): largest(name, splits[name], code) for name, code in keys}
    examples |= {("tydiqa", code): 564 + (code == "ar") for code in get("tydiqa").languages if "tydiqa" in targets}
    return Setting(False, splits, examples, {}, {}, (14, "mean"))


def entry(target="xnli", run="mnli", value=75.0, **more):
    task = TASKS.get(target)
    row = dict.fromkeys(COLUMNS, "") | {"system": "S", "source": "there", "provenance": "seen", "split": "test"}
    row |= {"intermediate": run, "target": target, "language": MEAN, "kind": "score", "value": value, "layer": np.nan}
    row |= {"languages": len(task.languages) if task else np.nan}
    row |= {"metric": published.metric_of(task) if task else published.MEAN_OF_TARGETS}
    return pd.DataFrame([row | more])


def resized(setting, sizes):
    return replace(setting, examples={key: count for key, count in (setting.examples | sizes).items() if count})


GIVEN = ROOT / ".." / "shared" / "published"
HEAD = "intermediate,target,split,kind,value,source"


# --- what is shipped -----------------------------------------------------------------------------------------


def test_every_shipped_row_has_a_source_and_known_words():
    rows = shipped()
    assert len(rows) > 100 and list(rows.columns) == list(COLUMNS)
    assert set(rows["provenance"]) == {"seen", "recalled", "derived"}
    assert rows["value"].notna().all() and (rows["language"] == MEAN)[rows["target"].isin([MACRO, MACRO_TRAINED])].all()
    assert (rows["languages"].notna() == (rows["language"] == MEAN))[rows["target"].isin(TASKS)].all()
    assert set(rows.loc[rows["source"].str.contains("lareqa"), "target"]) == {"lareqa"}, "a ranking, no span"
    recalled = rows[rows["provenance"] == "recalled"]
    assert len(recalled) == 8 and recalled["source"].str.contains("not checked").all()


@pytest.mark.skipif(not GIVEN.is_dir(), reason="the collected figures are not here")
def test_shipped_tables_are_what_the_script_makes(tmp_path):
    for table in sorted((ROOT / "lib" / "xstilts" / "tables" / "published").glob("*.csv")):
        make_published.write(tmp_path / table.name, getattr(make_published, table.stem)(GIVEN), COLUMNS)
        assert (tmp_path / table.name).read_bytes() == table.read_bytes(), table.name


def cells(system, condition="kind == 'score'"):
    return shipped().query(f"system == @system and {condition}").set_index(["target", "language"])["value"]


def test_shipped_numbers_agree_with_each_other():
    """Averages that were printed, recomputed from the cells that were printed or read elsewhere."""
    xlmr, best = cells("XLM-R Large (XTREME)"), cells("X-STILTs (leaderboard submission)")
    for table, seven in ((xlmr, 70.1), (best, 72.7)):
        assert table[MACRO_TRAINED, MEAN] == seven
        assert table[[(target, MEAN) for target in NINE[:7]]].mean() == pytest.approx(seven, abs=0.06)
    assert xlmr[[(target, MEAN) for target in NINE]].mean() == pytest.approx(68.25), "not 68.1: its note says so"
    gain = cells("X-STILTs", "kind == 'gain' and split == 'test'")[MACRO, MEAN]
    assert xlmr[MACRO, MEAN] + gain == pytest.approx(cells("X-STILTs (paper's test row)")[MACRO, MEAN])
    jiant, xcopa = cells("XLM-R Large (jiant)"), cells("XLM-R Large (XCOPA)")
    for table, target in ((jiant, "tatoeba"), (jiant, "bucc"), (xcopa, "xcopa")):
        alone = table[target].drop(MEAN)
        assert list(alone.index) == list(get(target).languages)
        assert alone.mean() == pytest.approx(table[target, MEAN], abs=0.006)


def test_means_of_exact_match_and_f1_recompute():
    notes = shipped()["note"].str.extract(r"mean of EM ([\d.]+) and F1 ([\d.]+)").dropna().astype(float)
    assert len(notes) == 12
    np.testing.assert_allclose(notes.mean(axis=1), shipped().loc[notes.index, "value"], atol=0.0051)


def test_set_sizes_hold_every_language_of_the_targets():
    sizes = published.set_sizes()
    for target in [*NINE, "xcopa"]:
        task = get(target)
        split = published._only_split(task) or "test"
        known = {code for name, part, code in sizes if (name, part) == (target, split)}
        assert known == ({"all"} if target == "tydiqa" else set(task.languages)), target
    assert sizes["tydiqa", "dev", "all"] == (5077, 5077) and sizes["xnli", "test", "sw"] == (5010, 5010)
    assert sizes["tatoeba", "test", "jv"] == (205, 205) and sizes["udpos", "test", "de"] == (47, 20436)


# --- a user's own table --------------------------------------------------------------------------------------


def write(folder, *lines, head=HEAD):
    path = folder / "paper.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_users_table_is_completed(tmp_path):
    lines = ['mnli,xnli,dev,gain,-0.5,"Table 2, row 3",', "", "best,macro,test,gain,5.4,abstract,recalled"]
    lines.append("none,tatoeba,test,score,,not printed,missing")
    table = read_table(write(tmp_path, *lines, head=HEAD + ",provenance"))
    assert table["system"].tolist() == ["paper", "paper"], "what is missing is not shown"
    assert table["value"].tolist() == [-0.5, 5.4] and table["source"].tolist() == ["Table 2, row 3", "abstract"]
    assert table["metric"].tolist() == ["accuracy", "mean of targets"] and table["language"].tolist() == [MEAN, MEAN]
    assert table["languages"].iloc[0] == 15 and table["provenance"].tolist() == ["seen", "recalled"]


ROW = "mnli,xnli,dev,gain,1.5,Table 2"
BAD = [  # lines, the header, message
    ([ROW], HEAD.replace("target", "taget"), r'paper.csv:1: no column "target"; did you mean "taget"\?'),
    ([ROW + ",de"], HEAD + ",langauge", r'"langauge": unknown column; did you mean "language"\?'),
    ([ROW], "intermediate,target,split,kind,value", 'paper.csv:1: no column "source"'),
    ([ROW + ",1"], HEAD + ",source", r'paper.csv:1: the column "source" stands there twice'),
    ([], HEAD, "holds no number"),
    ([ROW, ROW + ",more"], HEAD, "paper.csv:3: 7 columns, expected 6"),
    (["mnli,xlni,dev,gain,1.5,Table 2"], HEAD, r'paper.csv:2: target: unknown "xlni"; did you mean "xnli"\?'),
    (["mlni,xnli,dev,gain,1.5,Table 2"], HEAD, r'paper.csv:2: intermediate: .*"mlni"; did you mean "mnli"\?'),
    (["none,xnli,dev,gain,1.5,Table 2"], HEAD, "paper.csv:2: kind: a gain is measured from"),
    (["mnli,xnli,dev,gian,1.5,Table 2"], HEAD, r'paper.csv:2: kind: unknown "gian"; did you mean "gain"\?'),
    (["mnli,xnli,dev,gain,1.5 points,Table 2"], HEAD, "paper.csv:2: value: expected a number from -100 to 100"),
    (["mnli,xnli,dev,score,-3,Table 2"], HEAD, 'value: expected a number from 0 to 100, found "-3"'),
    (["mnli,xnli,dev,gain,1.5, "], HEAD, "paper.csv:2: source: is empty; no number is shown without its source"),
    ([ROW, ROW], HEAD, "paper.csv:3: a number that an earlier line has, too"),
    ([ROW + ",ja"], HEAD + ",language", 'paper.csv:2: language: unknown "ja"'),
    ([ROW + ",-1"], HEAD + ",layer", 'paper.csv:2: layer: expected a number from 0 to 200, found "-1"'),
    ([ROW + ",sure"], HEAD + ",provenance", 'paper.csv:2: provenance: unknown "sure"'),
    (['mnli,"xnli'], HEAD, "paper.csv:2: not CSV"),
]


@pytest.mark.parametrize(("lines", "head", "message"), BAD)
def test_a_bad_table_is_one_message_with_file_line_and_column(tmp_path, lines, head, message):
    with pytest.raises(UserError, match=message) as caught:
        read_table(write(tmp_path, *lines, head=head))
    assert "\n" not in str(caught.value)


def test_the_study_names_the_table_and_the_final_notebook_depends_on_it(tmp_path):
    path = write(tmp_path, ROW)
    study = load_study("micro", published=str(path), controls=[])
    assert set(published.read(study)["system"]) == {*shipped()["system"], "paper"}
    before = Fingerprints(study).of(Run("transfer"))
    write(tmp_path, ROW.replace("1.5", "1.6"))
    assert Fingerprints(study).of(Run("transfer")) != before
    path.unlink()
    with pytest.raises(UserError, match=r"published: no file .*paper\.csv"):
        published.read(study)


# --- what agrees ---------------------------------------------------------------------------------------------


def judged(row, setting, target="xnli", language=MEAN, **options):
    values = {("mnli", target, "score"): 77.5, ("none", target, "score"): 70.0, ("mnli", target, "gain"): 7.5}
    return compare(row, estimates(values, language), setting, **options).iloc[0]


def test_a_number_that_agrees_is_compared():
    result = judged(entry(), whole(["xnli"]))
    assert (result["status"], result["why"], result["seeds"]) == ("compared", "", 3)
    assert (result["ours"], result["low"], result["high"], result["difference"]) == (77.5, 76.5, 78.5, 2.5)
    assert judged(entry(kind="gain", value=9.0), whole(["xnli"]))["difference"] == -1.5
    assert judged(entry(language="sw", languages=np.nan), whole(["xnli"]), language="sw")["difference"] == 2.5
    for target, split in (("xquad", "dev"), ("xquad", "test"), ("tydiqa", "dev"), ("tydiqa", "test")):
        assert judged(entry(target, split=split), whole([target]), target)["difference"] == 2.5, "there is one set only"


XNLI, UDPOS = whole(["xnli"]), whole(["udpos"])
LEFT_OUT = [  # published number, setting of ours, why it is left out
    (entry(), Setting(constructed=True), "constructed languages"),
    (entry("pawsx"), XNLI, "not a target here"),
    (entry(split="dev"), XNLI, "xnli on dev, ours on test"),
    (entry(metric="f1"), XNLI, "f1, ours is accuracy"),
    (entry("xquad", metric="f1"), whole(["xquad"]), "f1, ours is f1\\+exact_match"),
    (entry(), resized(XNLI, {("xnli", "sw"): 0}), "other languages"),
    (entry(language="sw"), resized(XNLI, {("xnli", "sw"): 0}), "language not here"),
    (entry(), resized(XNLI, {("xnli", "sw"): 1200}), "xnli in sw: 1,200 examples, published 5,010"),
    (entry(), replace(XNLI, training={"xnli": "trained on sick, not mnli"}), "trained on sick"),
    (entry("udpos"), resized(UDPOS, {("udpos", "de"): 22458}), "udpos in de: 22,458 examples, published 20,436"),
    (entry("tydiqa"), resized(whole(["tydiqa"]), {("tydiqa", "ko"): 276}), "tydiqa in all: 4,789 examples, publ"),
    (entry("copa"), Setting(False, {"copa": "test"}, {("copa", "en"): 500}), "size of copa test in en not"),
    (entry(MACRO), whole([*NINE, "xcopa"]), "averages other targets"),
    (entry(run="ccg"), XNLI, "no score of ours with ccg"),
    (entry(), replace(XNLI, runs={"mnli": "mnli trained on part of mnli"}), "mnli trained on part of mnli"),
]


@pytest.mark.parametrize(("row", "setting", "why"), LEFT_OUT)
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
        other = compare(rows, ours, replace(setting, retrieval=retrieval))
        assert other["difference"].isna().all() and set(other["status"]) == {"alone"}
    alone = shipped().query("target == 'tatoeba' and language == 'af' and metric == 'accuracy'")
    elsewhere = replace(setting, retrieval=(13, "mean"))
    assert compare(alone, ours, elsewhere)["status"].tolist() == ["left out"], "the mean says enough"


def test_a_run_that_is_not_known_gets_the_span_of_ours_and_no_difference():
    for run, why in (("best", "run chosen per target"), ("unstated", "run not stated")):
        result = judged(entry(run=run), XNLI)
        assert result[["status", "why", "low", "high"]].tolist() == ["alone", why, 70.0, 77.5]
        assert result[["ours", "difference"]].isna().all()


def test_averages_over_targets_need_the_same_nine():
    ours = estimates({("mnli", MACRO, "gain"): 6.0, ("none", MACRO_TRAINED, "score"): 71.0})
    rows = shipped()[shipped()["target"].isin([MACRO, MACRO_TRAINED])]
    setting = whole(NINE)
    on_test = compare(rows, ours, setting).query("status == 'compared'")
    assert on_test[["target", "value", "difference"]].values.tolist() == [[MACRO_TRAINED, 70.1, pytest.approx(0.9)]]
    splits = {target: published._only_split(get(target)) or "dev" for target in NINE}
    examples = {key: largest(key[0], "dev", key[1]) or count for key, count in setting.examples.items()}
    on_dev = replace(setting, splits=splits, examples=examples)
    result = compare(rows, ours, on_dev).query("value == 7.5").iloc[0]
    assert result["why"] == "size of udpos dev in kk not known", "UD has no development set there"


def test_setting_of_a_study():
    assert published.setting(SimpleNamespace(source="micro"), None, None) == Setting(constructed=True)
    gold = Dataset.from_dict({"side": ["foreign", "foreign", "source"], "gold": [["a"], [], ["b"]]})
    source = SimpleNamespace(languages=lambda task, split: ["en"], load=lambda task, split, language: gold)
    rows = ["xnli en 1 accuracy", "xnli en 2 accuracy", "xquad en 1 f1", "xquad en 1 exact_match"]
    rows += ["bucc zh 1 f1", "bucc zh 2 f1"]
    stats = pd.DataFrame([row.split() for row in rows], columns=["target", "language", "id", "metric"])
    runs, targets = ["none", "anli", "hellaswag"], ["xnli", "xquad", "udpos", "xcopa", "bucc"]
    sick = {"xnli": "sick"}
    study = load_study("files", intermediate=runs, targets=targets, training_sets=sick, retrieval={"layer": 2})
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


# --- how it looks --------------------------------------------------------------------------------------------


def some():
    """Compared, spanned, alone and recalled; means and single languages; scores and gains."""
    setting = whole(["xnli", "tatoeba"])
    ours = {(run, "xnli", "score"): 70.0 + number for number, run in enumerate(RUNS)}
    ours |= {("none", "tatoeba", "score"): 33.0, ("mnli", "xnli", "gain"): -1.0}
    unchecked = entry(run="mnli", value=0.5, kind="gain", source="a thesis, p. 3", provenance="recalled")
    table = pd.concat([estimates(ours), estimates({("none", "tatoeba", "score"): 28.0}, "af")])
    compared = compare(pd.concat([shipped(), unchecked]), table, setting)
    return published.shown(compared), compared


def test_sentence_and_table_carry_every_source():
    shown, compared = some()
    text = published.summary(compared, "xlm-roberta-large")
    counts = compared["status"].value_counts()
    assert f"{counts['compared']} published numbers are compared with ours" in text and "xlm-roberta-large" in text
    assert "averages other targets" in text and "no score of ours" in text
    table = published.readable(shown)
    assert len(table) == len(shown) and table["source"].str.len().min() > 3
    assert (table["published"].str.endswith("†") == (shown["provenance"] == "recalled")).all()
    assert (table["source"].str.contains("recalled, not checked") == (shown["provenance"] == "recalled")).all()
    first = table.query("target == 'XNLI' and run == 'none'").iloc[0]
    assert first[["published", "ours", "difference"]].tolist() == ["79.2", "70.0 [69.0, 71.0]", "−9.2"]
    spanned = table.query("target == 'XNLI' and run == 'best'").iloc[0]
    assert spanned[["ours", "difference"]].tolist() == ["70.0 to 75.0 over our runs", "run chosen per target"]
    micro = compare(shipped(), estimates({}), Setting(constructed=True))
    assert published.summary(micro).endswith("language of one of ours (constructed languages).")
    assert published.readable(published.shown(micro)).empty


def test_figure_places_published_beside_ours():
    shown, _ = some()
    figure = published.figure(shown)
    assert [ax.get_title("left") for ax in figure.axes] == ["score", "gain"]
    assert overlapping(figure) == []
    lines = labels(figure.axes[0].yaxis)
    assert "XNLI · mnli · S†" in lines and "XNLI · none · XLM-R Large (XTREME)" in lines
    assert len(lines) == len(set(lines)) and "" not in lines
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["published", "ours"]
    plt.close(figure)


def test_cells_of_the_notebook_on_real_sets(tmp_path, monkeypatch, capsys):
    """The cells that compare, as a kernel would run them, on a study of Tatoeba and a typed table of XNLI's gains."""
    ours = {(run, "xnli", "gain"): float(number) for number, run in enumerate(RUNS[1:])}
    ours |= {("none", "tatoeba", "score"): 33.0}
    monkeypatch.setattr(published, "setting", lambda *_: whole(["xnli", "tatoeba"]))
    typed = write(tmp_path, *(f"{run},xnli,dev,gain,{number},Table 2" for number, run in enumerate(RUNS[1:])))
    study = SimpleNamespace(published=str(typed), path="mine.yaml", encoder=SimpleNamespace(checkpoint="xlmr"))
    score = {("none", "tatoeba", "score"): 30.0}
    tables = [estimates(ours), *(estimates(score, code) for code in get("tatoeba").languages)]
    folder = tmp_path / "figures"
    space = {"experiment": study, "source": None, "stats": None, "table": pd.concat(tables), "figure_folder": folder}
    space |= {"published": published, "plots": plots, "write_table": write_table}
    notebook = json.loads((ROOT / "notebooks" / "4-transfer.ipynb").read_text(encoding="utf-8"))
    (code,) = [cell["source"] for cell in notebook["cells"] if "published.read(" in "".join(cell["source"])]
    exec("".join(code), space)
    printed = capsys.readouterr().out
    assert "37 published numbers are compared with ours" in printed and "xlmr" in printed
    assert {path.name for path in folder.iterdir()} == {"published.csv", "published.png", "published.svg"}
    saved = pd.read_csv(folder / "published.csv")
    assert saved["source"].notna().all() and saved["provenance"].notna().all()
