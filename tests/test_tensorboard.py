"""TensorBoard shows what the records hold, each step once, also of a training that was killed and went on."""

import itertools

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import small
from test_resume import Killed, stopped_at
from test_training import PHASE, colours, flat, training_set
from toy import tune
from xstilts.io import read_record
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.study import load_study
from xstilts.training.callbacks import Saves


def curve(folder) -> list[dict]:
    events = EventAccumulator(str(folder)).Reload().Scalars("train/loss")
    return [{"step": event.step, "loss": pytest.approx(event.value, rel=1e-6)} for event in events]


def test_a_training_that_was_killed(checkpoint, tokenizer, tmp_path, monkeypatch):
    sets = [training_set("mnli", colours(20), tokenizer)]
    phase = PHASE.model_copy(update={"steps": 9, "batch_size": 4})

    def train(name):
        calls = itertools.count(1)  # a checkpoint after step 3 alone, so that what follows it is logged twice
        monkeypatch.setattr(Saves, "due", lambda saves: next(calls) == 3)
        return tune(checkpoint, sets, tokenizer, tmp_path / name, phase, curves=tmp_path / "curves")

    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(6, patched)
        train("killed")
    assert len(curve(tmp_path / "curves")) == 6
    model, record = train("killed")
    assert record.pop("resumed") == 3 and len(record["loss"]) == 9
    assert record["loss"] == curve(tmp_path / "curves")
    whole, alone = train("whole")  # begun anew: nothing of the earlier one stays
    assert record["loss"] == curve(tmp_path / "curves")
    assert alone == record and torch.equal(flat(model), flat(whole))


def test_one_parameter_turns_it_on_and_makes_nothing_stale(tmp_path):
    choice = {"targets": ["xnli"]}
    plain = load_study(small.write(tmp_path, "small", **choice))
    training = small.SMALL["training"] | {"tensorboard": True}
    study = load_study(small.write(tmp_path, "small", training=training, **choice))
    before, after = Fingerprints(plain), Fingerprints(study)
    assert [before.of(run) for run in list_runs(plain)] == [after.of(run) for run in list_runs(study)]
    runs = [Run("encoder", 1), Run("intermediate", 1, "mnli"), Run("targets", 1, "mnli", "xnli")]
    small.at_once(study.path, runs)
    encoder, trained, target = (run.folder(study) for run in runs)
    assert _curves(study) == {
        encoder / "tensorboard": read_record(encoder / "training.json")["loss"],
        trained / "tensorboard": read_record(trained / "training.json")["loss"],
        target / "tensorboard" / "mnli": read_record(target / "xnli" / "scored.json")["loss"],
    }


def _curves(study) -> dict:
    return {folder: curve(folder) for folder in {path.parent for path in study.folder.rglob("events.out.*")}}
