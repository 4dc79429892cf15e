"""Where examples come from: the generated micro-world, the original files or the hub, in one schema.

Canonical columns per kind:

    classification  id, text_a, text_b, label (index into the task's labels; -1 = unlabelled)
    choice          id, context, question, choices[list], label
    tagging         id, tokens[list], tags[list of names]
    span            id, context, question, answers{text[list], answer_start[list]}, is_impossible
    parallel        id, query (source language), candidate (foreign); row i's gold is row i
    mining          id, text, side ("foreign" or "source"), gold[list of ids on the other side]
    ranking         id, text, language, keys[list]; a candidate is relevant to the queries that it shares a key with
    text            id, text, language

Beside "train", "dev" and "test" a task may have the split "mt": its training set machine-translated into other
languages. Its rows may be beyond use (label -1; an answer that is not at its offset): training drops them.

A ranking task has its queries in "dev" or "test" and in "pool" the candidates, of which those of all languages are
searched together ("mul": a pool that is not parted by language; its rows say which is theirs). Its "train" holds
pairs in the columns of a parallel set.
"""

from typing import TYPE_CHECKING, Protocol

from xstilts.tasks import Task

if TYPE_CHECKING:  # heavy imports, needed for the annotations alone
    import pandas
    from datasets import Dataset

    from xstilts.sources.cache import KeptSource
    from xstilts.study import Study


class Source(Protocol):
    """What every source answers. Errors a person can mend are UserErrors."""

    source_language: str

    def languages(self, task: Task, split: str) -> list[str]:
        """Languages that have gold data for the split; source language first, then sorted. None of an unknown split."""

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Called before anything runs with every (task, split, languages) that will be loaded, and whether text
        will: fetch them. UserError for what cannot be had."""

    def load(self, task: Task, split: str, language: str) -> "Dataset":
        """One split ("train", "dev", "test", "mt") of a task in one language, in the columns of its kind."""

    def text(self, seed: int) -> "Dataset":
        """Text of every language for masked LM."""

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of all that ``load`` would read or generate from, its code excepted; cheap."""

    def text_fingerprint(self, seed: int) -> str:
        """Hash of all that ``text`` would read or generate from, its code excepted; cheap."""

    # Optional, for `make plan`; :class:`~xstilts.sources.kept.KeptSource` answers for a source that lacks them:
    #   size(task, split, language) -> int      examples that load would give, known without loading
    #   at_hand(task, split, language) -> bool  whether load (without arguments: text) needs no download

    # Optional, for studies of domain shift; a source that does not know what its examples are about lacks it:
    #   topics(task, split) -> dict[str, str]   id of a choice example -> its topic, "" for none

    def language_table(self) -> "pandas.DataFrame":
        """Index language; columns name, family, script, distance (from the source language; NaN if unknown), and
        what else the source knows: the parts of the distance; cc100_gib, the size of XLM-R's pretraining text."""


def note_left_out(rows: "Dataset", count: int) -> None:
    """Note with a set how many rows were left out of it as beyond use; the note is saved with it."""
    rows.info.description = f"rows left out: {count}"


def left_out(rows: "Dataset") -> int:
    """How many rows a source left out of a set that it loaded."""
    return int((rows.info.description or "0").rpartition(" ")[2])


def open_source(study: "Study") -> "KeptSource":
    """The source a study names, with the tasks of its own beside; what it loads is kept in the study's folder."""
    from xstilts.sources.cache import KeptSource

    source: Source
    if study.source == "micro":
        from xstilts.sources.micro import MicroSource

        source = MicroSource(study.micro)
    elif study.source == "hub":
        from xstilts.sources.hub import HubSource

        languages = study.languages or {code for name in study.all_targets for code in study.task(name).languages}
        source = HubSource(study.hub, study.source_language, tuple(sorted(languages)))
    else:
        from xstilts.sources.files import FilesSource

        source = FilesSource(study.files, study.source_language)
    if not study.own:
        return KeptSource(source, study.folder / "data")
    from xstilts.io import ROOT
    from xstilts.sources.custom import OwnSource

    return KeptSource(source, study.folder / "data", OwnSource(study.own, study.source_language, ROOT))
