"""What a study may set about the files source. Only pydantic is imported: a study is validated first."""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import UserError, nearest
from ..tasks import SPLITS, get

SLICE = re.compile(r"(train|dev|test|mt|pool)(?:\[(?:(\d{1,3})%)?:(?:(\d{1,3})%)?\])?")


class Limits(BaseModel):
    """At most so many leading examples of a split, in every language; 0 = all. Retrieval sets are never
    cut: what is found depends on how much there is to find it in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    train: int = Field(0, ge=0)
    dev: int = Field(0, ge=0)
    test: int = Field(0, ge=0)


class FilesSettings(BaseModel):
    """The files source: original distributions below one folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    root: str = Field("../shared/data", description="folder of the files; relative to the project")
    limits: Limits = Limits()
    splits: dict[str, dict[str, str]] = Field(
        {},
        description="task -> split -> where its rows come from instead, such as dev[:80%]: for sets whose "
        "training or development file is not at hand",
    )
    documents_per_language: int = Field(
        5000, ge=0, description="documents of the text for masked LM, per language; 0 = all there are"
    )

    @field_validator("splits")
    @classmethod
    def _known_and_disjoint(cls, splits: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, parts in splits.items():
            try:
                declared = get(name).files
            except UserError as error:
                raise ValueError(str(error)) from None
            for split, value in parts.items():
                if split not in SPLITS:
                    raise ValueError(f'{name}.{split}: unknown split "{split}"{nearest(split, SPLITS)}')
                match = SLICE.fullmatch(value)
                if not match or match[1] not in declared or not 0 <= _percent(match, 2) < _percent(match, 3) <= 100:
                    raise ValueError(
                        f'{name}.{split}: "{value}" names no rows; expected one of {", ".join(declared)}, '
                        "whole or in part, such as dev[:80%] or dev[80%:]"
                    )
            ranges = {split: _range(parts.get(split, split)) for split in SPLITS if split in declared or split in parts}
            for one, (source, start, stop) in ranges.items():
                for other, (beside, begin, end) in ranges.items():
                    if one < other and source == beside and start < end and begin < stop:
                        raise ValueError(f"{name}: {one} and {other} would share rows of the {source} file")
        return splits

    def rows_of(self, name: str, split: str) -> tuple[str, int, int]:
        """(split of the files, from per cent, to per cent) that ``split`` of a task is read from."""
        return _range(self.splits.get(name, {}).get(split, split))

    def trained_from(self) -> dict[str, tuple[str, ...]]:
        """Task -> splits of the files that its training rows come from, where the study changes that."""
        return {name: (self.rows_of(name, "train")[0],) for name in self.splits}


def _percent(match: re.Match, group: int) -> int:
    return int(match[group]) if match[group] else {2: 0, 3: 100}[group]


def _range(value: str) -> tuple[str, int, int]:
    match = SLICE.fullmatch(value)
    assert match, value  # validated
    return match[1], _percent(match, 2), _percent(match, 3)
