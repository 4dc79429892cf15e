"""Made-up statistics of a study's target runs, quickly and at any size."""

import json
import re
from itertools import product

import numpy as np
import pandas as pd
import yaml

from xstilts.results import KEYS, task_metrics
from xstilts.runs import Run
from xstilts.settings import Study
from xstilts.study import load_study
from xstilts.tasks import get


def cell(run, target, language, seed, metric, numerator):
    """Statistics of one score; ``numerator``: what each example counts."""
    keys = dict(zip(KEYS, ("toy", "pretrained", run, target, "source", 0, language, seed), strict=True))
    ids = [f"{target}-{number}" for number in range(len(numerator))]
    return pd.DataFrame(keys | {"metric": metric, "id": ids, "numerator": numerator, "denominator": 1.0})


def statistics(runs, targets, languages, seeds, examples=100, rng=None, gain=None, spread=0.3):
    """Statistics with known truth: a logit per target, falling with the language's position, plus
    ``gain[run, target]`` and a normal seed effect of sd ``spread``; one and the same examples in every run.

    ``languages``: nearest first, source language first; retrieval targets lack the source.
    """
    rng = rng or np.random.default_rng(0)
    tables = []
    for target in targets:
        task = get(target)
        codes = languages[1:] if task.kind in ("parallel", "mining") else languages
        hardness = rng.normal(0, 1, examples)
        for seed, run in product(seeds, runs):
            shift = (gain or {}).get((run, target), 0) + rng.normal(0, spread)
            for language, metric in product(codes, task_metrics(task)):
                logit = 1.5 - 2.5 * languages.index(language) / len(languages) + shift + hardness
                right = rng.random(examples) < 1 / (1 + np.exp(-logit))
                tables.append(cell(run, target, language, seed, metric, right.astype(float)))
    return pd.concat(tables, ignore_index=True)


def known(score, runs, targets, languages, seeds, examples=20):
    """Statistics without noise: in any metric an example counts ``score(run, target, language, seed)`` per cent, which
    is one number or one for each example."""
    tables = []
    for target in targets:
        for seed, run, language in product(seeds, runs, languages):
            numerator = np.broadcast_to(np.divide(score(run, target, language, seed), 100), examples)
            tables += [cell(run, target, language, seed, metric, numerator) for metric in task_metrics(get(target))]
    return pd.concat(tables, ignore_index=True)


def wanted(runs, targets, languages, seeds):
    """What a finished study of :func:`statistics` has, as ``results.expected`` gives it."""
    rows = []
    for run, target in product(runs, targets):
        codes = languages[1:] if get(target).kind in ("parallel", "mining") else languages
        rows += product([run], [target], codes, seeds)
    return pd.DataFrame(rows, columns=["intermediate", "target", "language", "seed"])


def study(folder, name="toy", **keys) -> Study:
    """A study of the micro-world whose runs lie in ``folder/<name>``; ``keys`` of its file are given."""
    values = {"name": name, "intermediate": ["none"], "targets": ["xnli"], "runs": str(folder), **keys}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(path)


def write(stats, folder, bundle="all"):
    """Lay ``stats`` out as finished run folders below ``folder``."""
    for (run, seed), part in stats.groupby(["intermediate", "seed"]):
        run_folder = folder / "targets" / run / bundle / f"seed{seed}"
        run_folder.mkdir(parents=True)
        part.to_parquet(run_folder / "stats.parquet", index=False)
        (run_folder / "run.json").write_text("{}")


def run_cells(study, notebook=None):
    """Execute the code cells of a notebook, by default the one that answers a study's question, in this process; the
    names they bind."""
    names = {"display": str}
    notebook = notebook or Run(study.question).notebook
    for part in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if part["cell_type"] == "code":
            exec(re.sub(r'^study = ".*?"', f'study = "{study.path}"', "".join(part["source"])), names)
    return names
