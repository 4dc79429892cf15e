"""Fingerprints: exactly what a change touches becomes stale. Records: whole or not there."""

import json

import pytest
import yaml

from xstilts import runs
from xstilts.errors import UserError
from xstilts.io import ROOT, read_record, remove_halves, write_record, written_whole
from xstilts.preflight import check_data
from xstilts.runs import Fingerprints, Run, list_runs, state
from xstilts.study import load_study


@pytest.fixture
def study(tmp_path):
    def build(**changes):
        values = yaml.safe_load((ROOT / "params" / "micro.yaml").read_text())
        values |= {
            "intermediate": ["none", "mnli", "squad1", "hellaswag+mlm"],
            "targets": ["xnli", "xquad", "tatoeba"],
            "bundle": "each",
            "seeds": 1,
            "runs": str(tmp_path / "runs"),
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return load_study(path)

    return build


def changed(before, after) -> set[str]:
    old, new = Fingerprints(before), Fingerprints(after)
    return {run.name for run in list_runs(before) if old.of(run) != new.of(run)}


def everything(study) -> set[str]:
    return {run.name for run in list_runs(study)}


def test_fingerprints_are_repeatable(study):
    assert changed(study(), study()) == set()


def test_pretraining_settings_touch_everything(study):
    assert changed(study(), study(encoder={"pretrain": {"steps": 7}})) == everything(study())


def test_world_settings_touch_everything(study):
    assert changed(study(), study(micro={"world_seed": 7})) == everything(study())


def test_one_override_touches_its_run_and_what_follows(study):
    training = study().training.model_dump()
    override = training | {"overrides": {"hellaswag+mlm": {"steps": 7}}}
    base = training | {"overrides": {}}
    assert changed(study(training=base), study(training=override)) == {
        "intermediate/hellaswag+mlm/seed1",
        "targets/hellaswag+mlm/xnli/seed1",
        "targets/hellaswag+mlm/xquad/seed1",
        "targets/hellaswag+mlm/tatoeba/seed1",
        "transfer",
    }


def test_target_settings_leave_phase_two_and_retrieval_alone(study):
    training = study().training.model_dump()
    slower = training | {"target": training["target"] | {"learning_rate": 1e-4}}
    touched = changed(study(), study(training=slower))
    assert touched == {
        f"targets/{run}/{target}/seed1" for run in study().intermediate for target in ("xnli", "xquad")
    } | {"transfer"}


def test_mix_touches_only_mixed_runs(study):
    training = study().training.model_dump()
    mixed = training | {"mix": training["mix"] | {"mlm_share": 0.5}}
    touched = changed(study(), study(training=mixed))
    assert {name.split("/")[1] for name in touched if "/" in name} == {"hellaswag+mlm"}


def test_choosing_checkpoints_depends_on_the_development_set_and_its_scorer(study, monkeypatch):
    base = study().training.model_dump()
    chosen = base | {"overrides": {"intermediate/squad1": {"evaluate_every": 5}}}
    trained = Run("intermediate", 1, "squad1")

    def of(training, **changes):
        return Fingerprints(study(training=training, **changes)).of(trained)

    plain, watched = of(base | {"overrides": {}}), of(chosen)
    assert plain != watched
    more = {"micro": {"span": study().micro.span.model_dump() | {"dev": 50}}}
    less = {"micro": {"span": study().micro.span.model_dump()}}
    assert of(base, **more) == of(base, **less) and of(chosen, **more) != of(chosen, **less)
    real = runs._code_hash
    monkeypatch.setattr(runs, "_code_hash", lambda name: "edited" if name == "selection" else real(name))
    assert of(base | {"overrides": {}}) == plain and of(chosen) != watched


def test_retrieval_settings_touch_retrieval_only(study):
    touched = changed(study(), study(retrieval={"layer": 2}))
    assert touched == {f"targets/{run}/tatoeba/seed1" for run in study().intermediate} | {"transfer"}


def test_more_seeds_and_runs_leave_the_others_alone(study):
    more = study(seeds=3, intermediate=["none", "mnli", "squad1", "hellaswag+mlm", "qqp"])
    assert changed(study(), more) == {"transfer"}


def test_code_of_a_phase_touches_it_and_what_follows(study, monkeypatch):
    one = study()
    before = {run.name: Fingerprints(one).of(run) for run in list_runs(one)}
    real = runs._code_hash
    monkeypatch.setattr(runs, "_code_hash", lambda phase: "edited" if phase == "targets" else real(phase))
    after = {run.name: Fingerprints(one).of(run) for run in list_runs(one)}
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if name.startswith("targets") or name == "transfer"
    }


def test_state_follows_fingerprint_and_notebook(study):
    one, run = study(), Run("encoder", 1)
    path = run.folder(one) / "run.json"
    assert state(one, run, Fingerprints(one)) == "missing"
    record = {"fingerprint": Fingerprints(one).of(run), "notebook": runs.notebook_hash(run.notebook)}
    write_record(path, record)
    assert state(one, run, Fingerprints(one)) == "stale"  # without its checkpoint
    (run.folder(one) / "checkpoint").mkdir()
    assert state(one, run, Fingerprints(one)) == "done"
    write_record(path, record | {"notebook": "another"})
    assert state(one, run, Fingerprints(one)) == "stale"
    write_record(path, record | {"fingerprint": "another"})
    assert state(one, run, Fingerprints(one)) == "stale"


def test_notebook_hash_ignores_outputs(tmp_path):
    def write(source, outputs):
        cell = {"cell_type": "code", "source": source, "outputs": outputs, "metadata": {}, "execution_count": 3}
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.ipynb"
        path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return runs.notebook_hash(path)

    assert write("a = 1", []) == write(["a = ", "1"], [{"output_type": "stream"}])
    assert write("a = 1", []) != write("a = 2", [])


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
    assert not (tmp_path / "checkpoint").exists()
    with written_whole(tmp_path / "checkpoint") as aside:
        (aside / "model").write_text("whole")
    assert (tmp_path / "checkpoint" / "model").read_text() == "whole"
    assert read_record(tmp_path / "no.json") == {}


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    left = [".checkpoint.4711/model", ".checkpoint.removed/model", ".checkpoint.half-ab/model"]
    left += ["models/.mnli.half-ab/model", "xnli/.stats.parquet.half-ab"]
    kept = ["checkpoint/model", "run.json", ".lock", "models/mnli/model", "xnli/stats.parquet"]
    for name in [*left, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_halves(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not list(tmp_path.rglob(".checkpoint.*"))


def test_fewer_examples_than_languages_are_refused(study):
    check_data(study(intermediate=["none", "mnli@all=8"]))
    with pytest.raises(UserError, match=r'study.yaml: "mnli@all=7": 7 examples of 8 languages together'):
        check_data(study(intermediate=["none", "mnli@all=7"]))
    few = {"direct": {"targets": ["xnli"], "training_languages": ["all"], "examples": [3]}}
    with pytest.raises(UserError, match=r'"xnli@all=3": 3 examples of 8 languages together'):
        check_data(study(further=few))


def test_a_control_counts_once_it_is_done_and_while_it_is_not_stale(study, tmp_path):
    control = tmp_path / "control.yaml"
    values = {"based_on": str(tmp_path / "study.yaml"), "name": "control", "encoder": {"pretrain": {"steps": 0}}}
    control.write_text(yaml.safe_dump(values))
    plain, beside = study(), study(controls=[str(control)])
    final = Run("transfer")
    assert changed(plain, beside) == {final.name}
    before = Fingerprints(beside).of(final)
    shown = load_study(control)
    for run in list_runs(shown):
        if run.phase == "targets" and run.intermediate == "none":
            assert runs.finished_controls(beside)[0][1] == []  # one of three targets is not enough
            record = {"fingerprint": Fingerprints(shown).of(run), "notebook": runs.notebook_hash(run.notebook)}
            write_record(run.folder(shown) / "run.json", record)
    assert runs.finished_controls(beside)[0][1] == [1] and Fingerprints(beside).of(final) != before
    control.write_text(yaml.safe_dump(values | {"encoder": {"pretrain": {"steps": 1}}}))
    assert runs.finished_controls(beside)[0][1] == [] and Fingerprints(beside).of(final) == before


def test_a_target_or_a_language_without_data_is_named_before_anything_runs(study, tmp_path):
    check_data(study())
    with pytest.raises(UserError, match=r'no data with gold labels for "tatoeba" in qaa'):
        check_data(study(languages=["qaa"]))
    files = {
        "source": "files", "source_language": "en", "targets": ["xnli"], "intermediate": ["none"], "micro": {},
        "training_sets": {"xnli": "sick"}, "controls": [], "training": {}, "files": {"root": str(tmp_path)},
    }  # fmt: skip
    with pytest.raises(UserError, match=r'targets: no data with gold labels for "xnli"'):
        check_data(study(**files))
    (tmp_path / "xnli").mkdir()
    for language in ("en", "de"):
        (tmp_path / "xnli" / f"dev-{language}.tsv").write_text("a\tb\tneutral\n")
    with pytest.raises(UserError, match=r'no train set of "sick" in en; there is: none'):
        check_data(study(**files))
    (tmp_path / "sick").mkdir()
    (tmp_path / "sick" / "SICK_train.txt").write_text("sentence_A\tsentence_B\tentailment_judgment\na\tb\tNEUTRAL\n")
    check_data(study(**files))
    with pytest.raises(UserError, match=r'languages: "dee" is in no target.*did you mean "de"'):
        check_data(study(**files, languages=["en", "dee"]))
