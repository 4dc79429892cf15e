"""The paper's study in small: every phase and target from a mirror of the hub, with a tiny XLM-R-shaped checkpoint."""

import yaml

import mirror
import small
from hostile_files import asked, squad
from toy import build_checkpoint
from xstilts.io import read_record
from xstilts.preflight import check_data
from xstilts.runs import Run
from xstilts.study import load_study

PASSAGE = "Die Verteidigung gab nur 308 Punkte ab."


def test_the_papers_study_runs_from_a_mirror(tmp_path):
    answers = ("308", PASSAGE.index("308")), ("Punkte", 0)  # the second is not where translation left it
    translated = tmp_path / "translations/xtreme_translations/SQuAD/translate-train/squad.translate.train.en-de.json"
    translated.parent.mkdir(parents=True)
    translated.write_text(squad(*(asked(text, (text, start)) for text, start in answers), context=PASSAGE))
    steps = {"steps": 2, "epochs": 0}
    short = steps | {"batch_size": 2, "accumulate": 1, "evaluate_every": 1, "patience": 1}
    values = {
        "based_on": "xtreme", "name": "small", "runs": str(tmp_path / "runs"), "figures": str(tmp_path / "figures"),
        "hub": mirror.settings(ccgbank="", translations=str(tmp_path / "translations")).model_dump(),
        "intermediate": ["none", "ccg", "multi+mlm", "squad1@mt"], "bundle": "all",
        "languages": ["en", "de", "sw", "zh"], "encoder": {"checkpoint": str(build_checkpoint(tmp_path / "encoder"))},
        "training": {
            "intermediate": short, "target": short, "max_length": {"span": 64, "stride": 16, "retrieval": 128},
            "overrides": {"pawsx": steps, "udpos": steps, "panx": steps},  # the paper's epochs give way to them
        },
        "retrieval": {"layer": 1},
    }  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    study = load_study(path)
    check_data(study)
    stats = small.at_once(path)
    assert set(stats["intermediate"]) == set(study.intermediate) - {"ccg"}
    assert stats.groupby("target")["language"].nunique().to_dict() == {
        "xnli": 4, "pawsx": 3, "udpos": 3, "panx": 4, "xquad": 3, "mlqa": 3, "tydiqa": 2, "bucc": 2, "tatoeba": 3,
    }  # fmt: skip
    record = read_record(Run("intermediate", 1, "squad1@mt").folder(study) / "training.json")
    assert record["dropped"] == {"squad1": 1} and record["examples"] == {"squad1": 1}
    assert record["selection"]["curve"], "checkpoints are compared on the English development set"
    record = read_record(Run("intermediate", 1, "multi+mlm").folder(study) / "training.json")
    assert {name for name, count in record["dropped"].items() if count} == {"anli"}, "SNLI's row without a label"
    assert record["examples"]["mlm"] == 24 and "ccg" not in record["examples"]
    record = read_record(Run("targets", 1, "none", "all").folder(study) / "xquad/scored.json")
    assert record["dropped"] == {"squad1": 0} and set(record["left_out"].values()) == {0}
