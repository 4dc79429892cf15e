"""Submission files byte for byte, as XTREME's and XTREME-R's scorer reads them."""

import json
import sys

import pandas as pd
import pytest
from datasets import Dataset

import synthetic
from xstilts import __main__ as command
from xstilts import submission
from xstilts.errors import UserError

PREDICTIONS = {  # target -> (language, id, prediction) as phase 3 leaves them
    "xnli": [("de", "1", "0"), ("de", "2", "2"), ("de", "3", "1"), ("zh", "1", "1"), ("zh", "2", "0")],
    "udpos": [("th", "a", "NOUN VERB PUNCT"), ("th", "b", "X"), ("th", "c", "DET NOUN")],
    "xquad": [("zh", "56be", "第六"), ("zh", "56bf", '"308" 分'), ("th", "56be", "เพียง")],
    "tydiqa": [("ar", "arabic-1-2", "نعم")],
    "xcopa": [("qu", "10", "1"), ("qu", "11", "0")],
    "bucc": [("fr", "fr-1", "en-7"), ("fr", "fr-2", ""), ("fr", "fr-3", "en-4")],
    "tatoeba": [("el", "1", "3"), ("el", "2", "2"), ("el", "3", "1"), ("el", "4", "2")],
    "mewslix": [("ta", "8e18", "Q46930 Q233750 Q1"), ("ta", "9f29", "Q7")],
    "lareqa": [("de", "1", "de_0_1 en_0_1")],
}
FILES = {
    "xnli/test-de.tsv": "entailment\ncontradiction\nneutral\n",
    "xnli/test-zh.tsv": "neutral\nentailment\n",
    "udpos/test-th.tsv": "NOUN\nVERB\nPUNCT\n\nX\n\nDET\nNOUN\n",
    "xquad/test-zh.json": {"56be": "第六", "56bf": '"308" 分'},
    "xquad/test-th.json": {"56be": "เพียง"},
    "tydiqa/test-ar.json": {"arabic-1-2": "نعم"},
    "xcopa/test-qu.jsonl": '{"label": 1}\n{"label": 0}\n',
    "mewslix/test-ta.json": {"8e18": ["Q46930", "Q233750", "Q1"], "9f29": ["Q7"]},
    "bucc2018/test-fr.tsv": "fr-1\ten-7\nfr-3\ten-4\n",
    # sorted: "A cat." (3, found 1: line 0), "Rain." (1, found 3: line 2; 4, found 2: line 1), "Zoo." (2, found 2)
    "tatoeba/test-el.tsv": "0\n2\n1\n1\n",
}
ENGLISH = ["Rain.", "Zoo.", "A cat.", "Rain. "]


class Sentences:
    def load(self, task, split, language):
        assert (task.name, split, language) == ("tatoeba", "test", "el")
        return Dataset.from_dict({"id": ["1", "2", "3", "4"], "query": ENGLISH, "candidate": ["α", "β", "γ", "δ"]})


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose run of mnli, seed 2, is done: each target in a bundle of its own."""
    study = synthetic.study(tmp_path, "mine", intermediate=["none", "mnli"], targets=list(PREDICTIONS), bundle="each")
    for target, rows in PREDICTIONS.items():
        folder = study.folder / "targets" / "mnli" / target / "seed2" / target
        folder.mkdir(parents=True)
        pd.DataFrame(rows, columns=["language", "id", "prediction"]).to_parquet(folder / "predictions.parquet")
        (folder / "scored.json").write_text(json.dumps({"split": "dev" if target == "tydiqa" else "test"}))
    monkeypatch.setattr(submission, "Fingerprints", lambda study: None)
    states = {("mnli", 2): "done"}
    monkeypatch.setattr(submission, "state", lambda _, run, *__: states.get((run.intermediate, run.seed), "missing"))
    monkeypatch.setattr("xstilts.sources.open_source", lambda study: Sentences())
    return study


def test_every_format_to_the_byte(study, tmp_path):
    lines = submission.write_submission(study, Sentences(), "mnli", 2, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "out").as_posix() for path in files} == set(FILES)
    for name, expected in FILES.items():
        text = (tmp_path / "out" / name).read_bytes()
        assert text.isascii()  # the scorer opens files in whatever encoding the machine has
        assert (json.loads(text) if isinstance(expected, dict) else text.decode()) == expected, name
    assert "lareqa: left out: XTREME's and XTREME-R's scorers read no such task" in lines
    assert "bucc2018: 1 of XTREME's 4 languages: its scorer stops without de, ru, zh" in lines
    by_name = {line.partition(":")[0]: line for line in lines}
    assert by_name["mewslix"].startswith("mewslix: 1 of XTREME-R's 11 languages: its scorer stops without ar")
    assert by_name["xquad"].endswith("; XTREME-R also wants ro") and "XTREME-R also" not in by_name["xcopa"]


def test_development_sets_are_not_submitted_and_the_default_folder_is_replaced_but_no_other(study, tmp_path):
    folder = submission.default_folder(study, "mnli", 2)
    submission.write_submission(study, Sentences(), "mnli", 2)
    assert (folder / "xnli").is_dir()
    (study.folder / "targets/mnli/xnli/seed2/xnli/scored.json").write_text('{"split": "dev"}')
    lines = submission.write_submission(study, Sentences(), "mnli", 2)
    assert any(line.startswith("xnli: left out: scored on its dev set") for line in lines)
    assert not (folder / "xnli").exists() and (folder / "tydiqa").is_dir()  # XTREME tests TyDiQA on its dev set
    with pytest.raises(UserError, match="exists and is not empty; name a new folder"):
        submission.write_submission(study, Sentences(), "mnli", 2, folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnlli"], 'no intermediate run "mnlli"; did you mean "mnli"'),
        (["mnli"], "targets/mnli/xnli/seed1: not finished; run the study first: make study STUDY="),
        (["none", "--seed", "9"], " SEEDS=9\n"),
        (["none", "--seed", "0"], "SEED=0: seeds are counted from 1"),
    ],
)
def test_mistakes_are_one_message(study, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["xstilts", "submission", study.path, *arguments])
    assert command.main() == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
