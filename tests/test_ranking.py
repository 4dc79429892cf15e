"""Rankings: average precision and recall against scikit-learn and the official definition; ties, several answers in
several languages, the query's own language; the search block by block; whole targets; the original files."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, recall_score

from gold import Rows, retrieved
from microworld.rankings import _passages, _people
from microworld.settings import LANGUAGE_CODES, MicroSettings, Sizes
from microworld.tasks import matches
from xstilts.errors import UserError
from xstilts.evaluation import metrics, ranking, retrieval
from xstilts.readers.pairs_and_choices import read
from xstilts.results import task_metrics
from xstilts.settings import FilesSettings
from xstilts.sources.files import FilesSource
from xstilts.sources.micro import MicroSource
from xstilts.tasks import TASKS, get

# --- the scores -------------------------------------------------------------------------------------------


def values(gold, ranked) -> dict[str, float]:
    """Metric -> value of one query."""
    table = metrics.ranking(["q"], [gold], [ranked], "xx")
    assert (table["denominator"] == 1).all()
    return dict(zip(table["metric"], table["numerator"], strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_average_precision_and_recall_are_scikit_learns(seed):
    """Where all that is relevant can be among the first 20 and all candidates are ranked."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 21))
    scores, relevant = rng.permutation(count).astype(float), rng.random(count) < 0.4
    relevant[rng.integers(count)] = True
    ranked = np.argsort(-scores).tolist()
    short = values(np.flatnonzero(relevant).tolist(), ranked)
    assert short["map@20"] == pytest.approx(average_precision_score(relevant, scores), abs=1e-12)
    for cut in metrics.CUTOFFS:
        chosen = np.isin(np.arange(count), ranked[:cut])
        assert short[f"recall@{cut}"] == pytest.approx(recall_score(relevant, chosen), abs=1e-12)


def test_worked_by_hand():
    assert values(["a", "b"], ["a", "x", "b", "y"])["map@20"] == pytest.approx((1 + 2 / 3) / 2)
    assert values(["a"], [*"wxyz", "a"]) == pytest.approx(  # one gold: the reciprocal rank, as Mewsli-X is scored
        {"map@20": 1 / 5, "recall@1": 0, "recall@5": 1, "recall@10": 1, "recall@20": 1}
    )
    late = [f"x{n}" for n in range(20)] + ["a"]
    assert set(values(["a"], late).values()) == {0}  # rank 21 is no rank
    many = [f"r{n}" for n in range(25)]
    assert values(many, many[:20])["map@20"] == 1  # no more than 20 can be found
    assert values(many, many[:20])["recall@20"] == 20 / 25
    assert task_metrics(get("lareqa")) == task_metrics(get("mewslix")) == ("map@20",)


# --- the search -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values_held", [6, 40, 2**25])
@pytest.mark.parametrize("centre", [False, True])
def test_the_search_is_that_of_the_sorted_cosines(monkeypatch, values_held, centre):
    monkeypatch.setattr(ranking, "BLOCK_VALUES", values_held)
    rng = np.random.default_rng(0)
    query_codes, pool_codes = np.array(["b", "a"] * 7), np.repeat(["a", "b", "c"], [19, 9, 30])
    queries, pool = (rng.normal(size=(len(codes), 6)).astype(np.float32) + 0.5 for codes in (query_codes, pool_codes))

    def normal(vectors, codes):
        if centre:
            vectors = vectors - np.array([vectors[codes == code].mean(axis=0) for code in codes])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    cosines = normal(queries, query_codes) @ normal(pool, pool_codes).T
    parts = {"a": range(19), "b": range(19, 28), "c": range(28, 58)}
    for code in ("a", "b"):
        rows, foreign = np.flatnonzero(query_codes == code), np.flatnonzero(pool_codes != code)
        vectors = retrieval.vectors(queries[rows], centre)
        anywhere, abroad = ranking.search(vectors, code, pool, parts, centre)
        for index, row in enumerate(rows):
            assert anywhere[0][index].tolist() == np.argsort(-cosines[row])[:20].tolist()
            assert abroad[0][index].tolist() == foreign[np.argsort(-cosines[row, foreign])[:20]].tolist()
            np.testing.assert_allclose(anywhere[1][index], np.sort(cosines[row])[::-1][:20], atol=1e-6)


@pytest.mark.parametrize("values_held", [2, 2**25])
def test_of_equally_similar_candidates_the_first_of_the_pool_counts(monkeypatch, values_held):
    monkeypatch.setattr(ranking, "BLOCK_VALUES", values_held)
    pool = np.array([[0, 1], [1, 0], [1, 0], [2, 0], [3, 0]], np.float32)
    parts = {"a": range(2), "b": range(2, 4), "c": range(4, 5)}
    anywhere, abroad = ranking.search(np.array([[1, 0]], np.float32), "b", pool, parts)
    assert anywhere[0].tolist() == [[1, 2, 3, 4, 0]]
    assert abroad[0].tolist() == [[1, 4, 0, -1, -1]]  # the query's own language is out, wherever the ties lie


# --- whole targets ----------------------------------------------------------------------------------------


def row(identity, language, *keys, text=None) -> dict:
    return {"id": identity, "text": text or identity, "language": language, "keys": list(keys)}


def test_answers_in_several_languages_and_the_querys_own(monkeypatch):
    """One question in two languages, its answer in both. Worked by hand: in aa the own answer is first and the other
    third; in bb a wrong one in the own language is first, then the own answer, then the other."""
    pool = {"aa": [row("aa_1", "aa", "q"), row("aa_2", "aa")], "bb": [row("bb_1", "bb", "q"), row("bb_2", "bb")]}
    queries = {"aa": [row("q", "aa", "q", text="ask a")], "bb": [row("q", "bb", "q", text="ask b")]}
    angles = {"ask a": 0, "aa_1": 5, "aa_2": 20, "bb_1": 40, "bb_2": 60, "ask b": 58}
    vectors = {text: (np.cos(np.radians(angle)), np.sin(np.radians(angle))) for text, angle in angles.items()}
    source = Rows(test=queries, pool=pool)
    stats, predictions, layers, encoded = retrieved(monkeypatch, "lareqa", source, ["aa", "bb"], vectors)
    assert predictions["prediction"].tolist() == ["aa_1 aa_2 bb_1 bb_2", "bb_2 bb_1 aa_2 aa_1"]
    scores = metrics.score(stats)
    same = {"recall@5": 100, "recall@10": 100, "recall@20": 100, "own@1": 100, "own@20": 50}
    # cross-lingual: bb_1 before bb_2, all of aa left out; aa_2 before aa_1
    expected = same | {"map@20": 100 * (1 + 2 / 3) / 2, "recall@1": 50, "cross_map@20": 100}
    assert scores.loc["aa"].to_dict() == pytest.approx(expected)
    expected = same | {"map@20": 100 * (1 / 2 + 2 / 4) / 2, "recall@1": 0, "cross_map@20": 50}
    assert scores.loc["bb"].to_dict() == pytest.approx(expected)
    assert [(length, len(texts)) for length, texts in encoded] == [(256, 4), (96, 2)]  # each side in one pass
    assert set(layers["layer"]) == {2} and len(layers) == 2 * len(get("lareqa").metrics)


def test_a_query_without_an_answer_is_left_out_and_a_language_without_any_is_named(monkeypatch):
    pool = {"aa": [row("aa_1", "aa", "q1"), row("aa_2", "aa")]}
    queries = {"aa": [row("q1", "aa", "q1"), row("q2", "aa", "q2")], "bb": [row("q3", "bb", "q3")]}
    vectors = dict.fromkeys(["aa_1", "aa_2", "q1", "q2", "q3"], (1.0, 0.0))
    stats, *_ = retrieved(monkeypatch, "lareqa", Rows(test=queries, pool=pool), ["aa"], vectors)
    assert set(stats["id"]) == {"q1"} and "cross_map@20" not in set(stats["metric"])  # no answer elsewhere
    with pytest.raises(UserError, match="bb: none of the 1 queries has a relevant candidate"):
        retrieved(monkeypatch, "lareqa", Rows(test=queries, pool=pool), ["aa", "bb"], vectors)
    twice = {"aa": pool["aa"], "bb": [row("aa_1", "bb")]}
    with pytest.raises(UserError, match="two candidates of a pool have the same id"):
        retrieved(monkeypatch, "lareqa", Rows(test=queries, pool=twice), ["aa"], vectors)


def test_a_pool_of_many_languages_in_one_set(monkeypatch):
    """Mewsli-X: the file of candidates is not parted by language; theirs need not be one of the queries'."""
    pool = {"mul": [row("Q1", "xx", "Q1"), row("Q2", "aa", "Q2"), row("Q3", "xx", "Q3")]}
    queries = {"aa": [row("m1", "aa", "Q2"), row("m2", "aa", "Q3")]}
    vectors = {"Q1": (1, 0), "Q2": (1, 1), "Q3": (0, 1), "m1": (1, 0.9), "m2": (1, 0.6)}
    source = Rows(test=queries, pool=pool)
    stats, predictions, _, encoded = retrieved(monkeypatch, "mewslix", source, ["aa"], vectors)
    assert predictions["prediction"].tolist() == ["Q2 Q1 Q3", "Q2 Q1 Q3"]
    by_query = stats.set_index(["metric", "id"])["numerator"]
    assert by_query["map@20"].tolist() == pytest.approx([1, 1 / 3])
    assert by_query["cross_map@20"].to_dict() == {"m2": 0.5}  # m1's entity is described in its own language
    assert [length for length, _ in encoded] == [64, 64]


# --- the micro-world --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def micro():
    return MicroSource(MicroSettings(ranking=Sizes(train=40, test=30)))


def test_every_micro_query_has_its_answers_and_no_other(micro):
    plans = _passages(micro.examples.world, 30)
    stories = [(number, index, line) for number, plan in enumerate(plans) for index, line in enumerate(plan["context"])]
    for number, plan in enumerate(plans):
        question = plan["question"][0]
        right = [story[:2] for story in stories if matches(question.clause, story[2].clause, question.ask)]
        assert right == [(number, plan["told"][0])]
    pools = [micro.load(get("lareqa"), "pool", code) for code in LANGUAGE_CODES]
    assert len({identity for pool in pools for identity in pool["id"]}) == 8 * 90
    assert all(sum(map(bool, pool["keys"])) == 30 for pool in pools)
    people = _people(micro.examples.world, "test", 200)  # more than there are names
    for entity in people:
        clause = entity["told"].clause
        assert [p for p in people if p["person"] == entity["person"] and clause.object in p.values()] == [entity]


@pytest.mark.parametrize("split", ["test", "pool"])
def test_a_set_larger_than_the_world_is_refused(split):
    large, task = MicroSource(MicroSettings(ranking=Sizes(train=2000, test=1537))), get("mewslix")
    large.check([(task, "train", ["qaa"]), (get("lareqa"), "test", ["qaa"])], text=False)
    for refused in (lambda: large.check([(task, split, ["qab"])], text=False), lambda: large.load(task, split, "qab")):
        with pytest.raises(UserError, match=r"micro.ranking.test: 1537, and mewslix has 1536 people at most"):
            refused()


# --- the original files -----------------------------------------------------------------------------------


def span(text: str, context: str) -> dict:
    start = context.index(text)
    return {"start": start, "end": start + len(text), "text": text}


ARTICLE = "Transit strike in Helsinki\n\nThe trade union in {Greater} Helsinki struck.  It went on."
MENTION = {"example_id": "m1", "entity_id": "Q1757", "mention_span": span("union", ARTICLE)}
CONTEXT = {
    "document_title": "Transit strike", "document_id": "en-34985", "language": "en", "text": ARTICLE,
    "sentence_spans": [{"start": 0, "end": 26}, {"start": 28, "end": 73}, {"start": 75, "end": 86}],
}  # fmt: skip
ENTITY = {
    "entity_id": "Q1757", "title": "Gewerkschaft", "description_language": "de", "description_url": "",
    "description": "Eine Gewerkschaft. Sie\nstreikt.",
    "sentence_spans": [{"start": 0, "end": 18}, {"start": 19, "end": 31}],
}  # fmt: skip


@pytest.fixture
def mewslix(tmp_path):
    """The layout of XTREME's download, one line of each file; the test set without its gold, as there."""
    lines = {
        "candidate_set_entities.jsonl": ENTITY,
        "wikipedia_pairs-train.jsonl": {
            "contextual_mention": {"context": CONTEXT, "mention": MENTION}, "entity": ENTITY,
        },
        "wikinews_mentions/dev-en.jsonl": {"context": CONTEXT, "mentions": [MENTION]},
        "wikinews_mentions/test-en.jsonl": {"context": CONTEXT, "mentions": [MENTION | {"entity_id": ""}]},
    }  # fmt: skip
    (tmp_path / "mewslix/wikinews_mentions").mkdir(parents=True)
    for name, record in lines.items():
        (tmp_path / "mewslix" / name).write_text(json.dumps(record, ensure_ascii=False) + "\n", "utf-8")
    return tmp_path


def test_mewsli_x_as_xtreme_lays_it_out(mewslix):
    source, task = FilesSource(FilesSettings(root=str(mewslix))), TASKS["mewslix"]
    languages = [source.languages(task, split) for split in ("train", "dev", "test", "pool")]
    assert languages == [["en"], ["en"], [], ["mul"]]
    query = "union: The trade { union } in (Greater) Helsinki struck."
    assert source.load(task, "dev", "en")[0] == {"id": "m1", "text": query, "language": "en", "keys": ["Q1757"]}
    german = {"id": "Q1757", "text": "Eine Gewerkschaft. Sie streikt.", "language": "de", "keys": ["Q1757"]}
    assert source.load(task, "pool", "mul")[0] == german
    assert source.load(task, "train", "en")[0] == {"id": "m1", "query": query, "candidate": german["text"]}
    with pytest.raises(UserError, match="without gold"):
        source.load(task, "test", "en")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": ""}, r"dev-en.jsonl:1: the mention 'union' does not stand at .* which is empty; get-mewsli-x.sh"),
        ({"sentence_spans": []}, r"dev-en.jsonl:1: the mention 'union' at .* lies in none of the article's sentences"),
    ],
)
def test_a_mention_that_is_not_there_is_named(mewslix, changes, message):
    path = mewslix / "mewslix/wikinews_mentions/dev-en.jsonl"
    path.write_text(json.dumps({"context": CONTEXT | changes, "mentions": [MENTION]}) + "\n", "utf-8")
    with pytest.raises(UserError, match=message):
        read("mewslix_mentions", path)
