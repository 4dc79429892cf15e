"""What a study shows, in tables and sentences computed from the estimates of :mod:`xstilts.results`, so that text and
figures cannot disagree.

An answer is at most 120 words, no sentence with more than three numbers, above one table of verdicts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from xstilts.names import NONE, STEPS, compared
from xstilts.results import AVERAGES, MACRO, MACRO_LEARNED, headline, marked
from xstilts.runs import Run, finished_target_runs, list_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.sources.base import texts_of
from xstilts.tasks import RETRIEVAL_KINDS, Task
from xstilts.training import packaged

OTHER_ENCODER = "Choose a study whose encoder does, such as xtreme: the micro-world's knows constructed words alone."


class NothingToShow(Exception):
    """No result of a study exists yet. Jupyter shows the message alone, without a traceback, and stops there."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def report_missing(study: Study) -> Markdown | None:
    """Which target runs of a study are missing and how to run them; None where none is.

    NothingToShow where one of the bundles that a final notebook compares has no finished run.
    """
    command = f"make study STUDY={study.given}"
    expected = [run for run in list_runs(study) if run.phase == "targets"]
    done = finished_target_runs(study, [*study.bundles(), *study.further])
    missing = [f"`{run.name}`" for run in expected if run not in done]
    if not missing:
        return None
    begun = {run.bundle for run in done}
    own = any(begun.intersection(study.parts(name)) for name in study.bundles())
    further = all(begun.intersection(study.parts(name)) for name in study.further)
    if not (own and further):
        raise NothingToShow(f"Nothing to show yet: run `{command}` in the project's folder, then this notebook again.")
    names = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return Markdown(
        f"**{len(done)} of {len(expected)} target runs are done.** The others are shown as missing ({names}): "
        f"`{command}` runs them, or `3-targets.ipynb` one at a time."
    )


def transfer_verdicts(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Which run to train first, by target, from the rows of ``results.estimates`` in ``results.headline``.

    "train first" is the run with the highest gain among those with a starred gain that learned the target with most
    seeds and, where the study has ``none+steps``, exceed it; "none" where there is no such run, "one seed" where seeds
    cannot be compared. Targets of one kind with the same runs share a row. Columns: target, train first, gain, hurts
    (runs with a starred loss).
    """
    rows = []
    for task, part, best in _to_train_first(table, study):
        gains = part[(part["quantity"] == "gain") & part["intermediate"].isin(compared(part["intermediate"]))]
        kind = "retrieval" if task.kind in RETRIEVAL_KINDS else task.kind
        named = "missing" if gains["value"].isna().all() else NONE if best is None else f"`{best.intermediate}`"
        named = "one seed" if gains["seeds"].max() == 1 else named
        hurts = code_list(gains.loc[marked(gains) & (gains["value"] < 0), "intermediate"]) or "–"
        rows.append((kind, named, hurts, task.title, "–" if best is None else with_interval(best)))
    grouped = pd.DataFrame(rows, columns=["kind", "train first", "hurts", "target", "gain"])
    grouped = grouped.groupby(["kind", "train first", "hurts"], sort=False)
    joined = grouped.agg(lambda values: ", ".join(dict.fromkeys(values))).reset_index()
    return joined[["target", "train first", "gain", "hurts"]]


def transfer_sentences(table: pd.DataFrame, rho: pd.DataFrame, study: Study) -> list[str]:
    """What stands above :func:`transfer_verdicts`; ``rho``: of ``results.correlations``."""
    every = headline(table)[headline(table)["quantity"] == "gain"]
    gains = every[every["intermediate"].isin(compared(every["intermediate"]))]
    single = gains[~gains["target"].isin(AVERAGES)]
    sentences = [f"Not the whole study: {study.absence}."] if study.absence else []
    for average, name in {MACRO: "the targets", MACRO_LEARNED: "those that were learned with every seed"}.items():
        rows = gains[(gains["target"] == average) & (gains["seeds"] > 1)]
        if len(rows):
            helping = code_list(rows.loc[marked(rows) & (rows["value"] > 0), "intermediate"]) or "no run"
            hurting = code_list(rows.loc[marked(rows) & (rows["value"] < 0), "intermediate"]) or "no run"
            sentences.append(f"On average over {name} {helping} is shown to help, {hurting} to hurt.")
    steps = every[(every["intermediate"] == STEPS) & (every["target"] == MACRO) & (every["seeds"] > 1)]
    for row in steps.itertuples():
        sentences.append(f"As many more steps on all targets instead, `{STEPS}`: {with_interval(row)}.")
    if unlearned := not_learned(table, study):
        sentences.append(f"Not learned by every seed of every run: {', '.join(unlearned)}.")
    if guesses := guessing(table, study):
        sentences.append(f"With the run named below, scores are no better than guessing on {', '.join(guesses)}.")
    if single["p"].notna().any():
        sentences.append(chance(single))
    if budget := int(single["budget"].sum()):
        sentences.append(f"Budget: {budget} of the starred gains are not shown to exceed `none+steps`.")
    text = "Zero-shot scores of `none` fall with distance from the source language in {below} of {count} targets."
    return sentences + tally(text, rho.dropna(subset="rho").rename(columns={"rho": "value"}).assign(seeds=2))


def not_learned(table: pd.DataFrame, study: Study) -> list[str]:
    """Titles of the targets that some run did not learn with some seed."""
    rows = headline(table)[~headline(table)["target"].isin(AVERAGES)]
    names = rows.loc[(rows["quantity"] == "score") & (rows["learned"] < 1), "target"].unique()
    return [study.task(name).title for name in names]


def learned_table(table: pd.DataFrame) -> pd.DataFrame:
    """Percentage of seeds that learned each target, by run: those targets that some run did not learn with some."""
    rows = headline(table)
    rows = rows[(rows["quantity"] == "score") & rows["learned"].notna()]
    wide = rows.pivot(index="intermediate", columns="target", values="learned")
    wide = wide.reindex(rows["intermediate"].unique())[rows["target"].unique()]
    return 100 * wide.loc[:, (wide < 1).any()]


def guessing(table: pd.DataFrame, study: Study) -> list[str]:
    """Titles of the targets on which the score of the run that :func:`transfer_verdicts` names is not shown to lie
    above guessing with most seeds: that is ``none``, any other has learned the task."""
    titles = []
    for task, part, best in _to_train_first(table, study):
        none = part[(part["intermediate"] == NONE) & (part["quantity"] == "score")]
        if best is None and (none["learned"] <= 0.5).any():
            titles.append(task.title)
    return titles


def _to_train_first(table: pd.DataFrame, study: Study) -> Iterator[tuple[Task, pd.DataFrame, Any]]:
    """Target by target: the task, its rows in ``results.headline``, and the gain of the best run that helps and has
    learned the task, as a row; None without any."""
    mean = headline(table)[~headline(table)["target"].isin(AVERAGES)]
    for name, part in mean.groupby("target", sort=False):
        task = study.task(name)
        learned = part.loc[(part["quantity"] == "score") & (part["learned"] > 0.5), "intermediate"]
        gains = part[(part["quantity"] == "gain") & part["intermediate"].isin(compared(learned)) & ~part["budget"]]
        helping = gains[marked(gains) & (gains["value"] > 0)]
        yield task, part, next(helping.nlargest(1, "value").itertuples(), None)


def incomparable(study: Study, source: Source) -> dict[str, str]:
    """Target -> why no run can be compared on it, a sentence: the encoder does not know most of the text that it is
    trained on, or every finished run gives one answer to all examples. Encoders that are not here are not looked at."""
    from transformers import AutoTokenizer

    checkpoint = Run("encoder", study.seed_numbers[0]).folder(study) / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(checkpoint) if checkpoint.is_dir() else None
    runs, home = finished_target_runs(study, list(study.bundles())), study.source_language
    reasons: dict[str, str] = {}
    for task in [task for task in map(study.task, study.targets) if task.kind not in RETRIEVAL_KINDS]:
        trained, share = study.training_task(task), 0.0
        if tokenizer and home in source.languages(trained, "train") and source.at_hand(trained, "train", home):
            share = unknown_share(tokenizer, source.load(trained, "train", home))
        tables = [table for run in runs if (table := run.folder(study) / task.name / "predictions.parquet").is_file()]
        if share > 0.5:
            why = f"The encoder does not know {share:.0%} of the text of {task.title}: its scores mean nothing."
            reasons[task.name] = f"{why} {OTHER_ENCODER}"
        elif tables and all(len(_answers(table, task.kind)) < 2 for table in tables):
            why = f"On {task.title} every run gives one answer to all examples: nothing was learned."
            reasons[task.name] = f"{why} Train for more steps, or at another learning rate."
    return reasons


def unknown_share(tokenizer: Any, rows: Any) -> float:
    """The share of tokens that stand for what the tokenizer does not know, in a sample of a dataset."""
    sample = texts_of(rows.select(range(min(len(rows), 200))))
    tokens = [token for ids in tokenizer(sample, add_special_tokens=False)["input_ids"] for token in ids]
    return tokens.count(tokenizer.unk_token_id) / max(len(tokens), 1)


def _answers(table: Path, kind: str) -> set[str]:
    texts = pd.read_parquet(table, columns=["prediction"])["prediction"].unique()
    return {answer for text in texts for answer in (text.split() if kind == "tagging" else [text])}


def code_list(names: Sequence[str]) -> str:
    """Names of runs as Markdown code."""
    return ", ".join(f"`{name}`" for name in names)


def macro_table(table: pd.DataFrame) -> pd.DataFrame:
    """Averages over targets, in ``results.headline``, as a person reads them: a row per run, per average "value [low,
    high]" and its range when one target is left out."""
    macro = headline(table)[headline(table)["target"].isin(AVERAGES)].copy()
    macro["text"] = [with_interval(row) + _range(row) for row in macro.itertuples()]
    shown = macro[(macro["intermediate"] == NONE) | (macro["quantity"] == "gain")]
    wide = shown.pivot(index="intermediate", columns="target", values="text")[list(macro["target"].unique())]
    wide["seeds"] = shown.groupby("intermediate")["seeds"].min()
    return wide.loc[macro["intermediate"].unique()]


def _range(row: Any) -> str:
    """ " (from 1.0 to 2.0 without one target)"."""
    if not np.isfinite(row.lowest):
        return ""
    return f", {row.lowest:.1f} to {row.highest:.1f} without one target".replace("-", "−")


def with_interval(row: Any) -> str:
    """A row of ``results.estimates`` as ``+1.2 [0.3, 2.1]``; a score has no sign."""
    if not np.isfinite(row.value):
        return "missing"
    value = f"{round(float(row.value), 1) + 0.0:{'+' if row.quantity == 'gain' else ''}.1f}"
    interval = "(one seed: no interval)"
    if np.isfinite(row.low):
        low, high = (_bound(float(bound), row.low > 0 or row.high < 0) for bound in (row.low, row.high))
        interval = f"[{low}, {high}]"
    return f"{value} {interval}".replace("-", "−")


def with_evidence(row: Any) -> str:
    """A difference with its interval, and that there is no evidence where it is not starred."""
    shown = row.significant if hasattr(row, "significant") else row.low > 0 or row.high < 0
    unknown = not np.isfinite(row.low) or getattr(row, "seeds", 2) == 1
    return with_interval(row) + ("" if shown or unknown else ", no evidence")


def _bound(bound: float, apart: bool) -> str:
    """To one decimal, without -0.0; of an interval ``apart`` from zero to as many as show that it is."""
    places = next((places for places in range(1, 4) if not apart or round(bound, places)), 3)
    return f"{round(bound, places) + 0.0:.{places}f}"


def verdict_table(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Differences as a person reads them. ``columns``: column of ``rows`` -> its heading, those that say what is
    compared; then verdict, gain with its interval, and seeds."""
    table = rows[list(columns)].rename(columns=columns)
    stars = marked(rows)
    shown = [rows["value"].isna(), rows["seeds"] == 1, stars & (rows["value"] > 0), stars & (rows["value"] < 0)]
    table["verdict"] = np.select(shown, ["missing", "one seed", "helps", "hurts"], "no evidence")
    table["gain"] = [with_interval(row) for row in rows.assign(quantity="gain").itertuples()]
    return table.assign(seeds=rows["seeds"]).reset_index(drop=True)


def tally(text: str, rows: pd.DataFrame) -> list[str]:
    """The sentence ``text`` with the numbers of differences that are shown to lie above zero and below it, and of all,
    for its {above}, {below} and {count}; none where ``rows`` has none, or none of several seeds."""
    rows = rows[rows["seeds"] != 1]
    above, below = (int((marked(rows) & (rows["value"] * sign > 0)).sum()) for sign in (1, -1))
    return [text.format(above=above, below=below, count=len(rows))] if len(rows) else []


def chance(rows: pd.DataFrame) -> str:
    """How many differences are starred, and how many intervals exclude zero, unadjusted; "" with one seed."""
    rows = rows[rows["p"].notna()]
    apart = int(((rows["low"] > 0) | (rows["high"] < 0)).sum())
    counts = f"Of {len(rows):,} differences {int(marked(rows).sum()):,} are starred"
    return f"{counts} (false discoveries 5%); {apart:,} intervals exclude zero." if len(rows) else ""


def question_answer(
    study: Study, seeds: int, sentences: list[str], table: pd.DataFrame, absent: Sequence = (), reasons: Any = None
) -> str:
    """The answer to one of the four questions in Markdown: ``sentences`` after how far they reach, then ``table`` (of
    :func:`verdict_table`). ``absent``: runs that lack scores. ``reasons``: of :func:`incomparable`; where each target
    has one, nothing else is said."""
    problems = list((reasons or {}).values())
    if reasons and len(reasons) == len(study.targets):
        return "\n".join(f"- **{problem}**" for problem in problems)
    setting = "On real text"
    if study.source == "micro":
        setting = "In the generated micro-world (constructed languages; not XTREME)"
    if seeds == 1:
        coverage = "one seed: the intervals cover test examples alone, so nothing is said to help or to hurt"
    else:
        own = "" if study.encoder.checkpoint else ", each with an encoder of its own"
        coverage = f"{seeds} seeds{own}: the intervals (95%) cover test examples and seeds"
    caveat = packaged.CAVEAT if study.encoder.checkpoint == packaged.NAME else ""
    lines = [f"{setting}: {coverage}.", *problems, *filter(None, [caveat, *sentences])]
    if len(absent):
        lines.append(f"Missing, in whole or in part: {', '.join(f'`{run}`' for run in absent)}.")
    cells = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join([*(f"- {line}" for line in lines), "", *(f"| {' | '.join(row)} |" for row in cells)])


def readable_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """``results.rank_runs`` as a person reads it."""
    ranked = table["rank"].notna()
    ranks = table[["rank", "low", "high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="score")
    gains = table[["gain", "gain_low", "gain_high"]].set_axis(["value", "low", "high"], axis=1).assign(quantity="gain")
    columns = {
        "run": table["intermediate"],
        f"mean rank of {ranked.sum()}": [with_interval(row) for row in ranks.itertuples()],
        f"best on (of {table['targets'].max()} targets)": table["best"].astype(object).where(ranked, "missing"),
        "mean gain in points": [with_interval(row) if np.isfinite(row.value) else "–" for row in gains.itertuples()],
        "seeds": table["seeds"],
    }
    return pd.DataFrame(columns)


def readable_effort(table: pd.DataFrame) -> pd.DataFrame:
    """``results.effort`` as a person reads it; columns that no run fills (of a GPU) are left out."""
    formats = dict.fromkeys(("examples", "steps", "tokens"), "{:,.0f}")
    formats |= dict.fromkeys(("hours", "core_hours", "gpu_hours"), "{:,.2f}")
    shown = table.assign(**{name: table[name].map(form.format) for name, form in formats.items()})
    empty = [name for name in ("core_hours", "gpu_hours") if not table[name].any()]
    return shown.drop(columns=[*empty, *(["gpu"] if "gpu_hours" in empty else [])]).set_index("phase")


def unknown_distance(wanted: pd.DataFrame, languages: pd.DataFrame) -> str:
    """A sentence that names the languages of ``wanted`` whose distance from the source is not known; "" without any.
    ``languages``: the source's ``language_table()``."""
    codes = sorted(set(wanted["language"]) - set(languages.index[languages["distance"].notna()]))
    return f"Left out, as their distance from the source is not known: {', '.join(codes)}." if codes else ""
