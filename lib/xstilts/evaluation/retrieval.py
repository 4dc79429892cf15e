"""Retrieval by pooled states of an encoder: nearest neighbours (Tatoeba) or mining (BUCC); :mod:`.ranking` ranks."""

import hashlib
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import transformers
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from xstilts.evaluation import metrics
from xstilts.evaluation.alignment import alignment
from xstilts.evaluation.prediction import Spill, database
from xstilts.features import collate
from xstilts.progress import Progress
from xstilts.settings import RetrievalSettings, Study
from xstilts.sources import Source
from xstilts.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = 8192  # padded tokens in one forward pass
BLOCK_CELLS = 2**25  # of a similarity matrix held at a time: 128 MiB
CHUNK = 4096  # texts, or vectors, handled at a time
NEIGHBOURS = 4  # k of the ratio margin (Artetxe and Schwenk 2019), as XTREME's script calls it

Candidate = tuple[float, str, str]  # margin, foreign id, source-language id
LanguageResult = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]  # statistics, predictions, scores of every layer


class Pooler:
    """An encoder and how its states are pooled; ``layers``: those that are scored, the main one first.

    ``tuned``: a dual encoder, whose vectors are those it was tuned with, whatever the study says of other encoders:
    the mean over all tokens of the last layer.
    """

    def __init__(self, checkpoint: Path, study: Study, tuned: bool = False):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = transformers.AutoModel.from_pretrained(checkpoint).eval().to(device)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        self.settings, self.longest = study.retrieval, study.training.max_length.retrieval
        if tuned:
            trained = {"layer": -1, "pooling": "mean", "special_tokens": True}
            self.settings = self.settings.model_copy(update=trained)
        self.layers = self.settings.indices(self.model.config.num_hidden_layers)

    def states(self, texts: Iterable[str], max_length: int = 0) -> np.ndarray:
        """Pooled states (layers, texts, width); texts are cut to ``max_length`` tokens, where it is the shorter, or
        to what the study says."""
        length = min(max_length or self.longest, self.longest)
        return embed(self.model, self.tokenizer, texts, self.layers, self.settings, length)


def retrieve(
    task: Task,
    source: Source,
    languages: list[str],
    split: str,
    checkpoint: Path,
    study: Study,
    tuned: bool = False,
) -> Iterator[LanguageResult]:
    """Language by language: per-example statistics and predictions (language, id, prediction) of a retrieval target at
    the main layer, and the scores of every layer asked for (language, layer, metric, score in percent), of a parallel
    set with how well the two sides are aligned. ``tuned``: see :class:`Pooler`.

    All layers are pooled in one pass over the text, and one at a time is held in memory. A mining threshold is
    chosen on the development set, for each layer its own; where that is all there is, on the set it is scored on,
    as BUCC's script does there.
    """
    pooler = Pooler(checkpoint, study, tuned)
    known: dict[str, tuple[list[str], np.ndarray]] = {}

    def source_states(texts: list[str], split: str) -> np.ndarray:
        """Source-language sides are often the same for every language: the last one of each split is kept."""
        if split not in known or known[split][0] != texts:
            known.pop(split, None)  # gives its file back before the next one is written
            known[split] = (texts, pooler.states(texts))
        return known[split][1]

    with Progress(f"retrieving {task.name}", len(languages), "languages") as bar:
        for language in languages:
            curve: list[pd.DataFrame] = []
            if task.kind == "parallel":
                data = source.load(task, split, language)
                sides = [source_states(data["query"][:], split), pooler.states(data["candidate"][:])]
                score = partial(_search, data["id"][:], language)
            else:
                # the set that is scored, then that of the threshold
                splits = [split] if split == "dev" else [split, "dev"]
                sets, sides = [], []
                for name in splits:
                    sets.append(MiningSet.of(source.load(task, name, language)))
                    sides += [pooler.states(sets[-1].texts("foreign")), source_states(sets[-1].texts("source"), name)]
                score = partial(_mined, sets, language)
            for number, layer in enumerate(pooler.layers):
                layer_stats, layer_predictions = score(
                    *(vectors(side[number], pooler.settings.centre) for side in sides)
                )
                aligned = alignment(*(np.asarray(side[number]) for side in sides)) if task.kind == "parallel" else {}
                curve.append(layer_scores(layer_stats, layer, aligned))
                if number == 0:  # the main layer
                    stats, predictions = (
                        layer_stats,
                        layer_predictions.assign(language=language)[["language", "id", "prediction"]],
                    )
            bar.to(bar.done + 1)
            yield stats, predictions, pd.concat(curve, ignore_index=True)


def layer_scores(stats: pd.DataFrame, layer: int, measures: Mapping[str, float] = MappingProxyType({})) -> pd.DataFrame:
    """Columns language, layer, metric, score (percent): one layer's part of ``layers.parquet``, with further
    ``measures`` of it."""
    percent = metrics.score(stats).assign(**measures).melt(var_name="metric", value_name="score", ignore_index=False)
    return percent.reset_index().assign(layer=layer)[["language", "layer", "metric", "score"]]


def _search(ids: list[str], language: str, queries: np.ndarray, candidates: np.ndarray) -> tuple:
    """Statistics and predictions of a parallel set. Tatoeba as XTREME scores it: the source-language sentence asks,
    the foreign one is found; ``reverse_accuracy`` is that of asking the other way round. Recall among the first
    1, 5, 10 and 20 beside it (recall@1 is accuracy)."""
    ranked = nearest(queries, candidates, metrics.CUTOFFS[-1])[0]
    hits, reverse = ranked[:, 0].tolist(), nearest(candidates, queries)[0][:, 0].tolist()
    gold = range(len(ids))
    forward = metrics.classification(ids, gold, hits, language)
    backward = metrics.classification(ids, gold, reverse, language).assign(metric="reverse_accuracy")
    recall = metrics.ranking(ids, [[row] for row in gold], ranked.tolist(), language)
    recall = recall[recall["metric"] != "map@20"]
    predictions = pd.DataFrame({"id": ids, "prediction": [ids[row] for row in hits]})
    return pd.concat([forward, backward, recall], ignore_index=True), predictions


def _mined(sets: list["MiningSet"], language: str, *sides: np.ndarray) -> tuple:
    """Statistics and predictions of the first of ``sets``, the threshold tuned on the last; ``sides`` are the
    foreign and source-language vectors of each."""
    mined = [part.candidates(*sides[2 * number : 2 * number + 2]) for number, part in enumerate(sets)]
    threshold = best_threshold(mined[-1], sets[-1].gold)
    pairs = {foreign: home for margin, foreign, home in mined[0] if margin >= threshold}
    gold = sets[0].gold
    mined_ids = [pairs.get(example, "") for example in gold]
    predicted = [[pair] if pair else [] for pair in mined_ids]
    stats = metrics.mining(list(gold), list(gold.values()), predicted, language)
    return stats, pd.DataFrame({"id": list(gold), "prediction": mined_ids})


@torch.no_grad()
def embed(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    texts: Iterable[str],
    layers: list[int],
    settings: RetrievalSettings,
    max_length: int,
    batch_tokens: int = BATCH_TOKENS,
) -> np.ndarray:
    """Pooled states (layers, texts, width) of the hidden states ``layers`` (0 = embeddings), float32.

    "mean" is over all tokens, <s> and </s> included (jiant's MeanPoolerHead and XTREME's script), or over the
    text's own where ``special_tokens`` is off; "cls" is the first token. Each text goes through once, sorted by
    length. Only pooled states are kept, in a nameless file of the temporary folder (TMPDIR), where tokens wait for
    their turn, too: those of a pool of many languages would not fit into memory. Raises ValueError for states that
    are no numbers.
    """
    with Spill() as encoded:
        indices = array("q", _encode(texts, tokenizer, max_length, encoded))  # of each text among the different ones
        pooled = _mapped((len(layers), len(encoded), model.config.hidden_size))
        with Progress("encoding", len(encoded), "texts") as bar:
            _pool(model, encoded, pooled, layers, settings, batch_tokens, tokenizer.pad_token_id, bar)
    if len(encoded) == len(indices):
        return pooled
    spread = _mapped((len(layers), len(indices), model.config.hidden_size))
    for layer, vectors in zip(spread, pooled, strict=True):
        for start in range(0, len(indices), CHUNK):
            layer[start : start + CHUNK] = vectors[indices[start : start + CHUNK]]
    return spread


def _mapped(shape: tuple[int, ...]) -> np.ndarray:
    with tempfile.TemporaryFile(prefix="xstilts-") as file:  # lives as long as the array
        return np.memmap(file, np.float32, "w+", shape=shape)


def _encode(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, encoded: Spill
) -> Iterator[int]:
    """Tokenize the different ones of ``texts``, the longest first in the end; yields the place of each text."""
    # equal texts, equal states
    known = database("CREATE TABLE texts (place INTEGER PRIMARY KEY, name BLOB UNIQUE)")
    texts = iter(texts)
    while chunk := list(islice(texts, CHUNK)):
        names = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in chunk]
        known.executemany("INSERT OR IGNORE INTO texts (name) VALUES (?)", zip(names))
        query = "SELECT place - 1 FROM texts WHERE name = ?"
        indices = [known.execute(query, [name]).fetchone()[0] for name in names]
        if new := {index: text for index, text in zip(indices, chunk, strict=True) if index >= len(encoded)}:
            options = {"truncation": True, "max_length": max_length, "return_special_tokens_mask": True}
            batch = tokenizer(list(new.values()), **options)
            for index, ids, special in zip(new, batch["input_ids"], batch["special_tokens_mask"], strict=True):
                encoded.add((index, ids, special), (0, -len(ids)))
        yield from indices
    known.close()


def _pool(
    model: Any,
    encoded: Spill,
    pooled: np.ndarray,
    layers: list[int],
    settings: RetrievalSettings,
    batch_tokens: int,
    padding: int,
    bar: Progress,
) -> None:
    """Fill ``pooled`` (layers, texts, width) from tokenized texts (place, ids, special)."""
    queue = encoded.sorted()
    for first in queue:
        batch_rows = [first, *islice(queue, max(1, batch_tokens // len(first[1])) - 1)]
        rows = [index for index, _, _ in batch_rows]
        batch = collate([{"input_ids": ids} for _, ids, _ in batch_rows], padding)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        states = model(**batch, output_hidden_states=True).hidden_states
        own = [
            [1] * len(special) if settings.special_tokens or all(special) else [1 - s for s in special]
            for _, _, special in batch_rows
        ]
        mask = pad_sequence([torch.tensor(row) for row in own], batch_first=True).unsqueeze(-1).to(model.device)
        for index, layer in enumerate(layers):
            state = states[layer].float()
            vectors = state[:, 0] if settings.pooling == "cls" else (state * mask).sum(1) / mask.sum(1)
            if not torch.isfinite(vectors).all():
                raise ValueError("the encoder's states are not finite numbers: its training diverged")
            pooled[index, rows] = vectors.cpu().numpy()
        bar.to(bar.done + len(rows))


def vectors(pooled: np.ndarray, centre: bool) -> np.ndarray:
    """One layer's vectors of length 1, in memory."""
    return normalise(pooled - pooled.mean(axis=0) if centre else np.asarray(pooled))


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that inner products are cosines."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(queries: np.ndarray, candidates: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the k most similar candidates of each query, best first, and their cosines: both (queries, k).

    Vectors have length 1. Of equally similar candidates the first counts. Fewer than k candidates: all.
    """
    k = min(k, len(candidates))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    index = np.empty((len(queries), k), dtype=np.int64)
    cosines = np.empty((len(queries), k), dtype=queries.dtype)
    columns = torch.from_numpy(candidates).to(device).T
    height = max(1, BLOCK_CELLS // len(candidates))
    for start in range(0, len(queries), height):
        block = torch.from_numpy(queries[start : start + height]).to(device) @ columns
        for rank in range(k):  # as many passes as neighbours: k is small, and partitioning is far slower
            values, best = block.max(dim=1)
            index[start : start + height, rank] = best.cpu().numpy()
            cosines[start : start + height, rank] = values.cpu().numpy()
            block.scatter_(1, best.unsqueeze(1), -torch.inf)
    return index, cosines


def mine(foreign: np.ndarray, source: np.ndarray) -> list[tuple[float, int, int]]:
    """Pairs (margin, foreign row, source row), best first, each row at most once; vectors of length 1.

    The margin of two sentences is their cosine over the mean cosine with the k nearest neighbours of
    either. Every sentence of both sides proposes, among its k nearest, the one of highest margin; the
    proposals are taken from the best down. LASER's and XTREME's ``mine_bitext``, margin "ratio", retrieval
    "max", threshold 0.
    """
    forward, forward_cosines = nearest(foreign, source, NEIGHBOURS)
    backward, backward_cosines = nearest(source, foreign, NEIGHBOURS)
    foreign_mean, source_mean = forward_cosines.mean(axis=1), backward_cosines.mean(axis=1)
    forward_margins = forward_cosines / ((foreign_mean[:, None] + source_mean[forward]) / 2)
    backward_margins = backward_cosines / ((source_mean[:, None] + foreign_mean[backward]) / 2)
    proposed = [
        _best(forward, forward_margins),
        _best(backward, backward_margins)[:, [0, 2, 1]],
    ]
    margins, rows, columns = np.concatenate(proposed).T
    kept, used_foreign, used_source = [], set(), set()
    for candidate in np.argsort(-margins, kind="stable"):
        margin, left, right = float(margins[candidate]), int(rows[candidate]), int(columns[candidate])
        if left not in used_foreign and right not in used_source:
            used_foreign.add(left)
            used_source.add(right)
            if margin > 0:
                kept.append((margin, left, right))
    return kept


def _best(index: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """(rows, 3): the highest margin of each row, the row, and the neighbour it is had with."""
    rows, best = np.arange(len(index)), margins.argmax(axis=1)
    return np.stack([margins[rows, best].astype(np.float64), rows, index[rows, best]], axis=1)


def best_threshold(mined: list[Candidate], gold: dict[str, list[str]]) -> float:
    """The margin, midway between two neighbouring candidates, that maximises F1 against ``gold``; 0 (all
    are taken) where no candidate is right. ``mined`` comes best first."""
    total, right, best, threshold = sum(map(len, gold.values())), 0, 0.0, 0.0
    for position, (margin, foreign, home) in enumerate(mined):
        right += home in gold[foreign]
        f1 = 2 * right / (position + 1 + total)
        if f1 > best:
            following = mined[position + 1][0] if position + 1 < len(mined) else margin
            best, threshold = f1, (margin + following) / 2
    return threshold


@dataclass(frozen=True)
class MiningSet:
    """A mining set as the official script reads it. Each text is mined once; one that stands twice has no id of
    its own and drops out afterwards (the script counts it without outer white space)."""

    ids: dict[str, dict[str, str]]  # side -> text -> id
    times: Counter[tuple[str, str]]  # (side, text without outer white space) -> how often it stands
    gold: dict[str, list[str]]  # foreign id -> ids of its translations

    @classmethod
    def of(cls, data: Dataset) -> "MiningSet":
        ids: dict[str, dict[str, str]] = {"foreign": {}, "source": {}}
        times: Counter[tuple[str, str]] = Counter()
        rows = list(zip(data["id"][:], data["text"][:], data["side"][:], data["gold"][:], strict=True))
        for example, text, side, _ in rows:
            ids[side][text] = example
            times[side, text.strip()] += 1
        return cls(ids, times, {example: gold for example, _, side, gold in rows if side == "foreign"})

    def texts(self, side: str) -> list[str]:
        return list(self.ids[side])

    def candidates(self, foreign: np.ndarray, source: np.ndarray) -> list[Candidate]:
        """Pairs of sentences, best first, from the vectors of :meth:`texts`."""
        left, right = self.texts("foreign"), self.texts("source")
        return [
            (margin, self.ids["foreign"][left[row]], self.ids["source"][right[column]])
            for margin, row, column in mine(foreign, source)
            if self.times["foreign", left[row].strip()] == self.times["source", right[column].strip()] == 1
        ]
