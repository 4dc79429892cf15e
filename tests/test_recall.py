"""Notebook 8: its tables and words on made-up statistics with a known truth; the question from nothing to answer."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import ttest_1samp

import commands
import small
from synthetic import statistics, wanted
from toy import build_checkpoint
from xstilts import results
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.plots import STYLE
from xstilts.questions import retrieval as recall
from xstilts.questions import retrieval as recall_figures
from xstilts.questions import retrieval as recall_findings
from xstilts.results import MACRO, MEAN
from xstilts.study import load_study
from xstilts.tasks import get

DATA = (ROOT / "../shared/data").resolve()
RUNS, TARGETS, LANGUAGES, SEEDS = ["none", "mnli", "squad1", "mnli@bb"], ["tatoeba", "lareqa"], list("abcd"), [1, 2, 3]
# logits: mnli hurts raw retrieval, squad1 helps after tuning; the run in another language is no part of the mean
GAINS = {
    "raw": {(run, target): shift for run, shift in (("mnli", -2.0), ("mnli@bb", 4.0)) for target in TARGETS},
    "tuned": {("squad1", target): 2.0 for target in TARGETS},
}


@pytest.fixture(scope="module")
def made():
    """Statistics and what is expected of them; ``own@1`` of LAReQA is its main metric under another name."""
    tables, there = [], []
    for number, (tuning, gain) in enumerate(GAINS.items()):
        rng = np.random.default_rng(number)
        stats = statistics(RUNS, TARGETS, LANGUAGES, SEEDS, 150, rng, gain, spread=0.05)
        others = [stats.assign(metric=f"recall@{k}") for k in (1, 5)]
        own = stats[stats["target"] == "lareqa"].assign(metric="own@1")
        tables.append(pd.concat([stats, *others, own]).assign(tuning=tuning))
        there.append(wanted(RUNS, TARGETS, LANGUAGES, SEEDS).assign(tuning=tuning))
    stats = pd.concat(tables, ignore_index=True)
    stats["training_language"] = stats["tuning"].map({"raw": "untrained", "tuned": "source"})
    return stats, pd.concat(there, ignore_index=True)


@pytest.fixture(scope="module")
def table(made):
    return recall.estimates(*made, "a")


def only(table, **values):
    for name, value in values.items():
        table = table[table[name] == value]
    return table.set_index("intermediate")


def test_gains_are_those_of_results_raw_and_tuned_apart(made, table):
    stats, _ = made
    scores = results.task_scores(results.scores(stats[(stats["tuning"] == "raw") & (stats["metric"] == "accuracy")]))
    by_run = scores.groupby("intermediate")["value"].mean()
    gain = only(table, tuning="raw", metric="main", target="tatoeba", language=MEAN, quantity="gain")
    assert gain.loc["mnli", "value"] == pytest.approx(by_run["mnli"] - by_run["none"], abs=1e-9)
    assert gain.loc["mnli", "high"] < 0 < gain.loc["mnli@bb", "low"]
    tuned = only(table, tuning="tuned", metric="main", target=MACRO, language=MEAN, quantity="gain")
    assert tuned.loc["squad1", "low"] > 0 and tuned.loc["mnli", "low"] < 0 < tuned.loc["mnli", "high"]
    assert set(table[table["metric"] == "own@1"]["target"]) == {"lareqa", MACRO}


def test_the_mean_of_the_runs_is_over_those_in_the_source_language(table):
    for tuning in GAINS:
        for target in [*TARGETS, MACRO]:
            gain = only(table, tuning=tuning, metric="main", target=target, language=MEAN, quantity="gain")["value"]
            assert gain[recall.ALL_RUNS] == pytest.approx((gain["mnli"] + gain["squad1"]) / 2, abs=1e-9)


def test_what_tuning_is_worth_is_a_gain_of_none(made):
    found = only(recall.tuning_gain(*made, "a"), metric="main", target="tatoeba", language=MEAN)
    stats = made[0][(made[0]["intermediate"] == "none") & (made[0]["metric"] == "accuracy")]
    scores = results.scores(stats.drop(columns="tuning")).groupby("training_language")["value"].mean()
    assert found.loc["tuned", "value"] == pytest.approx(scores["source"] - scores["untrained"], abs=1e-9)


def words(made, table, gaps=None, layers=None):
    stats, there = made
    layers = pd.DataFrame(columns=["tuning", "intermediate", "layer", "value"]) if layers is None else layers
    shares, curves = {"lareqa": pd.Series({"a": 25.0})}, recall.recall_curves(stats, there, "a")
    gaps = recall.missing(there, stats) if gaps is None else gaps
    study = SimpleNamespace(source="micro")
    return recall_findings.answer(table, recall.tuning_gain(*made, "a"), curves, layers, shares, gaps, study)


def test_the_conclusion_is_what_the_intervals_say(made, table):
    text = words(made, table)
    raw, tuned = (
        next(line for line in text.splitlines() if line.startswith(f"- **{name}")) for name in ("Raw", "Tuned")
    )
    assert "3 intermediate runs, Tatoeba, LAReQA, 4 languages, 3 seeds" in text
    assert (
        "mean of its runs: −" in raw
        and "points, it hurts" in raw
        and "hurts: `mnli` −" in raw
        and "helps: `mnli@bb` +" in raw
    )
    assert "No evidence either way: `squad1`" in raw
    assert "helps: `squad1` +" in tuned and "hurts" not in tuned and "`mnli@bb`" in tuned.partition("No evidence")[2]
    assert "no evidence of an effect" in next(line for line in text.splitlines() if line.startswith("- Tuning itself"))
    assert "25.0 of the pool: raw, `none`" in text and "(1 of 3 runs raise it, 1 lower it, no evidence for 1)" in text
    assert "Missing" not in text and "By layer" not in text


def test_a_run_that_is_not_there_is_named_and_averages_are_empty(made):
    stats, there = made
    part = stats[~((stats["intermediate"] == "squad1") & (stats["tuning"] == "tuned") & (stats["target"] == "lareqa"))]
    gaps = recall.missing(there, part)
    assert len(gaps) == len(gaps[gaps["target"] == "lareqa"]) == 3 * 4
    table = recall.estimates(part, there, "a")
    text = words((part, there), table, gaps)
    assert "Missing, in whole or in part: `squad1` tuned." in text
    assert "mean of its runs: missing" in text
    for figure in (recall_figures.gain_panels(table), recall_figures.language_heatmap(table, LANGUAGE_TABLE, "lareqa")):
        figure.savefig(os.devnull, format="png")
        plt.close(figure)


LANGUAGE_TABLE = pd.DataFrame({"distance": np.linspace(0, 1, 4)}, index=LANGUAGES)


def layered(changes: dict[str, list[float]]) -> pd.DataFrame:
    """Layer scores: ``none`` 50 and 70 at layers 0 and 1, and run -> what it changes at layer 1, seed by seed."""
    rows = [
        ("tatoeba", "raw", run, layer, seed, 50 + layer * (20 + change))
        for run, found in changes.items() for layer in (0, 1) for seed, change in enumerate(found, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["target", "tuning", "intermediate", "layer", "seed", "value"])


def test_layers_change_by_the_mean_of_the_runs_in_the_source_language(made, table):
    layers = layered({"none": [0, 0, 0], "mnli": [-9, -10, -14], "squad1": [-5, -6, -4], "mnli@bb": [30, 30, 30]})
    gains = recall.layer_gains(layers).set_index(["target", "layer"])
    for target in ("tatoeba", MACRO):
        found = ttest_1samp([-7, -8, -9], 0).confidence_interval(0.95)
        assert gains.loc[(target, 1), ["value", "low", "high"]].tolist() == pytest.approx([-8, *found])
        assert gains.loc[(target, 0), ["value", "low", "high", "seeds"]].tolist() == [0, 0, 0, 3]
    text = words(made, table, layers=layers)
    assert "`none` is best at layer 1 (70.0, mean of the targets)" in text
    assert "at layer 0: +0.0 [0.0, 0.0] no evidence, 1: −8.0 [−10.5, −5.5] (intervals over seeds alone" in text
    figure = recall_figures.layer_panels(recall.layer_curves(layers), recall.layer_gains(layers))
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines == [[50, 59], [50, 100], [50, 65], [50, 70], [50, 62]]  # the runs by name, none, their mean
    plt.close(figure)


def test_layers_of_targets_that_are_only_raw():
    """BUCC is not tuned for: the mean of the tuned targets is of those there are."""
    raw = layered({"none": [0, 0], "mnli": [-9, -7]})
    tuned = layered({"none": [0, 0], "mnli": [5, 7]}).assign(tuning="tuned")
    gains = recall.layer_gains(pd.concat([raw, raw.assign(target="bucc"), tuned]))
    found = gains[(gains["target"] == MACRO) & (gains["layer"] == 1)].set_index("tuning")["value"]
    assert found.to_dict() == {"raw": -8, "tuned": 6}


def test_layers_of_one_seed_have_no_interval(made, table):
    layers = layered({"none": [0, 0], "mnli": [-9], "squad1": [-5, -6]})  # the second seed lacks a run
    gains = recall.layer_gains(layers)
    assert (gains["seeds"] == 1).all() and gains["low"].isna().all()
    assert "1: −7.0 (one seed: no intervals)" in words(made, table, layers=layers)


def test_recall_changes_as_the_mean_of_the_runs_does(made, table):
    """The made-up recall is the main metric under another name: so must its table and its words be."""
    curves = recall.recall_curves(*made, "a")
    assert set(curves["k"]) == {1, 5} and set(curves["language"]) == {MEAN} and MACRO not in set(curves["target"])
    for target in TARGETS:
        main = only(table, tuning="raw", metric="main", target=target, language=MEAN, quantity="gain")
        found = only(curves, tuning="raw", target=target, k=5, quantity="gain")
        columns = ["value", "low", "high", "seeds"]
        assert found.loc[recall.ALL_RUNS, columns].tolist() == main.loc[recall.ALL_RUNS, columns].tolist()
    line = next(line for line in words(made, table).splitlines() if line.startswith("- Recall@k, raw"))
    assert "k = 1, 5" in line and line.count("hurts at 1, 5") == 2
    tuned = next(line for line in words(made, table).splitlines() if line.startswith("- Recall@k, tuned"))
    assert tuned.count("helps at 1, 5") == 2  # half of squad1's gain: mnli has none


def test_the_mean_of_the_runs_language_by_language(made, table):
    """Their mean over languages is that of all, and the words say where it hurts."""
    rows = table[(table["intermediate"] == recall.ALL_RUNS) & (table["metric"] == "main") & (table["tuning"] == "raw")]
    for target in TARGETS:
        part = rows[rows["target"] == target].set_index("language")["value"]
        assert part.drop(MEAN).mean() == pytest.approx(part[MEAN], abs=1e-9)
    line = next(line for line in words(made, table).splitlines() if line.startswith("- By language, raw"))
    assert "Tatoeba −" in line and "(hurts in b, c, d); LAReQA −" in line and line.endswith("(hurts in a, b, c, d).")


def test_a_share_of_the_pool_is_that_of_the_querys_language(monkeypatch):
    """Mewsli-X: a pool of more languages than ask, one of them with most of it."""
    pool = {"language": ["en"] * 6 + ["sw"] * 3 + ["de"]}
    source = SimpleNamespace(load=lambda task, split, code: pool)
    monkeypatch.setattr(recall, "pool_languages", lambda *asked: ["mul"])
    asked = pd.DataFrame({"target": ["mewslix"] * 3 + ["tatoeba"], "language": ["de", "en", "ta", "de"]})
    assert recall.pool_shares(None, source, asked)["mewslix"].to_dict() == {"de": 10, "en": 60, "ta": 0}


def test_figures_show_what_the_tables_hold(made, table):
    curves = recall.recall_curves(*made, "a")
    with plt.style.context(STYLE):
        bias = recall_figures.bias_panels(table, LANGUAGE_TABLE, {"lareqa": pd.Series(25.0, LANGUAGES)})
        panels = recall_figures.recall_panels(curves)
        heat = recall_figures.language_heatmap(table, LANGUAGE_TABLE, "lareqa")
    assert [text.get_text() for text in bias.axes[0].get_yticklabels()] == RUNS
    assert [text.get_text() for text in heat.axes[0].get_xticklabels()] == LANGUAGES
    assert heat.axes[0].get_yticklabels()[-1].get_text() == recall.ALL_RUNS
    raw = curves[(curves["target"] == "lareqa") & (curves["tuning"] == "raw")]
    none = raw[(raw["intermediate"] == "none") & (raw["quantity"] == "score")]
    assert panels.axes[1].lines[0].get_ydata().tolist() == none["value"].tolist()
    gain = raw[raw["intermediate"] == recall.ALL_RUNS]
    assert panels.axes[3].lines[0].get_ydata().tolist() == gain["value"].tolist()
    for figure in (bias, panels, heat):
        plt.close(figure)


# --- the study itself -------------------------------------------------------------------------------------

MICRO = {
    "name": "toy", "question": "retrieval", "intermediate": ["none", "squad1"], "targets": ["tatoeba"],
    "micro": {
        "languages": ["qaa", "qab", "qag"], "documents": 800, "parallel": {"test": 20},
        "span": {"train": 100, "dev": 20, "test": 20}, "ranking": {"train": 60, "test": 12},
    },
    "encoder": {"pretrain": {"steps": 10, "log_every": 10}},
    "retrieval": {"layer": 1, "layers": "all"},
    "further": {
        "retrieval": {
            "runs": ["none", "squad1"], "targets": ["tatoeba", "lareqa", "mewslix"],
            "training_languages": ["untrained", "source"],
        }
    },
    "training": {
        "intermediate": {"steps": 4, "learning_rate": 0.001}, "target": {"steps": 4},
        "retrieval": {"epochs": 0, "steps": 4, "learning_rate": 0.001},
        "max_length": dict.fromkeys(("classification", "choice", "tagging", "span", "retrieval", "mlm"), 158),
    },
}  # fmt: skip


def write(folder: Path, values: dict, **changes) -> Path:
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values | {"runs": str(folder / "runs"), "figures": str(folder)} | changes))
    return path


def answered(path: Path, targets: list[str]) -> pd.DataFrame:
    """Run a study to its answer; the estimates that its notebook left."""
    small.but_the_answer(path)
    commands.run("make study STUDY=retrieval", STUDY=path)
    study = load_study(path)
    for name in ("gains", "layers", "recall", "bias", *(f"languages-{target}" for target in targets)):
        for kind in ("png", "svg", "csv"):
            assert (study.figures_folder / f"{name}.{kind}").stat().st_size > 100
    text = (study.figures_folder / "answer.md").read_text("utf-8")
    assert "**Raw**" in text and "**Tuned**" in text and "Language bias in LAReQA" in text and "Missing" not in text
    assert (study.figures_folder / "8-retrieval.html").stat().st_size > 10_000
    return pd.read_parquet(study.own_folder / "retrieval" / "estimates.parquet")


def test_the_question_on_the_micro_world(tmp_path):
    table = answered(write(tmp_path, MICRO), ["tatoeba", "lareqa", "mewslix"])
    assert set(table["target"]) == {"tatoeba", "lareqa", "mewslix", MACRO}
    assert set(table["intermediate"]) == {"none", "squad1", recall.ALL_RUNS} and set(table["tuning"]) == {
        "raw",
        "tuned",
    }
    assert table["value"].notna().all()


@pytest.mark.parametrize("further", [{}, {"more": {"targets": ["xnli"], "training_languages": ["source"]}}])
def test_a_study_without_further_retrieval_is_refused(tmp_path, further):
    with pytest.raises(UserError, match="further: the question of retrieval is asked of further retrieval targets"):
        load_study(write(tmp_path, MICRO, further=further))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_the_question_on_real_files(tmp_path):
    """The committed study with a few examples of each set and a toy checkpoint."""
    data = few_examples(tmp_path / "data")
    text = [line for path in sorted(data.rglob("*.eng")) for line in path.read_text("utf-8").splitlines()]
    values = yaml.safe_load((ROOT / "params/files-retrieval.yaml").read_text("utf-8"))
    values["files"] = {"root": str(data)}
    values["encoder"] = {"checkpoint": str(build_checkpoint(tmp_path / "checkpoint", text))}
    values["intermediate"] = values["further"]["retrieval"]["runs"] = ["none"]
    values["training"]["retrieval"]["steps"] = 4
    table = answered(write(tmp_path, values), ["tatoeba", "lareqa"])
    assert set(table["target"]) == {"tatoeba", "lareqa", MACRO} and table["value"].notna().all()
    assert {"en", "de", "th"} <= set(table["language"])


def few_examples(folder: Path) -> Path:
    """The first lines and articles of the real files, in their layout."""
    for code in ("deu", "tha"):
        for side in (code, "eng"):
            name = f"tatoeba/tatoeba.{code}-eng.{side}"
            lines = (DATA / name).read_text("utf-8").splitlines(keepends=True)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("".join(lines[:30]), "utf-8")
    names = [f"lareqa/xquad-r/{code}.json" for code in ("en", "de", "th")]
    names += [path.relative_to(DATA).as_posix() for path in sorted(DATA.glob("tydiqa-goldp/*/tydiqa.goldp.en.*.json"))]
    for name in names:
        document = json.loads((DATA / name).read_text("utf-8"))
        document["data"] = [part | {"paragraphs": part["paragraphs"][:3]} for part in document["data"][:20]]
        document["data"] = document["data"][: 2 if "lareqa" in name else 20]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(document), "utf-8")
    return folder


# --- what cannot be asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"targets": ["bucc"]},
            r"further.retrieval.targets: bucc has no training set; give it training_languages: \[un",
        ),
        ({"targets": ["xquad"]}, r'training_languages: "untrained" is for retrieval; xquad must be trained'),
    ],
)
def test_a_tuning_that_cannot_be_is_refused(tmp_path, changes, message):
    further = {"retrieval": MICRO["further"]["retrieval"] | changes}
    with pytest.raises(UserError, match=message):
        load_study(write(tmp_path, MICRO, further=further))


def test_a_dual_encoder_keeps_its_last_weights(tmp_path):
    training = MICRO["training"] | {"retrieval": {"steps": 4, "epochs": 0, "evaluate_every": 2}}
    with pytest.raises(UserError, match=r"training.retrieval.evaluate_every: dual encoders keep their last weights"):
        load_study(write(tmp_path, MICRO, training=training))


def test_tuning_on_the_articles_of_xquad_r_is_refused(tmp_path):
    values = MICRO | {
        "source": "files", "source_language": "en", "intermediate": ["none"], "training_sets": {"lareqa": "squad2"},
        "files": {"splits": {"squad2": {"train": "dev[:80%]", "dev": "dev[80%:]"}}}, "micro": {},
        "further": {"tuned": {"targets": ["lareqa"], "training_languages": ["source"]}},
    }  # fmt: skip
    with pytest.raises(UserError, match='"squad2" would be trained on examples that "lareqa" is scored on'):
        load_study(write(tmp_path, values))


def test_hyperparameters_are_xtreme_rs_unless_a_study_says_otherwise(tmp_path):
    values = MICRO | {"training": {name: part for name, part in MICRO["training"].items() if name != "retrieval"}}
    phase = load_study(write(tmp_path, values)).phase("retrieval", "squad1")
    assert (phase.epochs, phase.batch_size, phase.accumulate, phase.learning_rate) == (3, 4, 4, 2e-5)
    changed = values | {"training": values["training"] | {"overrides": {"retrieval/mewslix": {"batch_size": 8}}}}
    study = load_study(write(tmp_path, changed))
    assert study.phase("retrieval", "mewslix").batch_size == 8 and study.phase("retrieval", "squad1").batch_size == 4
    assert get("lareqa").training_set == get("tatoeba").training_set == "squad1"
