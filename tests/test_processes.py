"""Two processes that part every batch are one process: the same loss curve, all but the same weights."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import test_resume
from xstilts.errors import UserError
from xstilts.features import IGNORED
from xstilts.io import ROOT, read_record
from xstilts.runs import Run
from xstilts.study import load_study
from xstilts.training import multi_gpu
from xstilts.training.batching import part

NAME = test_resume.NAME
RATE = 1e-3


def study_file(folder: Path, count: int, **training) -> Path:
    path = test_resume.study_file(folder)
    values = yaml.safe_load(path.read_text())
    values["name"] = f"by{count}"
    # one masked token a row, few rows: parts without any
    values["training"] |= {"processes": count, "save_minutes": 15} | training
    values["training"]["mix"] |= {"mlm_probability": 0.02, "mlm_share": 0.4}
    values["training"]["target"]["batch_size"] = 7  # parts of unequal size
    values["training"]["intermediate"]["accumulate"] = 40  # steps long enough to be stopped among
    path = folder / f"by{count}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def stop(path: Path) -> int:
    """SIGTERM once phase 2 has saved: it reaches all processes, and all end with one message. After which step."""
    study, process = load_study(path), test_resume.begin(path)
    folder = Run("intermediate", 1, NAME).folder(study)
    while not list(folder.glob("trainer/*/whole.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    assert process.wait() == 2
    step = max(int(marker.parent.name.partition("-")[2]) for marker in folder.glob("trainer/*/whole.json"))
    assert (study.folder / "message").read_text().startswith(f"stopped by SIGTERM after step {step},")
    return step


def test_two_processes_stopped_and_resumed_are_one(tmp_path, server):
    single, parallel = (load_study(study_file(tmp_path, count, save_minutes=0)) for count in (1, 2))
    assert test_resume.in_a_process(single.path) == 0
    step = stop(parallel.path)
    assert test_resume.in_a_process(parallel.path) == 0
    trained = Run("intermediate", 1, NAME).name
    assert read_record(parallel.folder / trained / "training.json")["resumed"] == step
    for name in (f"{trained}/checkpoint", f"{Run('targets', 1, NAME, 'all').name}/models/mnli"):
        folder = name.removesuffix("/checkpoint")
        record, parted = (read_record(study.folder / folder / "training.json") for study in (single, parallel))
        assert record["steps"] == parted["steps"] and record["tokens"] == parted["tokens"]
        losses = [[entry["loss"] for entry in each["loss"]] for each in (record, parted)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5) and len(losses[0]) > 4
        assert parted.get("selection", {}).get("best_step") == record.get("selection", {}).get("best_step")
        weights, others = (load_file(study.folder / name / "model.safetensors") for study in (single, parallel))
        apart = torch.cat([(weights[key] - others[key]).abs().flatten() for key in weights])
        # where a gradient is all but zero, Adam makes a step of its rounding; steps are of RATE
        assert apart.max() < RATE / 10 and apart.quantile(0.99) < RATE / 1000


def test_an_interrupted_cell_ends_its_launcher(tmp_path, monkeypatch):
    """A script in place of accelerate's launcher, which passes SIGTERM on to its trainings. It interrupts the cell."""
    ended, launcher = tmp_path / "ended", tmp_path / "launcher"
    launcher.write_text(
        f"#!/bin/bash\ntrap 'touch {ended}; exit' TERM\nsleep 2\nkill -INT ${multi_gpu.NOTEBOOK}\n"
        "for _ in {1..3000}; do sleep 0.1; done\n"
    )
    launcher.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(launcher))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a kernel
    try:
        with pytest.raises(KeyboardInterrupt):
            multi_gpu.launch(load_study(study_file(tmp_path, 2)), "run", tmp_path, 8)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.is_file()


def test_a_job_has_a_processor_and_on_a_cluster_a_gpu_for_each_process(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", ROOT,
               "--workflow-profile", ROOT / "profiles" / "slurm", "--dry-run", "--cores", "8",
               "--config", f"study={study_file(tmp_path, 3)}"]  # fmt: skip
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    jobs = {job.split(":")[0]: job for job in output.split("\nrule ")[1:]}
    for phase in ("intermediate", "targets"):
        assert "threads: 3" in jobs[phase] and "gpu=3" in jobs[phase]
    assert "gpu" not in jobs["encoder"]


def test_parts_weigh_what_they_hold():
    batch = {
        "input_ids": torch.arange(15).reshape(5, 3),
        "labels": torch.tensor([[1, 1, 1], [IGNORED] * 3, [1, 1, IGNORED], [IGNORED] * 3, [1, IGNORED, IGNORED]]),
    }
    first, second = (part(batch, index, 2) for index in range(2))
    assert first["input_ids"][:, 0].tolist() == [0, 6, 12] and float(first["weight"]) == 2
    assert float(second["weight"]) == 0 and len(second["input_ids"]) == 5  # nothing to learn from in its own
    pairs = {"input_ids": torch.zeros(5, 2, 4), "attention_mask": torch.ones(5, 2, 4)}
    assert [float(part(pairs, index, 2)["weight"]) for index in range(2)] == pytest.approx([1.2, 0.8])
    assert [float(part({"labels": torch.ones(2)}, index, 3)["weight"]) for index in range(3)] == [1.5, 1.5, 0]


@pytest.mark.parametrize(
    ("gpus", "batch", "message"),
    [
        (2, 16, r"training\.processes: 4 processes need a GPU each, and this machine has 2"),
        (8, 3, r"training\.processes: a batch of 3 \(intermediate/mnli/seed1\) cannot be parted over 4 processes"),
    ],
)
def test_what_cannot_be_parted_is_said_before_anything_starts(tmp_path, monkeypatch, gpus, batch, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    study = load_study(study_file(tmp_path, 4))
    with pytest.raises(UserError, match=message):
        multi_gpu.launch(study, "intermediate/mnli/seed1", tmp_path, batch)
