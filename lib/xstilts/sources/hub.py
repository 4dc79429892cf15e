"""The hub source: the paper's data from pinned repositories, as declared in :mod:`xstilts.tasks`.

Three parts: where the parquet files of a repository are (a mirror, the hub's cache, the hub); readers, which make a row
in the canonical columns of a kind from one record; the source.

A record is a dict with the names of class labels in the place of their numbers, where the file states the
names; else the numbers, which then count the task's own labels. A reader gives None for a record without gold
(SNLI's label -1) or without words; where the record has no id of its own, the row has none either.
"""

import csv
import logging
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
from datasets import ClassLabel, Dataset, Features
from huggingface_hub.errors import LocalEntryNotFoundError

from xstilts.errors import UserError
from xstilts.io import ROOT, digest, file_hash
from xstilts.locations import REVISIONS, TEXT, Folder, Hub
from xstilts.readers import tagging as ccgbank
from xstilts.readers.pairs_and_choices import COPA_QUESTIONS, companions, continued, read
from xstilts.readers.records import UNLABELLED, index_of
from xstilts.settings import FilesSettings, HubSettings
from xstilts.sources.base import Source, note_left_out
from xstilts.sources.files import COLUMNS, STRING, FilesSource, natural_languages
from xstilts.tasks import RETRIEVAL_KINDS, TRANSLATED, Task

huggingface_hub.utils.disable_progress_bars()

# How repositories lay out a configuration: as uploaded, as the hub's own conversion does, and as uploaded by
# those that have one configuration alone.
LAYOUTS = ("{config}/{split}-*.parquet", "{config}/{split}/*.parquet")
SINGLE = "data/{split}-*.parquet"


def _sizes() -> dict[tuple[str, str, str, str], int]:
    """(repo, config, split, language or "") -> rows. From the ``dataset_infos.json`` of each repository; of
    XNLI's languages, of facebook/xnli's; of TyDiQA's English part, from the table of XTREME (RemBERT,
    arXiv:2010.12821, table 11). ``bucc18.*``, gold pairs without their sentences, is read by nothing."""
    with (Path(__file__).parents[1] / "tables" / "hub_sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["repo"], row["config"], row["split"], row["language"]): int(row["rows"]) for row in rows}


SIZES = _sizes()


def published(entry: Hub, language: str) -> bool:
    """Whether the configuration of a language has the split at all (udpos.Thai has no training set)."""
    return (entry.repo, entry.config_of(language), entry.split, "") in SIZES


def name_of(entry: Hub, language: str) -> str:
    """Repository, configuration and split, as messages name a place."""
    return f"{entry.repo} {entry.config_of(language)} {entry.split}"


class Repositories:
    """Where the files of a place are. With a mirror neither the network nor the cache is used; without one the
    cache comes first, so that what was fetched once needs no network again."""

    def __init__(self, mirror: str = ""):
        self.mirror = (ROOT / mirror).resolve() if mirror else None
        if self.mirror and not self.mirror.is_dir():
            raise UserError(f"hub.mirror: no folder {self.mirror}; name the one that holds google/xtreme/, …")

    def files(self, entry: Hub, language: str) -> list[Path]:
        """The files of a place's split, sorted; fetched where they are neither in a mirror nor in the cache."""
        patterns = _patterns(entry, language)
        folder = self.mirror / entry.repo if self.mirror else self._cached(entry.repo, patterns)
        folder = folder or self._download(entry.repo, patterns)
        for pattern in patterns:
            paths = sorted(folder.glob(pattern))
            if paths:
                return paths
        raise UserError(
            f"{name_of(entry, language)}: no such file in {folder} (looked for {' or '.join(patterns)}); "
            "complete it, or leave out what needs it"
        )

    def at_hand(self, entry: Hub, language: str) -> bool:
        """Whether the files of a place's split are in the mirror or the cache; asks no network."""
        patterns = _patterns(entry, language)
        folder = self.mirror / entry.repo if self.mirror else self._cached(entry.repo, patterns)
        return folder is not None and _matches(folder, patterns)

    def absent(self, wanted: list[tuple[Hub, str]]) -> dict[str, list[str]]:
        """Repositories that lack some of ``wanted`` (place, language) here -> patterns of what is wanted of them.
        UserError where one of them cannot be reached; with a mirror, where it lacks a file."""
        if self.mirror:
            for entry, language in wanted:
                self.files(entry, language)
            return {}
        patterns: dict[str, list[str]] = {}
        for entry, language in wanted:
            patterns.setdefault(entry.repo, []).extend(_patterns(entry, language))
        cached = {repo: self._cached(repo, patterns[repo]) for repo in patterns}
        lacking = {
            entry.repo
            for entry, language in wanted
            if not (folder := cached[entry.repo]) or not _matches(folder, _patterns(entry, language))
        }
        for repo in sorted(lacking):
            with _reached(repo, lacking):
                huggingface_hub.HfApi().dataset_info(repo, revision=REVISIONS[repo])
        return {repo: patterns[repo] for repo in sorted(lacking)}

    def fetch(self, absent: dict[str, list[str]]) -> None:
        for repo, patterns in absent.items():
            print(f"fetching {repo} (revision {REVISIONS[repo]}) from the hub", flush=True)
            self._download(repo, patterns)

    def _cached(self, repo: str, patterns: list[str]) -> Path | None:
        try:
            return self._snapshot(repo, patterns, local_files_only=True)
        except LocalEntryNotFoundError:
            return None

    def _download(self, repo: str, patterns: list[str]) -> Path:
        with _reached(repo, {repo}):
            return self._snapshot(repo, patterns)

    def _snapshot(self, repo: str, patterns: list[str], **options: Any) -> Path:
        folder = huggingface_hub.snapshot_download(
            repo, repo_type="dataset", revision=REVISIONS[repo], allow_patterns=patterns, **options
        )
        return Path(folder)


@contextmanager
def _reached(repo: str, lacking: set[str]) -> Iterator[None]:
    """The hub's many errors as one message: what could not be reached, and the ways out."""
    try:
        yield
    except Exception as error:  # no network, a proxy, no such revision, …: the ways out are the same
        others = ", ".join(sorted(lacking - {repo}))
        instead = f"name a folder with the repositories as on the hub (<folder>/{repo}/…) under hub.mirror"
        raise unreachable(f"{repo} (revision {REVISIONS[repo]})", error, instead, others) from None


def unreachable(what: str, error: Exception, instead: str, others: str = "") -> UserError:
    """That ``what`` is neither on the hub, as far as its client's ``error`` tells, nor in its cache, nor are
    ``others``; and the ways out, of which ``instead`` does without the hub."""
    reason = " ".join(str(error).split())
    return UserError(
        f"{what} could not be reached on the hub, and the cache {huggingface_hub.constants.HF_HUB_CACHE} does not hold "
        f"it{f', nor {others}' if others else ''}. Three ways out: connect to the network; or fill the cache with the "
        f"same command on a machine that is connected, and copy it here; or {instead}. (The hub's client says: "
        f"{reason})"
    )


def _patterns(entry: Hub, language: str) -> list[str]:
    layouts = (*LAYOUTS, SINGLE) if entry.config == "default" else LAYOUTS
    return [layout.format(config=entry.config_of(language), split=entry.split) for layout in layouts]


def _matches(folder: Path, patterns: list[str]) -> bool:
    """Whether the folder holds a file of any of the patterns."""
    return any(path for pattern in patterns for path in folder.glob(pattern))


def records(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The rows of parquet files, with the names of class labels (None for -1) where the files state them."""
    for path in paths:
        try:
            yield from _records(path)
        except (OSError, ValueError, TypeError, LookupError) as error:  # pyarrow's own are some of these
            reason = textwrap.shorten(str(error), 200, placeholder=" …")
            raise UserError(
                f"{path}: not a parquet file that can be read ({reason}); delete it and fetch or copy it again"
            ) from None


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with parquet.ParquetFile(path) as file:
        labels = _class_labels(Features.from_arrow_schema(file.schema_arrow))
        for batch in file.iter_batches(1000):
            for record in batch.to_pylist():
                for column, names in labels.items():
                    record[column] = _names(record[column], names)
                yield record


def _class_labels(features: Features) -> dict[str, list[str]]:
    """Column -> names of its class labels, for columns of labels and of lists of labels."""
    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: feature.names for column, feature in inner.items() if isinstance(feature, ClassLabel)}


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return None if value is None or value < 0 else names[value]


Record = dict[str, Any]
Reader = Callable[[Record, tuple[str, ...], str], Record | None]
ALIASES = {"not_duplicate": "0", "duplicate": "1", "contradictory": "contradiction"}  # QQP's names; some XNLI copies'


def _label(value: Any, known: tuple, origin: str) -> int:
    """Index of a label that is a name, or its number, or none (None, "", -1)."""
    if isinstance(value, int):
        if not UNLABELLED <= value < len(known):
            raise UserError(f"{origin}: label {value}, expected 0 to {len(known) - 1}, or {UNLABELLED} for none")
        return value
    return index_of(ALIASES.get(value, value), known, origin)


def _pairs(text_a: str, text_b: str, label: str) -> Reader:
    def read(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
        index = _label(record[label], labels, origin)
        return None if index == UNLABELLED else {"text_a": record[text_a], "text_b": record[text_b], "label": index}

    return read


def _tagged(column: str) -> Reader:
    def read(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
        tags = [labels[_label(tag, labels, origin)] for tag in record[column]]
        if len(tags) != len(record["tokens"]):
            raise UserError(f"{origin}: {len(record['tokens'])} tokens and {len(tags)} tags")
        return {"tokens": record["tokens"], "tags": tags} if tags else None

    return read


def _span(unanswerable: bool) -> Reader:
    def read(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
        answers = {name: list(record["answers"][name]) for name in ("text", "answer_start")}
        if not answers["text"] and not unanswerable:
            return None
        row = {name: record[name] for name in ("id", "context", "question")}
        return {**row, "answers": answers, "is_impossible": not answers["text"]}

    return read


def _choice(context: str, question: str, choices: list[str], label: int) -> Record | None:
    row = {"context": context, "question": question, "choices": choices, "label": label}
    return None if label == UNLABELLED else row


def _hellaswag(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    known = tuple(str(number) for number in range(len(record["endings"])))
    choices = continued(record["ctx_b"], record["endings"])
    return _choice(record["ctx_a"], "", choices, _label(record["label"], known, origin))


def _cosmosqa(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    choices = [record[f"answer{number}"] for number in range(4)]
    row = _choice(record["context"], record["question"], choices, _label(record["label"], tuple("0123"), origin))
    return row and {"id": record["id"], **row}


def _commonsenseqa(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    choices = dict(sorted(zip(record["choices"]["label"], record["choices"]["text"], strict=True)))
    label = index_of(record["answerKey"], tuple(choices), origin, "answerKey")
    row = _choice("", record["question"], list(choices.values()), label)
    return row and {"id": record["id"], **row}


def _socialiqa(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    choices = [record[f"answer{letter}"] for letter in "ABC"]
    return _choice(record["context"], record["question"], choices, index_of(record["label"], tuple("123"), origin))


def _copa(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    if record["question"] not in COPA_QUESTIONS:
        raise UserError(f'{origin}: question "{record["question"]}" is neither cause nor effect')
    choices, label = [record["choice1"], record["choice2"]], _label(record["label"], ("choice1", "choice2"), origin)
    row = _choice(record["premise"], COPA_QUESTIONS[record["question"]], choices, label)
    return row and {"id": str(record["idx"]), **row}


def _tatoeba(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    """English is the query, whichever side it stands on; XTREME's copy keeps the line ends of its files."""
    sides = {name: (record[f"{name}_lang"], record[f"{name}_sentence"].rstrip("\r\n")) for name in ("source", "target")}
    english = [name for name, (code, _) in sides.items() if code in ("eng", "en")]
    if len(english) != 1:
        raise UserError(
            f"{origin}: source_lang and target_lang are {[code for code, _ in sides.values()]}; one must be eng"
        )
    foreign = "target" if english == ["source"] else "source"
    return {"query": sides[english[0]][1], "candidate": sides[foreign][1]}


READERS: dict[str, Reader] = {
    "nli": _pairs("premise", "hypothesis", "label"),
    "xnli": _pairs("sentence1", "sentence2", "gold_label"),
    "pawsx": _pairs("sentence1", "sentence2", "label"),
    "qqp": _pairs("question1", "question2", "label"),
    "udpos": _tagged("pos_tags"),
    "panx": _tagged("ner_tags"),
    "squad": _span(unanswerable=False),
    "squad2": _span(unanswerable=True),
    "hellaswag": _hellaswag,
    "cosmosqa": _cosmosqa,
    "commonsenseqa": _commonsenseqa,
    "socialiqa": _socialiqa,
    "copa": _copa,
    "tatoeba": _tatoeba,
}


log = logging.getLogger(__name__)
TEXT_CHARACTERS = 2000  # of an article's beginning: more than the longest input of masked LM holds
TEXTS = {"text_a", "text_b", "context", "question", "choices", "tokens", "query", "candidate"}  # columns
NEEDED = {
    "ccgbank": "CCGbank (LDC2005T13, from the Linguistic Data Consortium) is not on the hub: name its folder, which "
    "holds data/AUTO/, under hub.ccgbank, or leave out what is trained on it",
    "bucc": "the hub holds BUCC's gold pairs alone, not the sentences they are found among. Fetch the BUCC 2018 data "
    "(bucc2018 of XTREME's scripts/download_data.sh: de-en.dev.de, de-en.dev.en, de-en.dev.gold, de-en.test.de, … "
    "for de, fr, ru, zh, with the de-en.test.gold that the script deletes) and name the folder under hub.bucc, or "
    "leave bucc out of the targets",
}


class HubSource(Source):
    """The paper's data from the hub. ``languages``: those of the text for masked LM."""

    def __init__(self, settings: HubSettings, source_language: str = "en", languages: tuple[str, ...] = ()):
        self.settings, self.source_language = settings, source_language
        self.repositories = Repositories(settings.mirror)
        self.text_languages = sorted({source_language, *languages})
        self._measured: set[tuple] = set()
        self.translated = None  # translations are released as files, on no hub
        if settings.translations:
            if not (ROOT / settings.translations).is_dir():
                raise UserError(f"hub.translations: no folder {(ROOT / settings.translations).resolve()}")
            files = FilesSettings(root=settings.translations, limits=settings.limits)
            self.translated = FilesSource(files, source_language)

    # --- what there is ---------------------------------------------------------------------------------

    def languages(self, task: Task, split: str) -> list[str]:
        """Languages that the split is published in; source language first, then sorted."""
        if split == TRANSLATED:
            return self.translated.languages(task, split) if self.translated else []
        declared = {code for entry in task.hub.get(split, ()) for code in entry.languages or task.languages}
        known = [code for code in declared if self._places(task, split, code)]
        return sorted(known, key=lambda code: (code != self.source_language, code))

    def _places(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """The places that hold the split in that language, of those the task declares."""
        return [
            entry
            for entry in task.hub.get(split, ())
            if language in (entry.languages or task.languages)
            and (published(entry, language) if isinstance(entry, Hub) else self._in_folder(entry, split, language))
        ]

    def _published(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """As :meth:`_places`; UserError where there are none."""
        entries = self._places(task, split, language)
        if not entries:
            known = ", ".join(self.languages(task, split)) or "none"
            raise UserError(f"{task.name}: no {split} set in {language} on the hub; there is: {known}")
        return entries

    def known_size(self, task: Task, split: str, language: str) -> int | None:
        """Published rows of a set, those without gold among them; where languages are mixed and only their sum
        is known, an equal share of it. None of sets in folders and of translated ones."""
        entries = [] if split == TRANSLATED else self._published(task, split, language)
        hub = [entry for entry in entries if isinstance(entry, Hub)]
        if not hub or len(hub) < len(entries):
            return None
        whole = 0
        for entry in hub:
            key, codes = (entry.repo, entry.config_of(language), entry.split), entry.languages or task.languages
            known = SIZES.get((*key, language)) if entry.mixed else None
            whole += known or SIZES[(*key, "")] // (len(codes) if entry.mixed else 1)
        limit = getattr(self.settings.limits, split, 0) if task.kind not in RETRIEVAL_KINDS else 0
        return min(limit or whole, whole)

    def text_at_hand(self) -> bool:
        return all(self.repositories.at_hand(TEXT, code) for code in self.text_languages)

    def at_hand(self, task: Task, split: str, language: str) -> bool:
        if split == TRANSLATED and self.translated:
            return True
        hub = [entry for entry in self._published(task, split, language) if isinstance(entry, Hub)]
        return all(self.repositories.at_hand(entry, language) for entry in hub)

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Fetch from the hub what is not here. UserError, before anything is fetched, where a repository cannot
        be reached, a mirror lacks a file, or a folder that must be named is not."""
        sets = [item for item in sets if item[1] != TRANSLATED]
        wanted = [(TEXT, code) for code in self.text_languages] if text else []
        for task, split, codes in sets:
            places = [(entry, code) for code in codes for entry in self._published(task, split, code)]
            wanted += [(entry, code) for entry, code in places if isinstance(entry, Hub)]
        absent = self.repositories.absent(wanted)
        for task, split, codes in sets:
            for entry in task.hub.get(split, ()):
                if isinstance(entry, Folder) and not codes:
                    raise UserError(f"{task.name}: {NEEDED[entry.setting]}")
        self.repositories.fetch(absent)
        for entry, code in wanted:
            self.repositories.files(entry, code)

    # --- reading ---------------------------------------------------------------------------------------

    def load(self, task: Task, split: str, language: str) -> Dataset:
        """One split in one language in the canonical columns. Rows without gold are left out, and training
        questions whose answer is not where it is said to be; :func:`xstilts.sources.left_out` and a line say how
        many. A line is also said where a set has not the published size."""
        if split == TRANSLATED and self.translated:
            return self.translated.load(task, split, language)
        rows, dropped = [], 0
        places = self._published(task, split, language)
        for entry in places:
            part, beyond_use = self._rows(task, entry, split, language)
            if len(places) > 1 and isinstance(entry, Hub):  # ANLI+: ids of its parts must not meet
                part = [{**row, "id": f"{name_of(entry, language)}:{row['id']}"} for row in part]
            rows += part
            dropped += beyond_use
        limit = getattr(self.settings.limits, split) if task.kind not in RETRIEVAL_KINDS else 0
        rows = rows[:limit] if limit else rows
        if not rows:
            raise UserError(f"{task.name}: no examples with gold labels in its {split} set in {language}")
        try:
            dataset = Dataset.from_list(rows, features=Features(COLUMNS[task.kind]))
        except (ValueError, TypeError) as error:
            names = ", ".join(name_of(entry, language) for entry in places if isinstance(entry, Hub))
            raise UserError(f"{names}: values not as published ({error}); fetch it again") from None
        note_left_out(dataset, dropped)
        return dataset

    def _rows(self, task: Task, entry: Hub | Folder, split: str, language: str) -> tuple[list[dict[str, Any]], int]:
        """The rows of a place, and how many more were left out."""
        if isinstance(entry, Folder):
            paths = self._in_folder(entry, split, language)
            if entry.setting == "bucc":
                return read("bucc", paths[0], task.labels), 0
            reader = "ccgbank" if paths[0].suffix == ".auto" else "tagged"
            return [row for path in paths for row in read(reader, path, task.labels)], 0
        rows, name, seen, chosen = [], name_of(entry, language), 0, 0
        known: dict[Any, Any] = {}
        for seen, record in enumerate(records(self.repositories.files(entry, language)), 1):
            origin = f"{name}, row {seen}"
            try:
                if entry.mixed and record[entry.mixed].partition("-")[0] != entry.code(language):
                    continue
                row = READERS[entry.reader](record, task.labels, origin)
                _check_texts(row or {})
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UserError(
                    f"{origin}: not as published ({type(error).__name__}: {error}); it has {', '.join(record)}: fetch "
                    f"revision {entry.revision} again"
                ) from None
            chosen += 1
            if row is None or (split == "train" and task.kind == "span" and not _in_place(row)):
                continue
            row = {"id": str(chosen), **row}
            if split != "train" and known.setdefault(row["id"], seen) != seen:  # it would be scored as one of the two
                raise UserError(
                    f'{origin}: id "{row["id"]}" stands already at row {known[row["id"]]}; ids must be unique: fetch '
                    f"revision {entry.revision} again"
                )
            rows.append(row)
        self._measure(entry, language, seen, "")
        if entry.mixed:
            self._measure(entry, language, chosen, language)
        dropped = chosen - len(rows)
        if dropped:
            log.warning("%s: %d of %d rows left out: no gold label, words or answer in place", name, dropped, chosen)
        return rows, dropped

    def _measure(self, entry: Hub, language: str, rows: int, part: str) -> None:
        key = (entry.repo, entry.config_of(language), entry.split, part)
        if key not in self._measured and rows != SIZES.get(key, rows):
            log.warning(
                "%s%s: %d rows, %d expected (revision %s): not the published set",
                name_of(entry, language), f" ({part})" if part else "", rows, SIZES[key], entry.revision,
            )  # fmt: skip
        self._measured.add(key)

    def _in_folder(self, entry: Folder, split: str, language: str) -> list[Path]:
        """Files of a set in a folder that the study names; [] where it names none or BUCC lacks the language."""
        named = getattr(self.settings, entry.setting)
        folder = (ROOT / named).resolve()
        if not named:
            return []
        if not folder.is_dir():
            raise UserError(f"hub.{entry.setting}: no folder {folder}")
        if entry.setting == "bucc":
            return _bucc(folder, language, split)
        paths = ccgbank.paths(folder, split)
        if not paths and split != "test":
            raise UserError(
                f"hub.ccgbank: {folder} holds neither data/AUTO/00/*.auto (and so on) nor {split}.tsv; name the folder "
                "of LDC2005T13, or one with train.tsv and dev.tsv: a word, a tab and its supertag a line"
            )
        return paths

    # --- text for masked LM -----------------------------------------------------------------------------

    def text(self, seed: int) -> Dataset:
        """The beginnings of leading Wikipedia articles in every language of the study, shuffled."""
        rows = []
        for language in self.text_languages:
            articles = records(self.repositories.files(TEXT, language)[:1])
            rows += [
                {"id": f"{language}-{article['id']}", "text": text, "language": language}
                for article in islice(articles, self.settings.documents_per_language)
                if (text := " ".join(article["text"][:TEXT_CHARACTERS].split()))
            ]
        order = np.random.default_rng(seed).permutation(len(rows))
        return Dataset.from_list(
            [rows[index] for index in order], features=Features({"id": STRING, "text": STRING, "language": STRING})
        )

    # --- hashes and languages ---------------------------------------------------------------------------

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of repository, revision, configuration and split, of the bytes of files in a mirror or folder, and
        of how many rows are taken."""
        if split == TRANSLATED and self.translated:
            return self.translated.fingerprint(task, split, language)
        parts = [self._identity(entry, split, language) for entry in self._published(task, split, language)]
        return digest([getattr(self.settings.limits, split), parts])

    def text_fingerprint(self, seed: int) -> str:
        places = [self._identity(TEXT, "train", language) for language in self.text_languages]
        return digest([seed, self.settings.documents_per_language, places])

    def _identity(self, entry: Hub | Folder, split: str, language: str) -> list:
        if isinstance(entry, Folder):
            return [entry.setting, [file_hash(path) for path in self._in_folder(entry, split, language)]]
        files = self.repositories.files(entry, language) if self.repositories.mirror else []
        pinned = [entry.repo, entry.revision, entry.config_of(language), entry.split, entry.reader]
        return [*pinned, [file_hash(path) for path in files]]

    def language_table(self) -> pd.DataFrame:
        return natural_languages(self.source_language)


def _bucc(folder: Path, language: str, split: str) -> list[Path]:
    """Files of a set: foreign sentences, English ones, gold. UserError where a language lacks some of its files."""
    starts = {part: folder / f"{language}-en.{part}.{language}" for part in ("dev", "test")}
    files = {part: [path, *companions("bucc", path)] for part, path in starts.items()}
    absent = [file.name for group in files.values() for file in group if not file.is_file()]
    if len(absent) == sum(map(len, files.values())):
        return []
    if absent:
        raise UserError(
            f"hub.bucc: {folder} lacks {', '.join(absent)}; take it from bucc2018-{language}-en.sample-gold.tar.bz2 "
            "(where dev is called sample) or .training-gold.tar.bz2 (test: training). XTREME's script deletes the gold "
            "of its test set once it is unpacked"
        )
    return files[split]


def _check_texts(row: dict[str, Any]) -> None:
    """TypeError where a text is none: a number would become one as it is stored."""
    for name in TEXTS & row.keys():
        for text in row[name] if isinstance(row[name], list) else [row[name]]:
            if not isinstance(text, str):
                raise TypeError(f"{name} holds {text!r}, expected text")


def _in_place(row: dict[str, Any]) -> bool:
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return all(text and start >= 0 and row["context"].startswith(text, start) for text, start in answers)
