"""Dual encoders: the loss against its definition, training pairs, and that tuning finds what it was tuned to find."""

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from safetensors.torch import load_file

from toy import TEXT, build_checkpoint, tune
from xstilts.evaluation import retrieval
from xstilts.features import collate
from xstilts.settings import AdapterSettings, PhaseSettings, RetrievalSettings
from xstilts.tasks import get
from xstilts.training import dual_encoder as dual
from xstilts.training.batching import TrainingSet
from xstilts.training.fine_tuning import save_encoder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return transformers.AutoTokenizer.from_pretrained(checkpoint)


def rows(*pairs) -> Dataset:
    queries, candidates = zip(*pairs, strict=True)
    return Dataset.from_dict({"id": [str(n) for n in range(len(pairs))], "query": queries, "candidate": candidates})


def vectors(model, tokenizer, texts) -> np.ndarray:
    return retrieval.normalise(retrieval.embed(model, tokenizer, list(texts), [2], RetrievalSettings(), 64)[0])


def test_the_loss_is_a_softmax_over_the_candidates_of_the_batch(checkpoint, tokenizer):
    """Vectors as retrieval pools them; a candidate in the same words as a query's own is none to be told from it."""
    pairs = [("308", TEXT[0]), ("Punkte", TEXT[3]), ("The Panthers", TEXT[0]), ("team", "The league.")]
    features = dual.features(get("mewslix"), rows(*pairs), tokenizer, 512)
    model = dual.DualEncoder.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        loss = model(**collate(features, tokenizer.pad_token_id))["loss"].item()
    queries, candidates = (vectors(model.encoder, tokenizer, texts) for texts in zip(*pairs, strict=True))
    logits = 100 * queries.astype(float) @ candidates.T
    logits[0, 2] = logits[2, 0] = -np.inf
    expected = np.mean([np.log(np.exp(row - row[n]).sum()) for n, row in enumerate(logits)])
    assert loss == pytest.approx(expected, rel=1e-3) and loss > 0.1


def test_queries_and_candidates_are_cut_to_their_own_lengths(tokenizer):
    long = "The Panthers " * 200
    (feature,) = dual.features(get("mewslix"), rows((long, long)), tokenizer, 512)
    assert [len(ids) for ids in feature["input_ids"]] == [64, 64]
    data = Dataset.from_list([{"question": long, "context": long, "answers": {"text": ["The"], "answer_start": [0]}}])
    (feature,) = dual.features(get("squad1"), data, tokenizer, 512)
    assert [len(ids) for ids in feature["input_ids"]] == [96, 256]
    (feature,) = dual.features(get("squad1"), data, tokenizer, 100)  # the encoder takes no more
    assert [len(ids) for ids in feature["input_ids"]] == [96, 100]


CONTEXT = 'One ran. "Two ran!" Three (at 3.5 km) ran? 四跑了。五也跑了。'


SENTENCES = {
    "One": "One ran.", "ran!": '"Two ran!"', "3.5": "Three (at 3.5 km) ran?", "四": "四跑了。", "五也": "五也跑了。",
}  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), SENTENCES.items())
def test_the_sentence_of_an_answer(words, sentence):
    assert dual.sentence_at(CONTEXT, CONTEXT.index(words)) == sentence


def test_pairs_of_questions_on_passages():
    answers = [{"text": ["ran!", "One"], "answer_start": [13, 0]}, {"text": [], "answer_start": []}]
    data = Dataset.from_list([{"question": "Who?", "context": CONTEXT, "answers": answer} for answer in answers])
    assert dual.pairs(get("squad1"), data) == [(0, "Who?", f'"Two ran!" {CONTEXT}')]  # the first answer's; or none


@pytest.mark.parametrize("adapter", [None, AdapterSettings(rank=16, matrices=("query", "value"))])
def test_tuning_finds_the_pairs_it_was_tuned_on(checkpoint, tokenizer, tmp_path, adapter):
    words = tokenizer.convert_ids_to_tokens(range(10, 60))
    pairs = [(f"{a} {b}", f"{c} {d}") for a, b, c, d in zip(*[iter(words[:48])] * 4, strict=True)]
    item = TrainingSet("mewslix", "dual", dual.features(get("mewslix"), rows(*pairs), tokenizer, 512))
    phase = PhaseSettings(steps=60, batch_size=12, learning_rate=3e-3)
    model, record = tune(checkpoint, [item], tokenizer, tmp_path / "trainer", phase, adapter=adapter)
    assert record["loss"][-1]["loss"] < 0.1 < record["loss"][0]["loss"]
    save_encoder(model, tokenizer, tmp_path / "tuned")
    tuned = transformers.AutoModel.from_pretrained(tmp_path / "tuned").eval()
    assert not any("pooler" in name for name in load_file(tmp_path / "tuned" / "model.safetensors"))
    queries, candidates = (vectors(tuned, tokenizer, texts) for texts in zip(*pairs, strict=True))
    assert retrieval.nearest(queries, candidates)[0][:, 0].tolist() == list(range(12))
