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

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets

from xstilts.errors import UserError
from xstilts.evaluation import metrics
from xstilts.evaluation.retrieval import CHUNK, LanguageResult, LayerResult, Pooler, language_result, nearest, vectors
from xstilts.features import PAIR_LENGTHS
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.target_runs import pool_languages
from xstilts.tasks import POOL, Task

DEPTH = metrics.CUTOFFS[-1]
BLOCK_VALUES = 2**25  # of candidates' vectors held at a time: 128 MiB

Ranked = tuple[np.ndarray, np.ndarray]  # rows of the pool and cosines, best first: both (queries, DEPTH at most)


def rank(
    task: Task, source: Source, languages: list[str], split: str, checkpoint: Path, study: Study, tuned: bool = False
) -> Iterator[LanguageResult]:
    """As :func:`.retrieval.retrieve`, for a ranking task; a prediction is the first 20 ids, with blanks between.

    The pool and the queries of all languages go through the encoder once, and their vectors to files; then those of
    one language at a time are ranked. UserError for a language without a query that has a relevant candidate; single
    ones are left out (as by the official script).
    """
    pooler = Pooler(checkpoint, study, tuned)
    longest = PAIR_LENGTHS[study.training_task(task).kind]
    pool = Pool(concatenate_datasets([source.load(task, POOL, code) for code in pool_languages(study, source, task)]))
    sets = [pool.answerable(source.load(task, split, code), code) for code in languages]
    candidates = pooler.states(pool.rows["text"], longest[1])
    query_states = pooler.states(concatenate_datasets([queries for queries, _ in sets])["text"], longest[0])
    parts = np.split(query_states, np.cumsum([len(queries) for queries, _ in sets])[:-1], axis=1)
    for language, (queries, gold), states in zip(languages, sets, parts, strict=True):
        layers = zip(states, candidates, strict=True)
        results = (pool.scored(queries["id"][:], gold, layer, pooler.settings.centre, language) for layer in layers)
        yield language_result(language, pooler.layers, results)


class Pool:
    """The candidates, and which of them are relevant to which query.

    ``rows``: those of a language together, languages and rows in the order they came; ``parts``: language -> its rows.
    """

    def __init__(self, rows: Dataset):
        columns = rows.select_columns(["id", "language"]).with_format("arrow")[:]
        if len(columns["id"].unique()) < len(rows):
            raise UserError("two candidates of a pool have the same id; expected ids that are unique in all languages")
        numbers, codes = pd.factorize(columns["language"].to_pandas())
        order = np.argsort(numbers, kind="stable")
        self.rows = rows if (np.diff(order) == 1).all() else rows.select(order)
        self._ids = columns["id"].take(order)
        bounds = [0, *np.cumsum(np.bincount(numbers)).tolist()]
        self.parts = {code: range(*bounds[number : number + 2]) for number, code in enumerate(codes)}

    def answerable(self, queries: Dataset, language: str) -> tuple[Dataset, list[list[int]]]:
        """The queries that have a relevant candidate, and the rows of theirs: those that share a key."""
        rows: dict[str, list[int]] = {key: [] for keys in queries["keys"][:] for key in keys}
        chunks = self.rows.select_columns("keys").iter(CHUNK)
        for row, keys in enumerate(keys for chunk in chunks for keys in chunk["keys"]):
            for key in rows.keys() & keys:
                rows[key].append(row)
        gold = [sorted({row for key in keys for row in rows[key]}) for keys in queries["keys"][:]]
        answered = [number for number, right in enumerate(gold) if right]
        if not answered:
            raise UserError(
                f"{language}: none of the {len(queries)} queries has a relevant candidate in the pool; expected the "
                "candidates of the same set, in the languages of the study"
            )
        return queries.select(answered), [gold[number] for number in answered]

    def scored(
        self, ids: list[str], gold: list[list[int]], states: Sequence[np.ndarray], centre: bool, language: str
    ) -> LayerResult:
        """Statistics and predictions of the queries of one language by one layer's ``states``, of queries and
        candidates; ``gold``: relevant rows."""
        ranked = search(vectors(states[0], centre), language, states[1], self.parts, centre)
        anywhere, abroad = ([[row for row in best if row >= 0] for best in rows.tolist()] for rows, _ in ranked)
        own = self.parts.get(language, range(0))
        tables = [metrics.ranking(ids, gold, anywhere, language)]
        foreign = [[row for row in right if row not in own] for right in gold]
        columns = [row for row in zip(ids, foreign, abroad, strict=True) if row[1]]
        if columns:
            cross = metrics.ranking(*zip(*columns, strict=True), language)  # type: ignore[call-arg]  # three columns
            tables.append(cross[cross["metric"] == "map@20"].assign(metric="cross_map@20"))
        for cut in (1, DEPTH):
            counts = [(sum(row in own for row in best[:cut]), len(best[:cut])) for best in anywhere]
            table = pd.DataFrame(counts, columns=["numerator", "denominator"], dtype=float)
            tables.append(table.assign(language=language, id=ids, metric=f"own@{cut}"))
        predictions = [" ".join(self._ids.take(rows).to_pylist()) for rows in anywhere]
        stats = pd.concat(tables, ignore_index=True)[metrics.COLUMNS]
        return stats, pd.DataFrame({"id": ids, "prediction": predictions}), {}


def search(
    queries: np.ndarray, language: str, pool: np.ndarray, parts: dict[str, range], centre: bool = False
) -> tuple[Ranked, Ranked]:
    """The candidates nearest to each query of a ``language``: those of any language, and those of any but its own.

    ``queries``: vectors of length 1 (queries, width); ``pool``: pooled states (rows, width), those of a language
    together, as ``parts`` says; ``centre``: less the mean of their language. The pool may lie in a file: a block of it
    is in memory at a time. Where a query has fewer candidates its last rows are -1.
    """
    depth = min(DEPTH, len(pool))
    anywhere = abroad = np.full((len(queries), depth), -1), np.full((len(queries), depth), -np.inf, np.float32)
    height = max(1, BLOCK_VALUES // pool.shape[1])
    for part_language, part in parts.items():
        mean = pool[part.start : part.stop].mean(axis=0) if centre else 0.0
        for first in part[::height]:
            block = vectors(np.asarray(pool[first : min(first + height, part.stop)]) - mean, False)
            rows, cosines = nearest(queries, block, depth)
            anywhere = _merged(anywhere, (rows + first, cosines))
            if part_language != language:
                abroad = _merged(abroad, (rows + first, cosines))
    return anywhere, abroad


def _merged(best: Ranked, more: Ranked) -> Ranked:
    """The best of either, as many as in ``best``; of equals those of ``best`` first."""
    rows, cosines = (np.concatenate(pair, axis=1) for pair in zip(best, more, strict=True))
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : best[0].shape[1]]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
