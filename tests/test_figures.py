"""What the figures are given, that nothing in them overlaps, and the notebook that draws them."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from synthetic import statistics, study, wanted, write
from xstilts import plots, results
from xstilts.io import ROOT
from xstilts.results import MACRO, MEAN
from xstilts.tasks import TASKS, Task

RUNS = ["none", "mnli", "ccg", "hellaswag+mlm"]
TARGETS = ["tatoeba", "xquad", "xnli"]
COLUMNS = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def cells(numbers, seeds=5):
    """Estimates over all languages: {(run, target): (value, low, high)}; ``none`` has scores, the rest gains."""
    rows = [
        (run, target, MEAN, "score" if run == "none" else "gain", *numbers_of, seeds, 8, 1)
        for (run, target), numbers_of in numbers.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def language_tables(count):
    """Names of languages, nearest first, and a table as ``language_table()`` gives it; the last is unknown."""
    codes = [f"q{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(count)]
    distance = [*np.linspace(0, 0.9, count - 1), np.nan]
    return codes, pd.DataFrame({"name": codes, "family": "one", "distance": distance}, index=codes)


def estimates(runs, targets, codes, seeds=(1, 2), examples=20):
    found = results.resample(statistics(runs, targets, codes, seeds, examples), np.random.default_rng(0), 100)
    return found, results.estimates(found, wanted(runs, targets, codes, seeds), codes[0])


def overlapping(figure):
    """Pairs of texts drawn over each other."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    beyond = {  # matplotlib keeps, undrawn, labels of ticks beyond the axis
        id(label)
        for ax in figure.findobj(plt.Axes)
        for axis, place in ((ax.xaxis, 0), (ax.yaxis, 1))
        for label in axis.get_ticklabels()
        if not min(axis.get_view_interval()) <= label.get_position()[place] <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(plt.Text) if text.get_text().strip() and text.get_visible()]
    texts = [text for text in texts if id(text) not in beyond]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    boxes = [(text, box) for text, box in boxes if box.width > 1 and box.height > 1]
    return [
        (a, b)
        for number, (a, box) in enumerate(boxes)
        for b, other in boxes[number + 1 :]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
    ]


NUMBERS = {
    ("none", "tatoeba"): (30, 28, 32), ("none", "xnli"): (60, 58, 62), ("none", MACRO): (45, 43, 47),
    ("mnli", "tatoeba"): (-4, -6, -2), ("mnli", "xnli"): (4, 2, 6), ("mnli", MACRO): (0, -1, 1),
    ("ccg", "tatoeba"): (np.nan,) * 3, ("ccg", "xnli"): (-0.04, -1, 1), ("ccg", MACRO): (np.nan,) * 3,
}  # fmt: skip


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def drawn(ax):
    """{(row, column): text} of a heatmap."""
    columns, rows = labels(ax.xaxis), labels(ax.yaxis)
    return {(rows[int(text.get_position()[1])], columns[int(text.get_position()[0])]): text for text in ax.texts}


def test_heatmap_cells_say_and_show_the_table():
    figure = plots.transfer_heatmap(cells(NUMBERS).set_index(np.zeros(len(NUMBERS), int)))  # as concatenated tables
    (ax,) = figure.axes
    assert {key: text.get_text() for key, text in drawn(ax).items()} == {
        ("none (score)", "XNLI"): "60.0", ("none (score)", "Tatoeba"): "30.0", ("none (score)", "all targets"): "45.0",
        ("mnli", "XNLI"): "+4.0*", ("mnli", "Tatoeba"): "−4.0*", ("mnli", "all targets"): "+0.0",
        ("ccg", "XNLI"): "+0.0",
    }  # fmt: skip
    assert labels(ax.xaxis) == ["XNLI", "Tatoeba", "all targets"], "by kind of task, averages last"
    bold = {key for key, text in drawn(ax).items() if text.get_fontweight() == "bold"}
    assert bold == {("mnli", "XNLI"), ("mnli", "Tatoeba")}, "marked exactly where the interval excludes zero"
    assert ax.patch.get_hatch(), "where nothing is drawn: missing"
    scores, gains = (
        mesh.get_array().reshape(3, 3) for mesh in sorted(ax.collections, key=lambda mesh: -mesh.norm.vmin)
    )
    assert scores.mask.sum() == 6 and gains.mask.sum() == 5
    for text in ("from −4.0 (mnli, Tatoeba", "2 missing", "Scores in grey: 3 values, from 30.0 (none (score), Tatoeba"):
        assert text in figure.get_label()


def test_a_target_of_the_users_own_stands_before_the_averages():
    own = {("none", "mine"): (50, 40, 60), ("mnli", "mine"): (1, -1, 3)}
    assert labels(plots.transfer_heatmap(cells(own | NUMBERS)).axes[0].xaxis) == [
        "XNLI",
        "Tatoeba",
        "mine",
        "all targets",
    ]
    tasks = TASKS | {"mine": Task("mine", "classification", "My mails", ("accuracy",))}
    figure = plots.transfer_heatmap(cells(own | NUMBERS), tasks=tasks)
    assert labels(figure.axes[0].xaxis) == ["My mails", "XNLI", "Tatoeba", "all targets"], "by its title and kind"


def test_heatmap_colours_are_centred_on_zero_and_symmetric():
    meshes = plots.transfer_heatmap(cells(NUMBERS)).axes[0].collections
    (gains,) = [mesh for mesh in meshes if mesh.norm.vmin < 0]
    assert (gains.norm.vmin, gains.norm.vmax) == (-4, 4)
    assert plots.colour_limit(pd.Series([0.1, np.nan])) == 1.0 and plots.colour_limit(pd.Series([], dtype=float)) == 1.0
    extreme = pd.Series([*np.linspace(-5, 5, 99), 80.0])
    assert plots.colour_limit(extreme) == 5.0, "one extreme gain does not bleach the rest"


def test_heatmap_says_which_cells_rest_on_fewer_seeds():
    table = cells(NUMBERS)
    table.loc[(table["intermediate"] == "mnli") & (table["target"] == "xnli"), "seeds"] = 3
    assert drawn(plots.transfer_heatmap(table).axes[0])["mnli", "XNLI"].get_text() == "+4.0*\n3 of 5 seeds"


@pytest.mark.parametrize("count", [3, 15, 40])
def test_languages_stand_by_family_and_stay_readable(count):
    codes, languages = language_tables(count)
    languages["family"] = [f"family {number % 3}" for number in range(count)]
    _, table = estimates(RUNS, ["xnli"], codes)
    figure = plots.language_heatmap(table, languages, "xnli")
    (ax,) = figure.axes
    assert labels(ax.xaxis) == ["none (score)", *RUNS[1:]] and ax.get_title("left") == "XNLI"
    names = labels(ax.yaxis)
    assert len(names) == count and names[0] == f"family 0 {codes[0]}"
    families = [name.rsplit(" ", 1)[0] for name in names]
    assert families == sorted(families), "the family of the nearest language first, every family together"
    assert overlapping(figure) == [] and figure.get_size_inches()[0] < 8.5


def test_figures_of_all_targets_have_no_overlaps():
    codes, languages = language_tables(8)
    targets = [*TARGETS, "pawsx", "udpos", "panx", "mlqa", "tydiqa", "xcopa", "bucc"]
    replicates, table = estimates(RUNS, targets, codes)
    heatmap = plots.transfer_heatmap(table)
    assert overlapping(heatmap) == [] and heatmap.get_size_inches()[0] < 7, "the width of a page"
    rho = results.correlations(replicates, wanted(RUNS, targets, codes, (1, 2)), languages["distance"])
    panels = plots.distance_panels(plots.distance_points(table, languages), rho)
    assert [ax.get_title("left") for ax in panels.axes][:3] == ["Tatoeba", "XQuAD", "XNLI"]
    assert "Spearman's rho" in panels.get_label()
    controls = pd.concat([table.assign(study=name) for name in ("toy", "toy-untrained")])
    controls = controls[(controls["intermediate"] == "none") & (controls["language"] == "zero-shot")]
    assert overlapping(plots.interval_panels(controls, "target", "study", "language", "Scores", "score")) == []


def test_interval_panels_by_hand():
    table = cells(NUMBERS).query("target == 'xnli' or target == 'tatoeba'")
    figure = plots.interval_panels(table, "intermediate", "target", "quantity", "Dots", "points", sharex=False)
    score, gain = figure.axes
    assert [ax.get_title("left") for ax in figure.axes] == ["score", "gain"]
    assert labels(score.yaxis) == ["none", "mnli", "ccg"] and [text.get_text() for text in gain.texts] == ["missing"]
    faces = {}
    for dots in (dots for dots in gain.collections if isinstance(dots, PathCollection)):
        values = np.ma.filled(dots.get_offsets()[:, 0], np.nan)
        faces |= {value: face[:3].tolist() for value, face in zip(values, dots.get_facecolors(), strict=False)}
    assert {value for value in faces if np.isfinite(value)} == {-4.0, 4.0, -0.04}
    hollow = [value for value, face in faces.items() if face == [1, 1, 1] and np.isfinite(value)]
    assert hollow == [-0.04], "filled where the interval excludes zero"


def test_layer_panels_draw_every_language_and_their_mean_of_the_main_metric():
    rows = [("de", 0, 10), ("de", 2, 50), ("zh", 0, 20), ("zh", 2, 30), ("de", 1, 40), ("zh", 1, 60)]
    table = pd.DataFrame(rows, columns=["language", "layer", "score"]).assign(metric="accuracy")
    reverse = table.assign(metric="reverse_accuracy", score=99.0)
    figure = plots.layer_panels({"tatoeba": pd.concat([table, reverse]), "bucc": table.assign(metric="f1")})
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Tatoeba", "BUCC"]
    for ax in figure.axes:
        assert [line.get_ydata().tolist() for line in ax.lines] == [[10, 40, 50], [20, 60, 30], [15, 50, 40]]
        assert [text.get_text() for text in ax.texts] == ["de", "zh"]


def test_save_writes_three_files_the_same_each_time_and_draws_from_its_own_table(tmp_path):
    table = cells(NUMBERS)
    for folder in (tmp_path / "a", tmp_path / "b"):
        plots.save(plots.transfer_heatmap(table), table, folder, "heatmap")
        table = pd.read_csv(folder / "heatmap.csv")
    names = ["heatmap.csv", "heatmap.png", "heatmap.svg"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a/heatmap.csv"), cells(NUMBERS), check_dtype=False)


def test_a_table_without_rows_is_a_figure_that_says_so():
    empty = cells({})
    for figure in (
        plots.heatmap(empty, "intermediate", "target", "language", "Gains"),
        plots.interval_panels(empty, "intermediate", "target", "language", "Gains", "points"),
        plots.curves(empty, "value", "intermediate", "target", "Gains", "points", "language"),
    ):
        assert figure.get_label() == "Gains: no values." and figure.axes[0].texts[0].get_text() == "nothing to compare"


def test_no_figure_changes_the_style_of_the_kernel():
    before = dict(plt.rcParams)
    plots.show(plots.transfer_heatmap(cells(NUMBERS)))
    assert dict(plt.rcParams) == before


def test_gain_and_loss_are_told_apart_by_colour_blind_readers():
    # Machado et al. 2009, severity 1.0: deuteranopia, protanopia; on linear RGB
    blindness = [
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ]
    for matrix in blindness:
        for strength in (0.3, 0.6, 1.0):
            gain, loss = (
                np.clip(matrix @ np.array(plots.DIVERGING(0.5 + side * strength / 2)[:3]) ** 2.2, 0, 1) ** (1 / 2.2)
                for side in (1, -1)
            )
            assert (gain - loss)[2] > 0.15 and (loss - gain)[0] > 0.05, "blue against yellow, all along the scale"


NOTEBOOK = ROOT / "notebooks" / "4-transfer.ipynb"


def test_notebook_is_thin_and_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(notebook["cells"]) <= 25
    assert all(len(cell["source"]) <= 10 and cell["outputs"] == [] and not cell["execution_count"] for cell in code)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1


def execute(study, monkeypatch):
    """Its cells in order, all but the first again, as a kernel would run them."""
    monkeypatch.setattr("xstilts.study.load_study", lambda name: study)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    space = {}
    for text in [*code, *code[1:]]:
        exec(text, space)


def test_notebook_runs_on_an_unfinished_study(tmp_path, monkeypatch, capsys):
    codes, runs, targets, seeds = ["qaa", "qab", "qac", "qad"], RUNS[:3], TARGETS[:2], [1, 2]
    small = study(
        tmp_path, intermediate=runs, targets=targets, seeds=2, micro={"languages": codes},
        figures=str(tmp_path / "figures"),
    )  # fmt: skip
    stats = statistics(runs, targets, codes, seeds, 20)
    write(stats[~((stats["intermediate"] == "ccg") & (stats["seed"] == 2))], small.folder)
    execute(small, monkeypatch)
    # Tatoeba lacks the source language: 3 + 4 scores a run and seed, of which one run and seed is missing
    printed = capsys.readouterr().out
    assert "35 of 42 scores are complete" in printed
    assert "published" not in printed
    stems = "answer controls correlations distance effort heatmap-mean heatmap-zero-shot"
    stems += " languages-tatoeba languages-xquad macro ranks"
    assert sorted({path.stem for path in small.figures_folder.iterdir()}) == stems.split()
    table = pd.read_parquet(tmp_path / "toy/transfer/estimates.parquet")
    gain = table[(table["intermediate"] == "ccg") & (table["target"] == MACRO) & (table["quantity"] == "gain")]
    assert gain["seeds"].tolist() == [1, 1] and gain["value"].notna().all()


def test_notebook_runs_without_none(tmp_path, monkeypatch):
    runs, targets = RUNS[:3], TARGETS[:2]
    small = study(tmp_path, intermediate=runs, targets=targets, micro={"languages": ["qaa", "qab", "qac"]},
                  figures=str(tmp_path / "figures"))  # fmt: skip
    stats = statistics(runs, targets, ["qaa", "qab", "qac"], [1], 20)
    write(stats[stats["intermediate"] != "none"], small.folder)
    execute(small, monkeypatch)
    assert "missing" in (small.figures_folder / "answer.md").read_text("utf-8")
    assert not (small.figures_folder / "controls.png").exists()
