"""The tokenizers keep every word, the checkpoint is one that transformers loads, and training trains."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from microworld.settings import MicroSettings
from xstilts.errors import UserError
from xstilts.settings import PretrainSettings
from xstilts.sources.micro import MicroSource
from xstilts.training.callbacks import Saves
from xstilts.training.pretraining import batches, mask, mask_weights, pretrain
from xstilts.training.tokenizer import MASK, SPECIAL, encode, train_tokenizer

SMALL = PretrainSettings(layers=1, width=16, heads=2, feed_forward=32, batch_tokens=256, warmup_steps=5, steps=60)


@pytest.fixture(scope="module")
def texts():
    return MicroSource(MicroSettings(documents=1000)).text(1)


@pytest.fixture(scope="module")
def word_tokenizer(texts):
    return train_tokenizer(texts, SMALL)


def test_word_tokenizer_splits_suffixes_and_punctuation_and_nothing_else(texts, word_tokenizer):
    assert word_tokenizer.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    for text in texts["text"][:300]:
        encoded = word_tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        pieces = [text[a:b] for a, b in encoded["offset_mapping"]]
        assert "".join(pieces) == text.replace(" ", "")
        assert pieces == word_tokenizer.convert_ids_to_tokens(encoded["input_ids"])  # no <unk>
        assert all(piece.removeprefix("-").isalpha() or piece.isdigit() or piece in ".?" for piece in pieces)


def test_pairs_are_written_as_by_xlm_r(word_tokenizer):
    tokens = word_tokenizer.convert_ids_to_tokens(word_tokenizer("3.", "4?")["input_ids"])
    assert tokens == ["<s>", "3", ".", "</s>", "</s>", "4", "?", "</s>"]


def unigram(lines: list[str], vocab_size: int):
    settings = SMALL.model_copy(update={"tokenizer": "unigram", "vocab_size": vocab_size})
    return train_tokenizer(Dataset.from_dict({"text": lines}), settings)


def test_unigram_tokenizer_loses_no_character():
    lines = ["the cat sat on the mat", "a dog sat there, on a log", "der Hund saß hier", "кот сидит"] * 40
    tokenizer, unseen = unigram(lines, 340), "Ein Kätzchen 鷗 sat 🙂"
    ids = tokenizer(unseen, add_special_tokens=False)["input_ids"]
    assert len(tokenizer) <= 340 and tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == unseen


def test_unigram_tokenizer_is_the_same_every_time():
    """The library's trainer adds up in another order each time, of many equal counts here."""
    lines = [" ".join(f"{a}{b}{chr(0x4E00 + 7 * n)}" for b in "abcdefgh") for n, a in enumerate("klmnopqrstuvwxyz")] * 9
    assert len({unigram(lines, 420).backend_tokenizer.to_str() for _ in range(8)}) == 1


def test_rare_characters_are_left_to_bytes_and_a_vocabulary_without_room_is_refused():
    tokenizer = unigram(["the cat sat on the mat in the sun"] * 400 + ["鷗"], 300)
    assert "鷗" not in tokenizer.get_vocab() and {"t", "▁"} <= set(tokenizer.get_vocab())
    assert tokenizer.decode(tokenizer("鷗 sat", add_special_tokens=False)["input_ids"]) == "鷗 sat"
    letters = ["".join(chr(start + n) for n in range(60)) for start in (0x430, 0x4E00, 0x5000)] * 10
    with pytest.raises(UserError, match=r"encoder\.pretrain\.vocab_size: 300 .* characters"):
        unigram(letters, 300)


def test_encoding_drops_nothing(texts, word_tokenizer, monkeypatch):
    rows = encode(texts, word_tokenizer)
    plain = word_tokenizer(texts["text"][:], add_special_tokens=False)["input_ids"]
    assert sum((row > 4).sum() for row in rows) == sum(map(len, plain))
    assert all(row[0] == 0 and row[-1] == 2 for row in rows)
    monkeypatch.setattr(word_tokenizer, "model_max_length", 10)
    short = encode(texts, word_tokenizer)
    assert max(map(len, short)) <= 10
    assert sum((row > 4).sum() for row in short) == sum(map(len, plain))


def test_batches_are_rectangular_near_the_budget_and_cover_an_epoch():
    rows = [np.full(length, i) for i, length in enumerate([5] * 50 + [7] * 30 + [40] * 3)]
    stream = batches(rows, 35, np.random.default_rng(0))
    seen: list[int] = []
    while len(seen) < len(rows):
        batch = next(stream)
        assert batch.size <= 40
        seen += batch[:, 0].tolist()
    assert sorted(seen) == list(range(len(rows)))


def test_masking_meets_its_share_spares_special_tokens_and_prefers_rare_words(texts, word_tokenizer):
    rows = encode(texts, word_tokenizer)
    weights = mask_weights(rows, len(word_tokenizer), 0.3)
    everything = np.concatenate(rows)[None]
    inputs, chosen = mask(everything, weights, len(word_tokenizer), np.random.default_rng(0))
    words = everything >= len(SPECIAL)
    assert chosen[words].mean() == pytest.approx(0.3, abs=0.02)
    assert not chosen[~words].any() and (inputs[~chosen] == everything[~chosen]).all()
    assert (inputs[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (inputs[chosen] == everything[chosen]).mean() == pytest.approx(0.1, abs=0.02)
    counts = np.bincount(everything[0], minlength=len(weights))[5:]
    assert weights[5:][counts.argmax()] < weights[5:][counts == 5].mean() / 2


def pretrained(texts, folder, seed=3, **changes):
    saves = Saves(folder.parent / "trainer", "a", 15)
    return pretrain(texts, folder, SMALL.model_copy(update=changes), seed, saves)


def test_checkpoint_loads_learns_and_is_the_same_again(texts, tmp_path):
    record = pretrained(texts, tmp_path / "a", log_every=20)
    assert record["steps"] == 60 and 60 * 180 < record["tokens"] < 60 * 256
    assert [entry["step"] for entry in record["loss"]] == [20, 40, 60]
    assert record["loss"][-1]["loss"] < record["loss"][0]["loss"] - 0.1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    text = texts["text"][0]
    assert tokenizer(text)["input_ids"] == train_tokenizer(texts, SMALL)(text)["input_ids"]
    assert tokenizer.mask_token_id == MASK and tokenizer.model_max_length == 158
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "a")
    embeddings = model.roberta.embeddings.word_embeddings.weight
    head = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a", num_labels=3)
    assert torch.equal(embeddings, head.roberta.embeddings.word_embeddings.weight)
    assert model.lm_head.decoder.weight is embeddings

    pretrained(texts, tmp_path / "b")
    pretrained(texts, tmp_path / "c", seed=4)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_no_steps_give_the_untrained_control(texts, tmp_path):
    record = pretrained(texts, tmp_path / "a", steps=0)
    assert record["tokens"] == 0 and record["loss"] == []
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "a")
    assert model.roberta.embeddings.word_embeddings.weight.std().item() == pytest.approx(0.05, abs=0.005)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "a")) == model.config.vocab_size
