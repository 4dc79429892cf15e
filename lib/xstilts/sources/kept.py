"""Sets generated or read once are kept as Arrow files: every run of a study loads the same ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from pyarrow import ArrowException

from ..errors import UserError
from ..hashes import digest, file_hash
from ..tasks import Task
from ..writing import written_whole
from . import Source

if TYPE_CHECKING:
    from .own import OwnSource

datasets.disable_progress_bars()


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
        asked = (repr(task), split, language, self.fingerprint(task, split, language))
        return self._kept(asked, lambda: self._of(task).load(task, split, language))

    def size(self, task: Task, split: str, language: str) -> int:
        """Examples of a set: as the source knows them beforehand, else counted."""
        known = getattr(self._of(task), "size", None)
        return known(task, split, language) if known else len(self.load(task, split, language))

    def at_hand(self, *asked: Any) -> bool:
        """Whether ``load(*asked)``, or ``text`` where nothing is asked, reads only what is on this machine."""
        known = getattr(self._of(asked[0]) if asked else self.source, "at_hand", None)
        return known(*asked) if known else True

    def text(self, seed: int) -> datasets.Dataset:
        return self._kept(("text", self.source.text_fingerprint(seed)), lambda: self.source.text(seed))

    def _kept(self, asked: tuple[str, ...], make: Callable[[], datasets.Dataset]) -> datasets.Dataset:
        name = digest([_code_hash(), *asked])
        folder = self.folder / name
        if not folder.is_dir():
            rows = make()
            try:
                with written_whole(folder, replace=False) as aside:
                    rows.save_to_disk(aside)
            except OSError as error:  # full, read-only, …
                raise UserError(
                    f"{self.folder}: cannot be written ({error.strerror or error}); free space there, or name another "
                    "folder under runs:"
                ) from None
        try:
            return datasets.load_from_disk(folder)
        except (OSError, ValueError, ArrowException) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{folder}: this kept set cannot be read; delete it, it is made again ({reason})") from None


@cache
def _code_hash() -> str:
    return digest([file_hash(path) for path in sorted(Path(__file__).parent.glob("*.py"))])
