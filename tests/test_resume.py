"""Killed anywhere, a training goes on from its last checkpoint and ends with the bits of an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import test_pipeline
from test_training import PHASE, Scripted, colours, flat, masked_text, tags, training_set
from toy import tune
from xstilts import warm
from xstilts.runs import Run
from xstilts.settings import AdapterSettings
from xstilts.study import load_study
from xstilts.training import fine_tuning

NAME = "mnli+squad1+mlm"
SIZES = {"train": 60, "dev": 8, "test": 8}
STUDY = test_pipeline.STUDY | {
    "name": "killed",
    "intermediate": ["none", NAME],
    "targets": ["xnli"],
    "keep": "all",
    "micro": {"documents": 400, "languages": ["qaa", "qab"]} | dict.fromkeys(test_pipeline.KINDS, SIZES),
    "encoder": {"pretrain": {"steps": 20, "log_every": 6, "layers": 1, "width": 16, "heads": 2, "feed_forward": 32}},
    "training": {
        "save_minutes": 0,  # at every step
        "intermediate": {"steps": 10, "batch_size": 8, "learning_rate": 0.001, "evaluate_every": 3, "accumulate": 2},
        "target": {"steps": 8, "batch_size": 8, "learning_rate": 0.001},
        "max_length": test_pipeline.STUDY["training"]["max_length"],
        "mix": {"mlm_documents": 40},
    },
}


def begin(path: Path, after: str = "", count: int = 0, number: int = 0) -> warm.Fork:
    arguments = [str(path), after, str(count), str(int(number))]
    return warm.fork("small:whole_study", arguments, os.environ, os.getcwd(), {0: 0, 1: 1, 2: 2})


def in_a_process(path: Path, *arguments) -> int:
    return begin(path, *arguments).wait()


def study_file(folder: Path) -> Path:
    path = folder / "killed.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"runs": str(folder / "runs"), "figures": str(folder / "figures")}))
    return path


def outcome(path: Path) -> tuple[dict[str, bytes], dict[str, dict], pd.DataFrame]:
    """Weights, records and statistics."""
    folder = load_study(path).folder
    weights = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.safetensors")}
    records = {str(file.relative_to(folder)): json.loads(file.read_text()) for file in folder.rglob("training.json")}
    for record in records.values():
        record.pop("resumed", None), record.pop("seconds", None)
    (stats,) = folder.glob("targets/*/all/seed1/stats.parquet")
    return weights, records, pd.read_parquet(stats)


KILL, TERM = signal.SIGKILL, signal.SIGTERM
TRAINER = "xstilts.training.fine_tuning:MixtureTrainer"
POINTS = [  # call, how often, signal, the step that the next process goes on after, and whose
    ("xstilts.training.pretraining.mask", 9, KILL, "encoder/seed1", 8),
    ("xstilts.training.pretraining.mask", 15, TERM, "encoder/seed1", 15),
    ("xstilts.training.callbacks.write_record", 3, KILL, "encoder/seed1", 17),  # while a checkpoint is written
    ("xstilts.training.pretraining.written_whole", 1, KILL, "encoder/seed1", 20),  # as the encoder is written
    (f"{TRAINER}.training_step", 5, KILL, f"intermediate/{NAME}/seed1", 2),  # two batches a step
    (f"{TRAINER}.evaluate", 1, KILL, f"intermediate/{NAME}/seed1", 2),
    (f"{TRAINER}.save_model", 2, TERM, f"intermediate/{NAME}/seed1", 5),  # as step 4 is saved
    ("xstilts.phases:Training._score_dev", 7, KILL, f"intermediate/{NAME}/seed1", 10),
    (f"{TRAINER}.training_step", 4, KILL, "targets", 3),
    (f"{TRAINER}.training_step", 2, TERM, "targets", 5),
    ("xstilts.phases.predict", 1, KILL, "", 0),
    ("pyarrow.parquet:ParquetWriter.write_table", 2, KILL, "", 0),  # a table is written, the one beside it is not
]


def test_killed_anywhere_a_study_ends_with_the_same_bits(tmp_path, server):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = study_file(tmp_path / "whole"), study_file(tmp_path / "killed")
    assert in_a_process(whole) == 0
    folder = load_study(killed).folder
    for after, count, number, run, step in POINTS:
        code = in_a_process(killed, after, count, number)
        assert code == (2 if number == TERM else -KILL), (after, count)
        if number == TERM:
            assert f"stopped by SIGTERM after step {step}" in (folder / "message").read_text()
        steps = [int(path.parent.name.partition("-")[2]) for path in (folder / run).rglob("whole.json")]
        assert not step or max(steps) == step, (after, count)
    assert in_a_process(killed) == 0
    weights, records, stats = outcome(killed)
    expected = outcome(whole)
    assert weights == expected[0] and len(weights) == 3
    assert records == expected[1] and len(records) == 3
    pd.testing.assert_frame_equal(stats, expected[2])
    resumed = [json.loads(path.read_text())["resumed"] for path in folder.rglob("training.json")]
    assert sorted(resumed) == [5, 10, 20]
    assert not list(folder.rglob("checkpoint-*"))


class Killed(Exception):
    pass


def stopped_at(step: int, monkeypatch) -> None:
    """The next training ends in the middle of the step after ``step``."""
    plain = fine_tuning.MixtureTrainer.training_step

    def dies(self, *arguments):
        if self.state.global_step == step:
            raise Killed
        return plain(self, *arguments)

    monkeypatch.setattr(fine_tuning.MixtureTrainer, "training_step", dies)


@pytest.fixture
def resumed(tmp_path, tokenizer, monkeypatch):
    """Compares a training that dies after ``step``, begun again, with an uninterrupted one; returns its record."""

    def check(
        encoder, sets, phase, step, scores=(), harm=lambda checkpoint: None, fingerprint="a", anew=False, adapter=None
    ):
        def train(name, scores, **saves):
            development, saves = Scripted(*scores), {"minutes": 0, "adapter": adapter} | saves
            return tune(encoder, sets, tokenizer, tmp_path / name, phase, development, **saves)

        whole, alone = train("whole", scores)
        with monkeypatch.context() as patched, pytest.raises(Killed):
            stopped_at(step, patched)
            train("killed", scores)
        harm(tmp_path / "killed" / f"checkpoint-{step}")
        evaluated = step // phase.evaluate_every if phase.evaluate_every and not anew else 0
        model, record = train("killed", scores[evaluated:], fingerprint=fingerprint)
        assert record.pop("resumed", None) == (None if anew else step)
        assert record == alone and torch.equal(flat(model), flat(whole))
        return record

    return check


@pytest.mark.parametrize("adapter", [None, AdapterSettings(rank=2, dropout=0.3)])
def test_dropout_best_weights_and_patience_go_on(resumed, dropout, tokenizer, adapter):
    """Step 2 is the best; killed two evaluations later, the third without a better one still ends the training."""
    sets = [training_set("mnli", colours(20), tokenizer), training_set("udpos", tags(40), tokenizer)]
    phase = PHASE.model_copy(update={"steps": 30, "batch_size": 4, "evaluate_every": 2, "patience": 3})
    scores = [{"mnli": score, "udpos": score} for score in (50, 40, 30, 20)]
    record = resumed(dropout, sets, phase, 7, scores, adapter=adapter)
    assert record["steps"] == 8 and record["selection"]["best_step"] == 2


def test_what_was_saved_on_a_gpu_goes_on_without_one(resumed, checkpoint, tokenizer, monkeypatch):
    """Single numbers, the loss among them, are marked as of a GPU."""
    sets, phase = [training_set("mnli", colours(20), tokenizer)], PHASE.model_copy(update={"steps": 5, "batch_size": 4})
    tag = torch.serialization.location_tag

    def location(storage):
        return "cuda:0" if storage.nbytes() == 4 else tag(storage)

    monkeypatch.setattr(torch.serialization, "location_tag", location)
    resumed(checkpoint, sets, phase, 3)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


BEST = "../checkpoint-2/model.safetensors"


@pytest.mark.parametrize(
    ("name", "harm", "fingerprint"),
    [
        *((name, halve, "a") for name in ("optimizer.pt", "model.safetensors", "whole.json")),
        *((name, Path.unlink, "a") for name in ("rng_state.pth", "whole.json", BEST)),
        ("", Path.exists, "b"),  # unharmed
    ],
)
def test_what_is_not_whole_or_not_of_this_training_is_passed_over(
    resumed, checkpoint, tokenizer, name, harm, fingerprint
):
    sets = [training_set("mnli", colours(20), tokenizer), masked_text(20, tokenizer)]
    phase = PHASE.model_copy(update={"steps": 5, "batch_size": 4, "evaluate_every": 2})
    scores = [{"mnli": score} for score in (50, 40, 30)]
    resumed(checkpoint, sets, phase, 3, scores, lambda folder: harm(folder / name), fingerprint, anew=True)


def test_a_short_training_saves_nothing(checkpoint, tokenizer, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    sets = [training_set("mnli", colours(20), tokenizer)]
    tune(checkpoint, sets, tokenizer, tmp_path / "trainer", PHASE.model_copy(update={"steps": 3}))
    assert not list(tmp_path.glob("trainer/*")) and signal.getsignal(signal.SIGTERM) is before


def test_a_job_told_to_end_saves_and_says_so(tmp_path, server):
    """As Slurm or Kubernetes do it: SIGTERM to the job, which the notebook's kernel must hear of."""
    path = study_file(tmp_path)
    values = yaml.safe_load(path.read_text())
    values["encoder"]["pretrain"]["steps"] = 3000
    values["training"]["save_minutes"] = 0.003
    path.write_text(yaml.safe_dump(values))
    run, study = Run("encoder", 1), load_study(path)
    command = [sys.executable, "-m", "xstilts", "run", str(path), run.name]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    folder = run.folder(study)
    while not list(folder.glob("trainer/*/whole.json")):
        assert job.poll() is None, job.stdout.read()
        time.sleep(0.05)
    job.terminate()
    output, _ = job.communicate()
    assert job.returncode != 0 and "stopped by SIGTERM after step" in output
    (marker,) = folder.glob("trainer/*/whole.json")
    assert f"after step {marker.parent.name.partition('-')[2]}," in output and not (folder / "run.json").exists()
