"""Final notebooks before their study is finished; runs by hand count as much as those of make study."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

import small
from xstilts import results, waiting
from xstilts.runs import Run
from xstilts.study import load_study


@pytest.fixture
def shell(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(waiting, "get_ipython", lambda: shell)
    yield shell
    InteractiveShell.clear_instance()


def test_cells_are_left_out_until_the_study_is_named_again(tmp_path, shell):
    path = small.write(tmp_path, "toy")
    assert f"`make study STUDY={path}`" in waiting.note(str(path)).data
    assert shell.transform_cell("x = 1\n") == shell.transform_cell("study = load_study(study)\n") == ""
    assert shell.transform_cell('study = "toy"  # name\n') != ""
    assert shell.transform_cell("x = 1\n") == "x = 1\n"


def test_what_is_missing_is_named_and_the_cells_below_stay(tmp_path, shell):
    path = small.write(tmp_path, "toy")
    study = load_study(path)
    for name in ("none", "mnli"):
        proof = Run("targets", 1, name, "xnli").folder(study) / "run.json"
        proof.parent.mkdir(parents=True)
        proof.write_text("{}")
    said = waiting.note(str(path)).data
    assert "2 of 4 target runs" in said and "`targets/mnli/tatoeba/seed1`" in said and "Nothing" not in said
    assert shell.transform_cell("x = 1\n") == "x = 1\n"


def test_runs_by_hand_are_finished_until_their_settings_change(tmp_path):
    changes = {"intermediate": ["none"], "targets": ["xnli"]}
    path = small.write(tmp_path, "toy", **changes)
    small.at_once(path)
    study = load_study(path)
    (run,) = results.finished(study, ["xnli"])
    assert waiting.note(str(path)) is None
    training = small.SMALL["training"] | {"target": {"steps": 3, "learning_rate": 0.001}}
    changed = load_study(small.write(tmp_path, "toy", training=training, **changes))
    assert results.finished(changed, ["xnli"]) == []
    (run.folder(study) / "stats.parquet").unlink()  # as when it was interrupted before they were gathered
    assert results.finished(study, ["xnli"]) == []
