"""Ranking in one pool of candidates of all languages: LAReQA and Mewsli-X as XTREME-R scores them.

A query's relevant candidates are those that share a key with it, in every language, its own included: so
XTREME-R's ``utils_lareqa`` has it. (Its mAP is over the questions of all languages together; the mean over
languages is the same where all have as many.) Beside the official scores:

* ``cross_map@20``: mAP@20 without the candidates in the query's own language, relevant or not. Queries that have
  no relevant candidate in another language are left out of it.
* ``own@1``, ``own@20``: the share of the first, and of the first 20, that are in the query's own language: language
  bias, where it exceeds the language's share of the pool.

Of equally similar candidates the first of the pool counts: languages in the order of the source, in each the order
of its set. The official scripts leave ties to an unstable sort and to FAISS.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets

from xstilts.errors import UserError
from xstilts.evaluation import metrics
from xstilts.evaluation.prediction import database
from xstilts.evaluation.retrieval import CHUNK, LanguageResult, Pooler, layer_scores, nearest, vectors
from xstilts.features import PAIR_LENGTHS
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.target_runs import pool_languages
from xstilts.tasks import POOL, Task

DEPTH = metrics.CUTOFFS[-1]
BLOCK_VALUES = 2**25  # of candidates' vectors held at a time: 128 MiB

Ranked = tuple[np.ndarray, np.ndarray]  # rows of the pool and cosines, best first: both (queries, DEPTH at most)


def rank(
    task: Task,
    source: Source,
    languages: list[str],
    split: str,
    checkpoint: Path,
    study: Study,
    tuned: bool = False,
) -> Iterator[LanguageResult]:
    """As :func:`.retrieval.retrieve`, for a ranking task; a prediction is the first 20 ids, with blanks between.

    The pool and the queries of all languages go through the encoder once, and their vectors to files; then those of
    one language at a time ask. UserError for a language without a query that has a relevant candidate; single ones
    are left out (as by the official script).
    """
    pooler = Pooler(checkpoint, study, tuned)
    longest = PAIR_LENGTHS[study.training_task(task).kind]
    codes = pool_languages(study, source, task)
    pool = Pool(concatenate_datasets([source.load(task, POOL, code) for code in codes]))
    sets = [pool.answerable(source.load(task, split, code), code) for code in languages]
    candidates = pooler.states(pool.rows["text"], longest[1])
    query_states = pooler.states(concatenate_datasets(sets)["text"], longest[0])
    start = 0
    for language, queries in zip(languages, sets, strict=True):
        curve: list[pd.DataFrame] = []
        for number, layer in enumerate(pooler.layers):
            own = vectors(query_states[number, start : start + len(queries)], pooler.settings.centre)
            ranked = search(own, language, candidates[number], pool.parts, pooler.settings.centre)
            layer_stats = pool.stats(queries, ranked, language)
            curve.append(layer_scores(layer_stats, layer))
            if number == 0:  # the main layer
                stats, first = layer_stats, [" ".join(pool.ids(rows)) for rows in ranked[0][0].tolist()]
        predictions = pd.DataFrame({"language": language, "id": queries["id"][:], "prediction": first})
        yield stats, predictions, pd.concat(curve, ignore_index=True)
        start += len(queries)


class Pool:
    """The candidates, and which of them are relevant to which query. What is known of them by name lies in a file.

    ``rows``: those of a language together, languages and rows in the order they came; ``parts``: language and end of
    each.
    """

    def __init__(self, rows: Dataset):
        codes, numbers = dict[str, int](), array("h")
        for part in rows.select_columns("language").iter(CHUNK):
            numbers.extend(codes.setdefault(code, len(codes)) for code in part["language"])
        order = np.argsort(numbers, kind="stable")
        self.rows = rows if (np.diff(order) == 1).all() else rows.select(order)
        self.parts = list(zip(codes, np.bincount(numbers).cumsum().tolist(), strict=True))
        self._known = database(
            "CREATE TABLE ids (row INTEGER PRIMARY KEY, id TEXT)",
            "CREATE TABLE keys (key TEXT, row INTEGER, PRIMARY KEY (key, row)) WITHOUT ROWID",
        )
        count = 0
        for part in self.rows.select_columns(["id", "keys"]).iter(CHUNK):
            numbered = range(count, count + len(part["id"]))
            self._known.executemany("INSERT INTO ids VALUES (?, ?)", zip(numbered, part["id"], strict=True))
            held = [(key, row) for row, keys in zip(numbered, part["keys"], strict=True) for key in keys]
            self._known.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", held)
            count = numbered.stop
        if self._select("SELECT 1 FROM ids GROUP BY id HAVING count(*) > 1 LIMIT 1"):
            raise UserError("two candidates of a pool have the same id; expected ids that are unique in all languages")

    def _select(self, query: str, *values: str | int) -> list:
        return [value for (value,) in self._known.execute(query, values)]

    def ids(self, rows: list[int]) -> list[str]:
        return [self._select("SELECT id FROM ids WHERE row = ?", row)[0] for row in rows]

    def of(self, keys: list[str]) -> list[int]:
        """Rows of the candidates that have one of these keys."""
        return sorted({row for key in keys for row in self._select("SELECT row FROM keys WHERE key = ?", key)})

    def languages(self, rows: list[int]) -> np.ndarray:
        codes, ends = zip(*self.parts, strict=True)
        return np.array(codes)[np.searchsorted(ends, rows, side="right")]

    def answerable(self, queries: Dataset, language: str) -> Dataset:
        """The queries that have a relevant candidate."""
        answered = [row for row, keys in enumerate(queries["keys"][:]) if self.of(keys)]
        if not answered:
            raise UserError(
                f"{language}: none of the {len(queries)} queries has a relevant candidate in the pool; expected the "
                "candidates of the same set, in the languages of the study"
            )
        return queries.select(answered)

    def stats(self, queries: Dataset, ranked: tuple[Ranked, Ranked], language: str) -> pd.DataFrame:
        """Statistics of the queries of one language. ``ranked``: their candidates, of any language and of any
        but their own."""
        ids, gold = queries["id"][:], [self.of(keys) for keys in queries["keys"][:]]
        anywhere, abroad = ([[at for at in row if at >= 0] for row in places.tolist()] for places, _ in ranked)
        tables = [metrics.ranking(ids, gold, anywhere, language)]
        foreign = [np.array(right)[self.languages(right) != language].tolist() for right in gold]
        columns_abroad = [index for index, right in enumerate(foreign) if right]
        if columns_abroad:
            columns: Any = ([values[index] for index in columns_abroad] for values in (ids, foreign, abroad))
            cross = metrics.ranking(*columns, language)  # type: ignore[call-arg]  # three columns
            tables.append(cross[cross["metric"] == "map@20"].assign(metric="cross_map@20"))
        for cut in (1, DEPTH):
            own = [float((self.languages(places[:cut]) == language).sum()) for places in anywhere]
            counts = [float(len(places[:cut])) for places in anywhere]
            table = pd.DataFrame({"id": ids, "metric": f"own@{cut}", "numerator": own, "denominator": counts})
            tables.append(table.assign(language=language))
        return pd.concat(tables, ignore_index=True)[metrics.COLUMNS]


def search(
    queries: np.ndarray, language: str, pool: np.ndarray, parts: list[tuple[str, int]], centre: bool = False
) -> tuple[Ranked, Ranked]:
    """The candidates nearest to each query of a ``language``: those of any language, and those of any but its own.

    ``queries``: vectors of length 1 (queries, width); ``pool``: pooled states (rows, width), those of a language
    together, as ``parts`` says (language, end); ``centre``: less the mean of their language. The pool may lie in a
    file: a block of it is in memory at a time. Where a query has fewer candidates its last rows are -1.
    """
    depth = min(DEPTH, len(pool))
    empty = np.full((len(queries), depth), -1), np.full((len(queries), depth), -np.inf, np.float32)
    anywhere = abroad = empty
    height, start = max(1, BLOCK_VALUES // pool.shape[1]), 0
    for part_language, stop in parts:
        mean = pool[start:stop].mean(axis=0) if centre else 0.0
        for first in range(start, stop, height):
            block = vectors(np.asarray(pool[first : min(first + height, stop)]) - mean, False)
            rows, cosines = nearest(queries, block, depth)
            anywhere = _merged(anywhere, (rows + first, cosines))
            if part_language != language:
                abroad = _merged(abroad, (rows + first, cosines))
        start = stop
    return anywhere, abroad


def _merged(best: Ranked, more: Ranked) -> Ranked:
    """The best of either, as many as in ``best``; of equals those of ``best`` first."""
    rows, cosines = (np.concatenate(pair, axis=1) for pair in zip(best, more, strict=True))
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : best[0].shape[1]]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
