"""Any encoder: from a checkpoint folder through phase 1 to heads of every kind, with tokenizers of four families."""

import unicodedata

import pytest
import tokenizers
import torch
import yaml
from datasets import Dataset
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from encoders import FAMILIES, JAPANESE, build_encoder, tokenizer_of
from gold import gold_scores
from toy import TEXT, tune
from xstilts import phases
from xstilts.errors import UserError
from xstilts.evaluation import retrieval
from xstilts.evaluation.prediction import predict
from xstilts.features import check_offsets, collate, encode, encode_text, in_no_window
from xstilts.settings import LengthSettings, PhaseSettings, RetrievalSettings
from xstilts.study import load_study
from xstilts.tasks import get
from xstilts.training import fine_tuning
from xstilts.training.batching import TrainingSet

LENGTHS = LengthSettings(classification=40, choice=40, tagging=16, span=72, stride=24, retrieval=64, mlm=64)


def write_study(folder, checkpoint, **changes):
    """A study of every kind that starts from the checkpoint."""
    values = {
        "name": "mine", "runs": str(folder / "runs"), "encoder": {"checkpoint": str(checkpoint)},
        "intermediate": ["none", "mnli+mlm"], "targets": ["xnli", "xcopa", "udpos", "xquad", "tatoeba", "bucc"],
        "training": {"max_length": LENGTHS.model_dump()},
    }  # fmt: skip
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return load_study(path)


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request, tmp_path_factory):
    """(family, checkpoint that phase 1 left, its tokenizer)"""
    folder = tmp_path_factory.mktemp(request.param)
    study = write_study(folder, build_encoder(request.param, folder / "given"))
    record = phases.encoder(study, None, 1)
    assert record["checkpoint"] == str(folder / "given") and record["steps"] == 0
    checkpoint = phases.encoder_of(study, "none", 1)
    return request.param, checkpoint, AutoTokenizer.from_pretrained(checkpoint)


PAIRS = [("308", "第六", 0), ("Punkte", "เพียง", 1), ("gab nur", "リーグ", 2)]
ANSWERS = ["308", "sixth in the league", "第六", "308分", "เพียง", "Punkte", "リーグ6位", "失点"]


def answered(answer: str, number: int) -> dict:
    context = next(text for text in (*TEXT, JAPANESE) if answer in text) * 2
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"context": context, "question": f"How many points? {number}", "answers": answers, "is_impossible": False}


def example_sets() -> dict[str, Dataset]:
    tokens = ["Die", "Verteidigung", "\u200b", "卡罗来纳", "リーグ6位", "แพนเธอร์ส", "308", "."] * 3
    tags = ["DET", "NOUN", "X", "PROPN", "NOUN", "PROPN", "NUM", "PUNCT"] * 3
    choices = ["Punkte", "gab", "308"]
    tables = {
        "mnli": [{"text_a": a, "text_b": b, "label": label} for a, b, label in PAIRS],
        "hellaswag": [{"context": a, "question": "", "choices": [b, *choices], "label": y} for a, b, y in PAIRS],
        "udpos": [{"tokens": tokens[n : n + 16], "tags": tags[n : n + 16]} for n in range(8)],
        "squad1": [answered(answer, number) for number, answer in enumerate(ANSWERS)],
    }
    return {
        name: Dataset.from_list([{"id": str(number), **row} for number, row in enumerate(rows)])
        for name, rows in tables.items()
    }


@pytest.mark.parametrize("name", ["mnli", "hellaswag", "udpos", "squad1"])
def test_gold_outputs_score_100_in_every_script(encoder, name, monkeypatch):
    data = example_sets()[name]
    predicted, scores = gold_scores(monkeypatch, get(name), data, encoder[2], LENGTHS, list(get(name).labels))
    if name != "squad1":
        assert (scores == 100).all()
    else:  # as much as the tokens that the answer touches, and no more
        for row, answer in zip(data, predicted, strict=True):
            first = row["answers"]["answer_start"][0]
            last = first + len(row["answers"]["text"][0])
            offsets = encoder[2](row["context"], add_special_tokens=False, return_offsets_mapping=True)
            touched = [(start, end) for start, end in offsets["offset_mapping"] if start < last and end > first]
            assert answer == row["context"][touched[0][0] : touched[-1][1]].strip()
        exact = sum(answer == right for answer, right in zip(predicted, ANSWERS, strict=True))
        assert scores["exact_match"] == 100 * exact / len(ANSWERS) >= 75


SENTENCES = [("Ada sits in a ", "café", " in Oslo"), ("그는 ", "서울", " 에 산다"), ("đây là ", "ngôn ngữ", " Việt")]


def questions(form: str) -> Dataset:
    """On the sentences in a Unicode normal form, answered by their second parts."""
    rows = []
    for number, parts in enumerate(SENTENCES):
        before, answer, after = (unicodedata.normalize(form, text) for text in parts)
        answers = {"text": [answer], "answer_start": [len(before)]}
        row = {"id": str(number), "context": before + answer + after, "question": "What?", "answers": answers}
        rows.append(row | {"is_impossible": False})
    return Dataset.from_list(rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_answers_come_back_as_they_are_written_in_composed_and_decomposed_text(form, family, monkeypatch):
    """A normaliser that composes leaves the combining signs of decomposed text out of its tokens."""
    data = questions(form)
    tokenizer = tokenizer_of(family, data["context"][:])
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()  # as SentencePiece models have it, and some others
    predicted, _ = gold_scores(monkeypatch, get("squad1"), data, tokenizer, LENGTHS, [])
    assert predicted == [answers["text"][0] for answers in data["answers"]]
    check_offsets(tokenizer)


def test_a_tokenizer_that_loses_offsets_is_refused_and_answers_in_no_window_are_counted():
    """Bytes after a split at blanks, with RoBERTa's trimming of offsets."""
    data, core = questions("NFC"), tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel()])
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    core.train_from_iterator(data["context"][:] * 9, trainers.BpeTrainer(special_tokens=special, show_progress=False))
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>")
    lost = in_no_window(data, encode(get("squad1"), data, tokenizer, LENGTHS))
    assert lost == [0, 1, 2]
    with pytest.raises(UserError, match="the offsets of its tokens leave out"):
        check_offsets(tokenizer)
    whole = tokenizer_of("xlmr")
    assert in_no_window(data, encode(get("squad1"), data, whole, LENGTHS)) == []
    missing = data.map(lambda row: {"answers": {"text": [], "answer_start": []}})
    assert in_no_window(missing, encode(get("squad1"), missing, whole, LENGTHS)) == [], "unanswerable is not lost"


def test_every_kind_is_trained_on_one_encoder_and_predicted(encoder, tmp_path):
    _, checkpoint, tokenizer = encoder
    data, sets = example_sets(), []
    for name in data:
        labels = tuple(get(name).labels)
        features = encode(get(name), data[name], tokenizer, LENGTHS, labels)
        sets.append(TrainingSet(name, get(name).kind, features, labels))
    sets.append(TrainingSet("mlm", "text", encode_text([*TEXT, JAPANESE] * 4, tokenizer, LENGTHS.mlm)))
    sets = [sets[2], *sets[:2], *sets[3:]]  # the head of the first set reads no pooler, those of others do
    phase = PhaseSettings(steps=40, batch_size=4, learning_rate=3e-3)
    model, record = tune(checkpoint, sets, tokenizer, tmp_path / "trainer", phase)
    assert record["loss"][-1]["loss"] < record["loss"][0]["loss"]
    assert all(head.base_model is model.encoder for head in model.heads.values())
    for name, head in list(model.heads.items())[:4]:
        predictions = predict(head, get(name), {"xx": data[name]}, tokenizer, LENGTHS, list(get(name).labels))
        ((_, predicted),) = predictions
        assert len(predicted) == len(data[name]) and None not in predicted
        if name == "udpos":
            assert [len(tags) for tags in predicted] == [len(words) for words in data[name]["tokens"]]
    fine_tuning.save_encoder(model, tokenizer, tmp_path / "encoder")  # what phase 3 starts from
    again = AutoModel.from_pretrained(tmp_path / "encoder").eval()
    saved = AutoTokenizer.from_pretrained(tmp_path / "encoder")
    states = retrieval.embed(again, saved, TEXT, [0, 2], RetrievalSettings(), 64)
    batch = collate([{"input_ids": tokenizer(TEXT[0])["input_ids"]}], tokenizer.pad_token_id)
    with torch.no_grad():
        expected = model.encoder.eval()(**batch).last_hidden_state[0].mean(0)
    torch.testing.assert_close(torch.tensor(states[1, 0]), expected, atol=1e-4, rtol=1e-4)


def test_second_texts_are_told_from_first_ones_where_the_encoder_was_pretrained_so(encoder):
    family, _, tokenizer = encoder
    data = example_sets()
    for name in ("mnli", "hellaswag", "squad1"):
        features = encode(get(name), data[name], tokenizer, LENGTHS, get(name).labels)
        batch = collate(features, tokenizer.pad_token_id)
        assert ("token_type_ids" in batch) == (family in ("bert", "deberta")), name
        if family == "bert":
            ids, types, mask = (batch[key].flatten(0, -2) for key in ("input_ids", "token_type_ids", "attention_mask"))
            first = (ids == tokenizer.sep_token_id).int().argmax(dim=1)  # [CLS] first [SEP] second [SEP] padding
            expected = (torch.arange(ids.shape[1]) > first[:, None]) & mask.bool()
            assert torch.equal(types, expected.long())


def test_words_of_a_sentence_are_read_as_in_running_text(encoder):
    """RoBERTa's tokenizer, given them one by one, would read one long word."""
    words = ["gab", "nur", "308", "Punkte"]
    data = Dataset.from_list([{"id": "0", "tokens": words, "tags": ["VERB", "ADV", "NUM", "NOUN"]}])
    features = encode(get("udpos"), data, encoder[2], LengthSettings(), get("udpos").labels)
    assert [feature["input_ids"] for feature in features] == [encoder[2](" ".join(words))["input_ids"]]
