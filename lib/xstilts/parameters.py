"""Parameter files as plain values. YAML's surprises are errors that name the line, not other values in silence."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from xstilts.errors import UserError

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes, of what file systems take
MOST_VALUES = 100_000  # of a file, whatever its anchors repeat
# what Loader ends with; all but the first, where a value does not fit its tag
UNREADABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError)


class Loader(yaml.SafeLoader):
    """Plain values alone; no key twice, no merge keys (a few lines of them can grow to gigabytes), and no scalar that
    YAML 1.1 reads as something else than it looks like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[tuple[str, Any], int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                raise _error("<< merges nothing here: write the keys out, or say based_on", key.start_mark)
            if isinstance(key, yaml.ScalarNode) and seen.setdefault((key.tag, key.value), line) != line:
                first = seen[key.tag, key.value]
                raise _error(f'the key "{key.value}" stands already on line {first}; keep one', key.start_mark)
        return super().construct_mapping(node, deep)

    def number(self, node: yaml.ScalarNode) -> int | float:
        """``010`` is 8 to YAML, and ``1:30`` is 90."""
        if re.search(r"^[-+]?0[0-9_]+$|:", node.value):
            what = "a number in base 60" if ":" in node.value else "an octal number"
            raise _error(
                f"YAML reads {node.value} as {what}: write a plain number, or put it in quotes", node.start_mark
            )
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)

    def date(self, node: yaml.ScalarNode) -> None:
        raise _error(f"YAML reads {node.value} as a date: put it in quotes", node.start_mark)


def _error(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


for _tag, _read in (("int", Loader.number), ("float", Loader.number), ("timestamp", Loader.date)):
    Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _read)


def read(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file. UserError naming file and line, or key."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8-sig"), Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise UserError(f"{path}:{mark.line + 1 if mark else 1}: not readable as YAML: {problem}") from None
    except RecursionError:
        raise UserError(f"{path}: not readable as YAML: nested too deeply; expected a few levels") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values (name:, intermediate:, targets:, …), found none")
    try:
        _check_values(values, path, "", count())
    except RecursionError:  # an anchor within itself
        raise UserError(f"{path}: nested too deeply; expected a few levels") from None
    return values


def _check_values(value: Any, path: Path, key: str, seen: Iterator[int]) -> None:
    """No strings that cannot be written or name no file; no infinite numbers; not too much of all."""
    if next(seen) > MOST_VALUES:
        raise UserError(f"{path}: more than {MOST_VALUES} values, its anchors (&, *) taken in full; write fewer")
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise UserError(f"{path}: {key}{name!r}: a key that YAML reads as no name{unquoted(name)}")
            _check_values(name, path, f"{key}{name}", seen)
            _check_values(item, path, f"{key}{name}.", seen)
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            _check_values(item, path, f"{key}{place}.", seen)
    elif isinstance(value, float) and not abs(value) < float("inf"):
        raise UserError(f"{path}: {key.rstrip('.')}: {value}; expected a finite number")
    elif isinstance(value, str) and (found := CONTROL.search(value)):
        raise UserError(f"{path}: {key.rstrip('.')}: holds the control character {found[0]!r}; leave it out")
    elif isinstance(value, str) and key != "title." and _too_long(value):
        raise UserError(
            f"{path}: {key.rstrip('.')}: {len(value)} characters, too long for a name or a path; shorten it"
        )


def _too_long(value: str) -> bool:
    return len(value.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in value.split("/"))


def unquoted(value: Any) -> str:
    """What to do about a value that was meant as text."""
    if isinstance(value, bool):
        return "; YAML reads yes, no, on, off, true and false as truth values: put it in quotes"
    return "; put it in quotes" if isinstance(value, (int, float)) else ""


def truths(values: Any, read: Any, key: str = "") -> str:
    """The key of a truth value that stands for a number (pydantic takes ``true`` for 1); "" where there is none."""
    if isinstance(values, dict) and isinstance(read, dict):
        pairs = [(f"{key}.{name}" if key else name, value, read.get(name)) for name, value in values.items()]
    elif isinstance(values, list) and isinstance(read, (list, tuple)):
        pairs = [(f"{key}.{n}", *pair) for n, pair in enumerate(zip(values, read, strict=False))]
    else:
        return key if isinstance(values, bool) and not isinstance(read, bool) else ""
    return next(filter(None, (truths(value, beside, name) for name, value, beside in pairs)), "")
