"""What a training is fed: the features of each task, in batches of one task and like length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase as Tokenizer

from xstilts.features import IGNORED, Feature, size, token_rows
from xstilts.settings import MixSettings, PhaseSettings

POOL = 50  # batches sorted by length together: long enough to waste no padding, short enough to stay random


@dataclass(frozen=True)
class TrainingSet:
    """Features of one task; ``kind`` is the task's, "text" (masked LM) or "dual" (retrieval), ``labels`` in head order,
    ``dropped`` how many rows were left out because nothing can be learned from them, ``lost`` in how many of each
    language no window holds the answer."""

    name: str
    kind: str
    features: list[Feature]
    labels: tuple[str, ...] = ()
    dropped: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)


class Examples(Dataset):
    """All sets as one; an item is asked for by (set, row, batch number)."""

    def __init__(self, sets: list[TrainingSet]):
        self.sets = sets

    def __len__(self) -> int:
        return sum(len(item.features) for item in self.sets)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, int, Feature]:
        number, row, batch_number = key
        return number, batch_number, self.sets[number].features[row]


class Batches(Sampler):
    """Homogeneous-task batches of like length for all ``steps`` of a training, in an order fixed by the seed.

    Tasks are drawn in proportion to min(examples, cap)^(1/temperature) (Raffel et al. 2020); masked-LM
    text, where present, takes its stated share of the steps at even intervals. The batches of one step,
    ``phase.accumulate`` of them, are of one task (as in the authors' code: jiant, ``run_train_step``).
    """

    def __init__(self, sets: list[TrainingSet], phase: PhaseSettings, mix: MixSettings, seed: int):
        self.sets, self.phase, self.mix, self.seed = sets, phase, mix, seed
        self.tasks = [number for number, item in enumerate(sets) if item.kind != "text"]
        self.text = next((number for number, item in enumerate(sets) if item.kind == "text"), None)
        sizes = [len(sets[number].features) for number in self.tasks]
        self.steps = phase.total_steps(sizes, mix, mlm=self.text is not None)
        weights = np.array([min(size, mix.cap) ** (1 / mix.temperature) for size in sizes])
        self.shares = weights / weights.sum()

    def __len__(self) -> int:
        return self.steps * self.phase.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        rng = np.random.default_rng(self.seed)
        streams = [self._stream(number) for number in range(len(self.sets))]
        share, accumulate = self.mix.mlm_share, self.phase.accumulate
        for step in range(self.steps):
            due = int((step + 1) * share) > int(step * share)
            number = self.text if due and self.text is not None else int(rng.choice(self.tasks, p=self.shares))
            for batch_number in range(step * accumulate, (step + 1) * accumulate):
                yield [(number, row, batch_number) for row in next(streams[number])]

    def tokens(self, steps: int) -> int:
        """Number of tokens in the first ``steps`` steps, without padding."""
        batches = islice(self, steps * self.phase.accumulate)
        rows = (self.sets[number].features[row]["input_ids"] for batch in batches for number, row, _ in batch)
        return sum(len(ids) for row in rows for ids in token_rows(row))

    def vocabulary(self, tokenizer: Tokenizer) -> list[int]:
        """Ids of all tokens in the sets, and of the special ones."""
        features = (feature for item in self.sets for feature in item.features)
        rows = (ids for feature in features for ids in token_rows(feature["input_ids"]))
        return sorted({*tokenizer.all_special_ids}.union(*rows))

    def _stream(self, number: int) -> Iterator[list[int]]:
        rng, count = np.random.default_rng((self.seed, number)), self.phase.batch_size
        sizes = [size(feature) for feature in self.sets[number].features]
        while True:
            order = rng.permutation(len(sizes)).tolist()
            for start in range(0, len(order), POOL * count):
                pool = sorted(order[start : start + POOL * count], key=lambda row: sizes[row])
                batches = [pool[i : i + count] for i in range(0, len(pool), count)]
                yield from (batches[i] for i in rng.permutation(len(batches)))


def part(batch: dict[str, torch.Tensor], index: int, count: int) -> dict[str, torch.Tensor]:
    """The rows of a batch that process ``index`` of ``count`` computes, with the ``weight`` of their mean loss by
    which the mean over the processes is the mean over the batch. A part without anything to learn from (no masked
    token, no row) has weight 0, and the whole batch in its place: a loss that is a number."""
    mine = {key: rows[index::count] for key, rows in batch.items()}
    counted = _items(mine)
    weight = torch.tensor(count * counted / _items(batch), dtype=torch.float32)
    return {**(mine if counted else batch), "weight": weight}


def _items(batch: dict[str, torch.Tensor]) -> int:
    """How many losses a head averages over."""
    return int((batch["labels"] != IGNORED).sum()) if "labels" in batch else len(batch["input_ids"])
