"""Fine-tuning: what it must learn, that seeds decide it, that tasks share one encoder."""

import math
import random

import pytest
import torch
from datasets import Dataset
from transformers import AutoModel, AutoTokenizer

from toy import build_checkpoint
from xstilts import metrics, training
from xstilts.evaluation import evaluate, predict
from xstilts.features import encode, encode_text
from xstilts.study import LengthSettings, MixSettings, PhaseSettings
from xstilts.tasks import get

WORDS = ["red", "green", "blue", "dog", "cat", "runs", "sleeps", "here", "there", "yes", "no", "maybe"]
COLOURS = {"red": 0, "green": 1, "blue": 2}
LENGTHS = LengthSettings(classification=32, choice=32, tagging=32, span=32, stride=8, mlm=32)
PHASE = PhaseSettings(steps=150, batch_size=16, learning_rate=3e-3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("encoder") / "checkpoint", [" ".join(WORDS)] * 20)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


def colours(n: int) -> Dataset:
    """The label is the colour that the first text holds: a rule that a fresh head can learn."""
    rows = [(colour, WORDS[3 + i % 9], label) for i in range(n) for colour, label in COLOURS.items()]
    return Dataset.from_dict(
        {
            "id": [str(i) for i in range(len(rows))],
            "text_a": [f"{noun} {colour}" for colour, noun, _ in rows],
            "text_b": [noun for _, noun, _ in rows],
            "label": [label for *_, label in rows],
        }
    )


def tags(n: int) -> Dataset:
    sentences = [[WORDS[(i * 5 + j * j) % 12] for j in range(4)] for i in range(n)]
    return Dataset.from_dict(
        {
            "id": [str(i) for i in range(n)],
            "tokens": sentences,
            "tags": [["ADJ" if word in COLOURS else "NOUN" for word in words] for words in sentences],
        }
    )


def guesses(n: int) -> Dataset:
    """The right one of four choices is the one that says yes."""
    right = [i * 7 % 4 for i in range(n)]
    choices = [[f"{WORDS[3 + (i + k) % 6]} {'yes' if k == right[i] else 'no'}" for k in range(4)] for i in range(n)]
    columns = {"context": [WORDS[3 + i % 9] for i in range(n)], "question": [""] * n, "choices": choices}
    return Dataset.from_dict({"id": [str(i) for i in range(n)], **columns, "label": right})


def passages(n: int) -> Dataset:
    """The answer is the one colour that the passage names, wherever that stands."""
    rng, rows = random.Random(0), []
    for i in range(n):
        words = rng.sample(WORDS[3:], 5)
        colour = rng.choice(WORDS[:3])
        words.insert(rng.randrange(6), colour)
        text = " ".join(words)
        answers = {"text": [colour], "answer_start": [text.index(colour)]}
        rows.append({"id": str(i), "context": text, "question": "maybe", "answers": answers, "is_impossible": False})
    return Dataset.from_list(rows)


def training_set(name, data, tokenizer):
    labels = get(name).labels
    return training.TrainingSet(name, get(name).kind, encode(get(name), data, tokenizer, LENGTHS, labels), labels)


def tune(checkpoint, sets, tokenizer, folder, phase=PHASE, seed=1, mix=None):
    mix = mix or MixSettings()
    return training.fine_tune(checkpoint, sets, tokenizer, phase, mix, seed, folder)


def test_two_tasks_are_learned_on_one_encoder(checkpoint, tokenizer, tmp_path):
    sets = [training_set("mnli", colours(40), tokenizer), training_set("udpos", tags(120), tokenizer)]
    model, record = tune(checkpoint, sets, tokenizer, tmp_path)
    assert model.heads["mnli"].base_model is model.heads["udpos"].base_model is model.encoder
    assert record["steps"] == PHASE.steps and record["tokens"] > 0
    losses = [entry["loss"] for entry in record["loss"]]
    assert losses[-1] < losses[0] / 2
    labels = list(get("mnli").labels)
    found = predict(model.heads["mnli"], get("mnli"), {"en": colours(5)}, tokenizer, LENGTHS, labels)["en"]
    assert found == colours(5)["label"][:]
    labels = list(get("udpos").labels)
    found = predict(model.heads["udpos"], get("udpos"), {"en": tags(20)}, tokenizer, LENGTHS, labels)["en"]
    assert found == tags(20)["tags"][:]


@pytest.mark.parametrize(("name", "data"), [("hellaswag", guesses), ("squad1", passages)])
def test_choices_and_spans_are_learned(checkpoint, tokenizer, tmp_path, name, data):
    """The other two kinds beside those above; an untrained head is far from it."""
    task, unseen = get(name), {"en": data(240).select(range(200, 240))}

    def score(steps: int) -> float:
        phase = PHASE.model_copy(update={"steps": steps})
        item = training_set(name, data(200), tokenizer)
        model, _ = tune(checkpoint, [item], tokenizer, tmp_path, phase)
        found = predict(model.heads[name], task, unseen, tokenizer, LENGTHS, list(item.labels))
        return metrics.score(evaluate(task, unseen, found)).loc["en", task.metrics[-1]]

    assert score(1) < 50
    assert score(PHASE.steps) > 90


def test_a_seed_decides_every_bit(checkpoint, tokenizer, tmp_path):
    def weights(seed):
        torch.rand(seed * 7)  # whatever was drawn before must not matter
        sets = [
            training_set("mnli", colours(20), tokenizer),
            training.TrainingSet("mlm", "text", encode_text([" ".join(WORDS)] * 50, tokenizer, 32)),
        ]
        phase = PHASE.model_copy(update={"steps": 20})
        return torch.cat(
            [w.flatten() for w in tune(checkpoint, sets, tokenizer, tmp_path, phase, seed)[0].parameters()]
        )

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_frozen_embeddings_stay(checkpoint, tokenizer, tmp_path):
    before = AutoModel.from_pretrained(checkpoint).embeddings.word_embeddings.weight.clone()
    for frozen in (True, False):
        phase = PHASE.model_copy(update={"steps": 5, "freeze_embeddings": frozen})
        model, _ = tune(checkpoint, [training_set("mnli", colours(20), tokenizer)], tokenizer, tmp_path, phase)
        assert torch.equal(model.encoder.embeddings.word_embeddings.weight, before) == frozen


def test_saved_encoder_is_a_plain_checkpoint(checkpoint, tokenizer, tmp_path):
    data = {
        "id": ["0", "1"],
        "context": ["dog", "cat"],
        "question": ["", ""],
        "choices": [["red", "blue"]] * 2,
        "label": [0, 1],
    }
    sets = [training_set("hellaswag", Dataset.from_dict(data), tokenizer)]
    model, _ = tune(checkpoint, sets, tokenizer, tmp_path, PHASE.model_copy(update={"steps": 3}))
    training.save_encoder(model, tokenizer, tmp_path / "saved")
    again = AutoModel.from_pretrained(tmp_path / "saved", add_pooling_layer=False)
    batch = AutoTokenizer.from_pretrained(tmp_path / "saved")(["red dog"], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(again(**batch).last_hidden_state, model.encoder(**batch).last_hidden_state)
    assert (tmp_path / "saved" / "model.safetensors").is_file()


def test_mixing_follows_sizes_cap_and_mlm_share(tokenizer):
    sets = [
        training_set("mnli", colours(100), tokenizer),
        training_set("udpos", tags(100), tokenizer),
        training.TrainingSet("mlm", "text", encode_text(WORDS, tokenizer, 32)),
    ]
    steps = 1000

    def shares(**mix):
        batches = list(training.Batches(sets, PHASE, MixSettings(**mix), steps, seed=3))
        assert all(len({number for number, *_ in batch}) == 1 for batch in batches), "a batch mixes tasks"
        numbers = [batch[0][0] for batch in batches]
        return [numbers.count(number) / steps for number in range(3)]

    mnli, udpos, mlm = shares()
    assert mlm == 0.2
    assert math.isclose(mnli / udpos, 3, rel_tol=0.25)
    assert math.isclose(*shares(cap=100)[:2], rel_tol=0.25)
    flat = shares(temperature=2)
    assert math.isclose(flat[0] / flat[1], math.sqrt(3), rel_tol=0.25)
    assert shares(mlm_share=0.5)[2] == 0.5


def test_an_epoch_sees_every_example_once(tokenizer):
    item = training_set("mnli", colours(31), tokenizer)  # 93 examples: the last batch is short
    batches = list(training.Batches([item], PHASE, MixSettings(), 6, seed=1))
    assert sorted(row for batch in batches for _, row, _ in batch) == list(range(93))
