"""Files and folders that are written whole or not at all, hashes of values and files, and locks on folders."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from pandas import DataFrame

ROOT = Path(__file__).resolve().parents[2]  # of the project


def digest(value: Any) -> str:
    """Hash of a value of plain lists, dicts, strings and numbers; the order of a dict's keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """Hash of a file's bytes; of one that has not changed since, without reading it again."""
    stat = path.stat()
    return _hash_once(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hash_once(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        with suppress(*([] if replace else [OSError])):
            aside.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """As UTF-8, whole or not at all."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_table(table: "DataFrame", path: Path) -> None:
    """As Parquet, or as CSV with numbers to 4 decimals, by the ending of ``path``."""
    with whole_file(path) as aside:
        if path.suffix == ".csv":
            table.to_csv(aside, index=False, float_format="%.4f")
        else:
            table.to_parquet(aside, index=False)


def write_parts(parts: Iterable[Sequence["DataFrame"]], paths: Sequence[Path]) -> None:
    """Parquet tables that need not fit into memory: each item of ``parts`` holds the next rows of the first of
    ``paths``, of the second, …, of as many as it has."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    writers: dict[Path, ParquetWriter] = {}
    with ExitStack() as files:
        for tables in parts:
            for path, table in zip(paths, tables, strict=False):
                rows = pyarrow.Table.from_pandas(table, preserve_index=False)
                if path not in writers:
                    aside = files.enter_context(whole_file(path))
                    writers[path] = files.enter_context(ParquetWriter(aside, rows.schema))
                writers[path].write_table(rows, row_group_size=max(len(rows), 1))


def read_parts(path: Path) -> Iterator["DataFrame"]:
    """A table of :func:`write_parts` bit by bit, no part of it split."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number).to_pandas()


def write_record(path: Path, record: dict) -> None:
    """A JSON record."""
    write_text(path, json.dumps(record, indent=1))


def read_record(path: Path) -> dict:
    """A JSON record, or {} where there is none that can be read: what a failing disk left proves nothing."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return {}


def remove_halves(folder: Path) -> None:
    """What killed processes left half-written, or half removed, in a folder that no other process writes to."""
    for path in [path for pattern in (".*.half-*", ".checkpoint.*") for path in sorted(folder.rglob(pattern))]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may have lain in one of the folders


def _aside(path: Path) -> Path:
    # random rather than the process's number: processes of two containers may have the same
    return path.with_name(f".{path.name}.half-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def literal(path: Path) -> str:
    """The path for Snakemake and papermill, which fill in names in braces: braces of its own doubled."""
    return str(path).replace("{", "{{").replace("}", "}}")


def lock(path: Path, wait: bool = False) -> tuple[IO[str], dict]:
    """(open file, {}) of a lock held until the file and each copy that a child process was given are closed.

    Held by another process: (file, what it wrote with :func:`sign`) soon, or with ``wait`` when it is free.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  the lock is held as long as it is open
    # a tenth of a second apart: whoever looks at a lock holds it for a moment, longer on a busy machine
    for tries_left in reversed(range(10)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            break
        except BlockingIOError:  # perhaps only looked at
            if not tries_left:
                return file, _signed(file)
            time.sleep(0.1)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a network disk may have no locks
                raise
            break
    return file, {}


def sign(file: IO[str], name: str, **processes: int) -> None:
    """Write into a lock held who holds it: a name and the numbers of processes on this machine."""
    file.truncate(0)
    json.dump({"name": name, "host": socket.gethostname(), **processes}, file)
    file.flush()


def lives(holder: dict, process: str) -> bool:
    """Whether that process of a lock's holder is there; one on another machine is believed to be."""
    return holder.get("host") != socket.gethostname() or psutil.pid_exists(holder.get(process) or os.getpid())


def holder(path: Path) -> dict:
    """What the process that holds the lock at ``path`` wrote with :func:`sign`; {} where none does. Takes nothing
    and leaves nothing behind."""
    with suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back at once
        except BlockingIOError:
            return _signed(file)
        except OSError:  # no locks on this disk
            signed = _signed(file)
            return signed if lives(signed, "process") else {}
    return {}


def _signed(file: IO[str]) -> dict:
    file.seek(0)
    with suppress(ValueError):
        return json.loads(file.read()) or {"name": "?"}
    return {"name": "?"}
