"""What a final notebook says: of a study that is not finished, of guesses, and in how many words and numbers."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from IPython.core.interactiveshell import InteractiveShell

import small
from xstilts import summaries
from xstilts.io import ROOT, write_record, write_table
from xstilts.results import MACRO, MEAN
from xstilts.runs import Run, finished_target_runs, list_runs
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.tasks import TASKS, get
from xstilts.training.tokenizer import train_tokenizer

COLUMNS = ["intermediate", "target", "language", "quantity", "value", "low", "high", "seeds", "languages", "targets"]
STUDY = SimpleNamespace(source="micro", encoder=SimpleNamespace(checkpoint=""), absence="", task=get)
GAP = (np.nan, np.nan, np.nan)
RHO = pd.DataFrame({"target": ["xnli", "xquad"], "rho": [-0.9, -0.2], "low": -1.0, "high": [-0.5, 0.4], "languages": 7})


def table(gains, scores=None, seeds=5):
    """Estimates over all languages: {(run, target): (value, low, high)}; a score is 80, unless ``scores`` has it."""
    rows = [(run, target, MEAN, "gain", *numbers, seeds, 8, 1) for (run, target), numbers in gains.items()]
    pairs = dict.fromkeys([*gains, *(("none", target) for _, target in gains)])
    score = dict.fromkeys(pairs, (80, 79, 81)) | (scores or {})
    rows += [(run, target, MEAN, "score", *numbers, seeds, 8, 1) for (run, target), numbers in score.items()]
    made = pd.DataFrame(rows, columns=COLUMNS)
    apart = (made["low"] > 0) | (made["high"] < 0)
    made["p"] = np.where(apart, 0.001, 0.5) * made["value"].where(made["quantity"] == "gain").notna().replace(
        False, np.nan
    )
    chance = [get(name).chance if name in TASKS else np.nan for name in made["target"]]
    return made.assign(learned=(made["low"] > chance).astype(float), budget=False)


CELLS = {
    ("mnli", "xnli"): (7.14, 5, 9.3), ("mnli", "xquad"): (-3, -4, -2), ("mnli", "mlqa"): (-1, -2, -0.5),
    ("mnli", "udpos"): (0.2, -1, 1.4), ("mnli", MACRO): (1.5, 0.4, 2.5), ("ccg", "xnli"): (9, 1, 11),
    ("ccg", "xquad"): (1, -1, 3), ("ccg", "mlqa"): (1, -1, 3), ("ccg", "udpos"): GAP, ("ccg", MACRO): GAP,
    ("qqp", "xnli"): (-3, -4, -2), ("qqp", "xquad"): (1, -1, 3), ("qqp", "mlqa"): (1, -1, 3),
    ("qqp", "udpos"): (1, -1, 2), ("qqp", MACRO): (0.3, -1, 1),
}  # fmt: skip


def test_the_run_to_train_first_helps_and_beats_guessing():
    verdicts = summaries.transfer_verdicts(table(CELLS), STUDY)
    assert verdicts.to_numpy().tolist() == [
        ["XNLI", "`ccg`", "+9.0 [1.0, 11.0]", "`qqp`"],
        ["XQuAD, MLQA", "none", "–", "`mnli`"],  # targets of one kind that agree share a row
        ["UDPOS", "none", "–", "–"],
    ]
    guessed = summaries.transfer_verdicts(table(CELLS, {("ccg", "xnli"): (40, 33, 47)}), STUDY)
    assert guessed.iloc[0].tolist() == ["XNLI", "`mnli`", "+7.1 [5.0, 9.3]", "`qqp`"], "33.3 is guessing"
    made = table(CELLS)
    budget = made.assign(budget=made["intermediate"].eq("ccg") & made["target"].eq("xnli"))
    assert summaries.transfer_verdicts(budget, STUDY).iloc[0, :2].tolist() == ["XNLI", "`mnli`"]
    assert "Budget: 1 of the starred gains" in " ".join(summaries.transfer_sentences(budget, RHO, STUDY))
    controls = made.replace({"ccg": "none+steps", "mnli": "squad1+shuffled"})
    assert summaries.transfer_verdicts(controls, STUDY).iloc[0, :2].tolist() == ["XNLI", "none"]
    longer = summaries.transfer_sentences(made.replace({"mnli": "none+steps"}), RHO, STUDY)
    assert "As many more steps on all targets instead, `none+steps`: +1.5 [0.4, 2.5]." in longer
    gaps = summaries.transfer_verdicts(table({("mnli", "xnli"): GAP}), STUDY)
    assert gaps.iloc[0].tolist() == ["XNLI", "missing", "–", "–"]


def test_the_answer_is_what_the_numbers_say():
    estimates = table(CELLS)
    sentences = summaries.transfer_sentences(estimates, RHO, STUDY)
    text = summaries.question_answer(STUDY, 5, sentences, summaries.transfer_verdicts(estimates, STUDY))
    assert text.startswith("- In the generated micro-world (constructed languages; not XTREME): 5 seeds, each with an")
    assert "On average over the targets `mnli` is shown to help, no run to hurt." in sentences
    assert "Of 11 differences 5 are starred (false discoveries 5%); 5 intervals exclude zero." in sentences
    assert sentences[-1].endswith("fall with distance from the source language in 1 of 2 targets.")
    assert not any("guessing" in sentence for sentence in sentences)
    assert "| XNLI | `ccg` | +9.0 [1.0, 11.0] | `qqp` |" in text
    assert "one seed: the intervals cover test examples alone" in summaries.question_answer(STUDY, 1, [], RHO)
    partial = SimpleNamespace(**{**vars(STUDY), "absence": "ccg is left out"})
    assert summaries.transfer_sentences(estimates, RHO, partial)[0] == "Not the whole study: ccg is left out."


def test_guessing_is_judged_for_the_run_that_the_table_names():
    """XNLI has three labels, PAWS-X two, XCOPA two choices; of others a guess has no score."""
    scores = {
        ("none", "xnli"): (30, 28, 32), ("mnli", "xnli"): (60, 50, 70), ("none", "pawsx"): (51, 49, 53),
        ("mnli", "pawsx"): (70, 48, 90), ("mnli", "xcopa"): (51, 40, 60), ("none", "xquad"): (1, 0, 2),
    }  # fmt: skip
    gains = {("mnli", target): (9, 2, 20) for target in ("xnli", "pawsx", "xcopa", "xquad")}
    estimates = table(gains, scores)
    verdicts = summaries.transfer_verdicts(estimates, STUDY).set_index("target")["train first"]
    # XNLI: mnli is named and has learned it; PAWS-X: mnli is not shown to have; XCOPA: none is named, at 80
    assert verdicts.to_dict() == {"XNLI": "`mnli`", "PAWS-X": "none", "XCOPA": "none", "XQuAD": "`mnli`"}
    assert summaries.guessing(estimates, STUDY) == ["PAWS-X"]
    sentence = "With the run named below, scores are no better than guessing on PAWS-X."
    assert sentence in summaries.transfer_sentences(estimates, RHO, STUDY)


def test_intervals_read_well():
    def text(value, low, high, quantity="gain"):
        return summaries.with_interval(SimpleNamespace(quantity=quantity, value=value, low=low, high=high))

    assert text(-0.04, -1.26, 1.0) == "+0.0 [−1.3, 1.0]"
    assert text(61.25, -1.26, 1.0, "score") == text(np.float64(61.25), -1.26, 1.0, "score") == "61.2 [−1.3, 1.0]"
    # an interval that excludes zero does not say zero; one that holds it may
    assert text(-1.7, -3.1, -0.04) == "−1.7 [−3.1, −0.04]" and text(2.5, 0.003, 4) == "+2.5 [0.003, 4.0]"
    assert text(-1.7, -3.1, 0.04) == "−1.7 [−3.1, 0.0]" and text(0.5, 0, 1) == "+0.5 [0.0, 1.0]"


@pytest.mark.parametrize("path", sorted((ROOT / "figures").glob("*/answer.md")), ids=lambda path: path.parent.name)
def test_an_answer_is_short(path):
    prose, _, verdicts = path.read_text(encoding="utf-8").partition("\n\n")
    assert len(prose.split()) <= 120 and verdicts.startswith("| ")
    for sentence in re.split(r"(?<=[.:;]) |\n", re.sub("`[^`]*`", "", prose)):
        assert len(re.findall(r"[−+]?\d+(?:[.,]\d+)*", sentence)) <= 3, sentence


def test_one_answer_to_everything_and_unknown_text_end_the_reading(tmp_path):
    answers = {"xnli": ["1", "1"], "udpos": ["X X", "X"], "xquad": ["", ""]}
    study = load_study(small.write(tmp_path, "toy", targets=[*answers], bundle="all"))
    source, (encoder, _, *runs, _) = open_source(study), list_runs(study)

    def scored(run, name, answers):
        table = pd.DataFrame({"language": "qaa", "id": ["1", "2"], "prediction": answers})
        write_table(table, run.folder(study) / name / "predictions.parquet")
        write_record(run.folder(study) / "run.json", {"seconds": 1})

    for name in answers:
        scored(runs[0], name, answers[name])
        scored(runs[1], name, ["2", "2"] if name == "xnli" else answers[name])  # a class of its own
    reasons = summaries.incomparable(study, source)
    assert list(reasons) == list(answers)
    answer = summaries.question_answer(study, 1, ["`mnli` helps."], RHO, reasons=reasons)
    assert answer.startswith("- **On XNLI every run gives one answer to all examples: nothing was learned.")
    assert "mnli" not in answer and "|" not in answer
    scored(runs[1], "xquad", ["Ana", ""])
    reasons = summaries.incomparable(study, source)
    assert list(reasons) == ["xnli", "udpos"]
    answer = summaries.question_answer(study, 1, ["`mnli` helps."], RHO, reasons=reasons)
    assert "\n- On UDPOS every run" in answer and "- `mnli` helps.\n" in answer
    tokenizer = train_tokenizer(Dataset.from_dict({"text": ["other words"]}), study.encoder.pretrain)
    tokenizer.save_pretrained(encoder.folder(study) / "checkpoint")
    reasons = summaries.incomparable(study, source)
    assert list(reasons) == list(answers)
    assert all("The encoder does not know 100% of the text of " in reason for reason in reasons.values())


# --- a study that is not finished ----------------------------------------------------------------------------


def test_nothing_to_show_is_one_line_in_jupyter(tmp_path, capsys):
    path = small.write(tmp_path, "toy")
    with pytest.raises(summaries.NothingToShow, match=f"Nothing to show yet: run `make study STUDY={path}`"):
        summaries.report_missing(load_study(path))
    imports = "from xstilts.study import load_study; from xstilts.summaries import report_missing"
    InteractiveShell().run_cell(f"{imports}\nreport_missing(load_study('{path}'))")
    InteractiveShell.clear_instance()
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Nothing to show yet")


def test_missing_runs_are_named(tmp_path):
    study = load_study(small.write(tmp_path, "toy"))
    for name in ("none", "mnli"):
        record = Run("targets", 1, name, "xnli").folder(study) / "run.json"
        record.parent.mkdir(parents=True)
        record.write_text("{}")
    text = summaries.report_missing(study).data
    assert "2 of 4 target runs are done" in text and "`targets/mnli/tatoeba/seed1`" in text


def test_runs_by_hand_are_finished_until_their_settings_change(tmp_path):
    changes = {"intermediate": ["none"], "targets": ["xnli"]}
    study = load_study(small.write(tmp_path, "toy", **changes))
    small.at_once(tmp_path / "toy.yaml")
    (run,) = finished_target_runs(study, ["xnli"])
    assert summaries.report_missing(study) is None
    training = small.SMALL["training"] | {"target": {"steps": 3, "learning_rate": 0.001}}
    changed = load_study(small.write(tmp_path, "toy", training=training, **changes))
    assert finished_target_runs(changed, ["xnli"]) == []
    (run.folder(study) / "stats.parquet").unlink()  # as when it was interrupted before they were gathered
    assert finished_target_runs(study, ["xnli"]) == []
