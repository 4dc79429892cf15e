"""Published numbers: what is shipped, and what a user's own file may hold."""

import re

import numpy as np
import pytest
from tools import make_published

from comparable import NINE
from xstilts import published
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.published import COLUMNS, read_table, shipped
from xstilts.results import MACRO, MACRO_TRAINED, MEAN
from xstilts.runs import Fingerprints, Run
from xstilts.sources.hub import SIZES
from xstilts.study import load_study
from xstilts.tasks import TASKS, get

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


@pytest.mark.skipif(not GIVEN.is_dir(), reason="the collected figures are not here")
def test_sizes_are_the_collected_ones():
    """Of every configuration the same numbers of rows, whatever its splits are called."""
    here = {}
    for (repo, config, _, language), rows in SIZES.items():
        if not language:
            here.setdefault((repo, config), set()).add(rows)
    compared = 0
    for row in make_published.collected(GIVEN, "hub_dataset_sizes.csv"):
        found = here.get((row["hub_id"], row["config"]))
        if found:
            given = " ".join(row[split] for split in ("train", "validation_or_other", "test"))
            assert found <= set(map(int, re.findall(r"(?<!\w)\d+", given)))
            compared += 1
    assert compared > 170
    whole = {key[2]: rows for key, rows in SIZES.items() if key[1] == "XNLI" and not key[3]}
    assert whole == {part: sum(SIZES["google/xtreme", "XNLI", part, code] for code in get("xnli").languages)
                     for part in whole}  # fmt: skip


def cells(system, **more):
    rows = shipped()
    rows = rows[(rows["system"] == system) & (rows["kind"] == more.pop("kind", "score"))]
    for column, value in more.items():
        rows = rows[rows[column] == value]
    return rows.set_index(["target", "language"])["value"]


def test_shipped_numbers_agree_with_each_other():
    """Averages that were printed, recomputed from the cells that were printed or read elsewhere."""
    xlmr, best = cells("XLM-R Large (XTREME)"), cells("X-STILTs (leaderboard submission)")
    for table, seven in ((xlmr, 70.1), (best, 72.7)):
        assert table[MACRO_TRAINED, MEAN] == seven
        assert table[[(target, MEAN) for target in NINE[:7]]].mean() == pytest.approx(seven, abs=0.06)
    assert xlmr[[(target, MEAN) for target in NINE]].mean() == pytest.approx(68.25), "not 68.1: its note says so"
    gain = cells("X-STILTs", kind="gain", split="test")[MACRO, MEAN]
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


@pytest.mark.parametrize(
    ("lines", "head", "message"),
    [
        ([ROW], HEAD.replace("target", "taget"), r'paper.csv:1: no column "target"; did you mean "taget"\?'),
        ([ROW + ",de"], HEAD + ",langauge", r'"langauge": unknown column; did you mean "language"\?'),
        ([ROW], "intermediate,target,split,kind,value", 'paper.csv:1: no column "source"'),
        ([ROW + ",1"], HEAD + ",source", r'paper.csv:1: the column "source" stands there twice'),
        ([], HEAD, "holds no number"),
        ([ROW, ROW + ",more"], HEAD, "paper.csv:3: 7 columns, expected 6"),
        (["mnli,xlni,dev,gain,1.5,Table 2"], HEAD, r'paper.csv:2: target: unknown "xlni"; did you mean "xnli"\?'),
        (["mlni,xnli,dev,gain,1.5,Table 2"], HEAD, r'paper.csv:2: intermediate: .*"mlni"; did you mean "mnli"\?'),
        (["none,xnli,dev,gain,1.5,Table 2"], HEAD, "paper.csv:2: kind: a gain is measured from"),
        (["mnli,xnli,val,gain,1.5,Table 2"], HEAD, 'paper.csv:2: split: unknown "val"'),
        (["mnli,xnli,dev,gian,1.5,Table 2"], HEAD, r'paper.csv:2: kind: unknown "gian"; did you mean "gain"\?'),
        (["mnli,xnli,dev,gain,1.5 points,Table 2"], HEAD, "paper.csv:2: value: expected a number from -100 to 100"),
        (["mnli,xnli,dev,score,nan,Table 2"], HEAD, "paper.csv:2: value: expected a number from 0 to 100"),
        (["mnli,xnli,dev,score,-3,Table 2"], HEAD, 'value: expected a number from 0 to 100, found "-3"'),
        (["mnli,xnli,dev,gain,1.5, "], HEAD, "paper.csv:2: source: is empty; no number is shown without its source"),
        ([ROW, ROW], HEAD, "paper.csv:3: a number that an earlier line has, too"),
        ([ROW + ",ja"], HEAD + ",language", 'paper.csv:2: language: unknown "ja"'),
        ([ROW + ",f1"], HEAD + ",metric", 'paper.csv:2: metric: unknown "f1"'),
        ([ROW + ",max"], HEAD + ",pooling", 'paper.csv:2: pooling: unknown "max"'),
        ([ROW + ",-1"], HEAD + ",layer", 'paper.csv:2: layer: expected a number from 0 to 200, found "-1"'),
        ([ROW + ",sure"], HEAD + ",provenance", 'paper.csv:2: provenance: unknown "sure"'),
        (['mnli,"xnli'], HEAD, "paper.csv:2: not CSV"),
    ],
)
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
