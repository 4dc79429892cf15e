"""Encoders that nobody waits for any more can go as the study does: neither missed nor trained for nothing."""

from pathlib import Path

import pytest

from small import at_once, every_run, prove, results, write
from xstilts.io import read_record, write_record
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


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A study of two bundles, everything of `mnli` done but one target: (study, scores the other)."""
    monkeypatch.setattr("xstilts.runs.notebook_hash", lambda path: None)

    def build(**changes):
        return load_study(write(tmp_path, "made-up", **CHANGES | changes, targets=["tatoeba", "xnli"]))

    here = build()
    fingerprints = Fingerprints(here)
    (MNLI.folder(here) / "checkpoint").mkdir(parents=True)
    write_record(MNLI.folder(here) / "run.json", {"fingerprint": fingerprints.of(MNLI), "notebook": None})

    def score(target):
        run = Run("targets", 1, "mnli", target)
        record = {"fingerprint": fingerprints.target_run(run, TargetRun(get(target)))}
        write_record(run.folder(here) / target / "scored.json", record)

    score("tatoeba")
    return build, score


@pytest.mark.parametrize("keep, stays", [("all", True), ("encoders", True), ("pretrained", False)])
def test_it_goes_after_its_last_target_and_where_the_study_says_so(scored, keep, stays):
    build, score = scored
    here = build(keep=keep)
    fingerprints, folder = Fingerprints(here), MNLI.folder(here)
    remove_encoder(MNLI, fingerprints)
    assert (folder / "checkpoint").is_dir()  # xnli waits for it
    score("xnli")
    (folder / ".checkpoint.removed" / "half").mkdir(parents=True)  # killed before it was gone
    remove_encoder(MNLI, fingerprints)
    remove_encoder(MNLI, fingerprints)  # as two last bundles at once do
    assert (folder / "checkpoint").is_dir() == stays and stays != (not list(folder.glob(".checkpoint.*")))
    assert state(here, MNLI, fingerprints) == "done"


def test_a_missing_encoder_is_stale_as_long_as_a_target_waits(scored):
    build, score = scored
    here = build()
    score("xnli")
    remove_encoder(MNLI, Fingerprints(here))
    slower = here.training.model_dump() | {"target": here.training.target.model_dump() | {"learning_rate": 1e-4}}
    changed = build(training=slower)  # fine-tuning differs: xnli waits again, retrieval does not
    assert state(changed, MNLI, Fingerprints(changed)) == "stale"
    retrieval = build(training=slower).model_copy(update={"targets": ("tatoeba",)})
    assert state(retrieval, MNLI, Fingerprints(retrieval)) == "done"
    assert read_record(MNLI.folder(here) / "run.json") and MNLI in list_runs(here)
