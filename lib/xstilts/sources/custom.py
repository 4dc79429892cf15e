"""The user's own tasks as a source of data, beside the one that a study names."""

from pathlib import Path

from datasets import Dataset, Features

from xstilts.errors import UserError
from xstilts.io import digest, file_hash
from xstilts.readers.custom import rows, test_files
from xstilts.settings import OwnTask
from xstilts.sources.base import TaskSource
from xstilts.sources.files import COLUMNS
from xstilts.tasks import Task

HELD_OUT = 5  # without a development file, every fifth training row is one of its
UNREAD = {"title", "labels", "train", "dev", "test"}  # labels are part of the task; files count by what they hold


class CustomSource(TaskSource):
    """Tasks that a study declares under ``own:``."""

    def __init__(self, tasks: dict[str, OwnTask], source_language: str, root: Path):
        self.tasks, self.source_language, self.root = tasks, source_language, root

    def languages(self, task: Task, split: str) -> list[str]:
        """Training and development data are in the source language alone."""
        if split in ("train", "dev"):
            return [self.source_language]
        codes = test_files(task.name, self.tasks[task.name], self.root) if split == "test" else ()
        return sorted(codes, key=lambda code: (code != self.source_language, code))

    def load(self, task: Task, split: str, language: str) -> Dataset:
        """One split in one language. UserError for what is absent or malformed."""
        settings = self.tasks[task.name]
        path, shared = self._file(task, split, language)
        examples = rows(settings, path, task.labels)
        if shared:  # by train and dev
            examples = [row for number, row in enumerate(examples, 1) if (number % HELD_OUT == 0) == (split == "dev")]
        if not examples:
            raise UserError(
                f"{path}: fewer than {HELD_OUT} rows, none is left for {split}: add some or name a dev file"
            )
        return Dataset.from_list(examples, features=Features(COLUMNS[task.kind]))

    def _file(self, task: Task, split: str, language: str) -> tuple[Path, bool]:
        """The file of a set, and whether train and dev share it."""
        settings = self.tasks[task.name]
        if language not in self.languages(task, split):
            known = ", ".join(self.languages(task, split)) or "none"
            raise UserError(f'own.{task.name}: no {split} file in "{language}"; there is: {known}')
        if split == "test":
            return test_files(task.name, settings, self.root)[language], False
        named = settings.dev if split == "dev" and settings.dev else settings.train
        return self.root / named, not settings.dev

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of the file, of how its columns are read, and of which of its rows."""
        path, shared = self._file(task, split, language)
        return digest([self.tasks[task.name].model_dump(exclude=UNREAD), file_hash(path), split if shared else ""])
