"""Fine-tuning: what it must learn, that seeds decide it, that tasks share one encoder."""

import json
import math
import random
from itertools import islice

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from transformers import AutoModel

from toy import tune
from xstilts.errors import UserError
from xstilts.evaluation import metrics
from xstilts.evaluation.prediction import evaluate, predict
from xstilts.features import encode, encode_text
from xstilts.settings import LengthSettings, MixSettings, PhaseSettings
from xstilts.tasks import get
from xstilts.training import fine_tuning
from xstilts.training.batching import Batches, TrainingSet

WORDS = ["red", "green", "blue", "dog", "cat", "runs", "sleeps", "here", "there", "yes", "no", "maybe"]
LENGTHS = LengthSettings(classification=32, choice=32, tagging=32, span=32, stride=8, mlm=32)
PHASE = PhaseSettings(steps=150, batch_size=16, learning_rate=3e-3)


def colours(n: int) -> Dataset:
    """The label is the colour that the first text holds: a rule that a fresh head can learn."""
    nouns, labels = [WORDS[3 + i // 3 % 9] for i in range(3 * n)], [0, 1, 2] * n
    texts = [f"{noun} {WORDS[label]}" for noun, label in zip(nouns, labels, strict=True)]
    return Dataset.from_dict({"id": list(map(str, range(3 * n))), "text_a": texts, "text_b": nouns, "label": labels})


def tags(n: int) -> Dataset:
    sentences = [[WORDS[(i * 5 + j * j) % 12] for j in range(4)] for i in range(n)]
    tags = [["ADJ" if word in WORDS[:3] else "NOUN" for word in words] for words in sentences]
    return Dataset.from_dict({"id": list(map(str, range(n))), "tokens": sentences, "tags": tags})


def guesses(n: int) -> Dataset:
    """The right one of four choices is the one that says yes."""
    right = [i * 7 % 4 for i in range(n)]
    choices = [[f"{WORDS[3 + (i + k) % 6]} {'yes' if k == right[i] else 'no'}" for k in range(4)] for i in range(n)]
    columns = {"context": [WORDS[3 + i % 9] for i in range(n)], "question": [""] * n, "choices": choices}
    return Dataset.from_dict({"id": list(map(str, range(n))), **columns, "label": right})


def passages(n: int) -> Dataset:
    """The answer is the one colour that the passage names, wherever that stands."""
    rng, rows = random.Random(0), []
    for i in range(n):
        colour, words = rng.choice(WORDS[:3]), rng.sample(WORDS[3:], 5)
        words.insert(rng.randrange(6), colour)
        text = " ".join(words)
        answers = {"text": [colour], "answer_start": [text.index(colour)]}
        rows.append({"id": str(i), "context": text, "question": "maybe", "answers": answers, "is_impossible": False})
    return Dataset.from_list(rows)


def masked_text(copies: int, tokenizer) -> TrainingSet:
    return TrainingSet("mlm", "text", encode_text([" ".join(WORDS)] * copies, tokenizer, 32))


def training_set(name, data, tokenizer):
    labels = get(name).labels
    return TrainingSet(name, get(name).kind, encode(get(name), data, tokenizer, LENGTHS, labels), labels)


def flat(model) -> torch.Tensor:
    return torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])


def scores(model, item: TrainingSet, data: Dataset, tokenizer) -> dict[str, float]:
    task = get(item.name)
    ((_, predictions),) = predict(model.heads[item.name], task, {"en": data}, tokenizer, LENGTHS, list(item.labels))
    return metrics.score(evaluate(task, data, predictions, "en")).loc["en"].to_dict()


MIXTURES = [{"mnli": colours, "udpos": tags}, {"hellaswag": guesses}, {"squad1": passages}]


@pytest.mark.parametrize("tasks", MIXTURES, ids="+".join)
def test_every_kind_is_learned_and_two_tasks_on_one_encoder(checkpoint, tokenizer, tmp_path, tasks):
    sets = [training_set(name, data(120).select(range(100)), tokenizer) for name, data in tasks.items()]
    unseen = [data(120).select(range(100, 120)) for data in tasks.values()]
    fresh, _ = tune(checkpoint, sets, tokenizer, tmp_path, PHASE.model_copy(update={"steps": 1}))
    model, record = tune(checkpoint, sets, tokenizer, tmp_path, PHASE)
    assert all(head.base_model is model.encoder for head in model.heads.values())
    assert record["steps"] == PHASE.steps and record["loss"][-1]["loss"] < record["loss"][0]["loss"] / 2
    for item, data in zip(sets, unseen, strict=True):
        before, after = (scores(each, item, data, tokenizer) for each in (fresh, model))
        metric = get(item.name).metrics[-1]
        assert before[metric] + 15 < after[metric] >= 90


def test_a_seed_decides_every_bit(checkpoint, tokenizer, tmp_path):
    def weights(seed):
        torch.rand(seed * 7)  # whatever was drawn before must not matter
        sets = [training_set("mnli", colours(20), tokenizer), masked_text(50, tokenizer)]
        return flat(tune(checkpoint, sets, tokenizer, tmp_path, PHASE.model_copy(update={"steps": 8}), seed=seed)[0])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_frozen_embeddings_stay(checkpoint, tokenizer, tmp_path):
    before = AutoModel.from_pretrained(checkpoint).embeddings.word_embeddings.weight.clone()
    for frozen in (True, False):
        phase = PHASE.model_copy(update={"steps": 5, "freeze_embeddings": frozen})
        model, _ = tune(checkpoint, [training_set("mnli", colours(20), tokenizer)], tokenizer, tmp_path, phase)
        assert torch.equal(model.encoder.embeddings.word_embeddings.weight, before) == frozen


def test_an_epoch_sees_every_example_once(tokenizer):
    item = training_set("mnli", colours(31), tokenizer)  # 93 examples: the last batch is short
    batches = islice(Batches([item], PHASE, MixSettings(), seed=1), 6)
    assert sorted(row for batch in batches for _, row, _ in batch) == list(range(93))


# Published training-set sizes (Phang et al. 2020, table 1), anli to csqa, and their shares of the steps under the
# cap of 2^17 = 131,072: the first three are cut to it, so that the sum is 724,057.
SIZES = (1_104_934, 392_702, 363_846, 130_319, 87_599, 39_905, 38_015, 25_262, 9_741)
SHARES = (0.181024, 0.181024, 0.181024, 0.179984, 0.120983, 0.055113, 0.052503, 0.034890, 0.013453)


def test_shares_of_the_nine_tasks():
    def shares(**mix):
        sets = [TrainingSet(str(size), "span", [{}] * size) for size in SIZES]
        return Batches(sets, PHASE, MixSettings(**mix), seed=1).shares

    assert np.allclose(shares(), SHARES, atol=1e-6)
    assert math.isclose(shares(cap=10**9)[0] / shares(cap=10**9)[-1], 1_104_934 / 9_741)
    assert math.isclose(shares(temperature=2)[0] / shares(temperature=2)[-1], math.sqrt(131_072 / 9_741))


def test_the_batches_of_a_step_are_of_one_task_and_none_is_masked_twice_alike(tokenizer):
    sets = [training_set("mnli", colours(30), tokenizer), training_set("udpos", tags(60), tokenizer)]
    sets.append(masked_text(12, tokenizer))
    phase = PHASE.model_copy(update={"steps": 50, "batch_size": 4, "accumulate": 3})

    def made(share):
        return list(Batches(sets, phase, MixSettings(mlm_share=share), seed=3))

    batches = made(0.2)
    assert len(batches) == 150 and all(len({number for number, *_ in batch}) == 1 for batch in batches)
    assert all(len({batch[0][0] for batch in batches[i : i + 3]}) == 1 for i in range(0, 150, 3))
    assert [batch[0][2] for batch in batches] == list(range(150))  # what masks are seeded by
    assert [sum(batch[0][0] == 2 for batch in made(share)) for share in (0.2, 0.5)] == [30, 75]


def test_a_step_is_adamw_as_the_paper_has_it(checkpoint, tokenizer, tmp_path):
    """Against a loop written out: gradients averaged over the batches of a step and clipped, linear warm-up and
    decay, Adam's moments, weight decay on matrices alone. Each of the settings matters here. Embeddings of tokens that
    no example holds stay as they are."""
    optimizer = {"learning_rate": 1e-2, "weight_decay": 0.5, "adam_epsilon": 1e-3, "max_grad_norm": 0.1}
    phase = PhaseSettings(steps=6, batch_size=4, accumulate=3, warmup=0.34, **optimizer)
    item = training_set("mnli", colours(40), tokenizer)
    trained = flat(tune(checkpoint, [item], tokenizer, tmp_path, phase)[0])

    torch.manual_seed(1)
    model = fine_tuning.SharedEncoder(checkpoint, [item], False).train()
    table = model.encoder.get_input_embeddings().weight
    before = table.detach().clone()
    spared = {id(p) for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()}
    spared |= {id(m.bias) for m in model.modules() if isinstance(m, torch.nn.Linear)}
    assert 0 < len(spared) < len(list(model.parameters()))
    batches, moments = list(Batches([item], phase, MixSettings(), seed=1)), {}
    for step in range(6):
        model.zero_grad()
        for batch in batches[3 * step : 3 * step + 3]:
            features = [item.features[row] for _, row, _ in batch]
            (model("mnli", **fine_tuning.collate(features, tokenizer.pad_token_id))["loss"] / 3).backward()
        used = [p for p in model.parameters() if p.grad is not None]
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in used))
        assert norm > 0.1
        rate = 1e-2 * (step / 3 if step < 3 else (6 - step) / 3)
        for p in used:
            gradient = p.grad * 0.1 / norm
            first, second = moments.get(id(p), (0, 0))
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[id(p)] = first, second
            mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
            p.data *= 1 - rate * (0 if id(p) in spared else 0.5)
            p.data -= rate * mean / (spread.sqrt() + 1e-3)
    used = {*tokenizer.all_special_ids}.union(*(feature["input_ids"] for feature in item.features))
    unused = [row for row in range(len(table)) if row not in used]
    table.data[unused] = before[unused]
    assert len(unused) > 10 and torch.allclose(flat(model), trained, atol=2e-5)
    for change in ({"weight_decay": 0.4}, {"adam_epsilon": 1e-8}, {"max_grad_norm": 0.0}, {"accumulate": 2}):
        other = flat(tune(checkpoint, [item], tokenizer, tmp_path, phase.model_copy(update=change))[0])
        assert (other - trained).abs().max() > 1e-3


class Scripted:
    """Development scores as written down, and the weights that each was asked for."""

    def __init__(self, *scores):
        self.scores, self.seen = scores, []

    def __call__(self, model):
        model.eval()  # as predict leaves it
        self.seen.append(flat(model.encoder.encoder))
        return self.scores[len(self.seen) - 1]


def test_the_best_checkpoint_is_kept_and_patience_ends_the_training(checkpoint, tokenizer, tmp_path):
    sets = [training_set("mnli", colours(40), tokenizer), training_set("udpos", tags(60), tokenizer)]
    phase = PHASE.model_copy(update={"steps": 40, "accumulate": 2, "evaluate_every": 3, "patience": 2})
    pairs = [(30, 10), (40, 60), (70, 30), (0, 99), (99, 99)]  # means 20, 50, 50, 49.5
    development = Scripted(*({"mnli": a, "udpos": b} for a, b in pairs))
    model, record = tune(checkpoint, sets, tokenizer, tmp_path, phase, development)
    assert record["steps"] == 12 and len(development.seen) == 4
    assert record["selection"]["best_step"] == 6 and record["selection"]["best_score"] == 50
    curve = record["selection"]["curve"]
    assert [(entry["step"], entry["score"]) for entry in curve] == [(3, 20), (6, 50), (9, 50), (12, 49.5)]
    assert curve[3] == {"step": 12, "score": 49.5, "mnli": 0, "udpos": 99}
    assert torch.equal(flat(model.encoder.encoder), development.seen[1]) and not torch.equal(
        development.seen[1], development.seen[3]
    )
    assert model.heads["mnli"].base_model is model.heads["udpos"].base_model is model.encoder
    made = islice(Batches(sets, phase, MixSettings(), seed=1), 24)
    assert record["tokens"] == sum(len(sets[n].features[row]["input_ids"]) for batch in made for n, row, _ in batch)
    json.dumps(record)


def test_evaluation_changes_nothing(dropout, tokenizer, tmp_path):
    """It draws no random number, and training goes on in training mode. The last step is evaluated, too, and what
    another training left behind is not taken for a checkpoint."""
    item = training_set("mnli", colours(40), tokenizer)
    phase = PHASE.model_copy(update={"steps": 11})
    plain, alone = tune(dropout, [item], tokenizer, tmp_path / "plain", phase)
    (tmp_path / "evaluated" / "checkpoint-99").mkdir(parents=True)
    (tmp_path / "evaluated" / "checkpoint-99" / "model.safetensors").touch()
    development = Scripted(*({"mnli": score} for score in (1, 2, 3)))
    phase = phase.model_copy(update={"evaluate_every": 5})
    model, record = tune(dropout, [item], tokenizer, tmp_path / "evaluated", phase, development)
    assert record["selection"]["best_step"] == 11 and len(development.seen) == 3
    assert torch.equal(flat(plain), flat(model))
    assert record.pop("selection") and record == alone
    assert [path.name for path in (tmp_path / "evaluated").iterdir()] == ["checkpoint-11"]


SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 120,
    "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "embedding_size": 32, "pad_token_id": 1,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2,
}  # fmt: skip
MASKED = (
    *("Albert", "Bert", "Camembert", "ConvBert", "Deberta", "DebertaV2", "DistilBert", "Electra", "Ernie", "EuroBert"),
    *("Gte", "ModernBert", "MPNet", "NomicBert", "RemBert", "Roberta", "RoFormer", "XLMRoberta"),
)


@pytest.mark.parametrize("architecture", MASKED)
def test_masked_lm_is_the_models_own_with_logits_at_masked_positions_alone(tmp_path, tokenizer, architecture):
    """A large vocabulary's logits for every position would not fit in memory."""
    names = getattr(transformers, f"{architecture}Config")().to_dict()
    config = getattr(transformers, f"{architecture}Config")(**{name: SMALL[name] for name in SMALL if name in names})
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    model, shapes = fine_tuning.SharedEncoder(tmp_path, [masked_text(1, tokenizer)], False).eval(), []
    ids = torch.randint(5, 100, (3, 16), generator=torch.Generator().manual_seed(1))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.full_like(ids, -100)}
    batch["attention_mask"][2, 12:] = 0
    batch["labels"][[0, 1, 1, 2], [3, 5, 6, 10]] = torch.tensor([7, 9, 9, 11])
    decoder = model.heads["mlm"].get_output_embeddings()
    hook = decoder.register_forward_hook(lambda module, inputs, output: shapes.append(output.numel()))
    loss = model("mlm", **batch)["loss"]
    assert shapes == [0]
    hook.remove()
    assert torch.allclose(loss, model.heads["mlm"](**batch).loss, atol=1e-5)  # with every position's logits
    rows = torch.tensor([0, *range(5, 60)])
    logits = model.heads["mlm"](ids, batch["attention_mask"]).logits[batch["labels"] != -100][:, rows]
    embedding = model.encoder.get_input_embeddings()
    model.encoder.set_input_embeddings(fine_tuning.TrainedRows(embedding, rows).eval())
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 5, 5, 7]))
    assert torch.allclose(model("mlm", **batch)["loss"], expected, atol=1e-5)  # among the rows that are trained


@pytest.mark.parametrize(
    ("precision", "gpu", "bf16", "message"),
    [
        ("fp32", "", False, ""),
        ("bf16", "A100", True, ""),
        ("bf16", "Tesla V100", False, "needs a GPU that computes in it .*this machine has Tesla V100; set precision"),
        ("fp16", "", False, "precision fp16 needs a GPU, and this machine has none"),
    ],
)
def test_precision_is_checked_against_the_hardware(monkeypatch, precision, gpu, bf16, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpu))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    if not message:
        return fine_tuning.check_precision(precision)
    with pytest.raises(UserError, match=message):
        fine_tuning.check_precision(precision)
