"""Hashes: of values, and of files that are read once."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any


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
