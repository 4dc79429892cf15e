"""Made-up published numbers, estimates and settings in which they agree."""

import dataclasses

import numpy as np
import pandas as pd

from xstilts import published
from xstilts import published as comparison
from xstilts.published import COLUMNS, Setting
from xstilts.results import MEAN
from xstilts.tasks import TASKS, get

NINE = ["xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"]
RUNS = ["none", "mnli", "squad1", "hellaswag", "multi", "ccg"]


def estimates(values, language=MEAN):
    """Estimates by hand: {(run, target, quantity): value}, each with an interval of one point either side."""
    rows = [
        (run, target, language, kind, value, value - 1, value + 1, 3, 1, 1)
        for (run, target, kind), value in values.items()
    ]
    head = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
    return pd.DataFrame(rows, columns=head)


def whole(targets):
    """A setting in which every set is the published one, scored on its test split, retrieval as the authors'."""
    splits = {target: comparison._only_split(get(target)) or "test" for target in targets}
    examples = {
        (target, code): comparison.set_sizes().get((target, splits[target], code), (0, 0))[1]
        for target in targets
        for code in get(target).languages
    }
    examples |= {("tydiqa", code): 564 + (code == "ar") for code in get("tydiqa").languages if "tydiqa" in targets}
    return Setting(False, splits, examples, {}, {}, (14, "mean"))


def one(target="xnli", run="mnli", value=75.0, **more):
    task = TASKS.get(target)
    row = dict.fromkeys(COLUMNS, "") | {"system": "S", "source": "there", "provenance": "seen", "split": "test"}
    row |= {"intermediate": run, "target": target, "language": MEAN, "kind": "score", "value": value, "layer": np.nan}
    row |= {"languages": len(task.languages) if task else np.nan}
    row |= {"metric": published.metric_of(task) if task else published.MEAN_OF_TARGETS}
    return pd.DataFrame([row | more])


def without(setting, **changes):
    return dataclasses.replace(setting, **changes)


def resized(setting, sizes):
    return without(setting, examples={key: count for key, count in (setting.examples | sizes).items() if count})
