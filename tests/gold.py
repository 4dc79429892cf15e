"""A model that knows the gold, an encoder of given vectors, and a tokenizer that parts any text where any answer may
end."""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch.nn.functional import one_hot
from transformers import PreTrainedTokenizerFast

from toy import SPECIAL, joined
from xstilts.evaluation import metrics, prediction, ranking, retrieval
from xstilts.features import INPUTS
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
    """Outputs the gold that comes with its inputs: what is lost is lost elsewhere."""

    def __init__(self, classes):
        super().__init__()
        self.classes, self.weight = classes, torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, labels=None, start_positions=None, end_positions=None, **_):
        if labels is None:
            ends = (one_hot(positions, input_ids.shape[-1]).float() for positions in (start_positions, end_positions))
            return SimpleNamespace(**dict(zip(("start_logits", "end_logits"), ends, strict=True)))
        return SimpleNamespace(logits=one_hot(labels.clamp(min=0), self.classes).float())


def gold_scores(monkeypatch, task, rows, tokenizer, lengths, labels):
    """(predictions, metric -> percent) of a model that outputs the gold of a language's rows."""
    monkeypatch.setattr(prediction, "INPUTS", (*INPUTS, "labels", "start_positions", "end_positions"))
    model = Gold(len(labels) or 5)  # five: the most choices there are
    ((_, predictions),) = prediction.predict(model, task, {"xx": rows}, tokenizer, lengths, labels)
    return predictions, metrics.score(prediction.evaluate(task, rows, predictions, "xx")).loc["xx"]


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
    study = SimpleNamespace(retrieval=RetrievalSettings(**settings), languages=())
    study.training_task = lambda task: get(task.training_set)
    return *joined(search(get(task), source, list(languages), split, None, study)), encoded
