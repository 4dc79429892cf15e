"""Studies: what is accepted, and the one message for what is not."""

import json
import runpy

import jsonschema
import pytest
import yaml

from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.names import parse_run
from xstilts.runs import list_runs
from xstilts.settings import MixSettings, PhaseSettings
from xstilts.sources import open_source
from xstilts.study import dump_yaml, load_study, parse_yaml
from xstilts.target_runs import TargetRun, training_sets
from xstilts.tasks import INTERMEDIATE, get


def micro() -> dict:
    return yaml.safe_load((ROOT / "params" / "micro.yaml").read_text())


@pytest.fixture
def write(tmp_path):
    def write(values) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return str(path)

    return write


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_is_valid(path):
    study = load_study(path.stem)
    assert list_runs(study)[-1].phase == study.question
    schema = json.loads((ROOT / "params" / "study.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)  # as an editor does
    assert path.read_text().startswith("# yaml-language-server: $schema=study.schema.json\n")


def test_the_schema_is_that_of_the_settings():
    tool = runpy.run_path(str(ROOT / "tools" / "make_schema.py"))
    assert json.loads((ROOT / "params" / "study.schema.json").read_text()) == tool["study_schema"]()


def test_files_studies_ask_for_their_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    with pytest.raises(UserError, match=r"files.root: no folder is named; set XSTILTS_DATA=<folder>"):
        open_source(load_study("files"))
    monkeypatch.setenv("XSTILTS_DATA", str(tmp_path))
    assert open_source(load_study("files")).source.root == tmp_path


def test_a_study_based_on_another_states_only_what_it_changes(write):
    micro_study, control = load_study("micro"), load_study("micro-untrained")
    assert micro_study.encoder.pretrain.steps and not control.encoder.pretrain.steps
    assert control.intermediate == ("none",) and control.controls == () and control.name == "micro-untrained"
    shared = {"targets", "micro", "training", "retrieval", "seeds"}
    assert control.model_dump(include=shared) == micro_study.model_dump(include=shared)
    emptied = load_study(write({"based_on": "files", "name": "one", "targets": ["xcopa"], "training_sets": {}}))
    assert not emptied.training_sets and load_study("files").training_sets
    assert load_study(write({"based_on": "files", "name": "one", "targets": ["xcopa"]})).training_sets == {}
    replaced = write({"based_on": "files", "name": "one", "training_sets": {"xnli": None, "pawsx": "qqp"}})
    assert "xnli" not in load_study(replaced).training_sets and load_study(replaced).training_sets["pawsx"] == "qqp"
    narrow = {"based_on": "files-distance", "name": "one", "question": "transfer", "targets": ["panx"], "shares": None}
    narrow |= {"intermediate": ["none"]}
    assert {name: bundle.targets for name, bundle in load_study(write(narrow)).further.items()} == {"direct": ("panx",)}
    mixed = load_study(write({"based_on": "micro", "name": "mixed", "micro": {"code_mixing": 0.5}}))
    assert mixed.micro == micro_study.micro.model_copy(update={"code_mixing": 0.5})
    other = load_study(write({"based_on": "xtreme", "name": "other", "encoder": {"checkpoint": "google/other"}}))
    assert load_study("xtreme").encoder.revision and not other.encoder.revision, "a commit is of one repository"
    with pytest.raises(UserError, match="itself based on another"):
        load_study(write({"based_on": "micro-untrained", "name": "grandchild"}))
    with pytest.raises(UserError, match='did you mean "micro"'):
        load_study(write({"based_on": "mirco", "name": "child"}))


@pytest.mark.parametrize(
    ("name", "tasks", "mlm", "languages"),
    [
        ("none", (), False, ()),
        ("mnli", ("mnli",), False, ()),
        ("hellaswag+mlm", ("hellaswag",), True, ()),
        ("multi+mlm", tuple(INTERMEDIATE), True, ()),
        ("mnli+squad1@de,zh", ("mnli", "squad1"), False, ("de", "zh")),
        ("hellaswag+mlm@mt", ("hellaswag",), True, ("mt",)),
        ("squad1@all=3000", ("squad1",), False, ("all",)),
        ("none+steps", (), False, ()),
        ("mnli+mlm+shuffled@de", ("mnli",), True, ("de",)),
    ],
)
def test_run_grammar(name, tasks, mlm, languages):
    run = parse_run(name)
    assert (run.name, run.tasks, run.mlm, run.languages) == (name, tasks, mlm, languages)
    assert run.examples == int(name.partition("=")[2] or 0)
    assert parse_run(name, None) == run and run.shuffled == ("shuffled" in name)


def test_a_run_on_a_task_of_ones_own_is_parsed():
    with pytest.raises(UserError, match='unknown task "support"'):
        parse_run("support@de=100")
    assert parse_run("support@de=100", None).languages == ("de",)


class Sets:
    """A source with these training sets and these machine-translated ones."""

    source_language = "en"

    def __init__(self, train, mt=""):
        self.codes = {"train": train.split(), "mt": mt.split()}

    def languages(self, task, split):
        return self.codes[split]


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("mnli", "train-en"),
        ("mnli@mt", "mt-de mt-zh"),
        ("mnli@zh,fr", "mt-zh train-fr"),  # its own set where there is one
        ("mnli@all", "train-en train-fr mt-de mt-zh"),
        ("mnli@sw", "mt-sw"),  # in neither: the source says where it looked
    ],
)
def test_training_sets_of_a_run(name, sets):
    pairs = training_sets(name, get("mnli"), parse_run(name).languages, Sets("en fr", "de zh"))
    assert " ".join("-".join(pair) for pair in pairs) == sets


def test_a_task_without_translations_is_named():
    with pytest.raises(UserError, match=r'"multi@mt": no machine-translated training set of "ccg" is at hand'):
        training_sets("multi@mt", get("ccg"), ("mt",), Sets("en"))


def test_a_set_is_not_trained_on_and_scored(write):
    """SQuAD v2.0's development articles are XQuAD's."""
    files = yaml.safe_load((ROOT / "params" / "files.yaml").read_text())
    splits = files["files"]["splits"] | {"squad2": {"train": "dev[:80%]", "dev": "dev[80%:]"}}
    files |= {"files": files["files"] | {"splits": splits}, "intermediate": ["none", "squad2"]}
    with pytest.raises(UserError, match=r"squad2.*xquad"):
        load_study(write(files))
    files |= {"targets": ["xnli", "tydiqa"], "training_sets": {"xnli": "sick"}}
    assert load_study(write(files)).targets == ("xnli", "tydiqa")


def test_runs_in_order(write):
    study = load_study(
        write(micro() | {"intermediate": ["none", "mnli"], "targets": ["xnli", "tatoeba"], "bundle": "each"})
    )
    names = [run.name for run in list_runs(study)]
    assert names[:2] == ["encoder/seed1", "encoder/seed2"]
    assert "intermediate/none/seed1" not in names
    assert "targets/mnli/tatoeba/seed2" in names
    assert len(names) == 2 + 2 + 2 * 2 * 2 + 1


def test_written_yaml_reads_back_the_same():
    """PyYAML leaves texts unquoted that are numbers in YAML 1.2."""
    values = {"name": "08", "own": {"label": "1e5", "choices": ["no", "0o17", "1:30", "2020-01-01"]}, "rate": 1e-5}
    assert parse_yaml(dump_yaml(values), "here") == values


def test_resolved_study_reads_back_the_same(write, tmp_path):
    odd = {"name": "08", "title": "1e5"}  # texts that YAML takes for numbers where they are not quoted
    study = load_study(write(micro() | {"runs": str(tmp_path / "runs")}), seeds=3, **odd)
    study.folder.mkdir(parents=True)
    assert load_study(study.resolve()).model_dump() == study.model_dump()


@pytest.mark.parametrize("name", ["micro-lora", "xtreme", "real"])
def test_a_study_reads_back_to_the_letter(name, tmp_path):
    """0 and 0.0 are equal, but no fingerprint takes them for the same."""
    study = load_study(name, runs=str(tmp_path))
    study.folder.mkdir(parents=True)
    assert repr(load_study(study.resolve()).model_dump()) == repr(study.model_dump())


def test_the_papers_rules_can_be_said(write):
    """A learning rate for every run with masked LM; what holds for one task, in one phase or in both."""
    runs = ["none", "mnli", "mnli+mlm", "squad1", "hellaswag+mlm", "multi+mlm@mt"]
    training = {"overrides": {"hellaswag+mlm": {"steps": 700}}}
    study = load_study(write({"based_on": "xtreme", "name": "one", "training": training, "intermediate": runs}))
    rates = {name: study.phase("intermediate", name).learning_rate for name in runs[1:]}
    assert rates == {name: 5e-6 if "mlm" in name else 1e-5 for name in runs[1:]}
    phase = study.phase("intermediate", "squad1")
    assert (phase.epochs, phase.batch_size * phase.accumulate) == (3, 32)
    assert (phase.evaluate_every, phase.patience, phase.evaluate_examples) == (1000, 30, 500)
    expected = {"mnli": (2, 32), "pawsx": (5, 32), "udpos": (10, 32), "panx": (10, 32)}
    expected |= {"squad1": (2, 16), "tydiqa": (2, 16)}
    phases = {name: study.phase("target", name) for name in expected}
    assert {name: (phase.epochs, phase.batch_size * phase.accumulate) for name, phase in phases.items()} == expected
    assert {phase.learning_rate for phase in phases.values()} == {1e-5}
    mixed = study.phase("intermediate", "hellaswag+mlm")  # steps replace epochs, and the rule for masked LM holds on
    assert (mixed.steps, mixed.epochs, mixed.learning_rate) == (700, 0, 5e-6)


def test_settings_of_controls(write):
    """Controls of labels and runs in other languages have those of their run; that of steps trains the target for both
    phases."""
    target = {"steps": 160, "epochs": 0, "evaluate_every": 40, "patience": 2}
    training = {"intermediate": {"steps": 600, "epochs": 0}, "target": target}
    training["overrides"] = {"intermediate/mnli": {"steps": 700}, "multi": {"steps": 1200}}
    runs = ["none", "none+steps", "mnli", "mnli+shuffled", "mnli@qad", "mnli@all=500", "mnli=500", "multi+shuffled"]
    values = {"based_on": "micro", "name": "controls", "intermediate": runs, "training": training}
    study = load_study(write(values))
    assert [study.phase("intermediate", name).steps for name in runs[2:]] == [700, 700, 700, 700, 700, 1200]
    xnli = TargetRun(study.task("xnli"))
    lengths = {name: xnli.phase(study, name) for name in runs}
    assert {name: (phase.steps, phase.patience) for name, phase in lengths.items()} == {
        name: (760, 0) if name == "none+steps" else (160, 2) for name in runs
    }
    assert "intermediate/none+steps/seed1" not in [run.name for run in list_runs(study)]
    target |= {"steps": 0, "epochs": 3}
    with pytest.raises(UserError, match=r"none\+steps adds the length of phase 2 .* both in epochs"):
        load_study(write(values))


def test_length_of_the_training():
    phase = PhaseSettings(epochs=3, batch_size=4, accumulate=8)
    assert phase.total_steps([392_702], MixSettings(), False) == 36_816  # 3 x 392,702 / 32: a set alone is not capped
    assert phase.total_steps([392_702], MixSettings(), True) == 46_020  # a fifth of these are masked-LM steps
    assert phase.total_steps([392_702, 87_599], MixSettings(), False) == 20_501  # 3 x (131,072 + 87,599) / 32
    assert phase.model_copy(update={"steps": 7}).total_steps([392_702], MixSettings(), True) == 7
