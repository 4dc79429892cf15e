"""Scores against scorers written by others (seqeval, scikit-learn) and against cases worked by hand."""

import warnings
from itertools import chain

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from sklearn.metrics import accuracy_score

from xstilts.evaluation import metrics
from xstilts.tasks import UPOS, WIKIANN

LANGUAGE = "xx"


def ids(things) -> list[str]:
    return [f"example-{number}" for number in range(len(things))]


def scored(stats: pd.DataFrame) -> pd.Series:
    """Metric -> percent, of statistics in one language."""
    assert list(stats.columns) == metrics.COLUMNS
    return metrics.score(stats).loc[stats["language"].iloc[0]]


def seqeval_f1(gold, predicted) -> float:
    with warnings.catch_warnings(action="ignore"):
        return 100 * f1_score(gold, predicted)


# --- tags -----------------------------------------------------------------------------------------------

SCHEMES = {
    "bare": UPOS,
    "bare, the odd ones": ("X", "SCONJ", "SYM", "NOUN"),  # X has no type to seqeval, S… is a chunk by itself
    "IOB2": (*WIKIANN, "I-DATE"),
    "supertags": ("NP", "N", "(S[dcl]\\NP)/NP", "NP/N", ".", "O"),
}


@st.composite
def tagged_corpora(draw, tags):
    """Gold and predicted tags of a few sentences; predictions are right more often than not."""
    gold = draw(st.lists(st.lists(st.sampled_from(tags), max_size=7), min_size=1, max_size=6))
    wrong = st.one_of(st.none(), st.none(), st.sampled_from(tags))
    predicted = [[draw(wrong) or tag for tag in sentence] for sentence in gold]
    return gold, predicted


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_tagging_is_seqevals_and_scikit_learns(scheme, data):
    gold, predicted = data.draw(tagged_corpora(SCHEMES[scheme]))
    stats = metrics.tagging(ids(gold), gold, predicted, LANGUAGE)
    assert scored(stats)["f1"] == pytest.approx(seqeval_f1(gold, predicted), abs=1e-9)
    if any(gold):
        words = accuracy_score(list(chain(*gold)), list(chain(*predicted)))
        assert scored(stats)["accuracy"] == pytest.approx(100 * words, abs=1e-9)
    assert (stats["numerator"] <= stats["denominator"]).all() and len(stats) == 2 * len(gold)


def test_a_chunk_reaches_over_the_sentence_border_as_in_seqeval():
    """The chunk of an X after a border begins where the chunk before it began: the error in the first sentence
    makes the X of the second wrong too, though it was predicted."""
    gold, predicted = [["NOUN", "VERB"], ["X", "NOUN"]], [["NOUN", "NOUN"], ["X", "NOUN"]]
    stats = metrics.tagging(ids(gold), gold, predicted, LANGUAGE)
    f1 = stats[stats["metric"] == "f1"]
    assert f1[["numerator", "denominator"]].values.tolist() == [[0, 3], [2, 4]]
    assert scored(stats)["f1"] == pytest.approx(seqeval_f1(gold, predicted), abs=1e-9) == 100 * 2 / 7


# --- answers --------------------------------------------------------------------------------------------

ANSWERS = [  # scorer, language, gold answers, prediction, exact match, F1; worked by hand from the rules
    ("squad", "en", ["the Denver Broncos!"], "Denver broncos", 1, 1),
    ("squad", "en", ["a cat sat"], "the cat sat down", 0, 4 / 5),
    ("squad", "en", ["to be or not to be"], "to to to", 0, 4 / 9),
    ("mlqa", "zh", ["NBA 总决赛"], "nba决赛", 0, 6 / 7),
    ("mlqa", "hi", ["दस हज़ार।"], "दस हज़ार", 1, 1),
    ("mlqa", "ar", ["الكتاب"], "كتاب", 1, 1),
    ("mlqa", "ar", ["سؤال"], "سؤ", 1, 1),  # the pattern is not held to the beginnings of words
    ("mlqa", "ar", ["في عام 1945"], "عام 1945م", 0, 2 / 5),
    ("mlqa", "th", ["308 แต้ม"], "«308»", 0, 2 / 3),  # no language of MLQA: white space, no articles
    ("mlqa", "zh", ["約翰·史密斯(John Smith)"], "john smith", 0, 4 / 9),  # 約 翰 史 密 斯 john smith
    ("mlqa", "vi", ["của tôi"], "tôi", 1, 1),
    ("mlqa", "en", ["the $5 bill"], "5 bill", 1, 1),
    ("mlqa", "qaa", ["«la casa»"], "la casa", 1, 1),
    ("squad", "en", ["The"], "a", 1, 0),
    ("mlqa", "en", ["The"], "a", 1, 0),
]


@pytest.mark.parametrize(("scorer", "language", "gold", "predicted", "exact", "f1"), ANSWERS)
def test_answers_by_hand(scorer, language, gold, predicted, exact, f1):
    scores = scored(metrics.span(["q"], [gold], [predicted], language, scorer))
    assert scores["exact_match"] == 100 * exact
    assert scores["f1"] == pytest.approx(100 * f1, abs=1e-9)


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        ([], "", 1, 1),
        ([], "the", 1, 1),
        (["ten"], "", 0, 0),
        (["about ten"], "ten", 0, 2 / 3),
        (["The"], "a", 1, 1),  # nothing left of either: agreement in v2.0
        (["The", "ten"], "a", 0, 0),  # a gold answer of which nothing is left is passed over
    ],
)
def test_unanswerable_questions_bring_the_rules_of_squad_2(gold, predicted, exact, f1):
    stats = metrics.span(["other", "q"], [[], gold], ["", predicted], "en")
    values = stats[stats["id"] == "q"].set_index("metric")["numerator"]
    assert values["exact_match"] == exact
    assert values["f1"] == pytest.approx(f1, abs=1e-9)


# --- what all have in common ----------------------------------------------------------------------------

KINDS = {  # gold of three examples, predictions
    metrics.classification: ([0, 2, 1], [0, 2, 1]),
    metrics.tagging: ([["NOUN", "X"], ["B-PER", "O", "SCONJ"], ["VERB"]], [["NOUN", "X"], ["O"] * 3, ["VERB"]]),
    metrics.span: ([["ten"], ["The", "a cat"], []], ["ten", "a cat", ""]),
    metrics.mining: ([["s1"], [], ["s2", "s3"]], [["s1"], [], []]),
}


@pytest.mark.parametrize("function", KINDS)
def test_predictions_must_match_the_examples(function):
    gold, predicted = KINDS[function]
    with pytest.raises(ValueError, match="xx: no prediction for example c"):
        function(list("abc"), gold, predicted[:2], LANGUAGE)
    with pytest.raises(ValueError, match="xx: no prediction for example b"):
        function(list("abc"), gold, [predicted[0], None, predicted[2]], LANGUAGE)
    with pytest.raises(ValueError, match="xx: 1 more predictions than examples"):
        function(list("abc"), gold, [*predicted, predicted[0]], LANGUAGE)
    with pytest.raises(ValueError, match="xx: 3 ids and 2 gold"):
        function(list("abc"), gold[:2], predicted, LANGUAGE)
    with pytest.raises(ValueError, match="xx: id b stands twice"):
        function(list("abb"), gold, predicted, LANGUAGE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.classification(["a"], [-1], [0], "de"), "de: example a has no gold label"),
        (lambda: metrics.tagging(["a"], [["X", "X"]], [["X"]], "de"), "de: example a has 2 words and 1 predicted"),
        (lambda: metrics.tagging(["a"], [["X", "X"]], [["X", ""]], "de"), "de: example a has a word without"),
        (lambda: metrics.span(["a", "b"], [["x"], []], ["x", ""], "de", "mlqa"), "de: example b has no gold answer"),
        (lambda: metrics.ranking(["a", "b"], [["c"], []], [["c"]] * 2, "xx"), "xx: query b has no relevant candidate"),
        (lambda: metrics.ranking(["a"], [["c"]], [["c", "c"]], "xx"), "xx: query a has a candidate ranked twice"),
    ],
)
def test_what_cannot_be_scored_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
