"""Files as lines, columns, CSV and JSON records; every error names file and line.

Files are UTF-8, or UTF-16 with a byte-order mark (which is dropped); line ends are LF or CRLF. Text is kept as it
stands.
"""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import pydantic_core

from xstilts.errors import UserError, nearest

UNLABELLED = -1
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}  # of exported tables
Rows = Iterator[tuple[str, dict[str, Any]]]  # (file:line or file: question id, canonical row)


def text_of(path: Path) -> str:
    """A file's text, in UTF-8 or, with a byte-order mark, UTF-16. UserError where it is missing, unreadable or no
    text."""
    if not path.is_file():
        raise UserError(f"{path}: is missing; it belongs to the files beside it")
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(error.encoding, "ignore").count("\n") + 1
        text = " ".join(data[max(error.start - 10, 0) : error.start + 10].decode("latin-1").split())
        problem = "UTF-16, which it begins as" if wide else f"UTF-8 ({error.reason}; as Latin-1 it reads {text!r})"
        remedy = 'save the file as UTF-8 (in a spreadsheet, a copy as "CSV UTF-8")'
        raise UserError(f"{path}:{line}: not {problem}; {remedy}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}:{line}: a NUL byte; expected text in UTF-8, or UTF-16 with its mark: save it anew")
    return text


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """(origin, line) without line ends; empty lines at the end of the file are none.

    Not ``str.splitlines``: real text holds U+2028 and the like inside a field.
    """
    text = text_of(path).rstrip("\r\n")
    if not text:
        raise UserError(f"{path}: is empty")
    for number, line in enumerate(text.split("\n"), 1):
        yield f"{path}:{number}", line.removesuffix("\r")


def columns_of(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    """(file and line, cells) of a table of tabs. UserError at a line that has not ``width`` columns."""
    for origin, line in lines_of(path):
        cells = line.split("\t")
        if len(cells) != width:
            raise UserError(f"{origin}: {len(cells)} columns, expected {width} separated by tabs")
        yield origin, cells


def csv_records(path: Path, columns: Sequence[str] = (), delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """(origin, record) of a table whose header names at least ``columns``: CSV with quotes, or raw text where tabs are
    expected. ``columns`` that are all numbers, and are not in the first line, count those of a table without a header,
    from 1. Empty lines are passed over. Where the first lines are no table by ``delimiter``, it is another of
    ``DELIMITERS`` by which they are one: spreadsheets write that of their country."""
    text, expected = text_of(path), delimiter
    for lines, other in product((20, 1), dict.fromkeys([expected, *DELIMITERS])):
        with suppress(csv.Error):
            widths = {len(cells) for cells in islice(filter(None, _table(text, other, expected)), lines)}
            if len(widths) == 1 and widths != {1}:
                delimiter = other
                break
    table = _table(text, delimiter, expected)
    try:
        header = [*next(table, [])]
        if columns and all(map(str.isdecimal, columns)) and not {*columns} <= {*header}:
            header = [str(number) for number in range(1, len(header) + 1)]
            table = _table(text, delimiter, expected)
        for name in columns:
            if name not in header:
                raise UserError(f'{path}:1: no column "{name}"{nearest(name, header)}')
        for name in header:
            if header.count(name) > 1:
                raise UserError(f'{path}:1: the column "{name}" stands there twice; keep one')
        for cells in filter(None, table):
            origin = f"{path}:{table.line_num}"
            if len(cells) != len(header):
                between = DELIMITERS[delimiter]
                raise UserError(f"{origin}: {len(cells)} columns, expected {len(header)} separated by {between}")
            yield origin, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}:{table.line_num}: not CSV ({error})") from None


def _table(text: str, delimiter: str, expected: str) -> Any:
    quoting = csv.QUOTE_NONE if delimiter == expected == "\t" else csv.QUOTE_MINIMAL
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]


def from_json(text: str, origin: str, whole: bool = False) -> Any:
    """The value of a JSON text, a line or a ``whole`` file. UserError also for what Python alone takes: NaN, and halves
    of characters (``\\ud83d``), which nothing can write."""
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        reason, _, position = str(error).rpartition(" at line ")
        line, _, column = position.partition(" ")
        origin = f"{origin}:{line}" if whole else origin
        raise UserError(f"{origin}: not JSON ({reason} at {column}); is the file whole? Save it anew") from None


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """(file and line, object) of a file of JSON lines. UserError at a line that is none."""
    for origin, line in lines_of(path):
        record = from_json(line, origin)
        if not isinstance(record, dict):
            raise UserError(f"{origin}: expected a JSON object, found {line[:40]}")
        yield origin, record


def get(record: dict, key: str, kind: type | tuple[type, ...], origin: str) -> Any:
    """``record[key]``, which must be there and of that type, or one of them."""
    if not isinstance(record, dict):
        raise UserError(f'{origin}: expected a JSON object with "{key}", found {str(record)[:40]!r}')
    if key not in record:
        raise UserError(f'{origin}: no "{key}"{nearest(key, record)}')
    if not isinstance(record[key], kind) or (kind is not bool and isinstance(record[key], bool)):
        wanted = kind[0] if isinstance(kind, tuple) else kind
        raise UserError(f'{origin}: "{key}" is {record[key]!r}, expected {wanted.__name__}')
    return record[key]


def id_of(record: dict, key: str, origin: str) -> str:
    """``record[key]``, an id: a text or a whole number."""
    return str(get(record, key, (str, int), origin))


def strings(record: dict, key: str, origin: str) -> list[str]:
    """``record[key]``, which must be a list of texts."""
    values = get(record, key, list, origin)
    for item in values:
        if not isinstance(item, str):
            raise UserError(f'{origin}: "{key}" holds {item!r}, expected texts alone')
    return values


def label_name(value: Any) -> str:
    """A label as it is compared with others: without blanks around it, in Unicode's normal form NFC."""
    return unicodedata.normalize("NFC", str(value)).strip()


@cache
def _positions(known: tuple[str, ...]) -> dict[str, int]:
    return {label_name(label): position for position, label in enumerate(known)}


def index_of(value: Any, known: tuple[str, ...], origin: str, what: str = "label") -> int:
    """Position of a gold value among those known; a whole number, also one written as text, that is no name among
    them is the position. UNLABELLED for None, "" and -1."""
    name = "" if value is None else label_name(value)
    if name in ("", str(UNLABELLED)):
        return UNLABELLED
    positions = _positions(known)
    if name in positions:
        return positions[name]
    if name.removeprefix("-").isdecimal() and not any(map(str.isdecimal, positions)):
        if not 0 <= int(name) < len(known):
            raise UserError(f"{origin}: {what} {value}, expected 0 to {len(known) - 1}, or {UNLABELLED} for none")
        return int(name)
    raise UserError(f'{origin}: {what} "{value}" is none of {", ".join(known)}')
