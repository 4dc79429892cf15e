"""What every source of data answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from xstilts.tasks import Task

if TYPE_CHECKING:  # heavy imports, needed for the annotations alone
    import pandas
    from datasets import Dataset


TEXT_COLUMNS = ("text_a", "text_b", "context", "question", "choices", "tokens")


class TaskSource(ABC):
    """Where examples of tasks come from. Errors a person can mend are UserErrors."""

    source_language: str

    @abstractmethod
    def languages(self, task: Task, split: str) -> list[str]:
        """Languages that have gold data for the split; source language first, then sorted. None of an unknown split."""

    @abstractmethod
    def load(self, task: Task, split: str, language: str) -> Dataset:
        """One split ("train", "dev", "test", "mt", "pool") of a task in one language, in the columns of its kind."""

    @abstractmethod
    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of all that ``load`` would read or generate from, its code excepted; cheap."""

    def known_size(self, task: Task, split: str, language: str) -> int | None:
        """Number of examples that ``load`` would give, where the source knows it without loading them."""
        return None

    def at_hand(self, task: Task, split: str, language: str) -> bool:
        """Whether ``load`` needs no download."""
        return True

    def topics(self, task: Task, split: str) -> dict[str, str]:
        """Id of an example -> its topic, "" for none; {} where the source does not know topics."""
        return {}


class Source(TaskSource):
    """A source that a study names: it has text beside the tasks, and knows its languages."""

    @abstractmethod
    def text(self, seed: int) -> Dataset:
        """Text of every language for masked LM: columns id, text, language."""

    @abstractmethod
    def text_fingerprint(self, seed: int) -> str:
        """Hash of all that ``text`` would read or generate from, its code excepted; cheap."""

    @abstractmethod
    def language_table(self) -> pandas.DataFrame:
        """Index language; columns name, family, script, distance (from the source language; NaN if unknown), and
        what else the source knows: the parts of the distance; cc100_gib, the size of XLM-R's pretraining text."""

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Called before anything runs with every (task, split, languages) that will be loaded, and whether text
        will: fetch them. UserError for what cannot be had."""
        return

    def size(self, task: Task, split: str, language: str) -> int:
        """Number of examples that ``load`` would give, which is asked only where it is not known otherwise."""
        known = self.known_size(task, split, language)
        return len(self.load(task, split, language)) if known is None else known

    def text_at_hand(self) -> bool:
        """Whether ``text`` needs no download."""
        return True


def note_left_out(rows: Dataset, count: int) -> Dataset:
    """The dataset with a note of how many rows were left out of it as unusable; the note is saved with it."""
    rows.info.description = f"rows left out: {count}"
    return rows


def left_out(rows: Dataset) -> int:
    """How many rows a source left out of a dataset that it loaded."""
    return int((rows.info.description or "0").rpartition(" ")[2])


def texts_of(rows: Dataset) -> list[str]:
    """All the words of every row of a dataset that is no retrieval set."""
    columns = [rows[name][:] for name in rows.column_names if name in TEXT_COLUMNS]
    parts = zip(*columns, strict=True)
    return [" ".join(text if isinstance(text, str) else " ".join(text) for text in row) for row in parts]
