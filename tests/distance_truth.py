"""What the table of slopes of 5-distance.ipynb must hold, computed anew from the statistics on disk."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import theilslopes

from xstilts.sources import open_source

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


def check(study, averaged, codes):
    """Means and slopes of a finished study whose intermediate runs in the source language are ``averaged`` and whose
    zero-shot languages are ``codes``."""
    distance = open_source(study).language_table()["distance"]
    own, direct = scores(study.folder, "all"), scores(study.folder, "direct")
    table = pd.read_parquet(study.own_folder / "distance" / "slopes.parquet")
    table = table.set_index(["part", "series", "quantity"])["value"]
    for target in study.further["direct"].targets:
        scored = [code for code in codes if ("none", "source", 0, target, code) in own]
        none = np.array([own["none", "source", 0, target, code] for code in scored])
        gains = {run: [own[run, "source", 0, target, code] for code in scored] - none for run in averaged}
        gains["intermediate"] = np.mean(list(gains.values()), axis=0)
        gains["direct"] = [direct["none", code, 0, target, code] for code in scored] - none
        for series, values in gains.items():
            assert table[target, series, "mean"] == pytest.approx(values.mean(), abs=1e-5)
            if len(scored) > 2:
                slope = theilslopes(values, distance[scored]).slope
                assert table[target, series, "slope"] == pytest.approx(slope, abs=1e-4)
    assert {"intermediate", "direct"} <= set(table.xs("slope", level="quantity").index.get_level_values("series"))
