"""Alternative text says what is drawn, its ends, and what is marked; and it reaches the page and the files."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from nbconvert import HTMLExporter
from nbformat import v4
from PIL import Image

from xstilts import plots
from xstilts.results import MACRO


def table():
    return pd.DataFrame(
        {
            "intermediate": ["mnli", "ccg", "qqp", "anli"], "target": ["xnli", "udpos", MACRO, "xnli"],
            "value": [3.26, -1.5, 0.04, np.nan], "low": [1.0, -3.0, -1.0, np.nan], "high": [5.0, -0.1, 1.0, np.nan],
        }
    )  # fmt: skip


def test_ends_and_intervals_by_hand():
    text = plots.alternative_text("Dots: gains", table(), ["intermediate", "target"], signed=True)
    assert text == (
        "Dots: gains: 3 values, from −1.5 (ccg, UDPOS) to +3.3 (mnli, XNLI); "
        "2 intervals exclude zero, 1 above and 1 below it; 1 missing."
    )
    assert "1 interval excludes zero, 1 above and 0 below it" in plots.alternative_text(
        "", table().iloc[[0, 2]], [], signed=True
    )
    one = table().iloc[[2]]
    assert plots.alternative_text("Score", one, ["target"], decimals=2) == "Score: 0.04 (average of all targets)."
    assert plots.alternative_text("Score", table().iloc[[3]], ["target"]) == "Score: no values; 1 missing."
    assert plots.curve_text("Loss", [50, 1000], [5.224, 3.1]) == "Loss: from 5.22 at 50 to 3.10 at 1,000."


def drawn(text):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    figure.set_label(text)
    return figure


def test_a_figure_is_shown_and_saved_with_its_text(tmp_path, monkeypatch):
    pages, before = [], plt.get_fignums()  # tests that draw may have left some
    monkeypatch.setattr(plots, "display", pages.append)
    text = 'Loss "of" a < b & ρ'
    plots.save(drawn(text), table(), tmp_path, "loss")
    plots.show(drawn(text))
    assert plt.get_fignums() == before, "closed: a notebook would show it again"
    cells = [v4.new_code_cell(outputs=[v4.new_output("display_data", {"text/html": one.data})]) for one in pages]
    html, _ = HTMLExporter().from_notebook_node(v4.new_notebook(cells=cells))
    assert [image["alt"] for image in BeautifulSoup(html, "html.parser").find_all("img")] == [text, text]
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.text["Description"] == text and picture.text["Title"] == "loss"
        assert f'width="{picture.width // 2}"' in pages[0].data, "two pixels for each of the page's"
    vector = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    assert "<title>loss</title>" in vector and 'Loss "of" a &lt; b &amp; ρ' in vector


def test_a_figure_without_text_is_neither_shown_nor_saved(tmp_path):
    figure = drawn("")
    with pytest.raises(ValueError, match="alternative text"):
        plots.show(figure)
    with pytest.raises(ValueError, match="alternative text"):
        plots.save(figure, table(), tmp_path, "loss")
    assert not list(tmp_path.iterdir())
    plt.close(figure)
