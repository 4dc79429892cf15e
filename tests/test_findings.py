"""The paper's findings, and the same comparisons in a study of known truth."""

import pandas as pd
import pytest

from synthetic import known, study, wanted
from xstilts.findings import findings
from xstilts.inference import from_statistics

CODES = ["qaa", "qab", "qac", "qad", "qae", "qaf"]
RUNS = {"none": 40, "none+steps": 50, "mnli": 50, "squad1": 45, "multi": 60, "squad1+mlm": 45, "mnli@qad": 46}


@pytest.fixture
def table(tmp_path):
    def score(run, target, language, seed):
        extra = 4 if run == "squad1" and target == "xquad" else 0
        return RUNS[run] + extra - 2 * CODES.index(language) + seed

    targets, seeds = ["xnli", "xquad", "tatoeba"], [1, 2, 3]
    made = study(tmp_path, intermediate=[*RUNS, "mnli+shuffled"], targets=targets)
    scores = from_statistics(known(score, list(RUNS), targets, CODES, seeds))
    distance = pd.Series(range(len(CODES)), CODES, dtype=float)
    return findings(scores, made, wanted(list(RUNS), targets, CODES, seeds), distance).set_index("finding")


def test_by_hand(table):
    values = {
        "Intermediate tasks help, on average over the targets": ("+", (10 + 5 + 4 / 3) / 2),
        "They raise retrieval": ("+", 7.5),
        "Question answering helps question answering": ("+", 9),
        "All tasks at once are better than the average task": ("+", 60 - (95 + 4 / 3) / 2),
        "MNLI helps XNLI no more than as many steps do": ("0", 0),
        "Masked LM beside the task is no consistent help": ("−", -4 / 3),
        "Other languages in phase 2 are no consistent help": ("−", -4),
        "Zero-shot scores fall with distance": ("−", -1),
    }
    assert table["here"].to_dict() == {name: sign for name, (sign, _) in values.items()}
    assert table["value"].to_dict() == pytest.approx({name: value for name, (_, value) in values.items()})
    assert table["there"].tolist() == ["+", "+", "+", "+", "0", "0", "0", "−"]
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["high"] >= table["value"] - 1e-9).all()


def test_what_a_study_lacks_is_left_out_and_one_seed_shows_no_sign(tmp_path):
    made = study(tmp_path, intermediate=["none", "squad1"], targets=["tatoeba"])
    scores = from_statistics(
        known(lambda run, target, language, seed: RUNS[run], ["none", "squad1"], ["tatoeba"], CODES, [1])
    )
    rows = findings(scores, made, wanted(["none", "squad1"], ["tatoeba"], CODES, [1]), pd.Series(1.0, CODES))
    averages = ["Intermediate tasks help, on average over the targets", "They raise retrieval"]
    assert rows[["finding", "here"]].values.tolist() == [[name, "?"] for name in averages]
