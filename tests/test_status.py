"""``make status`` and the lines of ``make study`` tell what is so, and change nothing."""

import fcntl
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import small
from small import finish
from xstilts import io, workflow
from xstilts.__main__ import main
from xstilts.errors import MARK
from xstilts.io import ROOT, holder, lock, read_record, sign, write_record
from xstilts.progress import FILE
from xstilts.runs import Run, list_runs
from xstilts.status import GAPS, Seen, look, print_status, standing, time_left
from xstilts.study import load_study
from xstilts.workflow import StudyProgress

ENCODER, MNLI, TATOEBA = Run("encoder", 1), Run("intermediate", 1, "mnli"), Run("targets", 1, "mnli", "tatoeba")


@pytest.fixture
def study(tmp_path):
    return load_study(small.write(tmp_path, "small"))


def printed(study, capsys) -> str:
    print_status(study.path, None)
    text = capsys.readouterr().out
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in text.splitlines()), text  # a path alone
    return text


def counts(text: str) -> dict[str, list[int]]:
    """Phase -> done, running, failed, stale, left, of."""
    rows = re.findall(r"^([a-z]+)((?:\s+(?:\d+|–)){6})$", text, re.MULTILINE)
    return {phase: [int(cell.replace("–", "0")) for cell in cells.split()] for phase, cells in rows}


def tree(study) -> dict:
    return {path: path.lstat().st_mtime_ns for path in sorted(study.folder.parent.parent.rglob("*"))}


def test_nothing_has_begun(study, capsys):
    text = printed(study, capsys)
    assert counts(text)["all"] == [0, 0, 0, 0, 7, 7] and "not running" in text
    assert "Time left: not known yet for 1 of encoder and 1 of intermediate" in text
    assert "To go on: make study STUDY=" in text.replace("\n", " ") and not study.folder.exists()
    assert "SEEDS" not in text
    print_status(study.path, 3)
    assert " SEEDS=3" in capsys.readouterr().out.replace("\n", " ")


def test_all_is_done_and_what_a_change_makes_stale(study, tmp_path, capsys):
    finish(study)
    for run in list_runs(study):
        (run.folder(study) / "log.txt").write_text("of a run that went well\n")
    assert "All runs are done" in printed(study, capsys)
    changed = load_study(small.write(tmp_path, "small", targets=["xnli"], title="Another"))
    assert counts(printed(changed, capsys))["all"] == [4, 0, 0, 1, 0, 5]
    final = Run("transfer").folder(study)
    (final / "run.json").unlink()
    write_record(final / GAPS, {"gaps": ["targets/mnli/xnli/seed1"]})
    assert look(study)[Run("transfer")] == Seen("left", "1 runs are missing")


def test_every_state_is_shown_and_nothing_is_changed(study, capsys, monkeypatch):
    finish(study)
    undone = (MNLI, TATOEBA, Run("transfer"), Run("targets", 1, "mnli", "xnli"))
    for run, seconds in zip(list_runs(study), range(100, 800, 100), strict=True):
        path = run.folder(study) / "run.json"
        record = read_record(path) | {"seconds": seconds}
        path.unlink() if run in undone else write_record(path, record)
    (MNLI.folder(study) / "log.txt").write_text(f"much\n{MARK}training diverged: the loss is nan\n")
    held, _ = lock(TATOEBA.folder(study) / ".lock")
    with held:
        sign(held, TATOEBA.name, process=1)
        write_record(TATOEBA.folder(study) / FILE, {"line": "retrieving tatoeba: 1 of 2 languages"})
        before = tree(study)
        text = printed(study, capsys)
        assert tree(study) == before
    rows = counts(text)
    assert rows["encoder"] == [1, 0, 0, 0, 0, 1] and rows["intermediate"] == [0, 0, 1, 0, 0, 1]
    assert rows["targets"] == [2, 1, 0, 0, 1, 4] and rows["transfer"] == [0, 0, 0, 0, 1, 1]
    assert f"\nRunning\n  {TATOEBA.name}: retrieving tatoeba: 1 of 2 languages\n" in text
    assert f"\nFailed or stopped\n  {MNLI.name}: training diverged: the loss is nan\n" in text
    assert "not counting 1 of intermediate, where none is done yet" in text.replace("\n", " ")
    assert holder(TATOEBA.folder(study) / ".lock") == {}  # and now it is stopped
    assert look(study)[TATOEBA].state == "left"
    path = ENCODER.folder(study) / "run.json"
    write_record(path, read_record(path) | {"fingerprint": "another"})
    before = tree(study)
    monkeypatch.setattr(sys, "argv", ["xstilts", "study", str(study.path), "--dry-run"])
    assert main() == 0
    assert {f"left: {TATOEBA.name}", f"stale: {ENCODER.name}"} <= set(capsys.readouterr().out.splitlines())
    assert tree(study) == before


def test_a_job_is_seen_from_its_first_sign_to_its_silent_end(study, monkeypatch):
    assert standing(study, MNLI, None) == Seen("left")
    log = MNLI.folder(study) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("")
    assert standing(study, MNLI, None) == Seen("running", "starting")
    monkeypatch.setattr(time, "time", lambda: log.stat().st_mtime + 100)
    failed = standing(study, MNLI, None)
    assert failed.state == "failed" and "without a word" in failed.detail


def test_a_running_study_is_shown_as_it_was_started(study, tmp_path, capsys):
    finish(study)
    resolved = study.resolve()
    held, _ = lock(study.folder / ".lock")
    with held:
        sign(held, "other", process=1)
        assert 'not running; study "other" works on the same runs since' in printed(study, capsys)
    small.write(tmp_path, "small", seeds=3)
    assert counts(printed(study, capsys))["all"] == [7, 0, 0, 0, 0, 7]  # the number it was last run with
    held, _ = lock(study.folder / ".lock")
    with held:
        sign(held, "small", process=1, jobs=4)
        small.write(tmp_path, "small", seeds=3, encoder={"pretrain": {"steps": 9}})
        assert counts(text := printed(study, capsys))["all"] == [7, 0, 0, 0, 0, 7] and "running since" in text
        with resolved.open("a") as file:  # an earlier version wrote it
            file.write("once: 1\n")
        assert counts(text := printed(study, capsys))["all"][3] == 7 and "running since" in text
    assert counts(printed(study, capsys))["all"][3] == 7  # all stale


def test_a_lock_that_is_looked_at_can_be_taken(tmp_path, monkeypatch):
    """As when a job starts in the moment of a look, which is over at the third try."""
    path, waited = tmp_path / ".lock", []
    with open(path, "w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        monkeypatch.setattr(io.time, "sleep", lambda seconds: (waited.append(seconds), waited[1:] and look.close()))
        held, other = lock(path)
        with held:
            assert other == {} and len(waited) == 2
            assert lock(path)[1] == {"name": "?"}  # held for good: not signed yet


def test_time_left_follows_what_runs_took():
    def run(name, seed):
        return Run("targets", seed, name, "all")

    took = {run("a", 1): 100, run("a", 2): 300, run("b", 1): 20, ENCODER: 50}
    done = {run: Seen("done", seconds=seconds) for run, seconds in took.items()}
    left = dict.fromkeys([run("a", 3), run("a", 4), run("b", 2)], Seen("left"))
    assert time_left(done | left, 1) == (420, {}) and time_left(done | left, 4) == (200, {})  # the longest
    running = {run("a", 3): Seen("running", seconds=150), run("b", 2): Seen("running", seconds=90)}
    assert time_left(done | left | running, 1) == (250, {})
    others = dict.fromkeys([run("c", 1), MNLI, Run("transfer")], Seen("left"))
    assert time_left(done | others, 1) == (140, {"intermediate": 1})  # c: the mean of its phase


@pytest.mark.parametrize(
    "arguments, heavy",
    [
        (["--help"], {"numpy", "pydantic", "pandas"}),
        (["status"], {"torch", "transformers", "papermill", "datasets"}),
        (["plan"], {"transformers.modeling_utils", "papermill"}),
    ],
)
def test_commands_that_look_load_nothing_heavy(study, arguments, heavy):
    code = "import sys\nfrom xstilts.__main__ import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    words = [sys.executable, "-c", code, *arguments, *([] if arguments == ["--help"] else [study.path])]
    done = subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True)
    assert not heavy & set(done.stdout.split())


def test_a_profile_is_looked_for_first_and_a_reader_may_stop_reading(study):
    finish(study)
    command = f"{sys.executable} -m xstilts study {study.path} --profile slrm"
    done = subprocess.run(command.split(), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2 and 'no profile "slrm": expected one of default' in done.stderr
    command = f"set -o pipefail; {sys.executable} -m xstilts status {study.path} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(workflow.time, "monotonic", lambda: now.seconds)
    return now


def test_hundreds_of_runs_are_one_line_a_phase(study, clock, capsys):
    """One after the other, a run every four seconds."""
    many = load_study(study.path, seeds=12)
    runs = list_runs(many)
    progress = StudyProgress(many, runs)
    for run in runs:
        (folder := run.folder(many)).mkdir(parents=True)
        (folder / "log.txt").touch()
        clock.seconds += 2
        progress.update()
        clock.seconds += 2
        write_record(folder / "run.json", {"seconds": 4})
        progress.update()
    progress.update(end=True)
    assert capsys.readouterr().out.splitlines() == [
        "  encoder: 12 of 12 done in 46 s",
        "  intermediate: 12 of 12 done in 46 s",
        "  targets: 48 of 48 done in 3 min",
        "  transfer: 1 of 1 done in 2 s",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_is_printed_at_once_and_once(study, clock, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = StudyProgress(study, list_runs(study))
    for run in (ENCODER, MNLI):
        run.folder(study).mkdir(parents=True)
    write_record(ENCODER.folder(study) / "run.json", {"seconds": 7})
    (MNLI.folder(study) / "log.txt").write_text(f"{MARK}the disk is full\n")
    for _ in range(5):
        clock.seconds += 3
        progress.update()
    progress.update(end=True)
    output = capsys.readouterr().out
    assert ("1/7" in output) == terminal  # a bar
    assert re.findall(r"  [a-z]+: .*", output) == [
        "  encoder: 1 of 1 done in under 1 s",
        f"  failed: {MNLI.name}: the disk is full",
    ]


def test_a_long_run_says_how_far_it_is(study, clock, capsys):
    """As make status does, where no line was printed for two minutes."""
    progress = StudyProgress(study, list_runs(study))
    (folder := ENCODER.folder(study)).mkdir(parents=True)
    write_record(folder / FILE, {"line": "pretraining: 80 of 400 steps, about 3 min left"})
    held, _ = lock(folder / ".lock")
    for _ in range(100):
        clock.seconds += 3
        progress.update()
    held.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"  running: {ENCODER.name}: pretraining: 80 of 400 steps, about 3 min left"] * 2
