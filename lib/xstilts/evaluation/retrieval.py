"""Retrieval by pooled states of an encoder: nearest neighbours (Tatoeba) or mining (BUCC); :mod:`.ranking` ranks.

How well two languages' sentence vectors are aligned is measured by linear CKA and the mean cosine margin of parallel
sentences.
"""

import hashlib
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from datasets import Dataset
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from xstilts.evaluation import metrics
from xstilts.evaluation.prediction import Spill, autocast, batch_tokens
from xstilts.features import collate
from xstilts.progress import Progress
from xstilts.settings import RetrievalSettings, Study
from xstilts.sources import Source
from xstilts.tasks import Task

CHUNK = 4096  # texts, or vectors, handled at a time
GROUP = 32  # columns of a similarity matrix that are passed over where their maximum is not among the highest
LEAST = 0.05  # size of the mean cosine that a margin is over: of a handful of centred vectors it is about 0
NEIGHBOURS = 4  # k of the ratio margin (Artetxe and Schwenk 2019), as XTREME's script calls it
TILE = 2048  # rows and columns of a similarity matrix held at a time: 16 MiB

Ranked = tuple[np.ndarray, np.ndarray]  # rows and cosines, best first: both (queries, k)
LayerResult = tuple[pd.DataFrame, pd.DataFrame, Mapping[str, float]]  # statistics, predictions, further measures
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
        self.precision = study.training.target.precision
        if tuned:
            self.settings = self.settings.model_copy(update={"layer": -1, "pooling": "mean", "special_tokens": True})
        self.layers = self.settings.indices(self.model.config.num_hidden_layers)

    def states(self, texts: Iterable[str], max_length: int = 0) -> np.ndarray:
        """Pooled states (layers, texts, width); texts are cut to ``max_length`` tokens, where it is the shorter, or
        to what the study says."""
        length = min(max_length or self.longest, self.longest)
        return embed(self.model, self.tokenizer, texts, self.layers, self.settings, length, self.precision)


def retrieve(
    task: Task, source: Source, languages: list[str], split: str, checkpoint: Path, study: Study, tuned: bool = False
) -> Iterator[LanguageResult]:
    """Language by language: per-example statistics and predictions (language, id, prediction) of a retrieval target at
    the main layer, and the scores of every layer asked for (language, layer, metric, score in percent), of a parallel
    set with how well the two sides are aligned. ``tuned``: see :class:`Pooler`.

    All layers are pooled in one pass over the text, and one at a time is held in memory. A mining threshold is
    chosen on the development set, for each layer its own; where that is all there is, on the set it is scored on,
    as BUCC's script does there.
    """
    pooler = Pooler(checkpoint, study, tuned)
    splits = [split] if task.kind == "parallel" or split == "dev" else [split, "dev"]
    known: dict[str, tuple[list[str], np.ndarray]] = {}

    def source_states(texts: list[str], split: str) -> np.ndarray:
        """Source-language sides are often the same for every language: the last of each split is reused."""
        if split not in known or known[split][0] != texts:
            known.pop(split, None)  # gives its file back before the next one is written
            known[split] = (texts, pooler.states(texts))
        return known[split][1]

    with Progress(f"retrieving {task.name}", len(languages), "languages") as bar:
        for language in languages:
            sets, states = [], []
            for name in splits:
                sets.append(data := source.load(task, name, language))
                if task.kind == "parallel":
                    source_texts, foreign_texts = data["query"][:], data["candidate"][:]
                else:
                    source_texts, foreign_texts = (list(mining_side(data, side)) for side in ("source", "foreign"))
                states.extend([source_states(source_texts, name), pooler.states(foreign_texts)])
            score = _search if task.kind == "parallel" else _mined
            layers = ([side[number] for side in states] for number in range(len(pooler.layers)))
            results = (score(sets, layer, pooler.settings.centre, language) for layer in layers)
            result = language_result(language, pooler.layers, results)
            bar.to(bar.done + 1)
            yield result


def language_result(language: str, layers: Iterable[int], results: Iterable[LayerResult]) -> LanguageResult:
    """What is stored of a language: statistics and predictions of the first layer, the scores of all ``layers``."""
    main: list[pd.DataFrame] = []
    curve = []
    for layer, (stats, predictions, measures) in zip(layers, results, strict=True):
        main = main or [stats, predictions.assign(language=language)[["language", "id", "prediction"]]]
        percent = metrics.score(stats).assign(**measures).reset_index().melt("language", None, "metric", "score")
        curve.append(percent.assign(layer=layer)[["language", "layer", "metric", "score"]])
    return main[0], main[1], pd.concat(curve, ignore_index=True)


def _search(sets: list[Dataset], states: list[np.ndarray], centre: bool, language: str) -> LayerResult:
    """Nearest neighbours in a parallel set. Tatoeba as XTREME scores it: the source-language sentence is the query,
    the foreign one is retrieved; ``reverse_accuracy`` is that of the other direction. Recall among the first 1, 5, 10
    and 20 beside it (recall@1 is accuracy). ``states``: of queries and candidates."""
    ids = sets[0]["id"][:]
    queries, candidates = (vectors(side, centre) for side in states)
    ranked, back = (rows for rows, _ in _neighbours(queries, candidates, metrics.CUTOFFS[-1]))
    hits, reverse = ranked[:, 0].tolist(), back[:, 0].tolist()
    gold = range(len(ids))
    forward = metrics.classification(ids, gold, hits, language)
    backward = metrics.classification(ids, gold, reverse, language).assign(metric="reverse_accuracy")
    recall = metrics.ranking(ids, [[row] for row in gold], ranked.tolist(), language).query("metric != 'map@20'")
    predictions = pd.DataFrame({"id": ids, "prediction": [ids[row] for row in hits]})
    return pd.concat([forward, backward, recall], ignore_index=True), predictions, alignment(*map(np.asarray, states))


def _mined(sets: list[Dataset], states: list[np.ndarray], centre: bool, language: str) -> LayerResult:
    """Pairs mined in the first of ``sets``, with the threshold that is best on the last. ``states``: of the
    source-language and foreign sentences of each."""
    mined, gold = [], []
    for number, data in enumerate(sets):
        home, foreign = (list(mining_side(data, side).values()) for side in ("source", "foreign"))
        home_vectors, foreign_vectors = (vectors(side, centre) for side in states[2 * number : 2 * number + 2])
        pairs = [(margin, foreign[row], home[column]) for margin, row, column in mine(foreign_vectors, home_vectors)]
        mined.append([pair for pair in pairs if all(pair)])
        rows = zip(data["id"][:], data["side"][:], data["gold"][:], strict=True)
        gold.append({example: right for example, side, right in rows if side == "foreign"})
    threshold = best_threshold(mined[-1], gold[-1])
    translations = {foreign: home for margin, foreign, home in mined[0] if margin >= threshold}
    predictions = [translations.get(example, "") for example in gold[0]]
    predicted = [[pair] if pair else [] for pair in predictions]
    stats = metrics.mining(list(gold[0]), list(gold[0].values()), predicted, language)
    return stats, pd.DataFrame({"id": list(gold[0]), "prediction": predictions}), {}


def mining_side(data: Dataset, side: str) -> dict[str, str]:
    """Text -> id of the sentences of one ``side`` of a mining set. As in the official script each text is mined once;
    of one that occurs twice, but for outer white space, the id is "": its pairs are dropped afterwards."""
    rows = zip(data["id"][:], data["text"][:], data["side"][:], strict=True)
    ids = [(text, example) for example, text, own in rows if own == side]
    counts = Counter(text.strip() for text, _ in ids)
    return {text: example if counts[text.strip()] == 1 else "" for text, example in ids}


@torch.no_grad()
def embed(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    layers: list[int],
    settings: RetrievalSettings,
    max_length: int,
    precision: str = "fp32",
) -> np.ndarray:
    """Pooled states (layers, texts, width) of the hidden states ``layers`` (0 = embeddings), float32.

    "mean" is over all tokens, <s> and </s> included (jiant's MeanPoolerHead and XTREME's script), or over the text's
    own where ``special_tokens`` is off; "cls" is the first token. Each text goes through once, sorted by length, on a
    GPU in ``precision``. Only pooled states are kept, in a nameless temporary file (in TMPDIR), where tokens wait for
    their turn, too: those of a pool of many languages would not fit into memory. ``texts`` is read twice. Raises
    ValueError for states that are no numbers.
    """
    names = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts)
    _, first, indices = np.unique(np.fromiter(names, "S16"), return_index=True, return_inverse=True)
    is_new = np.zeros(len(indices), bool)  # equal texts, equal states
    is_new[first] = True
    encoded, lengths, new = Spill(), array("i"), compress(texts, is_new)
    while chunk := list(islice(new, CHUNK)):
        batch = tokenizer(chunk, truncation=True, max_length=max_length, return_special_tokens_mask=True)
        for ids, special in zip(batch["input_ids"], batch["special_tokens_mask"], strict=True):
            own = [1] * len(ids) if settings.special_tokens or all(special) else [1 - mark for mark in special]
            encoded.append((ids, own))
            lengths.append(len(ids))
    pooled, most = _mapped((len(layers), len(encoded), model.config.hidden_size)), batch_tokens(model)
    order = np.argsort(-np.array(lengths), kind="stable")
    with Progress("encoding", len(encoded), "texts") as bar:
        while bar.done < len(encoded):
            rows = order[bar.done : bar.done + max(1, most // lengths[order[bar.done]])]
            batch_ids, own_tokens = zip(*(encoded[row] for row in rows), strict=True)
            tensors = collate([{"input_ids": ids} for ids in batch_ids], tokenizer.pad_token_id)
            inputs = {name: tensor.to(model.device) for name, tensor in tensors.items()}
            with autocast(model, precision):
                states = model(**inputs, output_hidden_states=True).hidden_states
            mask = pad_sequence(list(map(torch.tensor, own_tokens)), batch_first=True).unsqueeze(-1).to(model.device)
            for index, layer in enumerate(layers):
                state = states[layer].float()
                vectors = state[:, 0] if settings.pooling == "cls" else (state * mask).sum(1) / mask.sum(1)
                if not torch.isfinite(vectors).all():
                    raise ValueError("the encoder's states are not finite numbers: its training diverged")
                pooled[index, rows] = vectors.cpu().numpy()
            bar.to(bar.done + len(rows))
    if len(encoded) == len(indices):
        return pooled
    indices = np.searchsorted(np.flatnonzero(is_new), first[indices])  # of each text among the different ones
    spread = _mapped((len(layers), len(indices), model.config.hidden_size))
    for layer_states, distinct in zip(spread, pooled, strict=True):
        for start in range(0, len(indices), CHUNK):
            layer_states[start : start + CHUNK] = distinct[indices[start : start + CHUNK]]
    return spread


def _mapped(shape: tuple[int, ...]) -> np.ndarray:
    with tempfile.TemporaryFile(prefix="xstilts-") as file:  # lives as long as the array
        return np.memmap(file, np.float32, "w+", shape=shape)


def vectors(pooled: np.ndarray, centre: bool) -> np.ndarray:
    """One layer's vectors of length 1, in memory."""
    return normalise(pooled - pooled.mean(axis=0) if centre else np.asarray(pooled))


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that inner products are cosines."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(queries: np.ndarray, candidates: np.ndarray, k: int = 1) -> Ranked:
    """Rows of the k most similar candidates of each query, best first, and their cosines: both (queries, k).

    Vectors have length 1. Of equally similar candidates the first counts; equal candidates are equally similar, though
    a product of matrices may differ between columns in the last digit. Fewer than k candidates: all.
    """
    return _neighbours(queries, candidates, k, mutual=False)[0]


def _neighbours(x: np.ndarray, y: np.ndarray, k: int, mutual: bool = True) -> list[Ranked]:
    """What is :func:`nearest` to each row of ``x`` among those of ``y`` and, where ``mutual``, to each of ``y`` among
    those of ``x``: from one product of the different rows of both, tile by tile."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (rows, numbers), (columns, column_numbers) = _distinct(x), _distinct(y)
    left, right = torch.from_numpy(x[rows]).to(device), torch.from_numpy(y[columns]).to(device)
    forward, backward = (
        [torch.full(shape, -1, device=device), left.new_full(shape, -torch.inf)]
        for shape in ((len(left), min(k, len(right))), (len(right), min(k, len(left))))
    )
    for row in range(0, len(left), TILE):
        for column in range(0, len(right), TILE):
            tile = left[row : row + TILE] @ right[column : column + TILE].T
            _rank([part[row : row + TILE] for part in forward], tile, 1, column)
            if mutual:
                _rank([part[column : column + TILE] for part in backward], tile, 0, row)
    ranks = [_with_copies(forward, numbers, column_numbers, k)]
    return [*ranks, _with_copies(backward, column_numbers, numbers, k)] if mutual else ranks


def _distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that equal none before them, and of each row the number of the one of those that it equals."""
    cells = np.ascontiguousarray(vectors).view(f"V{vectors.dtype.itemsize * vectors.shape[1]}").ravel()
    _, first, number = np.unique(cells, return_index=True, return_inverse=True)
    rows = np.sort(first)
    return rows, np.searchsorted(rows, first[number])


def _rank(best: list[torch.Tensor], tile: torch.Tensor, dim: int, offset: int) -> None:
    """Merge what is highest along ``dim`` of a ``tile``, which begins at ``offset``, into the ``best`` of the tiles
    before: index and cosines, both (rows, k).

    The k best of a row are in the k groups with the highest maxima, and most rows have none that is better than what
    is known: so few cells are looked at twice.
    """
    index, cosines = best
    if missing := -tile.shape[dim] % GROUP:
        tile = pad(tile, [0, 0] * (1 - dim) + [0, missing], value=-torch.inf)
    groups = tile.unflatten(dim, (-1, GROUP))
    maxima = groups.amax(dim + 1)
    if dim == 0:
        groups, maxima = groups.movedim(2, 0), maxima.T
    rows = (maxima.amax(1) > cosines[:, -1]).nonzero()[:, 0]
    highest = _highest(maxima[rows], index.shape[1])[0].sort(dim=1).values
    columns = highest.unsqueeze(2) * GROUP + torch.arange(offset, offset + GROUP, device=tile.device)
    order, cosines[rows] = _highest(
        torch.cat([cosines[rows], groups[rows.unsqueeze(1), highest].flatten(1)], 1), index.shape[1]
    )
    index[rows] = torch.cat([index[rows], columns.flatten(1)], 1).gather(1, order)


def _highest(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns of the k highest ``values`` of each row, best first, of equals the first, and the values, which are lost.
    As many passes as neighbours: k is small, and sorting is far slower."""
    best = []
    for _ in range(min(k, values.shape[1])):
        best.append(values.max(dim=1, keepdim=True))
        values.scatter_(1, best[-1].indices, -torch.inf)
    return torch.cat([part.indices for part in best], 1), torch.cat([part.values for part in best], 1)


def _with_copies(best: list[torch.Tensor], queries: np.ndarray, numbers: np.ndarray, k: int) -> Ranked:
    """Ranks of all rows from the ``best`` of the different rows: ``queries`` and ``numbers`` say which of these a query
    and a candidate equal."""
    index, cosines = (part.cpu().numpy()[queries] for part in best)
    counts = np.bincount(numbers)
    if len(counts) < len(numbers):
        members, starts = np.argsort(numbers, kind="stable"), counts.cumsum() - counts
        ends, ranks = counts[index].cumsum(axis=1), np.arange(min(k, len(numbers)))
        of = (ends[:, :, None] <= ranks).sum(axis=1)
        first = np.take_along_axis(ends - counts[index], of, axis=1)
        index = members[starts[np.take_along_axis(index, of, axis=1)] + ranks - first]
        cosines = np.take_along_axis(cosines, of, axis=1)
        order = np.lexsort((index, -cosines))
        index, cosines = (np.take_along_axis(part, order, axis=1) for part in (index, cosines))
    return index, cosines


def mine(foreign: np.ndarray, source: np.ndarray) -> list[tuple[float, int, int]]:
    """Pairs (margin, foreign row, source row), best first, each row at most once; vectors of length 1.

    The margin of two sentences is their cosine over the mean cosine with the k nearest neighbours of
    either. Every sentence of both sides proposes, among its k nearest, the one of highest margin; the
    proposals are taken from the best down. LASER's and XTREME's ``mine_bitext``, margin "ratio", retrieval
    "max", threshold 0; but for a mean closer to 0 than ``LEAST``, which counts as that.
    """
    neighbours = _neighbours(foreign, source, NEIGHBOURS)
    means = [cosines.mean(axis=1) for _, cosines in neighbours]
    proposed = []
    for (index, cosines), own, other in zip(neighbours, means, reversed(means), strict=True):
        mean = (own[:, None] + other[index]) / 2
        margins = cosines / np.where(np.abs(mean) < LEAST, LEAST, mean)
        rows, best = np.arange(len(index)), margins.argmax(axis=1)
        proposed.append((margins[rows, best], rows, index[rows, best]))
    (forward, rows, best), (backward, columns, best_back) = proposed
    margins = np.concatenate([forward, backward]).astype(np.float64)
    pairs = np.concatenate([np.stack([rows, best], axis=1), np.stack([best_back, columns], axis=1)])
    mined: list[tuple[float, int, int]] = []
    used_foreign, used_source = set(), set()
    order = np.argsort(-margins, kind="stable")
    for margin, (left, right) in zip(margins[order].tolist(), pairs[order].tolist(), strict=True):
        if left not in used_foreign and right not in used_source and margin > 0:
            used_foreign.add(left)
            used_source.add(right)
            mined.append((margin, left, right))
    return mined


def best_threshold(mined: list[tuple[float, str, str]], gold: dict[str, list[str]]) -> float:
    """The margin, midway between two neighbouring candidates, that maximises F1 against ``gold``; 0 (all
    are taken) where no candidate is right. ``mined``: (margin, foreign id, source-language id), best first."""
    total, right, best, threshold = sum(map(len, gold.values())), 0, 0.0, 0.0
    for position, (margin, foreign, home) in enumerate(mined):
        right += home in gold[foreign]
        f1 = 2 * right / (position + 1 + total)
        if f1 > best:
            following = mined[position + 1][0] if position + 1 < len(mined) else margin
            best, threshold = f1, (margin + following) / 2
    return threshold


def alignment(queries: np.ndarray, candidates: np.ndarray) -> dict[str, float]:
    """{"cka", "cosine_margin"} in percent of parallel sentences' pooled states: row i of (sentences, width) is the
    translation of row i of the other."""
    return {"cka": 100 * linear_cka(queries, candidates), "cosine_margin": 100 * cosine_margin(queries, candidates)}


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment, 0 to 1 (Kornblith et al. 2019, arXiv:1905.00414, section 3); rows are
    examples, columns may differ in number. It does not change when either side is rotated, shifted or scaled as a
    whole: alignment up to an orthogonal map, which a cosine does not see.

    Biased upwards where sentences are few for the width: compare what has the same sentences and width. NaN where
    one side does not vary.
    """
    x, y = (side - side.mean(axis=0, dtype=np.float64) for side in (x, y))
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norms) if norms else np.nan


def cosine_margin(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over parallel rows of their cosine minus the mean cosine with the non-translations, -2 to 2: the
    "distance" margin of Artetxe and Schwenk (2019, arXiv:1811.01136) with all the other sentences, not the k
    nearest, for neighbours. What a language's vectors have in common raises every cosine and leaves the margin.
    NaN of fewer than two rows.
    """
    count = len(x)
    if count < 2:
        return np.nan
    x, y = (normalise(side.astype(np.float64)) for side in (x, y))
    gold = (x * y).sum()
    others = x.sum(axis=0) @ y.sum(axis=0) - gold  # the sum over all pairs is the product of the sums
    return float(gold / count - others / (count * (count - 1)))
