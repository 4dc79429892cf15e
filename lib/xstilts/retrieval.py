"""Retrieval with the encoder as it is: pooled states, then nearest neighbours (Tatoeba) or mining (BUCC)."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers

from . import metrics
from .sources import Source
from .study import Study
from .tasks import Task

BATCH_TOKENS = 8192  # padded tokens in one forward pass
BLOCK = 2048  # rows of a similarity matrix held at a time
NEIGHBOURS = 4  # k of the ratio margin (Artetxe and Schwenk 2019), as XTREME's script calls it


def retrieve(
    task: Task, source: Source, languages: list[str], split: str, checkpoint: Path, study: Study
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Per-example statistics and predictions (language, id, prediction) of a retrieval target."""
    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def states(texts: list[str]) -> np.ndarray:
        settings = study.retrieval
        found = embed(model, tokenizer, texts, settings.layer, settings.pooling, study.training.max_length.retrieval)
        return normalise(found - found.mean(axis=0) if settings.centre else found)

    stats, predictions = [], []
    for language in languages:
        data = source.load(task, split, language)
        if task.kind == "parallel":
            ids = data["id"][:]
            nearest = nearest_candidates(states(data["query"][:]), states(data["candidate"][:]))
            stats.append(metrics.classification(ids, range(len(ids)), nearest, language))
            found = [ids[index] for index in nearest]
        else:
            development = source.load(task, "dev", language)
            threshold = best_threshold(_candidates(development, states), _gold(development))
            mined = {left: right for margin, left, right in _candidates(data, states) if margin >= threshold}
            gold = _gold(data)
            ids = list(gold)
            found = [mined.get(example, "") for example in ids]
            stats.append(metrics.mining(ids, list(gold.values()), [[pair] if pair else [] for pair in found], language))
        predictions.append(pd.DataFrame({"language": language, "id": ids, "prediction": found}))
    return pd.concat(stats, ignore_index=True), pd.concat(predictions, ignore_index=True)


@torch.no_grad()
def embed(model, tokenizer, texts: list[str], layer: int, pooling: str, max_length: int) -> np.ndarray:
    """Pooled states (texts, width) of hidden layer ``layer`` (0 = embeddings), float32.

    "mean" is over the attention mask, special tokens included (jiant's MeanPoolerHead); "cls" is the
    first token. Texts go through sorted by length; only pooled states are kept.
    """
    ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    pooled = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    while order:
        count = len(order)
        while count > 1 and count * len(ids[order[count - 1]]) > BATCH_TOKENS:
            count -= 1
        rows, order = order[:count], order[count:]
        batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt").to(model.device)
        states = model(**batch, output_hidden_states=True).hidden_states[layer].float()
        mask = batch["attention_mask"].unsqueeze(-1)
        vectors = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
        pooled[rows] = vectors.cpu().numpy()
    return pooled


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that inner products are cosines."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest_candidates(queries: np.ndarray, candidates: np.ndarray) -> list[int]:
    """Index of the most similar candidate of each query; both (n, width), rows of length 1.

    Tatoeba as XTREME scores it: the source-language sentence asks, the foreign one is found.
    """
    return [
        int(index)
        for start in range(0, len(queries), BLOCK)
        for index in (queries[start : start + BLOCK] @ candidates.T).argmax(axis=1)
    ]


def _neighbours(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosines (left, k) of the k nearest ``right`` rows of each ``left`` row."""
    k = min(NEIGHBOURS, len(right))
    found, cosines = [], []
    for start in range(0, len(left), BLOCK):
        similar = left[start : start + BLOCK] @ right.T
        index = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        found.append(index)
        cosines.append(np.take_along_axis(similar, index, axis=1))
    return np.concatenate(found), np.concatenate(cosines)


def mine(foreign: np.ndarray, source: np.ndarray) -> list[tuple[float, int, int]]:
    """Pairs (margin, foreign row, source row), best first, each row at most once.

    Ratio margin over the k nearest neighbours of both sides, candidates of both directions pooled and
    taken greedily: LASER's and XTREME's ``mine_bitext`` with retrieval "max".
    """
    forward, forward_cosines = _neighbours(foreign, source)
    backward, backward_cosines = _neighbours(source, foreign)
    foreign_mean, source_mean = forward_cosines.mean(axis=1), backward_cosines.mean(axis=1)
    forward_margin = forward_cosines / ((foreign_mean[:, None] + source_mean[forward]) / 2)
    backward_margin = backward_cosines / ((source_mean[:, None] + foreign_mean[backward]) / 2)
    pairs = [
        (float(margins[best]), row, int(index[best]))
        for row, (index, margins, best) in enumerate(
            zip(forward, forward_margin, forward_margin.argmax(axis=1), strict=True)
        )
    ]
    pairs += [
        (float(margins[best]), int(index[best]), row)
        for row, (index, margins, best) in enumerate(
            zip(backward, backward_margin, backward_margin.argmax(axis=1), strict=True)
        )
    ]
    kept, used_foreign, used_source = [], set(), set()
    for margin, left, right in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if left not in used_foreign and right not in used_source:
            used_foreign.add(left)
            used_source.add(right)
            kept.append((margin, left, right))
    return kept


def _candidates(data, states) -> list[tuple[float, str, str]]:
    """Mined pairs of a mining set as (margin, foreign id, source id). A sentence that stands twice has
    no id of its own and drops out, as in the official script."""
    sides = {}
    for side in ("foreign", "source"):
        ids: dict[str, list[str]] = {}
        for example, text, where in zip(data["id"], data["text"], data["side"], strict=True):
            if where == side:
                ids.setdefault(text, []).append(example)
        sides[side] = (list(ids.values()), states(list(ids)))
    (foreign_ids, foreign), (source_ids, source) = sides["foreign"], sides["source"]
    return [
        (margin, foreign_ids[left][0], source_ids[right][0])
        for margin, left, right in mine(foreign, source)
        if len(foreign_ids[left]) == len(source_ids[right]) == 1
    ]


def _gold(data) -> dict[str, list[str]]:
    """Foreign id -> ids of its translations."""
    return {
        example: gold for example, gold, side in zip(data["id"], data["gold"], data["side"], strict=True) if side == "foreign"
    }


def best_threshold(candidates: list[tuple[float, str, str]], gold: dict[str, list[str]]) -> float:
    """The margin, midway between two neighbouring candidates, that maximises F1 against ``gold``."""
    total, right, best, threshold = sum(map(len, gold.values())), 0, 0.0, float("inf")
    for position, (margin, foreign, source) in enumerate(candidates):
        right += source in gold[foreign]
        f1 = 2 * right / (position + 1 + total)
        if f1 > best:
            following = candidates[position + 1][0] if position + 1 < len(candidates) else margin
            best, threshold = f1, (margin + following) / 2
    return threshold
