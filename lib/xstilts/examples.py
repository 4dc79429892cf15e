"""Predictions to read: the examples of a target that an intermediate run mended and broke, with text and gold."""

from dataclasses import replace
from html import escape
from pathlib import Path

import pandas as pd
import regex
from pandas.io.formats.style import Styler

from xstilts.errors import refuse
from xstilts.evaluation.metrics import task_metrics
from xstilts.names import NONE
from xstilts.runs import Fingerprints, Run, unscored
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.sources.files import UNSPACED
from xstilts.target_runs import TargetRun, evaluation_split, pool_languages
from xstilts.tasks import POOL, Task

AROUND = 150  # graphemes of a passage that are shown on either side of an answer
# each line in its own direction, whichever that of the page is
CELL = '<div dir="auto" lang="{}" style="text-align: start; unicode-bidi: plaintext; white-space: pre-line">{}</div>'


def changes(fingerprints: Fingerprints, run: Run, target_run: TargetRun, language: str = "", count: int = 3) -> Styler:
    """The examples of a target in one language that a run mended and broke: whose score lies above and below that of
    ``none`` with the same seed, at most ``count`` of each, the largest changes first.

    ``language``: by default the zero-shot one with the most changes. Of ``none`` itself, and until it is scored, the
    first examples. Columns: change, text, gold, ``none`` and the run; the index, not shown, is the example's id. Of a
    tagging the words on which gold and predictions are not all alike.
    """
    study, source, task = fingerprints.study, fingerprints.source, target_run.task
    baseline = replace(run, intermediate=NONE)
    compared = run != baseline and target_run not in unscored(baseline, fingerprints)
    runs = [baseline, run] if compared else [run]
    folders = [part.folder(study) / target_run.name for part in runs]
    difference = _example_scores(folders[-1], task) - _example_scores(folders[0], task)
    counts = difference.ne(0).groupby(level="language", sort=False).sum()
    away = counts.drop(source.source_language, errors="ignore")
    language = language or (away if len(away) else counts).idxmax()
    scored = ", ".join(counts.index)
    refuse(language not in counts, f'{target_run.name}: no language "{language}" is scored; there is: {scored}')

    best_first = difference[language].sort_values(ascending=False, kind="stable")
    worst_first = difference[language].sort_values(kind="stable")
    mended, broken = best_first.index[best_first > 0], worst_first.index[worst_first < 0]
    caption = f"{target_run.name}, {language}"
    if compared:
        chosen = dict.fromkeys(mended[:count], "mended") | dict.fromkeys(broken[:count], "broken")
        caption += f": of {len(best_first):,} examples {len(mended):,} mended, {len(broken):,} broken"
    else:
        chosen = dict.fromkeys(best_first.index[: 2 * count], "")
        caption += "" if run == baseline else f": nothing to compare with until {baseline.name} is done"

    stored = [
        pd.read_parquet(folder / "predictions.parquet", filters=[("language", "==", language)]) for folder in folders
    ]
    answers = [table.set_index("id")["prediction"].loc[[*chosen]] for table in stored]
    predictions = pd.concat(answers, axis=1, keys=[part.intermediate for part in runs])
    rows = source.load(task, evaluation_split(source, task), language).to_pandas().set_index("id", drop=False)
    if target_run.retrieval:
        texts = _retrieved(study, source, task, language, rows, predictions)
    else:
        texts = _labelled(task, language, rows, predictions)
    table = pd.DataFrame(texts, predictions.index, ["text", "gold", *predictions])
    if compared:
        table.insert(0, "change", [*chosen.values()])
    styled = table.style.format(lambda text: CELL.format(language, escape(text or "–"))).hide(axis="index")
    return styled.set_caption(caption).set_table_styles([{"selector": "th", "props": "text-align: start"}])


def _example_scores(folder: Path, task: Task) -> pd.Series:
    """(language, id) -> score, 0 to 1, the mean of the task's metrics; 1 where there was nothing to find and nothing
    was."""
    stats = pd.read_parquet(folder / "stats.parquet")
    stats = stats[stats["metric"].isin(task_metrics(task))]
    score = (stats["numerator"] / stats["denominator"].where(stats["denominator"] > 0)).fillna(1.0)
    return score.groupby([stats["language"], stats["id"]], sort=False).mean()


def _labelled(task: Task, language: str, rows: pd.DataFrame, predictions: pd.DataFrame) -> list[list[str]]:
    """Text, gold and predictions of examples of a task with a head; ``predictions``: example by run, as stored."""
    texts = []
    for row, *answers in zip(rows.loc[predictions.index].itertuples(), *predictions.to_numpy().T.tolist(), strict=True):
        if task.kind == "tagging":
            taggings = [row.tags, *map(str.split, answers)]
            unlike = [number for number, tags in enumerate(zip(*taggings, strict=True)) if len(set(tags)) > 1]
            words = ["\n".join(f"{row.tokens[number]} {tags[number]}" for number in unlike) for tags in taggings]
            texts.append([("" if language in UNSPACED else " ").join(row.tokens), *words])
        elif task.kind == "span":
            gold, starts = row.answers["text"], row.answers["answer_start"]
            start, stop = (starts[0], starts[0] + len(gold[0])) if len(gold) else (0, 0)
            passage = f"{row.question}\n{excerpt(row.context, start, stop)}"
            texts.append([passage, "\n".join(dict.fromkeys(gold)), *answers])
        else:
            choice = task.kind == "choice"
            parts, names = (
                ((row.context, row.question), row.choices) if choice else ((row.text_a, row.text_b), task.labels)
            )
            texts.append(["\n".join(filter(None, parts)), *(names[int(label)] for label in (row.label, *answers))])
    return texts


def _retrieved(
    study: Study, source: Source, task: Task, language: str, rows: pd.DataFrame, predictions: pd.DataFrame
) -> list[list[str]]:
    """Query, gold and retrieved text of queries; ``predictions``: query by run, as stored. Of a ranking the first
    candidate, and as gold the one in the query's language, if there is one."""
    queries, candidates = rows.loc[predictions.index], rows
    if task.kind == "ranking":
        predictions = predictions.map(lambda ids: ids.partition(" ")[0])
        keys = {key for own in queries["keys"] for key in own}
        candidates = _candidates(study, source, task, keys, {*predictions.to_numpy().ravel()})
        own_last = candidates.sort_values("language", key=lambda codes: codes == language, kind="stable")
        relevant = {key: name for name, own in own_last["keys"].items() for key in own}
        gold = queries["keys"].map(lambda own: next(relevant[key] for key in own if key in relevant))
    elif task.kind == "mining":
        gold = queries["gold"].map(lambda ids: next(iter(ids), ""))
    else:
        gold = queries["id"]
    query, candidate = ("query", "candidate") if task.kind == "parallel" else ("text", "text")
    texts = candidates[candidate].map(excerpt)
    columns = [queries[query], *(ids.map(texts).fillna("") for ids in (gold, *map(predictions.get, predictions)))]
    return [list(row) for row in zip(*columns, strict=True)]


def _candidates(study: Study, source: Source, task: Task, keys: set[str], ids: set[str]) -> pd.DataFrame:
    """Candidates of a ranking, by id, that have one of the ``keys`` or ``ids``; columns language, text, keys."""
    parts = []
    for code in pool_languages(study, source, task):
        pool = source.load(task, POOL, code)
        known = zip(pool["id"][:], pool["keys"][:], strict=True)
        parts.append(pool.select([row for row, (name, own) in enumerate(known) if name in ids or keys & {*own}]))
    return pd.concat([part.to_pandas() for part in parts]).set_index("id")


def excerpt(text: str, start: int = 0, stop: int = 0) -> str:
    """``text`` from ``start`` to ``stop`` and up to ``AROUND`` graphemes on either side: a letter keeps its marks."""
    before, after = regex.findall(r"\X", text[:start]), regex.findall(r"\X", text[stop:])
    left, right = "".join(before[-AROUND:]), "".join(after[:AROUND])
    left, right = "…" * (len(before) > AROUND) + left, right + "…" * (len(after) > AROUND)
    return left + text[start:stop] + right
