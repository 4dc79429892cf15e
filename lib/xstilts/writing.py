"""Files and folders that are whole or not there: written aside, brought to the disk, then renamed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@contextmanager
def whole_file(path: Path, lasting: bool = True) -> Iterator[Path]:
    """Where to write the file ``path``, which takes its name, and the place of an older one, when all is written.
    Without ``lasting`` it is not waited for until the disk has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        if lasting:
            _sync(aside)
        aside.replace(path)
        if lasting:
            _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)  # a full disk has no room for halves


@contextmanager
def written_whole(folder: Path, replace: bool = True) -> Iterator[Path]:
    """A folder to write into that takes its name only when all is written, and the place of an older one, or,
    without ``replace``, leaves that one there: another process was first."""
    aside = _aside(folder)
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in [*sorted(aside.rglob("*"), reverse=True), aside]:
            _sync(path)
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        with nullcontext() if replace else suppress(OSError):
            aside.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_table(table: "DataFrame", path: Path) -> None:
    """As Parquet, or as CSV with numbers to 4 decimals, by the ending of ``path``."""
    with whole_file(path) as aside:
        if path.suffix == ".csv":
            table.to_csv(aside, index=False, float_format="%.4f")
        else:
            table.to_parquet(aside, index=False)


def write_record(path: Path, record: dict) -> None:
    """A JSON record."""
    write_text(path, json.dumps(record, indent=1))


def read_record(path: Path) -> dict:
    """A JSON record, or {} where there is none that can be read: what a failing disk left proves nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}


def remove_halves(folder: Path) -> None:
    """What killed processes left half-written in a folder that no other process writes to."""
    for path in sorted(folder.glob(".*.half-*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _aside(path: Path) -> Path:
    # random rather than the process's number: processes of two containers may have the same
    return path.with_name(f".{path.name}.half-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
