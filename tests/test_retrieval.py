"""Pooled states against one text at a time; search, mining and thresholds against their definitions."""

import numpy as np
import pytest
import torch
import transformers

from gold import Rows, retrieved
from toy import TEXT, build_checkpoint
from xstilts.errors import UserError
from xstilts.evaluation import metrics, prediction, retrieval
from xstilts.settings import RetrievalSettings
from xstilts.tasks import get

TEXTS = [*TEXT, "308", "Punkte ab.", TEXT[0], "The Panthers " * 20]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("checkpoint"))


# --- pooled states --------------------------------------------------------------------------------------


POOLED = {  # of one text's states, <s> first and </s> last
    ("mean", True): lambda states: states.mean(dim=0),
    ("mean", False): lambda states: states[1:-1].mean(dim=0) if len(states) > 2 else states.mean(dim=0),
    ("cls", True): lambda states: states[0],
}


@pytest.mark.parametrize(("pooling", "special"), POOLED)
def test_states_are_those_of_each_text_alone(checkpoint, monkeypatch, pooling, special):
    """Every layer in one pass; an unknown sign is a token of the text's own, an empty text has none."""
    encoder = transformers.AutoModel.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    texts, layers, passes = [*TEXTS, "☃ 308", ""], [2, 0, 1], []
    assert tokenizer.unk_token_id in tokenizer("☃ 308")["input_ids"]
    settings = RetrievalSettings(pooling=pooling, special_tokens=special)
    monkeypatch.setattr(prediction, "BATCH_TOKENS", 60)
    with encoder.register_forward_pre_hook(lambda *_: passes.append(1)):
        pooled = retrieval.embed(encoder, tokenizer, texts, layers, settings, max_length=24)
    assert pooled.shape == (3, len(texts), 32) and pooled.dtype == np.float32 and len(passes) < len(texts)
    for number, text in enumerate(texts):
        inputs = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        with torch.no_grad():
            states = encoder(**inputs, output_hidden_states=True).hidden_states
        for index, layer in enumerate(layers):
            np.testing.assert_allclose(pooled[index, number], POOLED[pooling, special](states[layer][0]), atol=1e-5)
    assert (pooled[:, 0] == pooled[:, texts.index(TEXT[0], 1)]).all()  # equal texts, equal states, to the bit
    assert isinstance(pooled, np.memmap) and not isinstance(retrieval.vectors(pooled[0], centre=False), np.memmap)


def test_layers_are_counted_from_either_end():
    assert RetrievalSettings(layer=-1, layers=(0, 3, -2)).indices(3) == [3, 0, 2]
    assert RetrievalSettings(layer=1, layers="all").indices(3) == [1, 0, 2, 3]
    with pytest.raises(UserError, match=r"retrieval.layer: 3, and the encoder has 2 layers"):
        RetrievalSettings(layer=3).indices(2)
    with pytest.raises(UserError, match=r"retrieval.layers: -4, and"):
        RetrievalSettings(layers=(1, -4)).indices(2)


def test_a_diverged_encoder_is_no_score_of_zero(checkpoint):
    diverged = transformers.AutoModel.from_pretrained(checkpoint)
    torch.nn.init.constant_(diverged.get_input_embeddings().weight, float("nan"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    with pytest.raises(ValueError, match="diverged"):
        retrieval.embed(diverged, tokenizer, TEXTS, [2], RetrievalSettings(), 24)


# --- search and mining ----------------------------------------------------------------------------------


def unit_rows(rng, rows: int, width: int = 6, shift: float = 0.8) -> np.ndarray:
    return retrieval.normalise(rng.normal(size=(rows, width)) + shift)


@pytest.mark.parametrize("cells", [3, 10, 2048])
def test_neighbours_are_those_of_the_sorted_similarities(monkeypatch, cells):
    monkeypatch.setattr(retrieval, "TILE", cells)
    rng = np.random.default_rng(0)
    queries, candidates = unit_rows(rng, 23), unit_rows(rng, 17)
    index, cosines = retrieval.nearest(queries, candidates, 5)
    similar = queries @ candidates.T
    assert (index == np.argsort(-similar, axis=1)[:, :5]).all()
    np.testing.assert_allclose(cosines, -np.sort(-similar, axis=1)[:, :5], atol=1e-12)
    assert retrieval.nearest(queries, candidates[:3], 5)[0].shape == (23, 3)
    assert (retrieval.nearest(queries, np.repeat(candidates[:1], 4, axis=0))[0] == 0).all()  # the first of equals


def mined_by_definition(foreign: np.ndarray, source: np.ndarray, k: int = 4) -> list[tuple[float, int, int]]:
    """Ratio margin mining, sentence by sentence."""
    cosine = {(i, j): float(x @ y) for i, x in enumerate(foreign) for j, y in enumerate(source)}
    near_foreign = {i: sorted(range(len(source)), key=lambda j: -cosine[i, j])[:k] for i in range(len(foreign))}
    near_source = {j: sorted(range(len(foreign)), key=lambda i: -cosine[i, j])[:k] for j in range(len(source))}

    def margin(i, j):
        around = [cosine[i, other] for other in near_foreign[i]], [cosine[other, j] for other in near_source[j]]
        return cosine[i, j] / sum(sum(cosines) / (2 * len(cosines)) for cosines in around)

    proposed = [max((margin(i, j), i, j) for j in near) for i, near in near_foreign.items()]
    proposed += [max((margin(i, j), i, j) for i in near) for j, near in near_source.items()]
    mined = []
    for score, i, j in sorted(proposed, reverse=True):
        if score > 0 and all(i != left and j != right for _, left, right in mined):
            mined.append((score, i, j))
    return mined


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sizes", [(30, 25), (3, 12), (1, 1)])
def test_mining_follows_its_definition(monkeypatch, seed, sizes):
    monkeypatch.setattr(retrieval, "TILE", 12)
    rng = np.random.default_rng(seed)
    foreign, source = unit_rows(rng, sizes[0]), unit_rows(rng, sizes[1])
    mined, expected = retrieval.mine(foreign, source), mined_by_definition(foreign, source)
    assert [pair[1:] for pair in mined] == [pair[1:] for pair in expected]
    np.testing.assert_allclose([pair[0] for pair in mined], [pair[0] for pair in expected], rtol=0, atol=1e-9)


def test_thresholds_by_hand():
    """Three gold pairs. F1 of the first one to four that are mined: 2/4, 2/5, 4/6, 4/7; of the third the margin is
    1.3, of the next 1.1."""
    mined = [(1.5, "zh-1", "en-1"), (1.4, "ru-2", "en-9"), (1.3, "de-3", "en-3"), (1.1, "fr-4", "en-8")]
    gold = {"zh-1": ["en-1"], "ru-2": ["en-2"], "de-3": ["en-3"], "fr-4": []}
    assert retrieval.best_threshold(mined, gold) == pytest.approx(1.2, abs=1e-12)
    ends = [(1.2, "f0", "s0"), (1.1, "f1", "s1")]
    assert retrieval.best_threshold(ends, {"f0": ["s0"], "f1": ["s1"]}) == 1.1  # all are right: the last one's margin
    assert retrieval.best_threshold(ends, {"f0": ["s9"], "f1": []}) == 0  # none is: all are taken, as in the script


# --- whole targets --------------------------------------------------------------------------------------


def percent(stats) -> list[float]:
    """The main metric of every language."""
    scores = metrics.score(stats)
    return scores["accuracy" if "accuracy" in scores else "f1"].tolist()


def parallel_rows(queries, candidates) -> list[dict]:
    pairs = enumerate(zip(queries, candidates, strict=True))
    return [{"id": str(n), "query": query, "candidate": candidate} for n, (query, candidate) in pairs]


def test_gold_states_find_every_parallel_sentence_and_every_layer_has_its_score(monkeypatch):
    queries, candidates, meanings = [f"e{n}" for n in range(4)], [f"f{n}" for n in range(4)], np.eye(4)
    vectors = dict(zip([*queries, *candidates], [*meanings, *meanings], strict=True))
    rows = Rows(test=parallel_rows(queries, candidates))
    stats, predictions, layers, encoded = retrieved(monkeypatch, "tatoeba", rows, "xy", vectors, layers="all")
    assert percent(stats) == [100, 100] and len(stats) == (2 + 4) * 8  # both ways, and recall at four depths
    assert (predictions["prediction"] == predictions["id"]).all()
    assert sum(len(texts) for _, texts in encoded) == 3 * 4  # the source-language side is the same for both languages
    accuracy = layers[layers["metric"] == "accuracy"][["language", "layer", "score"]].values.tolist()
    # where all are alike the first candidate is nearest: right once in four
    assert accuracy == [[code, layer, score] for code in "xy" for layer, score in ((2, 100), (0, 25), (1, 25))]
    assert set(layers["metric"]) == {*get("tatoeba").metrics, "cka", "cosine_margin"}
    aligned = layers.query("layer == 2 and language == 'y'").set_index("metric")["score"]
    assert aligned["cka"] == pytest.approx(100) and aligned["cosine_margin"] == pytest.approx(100)
    assert set(retrieved(monkeypatch, "tatoeba", rows, "x", vectors)[2]["layer"]) == {2}


FOUR_SCRIPTS = {  # foreign sentence -> the English one whose state is nearest to its own, 0 to 2
    "zh": {"你好。": 0, "谢谢你。": 1, "NBA 总决赛在六月。": 2},
    "th": {"สวัสดี": 0, "ขอบคุณ": 1, "ดู NBA ในเดือนมิถุนายน": 1},
    "ar": {"مرحبا": 1, "شكرا": 1, "نهائي NBA في يونيو": 0},
    "ru": {"Привет.": 1, "Спасибо.": 2, "Финал NBA в июне.": 0},
}


def test_tatoeba_by_hand_in_four_scripts(monkeypatch):
    """Of what is equally near the first counts: at th for the last English sentence, at ar for the last two."""
    english, states = ["Hello.", "Thank you.", "The NBA final is in June."], np.eye(3)
    vectors = {text: states[n] for texts in FOUR_SCRIPTS.values() for text, n in texts.items()}
    vectors |= dict(zip(english, states, strict=True))
    source = Rows(test={code: parallel_rows(english, texts) for code, texts in FOUR_SCRIPTS.items()})
    stats, predictions, *_ = retrieved(monkeypatch, "tatoeba", source, FOUR_SCRIPTS, vectors)
    scores = metrics.score(stats)
    ranked_first = predictions.groupby("language", sort=False)["prediction"].apply(" ".join).to_dict()
    assert ranked_first == {"zh": "0 1 2", "th": "0 1 0", "ar": "2 0 0", "ru": "2 0 1"}
    assert (scores["accuracy"] * 3).round(9).to_dict() == {"zh": 300, "th": 200, "ar": 0, "ru": 0}
    # at ar the other direction would find every English sentence: the source language is the query
    assert (scores["reverse_accuracy"] * 3).round(9).to_dict() == {"zh": 300, "th": 200, "ar": 100, "ru": 0}


def test_centring_takes_away_what_a_language_has_in_common(monkeypatch):
    meanings = np.random.default_rng(0).normal(size=(40, 2))
    vectors = {f"{side}{n}": row + (side == "f") * 2 for n, row in enumerate(meanings) for side in "ef"}
    rows = Rows(test=parallel_rows([f"e{n}" for n in range(40)], [f"f{n}" for n in range(40)]))
    assert percent(retrieved(monkeypatch, "tatoeba", rows, "x", vectors, centre=True)[0]) == [100]
    assert percent(retrieved(monkeypatch, "tatoeba", rows, "x", vectors, centre=False)[0])[0] < 50


def test_recall_of_a_parallel_set_counts_every_rank(monkeypatch):
    """One sentence is right, and recall@1 is accuracy."""
    rng = np.random.default_rng(0)
    queries, candidates = (retrieval.normalise(rng.normal(size=(40, 4))) for _ in range(2))
    names = [[f"{side}{n}" for n in range(40)] for side in "ef"]
    vectors = dict(zip([*names[0], *names[1]], [*queries, *candidates], strict=True))
    stats, *_ = retrieved(monkeypatch, "tatoeba", Rows(test=parallel_rows(*names)), ["xx"], vectors)
    cosines = queries @ candidates.T
    ranks = (cosines >= np.diag(cosines)[:, None]).sum(axis=1)
    scores = metrics.score(stats).loc["xx"]
    for cut in metrics.CUTOFFS:
        assert scores[f"recall@{cut}"] == pytest.approx(100 * (ranks <= cut).mean())
    assert scores["recall@1"] == scores["accuracy"]


@pytest.mark.parametrize("count", [37, 250, 1001])
def test_of_equal_candidates_the_first_counts(count):
    """In a product of matrices the columns of equal vectors may differ in the last digit."""
    rng = np.random.default_rng(count)
    queries, candidates = (retrieval.normalise(rng.normal(size=(count, 48)).astype(np.float32)) for _ in range(2))
    order = rng.permutation(2 * count)
    twice = np.concatenate([candidates, candidates])[order]
    first = np.minimum(*(np.argsort(order)[part : part + count] for part in (0, count)))  # of both copies
    index, cosines = retrieval.nearest(queries, twice, 4)
    alone = retrieval.nearest(queries, candidates, 2)[0]
    assert (index[:, 0] == first[alone[:, 0]]).all() and (index[:, 2] == first[alone[:, 1]]).all()
    assert (index[:, 1] > index[:, 0]).all() and (cosines[:, 1] == cosines[:, 0]).all()
    both, searches = retrieval._neighbours(queries, twice, 4), [(queries, twice), (twice, queries)]
    for ranked, sides in zip(both, searches, strict=True):  # one product is as good as two
        expected = retrieval.nearest(*sides, 4)
        assert (ranked[0] == expected[0]).all()
        np.testing.assert_allclose(ranked[1], expected[1], atol=1e-6)


def test_margins_of_a_handful_of_centred_vectors_stay_small():
    """The mean of their cosines is about 0, of which a margin would be a multiple."""
    for count in (2, 3, 4, 6):
        x = np.random.default_rng(count).normal(size=(count, 16)).astype(np.float32)
        sides = [retrieval.vectors(side, True) for side in (x, x + 0.1)]
        mined = retrieval.mine(*sides)
        assert sorted((left, right) for _, left, right in mined) == [(row, row) for row in range(count)]
        assert all(0 < margin <= 1 / retrieval.LEAST + 1e-4 for margin, *_ in mined)


def mining_rows(name: str, foreign: int, source: int, pairs: int) -> list[dict]:
    return [
        {"id": f"{name}-{side[0]}{n}", "text": f"{name} {side} {n}", "side": side,
         "gold": [f"{name}-{other[0]}{n}"] if n < pairs else []}
        for side, other, count in (("foreign", "source", foreign), ("source", "foreign", source))
        for n in range(count)
    ]  # fmt: skip


def mining_vectors(rows: list[dict], rng, noise: float = 0.0) -> dict[str, np.ndarray]:
    """Paired sentences share a meaning; every other one has its own."""
    meanings: dict[str, np.ndarray] = {}
    for row in rows:
        key = min([row["id"], *row["gold"]])
        meanings.setdefault(key, rng.normal(size=24) + 1)
    return {row["text"]: meanings[min([row["id"], *row["gold"]])] + noise * rng.normal(size=24) for row in rows}


def test_gold_states_mine_every_pair_and_every_layer_has_its_own_threshold(monkeypatch):
    rng = np.random.default_rng(0)
    dev, test = mining_rows("dev", 20, 25, 10), mining_rows("test", 60, 50, 30)
    vectors = mining_vectors(dev, rng) | mining_vectors(test, rng)
    sets = Rows(dev=dev, test=test)
    stats, predictions, layers, _ = retrieved(monkeypatch, "bucc", sets, ["xx"], vectors, layers=(0, -1))
    assert percent(stats) == [100]
    mined = predictions[predictions["prediction"] != ""]
    assert list(zip(mined["id"], mined["prediction"], strict=True)) == [(f"test-f{n}", f"test-s{n}") for n in range(30)]
    assert len(stats) == len(predictions) == 60  # a row per foreign sentence
    scores = layers.set_index("layer")["score"]
    assert scores[2] == 100
    assert scores[0] == pytest.approx(100 * 2 / (1 + 30))  # all alike: of 30 pairs the first alone is mined


def test_the_threshold_is_the_development_sets(monkeypatch):
    rng = np.random.default_rng(3)
    dev, test = mining_rows("dev", 40, 40, 35), mining_rows("test", 80, 80, 10)
    vectors = mining_vectors(dev, rng, 0.6) | mining_vectors(test, rng, 0.6)

    def f1(split="test", **sets):
        return percent(retrieved(monkeypatch, "bucc", Rows(**sets), ["xx"], vectors, split)[0])[0]

    assert 0 < f1(dev=dev, test=test) < f1(dev=test, test=test) == f1("dev", dev=test)


def test_a_sentence_that_occurs_twice_is_never_mined(monkeypatch):
    rows = mining_rows("test", 12, 12, 10)
    vectors = mining_vectors(rows, np.random.default_rng(0))
    first, last, other, last_other = rows[0], rows[11], rows[12 + 1], rows[12 + 11]
    last["text"] = first["text"] + " "  # the official script compares without outer white space
    vectors[last["text"]] = vectors[first["text"]]
    last_other["text"] = other["text"]
    stats, predictions, *_ = retrieved(monkeypatch, "bucc", Rows(dev=rows, test=rows), ["xx"], vectors)
    mined = predictions.set_index("id")["prediction"]
    assert (mined[["test-f0", "test-f1", "test-f11"]] == "").all()
    assert percent(stats)[0] == pytest.approx(100 * 2 * 8 / (8 + 10), abs=1e-9)  # the two pairs stay in the gold
