"""Stale is never used: each thing that a finished study rests on is touched in turn, and what would be done again is
compared with what depends on it."""

import dataclasses
import json
import shutil
import subprocess
import sys

import nbformat
import pytest

import small
from small import finish
from toy import build_checkpoint
from xstilts import phases, runs, target_runs, tasks
from xstilts.io import ROOT
from xstilts.runs import CODE, NOTEBOOKS, Fingerprints, Run, list_runs, notebook_hash
from xstilts.sources import cache as kept
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.workflow import discard_stale

CHANGES = {"intermediate": ["none", "mnli", "squad1"], "targets": ["xnli", "xquad", "tatoeba"]}
ENCODER = {"encoder/seed1"}
TRAINED = {"intermediate/mnli/seed1", "intermediate/squad1/seed1"}
TARGETS = {f"targets/{run}/{target}/seed1" for run in CHANGES["intermediate"] for target in CHANGES["targets"]}
FINAL = {"transfer"}
EVERYTHING = ENCODER | TRAINED | TARGETS | FINAL


def of(*words):
    """Targets whose name holds one of these words, and the final run, which shows them."""
    return {name for name in TARGETS if any(f"/{word}/" in name for word in words)} | FINAL


def again(study) -> set[str]:
    """What ``make study`` would do."""
    return {run.name for run in discard_stale(study)}


@pytest.fixture
def study(tmp_path):
    def build(**changes):
        return load_study(small.write(tmp_path, "small", **(CHANGES | changes)))

    finish(build())
    assert again(build()) == set()
    return build


def training(**changes):
    return {"training": small.SMALL["training"] | changes}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"encoder": {"pretrain": {"steps": 5}}}, EVERYTHING),
        ({"micro": small.SMALL["micro"] | {"documents": 201}}, EVERYTHING),
        (training(intermediate={"steps": 5}), TRAINED | of("mnli", "squad1")),
        (training(overrides={"intermediate/mnli": {"steps": 5}}), {"intermediate/mnli/seed1"} | of("mnli")),
        (training(target={"steps": 5}), of("xnli", "xquad")),
        (training(overrides={"target/squad1": {"steps": 5}}), of("xquad")),
        (training(mix={"mlm_share": 0.5}), set()),  # nothing is mixed
        (training(save_minutes=1), set()),
        (training(processes=2), TRAINED | of("mnli", "squad1", "xnli", "xquad")),  # tatoeba after none is not trained
        ({"retrieval": {"layer": 1}}, of("tatoeba")),
        ({"micro": small.SMALL["micro"] | {"parallel": {"test": 11}}}, of("tatoeba")),
        ({"title": "Another"}, FINAL),
        ({"keep": "all"}, set()),
        ({"seeds": 2}, {name.replace("seed1", "seed2") for name in EVERYTHING - FINAL} | FINAL),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else None,
)
def test_parameters(study, changes, expected):
    values = dict(changes)
    if "training" in values:
        base = small.SMALL["training"]
        for key in ("intermediate", "target"):
            values["training"][key] = base[key] | {k: v for k, v in values["training"][key].items() if v != base[key]}
    if "encoder" in values:
        values["encoder"] = {"pretrain": small.SMALL["encoder"]["pretrain"] | values["encoder"]["pretrain"]}
    if "parallel" in values.get("micro", {}):
        values["micro"]["parallel"] = small.SIZES | values["micro"]["parallel"]
    assert again(study(**values)) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("mnli", {"intermediate/mnli/seed1"} | of("mnli", "xnli")),
        ("squad1", {"intermediate/squad1/seed1"} | of("squad1", "xquad")),
        ("xnli", of("xnli")),
        ("tatoeba", of("tatoeba")),
        ("qqp", set()),
    ],
)
@pytest.mark.parametrize("field", ["labels", "metrics"])
def test_the_definition_of_a_task(study, monkeypatch, name, expected, field):
    task = tasks.TASKS[name]
    changed = dataclasses.replace(task, **{field: (*getattr(task, field), "more")})
    monkeypatch.setitem(tasks.TASKS, name, changed)
    assert again(study()) == expected


@pytest.mark.parametrize(
    "module, expected",
    [
        ("training/pretraining.py", EVERYTHING),
        ("../microworld/world.py", EVERYTHING),
        ("training/fine_tuning.py", TRAINED | of("mnli", "squad1", "xnli", "xquad")),
        ("features.py", TRAINED | TARGETS | FINAL),  # raw retrieval after none pads its batches by it, too
        ("evaluation/metrics.py", TARGETS | FINAL),  # no training of this study compares checkpoints
        ("evaluation/retrieval.py", TARGETS | FINAL),
        ("plots.py", FINAL),
        ("style.mplstyle", FINAL),
        ("tables/languages.csv", FINAL),
        ("questions/distance.py", set()),
        ("workflow.py", set()),
    ],
)
def test_the_code_of_a_phase(study, monkeypatch, tmp_path, module, expected):
    """A line more in one of its modules, in a copy of the package."""
    package = tmp_path / "xstilts"
    shutil.copytree(ROOT / "lib", tmp_path, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))
    runs._code_hash.cache_clear()
    assert again(study()) == set()
    path = package / module
    path.write_text(path.read_text() + "# edited\n")
    runs._code_hash.cache_clear()
    assert again(study()) == expected
    runs._code_hash.cache_clear()


def test_the_code_of_a_source(study, monkeypatch):
    real = runs._code_hash
    monkeypatch.setattr(runs, "_code_hash", lambda name: "edited" if name == "encoder" else real(name))
    assert again(study()) == EVERYTHING


@pytest.mark.parametrize("phase", ["encoder", "intermediate", "targets", "transfer"])
def test_a_notebook(study, monkeypatch, tmp_path, phase):
    """Its outputs and metadata count for nothing. A cell edited: the runs of this notebook are executed again, and
    find what they trained; no other is."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    path = tmp_path / "notebooks" / f"{NOTEBOOKS[phase]}.ipynb"

    def edit(change):
        notebook = nbformat.read(path, 4)
        change(notebook)
        nbformat.write(notebook, path)
        notebook_hash.cache_clear()
        return again(study())

    code = next(i for i, cell in enumerate(nbformat.read(path, 4).cells) if cell.cell_type == "code" and i > 1)
    assert edit(lambda notebook: notebook.metadata.update(seen=True)) == set()
    assert edit(lambda notebook: notebook.cells[code].update(execution_count=9)) == set()
    before = {run.name: Fingerprints(study()).of(run) for run in list_runs(study())}
    expected = {name for name in EVERYTHING if name.startswith(phase)}
    assert edit(lambda notebook: notebook.cells[code].update(source="pass")) == expected
    assert before == {run.name: Fingerprints(study()).of(run) for run in list_runs(study())}
    notebook_hash.cache_clear()


@pytest.fixture
def files(tmp_path):
    """A study on files, from a checkpoint in a folder."""
    data = tmp_path / "data"
    (data / "xnli").mkdir(parents=True)
    for name in ("dev-en", "dev-de", "test-en", "test-de"):
        (data / "xnli" / f"{name}.tsv").write_text("a\tb\tneutral\n")
    (data / "multinli_1.0").mkdir()
    (data / "sick").mkdir()
    (data / "sick" / "SICK_train.txt").write_text("sentence_A\tsentence_B\tentailment_judgment\na\tb\tNEUTRAL\n")
    checkpoint = build_checkpoint(tmp_path / "checkpoint")
    changes = {
        "source": "files", "source_language": "en", "languages": [], "targets": ["xnli"], "intermediate": ["none"],
        "training_sets": {"xnli": "sick"}, "files": {"root": str(data)}, "encoder": {"checkpoint": str(checkpoint)},
    }  # fmt: skip

    def build():
        return load_study(small.write(tmp_path, "small", **changes))

    finish(build())
    assert again(build()) == set()
    return build, data, checkpoint


@pytest.mark.parametrize(
    "name, expected",
    [
        ("sick/SICK_train.txt", {"targets/none/xnli/seed1", "transfer"}),
        ("xnli/test-de.tsv", {"targets/none/xnli/seed1", "transfer"}),
        ("xnli/dev-de.tsv", set()),  # scored on the test set
    ],
)
def test_an_input_file(files, name, expected):
    build, data, _ = files
    path = data / name
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("a\tb", "c\td") + "\n")
    assert again(build()) == expected


def test_the_contents_of_a_checkpoint(files):
    build, _, checkpoint = files
    everything = {run.name for run in list_runs(build())}
    weights = checkpoint / "model.safetensors"
    held = bytearray(weights.read_bytes())
    held[-1] ^= 1
    weights.write_bytes(held)
    assert again(build()) == everything


# Loaded by a phase and not in CODE, with the reason why its code decides no result by itself.
EXCEPTIONS = {
    "": "the package",
    "training": "the package of what trains",
    "questions": "the package of the further questions",
    "errors": "messages",
    "io": "how files are written and hashed, not what",
    "locations": "where data are looked for: what is read is in the fingerprints",
    "names": "the names of runs, which are in the fingerprints",
    "runs": "makes the fingerprints",
    "progress": "says how far a training is",
    "study": "reads parameters: the values read are in the fingerprints",
    "validation": "refuses parameters or leaves them as they are",
    "tasks": "declarations: those used are in the fingerprints",
}


def loaded(code: str) -> set[str]:
    """Modules of the package that these lines import, below it, in a process of their own."""
    show = "import sys, json; print(json.dumps([n for n in sys.modules if n.split('.')[0] == 'xstilts']))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True, cwd=ROOT / "notebooks"
    )
    return {name.removeprefix("xstilts").lstrip(".") for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("phase", list(NOTEBOOKS))
def test_all_code_that_decides_a_phase_is_in_its_fingerprint(phase):
    notebook = nbformat.read(ROOT / "notebooks" / f"{NOTEBOOKS[phase]}.ipynb", 4)
    lines = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code").splitlines()
    imports = [line for line in lines if line.startswith(("from xstilts", "import xstilts"))]
    known = {"encoder", "intermediate", "selection", "targets", phase}
    if phase in ("encoder", "intermediate", "targets"):
        imports = ["from xstilts import phases"]  # what is drawn in them is no result
    hashed = {name.replace("/", ".") for key in known for name in CODE[key]}
    whole = tuple(name for name in hashed if name.endswith("."))
    unhashed = loaded("\n".join(imports)) - hashed - set(EXCEPTIONS)
    assert {name for name in unhashed if not f"{name}.".startswith(whole)} == set()


def test_the_phases_before_one_are_in_its_fingerprint(study, monkeypatch):
    """The chain: what changes a run's results changes those of every run that starts from it."""
    one = study()
    before = {run.name: Fingerprints(one).of(run) for run in list_runs(one)}
    real = runs.Fingerprints._encoder
    monkeypatch.setattr(runs.Fingerprints, "_encoder", lambda self, run: [*real(self, run), "changed"])
    assert {run.name for run in list_runs(one) if before[run.name] != Fingerprints(one).of(run)} == EVERYTHING


def test_kept_sets_depend_on_the_code_that_makes_them(tmp_path, monkeypatch):
    source = open_source(load_study(small.write(tmp_path, "small", **CHANGES)))
    task = tasks.get("xnli")
    source.load(task, target_runs.evaluation_split(source, task), "qab")
    there = set(source.folder.iterdir())
    monkeypatch.setattr(kept, "_code_hash", lambda: "edited")
    source.load(task, target_runs.evaluation_split(source, task), "qab")
    assert len(set(source.folder.iterdir()) - there) == 1


@pytest.mark.parametrize("phase", ["encoder", "intermediate"])
def test_an_encoder_deleted_by_hand_is_made_again_and_nothing_else(study, phase):
    one = study()
    source, name = open_source(one), "mnli" if phase == "intermediate" else ""
    phases.encoder(one, source, 1)
    phases.intermediate(one, source, "mnli", 1)
    folder = Run(phase, 1, name).folder(one)
    before = (folder / "checkpoint" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "checkpoint")
    assert again(one) == {Run(phase, 1, name).name}
    phases.encoder(one, source, 1)
    phases.intermediate(one, source, "mnli", 1)
    assert (folder / "checkpoint" / "model.safetensors").read_bytes() == before


def test_every_run_has_its_code():
    assert {run for run in NOTEBOOKS} <= set(CODE) and Run("transfer").final
