"""Files as lines, columns and JSON records; every error names file and line.

Files are UTF-8 (a byte-order mark is dropped); line ends are LF or CRLF. Text is kept as it stands.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest

UNLABELLED = -1
Rows = Iterator[tuple[str, dict[str, Any]]]  # (file:line or file: question id, canonical row)


def text_of(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: is missing; it belongs to the files beside it")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) without line ends; empty lines at the end of the file are none.

    Not ``str.splitlines``: real text holds U+2028 and the like inside a field.
    """
    text = text_of(path).rstrip("\r\n")
    if not text:
        raise UserError(f"{path}: is empty")
    for number, line in enumerate(text.split("\n"), 1):
        yield f"{path}:{number}", line.removesuffix("\r")


def columns_of(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    for where, line in lines_of(path):
        cells = line.split("\t")
        if len(cells) != width:
            raise UserError(f"{where}: {len(cells)} columns, expected {width} separated by tabs")
        yield where, cells


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    for where, line in lines_of(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: expected a JSON object, found {line[:40]}")
        yield where, record


def get(record: dict, key: str, kind: type, where: str) -> Any:
    """``record[key]``, which must be there and of that type."""
    if not isinstance(record, dict):
        raise UserError(f'{where}: expected a JSON object with "{key}", found {str(record)[:40]!r}')
    if key not in record:
        raise UserError(f'{where}: no "{key}"{nearest(key, record)}')
    if not isinstance(record[key], kind):
        raise UserError(f'{where}: "{key}" is {record[key]!r}, expected {kind.__name__}')
    return record[key]


def index_of(value: Any, known: tuple, where: str, what: str = "label") -> int:
    """Position of a gold value among ``known``; UNLABELLED where there is none."""
    if value in (None, ""):
        return UNLABELLED
    if value not in known:
        raise UserError(f'{where}: {what} "{value}" is none of {", ".join(map(str, known))}')
    return known.index(value)
