"""Killed anywhere, a training goes on from its last checkpoint and ends with the bits of an uninterrupted one."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from pyarrow.parquet import ParquetWriter
from transformers import AutoTokenizer

import test_pipeline
from test_training import PHASE, WORDS, Scripted, colours, encode_text, flat, tags, training_set
from toy import build_checkpoint
from xstilts import phases
from xstilts.errors import UserError
from xstilts.runs import Run, list_runs
from xstilts.settings import MixSettings
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.training import callbacks as resuming
from xstilts.training import dual_encoder as dual
from xstilts.training import fine_tuning, pretraining
from xstilts.training.batching import TrainingSet
from xstilts.training.callbacks import Saves

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

OWNERS = {
    "pretraining": pretraining,
    "resuming": resuming,
    "training": fine_tuning.MixtureTrainer,
    "phases": phases,
    "study_training": phases.Training,
    "parquet": ParquetWriter,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("encoder") / "checkpoint", [" ".join(WORDS)] * 20)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


def whole_study(path: Path, after: str = "", count: int = 0, number: int = 0) -> None:
    """All phases, as the notebooks call them. The signal ``number`` comes in the ``count``-th call of ``after``."""
    if after:
        module, name = after.split(".")
        owner = OWNERS[module]
        plain, calls = getattr(owner, name), []

        def counted(*arguments, **options):
            calls.append(None)
            if len(calls) == count:
                os.kill(os.getpid(), number)
            return plain(*arguments, **options)

        setattr(owner, name, counted)
    torch.set_num_threads(1)
    study = load_study(path)
    source = open_source(study)
    try:
        phases.encoder(study, source, 1)
        phases.intermediate(study, source, NAME, 1)
        for _ in phases.targets(study, source, NAME, "all", 1):
            pass
    except UserError as error:
        (study.folder / "said").write_text(str(error))
        sys.exit(2)


def in_a_process(path: Path, *arguments) -> int:
    context = multiprocessing.get_context("forkserver")  # imports once, with no thread of this process
    context.set_forkserver_preload(["test_resume"])
    process = context.Process(target=whole_study, args=(path, *arguments))
    process.start()
    process.join()
    return process.exitcode


def study_file(folder: Path) -> Path:
    path = folder / "killed.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"runs": str(folder / "runs"), "figures": str(folder / "figures")}))
    return path


def outcome(path: Path) -> tuple[dict[str, bytes], dict[str, dict], pd.DataFrame]:
    """Weights, records and statistics."""
    folder = load_study(path).folder
    weights = {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*.safetensors"))}
    records = {str(one.relative_to(folder)): json.loads(one.read_text()) for one in folder.rglob("training.json")}
    for record in records.values():
        record.pop("resumed", None), record.pop("seconds", None)
    (stats,) = folder.glob("targets/*/all/seed1/stats.parquet")
    return weights, records, pd.read_parquet(stats)


KILL, TERM = signal.SIGKILL, signal.SIGTERM
POINTS = [  # call, how often, signal, the step that the next process goes on after, and where
    ("pretraining.mask", 9, KILL, "encoder/seed1", 8),
    ("pretraining.mask", 15, TERM, "encoder/seed1", 15),
    ("resuming.write_record", 3, KILL, "encoder/seed1", 17),  # while a checkpoint is written
    ("pretraining.written_whole", 1, KILL, "encoder/seed1", 20),  # as the encoder is written
    ("training.training_step", 5, KILL, f"intermediate/{NAME}/seed1", 2),  # two batches a step
    ("training.evaluate", 1, KILL, f"intermediate/{NAME}/seed1", 2),
    ("training.save_model", 3, TERM, f"intermediate/{NAME}/seed1", 5),  # as step 4 is saved
    ("study_training._predict", 7, KILL, f"intermediate/{NAME}/seed1", 10),
    ("training.training_step", 4, KILL, "targets", 3),
    ("training.training_step", 2, TERM, "targets", 5),
    ("phases.predict", 1, KILL, "", 0),
    ("parquet.write_table", 2, KILL, "", 0),  # a table is written, the one beside it is not
]


def test_killed_anywhere_a_study_ends_with_the_same_bits(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = study_file(tmp_path / "whole"), study_file(tmp_path / "killed")
    assert in_a_process(whole) == 0
    folder = load_study(killed).folder
    for after, count, number, place, step in POINTS:
        code = in_a_process(killed, after, count, number)
        assert code == (2 if number == TERM else -KILL), (after, count)
        if number == TERM:
            assert f"stopped by SIGTERM after step {step}" in (folder / "said").read_text()
        kept = sorted(one.name for one in (folder / place).rglob("resume-*"))
        assert not step or kept == [f"resume-{step}"], (after, count)
    assert in_a_process(killed) == 0
    weights, records, stats = outcome(killed)
    expected = outcome(whole)
    assert weights == expected[0] and len(weights) == 3
    assert records == expected[1] and len(records) == 3
    pd.testing.assert_frame_equal(stats, expected[2])
    resumed = {
        str(one.relative_to(folder)): json.loads(one.read_text())["resumed"] for one in folder.rglob("training.json")
    }
    assert sorted(resumed.values()) == [5, 10, 20]
    assert not list(folder.rglob("resume-*"))


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


def tune(place, sets, tokens, folder, phase, development=None, fingerprint="a"):
    saves = Saves(folder, fingerprint, minutes=0)
    return fine_tuning.fine_tune(place, sets, tokens, phase, MixSettings(), 1, folder, development, saves)


@pytest.fixture
def dropping(checkpoint, tmp_path):
    """An encoder whose training draws random numbers at every step."""
    folder = shutil.copytree(checkpoint, tmp_path / "dropping")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.2}))
    return folder


def test_dropout_best_weights_and_patience_go_on(dropping, tokenizer, tmp_path, monkeypatch):
    """Step 2 is the best; killed two evaluations later, the third without a better one still ends the training."""
    sets = [training_set("mnli", colours(20), tokenizer), training_set("udpos", tags(40), tokenizer)]
    phase = PHASE.model_copy(update={"steps": 30, "batch_size": 4, "evaluate_every": 2, "patience": 3})
    scores = [{"mnli": score, "udpos": score} for score in (50, 40, 30, 20)]
    expected, alone = tune(dropping, sets, tokenizer, tmp_path / "whole", phase, Scripted(*scores))
    assert alone["steps"] == 8 and "resumed" not in alone
    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(7, patched)
        tune(dropping, sets, tokenizer, tmp_path / "killed", phase, Scripted(*scores[:3]))
    shutil.rmtree(tmp_path / "killed" / "checkpoint-2")  # as if a better one had replaced it
    model, record = tune(dropping, sets, tokenizer, tmp_path / "killed", phase, Scripted(*scores[3:]))
    assert record.pop("resumed") == 7 and record == alone
    assert record["selection"]["best_step"] == 2 and torch.equal(flat(model), flat(expected))


def test_what_was_saved_on_a_gpu_goes_on_without_one(checkpoint, tokenizer, tmp_path, monkeypatch):
    """Single numbers, the loss among them, are marked as of a GPU."""
    sets, phase = [training_set("mnli", colours(20), tokenizer)], PHASE.model_copy(update={"steps": 5, "batch_size": 4})
    expected, alone = tune(checkpoint, sets, tokenizer, tmp_path / "whole", phase)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(3, patched)
        patched.setattr(torch.serialization, "location_tag", lambda one: "cuda:0" if one.nbytes() == 4 else "cpu")
        tune(checkpoint, sets, tokenizer, tmp_path / "killed", phase)
    model, record = tune(checkpoint, sets, tokenizer, tmp_path / "killed", phase)
    assert record.pop("resumed") == 3 and record == alone and torch.equal(flat(model), flat(expected))


def test_a_dual_encoder_goes_on(dropping, tokenizer, tmp_path, monkeypatch):
    rows = [{"input_ids": [[0, 5 + i % 7, 2], [0, 6 + i % 5, 7, 2]], "example": i} for i in range(40)]
    sets = [TrainingSet("squad1", "dual", rows)]
    assert fine_tuning.HEADS["dual"] is dual.DualEncoder
    phase = PHASE.model_copy(update={"steps": 6, "batch_size": 4, "accumulate": 2})
    expected, alone = tune(dropping, sets, tokenizer, tmp_path / "whole", phase)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(3, patched)
        tune(dropping, sets, tokenizer, tmp_path / "killed", phase)
    model, record = tune(dropping, sets, tokenizer, tmp_path / "killed", phase)
    assert record.pop("resumed") == 3 and record == alone and torch.equal(flat(model), flat(expected))


@pytest.mark.parametrize("harm", ["optimizer.pt", "model.safetensors", "whole.json", "missing", "stale", "unnamed"])
def test_what_is_not_whole_or_not_of_this_training_is_passed_over(
    checkpoint,
    tokenizer,
    tmp_path,
    monkeypatch,
    harm,
):
    sets = [
        training_set("mnli", colours(20), tokenizer),
        TrainingSet("mlm", "text", encode_text([" ".join(WORDS)] * 20, tokenizer, 32)),
    ]
    phase = PHASE.model_copy(update={"steps": 5, "batch_size": 4})
    expected, alone = tune(checkpoint, sets, tokenizer, tmp_path / "whole", phase)
    folder = tmp_path / "killed"
    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(3, patched)
        tune(checkpoint, sets, tokenizer, folder, phase)
    (place,) = folder.glob("resume-*")
    assert place.name == "resume-3"
    if harm == "missing":
        next(place.rglob("rng_state.pth")).unlink()
    elif harm == "unnamed":  # killed before the rename
        place.rename(folder / ".resume-3.4711")
    elif harm != "stale":
        victim = next(place.rglob(harm))
        os.truncate(victim, victim.stat().st_size // 2)
    changed = "b" if harm == "stale" else "a"
    model, record = tune(checkpoint, sets, tokenizer, folder, phase, fingerprint=changed)
    assert record == alone and torch.equal(flat(model), flat(expected))
    assert [one.name for one in folder.iterdir()] == ["resume-5"]


def test_a_short_training_saves_nothing(checkpoint, tokenizer, tmp_path):
    saves = Saves(tmp_path / "here", "a", minutes=15)
    phase = PHASE.model_copy(update={"steps": 3})
    before = signal.getsignal(signal.SIGTERM)
    item = training_set("mnli", colours(20), tokenizer)
    fine_tuning.fine_tune(checkpoint, [item], tokenizer, phase, MixSettings(), 1, tmp_path / "here", None, saves)
    assert not list((tmp_path / "here").glob("*")) and signal.getsignal(signal.SIGTERM) is before


def test_a_job_told_to_end_saves_and_says_so(tmp_path):
    """As Slurm or Kubernetes do it: SIGTERM to the job, which the notebook's kernel must hear of."""
    path = study_file(tmp_path)
    values = yaml.safe_load(path.read_text())
    values["encoder"]["pretrain"]["steps"] = 3000
    values["training"]["save_minutes"] = 0.003
    path.write_text(yaml.safe_dump(values))
    run, study = Run("encoder", 1), load_study(path)
    assert run in list_runs(study)
    command = [sys.executable, "-m", "xstilts", "run", str(path), run.name]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    folder = run.folder(study)
    while not list(folder.glob("trainer/resume-*")):
        assert job.poll() is None, job.stdout.read()
        time.sleep(0.05)
    job.terminate()
    said, _ = job.communicate()
    assert job.returncode != 0 and "stopped by SIGTERM after step" in said
    (place,) = folder.glob("trainer/resume-*")
    assert f"after step {place.name.partition('-')[2]}," in said and not (folder / "run.json").exists()
