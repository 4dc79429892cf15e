"""The sentence, the table and the figure of published numbers beside ours, and the cells that show them."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from comparable import RUNS, estimates, one, whole
from test_figures import labels, overlapping
from xstilts import plots, published
from xstilts.io import ROOT, write_table
from xstilts.published import Setting, compare, shipped
from xstilts.tasks import get

# --- how it looks --------------------------------------------------------------------------------------------


def some():
    """Compared, spanned, alone and recalled; means and single languages; scores and gains."""
    setting = whole(["xnli", "tatoeba"])
    ours = {(run, "xnli", "score"): 70.0 + number for number, run in enumerate(RUNS)}
    ours |= {("none", "tatoeba", "score"): 33.0, ("mnli", "xnli", "gain"): -1.0}
    unchecked = one(run="mnli", value=0.5, kind="gain", source="a thesis, p. 3", provenance="recalled")
    rows = pd.concat([shipped(), unchecked])
    table = pd.concat([estimates(ours), estimates({("none", "tatoeba", "score"): 28.0}, "af")])
    return published.shown(compare(rows, table, setting)), compare(rows, table, setting)


def test_sentence_and_table_carry_every_source():
    shown, found = some()
    text = published.summary(found, "xlm-roberta-large")
    counts = found["status"].value_counts()
    assert f"{counts['compared']} published numbers are compared with ours" in text and "xlm-roberta-large" in text
    assert "averages other targets" in text and "no score of ours" in text
    table = published.readable(shown)
    assert len(table) == len(shown) and table["source"].str.len().min() > 3
    assert (table["published"].str.endswith("†") == (shown["provenance"] == "recalled")).all()
    assert (table["source"].str.contains("recalled, not checked") == (shown["provenance"] == "recalled")).all()
    first = table.query("target == 'XNLI' and run == 'none'").iloc[0]
    assert first[["published", "ours", "difference"]].tolist() == ["79.2", "70.0 [69.0, 71.0]", "−9.2"]
    spanned = table.query("target == 'XNLI' and run == 'best'").iloc[0]
    assert spanned[["ours", "difference"]].tolist() == ["70.0 to 75.0 over our runs", "run chosen per target"]
    micro = compare(shipped(), estimates({}), Setting(constructed=True))
    line = published.summary(micro)
    assert line == (
        "No published number has the task, split, metric and language of one of ours (constructed languages)."
    )
    assert published.readable(published.shown(micro)).empty


def test_figure_places_published_beside_ours():
    shown, _ = some()
    figure = published.figure(shown)
    assert [ax.get_title("left") for ax in figure.axes] == ["score", "gain"]
    assert overlapping(figure) == []
    lines = labels(figure.axes[0].yaxis)
    assert "XNLI · mnli · S†" in lines and "XNLI · none · XLM-R Large (XTREME)" in lines
    assert len(lines) == len(set(lines)) and "" not in lines
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["published", "ours"]
    plt.close(figure)


def test_cells_of_the_notebook_on_real_sets(tmp_path, monkeypatch, capsys):
    """The cells that compare, as a kernel would run them, on a study of Tatoeba and a typed table of XNLI's gains."""
    ours = {(run, "xnli", "gain"): float(number) for number, run in enumerate(RUNS[1:])}
    ours |= {("none", "tatoeba", "score"): 33.0}
    setting = whole(["xnli", "tatoeba"])
    monkeypatch.setattr(published, "setting", lambda study, source, stats: setting)
    typed = tmp_path / "paper.csv"
    lines = [f"{run},xnli,dev,gain,{number},Table 2" for number, run in enumerate(RUNS[1:])]
    typed.write_text("\n".join(["intermediate,target,split,kind,value,source", *lines]), encoding="utf-8")
    study = SimpleNamespace(published=str(typed), path="mine.yaml", encoder=SimpleNamespace(checkpoint="xlmr"))
    codes = get("tatoeba").languages
    tables = [estimates(ours), *(estimates({("none", "tatoeba", "score"): 30.0}, code) for code in codes)]
    space = {"experiment": study, "source": None, "stats": None, "table": pd.concat(tables)}
    space |= {
        "figure_folder": tmp_path / "figures",
        "published": published,
        "plots": plots,
        "np": np,
        "write_table": write_table,
    }
    notebook = json.loads((ROOT / "notebooks" / "4-transfer.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in code if "published.read" in text]
    exec(cell, space)
    printed = capsys.readouterr().out
    assert "37 published numbers are compared with ours" in printed and "xlmr" in printed
    names = [f"published.{kind}" for kind in ("csv", "png", "svg")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == names
    saved = pd.read_csv(tmp_path / "figures" / "published.csv")
    assert saved["source"].notna().all() and saved["provenance"].notna().all()
