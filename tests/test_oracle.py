"""Gold answers score 100 on every set of every source, through the same doors that a model's predictions go through."""

import math

import numpy as np
import pytest

from gold import build_letter_tokenizer, gold_scores, retrieved
from microworld.settings import MicroSettings, Sizes
from toy import build_tokenizer
from xstilts.evaluation import metrics, prediction
from xstilts.features import MAX_QUESTION, label_names
from xstilts.io import ROOT
from xstilts.settings import FilesSettings, LengthSettings
from xstilts.sources.files import FilesSource
from xstilts.sources.micro import MicroSource
from xstilts.tasks import RETRIEVAL_KINDS, SPLITS, TASKS

DATA = (ROOT / "../shared/data").resolve()
KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining", "ranking")


@pytest.fixture(scope="module", params=["micro", "files"])
def source(request):
    if request.param == "micro":
        sizes = dict.fromkeys(KINDS, Sizes(train=30, dev=30, test=30))
        return MicroSource(MicroSettings(languages=("qaa", "qac", "qah"), **sizes))
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return FilesSource(FilesSettings())


def sets(source, task) -> list[tuple[str, str]]:
    return [(split, language) for split in SPLITS for language in source.languages(task, split)]


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.kind not in RETRIEVAL_KINDS])
def test_gold_logits_score_100_in_every_language(source, name, monkeypatch):
    """By a model that outputs the gold: examples from all over each set, through tokens, windows, cuts and back;
    answers whichever window they lie in."""
    task, words = TASKS[name], build_tokenizer("bytelevel")
    if not sets(source, task):
        pytest.skip(f"no {name} here")
    for split, language in sets(source, task):
        whole = source.load(task, split, language)
        rows = whole.select(range(0, len(whole), math.ceil(len(whole) / 40)))
        tokenizer, lengths = words, LengthSettings(classification=64, choice=64, tagging=32)
        if task.kind == "span":  # on windows of letters as short as the longest answer allows
            tokenizer = build_letter_tokenizer([*rows["context"], *rows["question"]])
            longest = max(len(text) for answers in rows["answers"] for text in answers["text"][:1])
            lengths = LengthSettings(span=2 * longest + MAX_QUESTION + 3, stride=longest)
            monkeypatch.setattr(prediction, "MAX_ANSWER", longest)
        _, scores = gold_scores(monkeypatch, task, rows, tokenizer, lengths, label_names(task, whole))
        assert scores.to_dict() == dict.fromkeys(task.metrics, 100), (name, split, language)


# --- retrieval ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bucc", "tatoeba"])
def test_states_of_the_gold_meaning_score_100(source, name, monkeypatch):
    """Sentences that gold pairs get one vector, all others their own."""
    task, rng, vectors = TASKS[name], np.random.default_rng(0), {}

    class Watched:
        """The real source; of the sets that it loads the encoder knows the meaning."""

        def load(self, task, split, language):
            data = source.load(task, split, language)
            vectors.clear()
            if task.kind == "parallel":
                for query, candidate in zip(data["query"], data["candidate"], strict=True):
                    vectors[query] = vectors[candidate] = rng.normal(size=64)
            else:
                meaning = {identity: rng.normal(size=64) for identity in data["id"]}
                for identity, text, gold in zip(data["id"], data["text"], data["gold"], strict=True):
                    vectors[text] = meaning[min([identity, *gold])]
            return data

    for split, language in sets(source, task)[::3]:
        stats, *_ = retrieved(monkeypatch, name, Watched(), [language], vectors, split)
        assert metrics.score(stats).loc[language, task.metrics[0]] == pytest.approx(100, abs=1e-9), (split, language)


@pytest.mark.parametrize("name", ["lareqa", "mewslix"])
def test_states_of_the_gold_keys_rank_every_answer_first(source, name, monkeypatch):
    """A dimension for each key: all answers of a query, in every language, are nearer than all others."""
    task = TASKS[name]
    languages = source.languages(task, "test")
    if not languages:
        pytest.skip(f"this source has no {name}")
    rows = [row for split in ("test", "pool") for code in languages for row in source.load(task, split, code)]
    columns = {key: index for index, key in enumerate(sorted({key for row in rows for key in row["keys"]}))}
    states = np.zeros((len(rows), len(columns) + 1), np.float32)
    for state, row in zip(states, rows, strict=True):
        state[[columns[key] for key in row["keys"]] or [-1]] = 1
    vectors = {row["text"]: state for row, state in zip(rows, states, strict=True)}
    stats, predictions, *_ = retrieved(monkeypatch, name, source, languages, vectors)
    scores = metrics.score(stats)
    assert set(scores.columns) == set(task.metrics) and list(scores.index) == languages
    assert (scores[["map@20", "cross_map@20"]] > 100 - 1e-9).all(axis=None)
    assert len(predictions) == len(stats[stats["metric"] == "map@20"])
    if name == "mewslix":
        assert (scores["recall@1"] == 100).all()
    else:  # a question's answers are one sentence of each language, or the same one twice
        assert scores["recall@1"].between(90 / len(languages), 100 / len(languages) + 1e-9).all()
