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

from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets

from . import metrics
from .dual import LENGTHS
from .errors import UserError
from .retrieval import Pooler, layer_scores, nearest, vectors
from .sources import Source
from .study import Study
from .tasks import POOL, Task
from .tunings import pool_languages

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
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """As :func:`.retrieval.retrieve`, for a ranking task; a prediction is the first 20 ids, with blanks between.

    The pool and the queries of all languages go through the encoder once. UserError for a language without a query
    that has a relevant candidate; single ones are left out (as by the official script).
    """
    pooler = Pooler(checkpoint, study, tuned)
    longest = LENGTHS[study.training_task(task).kind]
    codes = pool_languages(study, source, task)
    pool = _by_language(concatenate_datasets([source.load(task, POOL, code) for code in codes]))
    relevant = Relevant(pool)
    sets = [relevant.answerable(source.load(task, split, code), code) for code in languages]
    queries, asked_in = concatenate_datasets(sets), np.repeat(languages, [len(rows) for rows in sets])
    candidates = pooler.states(pool["text"], longest[1])
    asked = pooler.states(queries["text"][:], longest[0])
    centre, curve = pooler.settings.centre, []
    for number, layer in enumerate(pooler.layers):
        found = search(np.asarray(asked[number]), asked_in, candidates[number], relevant.languages, centre)
        parts = [relevant.stats(queries, asked_in == code, found, code) for code in languages]
        found_stats = pd.concat(parts, ignore_index=True)
        curve.append(layer_scores(found_stats, layer))
        if number == 0:  # the main layer
            stats, first = found_stats, found[0][0].tolist()
    ids = [" ".join(relevant.ids[row] for row in rows) for rows in first]
    predictions = pd.DataFrame({"language": asked_in, "id": queries["id"][:], "prediction": ids})
    return stats, predictions, pd.concat(curve, ignore_index=True)


def _by_language(pool: Dataset) -> Dataset:
    """Rows of a language together, languages and rows in the order they came."""
    codes = pool["language"][:]
    first = {code: place for place, code in enumerate(dict.fromkeys(codes))}
    return pool.select(sorted(range(len(pool)), key=lambda row: first[codes[row]]))


class Relevant:
    """Which candidates of a pool are relevant to which query."""

    def __init__(self, pool: Dataset):
        self.ids, self.languages = pool["id"][:], np.asarray(pool["language"][:])
        if len(set(self.ids)) < len(self.ids):
            raise UserError("two candidates of a pool have the same id; expected ids that are unique in all languages")
        self.rows: dict[str, list[int]] = {}
        for row, keys in enumerate(pool["keys"][:]):
            for key in keys:
                self.rows.setdefault(key, []).append(row)

    def of(self, keys: list[str]) -> list[int]:
        return sorted({row for key in keys for row in self.rows.get(key, [])})

    def answerable(self, queries: Dataset, language: str) -> Dataset:
        """The queries that have a relevant candidate."""
        kept = [row for row, keys in enumerate(queries["keys"][:]) if self.of(keys)]
        if not kept:
            raise UserError(
                f"{language}: none of the {len(queries)} queries has a relevant candidate in the pool; expected the "
                "candidates of the same set, in the languages of the study"
            )
        return queries.select(kept)

    def stats(self, queries: Dataset, chosen: np.ndarray, found: tuple[Ranked, Ranked], language: str) -> pd.DataFrame:
        """Statistics of the ``chosen`` queries, those of one language. ``found``: the ranked candidates of all
        queries, of any language and of any but the query's own."""
        rows = np.flatnonzero(chosen).tolist()
        ids, keys = queries["id"][:], queries["keys"][:]
        ids, gold = [ids[row] for row in rows], [self.of(keys[row]) for row in rows]
        anywhere, abroad = ([[at for at in places[row].tolist() if at >= 0] for row in rows] for places, _ in found)
        tables = [metrics.ranking(ids, gold, anywhere, language)]
        foreign = [[row for row in right if self.languages[row] != language] for right in gold]
        kept = [place for place, right in enumerate(foreign) if right]
        if kept:
            chosen = ([values[place] for place in kept] for values in (ids, foreign, abroad))
            cross = metrics.ranking(*chosen, language)
            tables.append(cross[cross["metric"] == "map@20"].assign(metric="cross_map@20"))
        for cut in (1, DEPTH):
            own = [float((self.languages[places[:cut]] == language).sum()) for places in anywhere]
            counts = [float(len(places[:cut])) for places in anywhere]
            table = pd.DataFrame({"id": ids, "metric": f"own@{cut}", "numerator": own, "denominator": counts})
            tables.append(table.assign(language=language))
        return pd.concat(tables, ignore_index=True)[metrics.COLUMNS]


def search(
    queries: np.ndarray, asked_in: np.ndarray, pool: np.ndarray, told_in: np.ndarray, centre: bool = False
) -> tuple[Ranked, Ranked]:
    """The candidates nearest to each query: those of any language, and those of any language but the query's own.

    ``queries`` and ``pool``: pooled states (rows, width), of languages ``asked_in`` and ``told_in`` (rows), those of
    a language together in the pool; ``centre``: less the mean of their language. The pool may lie in a file: a block
    of it is in memory at a time. Where a query has fewer candidates its last rows are -1.
    """
    asked = np.empty((len(queries), queries.shape[1]), np.float32)
    for code in dict.fromkeys(asked_in.tolist()):
        asked[asked_in == code] = vectors(queries[asked_in == code], centre)
    depth = min(DEPTH, len(pool))
    empty = np.full((len(queries), depth), -1), np.full((len(queries), depth), -np.inf, np.float32)
    anywhere = abroad = empty
    height, starts = max(1, BLOCK_VALUES // pool.shape[1]), np.flatnonzero(np.r_[True, told_in[1:] != told_in[:-1]])
    for start, stop in zip(starts, [*starts[1:], len(pool)], strict=True):
        mean = pool[start:stop].mean(axis=0) if centre else 0.0
        for first in range(start, stop, height):
            block = vectors(np.asarray(pool[first : min(first + height, stop)]) - mean, False)
            rows, cosines = nearest(asked, block, depth)
            anywhere = _merged(anywhere, (rows + first, cosines))
            own = (asked_in == told_in[start])[:, None]
            abroad = _merged(abroad, (np.where(own, -1, rows + first), np.where(own, -np.inf, cosines)))
    return anywhere, abroad


def _merged(best: Ranked, more: Ranked) -> Ranked:
    """The best of either, as many as in ``best``; of equals those of ``best`` first."""
    rows, cosines = (np.concatenate(pair, axis=1) for pair in zip(best, more, strict=True))
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : best[0].shape[1]]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
