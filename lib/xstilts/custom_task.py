"""Bring your own task: a study of one task of the user's own, and which intermediate task to train on first.

Behind ``9-your-task.ipynb``. The study that it writes is like any other and run by the same phases.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from xstilts import results
from xstilts.errors import UserError
from xstilts.inference import from_statistics
from xstilts.io import ROOT, write_table, write_text
from xstilts.names import NONE, TASK_NAME
from xstilts.results import AVERAGES, MEAN, ZERO_SHOT, marked
from xstilts.runs import finished_target_runs
from xstilts.settings import Study
from xstilts.sources import Source, open_source
from xstilts.study import dump_yaml, parse_yaml
from xstilts.summaries import OTHER_ENCODER, chance, question_answer, unknown_share, verdict_table

FEW_TRAINED, FEW_SCORED = 500, 200  # examples; below, seeds differ much and intervals are wide


def study_folder(base: Study, name: str) -> Path:
    """Where the study's file, and the example, are written. UserError for a name that no task may have, or that another
    study has."""
    if not re.fullmatch(TASK_NAME, name):
        raise UserError(f'name: "{name}": expected a lower-case letter, then up to 39 lower-case letters and digits')
    if name == base.name or (ROOT / "params" / f"{name}.yaml").exists():
        raise UserError(f'name: "{name}" is the name of a study; choose another for your task')
    return ROOT / base.runs / name


def parse_task(task: str, train: str, test: str) -> dict[str, Any]:
    """The declaration of a task from the notebook's parameters; ``task``: "key: value" pairs separated by commas."""
    keys = parse_yaml(f"{{{task}}}", "task")
    return keys | {key: path for key, path in (("train", train), ("test", test)) if path}


def write_example(base: Study, folder: Path) -> dict[str, Any]:
    """Write a task of the micro-world as CSV, as yours may be stored, and return its declaration: which kind of name a
    sentence mentions first, in the source language and two others."""
    if base.source != "micro":
        raise UserError('train: name your training file; the example is one of the micro-world (study = "tour")')
    source, task = open_source(base), base.task("panx")
    labels = {"PER": "person", "ORG": "organisation", "LOC": "place", "O": "no name"}
    files = {"train": "train.csv", "dev": "dev.csv", "test": "test-{language}.csv"}
    for split, name in files.items():
        for language in source.languages(task, split)[: 3 if split == "test" else 1]:
            rows = source.load(task, split, language)
            first = [next((tag[2:] for tag in tags if tag != "O"), "O") for tags in rows["tags"]]
            columns = {"sentence": map(" ".join, rows["tokens"]), "mentions": [labels[kind] for kind in first]}
            write_table(pd.DataFrame(columns), folder / name.format(language=language))
    paths = {split: os.path.relpath(folder / name, ROOT) for split, name in files.items()}
    declaration = {"kind": "classification", "title": "First name (the example)", **paths}
    return declaration | {"text_a": "sentence", "label": "mentions"}


def write_study(base: Study, name: str, own: dict[str, Any], runs: list[str], folder: Path) -> Path:
    """Write the file of a study whose one target is your task, beside the encoders and intermediate runs of ``base``.
    ``runs``: intermediate runs, [] = all of ``base``."""
    of_other_targets = {"languages": [], "published": ""}
    values = {
        "based_on": base.path,
        "shares": base.name,
        "name": name,
        "title": f"{own.get('title') or name}, on the encoder of: {base.title or base.name}",
        "question": "transfer",
        "intermediate": list(dict.fromkeys([NONE, *(runs or base.intermediate)])),
        "targets": [name],
        "bundle": "each",
        "seeds": base.seeds,
        "figures": f"{base.runs}/figures",
        **{key: value for key, value in of_other_targets.items() if getattr(base, key)},
        "own": {name: own},
    }
    path = folder / "params.yaml"
    write_text(path, dump_yaml(values))
    return path


def warnings(study: Study, train: Dataset, scored: dict[str, Dataset], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What weakens or invalidates the results of a study of the user's one task, a sentence each. ``train``: its
    training rows; ``scored``: language -> rows."""
    home, notes = study.source_language, []
    if len(train) < FEW_TRAINED:
        notes.append(f"{len(train)} training examples: with few, seeds differ much; a study of 3 or more says more.")
    if few := [code for code, rows in scored.items() if len(rows) < FEW_SCORED]:
        notes.append(f"Fewer than {FEW_SCORED} examples to score in {', '.join(few)}: intervals are wide.")
    if set(scored) == {home}:
        notes.append(f"Nothing to score in other languages than {home}: results say nothing about transfer to them.")
    if study.task(study.targets[0]).kind == "classification":
        share = np.bincount(train["label"]).max() / len(train)
        if share > 0.8:
            notes.append(f"{share:.0%} of the training rows have one label: always giving it scores about as much.")
    shares = {code: unknown_share(tokenizer, rows) for code, rows in {**scored, home: train}.items()}
    if unknown := [f"{share:.0%} in {code}" for code, share in shares.items() if share > 0.1]:
        notes.append(f"**The encoder does not know all of your text ({', '.join(unknown)}).** {OTHER_ENCODER}")
    return notes


def estimates(study: Study, source: Source, kind: str = "") -> pd.DataFrame | None:
    """``results.estimates`` of the finished runs of a study, of its targets of one kind; None where there are none."""
    targets = [name for name in study.targets if kind in ("", study.task(name).kind)]
    if not targets or not finished_target_runs(study, list(study.bundles())):
        return None
    expected = results.expected(study, source)
    stats = results.read_stats(study, targets=targets)
    scores = from_statistics(stats, tasks=study.tasks)
    return results.estimates(scores, expected[expected["target"].isin(targets)], study.source_language)


def mean_gains(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`estimates` that compare runs on each target, the highest gain first: means over the zero-shot
    languages, or without any over all."""
    language = ZERO_SHOT if (table["language"] == ZERO_SHOT).any() else MEAN
    single = ~table["target"].isin(AVERAGES)
    gains = table[single & (table["quantity"] == "gain") & (table["language"] == language)]
    return gains.sort_values(["target", "value"], ascending=[True, False])


def advice(table: pd.DataFrame, study: Study, reasons: dict | None = None) -> str:
    """Which intermediate task to train on first, in Markdown, from :func:`estimates` of a study of one task, if no
    ``reasons`` of ``summaries.incomparable`` are against it."""
    gains = mean_gains(table)
    helping = gains[marked(gains) & (gains["value"] > 0)]["intermediate"].tolist()
    best = f"**Train on `{helping[0]}` first.**" if helping else "**No intermediate run is shown to help.**"
    best = "**One seed cannot show that a run helps: take two or more.**" if table["seeds"].max() == 1 else best
    verdicts = verdict_table(gains, {"intermediate": "run", "language": "mean over"})
    return question_answer(study, int(table["seeds"].max()), [best, chance(gains)], verdicts, reasons=reasons)
