"""Fingerprints: exactly what a change touches becomes stale. Records: whole or not there."""

import pytest
import yaml

import small
from xstilts import runs
from xstilts.errors import UserError
from xstilts.io import remove_halves, written_whole
from xstilts.preflight import check_data
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.study import load_study


@pytest.fixture
def study(tmp_path):
    """A study of micro-world languages, with changes."""
    values = {"intermediate": ["none", "squad1"], "targets": ["xnli", "xquad", "tatoeba"], "languages": []}
    return lambda **changes: load_study(small.write(tmp_path, "study", **(values | changes)))


def test_choosing_checkpoints_depends_on_the_development_set_and_its_scorer(study, monkeypatch):
    plain = small.SMALL["training"]
    chosen = plain | {"overrides": {"intermediate/squad1": {"evaluate_every": 5}}}
    more = {"micro": small.SMALL["micro"] | {"span": small.SIZES | {"dev": 50}}}

    def of(training, **changes):
        return Fingerprints(study(training=training, **changes)).of(Run("intermediate", 1, "squad1"))

    before = of(plain), of(chosen)
    assert before[0] != before[1]
    assert of(plain, **more) == before[0] and of(chosen, **more) != before[1]
    real = runs._code_hash
    monkeypatch.setattr(runs, "_code_hash", lambda name: "edited" if name == "selection" else real(name))
    assert of(plain) == before[0] and of(chosen) != before[1]


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n{}", "{}", "[]", '{"cells": [{}]}'])
def test_what_is_no_notebook_is_named(tmp_path, text):
    path = tmp_path / "3-targets.ipynb"
    path.write_text(text)
    with pytest.raises(UserError, match=r"3-targets\.ipynb: cannot be read as a notebook"):
        runs.notebook_hash(path)


def test_half_written_is_never_there(tmp_path):
    with pytest.raises(RuntimeError), written_whole(tmp_path / "checkpoint") as aside:
        (aside / "model").write_text("half")
        raise RuntimeError("killed")
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    left = [".checkpoint.4711/model", ".checkpoint.removed/model", ".checkpoint.half-ab/model"]
    left += ["models/.mnli.half-ab/model", "xnli/.stats.parquet.half-ab"]
    results = ["checkpoint/model", "run.json", ".lock", "models/mnli/model", "xnli/stats.parquet"]
    for name in [*left, *results]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_halves(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(results)
    assert not list(tmp_path.rglob(".checkpoint.*"))


def test_a_control_counts_once_it_is_done_and_while_it_is_not_stale(study, tmp_path):
    control, final = tmp_path / "control.yaml", Run("transfer")
    values = {"based_on": str(tmp_path / "study.yaml"), "name": "control", "encoder": {"pretrain": {"steps": 0}}}
    control.write_text(yaml.safe_dump(values))
    plain, beside = study(), study(controls=[str(control)])
    before = Fingerprints(beside).of(final)
    assert Fingerprints(plain).of(final) != before
    assert all(Fingerprints(plain).of(run) == Fingerprints(beside).of(run) for run in list_runs(plain) if run != final)
    shown = load_study(control)
    for run in list_runs(shown):
        if run.phase == "targets" and run.intermediate == "none":
            assert runs.finished_controls(beside)[0][1] == []  # one of three targets is not enough
            small.prove(shown, [run])
    assert runs.finished_controls(beside)[0][1] == [1] and Fingerprints(beside).of(final) != before
    control.write_text(yaml.safe_dump(values | {"encoder": {"pretrain": {"steps": 1}}}))
    assert runs.finished_controls(beside)[0][1] == [] and Fingerprints(beside).of(final) == before


def test_data_that_a_study_lacks_is_named_before_anything_runs(study, tmp_path):
    check_data(study(intermediate=["none", "mnli@all=8"]))
    few = {"direct": {"targets": ["xnli"], "training_languages": ["all"], "examples": [3]}}
    files = {
        "source": "files", "source_language": "en", "targets": ["xnli"], "intermediate": ["none"], "micro": {},
        "training_sets": {"xnli": "sick"}, "training": {}, "files": {"root": str(tmp_path)},
    }  # fmt: skip

    def refused(message, **changes):
        with pytest.raises(UserError, match=message):
            check_data(study(**changes))

    refused(r'study.yaml: "mnli@all=7": 7 examples of 8 languages together', intermediate=["none", "mnli@all=7"])
    refused(r'"xnli@all=3": 3 examples of 8 languages together', further=few)
    refused(r'no data with gold labels for "tatoeba" in qaa', languages=["qaa"])
    refused(r'targets: no data with gold labels for "xnli"', **files)
    (tmp_path / "xnli").mkdir()
    for language in ("en", "de"):
        (tmp_path / "xnli" / f"dev-{language}.tsv").write_text("a\tb\tneutral\n")
    refused(r"sick: no train file for en below .*looked for sick/SICK_train.txt", **files)
    (tmp_path / "sick").mkdir()
    (tmp_path / "sick" / "SICK_train.txt").write_text("sentence_A\tsentence_B\tentailment_judgment\na\tb\tNEUTRAL\n")
    check_data(study(**files))
    refused(r'languages: "dee" is in no target.*did you mean "de"', **files | {"languages": ["en", "dee"]})
