"""TensorBoard shows what the records hold, each step once, also of a training that was killed and went on."""

import pytest
import torch
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoTokenizer

import small
from test_pretraining import SMALL
from test_resume import Killed, stopped_at
from test_training import PHASE, WORDS, colours, training_set
from toy import build_checkpoint
from xstilts import phases
from xstilts.io import read_record
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.settings import MixSettings
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.training import fine_tuning, pretraining
from xstilts.training.callbacks import Saves


class SavedOnce(Saves):
    """A checkpoint after one step alone: what is logged after it and before the end is logged twice."""

    step = 0

    def due(self) -> bool:
        self.step += 1
        return self.step == 3


def curve(folder) -> list[dict]:
    found = EventAccumulator(str(folder)).Reload().Scalars("train/loss")
    return [{"step": event.step, "loss": pytest.approx(event.value, rel=1e-6)} for event in found]


def test_a_training_that_was_killed(tmp_path, monkeypatch):
    checkpoint = build_checkpoint(tmp_path / "checkpoint", [" ".join(WORDS)] * 20)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    sets = [training_set("mnli", colours(20), tokenizer)]
    phase = PHASE.model_copy(update={"steps": 9, "batch_size": 4})

    def tune(name):
        saves = SavedOnce(tmp_path / name, "a", minutes=1e9)
        curves = tmp_path / f"{name}-curves"
        return fine_tuning.fine_tune(
            checkpoint, sets, tokenizer, phase, MixSettings(), 1, tmp_path / name, None, saves, curves
        )

    with monkeypatch.context() as patched, pytest.raises(Killed):
        stopped_at(6, patched)
        tune("killed")
    assert len(curve(tmp_path / "killed-curves")) == 6
    model, record = tune("killed")
    assert record["resumed"] == 3 and len(record["loss"]) == 9
    assert record["loss"] == curve(tmp_path / "killed-curves")
    plain, alone = fine_tuning.fine_tune(checkpoint, sets, tokenizer, phase, MixSettings(), 1, tmp_path / "whole")
    assert alone["loss"] == record["loss"]
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), plain.parameters(), strict=True))
    tune("killed")  # begun anew: nothing of the earlier one stays
    assert record["loss"] == curve(tmp_path / "killed-curves")


def test_a_pretraining_that_was_killed(tmp_path, monkeypatch):
    texts = Dataset.from_dict({"text": ["a cat sees a dog", "the dog sees a cat here", "there a cat sleeps"] * 30})
    settings = SMALL.model_copy(update={"steps": 10, "log_every": 1, "batch_tokens": 64})
    plain, calls = pretraining.check_loss, []

    def dies(*arguments):
        calls.append(None)
        if len(calls) == 7:
            raise Killed
        plain(*arguments)

    def made():
        saves = SavedOnce(tmp_path / "trainer", "a", minutes=1e9)
        return pretraining.pretrain(texts, tmp_path / "encoder", settings, 1, 1, saves, tmp_path / "curves")

    monkeypatch.setattr(pretraining, "check_loss", dies)
    with pytest.raises(Killed):
        made()
    assert len(curve(tmp_path / "curves")) == 6
    record = made()
    assert record["resumed"] == 3 and record["loss"] == curve(tmp_path / "curves") and len(record["loss"]) == 10


def test_one_parameter_turns_it_on_and_makes_nothing_stale(tmp_path):
    choice = {"targets": ["xnli"]}
    plain = load_study(small.write(tmp_path, "small", **choice))
    assert _curves(plain) == {}
    study = load_study(
        small.write(tmp_path, "small", training=small.SMALL["training"] | {"tensorboard": True}, **choice)
    )
    before, after = Fingerprints(plain), Fingerprints(study)
    assert [before.of(run) for run in list_runs(plain)] == [after.of(run) for run in list_runs(study)]
    source = open_source(study)
    phases.encoder(study, source, 1)
    phases.intermediate(study, source, "mnli", 1)
    list(phases.targets(study, source, "mnli", "xnli", 1))
    encoder, trained = Run("encoder", 1).folder(study), Run("intermediate", 1, "mnli").folder(study)
    target = Run("targets", 1, "mnli", "xnli").folder(study)
    assert _curves(study) == {
        encoder / "tensorboard": read_record(encoder / "training.json")["loss"],
        trained / "tensorboard": read_record(trained / "training.json")["loss"],
        target / "tensorboard" / "mnli": read_record(target / "xnli" / "scored.json")["loss"],
    }


def _curves(study) -> dict:
    return {folder: curve(folder) for folder in {path.parent for path in study.folder.rglob("events.out.*")}}
