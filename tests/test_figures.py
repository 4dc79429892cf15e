"""What figures draw, write and say in their alternative text, in fonts that have their letters; their notebook."""

import unicodedata
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.collections import PathCollection
from nbconvert import HTMLExporter
from nbformat import v4
from PIL import Image

from microworld.grammar import LETTERS
from synthetic import run_cells, statistics, study, wanted, write
from xstilts import plots, results
from xstilts.inference import from_statistics
from xstilts.results import MACRO, MEAN
from xstilts.tasks import TASKS, Task

RUNS = ["none", "mnli", "ccg", "hellaswag+mlm"]
COLUMNS = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def cells(numbers, seeds=5):
    """Estimates over all languages: {(run, target): (value, low, high)}; ``none`` has scores, the rest gains."""
    rows = [
        (run, target, MEAN, "score" if run == "none" else "gain", *interval, seeds, 8, 1)
        for (run, target), interval in numbers.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def language_tables(count, families=1):
    """Names of languages, nearest first, and a table as ``language_table()`` gives it; the last is unknown."""
    codes = [f"q{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(count)]
    family = [f"family {number % families}" for number in range(count)]
    return codes, pd.DataFrame({"family": family, "distance": [*np.linspace(0, 0.9, count - 1), np.nan]}, index=codes)


def estimates(runs, targets, codes):
    scores = from_statistics(statistics(runs, targets, codes, (1, 2), 20))
    return scores, results.estimates(scores, wanted(runs, targets, codes, (1, 2)), codes[0])


def overlapping(figure):
    """Pairs of texts drawn over each other."""
    figure.canvas.draw()
    beyond = {  # matplotlib keeps, undrawn, labels of ticks beyond the axis
        id(label)
        for ax in figure.findobj(plt.Axes)
        for axis, dimension in ((ax.xaxis, 0), (ax.yaxis, 1))
        for label in axis.get_ticklabels()
        if not min(axis.get_view_interval()) <= label.get_position()[dimension] <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(plt.Text) if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if id(text) not in beyond]
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


# --- what is drawn -------------------------------------------------------------------------------------------


def test_heatmap_cells_say_and_show_the_table():
    table = cells(NUMBERS).set_index(np.zeros(len(NUMBERS), int))  # as concatenated tables
    table.loc[(table["intermediate"] == "mnli") & (table["target"] == MACRO), "seeds"] = 3
    figure = plots.transfer_heatmap(table)
    (ax,) = figure.axes
    assert {key: text.get_text() for key, text in drawn(ax).items()} == {
        ("none (score)", "XNLI"): "60.0", ("none (score)", "Tatoeba"): "30.0", ("none (score)", "all targets"): "45.0",
        ("mnli", "XNLI"): "+4.0*", ("mnli", "Tatoeba"): "−4.0*", ("mnli", "all targets"): "+0.0\n3 of 5 seeds",
        ("ccg", "XNLI"): "+0.0",
    }  # fmt: skip
    assert labels(ax.xaxis) == ["XNLI", "Tatoeba", "all targets"], "by kind of task, averages last"
    bold = {key for key, text in drawn(ax).items() if text.get_fontweight() == "bold"}
    assert bold == {("mnli", "XNLI"), ("mnli", "Tatoeba")}, "marked exactly where the interval excludes zero"
    assert ax.patch.get_hatch(), "where nothing is drawn: missing"
    scores, gains = sorted(ax.collections, key=lambda mesh: -mesh.norm.vmin)
    assert scores.get_array().mask.sum() == 6 and gains.get_array().mask.sum() == 5
    assert (gains.norm.vmin, gains.norm.vmax) == (-4, 4), "centred on zero and symmetric"
    for text in ("from −4.0 (mnli, Tatoeba", "2 missing", "Scores in grey: 3 values, from 30.0 (none (score), Tatoeba"):
        assert text in figure.get_label()


def test_a_target_of_the_users_own_stands_before_the_averages():
    table = cells({("none", "mine"): (50, 40, 60), ("mnli", "mine"): (1, -1, 3)} | NUMBERS)
    assert labels(plots.transfer_heatmap(table).axes[0].xaxis) == ["XNLI", "Tatoeba", "mine", "all targets"]
    tasks = TASKS | {"mine": Task("mine", "classification", "My mails", ("accuracy",))}
    figure = plots.transfer_heatmap(table, tasks=tasks)
    assert labels(figure.axes[0].xaxis) == ["My mails", "XNLI", "Tatoeba", "all targets"], "by its title and kind"


@pytest.mark.parametrize("count", [3, 40])
def test_languages_stand_by_family_and_stay_readable(count):
    codes, languages = language_tables(count, families=3)
    figure = plots.language_heatmap(estimates(RUNS, ["xnli"], codes)[1], languages, "xnli")
    (ax,) = figure.axes
    assert labels(ax.xaxis) == ["none (score)", *RUNS[1:]] and ax.get_title("left") == "XNLI"
    names = labels(ax.yaxis)
    assert len(names) == count and names[0] == f"family 0 {codes[0]}"
    families = [name.rsplit(" ", 1)[0] for name in names]
    assert families == sorted(families), "the family of the nearest language first, every family together"
    assert overlapping(figure) == [] and figure.get_size_inches()[0] < 8.5


def test_figures_of_all_targets_have_no_overlaps():
    codes, languages = language_tables(8)
    targets = "tatoeba xquad xnli pawsx udpos panx mlqa tydiqa xcopa bucc".split()
    replicates, table = estimates(RUNS, targets, codes)
    heatmap = plots.transfer_heatmap(table)
    assert overlapping(heatmap) == [] and heatmap.get_size_inches()[0] < 7, "the width of a page"
    rho = results.correlations(replicates, wanted(RUNS, targets, codes, (1, 2)), languages["distance"])
    points = plots.distance_points(table, languages)
    points["family"] = np.where(points["distance"] > points["distance"].median(), "far", "near")
    panels = plots.distance_panels(points, rho)
    assert [ax.get_title("left") for ax in panels.axes][:3] == ["Tatoeba", "XQuAD", "XNLI"]
    assert "Spearman's rho" in panels.get_label()
    assert len(panels.legends) == 1 and not any(ax.get_legend() for ax in panels.axes), "one legend above all panels"
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


def test_a_table_without_rows_is_a_figure_that_says_so():
    columns = ("intermediate", "target", "language", "Gains")
    for draw_with in (plots.heatmap, plots.interval_panels, plots.curves):
        labels = () if draw_with == plots.heatmap else ("points", "language")
        figure = draw_with(cells({}), *columns, *labels)
        assert figure.get_label() == "Gains: no values." and figure.axes[0].texts[0].get_text() == "nothing to compare"


# --- alternative text, files ---------------------------------------------------------------------------------


def test_alternative_text_by_hand():
    table = pd.DataFrame(
        {
            "intermediate": ["mnli", "ccg", "qqp", "anli"], "target": ["xnli", "udpos", MACRO, "xnli"],
            "value": [3.26, -1.5, 0.04, np.nan], "low": [1.0, -3.0, -1.0, np.nan], "high": [5.0, -0.1, 1.0, np.nan],
        }
    )  # fmt: skip
    assert plots.alternative_text("Dots: gains", table, ["intermediate", "target"], signed=True) == (
        "Dots: gains: 3 values, from −1.5 (ccg, UDPOS) to +3.3 (mnli, XNLI); "
        "2 intervals exclude zero, 1 above and 1 below it; 1 missing."
    )
    text = plots.alternative_text("", table.iloc[[0, 2]].assign(quantity="gain"), [])
    assert "1 interval excludes zero, 1 above and 0 below it" in text
    assert plots.alternative_text("Score", table.iloc[[2]], ["target"], decimals=2) == "Score: 0.04 (all targets)."
    assert plots.alternative_text("Score", table.iloc[[3]], ["target"]) == "Score: no values; 1 missing."
    record = {"loss": [{"step": 50, "loss": 5.224}, {"step": 1000, "loss": 3.1}]}
    text = plots.training_curve(record, "mnli").get_label()
    assert text == "Line: training loss by step, mnli: from 5.22 at 50 to 3.10 at 1,000."


def test_save_writes_three_files_the_same_each_time_and_changes_no_style(tmp_path):
    table, before = cells(NUMBERS), dict(plt.rcParams)
    for folder in (tmp_path / "a", tmp_path / "b"):
        plots.save(plots.transfer_heatmap(table), table, folder, "heatmap")
        table = pd.read_csv(folder / "heatmap.csv")
    names = ["heatmap.csv", "heatmap.png", "heatmap.svg"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    pd.testing.assert_frame_equal(table, cells(NUMBERS), check_dtype=False)
    assert dict(plt.rcParams) == before


@pytest.fixture
def figure():
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    return figure


def test_a_figure_is_shown_and_saved_with_its_text(figure, tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(plots, "display", pages.append)
    for show in (lambda: plots.show(figure), lambda: plots.save(figure, cells(NUMBERS), tmp_path, "loss")):
        with pytest.raises(ValueError, match="alternative text"):
            show()
    assert not list(tmp_path.iterdir())
    text = 'Loss "of" a < b & ρ'
    figure.set_label(text)
    plots.save(figure, cells(NUMBERS), tmp_path, "loss")
    assert plt.get_fignums() == [], "closed: a notebook would show it again"
    (page,) = pages
    cell = v4.new_code_cell(outputs=[v4.new_output("display_data", {"text/html": page.data})])
    html, _ = HTMLExporter().from_notebook_node(v4.new_notebook(cells=[cell]))
    assert [image["alt"] for image in BeautifulSoup(html, "html.parser").find_all("img")] == [text]
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.text["Description"] == text and picture.text["Title"] == "loss"
        assert f'width="{picture.width // 2}"' in page.data, "two pixels for each of the page's"
    vector = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    assert "<title>loss</title>" in vector and 'Loss "of" a &lt; b &amp; ρ' in vector


# --- fonts ---------------------------------------------------------------------------------------------------


def test_letters_of_the_micro_world_come_with_matplotlib():
    letters = "".join(sorted({letter for pair in LETTERS.values() for part in pair for letter in part}))
    assert len({unicodedata.name(letter).split()[0] for letter in letters}) > 3
    with plt.style.context(plots.STYLE), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")  # is missing from the fonts
        figure, ax = plt.subplots()
        ax.set_title(letters)
        figure.canvas.draw()
    assert ax.title.get_fontfamily() == plots.FONTS


# --- the notebook --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["none", "ccg"])
def test_notebook_runs_on_an_unfinished_study(tmp_path, capsys, absent):
    codes, runs, targets = ["qaa", "qab", "qac", "qad"], RUNS[:3], ["tatoeba", "xquad"]
    small = study(
        tmp_path, intermediate=runs, targets=targets, seeds=2, micro={"languages": codes},
        figures=str(tmp_path / "figures"),
    )  # fmt: skip
    stats = statistics(runs, targets, codes, [1, 2], 20)
    unfinished = (stats["intermediate"] == absent) & ((stats["seed"] == 2) | (absent == "none"))
    write(stats[~unfinished], small.folder)
    run_cells(small)
    printed = capsys.readouterr().out
    if absent == "none":
        assert "missing" in (small.figures_folder / "answer.md").read_text("utf-8")
        assert not (small.figures_folder / "controls.png").exists()
        return
    # Tatoeba lacks the source language: 3 + 4 scores a run and seed, of which one run and seed is missing
    assert "35 of 42 scores are complete" in printed and "published" not in printed
    stems = "answer controls correlations distance effort findings heatmap-mean heatmap-zero-shot"
    stems += " languages-tatoeba languages-xquad macro ranks scores"
    assert sorted({path.stem for path in small.figures_folder.iterdir()}) == stems.split()
    table = pd.read_parquet(tmp_path / "toy/transfer/estimates.parquet")
    gain = table[(table["intermediate"] == "ccg") & (table["target"] == MACRO) & (table["quantity"] == "gain")]
    assert gain["seeds"].tolist() == [1, 1] and gain["value"].notna().all()
