"""Drop under shift and other languages in phase 2: against direct computations, then two small studies."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

import commands
import small as toy_study
from toy import build_checkpoint
from xstilts.features import learnable
from xstilts.io import ROOT
from xstilts.questions import domain_shift as shift
from xstilts.questions import domain_shift as shift_figures
from xstilts.questions import domain_shift as shift_findings
from xstilts.questions.domain_shift import AGAINST, DROP, IN, OUT, WORST, answer
from xstilts.results import ZERO_SHOT
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.target_runs import training_sets
from xstilts.tasks import get

DATA = (ROOT / "../shared/data").resolve()
CODES = ["qaa", "qab", "qah"]
GROUPS = {ZERO_SHOT: CODES[1:], "qaa": ["qaa"], "qab": ["qab"], "qah": ["qah"]}
RUNS = {"socialiqa": "social", "piqa": "physical", "socialiqa@qab": "social", "piqa@qab": "physical"}
SIDES = {(side, code): f"{side}@{code}" for side in (IN, OUT) for code in ("source", "qab")}


def table(right, seeds=(1, 2), items=40, examples=0):
    """Statistics: ``right(run, topic, item, language, seed)`` says whether an item is answered; two topics by turns,
    every fifth item of neither."""
    topics = {f"x-{i}": "" if i % 5 == 4 else ("social", "physical")[i % 2] for i in range(items)}
    rows = [
        {
            "study": "t", "encoder": "e", "intermediate": run, "target": "xcopa", "training_language": "source",
            "examples": examples, "language": code, "seed": seed, "metric": "accuracy", "id": key,
            "numerator": float(right(run, topic, int(key[2:]), code, seed)), "denominator": 1.0,
        }
        for run in ("none", *RUNS) for code in CODES for seed in seeds for key, topic in topics.items()
    ]  # fmt: skip
    return pd.DataFrame(rows), topics


def estimated(stats, runs):
    found = shift.estimates(stats, "xcopa", runs, GROUPS, np.random.default_rng(0))
    return found.set_index(["side", "trained_in", "quantity", "group"])


def test_a_run_is_a_task_and_a_language():
    assert shift.trained_in("piqa") == ("piqa", "source")
    assert shift.trained_in("piqa@qab") == ("piqa", "qab")
    assert shift.trained_in("piqa@all=3000") == ("piqa", "all=3000")
    assert shift.trained_in("piqa=50") == ("piqa", "source=50")
    assert shift.trained_in("hellaswag+mlm@qab,qac") == ("hellaswag+mlm", "qab,qac")


def test_the_crossed_drop_is_that_of_a_direct_computation():
    rng = np.random.default_rng(1)
    noise = rng.random(100_000)
    draws = iter(noise)

    def right(run, topic, item, code, seed):
        chance = 0.4 + 0.2 * (topic == "social") + 0.3 * (RUNS.get(run) == topic) - 0.1 * (code == "qah")
        return next(draws) < chance

    stats, topics = table(right, items=200)
    made = estimated(shift.crossed(stats, topics, RUNS), SIDES)
    wide = stats[stats["id"].map(topics) != ""].assign(topic=stats["id"].map(topics))
    scores = (
        wide.groupby(["intermediate", "language", "topic", "seed"])["numerator"].mean().unstack("seed").mean(axis=1)
    )
    for code in ("qab", "qah"):
        direct = {
            (side, name): np.mean([100 * scores[run, code, topic if side == IN else away]
                                   for run, topic, away in ((f"socialiqa{tail}", "social", "physical"),
                                                            (f"piqa{tail}", "physical", "social"))])
            for side in (IN, OUT) for name, tail in (("source", ""), ("qab", "@qab"))
        }  # fmt: skip
        for (side, name), value in direct.items():
            assert made.loc[(side, name, "score", code), "value"] == pytest.approx(value)
        drop = {name: direct[IN, name] - direct[OUT, name] for name in ("source", "qab")}
        assert made.loc[(DROP, "source", DROP, code), "value"] == pytest.approx(drop["source"])
        assert made.loc[(DROP, "qab", AGAINST, code), "value"] == pytest.approx(drop["qab"] - drop["source"])
        against = direct[OUT, "qab"] - direct[OUT, "source"]
        assert made.loc[(OUT, "qab", AGAINST, code), "value"] == pytest.approx(against)
    found = made.loc[(DROP, "source", DROP, ZERO_SHOT)]
    assert found.low < 30 < found.high and found.low > 0  # the truth, 30 points, is in the interval
    assert found.seeds == 2 and found.languages == 2


def test_the_halves_differ_by_the_difference_of_their_scores():
    """Phase 2 is worth twenty points more in the far language; each half's own interval does not say so."""

    def right(run, topic, item, code, seed):
        return item % 10 < 5 + (run != "none") * (1 if code == "qab" else 3)

    stats, _ = table(right, items=200)
    halves = GROUPS | {shift.FARTHER: ["qah"], shift.NEARER: ["qab"]}
    found = shift.estimates(stats, "xcopa", shift.cells(RUNS), halves, np.random.default_rng(0))
    found = found.set_index(["side", "trained_in", "quantity", "group"])
    (name,) = {name for name in shift.APART if name in found.index.get_level_values("group")}
    gain, apart = found.loc[("piqa", "source", "gain", name)], found.loc[("piqa", "source", "score", name)]
    assert gain.value == pytest.approx(20) and gain.low > 0 and gain.languages == 2
    assert apart.value == pytest.approx(20) and found.loc[("none", "none", "score", name), "value"] == 0
    flat, _ = table(lambda run, topic, item, code, seed: item % 2, items=200)
    none = shift.estimates(flat, "xcopa", shift.cells(RUNS), halves, np.random.default_rng(0))
    assert (none.loc[none["group"] == name, ["value", "low", "high"]] == 0).all(axis=None)  # languages share items


def test_the_measured_drop_is_from_the_targets_own_domain():
    runs = {"copa": 9, "copa@sw=8": 6, "copa=8": 7, "piqa": 5, "xnli@sw": 4}
    rows = [
        {"study": "t", "encoder": "e", "intermediate": run, "target": "xcopa", "training_language": "source",
         "examples": 0, "language": code, "seed": 1, "metric": "accuracy", "id": f"x-{i}",
         "numerator": float(i % 10 < right), "denominator": 1.0}
        for run, right in ({"none": 3} | runs).items() for code in CODES for i in range(50)
    ]  # fmt: skip
    table = shift.estimates(pd.DataFrame(rows), "xcopa", shift.cells(runs), GROUPS, np.random.default_rng(0), "copa")
    found = table[table["group"] == ZERO_SHOT].set_index(["quantity", "side", "trained_in"])["value"]
    assert found[DROP].to_dict() == {("piqa", "source"): pytest.approx(40)}  # no copa in all of Swahili's XNLI
    assert found[AGAINST].to_dict() == {("copa", "sw=8"): pytest.approx(-10)}  # beside as many examples, not beside all
    single = table[table["group"].isin(CODES)].rename(columns={"group": "language"})
    drop, against = (
        shift_figures.language_panels(single[single["quantity"] == quantity], CODES) for quantity in (DROP, AGAINST)
    )
    assert [ax.get_title(loc="left") for ax in drop.axes] == ["phase 2 on piqa"]
    assert [ax.get_title(loc="left") for ax in against.axes] == ["phase 2 on copa"]
    assert shift_findings.run_name("copa", "source=8") == "copa=8"
    assert shift_findings.run_name("copa", "sw=8") == "copa@sw=8"
    words = "\n".join(shift_findings._runs(table, "copa"))
    assert "the drop, phase 2 in the target's own domain (`copa`) minus another: higher `piqa` +40.0" in words
    assert "worst language: `copa` 90.0" in words


def test_how_hard_a_topic_is_cancels_out():
    """Social items are always answered, physical ones never, whatever phase 2 was: raw scores of a run differ by
    100 points between the topics, the drop is 0 on every resample."""
    stats, topics = table(lambda run, topic, *_: topic == "social")
    found = estimated(shift.crossed(stats, topics, RUNS), SIDES).loc[(DROP, "source", DROP, ZERO_SHOT)]
    assert (found.value, found.low, found.high) == (0, 0, 0)
    stats, topics = table(lambda run, topic, *_: RUNS.get(run) == topic)
    made = estimated(shift.crossed(stats, topics, RUNS), SIDES)
    assert made.loc[(DROP, "qab", DROP, "qah"), ["value", "low", "high"]].tolist() == [100, 100, 100]
    assert made.loc[("none", "none", "score", ZERO_SHOT), "value"] == 0


def test_a_seed_that_lacks_a_topic_is_left_out_and_a_lacking_run_is_missing():
    stats, topics = table(lambda run, topic, *_: RUNS.get(run) == topic)
    gone = (stats["intermediate"] == "piqa@qab") & (stats["seed"] == 2)
    made = estimated(shift.crossed(stats[~gone], topics, RUNS), SIDES)
    assert (
        made.loc[(IN, "qab", "score", "qaa"), "seeds"] == 1 and made.loc[(IN, "source", "score", "qaa"), "seeds"] == 2
    )
    made = estimated(shift.crossed(stats[stats["intermediate"] != "piqa@qab"], topics, RUNS), SIDES)
    assert (
        np.isnan(made.loc[(DROP, "qab", DROP, "qaa"), "value"]) and made.loc[(OUT, "qab", "score", WORST), "seeds"] == 0
    )


def test_the_worst_language_is_the_lowest_of_the_others():
    good = {"qaa": 0, "qab": 0.5, "qah": 0.25}  # share of items, the source language the lowest
    stats, _ = table(lambda run, topic, item, code, seed: item % 4 < 4 * good[code])
    found = estimated(stats, shift.cells(RUNS))
    worst = found.loc[("piqa", "source", "score", WORST)]
    assert worst.value == 25 and worst.low < 25 < worst.high


class Fake:
    def __init__(self, **table):
        self.table = pd.DataFrame(table)

    def language_table(self):
        return self.table

    def text(self, seed):
        return {"language": [code for code, count in self.table["documents"].items() for _ in range(count)]}


def test_languages_are_halved_by_text_or_where_all_have_as_much_by_distance():
    study, codes = load_study("domain-shift"), ["qaa", "qab", "qac", "qah"]
    distance = pd.Series([0, 0.1, 0.2, 0.9], codes)
    groups = shift.language_groups(study, Fake(distance=distance, documents=pd.Series([9, 3, 1, 2], codes)), codes)
    assert groups[shift.LESS] == ["qac"] and groups[shift.MORE] == ["qah", "qab"]
    groups = shift.language_groups(study, Fake(distance=distance, documents=pd.Series([9, 3, 3, 3], codes)), codes)
    assert groups[shift.FARTHER] == ["qah"] and groups[shift.NEARER] == ["qac", "qab"]
    assert groups[shift.UNTRAINED] == ["qac"]  # no run of phase 2 is in it alone
    real = load_study("files-domain-shift", encoder={"checkpoint": "xlm-roberta-base"})
    gib = pd.Series([300.8, np.nan, 6.1, 79.3], ["en", "ht", "et", "it"])
    groups = shift.language_groups(real, Fake(cc100_gib=gib), ["en", "ht", "et", "it"])
    assert groups[shift.LESS] == ["ht"] and groups[shift.MORE] == ["et", "it"]


def test_gain_against_distance():
    pairs = [("socialiqa", "social", 0.0), ("piqa", "social", 2.0), ("socialiqa", "physical", 1.5)]
    measured = pd.DataFrame([*pairs, ("piqa", "physical", 0.5)], columns=["task", "topic", "characters"])
    better = {("socialiqa", "social"): 4, ("piqa", "physical"): 3, ("socialiqa", "physical"): 2, ("piqa", "social"): 1}

    def right(run, topic, item, code, seed):  # so many fifths of the items; none without phase 2
        return item // 10 % 5 < better.get((run, topic), 0)

    stats, topics = table(right, items=400)
    points, rho = shift.by_distance(stats, "xcopa", measured, topics, ["qab", "qah"], np.random.default_rng(0))
    assert points["value"].tolist() == pytest.approx([80, 20, 40, 60])
    assert rho["rho"].iloc[0] == pytest.approx(-1) and rho["high"].iloc[0] < 0 and rho["domains"].iloc[0] == 4
    assert rho["distances"].iloc[0] == 4 and "over 4 points at 4 distances, taken as given" in shift_findings._along(
        rho.iloc[0]
    )
    few = shift.by_distance(stats, "xcopa", measured[:2], topics, ["qab"], np.random.default_rng(0))[1]
    assert np.isnan(few["rho"].iloc[0])


# ---- whole studies


def cells(study):
    """Execute the notebook's code cells here; returns what they defined."""
    defined = {}
    for cell in json.loads((ROOT / "notebooks/7-domain-shift.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), defined)
            if "parameters" in cell["metadata"].get("tags", []):
                defined["study"] = str(study.path)
            plt.rcParams["savefig.dpi"] = 40  # for speed
    return defined


def small(folder, name, **changes):
    """A file in ``params/`` made small."""
    values = yaml.safe_load((ROOT / f"params/{name}.yaml").read_text()) | {"seeds": 1}
    values |= {"runs": str(folder / "runs"), "figures": str(folder / "figures")} | changes
    values["further"]["few"] |= {"runs": values["intermediate"], "examples": [8]}
    steps = {"steps": 3, "epochs": 0, "batch_size": 4}
    values["training"] = {"intermediate": steps, "target": steps, "overrides": {"copa": {"steps": 3}}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(path)


def test_the_micro_study_from_nothing_to_its_answer(tmp_path):
    study = small(
        tmp_path, "domain-shift", intermediate=["none", "socialiqa", "piqa", "socialiqa@qab", "piqa@qab"],
        micro={"languages": CODES, "documents": 600, "choice": {"train": 60, "dev": 10, "test": 30}},
        encoder={"pretrain": {"steps": 5, "log_every": 5}},
    )  # fmt: skip
    toy_study.but_the_answer(study.path)
    commands.run("make study STUDY=domain-shift", STUDY=study.path)
    found = cells(study)
    assert set(found["made"]["trained_in"]) == {"none", "source", "qab"} and (found["made"]["seeds"] == 1).all()
    assert shift.FARTHER in found["groups"] and shift.LESS not in found["groups"]
    for name in ("measured", "runs", "made", "drop", "against-source", "gain-distance"):
        for kind in ("png", "svg", "csv"):
            assert (study.figures_folder / f"{name}.{kind}").stat().st_size > 100
    text = (study.figures_folder / "answer.md").read_text()
    assert "Missing" not in text and "**Tuned on 8 examples:**" in text and "nan" not in text
    assert (study.own_folder / "domain-shift" / "made.parquet").is_file() and study.folder.name == "micro"
    # one run the less: said by name
    stats, runs = found["stats"].query("intermediate != 'piqa@qab'"), shift.cells(study.intermediate)
    lacking = shift.estimates(stats, "xcopa", runs, found["groups"], np.random.default_rng(0))
    words = answer(lacking, found["made"], found["measured"], found["rho"], "documents", study)
    assert words.endswith("Missing: `piqa@qab`.")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_the_files_study_from_a_checkpoint_to_its_answer(tmp_path):
    splits = yaml.safe_load((ROOT / "params/files-domain-shift.yaml").read_text())["files"]
    study = small(
        tmp_path, "files-domain-shift",
        intermediate=["none", "copa", "copa=9", "copa@sw=9", "copa@all=9", "csqa", "xnli", "xnli@sw"],
        files=splits | {"limits": {"train": 40, "dev": 10, "test": 12}},
        encoder={"checkpoint": str(build_checkpoint(tmp_path / "tiny"))},
    )  # fmt: skip
    toy_study.but_the_answer(study.path)
    found = cells(study)
    assert found["made"].empty and set(found["codes"]) == set("et id it sw th tr vi zh".split())
    assert found["groups"][shift.LESS] == ["sw", "et", "tr", "it"]
    measured = found["measured"].set_index("task")
    assert measured.loc["copa", "characters"] == 0 and measured.loc["copa", "characters_error"] >= 0.5
    below = measured.loc["xnli"]
    assert below["characters"] == pytest.approx(2 * (1 - 2 * min(below["characters_error"], 0.5)))
    assert f"(error {below['characters_error']:.1%}, " in (study.figures_folder / "answer.md").read_text()
    text = (study.figures_folder / "answer.md").read_text()
    assert "GiB of CC-100" in text and "`xnli`" in text and "nan" not in text and "Missing" not in text
    assert set(found["drops"]["side"]) == {"csqa", "xnli"} and (study.figures_folder / "drop.png").is_file()
    against = found["table"][found["table"]["quantity"] == AGAINST]
    assert set(against["side"] + "@" + against["trained_in"]) == {"copa@sw=9", "copa@all=9", "xnli@sw"}
    assert "- `copa`, tuned on 8 examples" in text and "low-resource half minus high-resource half, the drop" in text


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_copa_in_other_languages_is_none_of_what_xcopa_is_scored_on():
    source, copa = open_source(load_study("files-domain-shift")), get("copa")
    parts = training_sets("copa@all", copa, ("all",), source)
    assert parts == [("train", "en"), *(("mt", code) for code in "et id it sw th tr vi zh".split())]
    for split, code in parts[1:]:
        rows, scored = (source.load(*asked, code) for asked in ((copa, split), (get("xcopa"), "test")))
        assert len(rows) == 100 and learnable(copa, rows) == list(range(100))
        assert not {repr(row["choices"]) for row in rows} & {repr(row["choices"]) for row in scored}
