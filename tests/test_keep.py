"""Encoders that nobody waits for any more can go as the study does: neither missed nor trained for nothing."""

from pathlib import Path

import pytest

from small import at_once, every_run, prove, results, write
from xstilts.io import write_record
from xstilts.runs import Fingerprints, Run, list_runs, remove_encoder, state
from xstilts.study import load_study
from xstilts.target_runs import TargetRun
from xstilts.tasks import get
from xstilts.workflow import discard_stale

MNLI = Run("intermediate", 1, "mnli")
CHANGES = {"intermediate": ["none", "mnli"], "bundle": "each", "keep": "pretrained", "languages": []}


def again(path: Path) -> set[str]:
    """What ``make study`` would do."""
    return {run.name for run in discard_stale(load_study(path))}


def test_an_encoder_goes_when_scored_and_is_made_again_only_for_a_further_target(tmp_path):
    path = write(tmp_path, "lean", **CHANGES, targets=["tatoeba"])
    every_run(path)
    before, study = results(path), load_study(path)
    folder = MNLI.folder(study)
    assert again(path) == set() and not list(folder.glob("*checkpoint*")) and (folder / "training.json").is_file()
    assert (Run("encoder", 1).folder(study) / "checkpoint").is_dir()

    # killed between the removal of the encoder and run.json: nothing is trained again
    trained = (folder / "training.json").stat().st_mtime_ns
    (Run("targets", 1, "mnli", "tatoeba").folder(study) / "run.json").unlink()
    assert again(path) == {"targets/mnli/tatoeba/seed1"}
    assert at_once(path, [Run("targets", 1, "mnli", "tatoeba")]).equals(before)
    assert (folder / "training.json").stat().st_mtime_ns == trained
    prove(study, list_runs(study))

    path = write(tmp_path, "lean", **CHANGES, targets=["tatoeba", "xnli"])
    assert again(path) == {MNLI.name, "targets/none/xnli/seed1", "targets/mnli/xnli/seed1", "transfer"}
    every_run(path)
    assert (folder / "training.json").stat().st_mtime_ns > trained and not list(folder.glob("*checkpoint*"))
    after = results(path)
    assert again(path) == set() and after[after["target"] == "tatoeba"].reset_index(drop=True).equals(before)


@pytest.mark.parametrize("keep, stays", [("all", True), ("encoders", True), ("pretrained", False)])
def test_it_goes_after_its_last_target_and_where_the_study_says_so(tmp_path, monkeypatch, keep, stays):
    monkeypatch.setattr("xstilts.runs.notebook_hash", lambda path: None)
    study = load_study(write(tmp_path, "made-up", **CHANGES | {"keep": keep}, targets=["tatoeba", "xnli"]))
    fingerprints, folder = Fingerprints(study), MNLI.folder(study)
    (folder / "checkpoint").mkdir(parents=True)
    write_record(folder / "run.json", {"fingerprint": fingerprints.of(MNLI), "notebook": None})
    for target in ("tatoeba", "xnli"):
        remove_encoder(MNLI, fingerprints)
        assert (folder / "checkpoint").is_dir()  # a target waits for it
        run = Run("targets", 1, "mnli", target)
        record = {"fingerprint": fingerprints.target_run(run, TargetRun(get(target)))}
        write_record(run.folder(study) / target / "scored.json", record)
    (folder / ".checkpoint.removed" / "half").mkdir(parents=True)  # killed before it was gone
    remove_encoder(MNLI, fingerprints)
    remove_encoder(MNLI, fingerprints)  # as two last bundles at once do
    assert (folder / "checkpoint").is_dir() == stays and stays != (not list(folder.glob(".checkpoint.*")))
    assert state(study, MNLI, fingerprints) == "done"
