"""Every micro task: canonical, parallel, deterministic, balanced, and not solvable without reading."""

from collections import Counter
from functools import cache
from itertools import chain

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from microworld.examples import EXAMPLES, RETRIEVAL
from microworld.grammar import Say
from microworld.settings import LANGUAGE_CODES, MicroSettings, Sizes
from microworld.world import split_of
from xstilts.errors import UserError
from xstilts.sources.files import COLUMNS
from xstilts.sources.micro import MicroSource
from xstilts.tasks import INTERMEDIATE, TARGETS, UPOS, WIKIANN, get

SIZES = Sizes(train=2400, dev=480, test=90)
KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining")
CASES = [(name, split) for name in EXAMPLES for split in EXAMPLES[name][1] if name not in RETRIEVAL]


@cache
def columns(source, name, split, language="qaa"):
    """Columns of a set; many tests look at the same ones."""
    return source.load(get(name), split, language).to_dict()


@pytest.fixture(scope="module")
def source():
    return MicroSource(MicroSettings(**dict.fromkeys(KINDS, SIZES)))


# ---- schema


def test_every_task_of_the_paper_has_a_counterpart():
    for name in (*INTERMEDIATE, *TARGETS):
        assert name in EXAMPLES
        assert "train" in EXAMPLES[get(name).training_set][1] or name in RETRIEVAL
    assert all("test" in EXAMPLES[name][1] for name in TARGETS)


def test_languages_source_first(source):
    assert source.languages(get("xnli"), "test") == list(LANGUAGE_CODES)
    assert source.languages(get("tatoeba"), "test") == list(LANGUAGE_CODES[1:])
    assert source.languages(get("xnli"), "train") == []
    assert source.languages(get("sick"), "train") == []


def test_what_is_not_there_is_said_to_be_missing(source):
    with pytest.raises(UserError, match='no train split of task "xnli" in language "qaa"'):
        source.load(get("xnli"), "train", "qaa")
    with pytest.raises(UserError, match="languages that have it: qaa, qab"):
        source.load(get("xnli"), "test", "de")
    for languages, message in ((("qaa", "qax"), 'unknown language "qax"'), (("qab", "qaa"), 'expected "qaa"')):
        with pytest.raises(UserError, match=message):
            MicroSource(MicroSettings(languages=languages))


@pytest.mark.parametrize(("name", "split"), CASES)
def test_columns_and_labels(source, name, split):
    task = get(name)
    for language in ("qaa",) if split == "train" else ("qaa", "qac", "qah"):
        data = columns(source, name, split, language)
        size = len(data["id"])
        assert size == getattr(SIZES, split) and len(set(data["id"])) == size
        assert set(data) == set(COLUMNS[task.kind])
        if task.kind == "classification":
            counts = Counter(data["label"])
            assert set(counts) == set(range(len(task.labels)))
            assert split != "train" or max(counts.values()) - min(counts.values()) <= 1
        elif task.kind == "choice":
            for choices, label in zip(data["choices"], data["label"], strict=True):
                assert 0 <= label < len(choices) == len(set(choices))
        elif task.kind == "tagging":
            assert all(len(a) == len(b) > 0 for a, b in zip(data["tokens"], data["tags"], strict=True))
            tags = {tag for row in data["tags"] for tag in row}
            assert tags <= set({"udpos": UPOS, "panx": WIKIANN}.get(name, tags))
            assert not any(" " in token for row in data["tokens"] for token in row)


@pytest.mark.parametrize("name", ["squad1", "squad2", "tydiqa", "xquad", "mlqa"])
def test_answers_stand_where_they_are_said_to(source, name):
    suffixed = 0
    for language in LANGUAGE_CODES:
        data = columns(source, name, "dev", language)
        for context, answers, impossible in zip(data["context"], data["answers"], data["is_impossible"], strict=True):
            assert impossible == (not answers["text"])
            for text, at in zip(answers["text"], answers["answer_start"], strict=True):
                assert context[at : at + len(text)] == text
                assert at == 0 or context[at - 1] == " "
                assert context[at + len(text)] in " .-"
            suffixed += len(answers["text"]) == 2
    assert suffixed > 0  # in languages with case, with and without the suffix
    unanswerable = SIZES.dev // 3 if name == "squad2" else 0
    assert sum(columns(source, name, "dev")["is_impossible"]) == unanswerable


def test_tydiqa_questions_share_at_most_the_asked_words_with_the_passage(source):
    """No content word of the sentence that answers comes back, save function words."""
    overlap = {}
    function = {source.examples.world.words["qaa"][word] for word in ("the", "some", "to", "in", "at", "by", "not")}
    for name in ("xquad", "tydiqa"):
        data = columns(source, name, "dev")
        shared = [
            len({w.split("-")[0] for w in q[:-1].split()} & {w.split("-")[0].strip(".") for w in c.split()} - function)
            for q, c in zip(data["question"], data["context"], strict=True)
        ]
        overlap[name] = sum(shared) / len(shared)
    assert overlap["tydiqa"] < 0.35 and overlap["xquad"] > 1.5


# ---- parallelism, determinism, splits


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in RETRIEVAL])
def test_languages_are_parallel(source, name):
    """Same ids and gold everywhere; in the language of the source's order and another script, the very
    same sentences word by word."""
    ours, other = columns(source, name, "dev"), columns(source, name, "dev", "qaf")
    assert ours["id"] == other["id"]
    for gold in ("label", "tags", "is_impossible"):
        assert ours.get(gold) == other.get(gold)
    words = source.examples.world.words
    translate = {form: words["qaf"][concept] for concept, form in words["qaa"].items()}

    def translated(text):
        if isinstance(text, list):
            return [translated(part) for part in text]
        out = []
        for word in text.split():
            core = word.rstrip(".?")
            stem, *suffixes = core.split("-")
            foreign = translate.get(stem, stem) + "".join(translate["-" + suffix] for suffix in suffixes)
            out.append(foreign + word[len(core) :])
        return " ".join(out)

    for column in set(ours) & {"text_a", "text_b", "context", "question", "tokens", "choices"}:
        assert translated(ours[column]) == other[column]


def test_loading_is_deterministic(source):
    again = MicroSource(source.settings)
    for name in ("mnli", "squad2", "cosmosqa", "udpos", "bucc"):
        assert columns(source, name, "dev", "qag") == columns(again, name, "dev", "qag")
    other = MicroSource(source.settings.model_copy(update={"world_seed": 1}))
    assert columns(other, "mnli", "dev") != columns(source, "mnli", "dev")


def test_fingerprints_tell_settings_tasks_and_splits_apart(source):
    def changed(**settings):
        return MicroSource(source.settings.model_copy(update=settings))

    key = get("xnli"), "dev", "qaa"
    sets = [("xnli", "test", "qaa"), ("xnli", "test", "qab"), ("pawsx", "test", "qaa")]
    prints = {source.fingerprint(*key), changed(sharpness=0.5).fingerprint(*key)}
    prints |= {source.fingerprint(get(name), split, code) for name, split, code in sets}
    texts = [(source, 1), (source, 2), (changed(code_mixing=0), 1), (changed(sharpness=0.5), 1)]
    prints |= {world.text_fingerprint(seed) for world, seed in texts}
    assert len(prints) == 9
    # what does not go into a set leaves it current: other sets' sizes, and how the text was mixed
    assert source.fingerprint(*key) == changed(code_mixing=0, span=Sizes(test=7)).fingerprint(*key)
    assert source.text_fingerprint(1) == changed(span=Sizes(test=7)).text_fingerprint(1)


@pytest.mark.parametrize(("name", "split"), [case for case in CASES if case[0] != "csqa"])
def test_examples_are_built_on_events_of_their_split(source, name, split):
    """Which events a split may use is decided by their content, so none is both trained on and tested."""
    field = {"classification": "text_b", "choice": "context", "tagging": "tokens", "span": "context"}[get(name).kind]
    for _, plan in source.examples.plans(name, get(name).kind, split)[:200]:
        clauses = [part.clause for part in plan[field] if isinstance(part, Say)]
        if name in ("qqp", "pawsx"):  # the other sentence of an unlike pair may be changed
            clauses = [part.clause for part in plan["text_a"]]
        if name == "udpos":
            clauses = clauses[:1]
        assert clauses and all(split_of(clause) == split for clause in clauses)


@pytest.mark.parametrize("target", [name for name, split in CASES if split == "test"])
def test_no_tested_example_was_trained_on(source, target):
    def keys(data):
        fields = [field for field in ("text_a", "text_b", "context", "question", "choices", "tokens") if field in data]
        return {str(row) for row in zip(*(data[field] for field in fields), strict=True)}

    assert not keys(columns(source, get(target).training_set, "train")) & keys(columns(source, target, "test"))


def test_facts_asked_for_in_training_are_not_asked_for_in_development(source):
    assert not set(columns(source, "csqa", "train")["question"]) & set(columns(source, "csqa", "dev")["question"])


# ---- retrieval sets


def test_tatoeba_has_pairs_and_bucc_pairs_distractors_and_gold_both_ways(source):
    data = columns(source, "tatoeba", "test", "qah")
    assert len(set(data["query"])) == len(data["query"]) == len(set(data["candidate"])) == 90
    data = columns(source, "bucc", "dev", "qah")
    by_id = dict(zip(data["id"], data["gold"], strict=True))
    sides = dict(zip(data["id"], data["side"], strict=True))
    assert Counter(data["side"]) == {"foreign": SIZES.dev, "source": SIZES.dev}
    assert sum(bool(gold) for gold in data["gold"]) == SIZES.dev  # half of each side
    for key, gold in by_id.items():
        assert all(by_id[other] == [key] and sides[other] != sides[key] for other in gold)
    assert not set(columns(source, "bucc", "test", "qah")["text"]) & set(data["text"])


def test_words_alone_do_not_tell_a_sentence_from_its_near_misses(source):
    """Of every sentence another has the same words, whose people are exchanged; no meaning is there twice."""
    for name in RETRIEVAL:
        sentences = [parts[0] for _, parts in source.examples.plans(name, get(name).kind, "test")]
        texts = [source.examples._text(source.examples.world.voices["qaa"], [sentence]) for sentence in sentences]
        bags = Counter(tuple(sorted(text.rstrip(".").split())) for text in texts)
        assert (
            len(set(texts)) == len(texts) and sorted(bags.values())[len(texts) % 2] >= 2
        )  # of an odd number one is alone
        assert len({sentence.clause._replace(order=0) for sentence in sentences}) == len(sentences)
        people = {sentence: sentence.clause.recipient or sentence.clause.object for sentence in sentences}
        assert all(person.entity == sentence.clause.subject.entity == "PER" for sentence, person in people.items())


# ---- not solvable without reading


SHORTCUTS = [  # task, columns, gold, what a bag of the columns' words must stay below
    ("mnli", "text_b", "label", 1 / 3 + 0.06), ("mnli", "text_a", "label", 1 / 3 + 0.12),
    ("anli", "text_b", "label", 1 / 3 + 0.06), ("anli", "text_a", "label", 1 / 3 + 0.08),
    ("qqp", "text_b", "label", 0.56), ("qqp", "text_a", "label", 0.58),
    ("pawsx", "text_b", "label", 0.56), ("pawsx", "text_a", "label", 0.58),
    ("mnli", "text_a text_b", "label", 0.48), ("anli", "text_a text_b", "label", 0.45),
    ("pawsx", "text_a text_b", "label", 0.56),
    ("squad1", "question", "answers", 0.15), ("tydiqa", "question", "answers", 0.15),
    ("squad2", "question", "is_impossible", 2 / 3 + 0.03),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "gold", "limit"), SHORTCUTS)
def test_words_alone_do_not_solve_a_task(source, name, fields, gold, limit):
    """Neither sentence betrays the label, nor the words of both, nor a question its answer or that it has none:
    logistic regression on bags of words, one for each column."""
    train, dev = (pd.DataFrame(columns(source, name, split)) for split in ("train", "dev"))
    golds = [data[gold].map(lambda answer: answer["text"][0] if gold == "answers" else answer) for data in (train, dev)]
    bags = [(CountVectorizer(token_pattern=r"[^\s.?]+|\?"), field) for field in fields.split()]
    model = make_pipeline(make_column_transformer(*bags), LogisticRegression(max_iter=300, C=0.3))
    assert model.fit(train, golds[0]).score(dev, golds[1]) < limit


@pytest.mark.parametrize("name", ["hellaswag", "cosmosqa", "copa", "csqa"])
def test_the_right_choice_is_in_no_favourite_place_and_not_betrayed_by_the_choices(source, name):
    train, dev = columns(source, name, "train"), columns(source, name, "dev")
    count = len(train["choices"][0])
    assert max(Counter(train["label"]).values()) < SIZES.train / count * 1.15

    def flat(data):
        texts = [choice for choices in data["choices"] for choice in choices]
        return texts, [i == label for label in data["label"] for i in range(count)]

    counts = CountVectorizer(token_pattern=r"[^\s.?]+", ngram_range=(1, 2))
    model = make_pipeline(counts, LogisticRegression(max_iter=300, C=0.3)).fit(*flat(train))
    scores = model.decision_function(flat(dev)[0]).reshape(-1, count)
    assert (scores.argmax(1) == dev["label"]).mean() < 1 / count + 0.07


@pytest.mark.parametrize(("name", "limit"), [("udpos", 0.995), ("panx", 0.93), ("ccg", 0.86)])
def test_tags_are_not_a_function_of_the_word(source, name, limit):
    """The most frequent tag of each word is wrong often enough: context is needed."""
    train, dev = columns(source, name, "train"), columns(source, name, "dev")
    seen: dict[str, Counter] = {}
    for token, tag in zip(chain(*train["tokens"]), chain(*train["tags"]), strict=True):
        seen.setdefault(token, Counter())[tag] += 1
    pairs = list(zip(chain(*dev["tokens"]), chain(*dev["tags"]), strict=True))
    right = sum(token in seen and seen[token].most_common(1)[0][0] == tag for token, tag in pairs)
    assert right / len(pairs) < limit
