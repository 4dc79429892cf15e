"""How much was run, from made-up records of finished runs."""

import numpy as np

from synthetic import study
from xstilts import results, runs, summaries
from xstilts.io import write_record
from xstilts.sources import open_source


def test_runs_data_and_time_add_up(tmp_path):
    toy = study(tmp_path, targets=["xquad", "mlqa", "tatoeba"], seeds=2, training={"processes": 2})
    trained = {"tokens": 7, "steps": 3, "examples": {"squad1": 30}}
    training = {"steps": 5, "documents": 9}
    records = {
        "encoder/seed1/run.json": {"seconds": 1800, "threads": 2, "training": training | {"tokens": 100}},
        "encoder/seed2/run.json": {"seconds": 1800, "threads": 2, "training": training | {"tokens": 50}},
        "targets/none/all/seed1/run.json": {"seconds": 36, "threads": 1, "training": {}},
        "targets/none/all/seed1/xquad/scored.json": trained,
        "targets/none/all/seed1/mlqa/scored.json": trained,
    }
    for name, record in records.items():
        (toy.folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_record(toy.folder / name, record)
    table = results.effort(toy, open_source(toy)).set_index("phase")
    counts = ["runs", "seeds", "examples", "steps", "tokens"]
    assert table.loc["encoder", counts].tolist() == [2, 2, 18, 10, 150]
    assert table.loc["targets", counts].tolist() == [1, 1, 30, 3, 7], "XQuAD and MLQA share one training"
    assert table.loc["total", counts].tolist() == [3, 2, 48, 13, 157]
    assert np.allclose(table["hours"], [1.0, 0.01, 1.01]) and np.allclose(table["core_hours"], [2.0, 0.02, 2.02])
    shown = summaries.readable_effort(table.reset_index())
    assert list(shown.columns) == ["runs", "seeds", "examples", "steps", "tokens", "hours", "core_hours"]
    assert shown.loc["total", "core_hours"] == "2.02"
    record = {"seconds": 3600, "threads": 8, "gpu": "NVIDIA H100", "training": {}}
    write_record(toy.folder / "targets/none/all/seed1/run.json", record)
    table = results.effort(toy, open_source(toy)).set_index("phase")
    assert table.loc["targets", ["gpu_hours", "core_hours", "gpu"]].tolist() == [2.0, 0.0, "NVIDIA H100"]
    assert table.loc["total", ["gpu_hours", "core_hours"]].tolist() == [2.0, 2.0]
    assert summaries.readable_effort(table.reset_index()).loc["encoder", ["gpu_hours", "gpu"]].tolist() == ["0.00", ""]


def test_a_record_names_the_first_gpu_that_is_visible(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "GPU of $3"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert runs.provenance()["gpu"] == "GPU of --id=3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert runs.provenance()["gpu"] == ""
