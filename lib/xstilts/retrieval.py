"""Retrieval with the encoder as it is: pooled states, then nearest neighbours (Tatoeba) or mining (BUCC)."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from datasets import Dataset

from . import metrics
from .errors import UserError
from .features import collate
from .sources import Source
from .study import Study
from .tasks import Task

BATCH_TOKENS = 8192  # padded tokens in one forward pass
BLOCK_CELLS = 2**25  # of a similarity matrix held at a time: 128 MiB
NEIGHBOURS = 4  # k of the ratio margin (Artetxe and Schwenk 2019), as XTREME's script calls it

Candidate = tuple[float, str, str]  # margin, foreign id, source-language id


def retrieve(
    task: Task, source: Source, languages: list[str], split: str, checkpoint: Path, study: Study
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Per-example statistics and predictions (language, id, prediction) of a retrieval target.

    A mining threshold is chosen on the development set; where that is all there is, on the set it is
    scored on, as BUCC's script does there.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = transformers.AutoModel.from_pretrained(checkpoint).eval().to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def states(texts: list[str]) -> np.ndarray:
        settings = study.retrieval
        found = embed(model, tokenizer, texts, settings.layer, settings.pooling, study.training.max_length.retrieval)
        return normalise(found - found.mean(axis=0) if settings.centre else found)

    known: dict[str, tuple[list[str], np.ndarray]] = {}

    def source_states(texts: list[str], split: str) -> np.ndarray:
        """Source-language sides are often the same for every language: the last one of each split is kept."""
        if split not in known or known[split][0] != texts:
            known[split] = (texts, states(texts))
        return known[split][1]

    stats, predictions = [], []
    for language in languages:
        data = source.load(task, split, language)
        if task.kind == "parallel":
            ids = data["id"][:]
            found = nearest(source_states(data["query"][:], split), states(data["candidate"][:]))[0][:, 0].tolist()
            stats.append(metrics.classification(ids, range(len(ids)), found, language))
            found = [ids[index] for index in found]
        else:
            mined = _mined(data, states, lambda texts: source_states(texts, split))
            tuning, tuning_mined = data, mined
            if split != "dev":
                tuning = source.load(task, "dev", language)
                tuning_mined = _mined(tuning, states, lambda texts: source_states(texts, "dev"))
            threshold = best_threshold(tuning_mined, _gold(tuning))
            pairs = {foreign: home for margin, foreign, home in mined if margin >= threshold}
            gold = _gold(data)
            ids = list(gold)
            found = [pairs.get(example, "") for example in ids]
            stats.append(metrics.mining(ids, list(gold.values()), [[pair] if pair else [] for pair in found], language))
        predictions.append(pd.DataFrame({"language": language, "id": ids, "prediction": found}))
    return pd.concat(stats, ignore_index=True), pd.concat(predictions, ignore_index=True)


@torch.no_grad()
def embed(
    model, tokenizer, texts: list[str], layer: int, pooling: str, max_length: int, batch_tokens: int = BATCH_TOKENS
) -> np.ndarray:
    """Pooled states (texts, width) of hidden layer ``layer`` (0 = embeddings, -1 = last), float32.

    "mean" is over the attention mask, special tokens included (jiant's MeanPoolerHead); "cls" is the
    first token. Each text goes through once, sorted by length; only pooled states are kept. Raises
    UserError for a layer that the encoder lacks, ValueError for states that are no numbers.
    """
    depth = model.config.num_hidden_layers
    if not -depth - 1 <= layer <= depth:
        raise UserError(
            f"retrieval.layer is {layer}; the encoder has {depth} layers: 0 (embeddings) to {depth}, or -1 for the last"
        )
    places = {text: index for index, text in enumerate(dict.fromkeys(texts))}  # equal texts, equal states
    ids = tokenizer(list(places), truncation=True, max_length=max_length)["input_ids"]
    order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
    pooled = np.empty((len(ids), model.config.hidden_size), dtype=np.float32)
    while order:
        count = max(1, batch_tokens // len(ids[order[0]]))
        rows, order = order[:count], order[count:]
        batch = collate([{"input_ids": ids[row]} for row in rows], tokenizer.pad_token_id)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        states = model(**batch, output_hidden_states=True).hidden_states[layer].float()
        mask = batch["attention_mask"].unsqueeze(-1)
        vectors = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
        pooled[rows] = vectors.cpu().numpy()
    if not np.isfinite(pooled).all():
        raise ValueError("the encoder's states are not finite numbers: its training diverged")
    return pooled[[places[text] for text in texts]]


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that inner products are cosines."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(queries: np.ndarray, candidates: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the k most similar candidates of each query, best first, and their cosines: both (queries, k).

    Vectors have length 1. Of equally similar candidates the first counts. Fewer than k candidates: all.
    Tatoeba as XTREME scores it: the source-language sentence asks, the foreign one is found.
    """
    k = min(k, len(candidates))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    index = np.empty((len(queries), k), dtype=np.int64)
    cosines = np.empty((len(queries), k), dtype=queries.dtype)
    columns = torch.from_numpy(candidates).to(device).T
    height = max(1, BLOCK_CELLS // len(candidates))
    for start in range(0, len(queries), height):
        block = torch.from_numpy(queries[start : start + height]).to(device) @ columns
        for place in range(k):  # as many passes as neighbours: k is small, and partitioning is far slower
            values, best = block.max(dim=1)
            index[start : start + height, place] = best.cpu().numpy()
            cosines[start : start + height, place] = values.cpu().numpy()
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
    for place in np.argsort(-margins, kind="stable"):
        margin, left, right = float(margins[place]), int(rows[place]), int(columns[place])
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


def _mined(data: Dataset, foreign_states: Callable, source_states: Callable) -> list[Candidate]:
    """Candidates of a mining set, best first. Each text is mined once; one that stands twice has no id of
    its own and drops out afterwards, as in the official script (which counts it without outer white space)."""
    texts: dict[str, dict[str, str]] = {"foreign": {}, "source": {}}
    times: Counter[tuple[str, str]] = Counter()
    for example, text, side in zip(data["id"][:], data["text"][:], data["side"][:], strict=True):
        texts[side][text] = example
        times[side, text.strip()] += 1
    foreign, home = list(texts["foreign"]), list(texts["source"])
    return [
        (margin, texts["foreign"][foreign[left]], texts["source"][home[right]])
        for margin, left, right in mine(foreign_states(foreign), source_states(home))
        if times["foreign", foreign[left].strip()] == times["source", home[right].strip()] == 1
    ]


def _gold(data: Dataset) -> dict[str, list[str]]:
    """Foreign id -> ids of its translations."""
    sides = zip(data["id"][:], data["gold"][:], data["side"][:], strict=True)
    return {example: gold for example, gold, side in sides if side == "foreign"}
