"""Question 8: its tables and answer on made-up statistics with a known truth, then from nothing to the answer."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import small
from synthetic import run_cells, statistics, wanted
from xstilts import results
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.questions import retrieval
from xstilts.questions.retrieval import ALL_RUNS
from xstilts.results import MACRO, MEAN
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.tasks import get

RUNS, TARGETS, LANGUAGES, SEEDS = ["none", "mnli", "squad1", "mnli@bb"], ["tatoeba", "lareqa"], list("abcd"), [1, 2, 3]
INTERVAL = ["value", "low", "high", "seeds"]
# logits: mnli hurts raw retrieval, squad1 helps after tuning; the run in another language is no part of the mean
GAINS = {
    "raw": {(run, target): shift for run, shift in (("mnli", -2.0), ("mnli@bb", 4.0)) for target in TARGETS},
    "tuned": {("squad1", target): 2.0 for target in TARGETS},
}


@pytest.fixture(scope="module")
def made():
    """Statistics and what is expected of them; ``own@1`` of LAReQA is its main metric under another name."""
    tables = []
    for number, (tuning, gain) in enumerate(GAINS.items()):
        rng = np.random.default_rng(number)
        stats = statistics(RUNS, TARGETS, LANGUAGES, SEEDS, 150, rng, gain, spread=0.05)
        recall = [stats.assign(metric=f"recall@{k}") for k in (1, 5)]
        own = stats[stats["target"] == "lareqa"].assign(metric="own@1")
        tables.append(pd.concat([stats, *recall, own]).assign(tuning=tuning))
    stats = pd.concat(tables, ignore_index=True)
    stats["training_language"] = stats["tuning"].map({"raw": "untrained", "tuned": "source"})
    rows = wanted(RUNS, TARGETS, LANGUAGES, SEEDS)
    return stats, pd.concat([rows.assign(tuning=tuning) for tuning in GAINS], ignore_index=True)


@pytest.fixture(scope="module")
def table(made):
    return retrieval.estimates(*made, "a")


def only(table, index="intermediate", **values):
    for name, value in values.items():
        table = table[table[name] == value]
    return table.set_index(index)


def test_gains_are_those_of_results_raw_and_tuned_apart(made, table):
    stats = made[0].query("tuning == 'raw' and metric == 'accuracy'")
    by_run = results.task_scores(results.scores(stats)).groupby("intermediate")["value"].mean()
    gain = only(table, tuning="raw", metric="main", target="tatoeba", language=MEAN, quantity="gain")
    assert gain.loc["mnli", "value"] == pytest.approx(by_run["mnli"] - by_run["none"], abs=1e-9)
    assert gain.loc["mnli", "high"] < 0 < gain.loc["mnli@bb", "low"]
    assert set(table[table["metric"] == "own@1"]["target"]) == {"lareqa", MACRO}
    curves = retrieval.recall_curves(*made, "a")
    assert set(curves["k"]) == {1, 5} and set(curves["language"]) == {MEAN} and MACRO not in set(curves["target"])
    recall = only(curves, tuning="raw", target="tatoeba", k=5, quantity="gain")  # accuracy under another name
    pd.testing.assert_frame_equal(recall[INTERVAL], gain[INTERVAL])


@pytest.mark.parametrize("tuning", GAINS)
@pytest.mark.parametrize("target", [*TARGETS, MACRO])
def test_the_mean_of_the_runs_is_over_those_in_the_source_language(table, tuning, target):
    rows = table[(table["tuning"] == tuning) & (table["metric"] == "main") & (table["quantity"] == "gain")]
    gain = only(rows, target=target, language=MEAN)["value"]
    assert gain[ALL_RUNS] == pytest.approx((gain["mnli"] + gain["squad1"]) / 2, abs=1e-9)
    if target != MACRO:
        by_language = only(rows, "language", target=target, intermediate=ALL_RUNS)["value"]
        assert by_language.drop(MEAN).mean() == pytest.approx(by_language[MEAN], abs=1e-9)


def layered(changes: dict[str, list[float]]) -> pd.DataFrame:
    """Layer scores: ``none`` 50 and 70 at layers 0 and 1, and run -> what it changes at layer 1, seed by seed."""
    rows = [
        ("tatoeba", "raw", run, layer, seed, 50 + layer * (20 + change))
        for run, by_seed in changes.items() for layer in (0, 1) for seed, change in enumerate(by_seed, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["target", "tuning", "intermediate", "layer", "seed", "value"])


def test_layers_change_by_the_mean_of_the_runs_in_the_source_language():
    layers = layered({"none": [0, 0, 0], "mnli": [-9, -10, -14], "squad1": [-5, -6, -4], "mnli@bb": [30, 30, 30]})
    gains = only(retrieval.layer_gains(layers), ["target", "layer"])
    low, high = ttest_1samp([-7, -8, -9], 0).confidence_interval(0.95)
    for target in ("tatoeba", MACRO):
        assert gains.loc[(target, 1), INTERVAL].tolist() == pytest.approx([-8, low, high, 3])
        assert gains.loc[(target, 0), INTERVAL].tolist() == [0, 0, 0, 3]


def test_layers_of_targets_that_are_only_raw_and_of_one_seed():
    """BUCC is not tuned for: the mean of the tuned targets is of those there are."""
    raw = layered({"none": [0, 0], "mnli": [-9, -7]})
    tuned = layered({"none": [0, 0], "mnli": [5, 7]}).assign(tuning="tuned")
    gains = retrieval.layer_gains(pd.concat([raw, raw.assign(target="bucc"), tuned]))
    single = retrieval.layer_gains(layered({"none": [0, 0], "mnli": [-9], "squad1": [-5, -6]}))  # seed 2 lacks a run
    assert (single["seeds"] == 1).all() and single["low"].isna().all()
    assert only(gains, "tuning", target=MACRO, layer=1)["value"].to_dict() == {"raw": -8, "tuned": 6}


def test_the_answer_is_what_the_intervals_say(table):
    lines = retrieval.sentences(table, retrieval.layer_gains(layered({"none": [0, 0], "mnli": [-9, -9.2]})))
    assert lines[:2] == [f"{name}: on average over the targets 1 of 3 runs help, {hurts} hurt."
                         for name, hurts in (("Raw", 1), ("Tuned", 0))]  # fmt: skip
    assert lines[2] == "Language bias falls by the mean of the runs in 1 of 2 cases and rises in 1."
    at = "1: −9.1 [−10.4, −7.8]"  # of layer 0 nothing: the embeddings do not change
    assert lines[3] == f"Raw, mean of the runs by layer: {at}."
    unlike = layered({"none": [0, 0], "mnli": [-9, 9]})
    assert retrieval.sentences(table, retrieval.layer_gains(unlike))[3].endswith("by layer: no evidence.")
    assert "floor" not in " ".join(lines)
    low = table["target"].eq("lareqa") & table["tuning"].eq("raw") & table["quantity"].eq("score")
    low = retrieval.sentences(table.assign(value=table["value"].mask(low, 4.9)), retrieval.layer_gains(layered({})))
    assert low[3] == "At the floor, below 5 with every run, so that gains say little: LAReQA (raw)."
    verdicts = only(retrieval.verdicts(table), ["encoder", "target"])["verdict"]
    assert verdicts["raw", "Tatoeba"] == "hurts" and verdicts["tuned", "all targets"] == "helps"


def test_a_run_that_is_absent_leaves_its_averages_empty(made):
    stats, expected = made
    absent = (stats["intermediate"] == "squad1") & (stats["tuning"] == "tuned") & (stats["target"] == "lareqa")
    gaps = retrieval.missing(expected, stats[~absent])
    assert len(gaps) == 3 * 4 and set(gaps["target"]) == {"lareqa"} and set(gaps["intermediate"]) == {"squad1"}
    table = retrieval.estimates(stats[~absent], expected, "a")
    assert only(retrieval.verdicts(table), ["encoder", "target"])["verdict"]["tuned", "all targets"] == "missing"


def test_a_share_of_the_pool_is_that_of_the_querys_language(monkeypatch):
    """Mewsli-X: a pool of more languages than ask, one of them with most of it."""
    source = SimpleNamespace(load=lambda *_: {"language": ["en"] * 6 + ["sw"] * 3 + ["de"]})
    monkeypatch.setattr(retrieval, "pool_languages", lambda *_: ["mul"])
    queries = pd.DataFrame({"target": ["mewslix"] * 3 + ["tatoeba"], "language": ["de", "en", "ta", "de"]})
    shares = retrieval.pool_shares(load_study("tour"), source, queries)
    assert shares["mewslix"].to_dict() == {"de": 10, "en": 60, "ta": 0} and "tatoeba" not in shares


FURTHER = {"targets": ["tatoeba", "lareqa"], "training_languages": ["untrained", "source"]}
TUNING = {"epochs": 0, "steps": 2, "learning_rate": 0.001}
TOY = {
    "question": "retrieval", "intermediate": ["none", "squad1"], "targets": ["tatoeba"],
    "retrieval": {"layer": 1, "layers": "all"}, "training": small.SMALL["training"] | {"retrieval": TUNING},
    "further": {"retrieval": FURTHER | {"runs": ["none", "squad1"]}},
}  # fmt: skip


def test_the_question_from_nothing_to_its_answer(tmp_path):
    path = small.write(tmp_path, "toy", **TOY)
    small.at_once(path)
    study = load_study(path)
    run_cells(study)
    table = pd.read_parquet(study.own_folder / "retrieval" / "estimates.parquet")
    assert set(table["target"]) == {"tatoeba", "lareqa", MACRO} and table["value"].notna().all()
    assert set(table["intermediate"]) == {"none", "squad1", ALL_RUNS} and set(table["tuning"]) == {"raw", "tuned"}
    figures = {path.stem for path in study.figures_folder.glob("*.png")}
    languages = {f"languages-{name}" for name in ("tatoeba", "lareqa")}
    assert figures == {"gains", "layers", "recall", "bias"} | languages
    text = (study.figures_folder / "answer.md").read_text("utf-8")
    assert "| encoder | target |" in text and "Missing" not in text


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
def test_the_committed_study_of_real_files_is_scored_raw_and_tuned_in_every_language(tmp_path):
    study = load_study("files-retrieval", runs=str(tmp_path))
    source = open_source(study)
    expected = retrieval.expected(study, source)
    languages = expected.groupby(["target", "tuning"])["language"].unique().map(set)
    assert languages["lareqa", "raw"] == languages["lareqa", "tuned"] >= {"en", "de", "th"}
    assert {"de", "th"} <= languages["tatoeba", "tuned"] and set(expected["intermediate"]) == {"none", "sick", "tydiqa"}
    shares = retrieval.pool_shares(study, source, expected)["lareqa"]
    assert set(shares.index) == languages["lareqa", "raw"] and shares.sum() == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"further": {"more": {"targets": ["xnli"], "training_languages": ["source"]}}},
         "further: the question of retrieval is asked of further retrieval targets"),
        ({"further": {"retrieval": FURTHER | {"targets": ["bucc"]}}},
         r"further.retrieval.targets: bucc has no training set; give it training_languages: \[un"),
        ({"training": {"retrieval": {"steps": 4, "epochs": 0, "evaluate_every": 2}}},
         r"training.retrieval.evaluate_every: dual encoders keep their last weights"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_run_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load_study(small.write(tmp_path, "toy", **TOY | changes))


def test_hyperparameters_are_xtreme_rs_unless_a_study_says_otherwise(tmp_path):
    study = load_study(small.write(tmp_path, "toy", **TOY | {"training": {}}))
    phase = study.phase("retrieval", "squad1")
    assert (phase.epochs, phase.batch_size, phase.accumulate, phase.learning_rate) == (3, 4, 4, 2e-5)
    assert get("lareqa").training_set == get("tatoeba").training_set == "squad1"
