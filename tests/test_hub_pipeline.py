"""The paper's study in small: every phase and target from a mirror of the hub, with a tiny XLM-R-shaped checkpoint."""

import json

import pandas as pd
import yaml

import commands
import mirror
import small
from toy import build_checkpoint
from xstilts import phases
from xstilts.io import read_record
from xstilts.results import read_stats
from xstilts.runs import Run, list_runs
from xstilts.sources import open_source
from xstilts.study import load_study

PASSAGE = "Die Verteidigung gab nur 308 Punkte ab."


def test_the_papers_study_runs_from_a_mirror(tmp_path):
    build_checkpoint(tmp_path / "encoder")
    answers = {"308": PASSAGE.index("308"), "Punkte": 0}  # the second is not where translation left it
    questions = [
        {"id": text, "question": "Wie viele?", "answers": [{"text": text, "answer_start": start}]}
        for text, start in answers.items()
    ]
    translated = tmp_path / "translations/xtreme_translations/SQuAD/translate-train/squad.translate.train.en-de.json"
    translated.parent.mkdir(parents=True)
    translated.write_text(json.dumps({"data": [{"title": "", "paragraphs": [{"context": PASSAGE, "qas": questions}]}]}))
    short = {"steps": 2, "epochs": 0, "batch_size": 2, "accumulate": 1, "evaluate_every": 1, "patience": 1}
    values = {
        "based_on": "xtreme", "name": "small", "runs": str(tmp_path / "runs"), "figures": str(tmp_path / "figures"),
        "hub": mirror.settings(ccgbank="", translations=str(tmp_path / "translations")).model_dump(),
        "intermediate": ["none", "ccg", "mnli", "multi", "mnli+mlm", "squad1@mt"], "bundle": "all",
        "encoder": {"checkpoint": str(tmp_path / "encoder")},
        "training": {
            "intermediate": short, "target": short, "max_length": {"span": 64, "stride": 16, "retrieval": 128},
        },
        "retrieval": {"layer": 1},
    }  # fmt: skip
    for name in ("pawsx", "udpos", "panx"):  # the paper's epochs give way to the steps above
        values["training"].setdefault("overrides", {})[name] = {"steps": 2, "epochs": 0}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    study = load_study(path)
    source, here = open_source(study), ["mnli", "multi", "mnli+mlm"]
    phases.encoder(study, source, 1)
    for name in here:  # in this process, which is quicker; the others, and phase 1, are left to the command
        phases.intermediate(study, source, name, 1)
        assert len(list(phases.targets(study, source, name, "all", 1))) == len(study.targets)
    small.prove(study, [run for run in list_runs(study) if run.intermediate in here])
    said = commands.run("make study STUDY=xtreme", STUDY=path)
    assert "ccg is left out; multi is trained without ccg" in said and "5 of 11 runs to do" in said
    stats = read_stats(study)
    assert set(stats["intermediate"]) == set(study.intermediate) - {"ccg"} and set(stats["target"]) == set(
        study.targets
    )
    assert stats.groupby("target")["language"].nunique().to_dict() == {
        "xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9, "bucc": 4, "tatoeba": 36,
    }  # fmt: skip
    record = read_record(Run("intermediate", 1, "squad1@mt").folder(study) / "run.json")["training"]
    assert record["dropped"] == {"squad1": 1} and record["examples"] == {"squad1": 1}
    assert record["selection"]["curve"], "checkpoints are compared on the English development set"
    record = read_record(Run("intermediate", 1, "mnli+mlm").folder(study) / "run.json")["training"]
    assert record["examples"]["mlm"] > 40
    record = read_record(Run("intermediate", 1, "multi").folder(study) / "run.json")["training"]
    assert {name for name, count in record["dropped"].items() if count} == {"anli"}, "SNLI's row without a label"
    record = read_record(Run("targets", 1, "none", "all").folder(study) / "run.json")["targets"]
    assert record["xquad"]["dropped"] == {"squad1": 0} and set(record["xquad"]["left_out"].values()) == {0}
    table = pd.read_csv(tmp_path / "figures/small/heatmap-mean.csv")
    assert table.loc[table["intermediate"] == "ccg", "value"].isna().all(), "left out by name, and shown as missing"
