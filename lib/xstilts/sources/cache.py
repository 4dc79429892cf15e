"""Datasets that were generated or read once are cached as Arrow files: every run of a study loads the same ones."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pyarrow import ArrowException

from xstilts.errors import UserError, refuse
from xstilts.io import digest, file_hash, lock, written_whole
from xstilts.sources.base import Source, TaskSource
from xstilts.sources.files import CustomSource
from xstilts.tasks import TRANSLATED, Task

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)
DAMAGED = (OSError, ValueError, ArrowException)  # what datasets raises for a damaged folder


class CachedSource(Source):
    """A source, with the user's own tasks and translated training sets beside, whose datasets are cached in ``folder``,
    which can be deleted at any time. A cached dataset is named by a hash of its task, its :meth:`Source.fingerprint`
    and the code that makes it."""

    def __init__(
        self, source: Source, folder: Path, custom: CustomSource | None = None, translated: TaskSource | None = None
    ):
        self.source, self.folder, self.custom, self.translated = source, folder, custom, translated
        self.source_language = source.source_language

    def _source_of(self, task: Task, split: str) -> TaskSource:
        if self.custom and task.name in self.custom.tasks:
            return self.custom
        return self.translated if self.translated and split == TRANSLATED else self.source

    def languages(self, task: Task, split: str) -> list[str]:
        return self._source_of(task, split).languages(task, split)

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        return self._source_of(task, split).fingerprint(task, split, language)

    def text_fingerprint(self, seed: int) -> str:
        return self.source.text_fingerprint(seed)

    def language_table(self) -> pd.DataFrame:
        return self.source.language_table()

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        fetched = [item for item in sets if item[1] != TRANSLATED and self._source_of(item[0], item[1]) is self.source]
        self.source.check(fetched, text)

    def known_size(self, task: Task, split: str, language: str) -> int | None:
        return self._source_of(task, split).known_size(task, split, language)

    def at_hand(self, task: Task, split: str, language: str) -> bool:
        return self._source_of(task, split).at_hand(task, split, language)

    def text_at_hand(self) -> bool:
        return self.source.text_at_hand()

    def topics(self, task: Task, split: str) -> dict[str, str]:
        return self._source_of(task, split).topics(task, split)

    def load(self, task: Task, split: str, language: str) -> "Dataset":
        source = self._source_of(task, split)
        key = [repr(task), split, language, source.fingerprint(task, split, language)]
        return self._cached(key, lambda: source.load(task, split, language))

    def text(self, seed: int) -> "Dataset":
        return self._cached(["text", self.text_fingerprint(seed)], lambda: self.source.text(seed))

    def _cached(self, key: list[str], make: Callable[[], "Dataset"]) -> "Dataset":
        import datasets  # takes a second, and status reads no row

        datasets.disable_progress_bars()
        path = self.folder / digest([_code_hash(), *key])
        if not path.is_dir():
            self._write(path, make(), replace=False)
        with suppress(*DAMAGED):
            return datasets.load_from_disk(path)
        with lock(self.folder / ".lock", wait=True)[0]:
            try:
                return datasets.load_from_disk(path)  # as another process has made it again
            except DAMAGED as error:
                reason = " ".join(str(error).split())
            refuse(path.is_file(), f"{path}: a file, where a folder with a cached dataset belongs; delete it")
            log.warning("%s: this cached dataset cannot be read (%s): made again", path, reason)
            self._write(path, make(), replace=True)
            return datasets.load_from_disk(path)

    def _write(self, path: Path, rows: "Dataset", replace: bool) -> None:
        try:
            with written_whole(path, replace) as aside:
                rows.save_to_disk(aside)
        except OSError as error:  # full, read-only, …
            reason = f"cannot be written ({error.strerror or error})"
            raise UserError(f"{self.folder}: {reason}; free space there, or name another folder under runs:") from None


@cache
def _code_hash() -> str:
    folder = Path(__file__).parent
    folders = [folder, folder.parent / "readers", folder.parents[1] / "microworld"]
    return digest([file_hash(path) for each in folders for path in sorted(each.glob("*.py"))])
