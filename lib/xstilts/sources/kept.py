"""Sets generated or read once are kept as Arrow files: every run of a study loads the same ones."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from pyarrow import ArrowException

from ..errors import UserError
from ..hashes import digest, file_hash
from ..tasks import Task
from ..writing import written_whole
from . import Source

datasets.disable_progress_bars()


class KeptSource:
    """A :class:`Source` with a folder for what it loads. A set is found again by a hash of its task, its
    :meth:`Source.fingerprint` and the code that makes it; the folder can be deleted at any time."""

    def __init__(self, source: Source, folder: Path):
        self.source, self.folder = source, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def load(self, task: Task, split: str, language: str) -> datasets.Dataset:
        asked = (repr(task), split, language, self.source.fingerprint(task, split, language))
        return self._kept(asked, lambda: self.source.load(task, split, language))

    def size(self, task: Task, split: str, language: str) -> int:
        """Examples of a set: as the source knows them beforehand, else counted."""
        known = getattr(self.source, "size", None)
        return known(task, split, language) if known else len(self.load(task, split, language))

    def at_hand(self, *asked: Any) -> bool:
        """Whether ``load(*asked)``, or ``text`` where nothing is asked, reads only what is on this machine."""
        known = getattr(self.source, "at_hand", None)
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
