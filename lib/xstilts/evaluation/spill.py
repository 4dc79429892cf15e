"""More rows than memory should hold: in a nameless file of the temporary folder (TMPDIR), by way of SQLite."""

import pickle
import sqlite3
from collections.abc import Iterator
from typing import Any, Self

CACHE = 2048  # KiB of a file in memory


def database(*tables: str) -> sqlite3.Connection:
    """An empty database with these tables (their SQL), gone when it is closed."""
    found = sqlite3.connect("")  # SQLite's name for a file without a name
    for line in ("PRAGMA journal_mode = OFF", f"PRAGMA cache_size = -{CACHE}", *tables):
        found.execute(line)
    return found


class Spill:
    """Rows of plain values, each with a size (major, minor) that they are read back by."""

    def __init__(self) -> None:
        self._rows = database("CREATE TABLE rows (number INTEGER PRIMARY KEY, major INT, minor INT, content BLOB)")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def __len__(self) -> int:
        return self._count

    def add(self, row: Any, size: tuple[int, int]) -> None:
        content = pickle.dumps(row, pickle.HIGHEST_PROTOCOL)
        self._rows.execute("INSERT INTO rows (major, minor, content) VALUES (?, ?, ?)", (*size, content))
        self._count += 1

    def sorted(self) -> Iterator[Any]:
        """Rows by size, smallest first; of equals the one that came first."""
        return self._read("")

    def of(self, major: int) -> Iterator[Any]:
        """The rows of one major size, in the order of :meth:`sorted`."""
        return self._read("WHERE major = ?", major)

    def _read(self, condition: str, *values: int) -> Iterator[Any]:
        self._rows.execute("CREATE INDEX IF NOT EXISTS sizes ON rows (major, minor)")
        asked = f"SELECT content FROM rows INDEXED BY sizes {condition} ORDER BY major, minor, number"
        for (content,) in self._rows.execute(asked, values):
            yield pickle.loads(content)
