"""The notebook of speed on an encoder and rows so small that only its steps are tested, never its numbers."""

import gc
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import small
from xstilts import phases, speed
from xstilts.features import token_rows
from xstilts.io import ROOT
from xstilts.sources import open_source
from xstilts.study import load_study

TINY = {
    "steps": 2, "scored": 3, "sentences": 200, "doublings": 1, "layers": 1, "width": 32, "heads": 2,
    "vocabulary": 9000, "batch": 4, "threads": 1,
}  # fmt: skip


class Index:
    """What faiss's exact search answers, by numpy."""

    def __init__(self, width):
        self.rows = np.empty((0, width), np.float32)

    def add(self, rows):
        self.rows = np.concatenate([self.rows, rows])

    def search(self, queries, k):
        similar = queries @ self.rows.T
        best = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similar, best, axis=1), best


def normalise(rows):
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def stock():
    """The module beside the notebook, with a stand-in for faiss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "notebooks")
        import stock

        threads = torch.get_num_threads()
        options = {"normalize_L2": normalise, "omp_set_num_threads": print, "__version__": "0"}
        patch.setattr(stock, "faiss", SimpleNamespace(IndexFlatIP=Index, IndexFlatL2=Index, **options))
        yield stock
        torch.set_num_threads(threads)
        del sys.modules["stock"]


@pytest.fixture
def rows(tmp_path):
    """A study of few rows, in all languages."""
    return load_study(small.write(tmp_path, "rows", languages=[]))


def test_the_notebook_measures_both_sides(stock, rows, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    monkeypatch.setattr("xstilts.study.load_study", {"micro": rows}.get)
    gc.freeze()  # what tests import: it would be searched before each measurement
    names = {"display": str}
    for cell in nbformat.read(ROOT / "notebooks" / "10-speed.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= TINY | {"output": str(tmp_path), "figures": str(tmp_path / "figures")}
    gc.unfreeze()
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "figures" / "ratios.csv").set_index(["item", "against"])
    columns = "ours theirs ratio low high goal unit machine".split()
    assert [*table.columns] == columns and table.index.is_unique
    missing = table[table["ratio"].isna()]
    unnamed = ["start of a run", "a run of 3-targets", "whole study"]
    assert [item.partition(" (")[0] for item, _ in missing.index] == unnamed
    assert (table["low"] <= table["high"]).sum() == len(table) - 3 and (table["goal"] > 0).sum() == len(speed.GOALS)
    for kind in ("pairs", "tagging", "spans", "choice"):  # one model, the same text
        assert f"{kind}: 100.0% of the predictions in 8 languages are equal" in printed
    assert "100.00% of 200 mined pairs are equal" in printed and "GPU, and the largest batch: not measured" in printed
    parts = pd.read_csv(tmp_path / "figures" / "profile.csv").set_index("part")
    assert parts.sum().tolist() == pytest.approx([100, 100], abs=0.1)
    assert {"matrix products", "outside operators"} < set(parts.index)
    growth = pd.read_csv(tmp_path / "figures" / "growth.csv")
    assert len(growth) == 12 and growth["exponent"].notna().all()
    pictures = {path.name for path in (tmp_path / "figures").iterdir()} - {"profile.csv"}
    assert pictures == {f"{name}.{ending}" for name in ("ratios", "growth") for ending in ("csv", "png", "svg")}


def test_a_script_trains_and_scores_a_target(stock, tmp_path, capsys):
    path = small.write(tmp_path, "small", targets=["xquad", "tatoeba"], bundle="all")
    study = load_study(path)
    phases.encoder(study, open_source(study), 1)
    checkpoint = str(phases.encoder_of(study, "none", 1))
    for target in study.targets:
        stock.main(str(path), target, checkpoint)
    spans, accuracy = (yaml.safe_load(line) for line in capsys.readouterr().out.splitlines()[-2:])
    assert spans == dict.fromkeys(small.LANGUAGES, 10) and set(accuracy) == set(small.LANGUAGES[1:])


def test_features_of_the_scripts_are_ours_but_for_padding(stock, rows, tmp_path):
    shape = {"layers": 1, "width": 32, "heads": 2, "vocabulary": 10}
    bench = speed.prepare(rows, tmp_path, shape, batch=4, rows=8, scored_rows=4, precision="fp32")
    for kind, rows in bench.training.items():
        ours = bench.training_set(kind, 4).features
        tight, padded = (
            stock.encode(kind, rows, bench.tokenizer, speed.LENGTHS, bench.labels(kind), pad) for pad in (False, True)
        )
        for feature, row, padded_row in zip(ours, tight, padded, strict=False):
            names = {"input_ids", "labels", "start_positions", "end_positions"} & {*feature}
            assert {name: row[name] for name in names} == {name: feature[name] for name in names}, kind
            for ids, filled in zip(*map(token_rows, (row["input_ids"], padded_row["input_ids"])), strict=True):
                assert filled == ids + [bench.tokenizer.pad_token_id] * (getattr(speed.LENGTHS, kind) - len(ids))


def test_ratios_are_of_pairs_and_in_our_favour_above_one():
    calls = []
    runs = {"ours": lambda: calls.append("ours") or len(calls), "stock, padded": lambda: calls.append("stock") or 8.0}
    values = speed.alternate(runs, 3)
    assert calls == ["ours", "stock", "stock", "ours", "ours", "stock"] and values["ours"] == [1, 4, 5]
    (faster,), (less,) = (speed.compare("masked-LM step", unit, values) for unit in ("steps/s", "s"))
    assert (faster["ratio"], faster["low"], faster["high"]) == (0.5, 0.125, 0.625)
    assert (less["ratio"], less["low"], less["high"], less["goal"]) == (2, 1.6, 8, 5)
    (missing,) = speed.compare("mining (9 × 9)", "s", {"ours": [1], speed.FAISS: []})
    assert np.isnan(missing["ratio"]) and missing["goal"] == 1
    rows = speed.compare("fine-tuning, pairs", "examples/s", {"ours": [10], speed.PADDED: [5]})
    rows += speed.compare("arithmetic, pairs", "GFLOP/s", {"ours": [40], speed.MATMUL: [50]})
    goals = speed.goals(pd.DataFrame([*rows, missing]))
    assert goals["met"].tolist() == [False, True], "2 of 8, 0.8 of 0.7"
    assert goals["at the product's rate"].tolist() == [2.5, 1]


def test_steps_and_memory_are_measured(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer, now = torch.optim.SGD([weight], lr=0.1), iter([0, 100, 101, 103])
    monkeypatch.setattr(speed, "clock", lambda: next(now))
    next(now)
    assert speed.step_seconds(lambda: [optimizer.step() for _ in range(3)]) == 1.5, "without the first"
    sides = [speed.peak_memory(lambda size=size: np.ones(size * 2**17).sum() / 2**17) for size in (10, 60)]
    assert [total for total, _ in sides] == [10, 60] and 45 < sides[1][1] - sides[0][1] < 55
