"""What the figures are given, that nothing in them overlaps, and the notebook that draws them."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba

from synthetic import statistics, study, wanted, write
from xstilts import plots, results
from xstilts.io import ROOT
from xstilts.results import MACRO, MACRO_TRAINED, MEAN
from xstilts.sources.files import natural_languages
from xstilts.tasks import get

RUNS = ["none", "mnli", "ccg", "hellaswag+mlm"]
TARGETS = ["tatoeba", "xquad", "xnli"]
COLUMNS = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]


@pytest.fixture(autouse=True)
def style():
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


def cells(numbers, seeds=5):
    """Estimates over all languages: {(run, target): (value, low, high)}; ``none`` has scores, the rest gains."""
    rows = [
        (run, target, MEAN, "score" if run == "none" else "gain", *found, seeds, 8, 1)
        for (run, target), found in numbers.items()
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
    ("none", "xnli"): (60, 58, 62), ("none", "tatoeba"): (30, 28, 32), ("none", MACRO): (45, 43, 47),
    ("mnli", "xnli"): (4, 2, 6), ("mnli", "tatoeba"): (-4, -6, -2), ("mnli", MACRO): (0, -1, 1),
    ("ccg", "xnli"): (-0.04, -1, 1), ("ccg", "tatoeba"): (np.nan,) * 3, ("ccg", MACRO): (np.nan,) * 3,
}  # fmt: skip


def drawn(ax):
    """{(column, row): (text, rectangle)} of a heatmap, by tick labels."""
    columns = dict(zip(np.round(ax.get_xticks(), 6), [label.get_text() for label in ax.get_xticklabels()], strict=True))
    rows = dict(zip(np.round(ax.get_yticks(), 6), [label.get_text() for label in ax.get_yticklabels()], strict=True))
    patches = {tuple(np.round(patch.get_center(), 6)): patch for patch in ax.patches}
    return {
        (columns[x], rows[y]): (text, patches[x, y])
        for text in ax.texts
        for x, y in [tuple(np.round(text.get_position(), 6))]
    }


def test_heatmap_cells_say_and_show_the_table():
    _, ax = plt.subplots(figsize=(5, 3))
    assert plots.transfer_heatmap(cells(NUMBERS), ax) is ax
    found = drawn(ax)
    texts = {key: text.get_text() for key, (text, _) in found.items()}
    assert texts == {
        ("XNLI", "none (score)"): "60.0", ("Tatoeba", "none (score)"): "30.0", ("all\ntargets", "none (score)"): "45.0",
        ("XNLI", "mnli"): "+4.0*", ("Tatoeba", "mnli"): "−4.0*", ("all\ntargets", "mnli"): "+0.0",
        ("XNLI", "ccg"): "+0.0", ("Tatoeba", "ccg"): "missing", ("all\ntargets", "ccg"): "missing",
    }  # fmt: skip
    bold = {key for key, (text, _) in found.items() if text.get_fontweight() == "bold"}
    assert bold == {("XNLI", "mnli"), ("Tatoeba", "mnli")}, "marked exactly where the interval excludes zero"
    hatched = {key for key, (_, patch) in found.items() if patch.get_hatch()}
    assert hatched == {("Tatoeba", "ccg"), ("all\ntargets", "ccg")}


def test_heatmap_colours_are_centred_on_zero_and_symmetric():
    _, ax = plt.subplots()
    found = drawn(plots.transfer_heatmap(cells(NUMBERS), ax))
    colour = {key: to_hex(patch.get_facecolor()) for key, (_, patch) in found.items()}
    assert colour["all\ntargets", "mnli"] == to_hex(plots.DIVERGING(0.5)) == "#f7f7f7"
    assert colour["XNLI", "mnli"] == plots.GAIN and colour["Tatoeba", "mnli"] == plots.LOSS
    red, green, blue, _ = to_rgba(colour["XNLI", "none (score)"])
    assert red == green == blue, "scores have a neutral scale of their own"
    gain = next(child for child in ax.child_axes if child.get_ylabel().startswith("gain"))
    assert gain.get_ylim() == (-4.0, 4.0)
    assert plots.colour_limit(pd.Series([*[1.0] * 99, 50.0, np.nan])) == 1.0, "one extreme does not bleach the rest"


def test_heatmap_orders_by_kind_averages_last_and_says_when_seeds_are_fewer():
    _, table = estimates(RUNS, TARGETS, ["qaa", "qab", "qac"], (1, 2, 3))
    table.loc[(table["intermediate"] == "ccg") & (table["target"] == "xnli"), "seeds"] = 2
    _, ax = plt.subplots(figsize=plots.heatmap_size(table))
    plots.transfer_heatmap(table, ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "XNLI", "XQuAD", "Tatoeba", "all\ntargets", "without\nretrieval",
    ]  # fmt: skip
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["none (score)", *RUNS[1:]]
    assert drawn(ax)["XNLI", "ccg"][0].get_text().endswith("2 of 3 seeds")
    assert "3 seeds" in ax.get_xlabel()


def test_language_dots_place_values_and_intervals():
    rows = [("mnli", "xnli", code, "gain", *found, 5, 1, 1) for code, found in {
        "qab": (3, 1, 5), "qaa": (-2, -3, -1), "qac": (1, -1, 3)}.items()]  # fmt: skip
    _, ax = plt.subplots()
    plots.language_dots(pd.DataFrame(rows, columns=COLUMNS), ax, ["qaa", "qab", "qac", "qad"])
    intervals, dots = ax.collections
    assert dots.get_offsets()[:3].tolist() == [[0, -2], [1, 3], [2, 1]]
    assert [segment[:, 1].tolist() for segment in intervals.get_segments()[:3]] == [[-3, -1], [1, 5], [-1, 3]]
    faces = [to_hex(colour) for colour in dots.get_facecolors()[:3]]
    assert faces == [plots.LOSS, plots.GAIN, "#ffffff"], "filled where the interval excludes zero"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["qaa", "qab", "qac", "qad"]
    assert [text.get_text() for text in ax.texts] == ["missing"]


def test_languages_stand_by_distance_unknown_last():
    languages = pd.DataFrame({"distance": [0.5, np.nan, 0.0, 0.2]}, index=["de", "xx", "en", "nl"])
    table = pd.DataFrame({"language": ["xx", "de", "en", "nl", "mean", "zero-shot"]})
    assert plots.by_distance(table, languages) == ["en", "nl", "de", "xx"]


def test_languages_are_grouped_by_family_nearest_first():
    languages = pd.DataFrame(
        {"distance": [0.5, np.nan, 0.0, 0.2, 0.4], "family": ["one", np.nan, "one", "two", "two"]},
        index=["de", "xx", "en", "fi", "et"],
    )
    table = pd.DataFrame({"language": ["xx", "et", "de", "en", "fi", "mean"]})
    order, families = plots.by_family(table, languages)
    assert order == ["en", "de", "fi", "et", "xx"] and families == [("one", 2), ("two", 2), ("", 1)]


def test_breakdown_of_forty_real_languages_names_their_families():
    """XTREME's PANX on made-up scores."""
    languages = natural_languages("en")
    codes = sorted(get("panx").languages, key=lambda code: languages.loc[code, "distance"])
    assert len(codes) == 40 and codes[0] == "en"
    _, table = estimates(["none", "mnli", "ccg"], ["panx"], codes, (1, 2), 10)
    figure = plots.language_breakdown(table, languages, "panx")
    assert overlapping(figure) == []
    lowest = figure.axes[2]
    order = [label.get_text() for label in lowest.get_xticklabels()]
    names = [label.get_text() for label in lowest.child_axes[0].get_xticklabels()]
    family = languages.loc[order, "family"]
    assert names == list(dict.fromkeys(family)) and len(names) > 10
    assert (family != family.shift()).sum() == len(names), "every family stands together"
    assert names[0] == "Indo-European" and sorted(order) == sorted(codes)
    assert figure.get_size_inches()[0] < 8.5


@pytest.mark.parametrize("count", [3, 8, 15, 40])
def test_breakdown_stays_readable(count):
    codes, languages = language_tables(count)
    _, table = estimates(RUNS, ["xnli"], codes)
    figure = plots.language_breakdown(table, languages, "xnli")
    assert [ax.get_title("left") for ax in figure.axes] == ["none (score)", *RUNS[1:]]
    named = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes]
    assert named[-1] == codes and all(labels in (codes, []) for labels in named), "the lowest of each column"
    assert overlapping(figure) == []
    limits = {ax.get_ylim() for ax in figure.axes[1:]}
    assert len(limits) == 1, "gains share one scale"
    shown = table[(table["quantity"] == "gain") & ~table["language"].isin(["mean", "zero-shot"])]["value"]
    low, high = limits.pop()
    assert low < shown.min() and high > shown.max() and low < 0 < high
    assert plots.language_breakdown(table, languages, "xnli", ["ccg"]).axes[1].get_title("left") == "ccg"


def test_other_figures_have_no_overlaps():
    codes, languages = language_tables(8)
    targets = [*TARGETS, "pawsx", "udpos", "panx", "mlqa", "tydiqa", "xcopa", "bucc"]
    found, table = estimates(RUNS, targets, codes)
    heatmap, ax = plt.subplots(figsize=plots.heatmap_size(table))
    plots.transfer_heatmap(table, ax)
    assert overlapping(heatmap) == []
    macro = plots.macro_panels(table)
    assert overlapping(macro) == []
    assert [ax.get_xlabel() for ax in macro.axes] == ["mean score", "mean gain over none (points)"]
    rho = results.correlations(found, wanted(RUNS, targets, codes, (1, 2)), languages["distance"])
    panels = plots.distance_panels(plots.distance_points(table, languages), rho)
    assert overlapping(panels) == []
    assert [ax.get_title("left") for ax in panels.axes][:3] == ["Tatoeba", "XQuAD", "XNLI"]
    controls = pd.concat([table.assign(study=name) for name in ("toy", "toy-untrained")])
    controls = controls[(controls["intermediate"] == "none") & (controls["language"] == "zero-shot")]
    assert overlapping(plots.study_panel(controls)) == []


def test_score_dots_by_hand():
    table = pd.DataFrame(
        {
            "intermediate": ["none", "mnli", "none", "mnli"], "target": [MACRO, MACRO, MACRO_TRAINED, MACRO_TRAINED],
            "quantity": "score", "value": [50.0, 52, 60, np.nan], "low": [49.0, 50, 58, np.nan],
            "high": [51.0, 54, 62, np.nan],
        }
    )  # fmt: skip
    _, ax = plt.subplots()
    plots.score_dots(table, ax, "intermediate", "target")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "mnli"]
    dots = [collection for collection in ax.collections if collection.get_label()[0] != "_"]
    first = {dot.get_label(): dot.get_offsets()[0, 0] for dot in dots}
    assert first == {"all targets": 50, "without retrieval": 60}
    assert [text.get_text() for text in ax.texts] == ["missing"]


def test_layer_panels_draw_every_language_and_their_mean_of_the_main_metric():
    rows = [("de", 0, 10), ("de", 2, 50), ("zh", 0, 20), ("zh", 2, 30), ("de", 1, 40), ("zh", 1, 60)]
    table = pd.DataFrame(rows, columns=["language", "layer", "score"]).assign(metric="accuracy")
    reverse = table.assign(metric="reverse_accuracy", score=99.0)
    figure = plots.layer_panels({"tatoeba": pd.concat([table, reverse]), "bucc": table.assign(metric="f1")})
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Tatoeba", "BUCC"]
    for ax in figure.axes:
        drawn = [line.get_ydata().tolist() for line in ax.lines]
        assert drawn == [[10, 40, 50], [20, 60, 30], [15, 50, 40]]
        assert [text.get_text() for text in ax.texts] == ["de", "zh"]


def test_save_writes_three_files_the_same_each_time(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        figure, ax = plt.subplots()
        plots.transfer_heatmap(cells(NUMBERS), ax)
        plots.save(figure, cells(NUMBERS), folder, "heatmap")
    names = ["heatmap.csv", "heatmap.png", "heatmap.svg"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a/heatmap.csv"), cells(NUMBERS), check_dtype=False)


def test_heatmap_at_column_width_frames_what_is_marked():
    _, table = estimates(RUNS, TARGETS, ["qaa", "qab", "qac"], (1, 2, 3))
    table.loc[(table["intermediate"] == "mnli") & (table["target"] == "xnli"), ["value", "low", "high"]] = 14.96, 1, 30
    table.loc[(table["intermediate"] == "ccg") & (table["target"] == "xquad"), ["value", "low", "high"]] = np.nan
    figure, ax = plt.subplots(figsize=plots.heatmap_size(table, column=True))
    plots.transfer_heatmap(table, ax, column=True)
    assert figure.get_size_inches()[0] == 3.3, "a column of a paper"
    assert overlapping(figure) == []
    inside = figure.get_tightbbox(figure.canvas.get_renderer())
    assert inside.x0 > -0.05 and inside.x1 < 3.35
    mean = table[(table["language"] == MEAN) & (table["quantity"] == "gain")]
    frames = [patch for patch in ax.patches if not patch.get_fill()]
    assert len(frames) == int(results.marked(mean).sum()) > 0
    texts = [text.get_text() for text in ax.texts]
    assert "+15" in texts and "–" in texts, "rounded where there is no room for a decimal"


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
    assert len(notebook["cells"]) <= 24
    assert all(len(cell["source"]) <= 10 and cell["outputs"] == [] and not cell["execution_count"] for cell in code)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1


def execute(study, monkeypatch):
    """Its cells in order, as a kernel would run them; papermill runs it whole in the notebooks' own tests."""
    monkeypatch.setattr("xstilts.study.load_study", lambda name: study)
    space = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)


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
    assert "35 of 42 scores are there" in printed
    assert "No published number has the task, split, metric and language of one of ours" in printed
    stems = "answer controls correlations distance effort heatmap-mean heatmap-mean-column heatmap-zero-shot"
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
