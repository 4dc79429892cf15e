"""Made-up statistics of a study's target runs, quickly and at any size."""

import json
import re

import numpy as np
import pandas as pd
import yaml

from xstilts.io import ROOT
from xstilts.results import KEYS, task_metrics
from xstilts.settings import Study
from xstilts.study import load_study
from xstilts.tasks import get


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
        for seed in seeds:
            for run in runs:
                shift = (gain or {}).get((run, target), 0) + rng.normal(0, spread)
                for language in codes:
                    logit = 1.5 - 2.5 * languages.index(language) / len(languages) + shift + hardness
                    for metric in task_metrics(task):
                        right = rng.random(examples) < 1 / (1 + np.exp(-logit))
                        tables.append(
                            pd.DataFrame(
                                {
                                    "study": "toy", "encoder": "pretrained", "intermediate": run, "target": target,
                                    "training_language": "source", "examples": 0, "language": language, "seed": seed,
                                    "metric": metric, "id": [f"{target}-{i}" for i in range(examples)],
                                    "numerator": right.astype(float), "denominator": 1.0,
                                }
                            )
                        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def known(score, runs, targets, languages, seeds, examples=20):
    """Statistics without noise: every example counts ``score(run, target, language, seed)`` per cent, in any metric."""
    rows = [
        (
            "toy",
            "pretrained",
            run,
            target,
            "source",
            0,
            language,
            seed,
            metric,
            str(number),
            score(run, target, language, seed) / 100,
            1.0,
        )
        for target in targets
        for seed in seeds
        for run in runs
        for language in languages
        for metric in task_metrics(get(target))
        for number in range(examples)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "id", "numerator", "denominator"])


def wanted(runs, targets, languages, seeds):
    """What a finished study of :func:`statistics` has, as ``results.expected`` gives it."""
    rows = [
        (run, target, language, seed)
        for run in runs
        for target in targets
        for language in (languages[1:] if get(target).kind in ("parallel", "mining") else languages)
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["intermediate", "target", "language", "seed"])


def study(folder, name="toy", **keys) -> Study:
    """A study of the micro-world whose runs lie in ``folder/<name>``; ``keys`` of its file are given."""
    values = {"name": name, "intermediate": ["none"], "targets": ["xnli"], "runs": str(folder), **keys}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(path)


def write(stats, folder):
    """Lay ``stats`` out as finished run folders below ``folder``."""
    for (run, seed), part in stats.groupby(["intermediate", "seed"]):
        here = folder / "targets" / run / "all" / f"seed{seed}"
        here.mkdir(parents=True)
        part.to_parquet(here / "stats.parquet", index=False)
        (here / "run.json").write_text("{}")


def run_cells(notebook, study):
    """Execute the code cells of a notebook on the study of a file, in this process; the names that they bind."""
    names = {"display": str}
    for cell in json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(re.sub(r'^study = ".*?"', f'study = "{study}"', "".join(cell["source"])), names)
    return names
