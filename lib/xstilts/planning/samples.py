"""How much there is of every set, and how long it is in tokens: from a sample, never from all of it."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import transformers
from datasets import Dataset

from ..features import encode, encode_text, label_names
from ..runs import Fingerprints, Run
from ..settings import PhaseSettings
from ..sources.kept import KeptSource
from ..study import Study
from ..tasks import POOL, RETRIEVAL_KINDS, Task, get
from ..training.checkpoints import locate
from ..training.pretraining import encode as encode_documents
from ..training.pretraining import train_tokenizer
from ..tunings import Tuning, evaluation_split, pool_languages
from ..writing import read_record
from .costs import Amount

SAMPLE = 300  # examples of a set, evenly spaced
DOCUMENTS = 3000  # documents of the pretraining text
# tokens per row, rows per feature, features per example of sets whose text or tokenizer is not here. Measured on
# excerpts of the original files with a unigram tokenizer of 32,000 pieces trained on their text, rows at most 256
# (spans 384) long; XLM-R's, of 250,002, makes somewhat shorter rows.
TYPICAL = Path(__file__).with_name("lengths.csv")
# examples of sets that are on no hub, each with its source (BUCC: sentences of both sides; doi:10.18653/v1/W17-2512)
SIZES = Path(__file__).with_name("sizes.csv")
SPREAD = 1.1  # mean squared length of a row over its squared mean, there
SUPERTAGS = 1363  # labels of CCG in jiant (jiant/tasks/lib/ccg.py), where no sample shows them


class Samples:
    """Amounts of a study's sets. ``measured`` and ``assumed`` collect the sets whose lengths were taken from a
    sample and from lengths.csv, ``published`` those whose sizes were taken from sizes.csv, ``unknown`` those of which
    nothing is known. Nothing is downloaded."""

    def __init__(self, study: Study, source: KeptSource, fingerprints: Fingerprints):
        self.study, self.source = study, source
        self.measured: set[str] = set()
        self.assumed: set[str] = set()
        self.published: set[str] = set()
        self.unknown: set[str] = set()
        self.made = self._made(fingerprints)
        self.tokenizer = self._tokenizer()
        self.vocabulary = len(self.tokenizer) if self.tokenizer else 0
        self._typical = pd.read_csv(TYPICAL, index_col="set")
        sizes = pd.read_csv(SIZES, index_col=["set", "split", "language"])["examples"]
        self._sizes = {key: int(count) for key, count in sizes.items()} if study.source == "hub" else {}
        self._set = cache(self._set)  # type: ignore[method-assign]  # kept per instance
        self.labels = cache(self.labels)  # type: ignore[method-assign]

    def _made(self, fingerprints: Fingerprints) -> Path:
        """Checkpoint folder of the study's encoder where one is there, of any seed; else where one will be."""
        runs = [Run("encoder", seed) for seed in self.study.seed_numbers]
        folders = [run.folder(self.study) for run in runs]
        for run, folder in zip(runs, folders, strict=True):
            if read_record(folder / "training.json").get("fingerprint") == fingerprints.of(run):
                return folder / "checkpoint"
        return folders[0] / "checkpoint"

    def _tokenizer(self) -> Any:
        """The encoder's, if it is on this machine. Before the study has pretrained its own: one trained on a
        sample of the text, which splits words the same way but for rare ones."""
        settings = self.study.encoder
        if self.made.is_dir():
            return transformers.AutoTokenizer.from_pretrained(self.made)
        if not settings.checkpoint:
            return train_tokenizer(self._documents(), settings.pretrain) if self.source.at_hand() else None
        try:
            return transformers.AutoTokenizer.from_pretrained(
                locate(self.study), revision=settings.revision or None, local_files_only=True
            )
        except (OSError, ValueError):
            return None

    def _documents(self) -> Dataset:
        text = self.source.text(1)
        return text.select(_spaced(len(text), DOCUMENTS))

    def pretraining(self) -> tuple[int, Amount]:
        """Documents of the pretraining text, and what the average step of pretraining sees."""
        budget, documents = self.study.encoder.pretrain.batch_tokens, len(self.source.text(1))
        sample = self._documents()
        lengths, sampled = np.unique([len(row) for row in encode_documents(sample, self.tokenizer)], return_counts=True)
        counts = sampled * documents / len(sample)
        batches = np.ceil(counts / np.maximum(budget // lengths, 1)).sum()
        whole = Amount(documents, counts.sum(), counts.sum(), (counts * lengths).sum(), (counts * lengths**2).sum())
        return documents, whole * (1 / batches)

    def text(self, documents: int) -> Amount:
        """``documents`` of masked-LM text as phase 2 mixes it in."""
        length = self.study.training.max_length.mlm
        if not (self.tokenizer and self.source.at_hand()):
            return self._assumed("text", "text", documents, length)
        sample, there = self._documents(), len(self.source.text(1))
        features = encode_text(sample["text"][:], self.tokenizer, length)
        return self._amount(features, len(sample)) * min(documents, there)

    def training(self, task: Task, asked: Sequence[tuple[str, str]], examples: int) -> Amount:
        """One epoch of the training sets ``asked`` for, as (split, language): at most ``examples`` of all
        together, 0 = all. Translated rows that nothing can be learned from are counted."""
        total = Amount()
        for split, language in asked:
            size = self._size(task, split, language)
            share = (examples or size * len(asked)) // len(asked)
            total += self._set(task.name, split, language) * min(share, size)
        return total

    def development(self, task: Task, examples: int = 0) -> Amount:
        """The source language's development set of a task, at most ``examples`` of it, 0 = all."""
        language = self.source.source_language
        size = self._size(task, "dev", language)
        return self._set(task.name, "dev", language) * min(examples or size, size)

    def selection(self, task: Task, phase: PhaseSettings, steps: int) -> Amount:
        """What is scored to compare checkpoints in ``steps`` steps, none of them saved by ``patience``."""
        if not phase.evaluate_every:
            return Amount()
        return self.development(task, phase.evaluate_examples) * math.ceil(steps / phase.evaluate_every)

    def evaluation(self, tuning: Tuning) -> Amount:
        """What a training of phase 3 is scored on. A mining task embeds its development set as well; the
        source-language side of a retrieval set is counted with every language, also where it is the same."""
        task = get(tuning.target)
        splits = {evaluation_split(self.source, task)} | ({"dev"} if task.kind == "mining" else set())
        sets = [(split, code) for code in tuning.languages(self.study, self.source) for split in sorted(splits)]
        if not sets:
            wanted = self.study.languages or task.languages
            sets = [key[1:] for key in self._sizes if key[0] == task.name and key[2] in wanted]
        if not sets:
            self.unknown.add(task.name)
        total = Amount()
        for split, language in sets:
            total += self._set(task.name, split, language) * self._size(task, split, language)
        for code in pool_languages(self.study, self.source, task):
            total += self._set(task.name, POOL, code) * self.source.size(task, POOL, code)
        return total

    def _absent(self, task: Task, split: str, language: str) -> bool:
        """Whether a set that is on no hub is not here either."""
        known = (task.name, split, language) in self._sizes
        return known and language not in self.source.languages(task, split)

    def _size(self, task: Task, split: str, language: str) -> int:
        """Examples of a set, or of one that is yet to be fetched."""
        if not self._absent(task, split, language):
            return self.source.size(task, split, language)
        self.published.add(task.name)
        size = self._sizes[task.name, split, language]
        limit = 0 if task.kind in RETRIEVAL_KINDS else getattr(self.study.hub.limits, split)
        return min(limit or size, size)

    def _set(self, name: str, split: str, language: str) -> Amount:
        """The average example of a set."""
        task, lengths = get(name), self.study.training.max_length
        longest = lengths.retrieval if task.kind in RETRIEVAL_KINDS else getattr(lengths, task.kind)
        here = not self._absent(task, split, language) and self.source.at_hand(task, split, language)
        if not (self.tokenizer and here):
            return self._assumed(task.name, task.kind, 1, longest)
        self.measured.add(task.name)
        sample = self._sample(task, split, language)
        if task.kind in RETRIEVAL_KINDS:
            columns = [name for name in ("query", "candidate", "text") if name in sample.column_names]
            texts = [text for column in columns for text in sample[column][:]]
            return self._amount(encode_text(texts, self.tokenizer, longest), len(sample))
        return self._amount(encode(task, sample, self.tokenizer, lengths, label_names(task, sample)), len(sample))

    def labels(self, name: str) -> int:
        """Outputs of the head of a task; where they come from the training data, those of a sample."""
        task = get(name)
        if task.labels or task.kind in ("span", "choice"):
            return len(task.labels) or 2
        asked = (task, "train", self.source.source_language)
        if self._absent(*asked) or not self.source.at_hand(*asked):
            return SUPERTAGS
        return len(label_names(task, self._sample(*asked)))

    def _sample(self, task: Task, split: str, language: str) -> Dataset:
        data = self.source.load(task, split, language)
        return data.select(_spaced(len(data), SAMPLE))

    def _assumed(self, name: str, kind: str, examples: float, longest: int) -> Amount:
        self.assumed.add(name)
        found = self._typical.loc[name if name in self._typical.index else kind]
        tokens, rows = min(found["tokens"], longest), found["features"] * found["rows"]
        return Amount(1, found["features"], rows, rows * tokens, rows * tokens**2 * SPREAD) * examples

    @staticmethod
    def _amount(features: list, examples: int) -> Amount:
        """The average example of those that ``features`` were made of."""
        nested = (f["input_ids"] if isinstance(f["input_ids"][0], list) else [f["input_ids"]] for f in features)
        lengths = np.array([len(row) for rows in nested for row in rows])
        whole = Amount(examples, len(features), len(lengths), int(lengths.sum()), int((lengths**2).sum()))
        return whole * (1 / examples)


def _spaced(size: int, count: int) -> list[int]:
    """At most ``count`` places of ``size``, evenly spaced."""
    step = max(1, math.ceil(size / count))
    return list(range(0, size, step))
