"""Predictions of a fine-tuned model in all languages of a target, and their per-example statistics.

Memory is that of the largest language: encoded examples and predictions wait in a temporary file (SQLite, in TMPDIR).
"""

import math
import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import torch
from datasets import Dataset

from xstilts.errors import DIVERGENCE_HINT, UserError
from xstilts.evaluation import metrics
from xstilts.features import INPUTS, Feature, collate, encode, size
from xstilts.progress import Progress
from xstilts.settings import LengthSettings
from xstilts.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = 8192  # padded tokens in one forward pass
MAX_ANSWER = 30  # tokens, as in the official SQuAD scripts
POSITIONS = {"example", "first_word"}  # of a feature: where its prediction belongs
CACHE = 2048  # KiB of a temporary file in memory


def database(*tables: str) -> sqlite3.Connection:
    """An empty database with these tables (their SQL), gone when it is closed."""
    connection = sqlite3.connect("")  # SQLite's name for a file without a name
    for line in ("PRAGMA journal_mode = OFF", f"PRAGMA cache_size = -{CACHE}", *tables):
        connection.execute(line)
    return connection


class Spill:
    """Rows of plain values, each with a size (major, minor) that they are read back by."""

    def __init__(self) -> None:
        self._rows = database("CREATE TABLE rows (number INTEGER PRIMARY KEY, major INT, minor INT, content BLOB)")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def __len__(self) -> int:
        return self._count

    def add(self, row: Any, size: tuple[int, int]) -> None:
        content = pickle.dumps(row, pickle.HIGHEST_PROTOCOL)
        self._rows.execute("INSERT INTO rows (major, minor, content) VALUES (?, ?, ?)", (*size, content))
        self._count += 1

    def sorted(self) -> Iterator[Any]:
        """Rows by size, smallest first; of equals the one that came first."""
        return self._read("")

    def of(self, major: int) -> Iterator[Any]:
        """The rows of one major size, in the order of :meth:`sorted`."""
        return self._read("WHERE major = ?", major)

    def _read(self, condition: str, *values: int) -> Iterator[Any]:
        self._rows.execute("CREATE INDEX IF NOT EXISTS sizes ON rows (major, minor)")
        query = f"SELECT content FROM rows INDEXED BY sizes {condition} ORDER BY major, minor, number"
        for (content,) in self._rows.execute(query, values):
            yield pickle.loads(content)


@torch.no_grad()
def predict(
    model: Any,
    task: Task,
    data: dict[str, Dataset],
    tokenizer: "PreTrainedTokenizerBase",
    lengths: LengthSettings,
    labels: list[str],
) -> Iterator[tuple[str, list[Any]]]:
    """(language, predictions), one prediction per example in order: a label index (classification, choice), a
    list of tag names (tagging) or an answer string, "" for no answer (span).

    All languages go through the model in one length-sorted pass. UserError for a model whose outputs are no numbers.
    """
    model.eval()
    device = next(model.parameters()).device
    tokens = 0
    with Spill() as keyed, Spill() as decoded:
        for number, dataset in enumerate(data.values()):
            for feature in encode(task, dataset, tokenizer, lengths, labels):
                keyed.add((number, feature), size(feature))
                tokens += math.prod(size(feature))
        with Progress(f"scoring {task.name}", tokens, "tokens") as bar:  # not examples: the longest come last
            for batch in _batches(keyed.sorted()):
                rows = [feature for _, feature in batch]
                tensors = collate(rows, tokenizer.pad_token_id)
                output = model(**{key: tensor.to(device) for key, tensor in tensors.items() if key in INPUTS})
                for (number, feature), prediction in zip(batch, _decode(task, output, rows, labels), strict=True):
                    position = {name: feature[name] for name in POSITIONS & feature.keys()}
                    decoded.add((position, prediction), (number, feature["example"]))
                bar.to(bar.done + sum(math.prod(size(feature)) for feature in rows))
        for number, (language, dataset) in enumerate(data.items()):
            results = _blank(task, dataset)
            for position, prediction in decoded.of(number):
                _insert(task, results, position, prediction)
            yield language, _answers(results, dataset) if task.kind == "span" else results


def evaluate(task: Task, data: dict[str, Dataset], predictions: dict[str, list[Any]]) -> pd.DataFrame:
    """Per-example statistics of every language: language, id, metric, numerator, denominator."""
    tables = []
    for language, dataset in data.items():
        ids, predicted = dataset["id"][:], predictions[language]
        if task.kind in ("classification", "choice"):
            table = metrics.classification(ids, dataset["label"][:], predicted, language)
        elif task.kind == "tagging":
            table = metrics.tagging(ids, dataset["tags"][:], predicted, language)
        else:
            gold = [answers["text"] for answers in dataset["answers"][:]]
            table = metrics.span(ids, gold, predicted, language, task.scorer)
        tables.append(table[table["metric"].isin(task.metrics)])
    return pd.concat(tables, ignore_index=True)


def prediction_table(data: dict[str, Dataset], predictions: dict[str, list[Any]]) -> pd.DataFrame:
    """Predictions as a table: language, id, prediction (tags joined by spaces)."""
    tables = []
    for language, dataset in data.items():
        texts = [" ".join(value) if isinstance(value, list) else str(value) for value in predictions[language]]
        tables.append(pd.DataFrame({"language": language, "id": dataset["id"][:], "prediction": texts}))
    return pd.concat(tables, ignore_index=True)


def _batches(keyed: Iterable[tuple[int, Feature]]) -> Iterator[list[tuple[int, Feature]]]:
    batch: list[tuple[int, Feature]] = []
    for pair in keyed:
        choices, length = size(pair[1])
        full = batch and (len(batch) + 1) * choices * length > BATCH_TOKENS
        if full or (batch and size(batch[0][1])[0] != choices):
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _blank(task: Task, dataset: Dataset) -> list[Any]:
    if task.kind == "tagging":
        return [[""] * len(tokens) for tokens in dataset["tokens"][:]]
    return [None] * len(dataset)


def _decode(task: Task, output: Any, rows: list[Feature], labels: list[str]) -> list[Any]:
    scores = output.start_logits if task.kind == "span" else output.logits
    if scores.isnan().any():  # the best of no numbers would be the first
        raise UserError(
            f"{task.name}: the model's outputs are no numbers (NaN): its training diverged; {DIVERGENCE_HINT}"
        )
    if task.kind in ("classification", "choice"):
        return output.logits.argmax(-1).tolist()
    if task.kind == "tagging":
        best = output.logits.argmax(-1).tolist()
        return [[labels[tags[start]] for start in row["word_starts"]] for tags, row in zip(best, rows, strict=True)]
    return _best_spans(output.start_logits.cpu(), output.end_logits.cpu(), rows)


def _best_spans(start: torch.Tensor, end: torch.Tensor, rows: list[Feature]) -> list[tuple]:
    """Per window: (score of the best span, its characters, score of no answer)."""
    length = start.shape[1]
    passage = torch.zeros_like(start, dtype=torch.bool)
    for index, row in enumerate(rows):
        passage[index, : len(row["offsets"])] = torch.tensor([span is not None for span in row["offsets"]])
    within = torch.ones(length, length, dtype=torch.bool).triu().tril(MAX_ANSWER - 1)
    allowed = passage[:, :, None] & passage[:, None, :] & within
    scores = (start[:, :, None] + end[:, None, :]).masked_fill(~allowed, -torch.inf).flatten(1)
    best, position = scores.max(dim=1)
    null = start[:, 0] + end[:, 0]
    return [
        (score, row["offsets"][flat // length][0], row["offsets"][flat % length][1], empty)
        if score > -float("inf")
        else (score, 0, 0, empty)
        for score, flat, empty, row in zip(best.tolist(), position.tolist(), null.tolist(), rows, strict=True)
    ]


def _insert(task: Task, results: list[Any], position: dict[str, int], prediction: Any) -> None:
    index = position["example"]
    if task.kind == "tagging":
        first = position["first_word"]
        results[index][first : first + len(prediction)] = prediction
    elif task.kind == "span":  # the best span over windows; the smallest no-answer score
        seen = results[index]
        null = prediction[3] if seen is None else min(seen[3], prediction[3])
        results[index] = (*max(seen[:3] if seen else prediction[:3], prediction[:3]), null)
    else:
        results[index] = prediction


def _answers(results: list[tuple], dataset: Dataset) -> list[str]:
    """Answer strings; no answer is a choice only in sets that hold unanswerable questions (SQuAD v2.0)."""
    may_be_empty = any(dataset["is_impossible"][:])
    return [
        "" if may_be_empty and null > score else context[start:end].strip()  # some tokens hold the blank before them
        for (score, start, end, null), context in zip(results, dataset["context"][:], strict=True)
    ]
