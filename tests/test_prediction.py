"""Fast scoring against the plain way: equal predictions."""

import numpy as np
import pytest
import torch
import transformers

from test_training import colours, passages
from toy import TEXT, build_checkpoint
from xstilts.evaluation import prediction, retrieval
from xstilts.settings import LengthSettings, RetrievalSettings
from xstilts.tasks import get

LENGTHS = LengthSettings(classification=32, span=48, stride=8)
HEADS = {
    "mnli": (colours, transformers.AutoModelForSequenceClassification),
    "squad1": (passages, transformers.AutoModelForQuestionAnswering),
}


@pytest.mark.parametrize("length", [1, 29, 30, 31, 90])
def test_the_best_span_is_that_of_all_pairs(length):
    """Among equal scores, of which whole numbers give many, the first start counts, then the first end."""
    rng = np.random.default_rng(length)
    start, end = (rng.integers(0, 4, (40, length)) for _ in range(2))
    inside = rng.random((40, length)) < 0.4
    rows = [{"offsets": [(at, at + 1) if own else None for at, own in enumerate(row)]} for row in inside.tolist()]
    spans = prediction._best_spans(torch.tensor(start).float(), torch.tensor(end).float(), rows)
    for number, span in enumerate(spans):
        passage = np.flatnonzero(inside[number])
        pairs = [(a, b) for a in passage for b in passage if a <= b < a + prediction.MAX_ANSWER]
        scores = [start[number, a] + end[number, b] for a, b in pairs]
        first, last = pairs[int(np.argmax(scores))] if pairs else (0, -1)
        best = (max(scores, default=-np.inf), first, last + 1, start[number, 0] + end[number, 0])
        assert span == best


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def predicted(name: str, checkpoint, precision: str = "fp32") -> tuple[list, set[torch.dtype]]:
    """Predictions of a random head, and what types its encoder's last linear layer computes in."""
    rows, head = HEADS[name]
    torch.manual_seed(1)
    model, kinds = head.from_pretrained(checkpoint, num_labels=3 if name == "mnli" else 2), set()
    model.base_model.encoder.layer[-1].output.dense.register_forward_hook(lambda *part: kinds.add(part[-1].dtype))
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    arguments = model, get(name), {"en": rows(60)}, tokenizer, LENGTHS, list(get(name).labels)
    ((_, predictions),) = prediction.predict(*arguments, precision)
    return predictions, kinds


@pytest.mark.parametrize("name", HEADS)
def test_batches_and_precision_leave_predictions_as_they_are(checkpoint, monkeypatch, name):
    """In bf16 on a GPU, which a CPU stands for here, few may differ; on a CPU nothing is in bf16."""
    plain, kinds = predicted(name, checkpoint)
    assert kinds == {torch.float32}
    assert predicted(name, checkpoint, "bf16") == (plain, kinds)
    for tokens in (1, 100, 8192):
        monkeypatch.setattr(prediction, "BATCH_TOKENS", tokens)
        assert predicted(name, checkpoint)[0] == plain
    monkeypatch.setattr(prediction, "HALF_DEVICES", ("cpu",))
    half, kinds = predicted(name, checkpoint, "bf16")
    assert kinds == {torch.bfloat16}
    assert np.mean([a == b for a, b in zip(half, plain, strict=True)]) > 0.8


def test_retrieval_states_in_bf16_are_near_those_in_fp32(checkpoint, monkeypatch):
    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    exact = retrieval.embed(model, tokenizer, TEXT, [2], RetrievalSettings(), 32, "bf16")
    assert (exact == retrieval.embed(model, tokenizer, TEXT, [2], RetrievalSettings(), 32)).all()
    monkeypatch.setattr(prediction, "HALF_DEVICES", ("cpu",))
    half = retrieval.embed(model, tokenizer, TEXT, [2], RetrievalSettings(), 32, "bf16")
    np.testing.assert_allclose(half, exact, atol=0.05)
    assert half.dtype == np.float32 and (half != exact).any()


@pytest.mark.parametrize(("free", "tokens"), [(0, 1024), (4 * 2**30, 8192), (80 * 2**30, 2**16)])
def test_batches_of_a_gpu_take_half_of_its_free_memory(monkeypatch, free, tokens):
    """Of XLM-R Large a token takes 1024 * (24 + 32) * 4 bytes."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2**20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2**20)

    class Model:
        config = transformers.XLMRobertaConfig(hidden_size=1024, num_hidden_layers=24)

        def parameters(self):
            yield type("Weight", (), {"device": torch.device("cuda")})

    assert prediction.batch_tokens(Model()) == tokens
