"""What the tables of 5-distance.ipynb must hold, computed anew from the statistics on disk, one number at a time."""

import statistics
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import IsotonicRegression

from xstilts.sources import open_source
from xstilts.tasks import get

FIGURES = ("gain-distance", "slopes", "learning-curves", "examples-worth", "alignment", "robustness")
METRICS = {"udpos": ["f1"], "tydiqa": ["f1", "exact_match"], "xquad": ["f1", "exact_match"], "xnli": ["accuracy"]}


def scores(folder, bundle):
    """{(run, training language, examples, target, language): score}, mean over seeds; percent."""
    by_seed = {}
    for path in sorted(folder.glob(f"targets/*/{bundle}/seed*/stats.parquet")):
        table = pd.read_parquet(path)
        for key, rows in table.groupby(["intermediate", "training_language", "examples", "target", "language"]):
            if key[3] in METRICS:
                parts = [rows[rows["metric"] == metric] for metric in METRICS[key[3]]]
                sums = [(part["numerator"].sum(), part["denominator"].sum()) for part in parts]
                by_seed.setdefault(key, []).append(np.mean([100 * right / of if of else 0 for right, of in sums]))
    return {key: np.mean(values) for key, values in by_seed.items()}


def theil_sen(points):
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0])


def examples_at(curve, level):
    """Where isotonic regression on log examples first meets the level; 0 below the first point, inf above all."""
    sizes = sorted(curve)
    fitted = IsotonicRegression().fit_transform(np.log10(sizes), [curve[size] for size in sizes])
    if level <= fitted[0] or level > fitted[-1]:
        return 0 if level <= fitted[0] else np.inf
    place = next(number for number, value in enumerate(fitted) if value >= level)
    return 10 ** np.interp(level, fitted[place - 1 : place + 1], np.log10(sizes[place - 1 : place + 1]))


def check(study, averaged, codes):
    """Slopes, means and crossings of a finished study whose intermediate runs in the source language are ``averaged``
    and whose zero-shot languages are ``codes``."""
    source = open_source(study)
    output, far = study.own_folder / "distance", source.language_table()["distance"]
    own, direct = scores(study.folder, "all"), scores(study.folder, "direct")
    targets = study.further["direct"].targets
    slopes = pd.read_parquet(output / "slopes.parquet").set_index(["part", "series", "quantity"])["value"]
    worth = pd.read_parquet(output / "worth.parquet").set_index(["target", "language", "run"])["examples"]
    checked = 0
    for target in targets:
        here = [code for code in codes if ("none", "source", 0, target, code) in own]
        gain = {
            (run, code): own[run, "source", 0, target, code] - own["none", "source", 0, target, code]
            for run in averaged
            for code in here
        }
        series = {run: [(far[code], gain[run, code]) for code in here] for run in averaged}
        series["intermediate"] = [(far[code], np.mean([gain[run, code] for run in averaged])) for code in here]
        series["direct"] = [
            (far[code], direct["none", code, 0, target, code] - own["none", "source", 0, target, code]) for code in here
        ]
        for name, points in series.items():
            assert slopes[target, name, "mean"] == pytest.approx(np.mean([value for _, value in points]), abs=1e-5)
            if len(points) > 2:
                assert slopes[target, name, "slope"] == pytest.approx(theil_sen(points), abs=1e-4)
                checked += 1
        for code in here:
            whole = source.size(study.training_task(get(target)), "train", code)
            sizes = sorted({examples or whole for examples in study.further["direct"].examples})
            curve = {size: direct["none", code, size % whole, target, code] for size in sizes}
            levels = {run: own[run, "source", 0, target, code] for run in ("none", *averaged)}
            levels["intermediate"] = np.mean([levels[run] for run in averaged])
            for run, level in levels.items():
                assert worth[target, code, run] == pytest.approx(examples_at(curve, level), rel=1e-4)
        for run in levels:
            numbers = [worth[target, code, run] for code in here]
            assert worth[target, "median", run] == statistics.median_low(numbers)
    assert checked >= len(averaged) + 2
