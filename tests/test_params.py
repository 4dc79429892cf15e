"""params/xtreme.yaml: no key that nothing reads, and none that can be misspelt in silence."""

import copy
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

import mirror
from toy import build_checkpoint
from xstilts import phases
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.plan import print_plan
from xstilts.preflight import check_data
from xstilts.runs import list_runs
from xstilts.settings import Study
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.tasks import RETRIEVAL_KINDS, get

RAW = yaml.safe_load((ROOT / "params" / "xtreme.yaml").read_text(encoding="utf-8"))


def keys(values: dict, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all keys, those of sections included."""
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from keys(value, (*before, key))


KEYS = list(keys(RAW))


def section(values: dict, path: tuple[str, ...]) -> dict:
    """The section that holds the last key of the path."""
    for key in path[:-1]:
        values = values[key]
    return values


LEAVES = [path for path in KEYS if not isinstance(section(RAW, path)[path[-1]], dict)]


def declared(path: tuple[str, ...]) -> tuple[type[BaseModel], str] | None:
    """(settings class, field) of a leaf; None of what stands under the free names of ``overrides``."""
    model = Study
    for key in path[:-1]:
        model = model.model_fields[key].annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            return None
    return model, path[-1]


@pytest.fixture
def load(tmp_path):
    def load(values) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return load_study(path)

    return load


def name_of(path: tuple[str, ...]) -> str:
    return ".".join(path)


def test_the_library_reads_every_key(load, tmp_path, monkeypatch, capsys):
    """Every settings object is watched while the study is planned and run in small, once it is loaded: what is
    merely validated counts as not read."""
    mirror.build_all(tmp_path, rows=3)
    values = copy.deepcopy(RAW) | {
        "languages": ["de"], "targets": ["xnli", "udpos", "xquad", "bucc", "tatoeba"], "runs": str(tmp_path / "runs"),
        "intermediate": ["none", "csqa+cosmosqa+mlm"], "encoder": {"checkpoint": str(build_checkpoint(tmp_path / "e"))},
    }  # fmt: skip
    values["hub"] |= {name: str(tmp_path / name) for name in ("mirror", "bucc", "ccgbank")}
    values["retrieval"] |= {"layer": 1}
    for phase in ("intermediate", "target"):
        values["training"][phase] |= {"evaluate_every": 1, "epochs": 1}
    values["training"] |= {"overrides": {}, "max_length": RAW["training"]["max_length"] | {"retrieval": 128}}
    study, seen = load(values), set()
    classes = {found[0] for path in LEAVES if (found := declared(path))}
    for model in classes:

        def watched(self, name, model=model):
            seen.add((model, name))
            return BaseModel.__getattribute__(self, name)

        monkeypatch.setattr(model, "__getattribute__", watched, raising=False)
    check_data(study)
    assert {run.bundle for run in list_runs(study) if run.bundle} == set(study.targets)
    print_plan(study, "A100-80GB", "", 0.4, None)
    assert study.title in capsys.readouterr().out
    source = open_source(study)
    phases.encoder(study, source, 1)
    phases.intermediate(study, source, "csqa+cosmosqa+mlm", 1)
    for target in study.targets:
        list(phases.targets(study, source, "none", target, 1))
    unread = [name_of(path) for path in LEAVES if declared(path) and declared(path) not in seen]
    assert not unread


def said(study: Study) -> list:
    """All that a study says, overrides applied."""
    runs = [("intermediate", name) for name in (*study.intermediate, "mnli+mlm")]
    trainable = [get(name) for name in study.targets if get(name).kind not in RETRIEVAL_KINDS]
    sets = [("target", study.training_task(task).name) for task in trainable]
    return [study.model_dump(exclude={"training": {"overrides"}}), [study.phase(*asked) for asked in runs + sets]]


def another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[:-1]
    if isinstance(value, str):
        return value + "x"
    return value / 2 if isinstance(value, float) else value // 2 or 1 - value


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_another_value_is_another_study_or_refused(load, path):
    values = copy.deepcopy(RAW)
    place = section(values, path)
    place[path[-1]] = another(place[path[-1]])
    try:
        changed = load(values)
    except UserError as error:
        assert name_of(path) in str(error)
    else:
        assert said(changed) != said(load(RAW))


@pytest.mark.parametrize("path", KEYS, ids=name_of)
def test_a_misspelt_key_stops_with_the_near_match(load, path):
    values, key = copy.deepcopy(RAW), path[-1]
    place = section(values, path)
    place[key + key[-1]] = place.pop(key)
    with pytest.raises(UserError) as raised:
        load(values)
    assert f"{name_of(path)}{key[-1]}: " in str(raised.value)
    assert f'did you mean "{key.rpartition("/")[2]}"?' in str(raised.value)


@pytest.mark.parametrize(("key", "name"), [(key, name) for key in ("intermediate", "targets") for name in RAW[key]])
def test_a_misspelt_task_stops_with_the_near_match(load, key, name):
    position = RAW[key].index(name)
    names = [*RAW[key][:position], name + name[-1], *RAW[key][position + 1 :]]
    with pytest.raises(UserError, match=f'{key}.{position}: .*unknown task "{name}{name[-1]}"; did you mean "{name}"'):
        load(RAW | {key: names})


def test_lengths_that_are_not_stated_fit_the_encoder_that_is_pretrained(tmp_path):
    values = yaml.safe_load((ROOT / "params" / "micro.yaml").read_text())
    values |= {"runs": str(tmp_path)}
    values["training"]["max_length"], path = {"tagging": 99}, tmp_path / "short.yaml"
    for positions, longest in ((160, 158), (300, 298), (1000, 1000)):
        values["encoder"] = {"pretrain": {"positions": positions}}
        path.write_text(yaml.safe_dump(values))
        study = load_study(path)
        found = study.training.max_length
        assert found.model_dump() == {
            "tagging": 99, "classification": min(256, longest), "choice": min(256, longest), "span": min(384, longest),
            "stride": min(128, longest // 3), "retrieval": min(512, longest), "mlm": min(256, longest),
        }  # fmt: skip
        assert load_study(study.resolve()).training.max_length == found
