"""Studies: what is accepted, and the one message for what is not."""

import pytest
import yaml

from xstilts.errors import UserError
from xstilts.runs import list_runs
from xstilts.study import ROOT, load_study, parse_run
from xstilts.tasks import INTERMEDIATE, TARGETS


def micro() -> dict:
    return yaml.safe_load((ROOT / "params" / "micro.yaml").read_text())


@pytest.fixture
def write(tmp_path):
    def write(values) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return str(path)

    return write


def test_default_study_is_the_whole_grid():
    study = load_study("micro")
    assert set(INTERMEDIATE) < set(study.intermediate)
    assert {"none", "multi", "hellaswag+mlm"} < set(study.intermediate)
    assert any(name.startswith("mnli@") for name in study.intermediate)
    assert set(study.targets) == set(TARGETS)
    assert study.seeds == 2


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_is_valid(path):
    study = load_study(path.stem)
    assert list_runs(study)[-1].phase == "transfer"


def test_a_study_based_on_another_states_only_what_it_changes(write):
    micro_study, control = load_study("micro"), load_study("micro-untrained")
    assert micro_study.encoder.pretrain.steps and not control.encoder.pretrain.steps
    assert control.intermediate == ("none",) and control.controls == () and control.name == "micro-untrained"
    kept = {"targets", "micro", "training", "retrieval", "seeds"}
    assert control.model_dump(include=kept) == micro_study.model_dump(include=kept)
    mixed = load_study(write({"based_on": "micro", "name": "mixed", "micro": {"code_mixing": 0.5}}))
    assert mixed.micro == micro_study.micro.model_copy(update={"code_mixing": 0.5})
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
        ("multi", tuple(INTERMEDIATE), False, ()),
        ("multi+mlm", tuple(INTERMEDIATE), True, ()),
        ("mnli+squad1@de,zh", ("mnli", "squad1"), False, ("de", "zh")),
        ("squad1@all", ("squad1",), False, ("all",)),
    ],
)
def test_run_grammar(name, tasks, mlm, languages):
    run = parse_run(name)
    assert (run.name, run.tasks, run.mlm, run.languages) == (name, tasks, mlm, languages)


def test_training_languages():
    available = ["en", "de", "zh"]
    assert parse_run("mnli").training_languages("en", available) == ["en"]
    assert parse_run("mnli@zh,de").training_languages("en", available) == ["zh", "de"]
    assert parse_run("mnli@all").training_languages("en", available) == available


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnlli", 'did you mean "mnli"'),
        ("MNLI", "expected task"),
        ("../mnli", "expected task"),
        ("mlm", "is mixed into a task"),
        ("mlm+mnli", 'unknown task "mlm"'),
        ("none+mlm", "stands alone"),
        ("none@de", "stands alone"),
        ("mnli+mnli", "twice"),
        ("mnli@de,de", "twice"),
        ("mnli@all,de", "already holds"),
        ("multi+mnli", "already holds"),
        ("tatoeba", "nothing trains on it"),
        ("mnli@mt", "machine-translated"),
        ("", "expected task"),
    ],
)
def test_bad_run_names(name, message):
    with pytest.raises(UserError, match=message):
        parse_run(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tagets": ["xnli"]}, 'tagets: unknown key; did you mean "targets"'),
        (
            {"training": {"target": {"lerning_rate": 1e-5}}},
            'training.target.lerning_rate: unknown key; did you mean "learning_rate"',
        ),
        ({"training": {"target": {"steps": "many"}}}, "training.target.steps: .*found 'many'"),
        ({"seeds": 0}, "seeds: .*greater than 0"),
        ({"intermediate": ["none", "mnlli"]}, 'intermediate.1: .*unknown task "mnlli"; did you mean "mnli"'),
        ({"intermediate": ["mnli"]}, 'add "none"'),
        ({"intermediate": ["none", "mnli@qxx"]}, 'intermediate.1: unknown language "qxx"'),
        ({"targets": ["xnli", "xqad"]}, 'targets.1: unknown task "xqad"; did you mean "xquad"'),
        ({"targets": ["xnli", "xnli"]}, "a name stands twice"),
        ({"languages": ["qaa", "qaz"]}, 'languages: unknown language "qaz"'),
        ({"training_sets": {"xnli": "squad1"}}, '"squad1" is a span task, xnli needs a classification one'),
        ({"training_sets": {"xnli": "rte"}}, 'the labels of "rte" are'),
        ({"training_sets": {"mnli": "sick"}}, "training_sets.mnli: not a target"),
        ({"name": "../elsewhere"}, "name: "),
        ({"training": {"target": {"steps": 5}, "intermediate": {"steps": 5, "epochs": 2}}}, "either steps or epochs"),
        (
            {"training": {**micro()["training"], "overrides": {"mnlli": {}}}},
            'training.overrides: .*did you mean "mnli"',
        ),
    ],
)
def test_bad_parameters_name_the_key(write, change, message):
    path = write(micro() | change)
    with pytest.raises(UserError, match=message) as raised:
        load_study(path)
    assert "study.yaml" in str(raised.value)


def test_a_set_is_not_trained_on_and_scored(write):
    """SQuAD v2.0's development articles are XQuAD's."""
    files = yaml.safe_load((ROOT / "params" / "files.yaml").read_text())
    splits = files["files"]["splits"] | {"squad2": {"train": "dev[:80%]", "dev": "dev[80%:]"}}
    files |= {"files": files["files"] | {"splits": splits}, "intermediate": ["none", "squad2"]}
    with pytest.raises(UserError, match=r"squad2.*xquad"):
        load_study(write(files))
    files |= {"targets": ["xnli", "tydiqa"], "training_sets": {"xnli": "sick"}}
    assert load_study(write(files)).targets == ("xnli", "tydiqa")


@pytest.mark.parametrize("text", ["", "- a\n- b", "name: [", "42"])
def test_not_a_parameter_file(write, text):
    with pytest.raises(UserError, match=r"study\.yaml"):
        load_study(write(text))


def test_unknown_study_suggests():
    with pytest.raises(UserError, match='did you mean "micro"'):
        load_study("mikro")


def test_runs_in_order(write):
    study = load_study(
        write(micro() | {"intermediate": ["none", "mnli"], "targets": ["xnli", "tatoeba"], "bundle": "each"})
    )
    names = [run.name for run in list_runs(study)]
    assert names[:2] == ["encoder/seed1", "encoder/seed2"]
    assert "intermediate/none/seed1" not in names
    assert "targets/mnli/tatoeba/seed2" in names
    assert len(names) == 2 + 2 + 2 * 2 * 2 + 1


def test_resolved_study_reads_back_the_same(write, tmp_path):
    study = load_study(write(micro() | {"runs": str(tmp_path / "runs")}), seeds=3)
    study.folder.mkdir(parents=True)
    assert load_study(study.resolve()).model_dump() == study.model_dump()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retrieval": {"pooling": "cls", "special_tokens": False}}, "special_tokens: false leaves nothing to pool"),
        ({"retrieval": {"layer": 4}}, r"retrieval.layer: 4, and the encoder has 3 layers: 0 \(embeddings\) to 3"),
        ({"retrieval": {"layers": "every"}}, "retrieval.layers"),
    ],
)
def test_layers_and_pooling_that_cannot_be(write, changes, message):
    with pytest.raises(UserError, match=message):
        load_study(write({"based_on": "micro", "name": "pooled", **changes}))
