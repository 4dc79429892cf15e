"""The hub source: the paper's data from pinned repositories, as declared in :mod:`xstilts.tasks`."""

import logging
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, Features

from ..errors import UserError
from ..hashes import digest, file_hash
from ..places import TEXT, Folder, Hub
from ..study import ROOT
from ..tasks import RETRIEVAL_KINDS, TRANSLATED, Task
from . import ccgbank, note_left_out
from .files import COLUMNS, STRING, FilesSource, natural_languages
from .files_settings import FilesSettings
from .hub_files import SIZES, Repositories, name_of, published, records
from .hub_readers import READERS
from .hub_settings import HubSettings
from .readers import companions, read

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


class HubSource:
    """Answers :class:`xstilts.sources.Source`. ``languages``: those of the text for masked LM."""

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
        declared = {code for place in task.hub.get(split, ()) for code in place.languages or task.languages}
        there = [code for code in declared if self._places(task, split, code)]
        return sorted(there, key=lambda code: (code != self.source_language, code))

    def _places(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """The places that hold the split in that language, of those the task declares."""
        return [
            place
            for place in task.hub.get(split, ())
            if language in (place.languages or task.languages)
            and (published(place, language) if isinstance(place, Hub) else self._in_folder(place, split, language))
        ]

    def _found(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """As :meth:`_places`; UserError where there are none."""
        found = self._places(task, split, language)
        if not found:
            there = ", ".join(self.languages(task, split)) or "none"
            raise UserError(f"{task.name}: no {split} set in {language} on the hub; there is: {there}")
        return found

    def size(self, task: Task, split: str, language: str) -> int:
        """Published rows of a set, those without gold among them; where languages are mixed and only their sum
        is known, an equal share of it. Sets in folders, and translated ones, are read."""
        if split == TRANSLATED and self.translated:
            return len(self.translated.load(task, split, language))
        places = self._found(task, split, language)
        hub = [place for place in places if isinstance(place, Hub)]
        if len(hub) < len(places):
            return len(self.load(task, split, language))
        whole = 0
        for place in hub:
            key, codes = (place.repo, place.config_of(language), place.split), place.languages or task.languages
            known = SIZES.get((*key, language)) if place.mixed else None
            whole += known or SIZES[(*key, "")] // (len(codes) if place.mixed else 1)
        limit = getattr(self.settings.limits, split, 0) if task.kind not in RETRIEVAL_KINDS else 0
        return min(limit or whole, whole)

    def at_hand(self, task: Task | Hub = TEXT, split: str = "", language: str = "") -> bool:
        """Whether a set (without arguments, the text for masked LM) needs no download."""
        if isinstance(task, Hub):
            return all(self.repositories.at_hand(TEXT, code) for code in self.text_languages)
        if split == TRANSLATED and self.translated:
            return True
        hub = [place for place in self._found(task, split, language) if isinstance(place, Hub)]
        return all(self.repositories.at_hand(place, language) for place in hub)

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Fetch from the hub what is not here. UserError, before anything is fetched, where a repository cannot
        be reached, a mirror lacks a file, or a folder that must be named is not."""
        sets = [asked for asked in sets if asked[1] != TRANSLATED]
        wanted = [(TEXT, code) for code in self.text_languages] if text else []
        for task, split, codes in sets:
            places = [(place, code) for code in codes for place in self._found(task, split, code)]
            wanted += [(place, code) for place, code in places if isinstance(place, Hub)]
        absent = self.repositories.absent(wanted)
        for task, split, codes in sets:
            for place in task.hub.get(split, ()):
                if isinstance(place, Folder) and not codes:
                    raise UserError(f"{task.name}: {NEEDED[place.setting]}")
        self.repositories.fetch(absent)
        for place, code in wanted:
            self.repositories.files(place, code)

    # --- reading ---------------------------------------------------------------------------------------

    def load(self, task: Task, split: str, language: str) -> Dataset:
        """One split in one language in the canonical columns. Rows without gold are left out, and training
        questions whose answer is not where it is said to be; :func:`xstilts.sources.left_out` and a line say how
        many. A line is also said where a set has not the published size."""
        if split == TRANSLATED and self.translated:
            return self.translated.load(task, split, language)
        rows, dropped = [], 0
        places = self._found(task, split, language)
        for place in places:
            part, beyond_use = self._rows(task, place, split, language)
            if len(places) > 1 and isinstance(place, Hub):  # ANLI+: ids of its parts must not meet
                part = [{**row, "id": f"{name_of(place, language)}:{row['id']}"} for row in part]
            rows += part
            dropped += beyond_use
        limit = getattr(self.settings.limits, split) if task.kind not in RETRIEVAL_KINDS else 0
        rows = rows[:limit] if limit else rows
        if not rows:
            raise UserError(f"{task.name}: no examples with gold labels in its {split} set in {language}")
        try:
            found = Dataset.from_list(rows, features=Features(COLUMNS[task.kind]))
        except (ValueError, TypeError) as error:
            names = ", ".join(name_of(place, language) for place in places if isinstance(place, Hub))
            raise UserError(f"{names}: values not as published ({error}); fetch it again") from None
        note_left_out(found, dropped)
        return found

    def _rows(self, task: Task, place: Hub | Folder, split: str, language: str) -> tuple[list[dict[str, Any]], int]:
        """The rows of a place, and how many more were left out."""
        if isinstance(place, Folder):
            paths = self._in_folder(place, split, language)
            if place.setting == "bucc":
                return read("bucc", paths[0], task.labels), 0
            reader = "ccgbank" if paths[0].suffix == ".auto" else "tagged"
            return [row for path in paths for row in read(reader, path, task.labels)], 0
        rows, name, seen, chosen = [], name_of(place, language), 0, 0
        known: dict[Any, Any] = {}
        for seen, record in enumerate(records(self.repositories.files(place, language)), 1):
            where = f"{name}, row {seen}"
            try:
                if place.mixed and record[place.mixed].partition("-")[0] != place.code(language):
                    continue
                row = READERS[place.reader](record, task.labels, where)
                _check_texts(row or {})
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UserError(
                    f"{where}: not as published ({type(error).__name__}: {error}); it has {', '.join(record)}: fetch "
                    f"revision {place.revision} again"
                ) from None
            chosen += 1
            if row is None or (split == "train" and task.kind == "span" and not _in_place(row)):
                continue
            row = {"id": str(chosen), **row}
            if split != "train" and known.setdefault(row["id"], seen) != seen:  # it would be scored as one of the two
                raise UserError(
                    f'{where}: id "{row["id"]}" stands already at row {known[row["id"]]}; ids must be unique: fetch '
                    f"revision {place.revision} again"
                )
            rows.append(row)
        self._measure(place, language, seen, "")
        if place.mixed:
            self._measure(place, language, chosen, language)
        dropped = chosen - len(rows)
        if dropped:
            log.warning("%s: %d of %d rows left out: no gold label, words or answer in place", name, dropped, chosen)
        return rows, dropped

    def _measure(self, place: Hub, language: str, found: int, part: str) -> None:
        key = (place.repo, place.config_of(language), place.split, part)
        if key not in self._measured and found != SIZES.get(key, found):
            log.warning(
                "%s%s: %d rows, %d expected (revision %s): not the published set",
                name_of(place, language), f" ({part})" if part else "", found, SIZES[key], place.revision,
            )  # fmt: skip
        self._measured.add(key)

    def _in_folder(self, place: Folder, split: str, language: str) -> list[Path]:
        """Files of a set in a folder that the study names; [] where it names none or BUCC lacks the language."""
        named = getattr(self.settings, place.setting)
        folder = (ROOT / named).resolve()
        if not named:
            return []
        if not folder.is_dir():
            raise UserError(f"hub.{place.setting}: no folder {folder}")
        if place.setting == "bucc":
            return _bucc(folder, language, split)
        found = ccgbank.paths(folder, split)
        if not found and split != "test":
            raise UserError(
                f"hub.ccgbank: {folder} holds neither data/AUTO/00/*.auto (and so on) nor {split}.tsv; name the folder "
                "of LDC2005T13, or one with train.tsv and dev.tsv: a word, a tab and its supertag a line"
            )
        return found

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
            [rows[place] for place in order], features=Features({"id": STRING, "text": STRING, "language": STRING})
        )

    # --- hashes and languages ---------------------------------------------------------------------------

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of repository, revision, configuration and split, of the bytes of files in a mirror or folder, and
        of how many rows are taken."""
        if split == TRANSLATED and self.translated:
            return self.translated.fingerprint(task, split, language)
        parts = [self._identity(place, split, language) for place in self._found(task, split, language)]
        return digest([getattr(self.settings.limits, split), parts])

    def text_fingerprint(self, seed: int) -> str:
        places = [self._identity(TEXT, "train", language) for language in self.text_languages]
        return digest([seed, self.settings.documents_per_language, places])

    def _identity(self, place: Hub | Folder, split: str, language: str) -> list:
        if isinstance(place, Folder):
            return [place.setting, [file_hash(path) for path in self._in_folder(place, split, language)]]
        files = self.repositories.files(place, language) if self.repositories.mirror else []
        pinned = [place.repo, place.revision, place.config_of(language), place.split, place.reader]
        return [*pinned, [file_hash(path) for path in files]]

    def language_table(self) -> pd.DataFrame:
        return natural_languages(self.source_language)


def _bucc(folder: Path, language: str, split: str) -> list[Path]:
    """Files of a set: foreign sentences, English ones, gold. UserError where a language lacks some of its files."""
    starts = {part: folder / f"{language}-en.{part}.{language}" for part in ("dev", "test")}
    files = {part: [path, *companions("bucc", path)] for part, path in starts.items()}
    absent = [file.name for found in files.values() for file in found if not file.is_file()]
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
