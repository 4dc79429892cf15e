"""Short tuning for retrieval, as XTREME-R does: a dual encoder on pairs of a query and its candidate.

One encoder for both sides; the vector of a text is the mean over all its tokens of the last layer; a query's own
candidate is told apart from those of the others in its batch by a softmax over cosines. After XTREME's
``third_party/bert.py`` (``BertForRetrieval``), with two changes: it takes the pooler's output of the first token,
which tasks of phase 2 leave behind or lack; and here candidates in the same words are no wrong answers to each other.
"""

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import PreTrainedTokenizerBase as Tokenizer

from xstilts.features import PAIR_LENGTHS, Feature
from xstilts.tasks import Task

SCALE = 100.0  # of the cosines; BertForRetrieval's logit_scale, which it trains, and which hardly moves
# Where a sentence ends in the passages of training sets without sentence breaks (XTREME's script infers them by
# sb_sed): after a full stop, question or exclamation mark, quotes and brackets closed, before white space.
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]”’»]*\s+|(?<=[。！？।॥؟])")


class DualEncoder(torch.nn.Module):
    """What :class:`.fine_tuning.SharedEncoder` takes for the head: an encoder and the loss on its pooled states.

    Inputs are (batch, 2, length): row by row the query and its candidate.
    """

    base_model_prefix = "encoder"

    def __init__(self, encoder: transformers.PreTrainedModel):
        super().__init__()
        self.encoder = encoder

    @classmethod
    def from_pretrained(cls, checkpoint: Path | str, **_: Any) -> "DualEncoder":
        return cls(transformers.AutoModel.from_pretrained(checkpoint))

    @property
    def base_model(self) -> transformers.PreTrainedModel:
        return self.encoder

    def tie_weights(self) -> None:
        """Nothing to tie."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        queries, candidates = (self._vectors(input_ids[:, side], attention_mask[:, side]) for side in (0, 1))
        logits = SCALE * queries @ candidates.T
        candidate_ids = input_ids[:, 1]
        same = (candidate_ids[:, None] == candidate_ids[None]).all(-1).fill_diagonal_(False)
        own = torch.arange(len(candidate_ids), device=candidate_ids.device)
        return {"loss": torch.nn.functional.cross_entropy(logits.masked_fill(same, -torch.inf), own)}

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        length = int(mask.sum(dim=1).max())  # queries are far shorter than candidates
        ids, mask = ids[:, :length], mask[:, :length]
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)


def features(task: Task, dataset: Dataset, tokenizer: Tokenizer, longest: int) -> list[Feature]:
    """A query and its candidate as the two rows of ``input_ids``; at most ``longest`` tokens each."""
    triples = pairs(task, dataset)
    sides = zip(*((query, candidate) for _, query, candidate in triples), strict=True)
    encoded = [
        tokenizer(list(texts), truncation=True, max_length=min(length, longest))["input_ids"]
        for texts, length in zip(sides, PAIR_LENGTHS[task.kind], strict=True)
    ]
    rows = zip(triples, *encoded, strict=True)
    return [{"input_ids": [query, candidate], "example": row} for (row, _, _), query, candidate in rows]


def pairs(task: Task, dataset: Dataset) -> list[tuple[int, str, str]]:
    """(row, query, candidate) of a training set: of questions on passages the sentence that the first answer begins
    in, followed by its passage, as LAReQA's candidates are; unanswerable ones are left out."""
    if task.kind == "ranking":
        rows = zip(dataset["query"][:], dataset["candidate"][:], strict=True)
        return [(row, query, candidate) for row, (query, candidate) in enumerate(rows)]
    numbered = enumerate(zip(dataset["question"][:], dataset["context"][:], dataset["answers"][:], strict=True))
    return [
        (row, question, f"{sentence_at(context, answers['answer_start'][0])} {context}")
        for row, (question, context, answers) in numbered
        if answers["text"]
    ]


def sentence_at(context: str, offset: int) -> str:
    """The sentence of a passage that holds the character at ``offset``."""
    ends = [match.end() for match in SENTENCE.finditer(context)]
    begin = max((end for end in ends if end <= offset), default=0)
    return context[begin : min((end for end in ends if end > offset), default=len(context))].strip()
