"""More rows than memory should hold: kept in a nameless file of the temporary folder (TMPDIR), read back in order."""

import pickle
import tempfile
from array import array
from collections.abc import Iterator
from typing import Any, Self

import numpy as np


class Spill:
    """Rows of plain values, each with a size (major, minor) that they are read back by; 24 bytes of each in memory."""

    def __init__(self):
        self._file = tempfile.TemporaryFile(prefix="xstilts-")  # noqa: SIM115  lives as long as this
        self._places, self._sizes = array("q"), (array("l"), array("l"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, row: Any, size: tuple[int, int]) -> None:
        self._places.append(self._file.tell())
        for column, value in zip(self._sizes, size, strict=True):
            column.append(value)
        pickle.dump(row, self._file, pickle.HIGHEST_PROTOCOL)

    def sorted(self) -> Iterator[Any]:
        """Rows by size, smallest first; of equals the one that came first."""
        for row in np.lexsort(self._sizes[::-1]):
            self._file.seek(self._places[row])
            yield pickle.load(self._file)
