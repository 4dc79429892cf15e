"""The hub source: the paper's data from pinned repositories, as declared in :mod:`xstilts.tasks`.

A record of a parquet file is a dict with the names of class labels in the place of their numbers, where the file states
the names; else the numbers, which then count the task's own labels. Records without gold (SNLI's label -1) or without
words are left out.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
from xstilts.readers.pairs_and_choices import RECORD_READERS, Record, companions, has_gold, read
from xstilts.readers.records import get, id_of, index_of, strings
from xstilts.settings import HubSettings
from xstilts.sources.base import Source, note_left_out
from xstilts.sources.files import COLUMNS, natural_languages, source_first, to_dataset
from xstilts.tasks import RETRIEVAL_KINDS, Task

huggingface_hub.utils.disable_progress_bars()
log = logging.getLogger(__name__)

# How repositories lay out a configuration: as uploaded, as the hub's own conversion does, and as uploaded by
# those that have one configuration alone.
LAYOUTS = ("{config}/{split}-*.parquet", "{config}/{split}/*.parquet", "data/{split}-*.parquet")
TEXT_CHARACTERS = 2000  # of an article's beginning: more than the longest input of masked LM holds
NEEDED = {
    "ccgbank": "CCGbank (LDC2005T13, from the Linguistic Data Consortium) is not on the hub: name its folder, which "
    "holds data/AUTO/, under hub.ccgbank, or leave out what is trained on it",
    "bucc": "the hub holds BUCC's gold pairs alone, not the sentences they are found among. Fetch the BUCC 2018 data "
    "(bucc2018 of XTREME's scripts/download_data.sh: de-en.dev.de, de-en.dev.en, de-en.dev.gold, … and of test, whose "
    "gold the script deletes) and name the folder under hub.bucc, or leave bucc out of the targets",
}


# (repo, config, split, language or "") -> rows. From the dataset_infos.json of each repository; of XNLI's languages, of
# facebook/xnli's; of TyDiQA's English part, from the table of XTREME (RemBERT, arXiv:2010.12821, table 11). bucc18.*,
# gold pairs without their sentences, is read by nothing.
_table = pd.read_csv(Path(__file__).parents[1] / "tables" / "hub_sizes.csv", keep_default_na=False)
SIZES: dict[tuple, int] = _table.set_index(["repo", "config", "split", "language"])["rows"].to_dict()


# --- files of repositories --------------------------------------------------------------------------------


def unreachable(what: str, error: Exception, instead: str, others: str = "") -> UserError:
    """That ``what`` is neither on the hub, as far as its client's ``error`` tells, nor in its cache, nor are
    ``others``; and the ways out, of which ``instead`` does without the hub."""
    lacking = f"the cache {huggingface_hub.constants.HF_HUB_CACHE} does not hold it{others and f', nor {others}'}"
    fill = "fill the cache with the same command on a machine that is connected, and copy it here"
    ways = f"Three ways out: connect to the network; or {fill}; or {instead}. (The hub's client says: "
    return UserError(f"{what} could not be reached on the hub, and {lacking}. {ways}{' '.join(str(error).split())})")


class Repositories:
    """Where the files of a set are. With a mirror neither the network nor the cache is used; without one the
    cache comes first, so that what was fetched once needs no network again."""

    def __init__(self, mirror: str = ""):
        self.mirror = (ROOT / mirror).resolve() if mirror else None
        if self.mirror and not self.mirror.is_dir():
            raise UserError(f"hub.mirror: no folder {self.mirror}; name the one that holds google/xtreme/, …")

    def at_hand(self, entry: Hub, language: str) -> list[Path]:
        """The files of a set, sorted, that are in the mirror or the cache; asks no network."""
        patterns = _patterns(entry, language)
        try:
            folder = self.mirror / entry.repo if self.mirror else _snapshot(entry.repo, patterns, local_files_only=True)
        except LocalEntryNotFoundError:
            return []
        return next((paths for pattern in patterns if (paths := sorted(folder.glob(pattern)))), [])

    def files(self, entry: Hub, language: str) -> list[Path]:
        """The files of a set, fetched where they are neither in a mirror nor in the cache. UserError where there are
        none."""
        self.fetch(self.absent([(entry, language)]))
        paths = self.at_hand(entry, language)
        if not paths:
            name, patterns = entry.name_of(language), " or ".join(_patterns(entry, language))
            folder = self.mirror or "its repository"
            raise UserError(f"{name}: no such file in {folder} (looked for {patterns}); leave out what needs it")
        return paths

    def absent(self, wanted: list[tuple[Hub, str]]) -> dict[str, list[str]]:
        """Repositories that lack some of ``wanted`` (set, language) here -> patterns of what they lack. UserError where
        one of them cannot be reached."""
        patterns: dict[str, list[str]] = {}
        for entry, language in wanted:
            if not self.mirror and not self.at_hand(entry, language):
                patterns.setdefault(entry.repo, []).extend(_patterns(entry, language))
        for repo in sorted(patterns):
            with _reached(repo, {*patterns}):
                huggingface_hub.HfApi().dataset_info(repo, revision=REVISIONS[repo])
        return patterns

    def fetch(self, patterns: dict[str, list[str]]) -> None:
        for repo in sorted(patterns):
            print(f"fetching {repo} (revision {REVISIONS[repo]}) from the hub", flush=True)
            with _reached(repo, {repo}):
                _snapshot(repo, patterns[repo])


@contextmanager
def _reached(repo: str, lacking: set[str]) -> Iterator[None]:
    """The hub's many errors as one message: what could not be reached, and the ways out."""
    try:
        yield
    except Exception as error:  # no network, a proxy, no such revision, …: the ways out are the same
        instead = f"name a folder with the repositories as on the hub (<folder>/{repo}/…) under hub.mirror"
        others = ", ".join(sorted(lacking - {repo}))
        raise unreachable(f"{repo} (revision {REVISIONS[repo]})", error, instead, others) from None


def _snapshot(repo: str, patterns: list[str], **options: Any) -> Path:
    options |= {"repo_type": "dataset", "revision": REVISIONS[repo], "allow_patterns": patterns}
    return Path(huggingface_hub.snapshot_download(repo, **options))


def _patterns(entry: Hub, language: str) -> list[str]:
    _, config, split = entry.key(language)
    return [layout.format(config=config, split=split) for layout in LAYOUTS[: 3 if config == "default" else 2]]


# --- records ----------------------------------------------------------------------------------------------


def records(paths: list[Path]) -> Iterator[Record]:
    """The rows of parquet files, with the names of class labels (None for -1) where the files state them."""
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                labels = _class_labels(Features.from_arrow_schema(file.schema_arrow))
                for batch in file.iter_batches(1000):
                    for record in batch.to_pylist():
                        yield record | {column: _names(record[column], names) for column, names in labels.items()}
        except (OSError, ValueError, TypeError, LookupError) as error:  # pyarrow's own are some of these
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a parquet file that can be read ({reason}); fetch it again") from None


def _class_labels(features: Features) -> dict[str, list[str]]:
    """Column -> names of its class labels, for columns of labels and of lists of labels."""
    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: feature.names for column, feature in inner.items() if isinstance(feature, ClassLabel)}


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return None if value is None or value < 0 else names[value]


def _tagged(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    tokens = strings(record, "tokens", origin)
    column = "pos_tags" if "pos_tags" in record else "ner_tags"
    tags = [labels[index_of(tag, labels, origin, "tag")] for tag in get(record, column, list, origin)]
    if len(tags) != len(tokens):
        raise UserError(f"{origin}: {len(tokens)} tokens and {len(tags)} tags")
    return {"tokens": tokens, "tags": tags or None}


def _span(record: Record, labels: tuple[str, ...], origin: str, unanswerable: bool = False) -> Record:
    answers = get(record, "answers", dict, origin)
    row = {name: get(record, name, str, origin) for name in ("context", "question")}
    row["id"] = id_of(record, "id", origin)
    texts, starts = strings(answers, "text", origin), get(answers, "answer_start", list, origin)
    if len(starts) != len(texts) or {type(start) for start in starts} - {int}:
        raise UserError(f'{origin}: "answer_start" holds {starts}, expected a number for each of {len(texts)} answers')
    answers = {"text": texts, "answer_start": starts}
    return {**row, "answers": answers, "is_impossible": unanswerable and not texts}


def _tatoeba(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    """English is the query, whichever side it stands on; XTREME's copy keeps the line ends of its files."""
    codes = [get(record, f"{side}_lang", str, origin) for side in ("source", "target")]
    texts = [get(record, f"{side}_sentence", str, origin).rstrip("\r\n") for side in ("source", "target")]
    english = [code in ("eng", "en") for code in codes]
    if sum(english) != 1:
        raise UserError(f"{origin}: source_lang and target_lang are {codes}; one must be eng")
    return {"query": texts[english.index(True)], "candidate": texts[english.index(False)]}


READERS: dict[str, Callable[[Record, tuple[str, ...], str], Record | None]] = RECORD_READERS | {
    "tagged": _tagged, "squad": _span, "squad2": partial(_span, unanswerable=True), "tatoeba": _tatoeba,
}  # fmt: skip
NUMBERED = ("pairs", "tagged", "hellaswag", "socialiqa", "tatoeba")  # whose rows' ids are their numbers


class HubSource(Source):
    """The paper's data from the hub. ``languages``: those of the text for masked LM."""

    def __init__(self, settings: HubSettings, source_language: str = "en", languages: tuple[str, ...] = ()):
        self.settings, self.source_language = settings, source_language
        self.repositories = Repositories(settings.mirror)
        self.text_languages = sorted({source_language, *languages})
        self._measured: set[tuple] = set()

    # --- what there is ---------------------------------------------------------------------------------

    def languages(self, task: Task, split: str) -> list[str]:
        """Languages that the split is published in; source language first, then sorted."""
        declared = {code for entry in task.hub.get(split, ()) for code in entry.languages or task.languages}
        return source_first((code for code in declared if self._entries(task, split, code)), self.source_language)

    def _entries(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """What holds the split in that language (udpos.Thai has no training set), of what the task declares."""
        declared = [entry for entry in task.hub.get(split, ()) if language in (entry.languages or task.languages)]
        return [entry for entry in declared if self._holds(entry, split, language)]

    def _holds(self, entry: Hub | Folder, split: str, code: str) -> bool:
        return (*entry.key(code), "") in SIZES if isinstance(entry, Hub) else bool(self._in_folder(entry, split, code))

    def _published(self, task: Task, split: str, language: str) -> list[Hub | Folder]:
        """As :meth:`_entries`; UserError where there are none."""
        entries = self._entries(task, split, language)
        if not entries:
            known = ", ".join(self.languages(task, split)) or "none"
            raise UserError(f"{task.name}: no {split} set in {language} on the hub; there is: {known}")
        return entries

    def _on_hub(self, task: Task, split: str, language: str) -> list[Hub]:
        return [entry for entry in self._published(task, split, language) if isinstance(entry, Hub)]

    def known_size(self, task: Task, split: str, language: str) -> int | None:
        """Published rows of a set, those without gold among them; where languages are mixed and only their sum
        is known, an equal share of it. None of sets in folders."""
        size = 0
        for entry in self._on_hub(task, split, language):
            languages = entry.languages or task.languages
            known = SIZES.get((*entry.key(language), language)) if entry.mixed else None
            size += known or SIZES[(*entry.key(language), "")] // (len(languages) if entry.mixed else 1)
        return min(self._limit(task, split) or size, size) or None

    def _limit(self, task: Task, split: str) -> int:
        return 0 if task.kind in RETRIEVAL_KINDS else getattr(self.settings.limits, split)

    def text_at_hand(self) -> bool:
        return all(self.repositories.at_hand(TEXT, code) for code in self.text_languages)

    def at_hand(self, task: Task, split: str, language: str) -> bool:
        return all(self.repositories.at_hand(entry, language) for entry in self._on_hub(task, split, language))

    def check(self, sets: list[tuple[Task, str, list[str]]], text: bool) -> None:
        """Fetch from the hub what is not here. UserError, before anything is fetched, where a repository cannot
        be reached, a mirror lacks a file, or a folder that must be named is not."""
        wanted = [(TEXT, code) for code in self.text_languages] if text else []
        for task, split, codes in sets:
            wanted += [(entry, code) for code in codes for entry in self._on_hub(task, split, code)]
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
        rows: list[Record] = []
        dropped = 0
        entries = self._published(task, split, language)
        for entry in entries:
            part, part_dropped = self._rows(task, entry, split, language)
            if isinstance(entry, Hub) and len(entries) > 1:  # ANLI+: ids of its parts must not meet
                part = [{**row, "id": f"{entry.name_of(language)}:{row['id']}"} for row in part]
            rows += part
            dropped += part_dropped
        rows = rows[: self._limit(task, split) or None]
        if not rows:
            raise UserError(f"{task.name}: no examples with gold labels in its {split} set in {language}")
        return note_left_out(to_dataset(rows, COLUMNS[task.kind]), dropped)

    def _rows(self, task: Task, entry: Hub | Folder, split: str, language: str) -> tuple[list[Record], int]:
        """The rows of a set, and how many more were left out."""
        if isinstance(entry, Folder):
            paths = self._in_folder(entry, split, language)
            if entry.setting == "bucc":
                return read("bucc", paths[0]), 0  # and with it the others
            reader = "ccgbank" if paths[0].suffix == ".auto" else "tagged"
            return [row for path in paths for row in read(reader, path, task.labels)], 0
        rows, name, seen, chosen = [], entry.name_of(language), 0, 0
        known: dict[str, int] = {}
        for seen, record in enumerate(records(self.repositories.files(entry, language)), 1):
            origin = f"{name}, row {seen}"
            try:
                if entry.mixed and get(record, entry.mixed, str, origin).partition("-")[0] != entry.code(language):
                    continue
                row = READERS[entry.reader](record, task.labels, origin)
                chosen += 1
                if not row or not has_gold(row) or (split == "train" and task.kind == "span" and not _in_place(row)):
                    continue
                if entry.reader in NUMBERED:
                    row["id"] = str(chosen)
                if split != "train" and known.setdefault(row["id"], seen) != seen:  # it would be scored as one of them
                    first = known[row["id"]]
                    raise UserError(f'{origin}: id "{row["id"]}" stands already at row {first}; ids must be unique')
            except UserError as error:
                raise UserError(f"{error}: fetch revision {REVISIONS[entry.repo]} again") from None
            rows.append(row)
        self._measure(entry, language, seen, "")
        self._measure(entry, language, chosen, language)
        dropped = chosen - len(rows)
        if dropped:
            log.warning("%s: %d of %d rows left out: no gold label, words or answer in place", name, dropped, chosen)
        return rows, dropped

    def _measure(self, entry: Hub, language: str, rows: int, part: str) -> None:
        key = (*entry.key(language), part)
        if key not in self._measured and rows != SIZES.get(key, rows):
            name = entry.name_of(language) + (f" ({part})" if part else "")
            expected = f"{SIZES[key]} expected (revision {REVISIONS[entry.repo]})"
            log.warning("%s: %d rows, %s: not the published set", name, rows, expected)
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
            columns = f"{split}.tsv (a word, a tab and its supertag a line)"
            raise UserError(f"hub.ccgbank: {folder} holds neither data/AUTO/00/*.auto (LDC2005T13) … nor {columns}")
        return paths

    # --- text for masked LM -----------------------------------------------------------------------------

    def text(self, seed: int) -> Dataset:
        """The beginnings of leading Wikipedia articles in every language of the study, shuffled."""
        rows = []
        for language in self.text_languages:
            articles = records(self.repositories.files(TEXT, language)[:1])
            for article in islice(articles, self.settings.documents_per_language):
                if text := " ".join(article["text"][:TEXT_CHARACTERS].split()):
                    rows.append({"id": f"{language}-{article['id']}", "text": text, "language": language})
        order = np.random.default_rng(seed).permutation(len(rows))
        return to_dataset([rows[index] for index in order], COLUMNS["text"])

    # --- hashes and languages ---------------------------------------------------------------------------

    def fingerprint(self, task: Task, split: str, language: str) -> str:
        """Hash of repository, revision, configuration and split, of the bytes of files in a mirror or folder, and
        of how many rows are taken."""
        parts = [self._identity(entry, split, language) for entry in self._published(task, split, language)]
        return digest([getattr(self.settings.limits, split), parts])

    def text_fingerprint(self, seed: int) -> str:
        places = [self._identity(TEXT, "train", language) for language in self.text_languages]
        return digest([seed, self.settings.documents_per_language, places])

    def _identity(self, entry: Hub | Folder, split: str, language: str) -> list:
        if isinstance(entry, Folder):
            return [entry.setting, [file_hash(path) for path in self._in_folder(entry, split, language)]]
        files = self.repositories.files(entry, language) if self.repositories.mirror else []
        return [*entry.key(language), REVISIONS[entry.repo], entry.reader, [file_hash(path) for path in files]]

    def language_table(self) -> pd.DataFrame:
        return natural_languages(self.source_language)


def _bucc(folder: Path, language: str, split: str) -> list[Path]:
    """Files of a set: foreign sentences, English ones, gold. UserError where a language lacks some of its files."""
    starts = [folder / f"{language}-en.{part}.{language}" for part in ("dev", "test")]
    files = [path for start in starts for path in (start, *companions("bucc", start))]
    absent = [path.name for path in files if not path.is_file()]
    if 0 < len(absent) < len(files):
        archive = f"bucc2018-{language}-en.sample-gold.tar.bz2 (where dev is called sample) or .training-gold.tar.bz2"
        why = "XTREME's script deletes the gold of its test set once it is unpacked"
        raise UserError(f"hub.bucc: {folder} lacks {', '.join(absent)}; take it from {archive} (test: training). {why}")
    return [path for path in files if not absent and f"-en.{split}." in path.name]


def _in_place(row: dict[str, Any]) -> bool:
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return all(text and start >= 0 and row["context"].startswith(text, start) for text, start in answers)
