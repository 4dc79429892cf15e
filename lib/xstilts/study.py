"""A study as ``params/*.yaml`` states it: read, validated, and listed by its runs. Imports nothing heavy."""

import copy
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from xstilts.errors import UserError, located, nearest, refuse
from xstilts.io import ROOT
from xstilts.names import NONE
from xstilts.readers.custom import declare
from xstilts.readers.records import text_of
from xstilts.settings import Study
from xstilts.validation import check, explain


def load_study(study: str | Path, **changes: Any) -> Study:
    """Read ``params/<study>.yaml`` (a name) or the file at a path; ``changes`` replace top-level keys.

    A file with ``based_on: <study>`` states only what it changes of that one; lists are replaced whole, and so
    is a section by ``{}``; ``null`` removes a key. What the basis says of targets and runs that the study lacks
    stays behind.
    Raises UserError naming the file and the key for anything a study cannot be run with.
    """
    path = _path(study)
    values = read_yaml(path)
    if "based_on" in values:
        values = _with_basis(path, values)
    values |= {key: value for key, value in changes.items() if value is not None}
    try:
        loaded = Study.model_validate_json(json.dumps(values))  # in JSON a list is a tuple, also to strict types
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, Study)}") from None
    loaded._path = path
    if not loaded.encoder.checkpoint:
        loaded = _with_fitting_lengths(loaded)
    with located(path):
        loaded._own_tasks = declare(loaded.own, ROOT, loaded.source_language)
        check(loaded)
    return loaded


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a file of YAML 1.2, as :func:`parse_yaml`."""
    return parse_yaml(text_of(path), str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Keys and values of YAML 1.2, where ``no`` is text. UserError with the line, in what ``name`` says."""
    try:
        anchored = []  # whether each open collection has an anchor
        for event in YAML(typ="safe", pure=True).parse(text) if "*" in text else ():  # parsing is half of the time
            if isinstance(event, CollectionStartEvent):
                anchored.append(event.anchor is not None)
            elif isinstance(event, CollectionEndEvent):
                anchored.pop()
            elif isinstance(event, AliasEvent) and any(anchored):  # a few lines can stand for gigabytes
                problem = "an alias (*) inside an anchor (&); write its values out"
                raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        values = YAML(typ="safe", pure=True).load(text)
        json.dumps(values, default=_refuse, ensure_ascii=False).encode()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(" ".join(filter(None, [error.context, error.problem])).split())
        raise UserError(f"{name}:{mark.line + 1 if mark else 1}: not readable as YAML: {problem}") from None
    except (YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError) as error:
        nested = isinstance(error, RecursionError)  # else a value does not fit its tag
        problem = "nested too deeply; expected a few levels" if nested else " ".join(str(error).split())
        raise UserError(f"{name}: not readable as YAML: {problem}") from None
    refuse(not isinstance(values, dict), f"{name}: expected keys and values (name:, intermediate:, targets:, …)")
    return values


def dump_yaml(values: dict[str, Any]) -> str:
    """YAML 1.2 that :func:`parse_yaml` reads as these values, in their order: texts such as ``1e5`` in quotes."""
    writer, text = YAML(pure=True), io.StringIO()
    writer.width = 1000
    writer.dump(values, text)
    return text.getvalue()


def _refuse(value: Any) -> None:
    raise ValueError(f"{value}: a {type(value).__name__} to YAML; put it in quotes")


def _with_basis(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of the study that ``based_on`` names, changed by those of the file at ``path``."""
    name = values.pop("based_on")
    refuse(not isinstance(name, str), f"{path}: based_on: {name!r}: expected the name of a study")
    base = _path(name)
    basis = read_yaml(base)
    shares = values.get("shares") or basis.get("name")
    message = f'{path}: shares: "{shares}": a study shares the runs of the one it is based on'
    refuse(shares != basis.get("name"), message)
    refuse("based_on" in basis, f"{path}: based_on: {base} is itself based on another study; name that one")
    encoder = values.get("encoder")
    if isinstance(encoder, dict) and "checkpoint" in encoder:
        values["encoder"] = {"revision": "", **encoder}  # that of the basis is of another checkpoint
    return _merged(_of_study(basis | {"controls": []}, values), values)


def _of_study(basis: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The basis without what it says of targets and runs that the new study, by its ``values``, lacks."""
    basis = copy.deepcopy(basis)
    with suppress(AttributeError, TypeError):  # malformed: said when the whole is read
        for key, part in (("targets", "targets"), ("intermediate", "runs")):
            names, bundles = values.get(key) or [], basis.get("further", {})
            for name, bundle in [*bundles.items()] if names else ():
                bundle[part] = [item for item in bundle.get(part, [NONE]) if item in names]
                if not bundle[part]:
                    del bundles[name]
        sets = basis.get("training_sets", {})
        for target in sets.keys() - (values.get("targets") or sets):
            del sets[target]
    return basis


def _merged(basis: Any, changes: Any) -> Any:
    """``changes`` over ``basis``, section by section; an empty one, ``{}``, empties it, ``null`` removes a key."""
    if not (isinstance(changes, dict) and isinstance(basis, dict)):
        return changes
    merged = {key: _merged(basis.get(key), value) if value else value for key, value in changes.items()}
    return {key: value for key, value in (basis | merged).items() if value is not None}


def _with_fitting_lengths(study: Study) -> Study:
    """The study with lengths that it does not state cut to what its own encoder takes."""
    lengths = study.training.max_length
    longest = study.encoder.pretrain.positions - 2
    limits = dict.fromkeys(lengths.model_dump(), longest) | {"stride": longest // 3}
    cut = {key: min(getattr(lengths, key), limits[key]) for key in limits.keys() - lengths.model_fields_set}
    training = study.training.model_copy(update={"max_length": lengths.model_copy(update=cut)})
    return study.model_copy(update={"training": training})


def _path(study: str | Path) -> Path:
    path = Path(study)
    path = ROOT / path if path.suffix in (".yaml", ".yml") else ROOT / "params" / f"{study}.yaml"
    if "\0" in str(path) or not os.path.isfile(path):  # False also for a name that is too long
        names = [known.stem for known in sorted((ROOT / "params").glob("*.yaml"))]
        raise UserError(f'no study "{study}": {path} does not exist{nearest(Path(study).stem, names)}')
    return path
