"""The files source: original distributions in a folder, as declared in :mod:`xstilts.tasks`; and the user's own tasks,
whose files stand beside the source that a study names."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xstilts.errors import UserError
from xstilts.io import ROOT, digest, file_hash
from xstilts.locations import TABLE, VERSES, Files, language_code
from xstilts.readers import custom
from xstilts.readers.pairs_and_choices import companions, has_gold, read, read_first
from xstilts.settings import FilesSettings, OwnTask
from xstilts.sources.base import Source, TaskSource
from xstilts.tasks import POOL, RETRIEVAL_KINDS, SPLITS, TASKS, TRANSLATED, Task

if TYPE_CHECKING:
    from datasets import Dataset

STRING, STRINGS, NUMBER = "string", ["string"], "int64"  # a list: of values of that type
QUESTION = {"id": STRING, "context": STRING, "question": STRING}
COLUMNS: dict[str, dict[str, Any]] = {
    "classification": {"id": STRING, "text_a": STRING, "text_b": STRING, "label": NUMBER},
    "choice": {**QUESTION, "choices": STRINGS, "label": NUMBER},
    "tagging": {"id": STRING, "tokens": STRINGS, "tags": STRINGS},
    "span": {**QUESTION, "answers": {"text": STRINGS, "answer_start": [NUMBER]}, "is_impossible": "bool"},
    "parallel": {"id": STRING, "query": STRING, "candidate": STRING},
    "mining": {"id": STRING, "text": STRING, "side": STRING, "gold": STRINGS},
    "ranking": {"id": STRING, "text": STRING, "language": STRING, "keys": STRINGS},
    "text": {"id": STRING, "text": STRING, "language": STRING},
}
UNSPACED = ("ja", "my", "th", "zh")  # words are written without blanks between them
TRANSLATED_LABELS = 0.9  # share of rows of a translated set that have the label of the row they are translated from
HELD_OUT = 5  # of an own task without a development file, every fifth training row is one of its
UNREAD = {"title", "labels", "train", "dev", "test"}  # labels are part of the task; files count by what they hold


def to_dataset(rows: list[dict], columns: dict) -> "Dataset":
    """A dataset of these columns, in their order; ``columns``: name -> type, as in ``COLUMNS``."""
    from datasets import Dataset, Features, List, Value  # takes a second, and status reads no row

    def feature(declared: Any) -> Any:
        if isinstance(declared, dict):
            return {name: feature(part) for name, part in declared.items()}
        return List(Value(declared[0])) if isinstance(declared, list) else Value(declared)

    table = {name: [row[name] for row in rows] for name in columns}
    return Dataset.from_dict(table, features=Features(feature(columns)))


def source_first(codes: Iterable[str], source_language: str) -> list[str]:
    """Languages in the order of every source: its own one, then the others sorted."""
    return sorted(codes, key=lambda code: (code != source_language, code))


class FilesSource(Source):
    """What is really in the folder; nothing is downloaded."""

    def __init__(self, settings: FilesSettings, source_language: str = "en"):
        self.settings, self.source_language = settings, source_language
        if not settings.root:
            ways = "set XSTILTS_DATA=<folder> in the environment, or write files: {root: <folder>} in the study's file"
            raise UserError(f"files.root: no folder is named; {ways}: the folder that holds xnli/, xquad/, …")
        self.root = (ROOT / settings.root).resolve()
        if not self.root.is_dir():
            raise UserError(f"files.root: no folder {self.root}; name the one that holds xnli/, xquad/, …")
        self._paths_of: dict[tuple[str, str], dict[str, list[Path]]] = {}
        self._languages_of: dict[tuple[str, str], list[str]] = {}

    # --- what there is ---------------------------------------------------------------------------------

    def languages(self, task: Task, split: str) -> list[str]:
        """Languages whose files carry gold for the split; source language first, then sorted."""
        if (task.name, split) not in self._languages_of:  # every call would read the beginning of every file
            origin = self.settings.rows_of(task.name, split)[0]
            codes = [code for code, paths in self._paths(task, origin).items() if self._gold(task, origin, paths[0])]
            if split == TRANSLATED:  # some releases have the original among the translations
                codes = [code for code in codes if code != self.source_language]
            self._languages_of[task.name, split] = source_first(codes, self.source_language)
        return list(self._languages_of[task.name, split])

    def _gold(self, task: Task, split: str, path: Path) -> bool:
        if split in (TRANSLATED, POOL):  # whose first row may be one without
            return True
        reader = task.files[split].reader
        if task.kind == "mining":
            return all(beside.is_file() for beside in companions(reader, path))
        return has_gold(read_first(reader, path, task.labels))

    def _paths(self, task: Task, split: str) -> dict[str, list[Path]]:
        key = (task.name, split)
        if key not in self._paths_of:
            self._paths_of[key] = find(self.root, task.files[split]) if split in task.files else {}
        return self._paths_of[key]

    # --- reading ---------------------------------------------------------------------------------------

    def load(self, task: Task, split: str, language: str) -> "Dataset":
        """One split in one language in the canonical columns.

        Raises UserError where there is no such set, where it lacks gold, where it is malformed, and where
        training items of a choice task stand in its development or test file as well.
        """
        rows = self._rows(task, split, language)
        if not any(map(has_gold, rows)):
            paths = self._files_of(task, split, language)
            raise UserError(f"{paths}: published without gold labels; nothing can be scored or trained on it")
        if task.kind == "choice" and split == "train":
            self._refuse_shared_items(task, language, rows)
        columns = COLUMNS["parallel" if task.kind == "ranking" and split == "train" else task.kind]
        if task.kind == "tagging":
            rows = [{**row, "tags": row["tags"] or []} for row in rows]
        extra = {name: STRINGS for name in rows[0] if name not in columns}
        return to_dataset(rows, {**columns, **extra})

    def _rows(self, task: Task, split: str, language: str) -> list[dict]:
        origin, start, stop = self.settings.rows_of(task.name, split)
        rows = self._file_rows(task, origin, language)
        if task.name in self.settings.parted() and origin == self.settings.rows_of(task.name, "train")[0]:
            self._refuse_other_rows(task, origin, language, rows)
        rows = mining_part(rows, start, stop) if task.kind == "mining" else part(rows, start, stop)
        rows = rows[: self._limit(task, split) or None]
        if not rows:
            raise UserError(f"{self._files_of(task, split, language)}: no examples are left of this split")
        return rows

    def _refuse_other_rows(self, task: Task, origin: str, language: str, rows: list[dict]) -> None:
        """UserError where the rows of a set that is parted are not, one by one, translations of the first language's:
        as many, with the same labels but for a few that translators changed (PAWS-X: one in fifty)."""
        first = source_first(self._paths(task, origin), self.source_language)[0]
        labels = [row["label"] for row in self._file_rows(task, origin, first)]
        same = sum(row["label"] == label for row, label in zip(rows, labels, strict=False))
        if len(rows) != len(labels) or same < TRANSLATED_LABELS * len(rows):
            trained, scored = (self._files_of(task, "train", code) for code in (first, language))
            problem = f"{len(rows)} rows, of which {same} have the label of that of {trained} in the same line"
            advice = f"rows that are trained on would be scored as translations; leave files.splits.{task.name} out"
            raise UserError(f"{scored}: {problem} ({len(labels)} rows): {advice}")

    def _limit(self, task: Task, split: str) -> int:
        limited = "train" if split == TRANSLATED else split
        return 0 if task.kind in RETRIEVAL_KINDS else getattr(self.settings.limits, limited)

    def _file_rows(self, task: Task, split: str, language: str) -> list[dict]:
        """All rows of the files of a split, in the order of their names; ids say which file where there are several."""
        paths = self._present(task, split, language)
        parts = [read(task.files[split].reader, path, task.labels) for path in paths]
        if len(parts) == 1:
            return parts[0]
        names = [str(path.relative_to(self.root)) for path in paths]
        return [{**row, "id": f"{name}:{row['id']}"} for name, rows in zip(names, parts, strict=True) for row in rows]

    def _present(self, task: Task, split: str, language: str) -> list[Path]:
        """The files of a split in a language; UserError where there are none."""
        if split not in task.files:
            raise UserError(f"{task.name}: no {split} set is published; there is {', '.join(task.files)}")
        paths = self._paths(task, split)
        if language not in paths:
            wanted = " or ".join(path.replace("{language}", language) for path in task.files[split].paths)
            absent = f"no {split} file for {language} below {self.root} (looked for {wanted})"
            others = f"; there is: {', '.join(sorted(paths))}" if paths else ""
            raise UserError(f"{task.name}: {absent}{others}")
        return paths[language]

    def _files_of(self, task: Task, split: str, language: str) -> str:
        return ", ".join(map(str, self._present(task, self.settings.rows_of(task.name, split)[0], language)))

    def _refuse_shared_items(self, task: Task, language: str, rows: list[dict]) -> None:
        train = {(row["context"], row["question"], *row["choices"]): row["id"] for row in rows}
        for split in ("dev", "test"):
            present = language in self._paths(task, self.settings.rows_of(task.name, split)[0])
            for row in self._rows(task, split, language) if present else ():
                item = (row["context"], row["question"], *row["choices"])
                if item in train:
                    trained, scored = (self._files_of(task, name, language) for name in ("train", split))
                    raise UserError(f"{trained}: item {train[item]} is item {row['id']} of {scored}, which is scored")

    # --- text for masked LM -----------------------------------------------------------------------------

    def text(self, seed: int) -> "Dataset":
        """Unlabelled text of everything in the folder, shuffled; at most ``documents_per_language`` of each.

        Single sentences and passages without labels, tags, questions, answer choices or who translates
        whom: both texts of pairs, contexts of choices and questions, tagged sentences, both sides of the
        retrieval sets, verses. It does hold the texts (never the gold) of evaluation sets, the only text
        there is in most languages: a study that reports scores says so.
        """
        texts: dict[str, dict[str, str]] = {}  # language -> hash of a text, which says nothing of its set -> text
        for files, labels, language, paths in self._text_sets():
            rows = chain.from_iterable(read(files.reader, path, labels) for path in paths)
            for code, text in chain.from_iterable(_texts_of(row, language) for row in rows):
                if text := " ".join(text.split()):
                    texts.setdefault(code, {})[hashlib.sha256(text.encode()).hexdigest()[:16]] = text
        rng = np.random.default_rng(seed)
        documents = []
        for language, known in sorted(texts.items()):
            ids = sorted(known)
            chosen = [ids[index] for index in rng.permutation(len(ids))[: self.settings.documents_per_language or None]]
            documents += [{"id": f"{language}-{key}", "text": known[key], "language": language} for key in chosen]
        return to_dataset([documents[index] for index in rng.permutation(len(documents))], COLUMNS["text"])

    def _text_sets(self) -> Iterator[tuple[Files, tuple[str, ...], str, list[Path]]]:
        """(location, labels, language, files) of all sets but rankings, whose passages are among those of questions."""
        tasks = [task for task in TASKS.values() if task.kind != "ranking"]
        declared = [(task.files[split], task.labels) for task in tasks for split in SPLITS if split in task.files]
        for files, labels in [*declared, (VERSES, ())]:
            for language, paths in sorted(find(self.root, files).items()):
                yield files, labels, language, paths

    # --- hashes and languages ---------------------------------------------------------------------------

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of the bytes of every file that ``load`` reads, and of which of its rows."""
        origin = self.settings.rows_of(task.name, split)
        paths = self._present(task, origin[0], language)
        return digest([origin, self._limit(task, split), _hashes(task.files[origin[0]].reader, paths)])

    def text_fingerprint(self, seed: int) -> str:
        """Hash of everything that ``text`` reads, its settings and the seed."""
        hashes = [_hashes(files.reader, paths) for files, _, _, paths in self._text_sets()]
        return digest([seed, self.settings.documents_per_language, hashes])

    def language_table(self) -> pd.DataFrame:
        return natural_languages(self.source_language)


def natural_languages(source_language: str) -> pd.DataFrame:
    """Index language; columns name, family, script, distance, its parts and phonological (each 0 to 1, NaN where
    unknown), and cc100_gib, the text that XLM-R was pretrained on (GiB; NaN: none that its paper lists).

    Distances are from English, ``distance`` the mean of URIEL+'s syntactic, genetic, geographic and featural ones
    (``languages.csv``, made by ``tools/make_languages.py``); unknown from any other source language.
    """
    distances = ["distance", "syntactic", "phonological", "genetic", "geographic", "featural"]
    unknown = {name: [""] for name in (*distances, "cc100_gib")}
    table = pd.read_csv(TABLE, index_col="language", keep_default_na=False, na_values=unknown)
    table = table[["name", "family", "script", *distances, "cc100_gib"]]
    if source_language != "en":
        table[distances] = np.nan
        table.loc[table.index == source_language, distances] = 0.0
    return table


def _hashes(reader: str, paths: list[Path]) -> list[str]:
    beside = chain.from_iterable(companions(reader, path) for path in paths)
    return [file_hash(path) for path in (*paths, *beside) if path.is_file()]


def _texts_of(row: dict, language: str) -> list[tuple[str, str]]:
    """(language, text) of the texts of a row of a set in a language; the other side of retrieval is English."""
    if "tokens" in row:
        return [(language, ("" if language in UNSPACED else " ").join(row["tokens"]))]
    if "query" in row:
        return [(language, row["candidate"]), ("en", row["query"])]
    if "side" in row:
        return [(language if row["side"] == "foreign" else "en", row["text"])]
    return [(language, row[column]) for column in ("text_a", "text_b", "context", "text") if column in row]


def part(rows: list, start: int, stop: int) -> list:
    """Rows from ``start`` to ``stop`` per cent of the whole."""
    return rows[len(rows) * start // 100 : len(rows) * stop // 100]


def mining_part(rows: list[dict], start: int, stop: int) -> list[dict]:
    """The same share of the gold pairs, of the other foreign and of the other source sentences: no pair is
    parted, and the density of pairs stays."""
    root = {row["id"]: row["id"] for row in rows}

    def group(identity: str) -> str:
        while root[identity] != identity:
            identity = root[identity]
        return identity

    for row in rows:
        for identity in row["gold"]:
            root[group(identity)] = group(row["id"])
    sorts: dict[str, dict[str, None]] = {}
    for row in rows:
        sorts.setdefault("pair" if row["gold"] else row["side"], {})[group(row["id"])] = None
    chosen = {identity for groups in sorts.values() for identity in part(list(groups), start, stop)}
    return [row for row in rows if group(row["id"]) in chosen]


def find(root: Path, files: Files) -> dict[str, list[Path]]:
    """Language -> its files, sorted: all that match the first of ``files.paths`` that any file matches."""
    ours = {theirs: code for code, theirs in files.codes.items()}
    files_of: dict[str, list[Path]] = {}
    for pattern in files.paths:
        matched: dict[str, list[Path]] = {}
        for path in sorted(root.glob(pattern.replace("{language}", "*"))):
            if match := _pattern(pattern).fullmatch(path.relative_to(root).as_posix()):
                code = match.groupdict().get("language", files.language)
                matched.setdefault(ours.get(code) or language_code(code), []).append(path)
        files_of = {**matched, **files_of}
    return files_of


@cache
def _pattern(pattern: str) -> re.Pattern:
    """A path pattern as a regular expression: every ``{language}`` must stand for the same code."""
    first, *rest = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]").split(r"\{language\}")
    groups = ["(?P<language>[a-z]{2,3})", *["(?P=language)"] * len(rest)]
    return re.compile(first + "".join(group + part for group, part in zip(groups, rest, strict=False)))


class CustomSource(TaskSource):
    """Tasks that a study declares under ``own:``."""

    def __init__(self, tasks: dict[str, OwnTask], source_language: str, root: Path):
        self.tasks, self.source_language, self.root = tasks, source_language, root

    def languages(self, task: Task, split: str) -> list[str]:
        """Training and development data are in the source language alone."""
        if split != "test":
            return [self.source_language] if split in ("train", "dev") else []
        return source_first(custom.test_files(task.name, self.tasks[task.name], self.root), self.source_language)

    def load(self, task: Task, split: str, language: str) -> "Dataset":
        """One split in one language. UserError for what is absent or malformed."""
        path, shared = self._file(task, split, language)
        examples = custom.rows(self.tasks[task.name], path, task.labels)
        if shared:  # by train and dev
            examples = [row for number, row in enumerate(examples, 1) if (number % HELD_OUT == 0) == (split == "dev")]
        if not examples:
            raise UserError(f"{path}: fewer than {HELD_OUT} rows, none is left for {split}: name a dev file")
        return to_dataset(examples, COLUMNS[task.kind])

    def _file(self, task: Task, split: str, language: str) -> tuple[Path, bool]:
        """The file of a set, and whether train and dev share it."""
        settings = self.tasks[task.name]
        if language not in self.languages(task, split):
            known = ", ".join(self.languages(task, split)) or "none"
            raise UserError(f'own.{task.name}: no {split} file in "{language}"; there is: {known}')
        if split == "test":
            return custom.test_files(task.name, settings, self.root)[language], False
        named = settings.dev if split == "dev" and settings.dev else settings.train
        return self.root / named, not settings.dev

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of the file, of how its columns are read, and of which of its rows."""
        path, shared = self._file(task, split, language)
        return digest([self.tasks[task.name].model_dump(exclude=UNREAD), file_hash(path), split if shared else ""])
