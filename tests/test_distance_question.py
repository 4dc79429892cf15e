"""Question 5 as a whole: its words, its figures, and its notebook on real files, from a tiny checkpoint."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

import distance_truth
import mirror
from synthetic import known, study, wanted
from test_figures import overlapping
from toy import build_checkpoint
from xstilts import phases, plots, results
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.questions import distance as distances
from xstilts.questions import distance as findings
from xstilts.questions import distance as learning_curves
from xstilts.questions import distance as panels
from xstilts.questions.distance import COMPARED, DIFFERENCE, INTERMEDIATE, MEDIAN, robustness
from xstilts.results import MEAN
from xstilts.runs import list_runs
from xstilts.settings import DIRECT
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.target_runs import tunings

NOTEBOOK = ROOT / "notebooks" / "5-distance.ipynb"


# --- words -------------------------------------------------------------------------------------------------


def numbers(**found):
    """A table of slopes and means: {"intermediate_slope": (value, low, high)}, of the mean of targets and XNLI."""
    rows = [
        (
            part,
            {"intermediate": INTERMEDIATE, "direct": DIRECT, "difference": DIFFERENCE}[series],
            quantity,
            *values,
            7,
            5,
        )
        for part in ("xnli", COMPARED)
        for key, values in found.items()
        for series, quantity in [key.split("_")]
    ]
    return pd.DataFrame(rows, columns=["part", "series", "quantity", "value", "low", "high", "languages", "seeds"])


def said(tmp_path, slopes, missing=(), layers=None, sizes=None):
    training = {"target": {"steps": 100, "batch_size": 16}}
    one = study(tmp_path, intermediate=["none", "mnli", "ccg", "mnli@qab"], training=training)
    worth = pd.DataFrame(
        [("qab", "none", 0, 0, 30), ("qac", "none", 35, 0, 90), (MEDIAN, "none", 0, 0, 60),
         (MEDIAN, "mnli", 1200, 500, np.inf), (MEDIAN, "ccg", 20, 12, 40), (MEDIAN, INTERMEDIATE, 200, 100, 470)],
        columns=["language", "run", "examples", "low", "high"],
    ).assign(target="xnli", smallest=10, largest=3000)  # fmt: skip
    even = pd.DataFrame(
        {
            "series": [INTERMEDIATE], "lose": 40.0, "lose_clearly": 10.0, "cells": 20, "worst_gain": -2.0,
            "worst_low": -3.0, "worst_high": -1.0, "sd_gain": 0.5, "sd_low": -1.0, "sd_high": 2.0,
        }
    )  # fmt: skip
    if layers is None:
        layers = pd.DataFrame(columns=["metric", "layer", "main", "language", "value", "low", "high"])
    alignment = slopes.assign(part="cka") if len(layers) else slopes.iloc[:0]
    sizes = amounts(200, 3000) if sizes is None else sizes
    return findings.answer(one, slopes, alignment, layers, sizes, worth, even, list(missing))


def amounts(direct, home):
    """Training sets of XNLI: direct tuning on 10 or ``direct`` examples, the source language's on ``home``."""
    rows = [("xnli", "qab", "direct=10", 10), ("xnli", "qab", "direct=0", direct), ("xnli", "qaa", "source=0", home)]
    return pd.DataFrame(rows, columns=["target", "language", "run", "examples"])


def test_the_conclusion_says_what_the_intervals_say(tmp_path):
    text = said(
        tmp_path,
        numbers(
            intermediate_mean=(-1.2, -2, -0.4), intermediate_slope=(-8, -15, -1), direct_mean=(5, 4, 6),
            direct_slope=(12, -1, 25), difference_mean=(6.2, 5, 7), difference_slope=(20, 10, 30),
        ),
    )  # fmt: skip
    assert "2 intermediate runs in the source language" in text and "5 seeds" in text
    assert "falls with distance (slope −8.0 [−15.0, −1.0], 7 languages)" in text
    assert "on average over languages it hurts (mean −1.2 [−2.0, −0.4], 7 languages)" in text
    assert "No evidence that the gain of direct tuning depends on distance (slope +12.0 [−1.0, 25.0]" in text
    assert "direct tuning is better than intermediate training (mean +6.2" in text
    assert "the more distant the language, the more it is ahead (slope +20.0" in text
    assert "- XNLI: intermediate training −1.2 [−2.0, −0.4] (slope −8.0 [−15.0, −1.0]); direct tuning +5.0" in text
    assert "(slope +12.0 [−1.0, 25.0], no evidence)" in text
    assert "median over 2 languages: `none` <10 [<10, 60]; mean of the intermediate runs 200 [100, 470]" in text
    assert "; single runs from 20 [12, 40] (`ccg`) to 1,200 [500, >3,000] (`mnli`)." in text
    assert "40% of 20 cells lose (without any effect half would), 10% with an interval below zero" in text
    assert "the worst language −2.0 [−3.0, −1.0]; the standard deviation over languages +0.5 [−1.0, 2.0], no" in text
    assert "Missing" not in text and "not XTREME" in text


def test_no_evidence_and_missing_are_said(tmp_path):
    text = said(tmp_path, numbers(intermediate_mean=(1, np.nan, np.nan)), ["`ccg` (7 scores)"])
    assert "no evidence of an effect (mean +1.0 (one seed: no interval), 7 languages)" in text
    assert "No evidence that the gain of direct tuning depends on distance (missing)" in text
    assert text.endswith("Missing: `ccg` (7 scores).")


def test_whether_direct_tuning_had_as_many_examples_is_said(tmp_path):
    found = numbers(intermediate_mean=(1, 0, 2))
    text = said(tmp_path, found, sizes=amounts(3000, 3000))
    assert "begin with 10 examples; the whole sets have as many as the source language's: XNLI 3,000." in text
    assert "at most so many are seen: XNLI 1,600." in text, "a hundred steps of sixteen"
    text = said(tmp_path, found, sizes=amounts(200, 900))
    assert "do not have as many as the source language's: XNLI 200 against 900." in text and "are seen" not in text


def test_alignment_is_said_of_every_layer(tmp_path):
    layers = pd.DataFrame(
        [(0, False, MEAN, 0, 0, 0), (1, True, MEAN, -9, -10, -8), (2, False, MEAN, -3, -4, -2),
         (2, False, "qab", 5, 4, 6), (3, False, MEAN, -7, -9, -5), (4, False, MEAN, 2, 1, 3)],
        columns=["layer", "main", "language", "value", "low", "high"],
    ).assign(metric="cka")  # fmt: skip
    text = said(tmp_path, numbers(intermediate_mean=(-9, -10, -8), intermediate_slope=(1, 0, 2)), layers=layers)
    line = next(line for line in text.splitlines() if line.startswith("- linear CKA"))
    assert line == (
        "- linear CKA: intermediate training −9.0 [−10.0, −8.0] (slope +1.0 [0.0, 2.0], no evidence); of 4 other "
        "layers lower in 2 (most in layer 3: −7.0 [−9.0, −5.0]), higher in 1 (most in layer 4: +2.0 [1.0, 3.0]), "
        "no evidence in 1"
    )
    assert "these intervals cover seeds, not sentences" in text


def test_slopes_over_every_distance_are_a_column_each():
    rows = [
        ("tagging", INTERMEDIATE, "distance", "", -4.86, -16.4, 6.8),
        ("tagging", INTERMEDIATE, "distance", "other_script", 2.0, 1.0, 3.0),
        ("udpos", DIRECT, "distance", "", 24.4, -19.0, 66.8),
        ("udpos", DIRECT, "distance", "other_script, log10_text", 5.0, 4.0, 6.0),
    ]
    table = findings.wide(pd.DataFrame(rows, columns=["part", "series", "over", "held", "value", "low", "high"]))
    held = ["distance, other_script held fixed", "distance, other_script, log10_text held fixed"]
    assert list(table) == ["part", "series", "distance", *held]
    assert table.replace("\N{NO-BREAK SPACE}", " ", regex=True).values.tolist() == [
        ["tagging", INTERMEDIATE, "−4.9 [−16.4, 6.8]", "+2.0 [1.0, 3.0]", ""],
        ["UDPOS", DIRECT, "+24.4 [−19.0, 66.8]", "", "+5.0 [4.0, 6.0]"],
    ]


def test_numbers_of_examples_are_said_as_censored():
    texts = [panels.worth_text(number, 10, 3000) for number in (0, 10.4, 347, 2999, np.inf, np.nan)]
    assert texts == ["<10", "10", "350", "3,000", ">3,000", ""]


@pytest.mark.parametrize(
    ("further", "keys", "message"),
    [
        ({}, {}, "further.direct: the question of distance compares with direct tuning"),
        ({"direct": {"targets": ["xnli"], "training_languages": ["source"]}}, {}, "training_languages: .source, each."),
        (
            {"direct": {"targets": ["xnli"], "training_languages": ["each"]}},
            {"source": "files", "source_language": "de"},
            'source_language: "de": distances are known from en alone',
        ),
    ],
)
def test_what_the_question_cannot_be_asked_of_is_refused_before_anything_runs(tmp_path, further, keys, message):
    with pytest.raises(UserError, match=message):
        study(tmp_path, question="distance", further=further, **keys)


def test_the_learning_curve_on_xtreme_goes_from_10_to_10_000_examples_in_every_language(tmp_path):
    mirror.build(tmp_path / "mirror", 3)
    base = load_study("xtreme")
    one = load_study(
        "xtreme-distance", hub=base.hub.model_copy(update={"mirror": str(tmp_path / "mirror")}).model_dump()
    )
    found: dict = {}
    for tuning in tunings(one, open_source(one), "direct"):
        found.setdefault((tuning.target, tuning.training_language), []).append(tuning.examples)
    assert {tuple(examples) for examples in found.values()} == {(10, 30, 100, 300, 1000, 3000, 10000, 0)}
    languages = {target: {code for name, code in found if name == target} for target, _ in found}
    assert {"source", "sw", "ur", "zh"} < languages["xnli"] and len(languages["xnli"]) == 15
    assert {"source", "sw", "te"} < languages["tydiqa"] and {"source", "ta", "eu"} < languages["udpos"]
    shared = [run for run in list_runs(base) if run in list_runs(one)]
    assert len(shared) == len(list_runs(base)) - 1 and all(run.folder(base) == run.folder(one) for run in shared)


# --- figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [8, 20])
def test_figures_have_no_overlaps_and_draw_their_tables(count):
    codes = [f"q{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(count)]
    far = pd.Series(np.linspace(0, 0.9, count), codes)

    def score(run, target, code, seed):
        word, _, asked = run.partition("=")
        base = {"direct": 20 + 12 * np.log10(int(asked or 0) or 3000), "source": 30}.get(word, 60 - 30 * far[code])
        return base + {"mnli": 3 - 9 * far[code]}.get(run, 0) + seed

    names, targets = ["none", "mnli", "hellaswag+mlm"], ["xnli", "udpos", "xquad"]
    points = [f"{word}={size}" for word in (DIRECT, "source") for size in (10, 100, 0)]
    found = results.resample(known(score, names + points, targets, codes, [1, 2], 4), np.random.default_rng(0), 40)
    away = far[far > 0]
    gains = distances.series_gains(
        found, {target: [target] for target in targets} | {COMPARED: targets}, names[1:], names[1:], away.index
    )
    slopes = distances.against_distance(gains, far, np.random.default_rng(0))
    sizes = pd.DataFrame(
        [(target, code, f"{word}={size}", size or 3000) for target in targets for code in codes
         for word in (DIRECT, "source") for size in (10, 100, 0) if word == DIRECT or code == codes[0]],
        columns=["target", "language", "run", "examples"],
    )  # fmt: skip
    levels = results.estimates(found, wanted(names, targets, codes, [1, 2]), codes[0])
    curves, worth = (
        learning_curves.learning_curves(found, sizes, codes),
        learning_curves.worth(found, sizes, names, names[1:]),
    )
    layers = pd.DataFrame(
        [
            (run, seed, code, layer, metric, 50.0 + layer + seed * (run == "mnli"), layer == 1)
            for run in names
            for code in away.index
            for layer in range(4)
            for metric in ("accuracy", "cka", "cosine_margin")
            for seed in (1, 2)
        ],
        columns=["intermediate", "seed", "language", "layer", "metric", "score", "main"],
    )
    changes = distances.layer_gains(layers, names[1:], away, np.random.default_rng(0))
    with plt.style.context(plots.STYLE):
        drawn = {
            "gains": panels.gain_panels(distances.gain_table(gains, far), slopes),
            "slopes": panels.slope_panels(slopes),
            "curves": panels.curve_panels(curves, levels, list(away.index)),
            "worth": panels.worth_heatmap(worth, list(away.index)),
            "alignment": panels.alignment_panels(layers, changes, names[1:], list(away.index)),
            "robustness": panels.robustness_panels(robustness(found, targets, names[1:], names[1:], away.index)),
        }
        for name, figure in drawn.items():
            assert overlapping(figure) == [], name
    ax = drawn["gains"].axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert len(lines["direct tuning (whole set)"].get_xdata()) == count - 1
    ends = [
        line
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_color() == plots.GAIN and line.get_linestyle() == "-"
    ]
    (x0, x1), (y0, y1) = ends[0].get_data()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-4.5), "the mean of mnli, −9, and of one that changes nothing"
    slope = f"slope {-4.5:+.1f} [".replace("-", "−")
    assert [text.get_text()[: len(slope)] for text in ax.texts].count(slope) == 1, "and is said"
    cells = [text.get_text() for text in drawn["worth"].axes[0].texts]
    expected = [
        panels.worth_text(row.examples, 10, 3000)
        for row in worth.itertuples()
        if row.target == "xnli" and row.language in (*away.index, MEDIAN)
    ]
    assert sorted(cells) == sorted(expected)
    assert len(drawn["curves"].axes) == 3 * min(count - 1, panels.COLUMNS)
    plt.close("all")


# --- the notebook ------------------------------------------------------------------------------------------


def code_cells():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_notebook_is_thin_and_committed_without_outputs():
    cells = code_cells()
    assert all(len(cell["source"]) < 25 and cell["outputs"] == [] and not cell["execution_count"] for cell in cells)
    assert [cell["metadata"].get("tags") for cell in cells].count(["parameters"]) == 1


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
def test_real_files_from_a_tiny_checkpoint_and_what_is_missing(tmp_path, monkeypatch, capsys):
    """The phases as their notebooks call them, then the cells of this one in order, on a run too few."""
    build_checkpoint(tmp_path / "encoder")
    keys = {
        "based_on": "files-distance", "name": "toy", "runs": str(tmp_path), "figures": str(tmp_path / "figures"),
        "encoder": {"checkpoint": str(tmp_path / "encoder")}, "intermediate": ["none", "sick", "mrpc"],
        "targets": ["udpos", "tatoeba"], "languages": ["en", "de", "fi", "ko"],
        "files": {"limits": {"train": 30, "dev": 16, "test": 16}},
        "further": {"direct": {"targets": ["udpos"], "examples": [10, 0]}},
        "training": {"intermediate": {"steps": 3}, "target": {"steps": 3, "batch_size": 4}},
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(keys))
    one = load_study(tmp_path / "toy.yaml")
    source = open_source(one)
    phases.encoder(one, source, 1)
    phases.intermediate(one, source, "sick", 1)
    for run in list_runs(one):
        if run.phase == "targets" and run.intermediate != "mrpc":
            list(phases.targets(one, source, run.intermediate, run.bundle, 1))
            (run.folder(one) / "run.json").write_text("{}")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    space = {"display": str}
    for cell in code_cells():
        text = "".join(cell["source"])
        exec(text.replace('"tour-distance"  #', f'"{tmp_path / "toy.yaml"}"  #'), space)
    distance_truth.check(one, ["sick"], ["de", "fi", "ko"])
    assert capsys.readouterr().out.endswith("`mrpc` (7 scores)\n")
    text = (one.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert "On real text" in text and text.endswith("Missing: `mrpc` (7 scores).\n")
    for name in distance_truth.FIGURES:
        assert (one.figures_folder / f"{name}.csv").stat().st_size > 100
    aligned = pd.read_parquet(one.own_folder / "distance" / "alignment.parquet")
    assert set(aligned["part"]) == set(panels.METRICS)
    assert {"syntactic", "phonological", "genetic", "geographic"} <= set(space["table"]["over"])
    assert (space["table"]["held"] == "").all(), "three languages are too few to hold anything fixed"
