"""Predictions of a fine-tuned model in all languages of a target, and their per-example statistics.

Memory is that of the largest language: encoded examples and predictions wait in temporary files (in TMPDIR).
"""

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch.nn.functional import pad

from xstilts.errors import DIVERGENCE_HINT, UserError
from xstilts.evaluation import metrics
from xstilts.features import INPUTS, Feature, collate, encode, size
from xstilts.progress import Progress
from xstilts.settings import LengthSettings
from xstilts.tasks import Task

BATCH_TOKENS = 1024  # padded tokens in one forward pass on a CPU: what fits in its caches is up to 1.6 times as fast
HALF_DEVICES = ("cuda",)  # where models are scored in the precision that they are trained in; elsewhere in fp32
MAX_ANSWER = 30  # tokens, as in the official SQuAD scripts


class Spill(Sequence):
    """A sequence of plain values in a nameless temporary file, so that memory does not grow with the languages."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="xstilts-")  # noqa: SIM115  # open as long as the object lives
        self._starts = array("q")

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, value: Any) -> None:
        self._starts.append(self._file.seek(0, os.SEEK_END))
        pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)

    def __getitem__(self, index: Any) -> Any:
        self._file.seek(self._starts[index])
        return pickle.load(self._file)


def batch_tokens(model: Any) -> int:
    """Padded tokens in one forward pass: of a GPU a power of two for which half of its free memory is enough."""
    if next(model.parameters()).device.type != "cuda":
        return BATCH_TOKENS
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    config = model.config  # a state of every layer (retrieval), and about 32 more while one is computed
    most = free // (2 * 4 * config.hidden_size * (config.num_hidden_layers + 32))
    return min(2**16, max(BATCH_TOKENS, 2 ** (most.bit_length() - 1)))


def autocast(model: Any, precision: str) -> torch.autocast:
    """The context in which a model is scored: bf16 or fp16 on a GPU, with weights and results of layers in fp32."""
    device = next(model.parameters()).device.type
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device, kind, enabled=kind is not None and device in HALF_DEVICES)


@torch.no_grad()
def predict(
    model: Any,
    task: Task,
    data: dict[str, Dataset],
    tokenizer: Any,
    lengths: LengthSettings,
    labels: list[str],
    precision: str = "fp32",
) -> Iterator[tuple[str, list[Any]]]:
    """(language, predictions), one prediction per example in order: a label index (classification, choice), a
    list of tag names (tagging) or an answer string, "" for no answer (span).

    All languages go through the model in one length-sorted pass, on a GPU in ``precision``. UserError for a model whose
    outputs are no numbers.
    """
    model.eval()
    device = next(model.parameters()).device
    features, sizes = Spill(), array("i")
    for number, dataset in enumerate(data.values()):
        for feature in encode(task, dataset, tokenizer, lengths, labels):
            features.append((number, feature))
            sizes.extend(size(feature))
    shapes = np.reshape(sizes, (-1, 2))
    tokens = shapes.prod(axis=1)
    decoded = [Spill() for _ in data]
    with Progress(f"scoring {task.name}", int(tokens.sum()), "tokens") as bar:  # not examples: the longest come last
        for batch in _batches(shapes, batch_tokens(model)):
            numbers, rows = zip(*(features[index] for index in batch), strict=True)
            tensors = collate(rows, tokenizer.pad_token_id)
            with autocast(model, precision):
                output = model(**{key: tensor.to(device) for key, tensor in tensors.items() if key in INPUTS})
            for number, feature, prediction in zip(numbers, rows, _decode(task, output, rows, labels), strict=True):
                decoded[number].append((feature["example"], feature.get("first_word", 0), prediction))
            bar.to(bar.done + int(tokens[batch].sum()))
    for (language, dataset), parts in zip(data.items(), decoded, strict=True):
        yield language, _answers(dataset, parts) if task.kind == "span" else _whole(task, dataset, parts)


def evaluate(task: Task, dataset: Dataset, predictions: list[Any], language: str) -> pd.DataFrame:
    """Per-example statistics of one language: language, id, metric, numerator, denominator, cluster."""
    ids = dataset["id"][:]
    if task.kind == "span":
        gold = [answers["text"] for answers in dataset["answers"][:]]
        table = metrics.span(ids, gold, predictions, language, task.scorer)
    elif task.kind == "tagging":
        table = metrics.tagging(ids, dataset["tags"][:], predictions, language, task.scorer)
    else:
        table = metrics.classification(ids, dataset["label"][:], predictions, language)
    table = table[table["metric"].isin(task.metrics)].reset_index(drop=True)
    return table.assign(cluster=table["id"].map(dict(zip(ids, clusters(task, dataset), strict=True))))


def clusters(task: Task, dataset: Dataset) -> list[str]:
    """Which examples are not drawn independently of each other: of each the id of the first one with the same passage
    (span), first text (classification: a premise of XNLI, a sentence of PAWS-X) or context (choice).

    Its own id where there is no such text, or one for all; of taggings, whose documents are not known, and retrieval.
    """
    column, ids = {"span": "context", "classification": "text_a", "choice": "context"}.get(task.kind), dataset["id"][:]
    first: dict[str, str] = {}
    texts = dataset[column][:] if column else ids
    heads = [first.setdefault(text, name) if text else name for text, name in zip(texts, ids, strict=True)]
    return heads if len(set(heads)) > 1 else ids


def prediction_table(dataset: Dataset, predictions: list[Any], language: str) -> pd.DataFrame:
    """Predictions as a table: language, id, prediction (tags joined by spaces)."""
    texts = [" ".join(value) if isinstance(value, list) else str(value) for value in predictions]
    return pd.DataFrame({"language": language, "id": dataset["id"][:], "prediction": texts})


def _batches(shapes: np.ndarray, most: int) -> Iterator[list[int]]:
    """Indices of features of like size (choices, length), the smallest first; of equals the one that came first. At
    ``most`` so many tokens, or one feature."""
    batch: list[int] = []
    for index in np.lexsort((shapes[:, 1], shapes[:, 0])).tolist():
        choices, length = shapes[index].tolist()
        if batch and ((len(batch) + 1) * choices * length > most or shapes[batch[0], 0] != choices):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _decode(task: Task, output: Any, rows: Sequence[Feature], labels: list[str]) -> list[Any]:
    scores = output.start_logits if task.kind == "span" else output.logits
    if scores.isnan().any():  # the best of no numbers would be the first
        problem = "the model's outputs are no numbers (NaN): its training diverged"
        raise UserError(f"{task.name}: {problem}; {DIVERGENCE_HINT}")
    if task.kind == "span":
        return _best_spans(output.start_logits.float(), output.end_logits.float(), rows)
    best = scores.argmax(-1).tolist()
    if task.kind == "tagging":
        return [[labels[tags[start]] for start in row["word_starts"]] for tags, row in zip(best, rows, strict=True)]
    return best


def _best_spans(start: torch.Tensor, end: torch.Tensor, rows: Sequence[Feature]) -> list[tuple]:
    """Per window: (score of the best span, its characters, score of no answer)."""
    outside = torch.ones(start.shape, dtype=torch.bool)
    for own, row in zip(outside, rows, strict=True):
        own[: len(row["offsets"])] = torch.tensor([span is None for span in row["offsets"]])
    first, last = (side.masked_fill(outside.to(side.device), -torch.inf) for side in (start, end))
    # of each first token the last ones that it may have, in a view: those beyond the window are as good as no passage
    scores = first.unsqueeze(2) + pad(last, (0, MAX_ANSWER - 1), value=-torch.inf).unfold(1, MAX_ANSWER, 1)
    best, position = scores.flatten(1).max(dim=1)
    null, spans = start[:, 0] + end[:, 0], []
    for score, flat, empty, row in zip(best.tolist(), position.tolist(), null.tolist(), rows, strict=True):
        token, more = divmod(flat, MAX_ANSWER)
        if score > -np.inf:
            spans.append((score, row["offsets"][token][0], row["offsets"][token + more][1], empty))
        else:
            spans.append((score, 0, 0, empty))
    return spans


def _whole(task: Task, dataset: Dataset, parts: Iterable[tuple[int, int, Any]]) -> list[Any]:
    """Labels, or tags joined over the windows of a sentence. ``parts``: (example, first word, prediction)."""
    if task.kind != "tagging":
        return [label for _, _, label in sorted(parts)]
    tags = [[""] * len(tokens) for tokens in dataset["tokens"][:]]
    for example, first, window in parts:
        tags[example][first : first + len(window)] = window
    return tags


def _answers(dataset: Dataset, parts: Iterable[tuple[int, int, tuple]]) -> list[str]:
    """Answer strings: the best span over windows, and the smallest no-answer score, which counts only in sets that
    hold unanswerable questions (SQuAD v2.0)."""
    windows: list[list[tuple]] = [[] for _ in range(len(dataset))]
    for example, _, window in parts:
        windows[example].append(window)
    may_be_empty, answers = any(dataset["is_impossible"][:]), []
    for context, spans in zip(dataset["context"][:], windows, strict=True):
        score, start, end, _ = max(spans)
        empty = may_be_empty and min(null for *_, null in spans) > score
        answers.append("" if empty else context[start:end].strip())  # some tokens hold the blank before them
    return answers
