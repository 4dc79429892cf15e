"""Encoders that nobody waits for any more can go as the study does: neither missed nor trained for nothing."""

import subprocess
from pathlib import Path

import pytest

from small import every_run, results, write
from test_pipeline import command, proofs
from xstilts.io import read_record, write_record
from xstilts.runs import Fingerprints, Run, list_runs, remove_encoder, state
from xstilts.study import load_study
from xstilts.target_runs import TargetRun
from xstilts.tasks import get

MNLI = Run("intermediate", 1, "mnli")
CHANGES = {"intermediate": ["none", "mnli"], "bundle": "each", "keep": "pretrained", "languages": []}


def study(path: Path) -> list[str]:
    """Names of the runs that the command did, in order."""
    before = proofs(path)
    done = subprocess.run([*command(path), "--cores", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    new = {name: when for name, when in proofs(path).items() if before.get(name) != when}
    assert bool(new) != ("nothing to do" in done.stdout)
    return sorted(new, key=new.get)


def test_an_encoder_goes_when_scored_and_is_made_again_only_for_a_further_target(tmp_path):
    path = write(tmp_path, "lean", **CHANGES, targets=["tatoeba"])
    every_run(path, final=False)
    assert study(path) == ["transfer"]
    here = load_study(path)
    folder = MNLI.folder(here)
    assert not list(folder.glob("*checkpoint*")) and (folder / "training.json").is_file()
    assert (Run("encoder", 1).folder(here) / "checkpoint").is_dir()

    # killed between the removal of the encoder and the proof of the run: nothing is trained again
    trained = (folder / "training.json").stat().st_mtime_ns
    proof = Run("targets", 1, "mnli", "tatoeba").folder(here) / "run.json"
    proof.unlink()
    assert study(path) == ["targets/mnli/tatoeba/seed1"]
    assert (folder / "training.json").stat().st_mtime_ns == trained

    before = results(path)
    path = write(tmp_path, "lean", **CHANGES, targets=["tatoeba", "xnli"])
    done = study(path)
    # Snakemake executes the other target of a new encoder again, too: it finds its scores (compared below)
    again = "targets/mnli/tatoeba/seed1"
    assert set(done) - {again} == {MNLI.name, "targets/none/xnli/seed1", "targets/mnli/xnli/seed1", "transfer"}
    assert done.index(MNLI.name) < done.index("targets/mnli/xnli/seed1")
    assert not list(folder.glob("*checkpoint*"))
    after = results(path)
    assert after[after["target"] == "tatoeba"].reset_index(drop=True).equals(before)


@pytest.fixture
def scored(tmp_path):
    """A study of two bundles, everything of `mnli` done but one target: (study, scores the other)."""

    def build(**changes):
        return load_study(write(tmp_path, "made-up", **CHANGES | changes, targets=["tatoeba", "xnli"]))

    here = build()
    fingerprints = Fingerprints(here)
    (MNLI.folder(here) / "checkpoint").mkdir(parents=True)
    write_record(MNLI.folder(here) / "run.json", {"fingerprint": fingerprints.of(MNLI), "notebook": NOTEBOOK})

    def score(target):
        run = Run("targets", 1, "mnli", target)
        record = {"fingerprint": fingerprints.target_run(run, TargetRun(get(target)))}
        write_record(run.folder(here) / target / "scored.json", record)

    score("tatoeba")
    return build, score


NOTEBOOK = None


@pytest.fixture(autouse=True)
def _notebook(monkeypatch):
    monkeypatch.setattr("xstilts.runs.notebook_hash", lambda path: NOTEBOOK)


@pytest.mark.parametrize("keep, there", [("all", True), ("encoders", True), ("pretrained", False)])
def test_it_goes_after_its_last_target_and_where_the_study_says_so(scored, keep, there):
    build, score = scored
    here = build(keep=keep)
    fingerprints, folder = Fingerprints(here), MNLI.folder(here)
    remove_encoder(MNLI, fingerprints)
    assert (folder / "checkpoint").is_dir()  # xnli waits for it
    score("xnli")
    (folder / ".checkpoint.removed" / "half").mkdir(parents=True)  # killed before it was gone
    remove_encoder(MNLI, fingerprints)
    remove_encoder(MNLI, fingerprints)  # as two last bundles at once do
    assert (folder / "checkpoint").is_dir() == there and there != (not list(folder.glob(".checkpoint.*")))
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
