"""The sentence, the table and the figure of published numbers beside ours, and the cells that show them."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from comparable import RUNS, estimates, one, whole
from test_figures import overlapping
from xstilts import plots, published, results
from xstilts import published as beside
from xstilts import published as comparison
from xstilts.io import ROOT
from xstilts.published import Setting, compare, shipped
from xstilts.results import MEAN
from xstilts.tasks import get

# --- how it looks --------------------------------------------------------------------------------------------


@pytest.fixture
def style():
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


def some():
    """Compared, spanned, alone and recalled; means and single languages; scores and gains."""
    setting = whole(["xnli", "tatoeba"])
    ours = {(run, "xnli", "score"): 70.0 + number for number, run in enumerate(RUNS)}
    ours |= {("none", "tatoeba", "score"): 33.0, ("mnli", "xnli", "gain"): -1.0}
    unchecked = one(run="mnli", value=0.5, kind="gain", source="a thesis, p. 3", provenance="recalled")
    rows = pd.concat([shipped(), unchecked])
    table = pd.concat([estimates(ours), estimates({("none", "tatoeba", "score"): 28.0}, "af")])
    return comparison.shown(compare(rows, table, setting)), compare(rows, table, setting)


def test_sentence_and_table_carry_every_source():
    shown, found = some()
    text = beside.summary(found, "xlm-roberta-large")
    counts = found["status"].value_counts()
    assert f"{counts['compared']} published numbers are compared with ours" in text and "xlm-roberta-large" in text
    assert "averages other targets" in text and "no score of ours" in text
    table = beside.readable(shown)
    assert len(table) == len(shown) and table["source"].str.len().min() > 3
    assert (table["published"].str.endswith("†") == (shown["provenance"] == "recalled")).all()
    assert (table["source"].str.contains("recalled, not checked") == (shown["provenance"] == "recalled")).all()
    first = table.query("target == 'XNLI' and run == 'none'").iloc[0]
    assert first[["published", "ours", "difference"]].tolist() == ["79.2", "70.0 [69.0, 71.0]", "−9.2"]
    spanned = table.query("target == 'XNLI' and run == 'best'").iloc[0]
    assert spanned[["ours", "difference"]].tolist() == ["70.0 to 75.0 over our runs", "run chosen per target"]
    assert beside.printed(96.15) == "96.15" and beside.printed(80) == "80.0"
    micro = compare(shipped(), estimates({}), Setting(constructed=True))
    line = beside.summary(micro)
    assert line == (
        "No published number has the task, split, metric and language of one of ours (constructed languages)."
    )
    assert beside.readable(comparison.shown(micro)).empty


def test_panel_places_published_and_ours_and_names_sources(style):
    shown, _ = some()
    means = shown[shown["language"] == MEAN]
    figure = beside.published_panel(means)
    assert overlapping(figure) == []
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["XNLI", "Tatoeba", "XNLI, gain"]
    note = figure.get_supxlabel().replace("\n", " ")
    assert all(source in note for source in means["source"].unique() if len(source) < 90)
    assert "† recalled, not checked" in note
    parts = [part for _, part in means.groupby(["kind", "target"], sort=False)]
    for ax, part in zip(figure.axes, parts, strict=True):
        named = {item.get_label(): item for item in ax.collections}
        dots = {name: named[name].get_offsets() for name in ("ours", "published")}
        assert dots["published"][:, 0].tolist() == part["value"].tolist()
        assert dots["ours"][:, 0].tolist() == part["ours"].dropna().tolist()
        lines = [label.get_text() for label in ax.get_yticklabels()]
        assert [line.endswith("†") for line in lines] == (part["provenance"] == "recalled").tolist()
        diamonds = named["published"]
        assert len(diamonds.get_facecolors()) == 0 and to_hex(diamonds.get_edgecolors()[0]) == "#000000"
        shown_differences = [text.get_text() for text in ax.texts]
        assert [text == "–" for text in shown_differences] == part["difference"].isna().tolist()
    low, high = figure.axes[-1].get_xlim()
    assert low < 0 < high, "gains are seen from zero"


def test_panel_of_single_languages(style):
    setting = whole(["tatoeba"])
    tables = [estimates({("none", "tatoeba", "score"): 30.0}, code) for code in get("tatoeba").languages]
    shown = comparison.shown(compare(shipped(), pd.concat(tables), setting))
    part = shown[shown["language"] != MEAN]
    figure = beside.published_panel(part)
    assert overlapping(figure) == [] and figure.get_size_inches()[0] <= 5.5
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(get("tatoeba").languages)


def test_cells_of_the_notebook_on_real_sets(tmp_path, monkeypatch, capsys, style):
    """The cells that compare, as a kernel would run them, on a study of Tatoeba and a typed table of XNLI's gains."""
    ours = {(run, "xnli", "gain"): float(number) for number, run in enumerate(RUNS[1:])}
    ours |= {("none", "tatoeba", "score"): 33.0}
    setting = whole(["xnli", "tatoeba"])
    monkeypatch.setattr(comparison, "setting", lambda study, source, stats: setting)
    typed = tmp_path / "paper.csv"
    lines = [f"{run},xnli,dev,gain,{number},Table 2" for number, run in enumerate(RUNS[1:])]
    typed.write_text("\n".join(["intermediate,target,split,kind,value,source", *lines]), encoding="utf-8")
    study = SimpleNamespace(published=str(typed), path="mine.yaml", encoder=SimpleNamespace(checkpoint="xlmr"))
    codes = get("tatoeba").languages
    tables = [estimates(ours), *(estimates({("none", "tatoeba", "score"): 30.0}, code) for code in codes)]
    space = {"study": study, "source": None, "stats": None, "table": pd.concat(tables), "figures": tmp_path / "figures"}
    space |= {"published": published, "comparison": comparison, "beside": beside, "results": results, "draw": plots}
    space |= {"plt": plt, "np": np}
    notebook = json.loads((ROOT / "notebooks" / "4-transfer.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    chosen = [text for text in code if "published.read" in text or "published_panel" in text]
    assert len(chosen) == 2
    for text in chosen:
        exec(text, space)
    printed = capsys.readouterr().out
    assert "37 published numbers are compared with ours" in printed and "xlmr" in printed
    names = [f"published-{part}.{kind}" for part in ("languages", "scores") for kind in ("csv", "png", "svg")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == names
    for part in ("languages", "scores"):  # no gains: those typed are of another split
        saved = pd.read_csv(tmp_path / "figures" / f"published-{part}.csv")
        assert saved["source"].notna().all() and saved["provenance"].notna().all()
    agreed = space["agreed"].iloc[0]
    assert agreed[["system", "gains", "same_split"]].tolist() == ["paper", 5, 0] and agreed["tau"] > 0.99
