"""Sets generated or read once are kept as Arrow files: every run of a study loads the same ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from pyarrow import ArrowException

from xstilts.errors import UserError
from xstilts.io import digest, file_hash, lock, written_whole
from xstilts.sources import Source
from xstilts.tasks import Task

if TYPE_CHECKING:
    from xstilts.sources.custom import OwnSource

log = logging.getLogger(__name__)
datasets.disable_progress_bars()
UNREADABLE = (OSError, ValueError, ArrowException)  # what datasets meets in a damaged folder


class KeptSource:
    """A :class:`Source` with the tasks of the study's own beside, and a folder for what it loads. A set is found again
    by a hash of its task, its :meth:`Source.fingerprint` and the code that makes it; the folder can be deleted at any
    time."""

    def __init__(self, source: Source, folder: Path, own: OwnSource | None = None):
        self.source, self.folder, self.own = source, folder, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def _of(self, task: Task) -> Any:
        """Who has the task."""
        return self.own if self.own and task.name in self.own.tasks else self.source

    def languages(self, task: Task, split: str) -> list[str]:
        return self._of(task).languages(task, split)

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        return self._of(task).fingerprint(task, split, language)

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        self.source.check([asked for asked in sets if self._of(asked[0]) is self.source], text)

    def load(self, task: Task, split: str, language: str) -> datasets.Dataset:
        return self._kept(self._asked(task, split, language), lambda: self._of(task).load(task, split, language))

    def holds(self, *asked: Any) -> bool:
        """Whether ``load(*asked)``, or ``text(*asked)`` where that is a seed, was read, and found right, before."""
        return self._place(self._asked(*asked)).is_dir()

    def size(self, task: Task, split: str, language: str) -> int:
        """Examples of a set: as the source knows them beforehand, else counted."""
        known = getattr(self._of(task), "size", None)
        return known(task, split, language) if known else len(self.load(task, split, language))

    def at_hand(self, *asked: Any) -> bool:
        """Whether ``load(*asked)``, or ``text`` where nothing is asked, reads only what is on this machine."""
        known = getattr(self._of(asked[0]) if asked else self.source, "at_hand", None)
        return known(*asked) if known else True

    def text(self, seed: int) -> datasets.Dataset:
        return self._kept(self._asked(seed), lambda: self.source.text(seed))

    def _asked(self, what: Task | int, *more: str) -> tuple[str, ...]:
        """What tells a set, or the text of a seed, from every other."""
        if isinstance(what, int):
            return "text", self.source.text_fingerprint(what)
        return repr(what), *more, self.fingerprint(what, *more)

    def _place(self, asked: tuple[str, ...]) -> Path:
        return self.folder / digest([_code_hash(), *asked])

    def _kept(self, asked: tuple[str, ...], make: Callable[[], datasets.Dataset]) -> datasets.Dataset:
        folder = self._place(asked)
        if not folder.is_dir():
            self._write(folder, make(), replace=False)
        try:
            return datasets.load_from_disk(folder)
        except UNREADABLE:
            with lock(self.folder / ".lock", wait=True)[0]:
                return self._mended(folder, make)

    def _write(self, folder: Path, rows: datasets.Dataset, replace: bool) -> None:
        try:
            with written_whole(folder, replace) as aside:
                rows.save_to_disk(aside)
        except OSError as error:  # full, read-only, …
            raise UserError(
                f"{self.folder}: cannot be written ({error.strerror or error}); free space there, or name another "
                "folder under runs:"
            ) from None

    def _mended(self, folder: Path, make: Callable[[], datasets.Dataset]) -> datasets.Dataset:
        """A set that could not be read: as another process mended it, or made again."""
        try:
            return datasets.load_from_disk(folder)
        except UNREADABLE as error:
            reason = " ".join(str(error).split())
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: not a folder, and the place of a kept set; delete it")
        log.warning("%s: this kept set cannot be read (%s): made again", folder, reason)
        self._write(folder, make(), replace=True)
        return datasets.load_from_disk(folder)


@cache
def _code_hash() -> str:
    folder = Path(__file__).parent
    folders = [folder, folder.parent / "readers", folder.parents[1] / "microworld"]
    paths = [path for each in folders for path in sorted(each.glob("*.py"))]
    return digest([file_hash(path) for path in paths])
