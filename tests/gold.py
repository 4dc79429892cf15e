"""A model that knows the gold, an encoder of given vectors, and a tokenizer that parts any text where any answer may
end."""

from collections import defaultdict, deque
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch.nn.functional import one_hot
from transformers import PreTrainedTokenizerFast

from toy import SPECIAL, joined
from xstilts.evaluation import metrics, ranking, retrieval
from xstilts.evaluation.prediction import evaluate, predict
from xstilts.features import encode
from xstilts.settings import RetrievalSettings
from xstilts.tasks import get


def build_letter_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A token a character of ``texts``: every answer has ends of tokens at its ends."""
    names = [*SPECIAL.values(), *sorted(set().union(*texts))]
    vocabulary = {name: index for index, name in enumerate(names)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>",
        special_tokens=[(name, vocabulary[name]) for name in ("<s>", "</s>")],
    )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL)


class Gold(torch.nn.Module):
    """Outputs the gold of every input it is shown: what is lost after it is lost elsewhere. Of inputs that are the
    same (a question that is asked twice of a passage, with two answers) it knows the order."""

    def __init__(self, features, classes):
        super().__init__()
        self.known, self.classes = defaultdict(deque), classes
        for feature in features:
            rows = feature["input_ids"] if isinstance(feature["input_ids"][0], list) else [feature["input_ids"]]
            self.known[self._key(map(torch.tensor, rows))].append(feature)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    @staticmethod
    def _key(rows) -> tuple[bytes, ...]:
        return tuple(row.numpy().tobytes() for row in rows)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        inputs, lengths = (table.reshape(len(input_ids), -1, table.shape[-1]) for table in (input_ids, attention_mask))
        lengths = lengths.sum(-1).tolist()
        rows = [
            self.known[self._key(row[:length] for row, length in zip(*one, strict=True))].popleft()
            for one in zip(inputs, lengths, strict=True)
        ]
        if "start_positions" in rows[0]:
            ends = [torch.tensor([row[f"{end}_positions"] for row in rows]) for end in ("start", "end")]
            start, end = (one_hot(places, input_ids.shape[-1]).float() for places in ends)
            return SimpleNamespace(start_logits=start, end_logits=end)
        if isinstance(rows[0]["labels"], int):
            return SimpleNamespace(logits=one_hot(torch.tensor([row["labels"] for row in rows]), self.classes).float())
        labels = torch.zeros(input_ids.shape, dtype=torch.long)
        for index, row in enumerate(rows):
            labels[index, : len(row["labels"])] = torch.tensor(row["labels"]).clamp(min=0)
        return SimpleNamespace(logits=one_hot(labels, self.classes).float())


def gold_scores(task, data, tokenizer, lengths, labels):
    """(predictions per language, scores by language and metric) of a model that outputs the gold; ``data``: language
    -> rows."""
    features = [feature for rows in data.values() for feature in encode(task, rows, tokenizer, lengths, labels)]
    model = Gold(features, len(labels) or 5)  # five: the most choices there are
    found = dict(predict(model, task, data, tokenizer, lengths, labels))
    return found, metrics.score(pd.concat(evaluate(task, data[code], found[code], code) for code in data))


class Rows:
    """A source of given rows: split -> rows of every language, or language -> rows."""

    source_language = "aa"

    def __init__(self, **splits):
        self.splits = splits

    def languages(self, task, split):
        return list(self.splits[split])

    def load(self, task, split, language):
        rows = self.splits[split]
        return Dataset.from_list(rows[language] if isinstance(rows, dict) else rows)


def retrieved(monkeypatch, task, source, languages, vectors, split="test", **settings):
    """Statistics, predictions and scores of every layer of a retrieval task, and [(length limit, texts)] as they were
    encoded. ``vectors``: text -> the encoder's state of it in the last of two layers; in the others all are alike."""
    encoded = []

    class Pooler:
        def __init__(self, checkpoint, study, tuned):
            self.settings, self.layers = study.retrieval, study.retrieval.indices(2)

        def states(self, texts, max_length=0):
            encoded.append((max_length, list(texts)))
            last = np.array([vectors[text] for text in texts], np.float32)
            return np.array([last if layer == 2 else np.ones_like(last) for layer in self.layers])

    for module in (retrieval, ranking):
        monkeypatch.setattr(module, "Pooler", Pooler)
    search = ranking.rank if get(task).kind == "ranking" else retrieval.retrieve
    study = SimpleNamespace(
        retrieval=RetrievalSettings(**settings), languages=(), training_task=lambda task: get(task.training_set)
    )
    return *joined(search(get(task), source, list(languages), split, None, study)), encoded
