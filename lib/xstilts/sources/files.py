"""The files source: original distributions in a folder, as declared in :mod:`xstilts.tasks`.

Where machine-translated training sets lie: the split "mt" of the files source, behind runs named ``task@mt``.

XTREME's translations (bucket xtreme_translations, linked from its README) were not at hand. What is known of
them was seen in others' code that reads them:

* XNLI and PAWS-X: ``translate-train/en-<language>-translated.tsv``, no header, no quoting; source text a, source
  text b, translated a, translated b, label; "contradictory" for contradiction (tensorflow_datasets, xtreme_xnli);
  "some rows in the files have been wrongly populated" (tensorflow_datasets, xtreme_pawsx).
* SQuAD v1.1 and TyDiQA-GoldP: SQuAD JSON (FILTER; X-TUNE; tensorflow_datasets, tydi_qa).

Likewise XNLI's own release, XNLI-MT-1.0: header, then translated a, translated b, label; and MLQA's, SQuAD JSON
(datasets, mlqa). How many answers these files have lost is nowhere stated: they are checked, dropped and counted.

COPA's are XCOPA's development sets: its development items, which nothing else is trained on, translated by people; not
its training set, of which there are none.

Any other set is read from ``<folder>/translate-train/<language>.<ending>``, in the format of the released ones
(TSV of pairs, SQuAD JSON) or, for choices, of the task's own training set. Supertags (CCG) do not survive translation.
"""

import hashlib
import re
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, Features, List, Value

from xstilts.errors import UserError
from xstilts.io import ROOT, digest, file_hash
from xstilts.readers.pairs_and_choices import companions, has_gold, read, read_first
from xstilts.settings import FilesSettings
from xstilts.sources.base import Source
from xstilts.tasks import POOL, RETRIEVAL_KINDS, SPLITS, TASKS, TRANSLATED, Files, Task

STRING, STRINGS = Value("string"), List(Value("string"))
COLUMNS = {
    "classification": {"id": STRING, "text_a": STRING, "text_b": STRING, "label": Value("int64")},
    "choice": {"id": STRING, "context": STRING, "question": STRING, "choices": STRINGS, "label": Value("int64")},
    "tagging": {"id": STRING, "tokens": STRINGS, "tags": STRINGS},
    "span": {
        "id": STRING,
        "context": STRING,
        "question": STRING,
        "answers": {"text": STRINGS, "answer_start": List(Value("int64"))},
        "is_impossible": Value("bool"),
    },
    "parallel": {"id": STRING, "query": STRING, "candidate": STRING},
    "mining": {"id": STRING, "text": STRING, "side": STRING, "gold": STRINGS},
    "ranking": {"id": STRING, "text": STRING, "language": STRING, "keys": STRINGS},
}
# Plain text beside the tasks' sets: one verse a line, <id> TAB <text>, one file a language.
VERSES = Files(
    "verses",
    ("mlm-text/bible-nt/{language}.tsv",),
    {
        "et": "est",
        "eu": "eus",
        "gu": "guj",
        "lv": "lav",
        "qu": "que",
        "sw": "swh",
        "uk": "ukr",
        "wo": "wol",
        "zu": "zul",
    },
)
UNSPACED = ("ja", "my", "th", "zh")  # words are written without blanks between them


class FilesSource(Source):
    """What is really in the folder; nothing is downloaded."""

    def __init__(self, settings: FilesSettings, source_language: str = "en"):
        self.settings, self.source_language = settings, source_language
        if not settings.root:
            raise UserError(
                "files.root: no folder is named; set XSTILTS_DATA=<folder> in the environment, or write "
                "files: {root: <folder>} in the study's file: the folder that holds xnli/, xquad/, …"
            )
        self.root = (ROOT / settings.root).resolve()
        if not self.root.is_dir():
            raise UserError(f"files.root: no folder {self.root}; name the one that holds xnli/, xquad/, …")
        self._paths_of: dict[tuple[str, str], dict[str, list[Path]]] = {}

    # --- what there is ---------------------------------------------------------------------------------

    def languages(self, task: Task, split: str) -> list[str]:
        """Languages whose files carry gold for the split; source language first, then sorted."""
        origin = self.settings.rows_of(task.name, split)[0]
        codes = [code for code, paths in self._paths(task, origin).items() if self._gold(task, origin, paths[0])]
        if split == TRANSLATED:  # some releases have the original among the translations
            codes = [code for code in codes if code != self.source_language]
        return sorted(codes, key=lambda code: (code != self.source_language, code))

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
            declared = _declared(task, split)
            self._paths_of[key] = find(self.root, declared) if declared else {}
        return self._paths_of[key]

    # --- reading ---------------------------------------------------------------------------------------

    def load(self, task: Task, split: str, language: str) -> Dataset:
        """One split in one language in the canonical columns.

        Raises UserError where there is no such set, where it lacks gold, where it is malformed, and where
        training items of a choice task stand in its development or test file as well.
        """
        rows = self._rows(task, split, language)
        if not any(has_gold(row) if task.kind != "mining" else row["gold"] for row in rows):
            raise UserError(
                f"{self._where(task, split, language)}: published without gold labels; nothing can be scored "
                "or trained on it"
            )
        if task.kind == "choice" and split == "train":
            self._refuse_shared_items(task, language, rows)
        columns = COLUMNS["parallel" if task.kind == "ranking" and split == "train" else task.kind]
        if task.kind == "tagging":
            rows = [{**row, "tags": row["tags"] or []} for row in rows]
        extra = {name: STRINGS for name in rows[0] if name not in columns}
        return Dataset.from_list(rows, features=Features({**columns, **extra}))

    def _rows(self, task: Task, split: str, language: str) -> list[dict]:
        origin, start, stop = self.settings.rows_of(task.name, split)
        rows = self._file_rows(task, origin, language)
        rows = mining_part(rows, start, stop) if task.kind == "mining" else part(rows, start, stop)
        limit = self._limit(task, split)
        rows = rows[:limit] if limit else rows
        if not rows:
            raise UserError(f"{self._where(task, split, language)}: no examples are left of this split")
        return rows

    def _limit(self, task: Task, split: str) -> int:
        if task.kind in RETRIEVAL_KINDS:
            return 0
        return getattr(self.settings.limits, "train" if split == TRANSLATED else split)

    def _file_rows(self, task: Task, split: str, language: str) -> list[dict]:
        """All rows of the files of a split, in the order of their names; ids say which file where there are several."""
        paths = self._paths(task, split).get(language)
        if not paths:
            raise UserError(self._absent(task, split, language))
        declared = _declared(task, split)
        assert declared  # it has files
        parts = [read(declared.reader, path, task.labels) for path in paths]
        if len(parts) == 1:
            return parts[0]
        names = [str(path.relative_to(self.root)) for path in paths]
        return [{**row, "id": f"{name}:{row['id']}"} for name, rows in zip(names, parts, strict=True) for row in rows]

    def _absent(self, task: Task, split: str, language: str) -> str:
        declared = _declared(task, split)
        if not declared:
            return f"{task.name}: no {split} set is published; there is {', '.join(task.files)}"
        wanted = " or ".join(path.replace("{language}", language) for path in declared.paths)
        present = ", ".join(sorted(self._paths(task, split))) or "none"
        return (
            f"{task.name}: no {split} file for {language} below {self.root} (looked for {wanted}); there is: {present}"
        )

    def _where(self, task: Task, split: str, language: str) -> str:
        return ", ".join(map(str, self._paths(task, self.settings.rows_of(task.name, split)[0])[language]))

    def _refuse_shared_items(self, task: Task, language: str, rows: list[dict]) -> None:
        train = {(row["context"], row["question"], *row["choices"]): row["id"] for row in rows}
        for split in ("dev", "test"):
            if language not in self._paths(task, self.settings.rows_of(task.name, split)[0]):
                continue
            for row in self._rows(task, split, language):
                item = (row["context"], row["question"], *row["choices"])
                if item in train:
                    raise UserError(
                        f"{self._where(task, 'train', language)}: item {train[item]} is item {row['id']} of "
                        f"{self._where(task, split, language)}; a score on it would be of what was trained on"
                    )

    # --- text for masked LM -----------------------------------------------------------------------------

    def text(self, seed: int) -> Dataset:
        """Unlabelled text of everything in the folder, shuffled; at most ``documents_per_language`` of each.

        Single sentences and passages without labels, tags, questions, answer choices or who translates
        whom: both texts of pairs, contexts of choices and questions, tagged sentences, both sides of the
        retrieval sets, verses. It does hold the texts (never the gold) of evaluation sets, the only text
        there is in most languages: a study that reports scores says so.
        """
        rng = np.random.default_rng(seed)
        rows = []
        for language, texts in sorted(self._texts().items()):
            ids = sorted(texts)
            keep = self.settings.documents_per_language or len(ids)
            rows += [{"id": f"{language}-{text_id}", "text": texts[text_id], "language": language}
                     for text_id in (ids[index] for index in rng.permutation(len(ids))[:keep])]  # fmt: skip
        rows = [rows[index] for index in rng.permutation(len(rows))]
        return Dataset.from_list(rows, features=Features({"id": STRING, "text": STRING, "language": STRING}))

    def _texts(self) -> dict[str, dict[str, str]]:
        """Language -> id (hash of the text: says nothing of where it stood) -> text; each text once."""
        texts: dict[str, dict[str, str]] = {}

        def add(language: str, text: str) -> None:
            text = " ".join(text.split())
            if text:
                texts.setdefault(language, {})[hashlib.sha256(text.encode()).hexdigest()[:16]] = text

        for task, split, language in self._sets():
            for row in self._file_rows(task, split, language):
                if task.kind == "classification":
                    add(language, row["text_a"])
                    add(language, row["text_b"])
                elif task.kind == "tagging":
                    add(language, ("" if language in UNSPACED else " ").join(row["tokens"]))
                elif task.kind == "parallel":
                    add(language, row["candidate"])
                    add("en", row["query"])
                elif task.kind == "mining":
                    add(language if row["side"] == "foreign" else "en", row["text"])
                else:
                    add(language, row["context"])
        for language, paths in find(self.root, VERSES).items():
            for row in chain.from_iterable(read(VERSES.reader, path) for path in paths):
                add(language, row["text"])
        return texts

    def _sets(self) -> list[tuple[Task, str, str]]:
        return [
            (task, split, language)
            for task in TASKS.values()
            if task.kind != "ranking"  # questions, and passages that are among the spans
            for split in SPLITS
            for language in sorted(self._paths(task, split))
        ]

    # --- hashes and languages ---------------------------------------------------------------------------

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of the bytes of every file that ``load`` reads, and of which of its rows."""
        origin = self.settings.rows_of(task.name, split)
        paths = self._paths(task, origin[0]).get(language)
        if not paths:
            raise UserError(self._absent(task, origin[0], language))
        return digest([origin, self._limit(task, split), self._hashes(task, origin[0], paths)])

    def _hashes(self, task: Task, split: str, paths: list[Path]) -> list[str]:
        declared = _declared(task, split)
        assert declared
        beside = chain.from_iterable(companions(declared.reader, path) for path in paths)
        return [file_hash(path) for path in (*paths, *beside) if path.is_file()]

    def text_fingerprint(self, seed: int) -> str:
        """Hash of everything that ``text`` reads, its settings and the seed."""
        hashes = [self._hashes(task, split, self._paths(task, split)[code]) for task, split, code in self._sets()]
        verses = [file_hash(path) for paths in find(self.root, VERSES).values() for path in paths]
        return digest([seed, self.settings.documents_per_language, hashes, verses])

    def language_table(self) -> pd.DataFrame:
        return natural_languages(self.source_language)


def natural_languages(source_language: str) -> pd.DataFrame:
    """Index language; columns name, family, script, distance, its parts and phonological (each 0 to 1, NaN where
    unknown), and cc100_gib, the text that XLM-R was pretrained on (GiB; NaN: none that its paper lists).

    Distances are from English, ``distance`` the mean of URIEL+'s syntactic, genetic, geographic and featural ones
    (``languages.csv``, made by ``tools/make_languages.py``); unknown from any other source language.
    """
    table = pd.read_csv(
        Path(__file__).parents[1] / "tables" / "languages.csv", index_col="language", keep_default_na=False
    )
    distances = ["distance", "syntactic", "phonological", "genetic", "geographic", "featural"]
    table = table[["name", "family", "script", *distances, "cc100_gib"]]
    table[[*distances, "cc100_gib"]] = table[[*distances, "cc100_gib"]].apply(pd.to_numeric)
    if source_language != "en":
        table[distances] = np.nan
        table.loc[table.index == source_language, distances] = 0.0
    return table


def _declared(task: Task, split: str) -> Files | None:
    return TRANSLATIONS.get(task.name) if split == TRANSLATED else task.files.get(split)


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
            match = _pattern(pattern).fullmatch(path.relative_to(root).as_posix())
            if match:
                code = match.groupdict().get("language", files.language)
                matched.setdefault(ours.get(code, code), []).append(path)
        files_of = {**matched, **files_of}
    return files_of


@cache
def _pattern(pattern: str) -> re.Pattern:
    """A path pattern as a regular expression: every ``{language}`` must stand for the same code."""
    first, *rest = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]").split(r"\{language\}")
    return re.compile(first + "".join(("(?P=language)" if i else "(?P<language>[a-z]{2,3})") + part
                                      for i, part in enumerate(rest)))  # fmt: skip


def _pairs(folder: str, *released: str) -> Files:
    return Files("translated_pairs", (*released, f"{folder}/translate-train/{{language}}.tsv"))


def _spans(folder: str, *released: str) -> Files:
    return Files("translated_squad", (*released, f"{folder}/translate-train/{{language}}.json"))


def _xtreme(folder: str, theirs: str, name: str) -> tuple[str, str]:
    """In the folder of the task, or in a copy of the bucket."""
    return f"{folder}/translate-train/{name}", f"xtreme_translations/{theirs}/translate-train/{name}"


_TSV = "en-{language}-translated.tsv"
_XNLI_MT = "XNLI-MT-1.0/multinli/multinli.train.{language}.tsv"
_MLQA = "mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"

TRANSLATIONS = {
    "mnli": _pairs("mnli", *_xtreme("xnli", "XNLI", _TSV), _XNLI_MT),
    "anli": _pairs("anli"),
    "qqp": _pairs("qqp"),
    "pawsx": _pairs("pawsx", *_xtreme("pawsx", "PAWSX", _TSV)),
    "squad1": _spans("squad", *_xtreme("squad", "SQuAD", "squad.translate.train.en-{language}.json"), _MLQA),
    "squad2": _spans("squad-v2"),
    "tydiqa": _spans("tydiqa", *_xtreme("tydiqa", "TyDiQA-GoldP", "tydiqa.translate.train.en-{language}.json")),
    "hellaswag": Files("hellaswag", ("hellaswag/translate-train/{language}.jsonl",)),
    "cosmosqa": Files("cosmosqa", ("cosmosqa/translate-train/{language}.csv",)),
    "csqa": Files("commonsenseqa", ("commonsenseqa/translate-train/{language}.jsonl",)),
    "copa": Files("copa", ("copa-en/translate-train/{language}.jsonl", "xcopa/{language}/val.{language}.jsonl")),
}
