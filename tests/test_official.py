"""Answers and rankings scored as the official scripts score them, on real sets in five scripts, unanswerable questions
included."""

import random
import zlib

import numpy as np
import pytest
from datasets import concatenate_datasets

from xstilts.evaluation import metrics, ranking
from xstilts.io import ROOT
from xstilts.settings import FilesSettings
from xstilts.sources.files import FilesSource
from xstilts.tasks import get

# Exact match and F1 that others' scripts gave of the predictions below: evaluate-v1.1.py as it stands in XTREME's
# third_party/evaluate_squad.py (XQuAD, TyDiQA), SQuAD's evaluate-v2.0.py, MLQA's mlqa_evaluation_v1.py (5ef5c73).
OFFICIAL = [
    ("xquad", "test", "en", 632, 46.835443037974684, 63.51332821902444),
    ("xquad", "test", "de", 632, 48.734177215189874, 65.81654822813584),
    ("xquad", "test", "hi", 632, 47.78481012658228, 65.37823059038084),
    ("xquad", "test", "th", 632, 52.53164556962025, 63.14794646281989),
    ("xquad", "test", "zh", 632, 54.90506329113924, 61.447453741757535),
    ("tydiqa", "dev", "en", 440, 46.81818181818182, 68.7768795730398),
    ("tydiqa", "dev", "ko", 276, 52.17391304347826, 64.40008429000892),
    ("squad2", "dev", "en", 2100, 47.04761904761905, 56.216867832395565),
    ("mlqa", "dev", "en", 400, 57.25, 73.84023291286717),
    ("mlqa", "dev", "de", 400, 45.25, 71.8687947673242),
    ("mlqa", "dev", "zh", 400, 51.0, 74.26304029514468),
]


def spoilt(rows) -> list[str]:
    """Answers as a middling system might give them: right, cut, too long, reworded, or none."""
    rng, predictions = random.Random(0), []
    for context, answers in zip(rows["context"][:], rows["answers"][:], strict=True):
        if not answers["text"]:
            predictions.append(rng.choice(["", context[:12]]))
            continue
        number = rng.randrange(len(answers["text"]))
        text, start = answers["text"][number], answers["answer_start"][number]
        words = text.split()
        rng.shuffle(words)
        longer = context[max(0, start - 9) : start + len(text) + 9]
        predictions.append(rng.choice([
            text, f"«{text}».", text.upper(), text[: len(text) // 2], longer, " ".join(words), f"the {text}",
            "" if rng.random() < 0.5 else context[:20],
        ]))  # fmt: skip
    return predictions


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
@pytest.mark.parametrize(("name", "split", "language", "count", "exact_match", "f1"), OFFICIAL)
def test_scores_are_those_of_the_official_scripts(name, split, language, count, exact_match, f1):
    task = get(name)
    rows = FilesSource(FilesSettings()).load(task, split, language)
    assert len(rows) == count, "another set than was scored"
    gold = [answers["text"] for answers in rows["answers"][:]]
    scores = metrics.score(metrics.span(rows["id"][:], gold, spoilt(rows), language, task.scorer)).loc[language]
    assert scores.to_dict() == pytest.approx({"exact_match": exact_match, "f1": f1}, abs=1e-9)


# mAP@20 that XTREME's third_party/utils_lareqa.py (838c13b, mean_avg_prec_at_k) gave of the vectors below: questions of
# one language, and of all, among the sentences of all: several are right, in every language, its own included.
OFFICIAL_LAREQA = {
    "en": 39.82345719550293, "de": 39.65039063735992, "es": 43.353443994786886, "hi": 44.638944672902284,
    "th": 37.64494186999419, "zh": 33.364636535222225, "all": 39.74596915096141,
}  # fmt: skip


def text_vector(name: str, keys: list[str], language: str) -> np.ndarray:
    """Near to what shares a key, and to what is in the same language."""
    parts = [(1.0, key) for key in sorted(keys)] + [(0.4, language)] + [(0.4, name)] * bool(name)
    frozen = (weight * np.random.RandomState(zlib.crc32(part.encode())).normal(size=16) for weight, part in parts)
    vector = sum(frozen, np.zeros(16))
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
def test_rankings_are_scored_as_by_the_official_script():
    source, task = FilesSource(FilesSettings()), get("lareqa")
    codes = source.languages(task, "test")
    pool = ranking.Pool(concatenate_datasets([source.load(task, "pool", code) for code in codes]))
    assert len(pool.rows) == 2116, "another set than was scored"
    vectors = np.array([text_vector(row["id"], row["keys"], row["language"]) for row in pool.rows])
    scores = {}
    for code in codes:
        queries, gold = pool.answerable(source.load(task, "test", code), code)
        states = np.array([text_vector("", keys, code) for keys in queries["keys"][:]])
        stats, *_ = pool.scored(queries["id"][:], gold, (states, vectors), False, code)
        scores[code] = metrics.score(stats).loc[code, "map@20"]
    scores["all"] = np.mean(list(scores.values()))  # as many questions in each language
    assert scores == pytest.approx(OFFICIAL_LAREQA, abs=1e-9)
