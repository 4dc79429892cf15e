"""Stale is never used: each thing that a finished study rests on is touched in turn, and what would be done again is
compared with what depends on it."""

import dataclasses
import shutil

import nbformat
import pytest

import small
from small import finish
from test_imports import IMPORTS, imports
from toy import placeholder
from xstilts import phases, runs, tasks
from xstilts.io import ROOT
from xstilts.runs import CODE, NOTEBOOKS, Fingerprints, Run, list_runs, notebook_hash
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.workflow import discard_stale

CHANGES = {"intermediate": ["none", "mnli", "squad1+mlm"], "targets": ["xnli", "xquad", "tatoeba"]}
TRAINED = {"intermediate/mnli/seed1", "intermediate/squad1+mlm/seed1"}
TARGETS = {f"targets/{run}/{target}/seed1" for run in CHANGES["intermediate"] for target in CHANGES["targets"]}
FINAL = {"transfer"}
EVERYTHING = {"encoder/seed1"} | TRAINED | TARGETS | FINAL


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


def merged(values: dict, changes: dict) -> dict:
    """``values`` with these changes, at any depth."""
    deep = {key: merged(values[key], change) for key, change in changes.items() if isinstance(values.get(key), dict)}
    return values | changes | deep


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"encoder": {"pretrain": {"steps": 5}}}, EVERYTHING),
        ({"micro": {"documents": 201}}, EVERYTHING),
        ({"training": {"intermediate": {"steps": 5}}}, TRAINED | of("mnli", "squad1+mlm")),
        ({"training": {"overrides": {"intermediate/mnli": {"steps": 5}}}}, {"intermediate/mnli/seed1"} | of("mnli")),
        ({"training": {"target": {"steps": 5}}}, of("xnli", "xquad")),
        ({"training": {"mix": {"mlm_share": 0.5}}}, {"intermediate/squad1+mlm/seed1"} | of("squad1+mlm")),
        # tatoeba after none is not trained
        ({"training": {"processes": 2}}, TRAINED | of("mnli", "squad1+mlm", "xnli", "xquad")),
        ({"training": {"adapter": {"rank": 2}}}, TRAINED | of("mnli", "squad1+mlm", "xnli", "xquad")),
        ({"retrieval": {"layer": 1}}, of("tatoeba")),
        ({"micro": {"parallel": {"test": 11}}}, of("tatoeba")),
        ({"title": "Another"}, FINAL),
        ({"training": {"save_minutes": 1}, "keep": "all"}, set()),
        ({"seeds": 2}, {name.replace("seed1", "seed2") for name in EVERYTHING - FINAL} | FINAL),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),  # workers order sets each in its own way
)
def test_parameters(study, changes, expected):
    changed = merged(small.SMALL, changes)
    assert again(study(**{key: changed[key] for key in changes})) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("mnli", {"intermediate/mnli/seed1"} | of("mnli", "xnli")),
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
        ("training/fine_tuning.py", TRAINED | of("mnli", "squad1+mlm", "xnli", "xquad")),
        ("features.py", TRAINED | TARGETS | FINAL),  # raw retrieval after none pads its batches by it, too
        ("evaluation/metrics.py", TARGETS | FINAL),  # no training of this study compares checkpoints
        ("plots.py", FINAL),
        ("style.mplstyle", FINAL),
        ("tables/languages.csv", FINAL),
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
    """A study on files in a folder, among them its encoder."""
    data = tmp_path / "data"
    (data / "xnli").mkdir(parents=True)
    for name in ("dev-en", "dev-de", "test-en", "test-de"):
        (data / "xnli" / f"{name}.tsv").write_text("a\tb\tneutral\n")
    (data / "sick").mkdir()
    (data / "sick" / "SICK_train.txt").write_text("sentence_A\tsentence_B\tentailment_judgment\na\tb\tNEUTRAL\n")
    changes = {
        "source": "files", "source_language": "en", "languages": [], "targets": ["xnli"], "intermediate": ["none"],
        "training_sets": {"xnli": "sick"}, "files": {"root": str(data)},
        "encoder": {"checkpoint": str(placeholder(tmp_path / "checkpoint"))},
    }  # fmt: skip
    study = load_study(small.write(tmp_path, "small", **changes))
    finish(study)
    assert again(study) == set()
    return tmp_path, study


@pytest.mark.parametrize(
    "name, expected",
    [
        ("data/sick/SICK_train.txt", {"targets/none/xnli/seed1", "transfer"}),
        ("data/xnli/test-de.tsv", {"targets/none/xnli/seed1", "transfer"}),
        ("data/xnli/dev-de.tsv", set()),  # scored on the test set
        ("checkpoint/model.safetensors", {"encoder/seed1", "targets/none/xnli/seed1", "transfer"}),
    ],
)
def test_an_input_file(files, name, expected):
    folder, study = files
    (folder / name).write_text((folder / name).read_text() + "c\td\tneutral\n")
    assert again(study) == expected


# Loaded by a phase and not in CODE: why their code decides no result by itself.
EXCEPTIONS = {
    *("", "training", "questions"),  # packages
    *("errors", "progress"),  # messages
    *("io", "locations", "study"),  # where and how data and parameters are read: what is read is in the fingerprints
    *("names", "tasks", "runs"),  # names and declarations are in the fingerprints, which the last one makes
    "validation",  # refuses parameters or leaves them as they are
}


def imported(modules: set[str]) -> set[str]:
    """These modules and all that they import, directly or not."""
    known: set[str] = set()
    while modules - known:
        known, modules = modules, modules.union(*(IMPORTS[name] for name in modules))
    return known


@pytest.mark.parametrize("phase", list(NOTEBOOKS))
def test_all_code_that_decides_a_phase_is_in_its_fingerprint(phase):
    modules = {"xstilts.phases"}  # what is drawn in the notebooks of the phases is no result
    if phase in runs.QUESTIONS:
        cells = nbformat.read(ROOT / "notebooks" / f"{NOTEBOOKS[phase]}.ipynb", 4).cells
        lines = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()]
        code = "\n".join(line for line in lines if line.startswith(("from xstilts", "import xstilts")))
        modules = imports(code)
    hashed = {name for key in {"encoder", "intermediate", "selection", "targets", phase} for name in CODE[key]}
    hashed = {name.removeprefix("../").replace("/", ".") for name in hashed} | EXCEPTIONS
    unhashed = {name.removeprefix("xstilts.") for name in imported(modules)}
    assert {name for name in unhashed if not {name, f"{name.rpartition('.')[0]}.*", f"{name}.*"} & hashed} == set()


def test_an_encoder_deleted_by_hand_is_made_again_and_nothing_else(study):
    here = study()
    source, deleted = open_source(here), [Run("encoder", 1), Run("intermediate", 1, "mnli")]

    def weights() -> list[bytes]:
        phases.encoder(here, source, 1)
        phases.intermediate(here, source, "mnli", 1)
        return [(run.folder(here) / "checkpoint" / "model.safetensors").read_bytes() for run in deleted]

    before = weights()
    for run in deleted:
        shutil.rmtree(run.folder(here) / "checkpoint")
    assert again(here) == {run.name for run in deleted}
    assert weights() == before


def test_every_pattern_names_code():
    assert all(list((ROOT / "lib/xstilts").glob(f"{name}.py")) for names in CODE.values() for name in names)
    assert set(NOTEBOOKS) <= set(CODE) and Run("transfer").final
