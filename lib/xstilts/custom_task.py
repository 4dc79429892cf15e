"""Bring your own task: the study of one task of the user's own, and which intermediate task it says to use.

Behind ``9-your-task.ipynb``. What it writes is a study like any other, run by the same phases.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from xstilts import results
from xstilts import summaries as findings
from xstilts.errors import UserError
from xstilts.io import ROOT, write_table, write_text
from xstilts.parameters import UNREADABLE, Loader
from xstilts.results import MEAN, ZERO_SHOT, marked
from xstilts.settings import NAME, NONE
from xstilts.sources import Source, open_source
from xstilts.study import Study
from xstilts.target_runs import evaluation_languages, evaluation_split
from xstilts.tasks import Task, get

FEW_TRAINED, FEW_SCORED = 500, 200  # examples; below, seeds differ much and intervals are wide
UNKNOWN = 0.1  # share of unknown tokens above which a text is not the encoder's
SAMPLE = 200  # rows looked at for it


def folder_of(base: Study, name: str) -> Path:
    """Where the study's file, and the example, are written. UserError for a name that no task may have, or that another
    study has."""
    if not re.fullmatch(NAME, name):
        raise UserError(f'name: "{name}": expected a lower-case letter, then up to 39 lower-case letters and digits')
    if name == base.name or (ROOT / "params" / f"{name}.yaml").exists():
        raise UserError(f'name: "{name}" is that of a study; take another for your task')
    return ROOT / base.runs / name


def described(task: str, train: str, test: str) -> dict[str, Any]:
    """What a study says of a task, from the notebook's parameters; ``task``: "key: value" pairs apart by commas."""
    try:
        keys = yaml.load(f"{{{task}}}", Loader)
    except (*UNREADABLE, RecursionError) as error:
        raise UserError(
            f'task: "{task}": expected key: value pairs apart by commas ({" ".join(str(error).split())})'
        ) from None
    return keys | {key: path for key, path in (("train", train), ("test", test)) if path}


def example(base: Study, folder: Path) -> dict[str, Any]:
    """Write a task of the micro-world as CSV, as yours may lie on disk, and return what a study says of it: which kind
    of name a sentence mentions first, in the source language and two others."""
    if base.source != "micro":
        raise UserError('train: name your training file; the example is one of the micro-world (study = "tour")')
    source, task = open_source(base), get("panx")
    words = {"PER": "person", "ORG": "organisation", "LOC": "place", "O": "no name"}
    home = source.source_language
    for split, languages in (("train", [home]), ("dev", [home]), ("test", source.languages(task, "test")[:3])):
        for language in languages:
            rows = source.load(task, split, language)
            sentences = [" ".join(tokens) for tokens in rows["tokens"]]
            first = [next((tag for tag in tags if tag != "O"), "O").split("-")[-1] for tags in rows["tags"]]
            table = pd.DataFrame({"sentence": sentences, "mentions": [words[kind] for kind in first]})
            write_table(table, folder / (f"{split}-{language}.csv" if split == "test" else f"{split}.csv"))
    columns = {"text_a": "sentence", "label": "mentions"}
    place = os.path.relpath(folder, ROOT)
    files = {"train": f"{place}/train.csv", "dev": f"{place}/dev.csv", "test": f"{place}/test-{{language}}.csv"}
    return {"kind": "classification", "title": "First name (the example)"} | files | columns


def write_study(base: Study, name: str, own: dict[str, Any], runs: list[str], folder: Path) -> Path:
    """The file of a study whose one target is your task, beside the encoders and intermediate runs of ``base``.
    ``runs``: intermediate runs, [] = all of ``base``."""
    emptied = {"further": {}, "training_sets": {}, "languages": [], "published": ""}  # of other targets than yours
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
        **{key: value for key, value in emptied.items() if getattr(base, key)},
        "own": {name: own},
    }
    path = folder / "params.yaml"
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000))
    return path


def warnings(study: Study, source: Source, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What makes the results of a study on the user's one task weak or void, a sentence each."""
    task, home = get(study.targets[0]), study.source_language
    train, split = source.load(task, "train", home), evaluation_split(source, task)
    scored = {code: source.load(task, split, code) for code in evaluation_languages(study, source, task)}
    found = []
    if len(train) < FEW_TRAINED:
        found.append(f"{len(train)} training examples: with few, seeds differ much: a study of 3 or more says more.")
    if few := [code for code, rows in scored.items() if len(rows) < FEW_SCORED]:
        found.append(f"Fewer than {FEW_SCORED} examples to score in {', '.join(few)}: intervals are wide.")
    if set(scored) == {home}:
        found.append(f"Nothing to score in other languages than {home}: what follows says nothing of transfer to them.")
    if task.kind == "classification":
        share = np.bincount(train["label"]).max() / len(train)
        if share > 0.8:
            found.append(f"{share:.0%} of the training rows have one label: always giving it scores about as much.")
    known = set(_texts(task, train))
    if repeated := sum(text in known for text in _texts(task, scored[home])) if home in scored else 0:
        found.append(f"{repeated} of {len(scored[home])} scored rows in {home} are training rows, too: leave them out.")
    tokens = np.concatenate(tokenizer(_texts(task, train.select(range(min(len(train), SAMPLE)))))["input_ids"])
    if (unknown := np.mean(tokens == tokenizer.unk_token_id)) > UNKNOWN:
        found.append(
            f"**The encoder does not know {unknown:.0%} of your text: what follows means nothing.** The micro-world's "
            "knows the micro-world's words alone; let study be one with an encoder of your languages, such as xtreme."
        )
    return found


def _texts(task: Task, rows: Dataset) -> list[str]:
    """All the words of every row."""
    columns = {
        "classification": ("text_a", "text_b"),
        "choice": ("context", "question", "choices"),
        "tagging": ("tokens",),
        "span": ("context", "question"),
    }[task.kind]
    return [
        " ".join(" ".join(row[name]) if isinstance(row[name], list) else row[name] for name in columns) for row in rows
    ]


def estimates(study: Study, source: Source, kind: str = "") -> pd.DataFrame | None:
    """``results.estimates`` of the finished runs of a study, of its targets of one kind; None where there are none."""
    wanted = results.expected(study, source)
    targets = [name for name in study.targets if get(name).kind == (kind or get(name).kind)]
    if not targets or not results.finished(study, list(study.bundles())):
        return None
    stats = results.read_stats(study, targets=targets)
    found = results.resample(stats, np.random.default_rng(0))
    return results.estimates(found, wanted[wanted["target"].isin(targets)], study.source_language)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """A row per run and a column per target as a person reads them: the score of ``none``, then gains over it; the
    mean over the zero-shot languages where there are any."""
    rows = table[(table["language"] == _mean(table)) & ~table["target"].isin([results.MACRO, results.MACRO_TRAINED])]
    rows = rows[(rows["quantity"] == "gain") | (rows["intermediate"] == NONE)]
    rows = rows.assign(text=[findings.with_interval(row) for row in rows.itertuples()])
    order = rows["intermediate"].unique()
    wide = rows.pivot(index="intermediate", columns="target", values="text").loc[order]
    return wide.rename(index={NONE: f"{NONE} (score)"}, columns=lambda name: get(name).title)


def _mean(table: pd.DataFrame) -> str:
    return ZERO_SHOT if (table["language"] == ZERO_SHOT).any() else MEAN


def advice(table: pd.DataFrame, study: Study) -> str:
    """Which intermediate task to use, in Markdown, from :func:`estimates` of a study on the user's one task."""
    name, over, seeds = study.targets[0], _mean(table), int(table["seeds"].max())
    rows = table[(table["target"] == name) & (table["language"] == over)]
    gain = rows[rows["quantity"] == "gain"].sort_values("value", ascending=False)
    count, there = int(rows["languages"].iloc[0]), gain.dropna(subset="value")
    languages = findings.counted(count, "zero-shot language") if over == ZERO_SHOT else "the source language"
    base = findings.with_interval(rows[rows["intermediate"] == NONE].iloc[0])
    said = [
        f"*{study.title or study.name}.*",
        f"{findings.where(study, seeds)}: {get(name).title} in {languages}, {findings.covers(study, seeds)}. "
        f"Without an intermediate task: {base}.",
    ]
    told = {row.intermediate: f"`{row.intermediate}` {findings.with_interval(row)}" for row in there.itertuples()}
    helps, hurts = there[there["low"] > 0]["intermediate"], there[there["high"] < 0]["intermediate"]
    if len(helps):
        said.append(f"**Train on `{helps.iloc[0]}` first:** {', '.join(told[run] for run in helps)} points.")
        if len(helps) > 1:
            said.append("Which of these is best is not settled where their intervals overlap.")
    elif len(there):
        best = told[there["intermediate"].iloc[0]]
        said.append(f"**None of them is shown to help:** no interval lies above zero; the highest is {best}.")
    if len(hurts):
        said.append(f"Harmful: {', '.join(told[run] for run in hurts)}.")
    if missing := [run for run in gain["intermediate"] if run not in told]:
        said.append(f"Missing: {', '.join(f'`{run}`' for run in missing)}.")
    if len(there) > 1:
        said.append(
            f"{int(marked(there).sum())} of {len(there)} intervals exclude zero; if no run had any effect, about "
            f"{0.05 * len(there):.1f} would by chance, and the best of several looks better than it is."
        )
    return "\n\n".join(said)
