"""Features against what they must not lose: every tag, every answer, under three tokenizer families."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from gold import build_letter_tokenizer
from toy import TEXT, build_tokenizer
from xstilts import features
from xstilts.errors import UserError
from xstilts.settings import LengthSettings
from xstilts.tasks import get

LENGTHS = LengthSettings(classification=12, choice=12, tagging=8, span=72, stride=24)


@pytest.fixture(scope="module", params=["unigram", "wordpiece", "bytelevel"])
def tokenizer(request):
    return build_tokenizer(request.param)


def test_every_tag_survives_splitting(tokenizer):
    words = ["Die", "Verteidigung", "der", "Panthers", "gab", "nur", "308", "Punkte", "ab", "\u200b", "."] * 3
    tags = ["DET", "NOUN", "DET", "PROPN", "VERB", "ADV", "NUM", "NOUN", "ADP", "X", "PUNCT"] * 3
    labels = list(get("udpos").labels)
    data = Dataset.from_dict({"id": ["0"], "tokens": [words], "tags": [tags]})
    pieces = features.encode(get("udpos"), data, tokenizer, LENGTHS, labels)
    assert len(pieces) > 1
    assert all(len(piece["input_ids"]) <= LENGTHS.tagging for piece in pieces)
    read = []
    for piece in pieces:
        assert piece["first_word"] == len(read)
        read += [labels[piece["labels"][start]] for start in piece["word_starts"]]
        ignored = set(range(len(piece["labels"]))) - set(piece["word_starts"])
        assert all(piece["labels"][position] == features.IGNORED for position in ignored)
    assert read == tags


def passage(question: str, context: str, answer: str) -> Dataset:
    """One question and its answer."""
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    row = {"id": "0", "context": context, "question": question, "answers": answers, "is_impossible": False}
    return Dataset.from_list([row])


@pytest.mark.parametrize("answer", ["308", " 308 ", "sixth in the league", "第六", "308分", "เพียง", "Punkte"])
def test_answer_tokens_cover_the_answer(tokenizer, answer):
    context = next(text for text in TEXT if answer in text) * 2
    windows = features.encode(get("squad1"), passage("How many points?", context, answer), tokenizer, LENGTHS)
    windows = [window for window in windows if window["start_positions"]]
    assert windows, "no window holds the answer"
    for window in windows:
        first, last = window["offsets"][window["start_positions"]], window["offsets"][window["end_positions"]]
        assert answer.strip() in context[first[0] : last[1]]
        assert first[1] > context.index(answer)  # never more than the tokens that touch the answer


EMPTY = {  # task, a row, and columns of it that leave nothing to learn from
    "mnli": ({"text_a": "a", "text_b": "b", "label": 0}, [{"text_a": " "}, {"text_b": "\u3000"}, {"text_b": ""}]),
    "copa": ({"context": "a", "question": "", "choices": ["b", "c"], "label": 0},
             [{"context": "\n"}, {"choices": ["b", " "]}]),
    "squad2": ({"context": "a b", "question": "c", "answers": {"text": ["b"], "answer_start": [2]},
                "is_impossible": False},
               [{"context": ""}, {"question": " "}, {"answers": {"text": [" "], "answer_start": [1]}}]),
    "panx": ({"tokens": ["a", " "], "tags": ["O", "O"]}, [{"tokens": [" ", "\u00a0"]}]),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_rows_with_empty_texts_are_not_learned_from(name):
    row, changes = EMPTY[name]
    rows = [row, *(row | change for change in changes), row]
    assert features.learnable(get(name), Dataset.from_list(rows)) == [0, len(changes) + 1]
    if name == "mnli":  # one text is what is classified
        assert features.learnable(get(name), Dataset.from_list([row | {"text_b": ""}] * 2)) == [0, 1]


def test_windows_begin_a_stride_apart(tokenizer):
    """The loop of the official SQuAD scripts, whatever the questions' lengths and however few tokens are shared."""
    context, lengths = " ".join(TEXT * 3), LengthSettings(span=60, stride=20)
    questions = ["Who?", "How many points did the Panthers give up?", "Who?", "How many points? " * 2]
    rows = {"id": list("0123"), "context": [context] * 4, "question": questions}
    answers = {"answers": [{"text": [], "answer_start": []}] * 4, "is_impossible": [True] * 4}
    pieces = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for stride in (20, 1000):  # further apart than a window is long: no token is skipped
        apart = lengths.model_copy(update={"stride": stride})
        windows = features.encode(get("squad2"), Dataset.from_dict(rows | answers), tokenizer, apart)
        expected = []
        for example, question in enumerate(questions):
            room, start = 60 - len(tokenizer(question, " ")["input_ids"]) + len(tokenizer.tokenize(" ")), 0
            while True:
                expected.append((example, pieces[start : start + room]))
                if start + room >= len(pieces):
                    break
                start += min(stride, room)
        offsets = [(w["example"], [span for span in w["offsets"] if span]) for w in windows]
        assert offsets == expected and len(windows) > 8


def test_windows_of_the_paper():
    """384 tokens, 10 of question, 3 special ones: 371 of a passage of 1,000 at 0, 128, …, 640."""
    data = passage("b" * 10, "abc" * 333 + "a", "abc")
    windows = features.encode(get("squad2"), data, build_letter_tokenizer("abc"), LengthSettings())
    assert [next(filter(None, window["offsets"]))[0] for window in windows] == [0, 128, 256, 384, 512, 640]


def test_long_question_leaves_room_for_the_passage(tokenizer):
    data = passage("How many points did the Panthers give up? " * 40, TEXT[0], "308")
    windows = features.encode(get("squad1"), data, tokenizer, LengthSettings(span=96, stride=8))
    assert any(window["start_positions"] for window in windows)
    assert all(len(window["input_ids"]) <= 96 for window in windows)


def test_a_long_prompt_keeps_its_question(tokenizer, tmp_path):
    """Its start is cut; a pair's end, before as after, with the tokenizer that is saved with an encoder, too."""
    row = {"id": "0", "context": TEXT[0], "question": "How many points?", "choices": ["308", "one"], "label": 0}
    (feature,) = features.encode(get("cosmosqa"), Dataset.from_list([row]), tokenizer, LengthSettings(choice=20))
    whole = tokenizer([f"{TEXT[0]} How many points?"] * 2, ["308", "one"])["input_ids"]
    for ids, right in zip(feature["input_ids"], whole, strict=True):
        assert len(ids) == 20 < len(right) and ids[0] == right[0] and ids[1:] == right[-19:]
    tokenizer.save_pretrained(tmp_path)
    pairs = Dataset.from_dict({"id": ["0"], "text_a": [TEXT[0]], "text_b": ["308"], "label": [0]})
    whole = tokenizer(TEXT[0])["input_ids"]
    for either in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        (feature,) = features.encode(get("mnli"), pairs, either, LENGTHS)
        assert feature["input_ids"][:6] == whole[:6]


def test_collate_pads_choices_and_refuses_ragged_ones(tokenizer):
    def choice(options):
        data = {"id": ["0"], "context": ["The defense"], "question": [""], "choices": [options], "label": [0]}
        return features.encode(get("hellaswag"), Dataset.from_dict(data), tokenizer, LENGTHS)

    batch = features.collate(choice(["gave", "gave up just 308"]) + choice(["a", "b"]), tokenizer.pad_token_id)
    assert batch["input_ids"].shape[:2] == (2, 2) and batch["labels"].tolist() == [0, 0]
    assert (batch["input_ids"] == tokenizer.pad_token_id).eq(batch["attention_mask"] == 0).all()
    with pytest.raises(UserError, match="number of choices"):
        features.collate(choice(["a", "b"]) + choice(["a", "b", "c"]), tokenizer.pad_token_id)


def test_masking_follows_its_seed_and_spares_special_tokens(tokenizer):
    rows = features.encode_text(TEXT * 20, tokenizer, 64)
    batch = features.collate(rows, tokenizer.pad_token_id)

    vocabulary = torch.unique(batch["input_ids"])[:-1]

    def masked(seed):
        return features.mask_tokens(batch, tokenizer, vocabulary, 0.15, torch.Generator().manual_seed(seed))

    first, again, other = masked(1), masked(1), masked(2)
    assert torch.equal(first["input_ids"], again["input_ids"])
    assert not torch.equal(first["labels"], other["labels"])
    chosen = first["labels"] != features.IGNORED
    special = torch.isin(batch["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    assert 0.11 < chosen.sum() / (~special).sum() < 0.19
    assert torch.equal(first["labels"][chosen], batch["input_ids"][chosen])
    replaced = (first["input_ids"] == tokenizer.mask_token_id)[chosen].float().mean()
    assert 0.7 < replaced < 0.9
    swapped = first["input_ids"][first["input_ids"] != batch["input_ids"]]
    assert len(swapped.unique()) > 2 and torch.isin(swapped, torch.tensor([tokenizer.mask_token_id, *vocabulary])).all()


def test_sentences_of_no_words_are_scored_rows(tokenizer):
    rows = Dataset.from_dict({"id": ["1", "2"], "tokens": [["a"], []], "tags": [["X"], []]}).select([1])
    (feature,) = features.encode(get("udpos"), rows, tokenizer, LengthSettings(), ["X"])
    assert feature["word_starts"] == [] and len(feature["input_ids"]) == 2
