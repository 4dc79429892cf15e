"""Distances between sets of texts: hand-worked cases."""

import pytest

from xstilts.errors import UserError
from xstilts.questions.domain_shift import BEGINNING, MOST, Overlap, a_distance, overlap, same_size, texts
from xstilts.tasks import get

LETTERS = "abcdefghijklmnopqrst"


@pytest.mark.parametrize("features", ["characters", "words"])
def test_the_same_texts_cannot_be_told_apart(features):
    sample = [f"word{i} of{i % 7}" for i in range(100)]
    found = a_distance(sample, sample[::-1], features)
    assert (found.value, found.error, found.texts) == (0.0, 0.5, 100)
    assert found.low == 0 < found.high < 0.3
    assert overlap(sample, sample) == Overlap(1.0, 1.0)


@pytest.mark.parametrize("features", ["characters", "words"])
def test_texts_without_a_common_word_always_can(features):
    latin, greek = [f"dog {a}{b}" for a in "abcdef" for b in LETTERS], [f"σκύλος {i % 9}" for i in range(120)]
    found = a_distance(latin, greek, features)
    assert found.value == found.high == 2 and found.error == 0 and 1.8 < found.low < 2
    assert overlap(latin, greek) == Overlap(0.0, 0.0)


def test_half_of_the_texts_in_common_is_half_of_the_distance():
    """A text of both sets is judged right on one side and wrong on the other, whatever the classifier says."""
    common = [f"{a}{a} same" for a in LETTERS]
    own = [[f"{word} {a}{a}{a}" for a in LETTERS] for word in ("fox", "whale")]
    found = a_distance(common + own[0], common + own[1], "words")
    assert found.error == 20 / 80 and found.value == 1.0
    assert found.low < 1 < found.high


def test_what_comes_after_the_beginning_does_not_count():
    same = [" ".join(LETTERS[i : i + BEGINNING]) for i in range(10)] * 3
    assert a_distance(same, [f"{text} and much more of it" for text in same]).value == 0


def test_shared_words_by_hand():
    # vocabularies {a, b, c} and {b, d}: one of four in both; of b, B and d two are known
    assert overlap(["a b", "c"], ["b B", "d."]) == Overlap(1 / 4, 2 / 3)


def test_as_many_texts_of_either():
    first, second = same_size(["x"] * 30, [str(i) for i in range(20)])
    assert len(first) == len(second) == 20 and sorted(second, key=int) == [str(i) for i in range(20)]
    assert [len(part) for part in same_size(["x"] * 3000, ["y"] * 2000)] == [MOST, MOST]
    for pair in ((["a"] * 6, ["b"] * 5), (["a"] * 4, ["b"] * 4)):
        with pytest.raises(UserError, match="as many of either, at least 5"):
            a_distance(*pair)


def test_texts_leave_out_fixed_questions():
    row = {"context": ["it rained"], "question": ["What was the effect?"], "choices": [["wet", "dry"]], "label": [0]}
    assert texts(get("copa"), row) == ["it rained wet dry"]
    assert texts(get("csqa"), row | {"context": [""]}) == ["What was the effect? wet dry"]
    assert texts(get("xnli"), {"text_a": ["a"], "text_b": ["b"]}) == ["a b"]
    assert texts(get("udpos"), {"tokens": [["a", "b"]]}) == ["a b"]
