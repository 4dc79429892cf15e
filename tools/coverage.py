"""How often 95% intervals hold the truth, in simulated studies; writes coverage.csv beside this file.

``python tools/coverage.py [STUDIES]``. A study has two or ten runs, eight languages, three targets, and 240 test
examples a target, which the languages share ("parallel") or not, in clusters of four ("clustered") or one by one. A
seed moves all scores of a target (the encoder), and each run's by as much; "uneven" runs differ in how much
(log-normally, by a factor of two). The gain falls with distance; slopes are Theil-Sen's. Columns: the setting, then per
quantity the percentage of intervals that hold the truth, and the median width in points.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from xstilts.inference import Scores, difference, mean, mean_score
from xstilts.questions.distance import slope

DISTANCE = pd.Series([0.1, 0.2, 0.25, 0.4, 0.45, 0.6, 0.75, 0.9], list("abcdefgh"))
TARGETS = ("t1", "t2", "t3")
FALL = 0.1  # of the gain of run r1 from distance 0 to 1, as a share of right answers
QUANTITIES = ("score", "mean score", "gain", "mean gain", "average gain", "slope")


def simulate(rng: np.random.Generator, seeds: int, spread: float, runs: int, clustered: bool, parallel: bool,
             uneven: bool, examples: int = 240) -> tuple[Scores, dict[str, float]]:  # fmt: skip
    """One study, and the true values of ``QUANTITIES``. ``spread``: standard deviation over seeds, as a share."""
    values, influence, positions = {}, {}, {}
    size = 4 if clustered else 1
    for target in TARGETS:
        sizes = spread * np.exp(rng.normal(0, 0.7, (runs, 1))) if uneven else spread
        moved = sizes * rng.normal(size=(runs, seeds)) + spread * rng.normal(size=seeds)
        shared = rng.normal(0, 0.15, examples // size)
        for number, (code, far) in enumerate(DISTANCE.items()):
            ease = np.repeat(shared if parallel else rng.normal(0, 0.15, examples // size), size)
            ease = ease + rng.normal(0, 0.1, examples)
            chance = 0.55 + ease + moved[:, :, None]
            chance[1] -= FALL * far
            right = 100.0 * (rng.random(chance.shape) < chance)
            apart = (right - right.mean(axis=-1, keepdims=True)) / examples
            apart = apart.reshape(runs, seeds, -1, size).sum(axis=-1)
            start = 0 if parallel else number * examples
            positions[target, code] = start + np.arange(examples // size)
            for run in range(runs):
                values[f"r{run}", target, code] = right[run].mean(axis=-1)
                influence[f"r{run}", target, code] = apart[run]
    fall, far = -100 * FALL, DISTANCE.mean()
    truth = (55.0, 55.0, fall * DISTANCE["a"], fall * far, fall * far, fall)
    return Scores(values, list(range(seeds)), influence, positions), dict(zip(QUANTITIES, truth, strict=True))


def intervals(scores: Scores) -> dict[str, tuple[float, float]]:
    """The interval of each of ``QUANTITIES``."""
    codes = list(DISTANCE.index)

    def gain(target: str, languages: list[str]) -> dict:
        return difference(mean_score("r1", target, languages), mean_score("r0", target, languages))

    quantities = {
        "score": mean_score("r0", "t1", ["a"]),
        "mean score": mean_score("r0", "t1", codes),
        "gain": gain("t1", ["a"]),
        "mean gain": gain("t1", codes),
        "average gain": mean([gain(target, codes) for target in TARGETS]),
    }
    ends = {name: scores.estimate(quantity)[1:3] for name, quantity in quantities.items()}
    return ends | {"slope": slope(scores, DISTANCE, {code: gain("t1", [code]) for code in codes})[1:3]}


def coverage(studies: int, seed: int = 0, **setting) -> dict[str, float]:
    """Percentage of intervals that hold the truth, and their median width, by quantity."""
    rng, held, widths = np.random.default_rng(seed), [], []
    for _ in range(studies):
        scores, truth = simulate(rng, **setting)
        ends = intervals(scores)
        held.append([low <= truth[name] <= high for name, (low, high) in ends.items()])
        widths.append([high - low for low, high in ends.values()])
    columns = dict(zip(QUANTITIES, 100 * np.mean(held, axis=0), strict=True))
    return columns | {
        f"{name}, width": width for name, width in zip(QUANTITIES, np.median(widths, axis=0), strict=True)
    }


SHAPES = [
    {"runs": 10, "clustered": False, "parallel": True, "uneven": False},
    {"runs": 10, "clustered": True, "parallel": True, "uneven": True},
    {"runs": 10, "clustered": False, "parallel": False, "uneven": True},
    {"runs": 2, "clustered": True, "parallel": True, "uneven": False},
]


def main(studies: int) -> None:
    rows = []
    for shape, (seeds, spread) in product(SHAPES, product((2, 3, 5), (0.0, 0.01, 0.05))):
        setting = {"seeds": seeds, "spread": spread, **shape}
        rows.append(setting | {"studies": studies} | coverage(studies, **setting))
        print({key: round(value, 1) for key, value in rows[-1].items() if "width" not in key}, flush=True)
        table = pd.DataFrame(rows).round(dict.fromkeys(rows[-1].keys() - setting.keys(), 1))
        table.to_csv(Path(__file__).with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
