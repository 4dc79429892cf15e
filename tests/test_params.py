"""params/xtreme.yaml: no key that nothing reads, and none that can be misspelt in silence."""

import copy
import inspect
import re
from collections.abc import Iterator

import pytest
import yaml

from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.settings import PhaseSettings, Study
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


@pytest.fixture
def load(tmp_path):
    def load(values) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return load_study(path)

    return load


def name_of(path: tuple[str, ...]) -> str:
    return ".".join(path)


def test_the_library_reads_every_key():
    code = "".join(path.read_text() for path in (ROOT / "lib").rglob("*.py") if path.stem not in ("settings", "study"))
    code += "".join(path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb"))
    code += inspect.getsource(PhaseSettings.total_steps) + inspect.getsource(Study.folder.fget)
    names = {path[-1] for path in LEAVES if "overrides" not in path}
    assert not [name for name in names if not re.search(rf"[.\"']{name}\b", code)]


def content(study: Study) -> list:
    """All that a study says, overrides applied."""
    runs = [("intermediate", name) for name in (*study.intermediate, "mnli+mlm")]
    trainable = [get(name) for name in study.targets if get(name).kind not in RETRIEVAL_KINDS]
    sets = [("target", study.training_task(task).name) for task in trainable]
    return [study.model_dump(exclude={"training": {"overrides"}}), [study.phase(*names) for names in runs + sets]]


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
    parent = section(values, path)
    parent[path[-1]] = another(parent[path[-1]])
    try:
        changed = load(values)
    except UserError as error:
        assert name_of(path) in str(error)
    else:
        assert content(changed) != content(load(RAW))


@pytest.mark.parametrize("path", KEYS, ids=name_of)
def test_a_misspelt_key_stops_with_the_near_match(load, path):
    values, key = copy.deepcopy(RAW), path[-1]
    parent = section(values, path)
    parent[key + key[-1]] = parent.pop(key)
    with pytest.raises(UserError) as raised:
        load(values)
    assert f"{name_of(path)}{key[-1]}: " in str(raised.value)
    assert f'did you mean "{key.rpartition("/")[2]}"?' in str(raised.value)


def test_lengths_that_are_not_stated_fit_the_encoder_that_is_pretrained(tmp_path):
    values = yaml.safe_load((ROOT / "params" / "micro.yaml").read_text())
    values |= {"runs": str(tmp_path)}
    values["training"]["max_length"], path = {"tagging": 99}, tmp_path / "short.yaml"
    for positions, longest in ((160, 158), (300, 298), (1000, 1000)):
        values["encoder"] = {"pretrain": {"positions": positions}}
        path.write_text(yaml.safe_dump(values))
        study = load_study(path)
        assert study.training.max_length.model_dump() == {
            "tagging": 99, "classification": min(256, longest), "choice": min(256, longest), "span": min(384, longest),
            "stride": min(128, longest // 3), "retrieval": min(512, longest), "mlm": min(256, longest),
        }  # fmt: skip
        assert load_study(study.resolve()).training.max_length == study.training.max_length
