"""The micro-world as a source of data: every task in every language, voiced from the same meanings.

All data of this module are constructed. Results on them say something about the machinery and about
transfer between controlled languages; they are not results on XTREME or any natural language.
"""

from operator import attrgetter
from typing import TYPE_CHECKING

import pandas as pd

from microworld.examples import Examples
from microworld.grammar import LANGUAGES
from microworld.settings import MicroSettings
from xstilts.errors import UserError
from xstilts.io import digest
from xstilts.sources.base import Source
from xstilts.tasks import TRANSLATED, Task

if TYPE_CHECKING:
    from datasets import Dataset

# settings that every set depends on; those that only the pretraining text depends on
WORLD, TEXT = {"languages", "world_seed", "sharpness", "order_freedom"}, {"documents", "source_share", "code_mixing"}


class MicroSource(Source):
    """The generated world."""

    def __init__(self, settings: MicroSettings):
        self.settings = settings
        try:
            self.examples = Examples(settings)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.source_language = self.examples.source_language

    def languages(self, task: Task, split: str) -> list[str]:
        """Codes that have the split, source language first; retrieval has no source-language set. "mt" is the
        training set in all the others: the world translates without mistakes."""
        if split == TRANSLATED:
            return [code for code in self.languages(task, "train") if code != self.source_language]
        return self.examples.languages(task.name, split)

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Nothing to fetch; a ranking may be larger than the world."""
        for task, split, _ in sets:
            try:
                self.examples.check(task.name, task.kind, split)
            except ValueError as error:
                raise UserError(str(error)) from None

    def known_size(self, task: Task, split: str, language: str) -> int:
        return self.examples.size(task.name, task.kind, _generated(split), language)

    def topics(self, task: Task, split: str) -> dict[str, str]:
        return self.examples.topics(task.name, task.kind, split)

    def load(self, task: Task, split: str, language: str) -> "Dataset":
        from datasets import Dataset  # takes a second, and status reads no row

        if language not in self.languages(task, split):
            known = ", ".join(self.languages(task, split)) or "none"
            wanted = f'{split} split of task "{task.name}" in language "{language}"'
            raise UserError(f"micro: no {wanted}; languages that have it: {known}")
        try:
            return Dataset.from_list(self.examples.rows(task.name, task.kind, _generated(split), language))
        except ValueError as error:
            raise UserError(str(error)) from None

    def text(self, seed: int) -> "Dataset":
        from datasets import Dataset

        return Dataset.from_dict(self.examples.world.text(seed))

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        size = self.examples.settings_size(task.kind, _generated(split))
        return self._hash(WORLD, task.name, _generated(split), str(size), language)

    def text_fingerprint(self, seed: int) -> str:
        return self._hash(WORLD | TEXT, str(seed))

    def _hash(self, fields: set[str], *key: str) -> str:
        return digest([self.settings.model_dump(include=fields), *key])

    def language_table(self) -> pd.DataFrame:
        """Index language (source first, then by distance); columns name, family, script, distance and
        its four components cognates, names (shares shared), order, morphology (distances)."""
        fields = ["name", "family", "script", "distance", "cognates", "names", "order_distance", "morphology_distance"]
        read = attrgetter(*fields)
        rows = {code: read(LANGUAGES[code]) for code in self.settings.languages}
        table = pd.DataFrame.from_dict(
            rows, orient="index", columns=[name.removesuffix("_distance") for name in fields]
        )
        return table.rename_axis("language").sort_values("distance", kind="stable")


def _generated(split: str) -> str:
    """The split as the world knows it: what is translated is the training set."""
    return "train" if split == TRANSLATED else split
