"""``make status`` and the lines of ``make study`` tell what is so, and change nothing."""

import fcntl
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import small
from small import finish
from xstilts import io as locks
from xstilts import workflow as news
from xstilts.__main__ import main
from xstilts.errors import MARK
from xstilts.io import ROOT, holder, lock, read_record, sign, write_record
from xstilts.progress import FILE
from xstilts.runs import Run, list_runs
from xstilts.status import GAPS, Seen, Times, look, print_status, report, unfinished
from xstilts.study import load_study
from xstilts.workflow import News

MNLI, TATOEBA = Run("intermediate", 1, "mnli"), Run("targets", 1, "mnli", "tatoeba")


@pytest.fixture
def study(tmp_path):
    return load_study(small.write(tmp_path, "small"))


def done(study, run: Run, seconds: float) -> None:
    proof = run.folder(study) / "run.json"
    write_record(proof, read_record(proof) | {"seconds": seconds})


def undone(study, *left: Run) -> None:
    for run in left:
        (run.folder(study) / "run.json").unlink()


def said(study, capsys) -> str:
    print_status(study.path, None)
    told = capsys.readouterr().out
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in told.splitlines()), told  # a path alone
    return told


def counts(told: str) -> dict[str, list[int]]:
    """Phase -> done, running, failed, stale, left, of."""
    rows = re.findall(r"^([a-z]+)((?:\s+(?:\d+|–)){6})$", told, re.MULTILINE)
    return {phase: [int(cell.replace("–", "0")) for cell in cells.split()] for phase, cells in rows}


def tree(study) -> dict:
    return {path: path.lstat().st_mtime_ns for path in sorted(study.folder.parent.parent.rglob("*"))}


def test_nothing_has_begun(study, capsys):
    told = said(study, capsys)
    assert counts(told)["all"] == [0, 0, 0, 0, 7, 7] and "not running" in told
    assert "Time left: not known yet for 1 of encoder and 1 of intermediate" in told
    assert "To go on: make study STUDY=" in told.replace("\n", " ") and not study.folder.exists()
    assert "SEEDS" not in told
    print_status(study.path, 3)
    assert " SEEDS=3" in capsys.readouterr().out.replace("\n", " ")


def test_all_is_done_and_what_a_change_makes_stale(study, tmp_path, capsys):
    finish(study)
    for run in list_runs(study):
        (run.folder(study) / "log.txt").write_text("of a run that went well\n")
    assert "All runs are done" in said(study, capsys)
    changed = load_study(small.write(tmp_path, "small", targets=["xnli"], title="Another"))
    assert counts(said(changed, capsys))["all"] == [4, 0, 0, 1, 0, 5]
    final = Run("transfer").folder(study)
    (final / "run.json").unlink()
    write_record(final / GAPS, {"gaps": ["targets/mnli/xnli/seed1"]})
    assert look(study)[Run("transfer")] == Seen("left", "1 runs are missing")


def test_every_state_is_told_and_nothing_is_changed(study, capsys):
    finish(study)
    for run, seconds in zip(list_runs(study), range(100, 800, 100), strict=True):
        done(study, run, seconds)
    undone(study, MNLI, TATOEBA, Run("transfer"), Run("targets", 1, "mnli", "xnli"))
    (MNLI.folder(study) / "log.txt").write_text(f"much\n{MARK}training diverged: the loss is nan\n")
    held, _ = lock(TATOEBA.folder(study) / ".lock")
    with held:
        sign(held, TATOEBA.name, process=1)
        write_record(TATOEBA.folder(study) / FILE, {"line": "retrieving tatoeba: 1 of 2 languages"})
        before = tree(study)
        told = said(study, capsys)
        assert tree(study) == before
    rows = counts(told)
    assert rows["encoder"] == [1, 0, 0, 0, 0, 1] and rows["intermediate"] == [0, 0, 1, 0, 0, 1]
    assert rows["targets"] == [2, 1, 0, 0, 1, 4] and rows["transfer"] == [0, 0, 0, 0, 1, 1]
    assert f"\nRunning\n  {TATOEBA.name}: retrieving tatoeba: 1 of 2 languages\n" in told
    assert f"\nFailed or stopped\n  {MNLI.name}: training diverged: the loss is nan\n" in told
    assert "not counting 1 of intermediate, where none is done yet" in told.replace("\n", " ")
    assert holder(TATOEBA.folder(study) / ".lock") == {}  # and now it is stopped
    assert look(study)[TATOEBA].state == "left"


def test_a_job_is_seen_from_its_first_sign_to_its_silent_end(tmp_path, monkeypatch):
    log = tmp_path / "log.txt"
    assert unfinished(tmp_path) == Seen("left")
    log.write_text("")
    assert unfinished(tmp_path) == Seen("running", "starting")
    monkeypatch.setattr(time, "time", lambda: log.stat().st_mtime + 100)
    assert unfinished(tmp_path).state == "failed" and "without a word" in unfinished(tmp_path).detail


def test_a_running_study_is_shown_as_it_was_started(study, tmp_path, capsys):
    finish(study)
    study.resolve()
    held, _ = lock(study.folder / ".lock")
    with held:
        sign(held, "other", process=1)
        assert 'not running; study "other" works on the same runs since' in said(study, capsys)
    small.write(tmp_path, "small", seeds=3)
    assert counts(said(study, capsys))["all"] == [7, 0, 0, 0, 0, 7]  # the number it was last run with
    held, _ = lock(study.folder / ".lock")
    with held:
        sign(held, "small", process=1, jobs=4)
        small.write(tmp_path, "small", seeds=3, encoder={"pretrain": {"steps": 9}})
        assert counts(told := said(study, capsys))["all"] == [7, 0, 0, 0, 0, 7] and "running since" in told
    assert counts(said(study, capsys))["all"][3] == 7  # all stale


def test_what_an_earlier_version_wrote_is_passed_over(study, capsys):
    finish(study)
    with study.resolve().open("a") as file:
        file.write("once: 1\n")
    assert "All runs are done" in said(study, capsys)
    held, _ = lock(study.folder / ".lock")
    with held:
        sign(held, "small", process=1)
        assert counts(told := said(study, capsys))["all"] == [7, 0, 0, 0, 0, 7] and "running since" in told


def test_a_lock_that_is_looked_at_can_be_taken(tmp_path, monkeypatch):
    """As when a job starts in the moment of a look, which is over at the third try."""
    path, waited = tmp_path / ".lock", []
    with open(path, "w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: (waited.append(seconds), waited[1:] and look.close()))
        held, other = lock(path)
        with held:
            assert other == {} and len(waited) == 2
            assert lock(path)[1] == {"name": "?"}  # held for good: not signed yet


def test_time_left_follows_what_runs_took():
    def run(name, seed):
        return Run("targets", seed, name, "all")

    times = Times({run("a", 1): 100, run("a", 2): 300, run("b", 1): 20, Run("encoder", 1): 50})
    assert (
        times.of(run("a", 3)) == 200 and times.of(run("c", 1)) == 140 and times.of(Run("intermediate", 1, "a")) is None
    )
    left = [run("a", 3), run("a", 4), run("b", 2)]
    assert times.left(left, {}, 1) == 420 and times.left(left, {run("a", 3): 150, run("b", 2): 90}, 1) == 250
    assert times.left(left, {}, 4) == 200  # the longest
    assert times.unknown([*left, Run("intermediate", 1, "a"), Run("transfer")]) == ["intermediate"]


def test_many_failures_are_counted(study):
    many = load_study(study.path, seeds=40)
    seen = {run: Seen("failed", "the disk is full") for run in list_runs(many)}
    lines = report(many, None, seen)
    assert sum("the disk is full" in line for line in lines) == 12 and "  and 229 more" in lines


def test_status_loads_nothing_heavy(study):
    finish(study)
    code = (
        "import sys\nfrom xstilts.status import print_status\nprint_status(sys.argv[1], None)\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'papermill')))"
    )
    subprocess.run([sys.executable, "-c", code, study.path], check=True, cwd=ROOT)


def test_a_real_job_is_followed_and_its_stop_is_told(tmp_path, capsys):
    pretrain = small.SMALL["encoder"]["pretrain"] | {"steps": 100_000, "log_every": 1}
    study = load_study(small.write(tmp_path, "small", encoder={"pretrain": pretrain}))
    folder = Run("encoder", 1).folder(study)
    folder.mkdir(parents=True)
    with (folder / "log.txt").open("w") as log:  # as the Snakefile does it
        job = subprocess.Popen(
            [sys.executable, "-m", "xstilts", "run", study.path, "encoder/seed1"], stdout=log, stderr=log, cwd=ROOT
        )
    try:
        while not re.search(r"pretraining: [1-9]\d* of 100,000 steps, loss \d", told := said(study, capsys)):
            assert job.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.2)
        assert counts(told)["encoder"] == [0, 1, 0, 0, 0, 1]
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait()
    told = said(study, capsys)
    assert counts(told)["encoder"] == [0, 0, 1, 0, 0, 1] and "encoder/seed1: stopped by SIGTERM after step" in told
    assert not (folder / FILE).exists()


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(news.time, "monotonic", lambda: now.seconds)
    return now


def test_hundreds_of_runs_are_a_few_calm_lines(study, clock, capsys):
    """One after the other, a run every four seconds."""
    many = load_study(study.path, seeds=12)
    runs = list_runs(many)
    told = News(many, runs, jobs=1)
    for run in runs:
        (folder := run.folder(many)).mkdir(parents=True)
        (folder / "log.txt").touch()
        clock.seconds += 2
        told()
        clock.seconds += 2
        write_record(folder / "run.json", {"seconds": 4})
        told()
    told(end=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  encoder: 0 of 12 done, 1 running"
    assert [line for line in lines if " done in " in line] == [
        "  encoder: 12 of 12 done in 46 s",
        "  intermediate: 12 of 12 done in 46 s",
        "  targets: 48 of 48 done in 3 min",
        "  transfer: 1 of 1 done in 2 s",
    ]
    between = [line for line in lines if line.startswith("  targets: ") and "left" in line]
    assert len(lines) <= 12 and between[0] == "  targets: 15 of 48 done, 1 running, about 2 min left"


def test_a_failure_is_said_at_once_and_once(study, clock, capsys):
    told = News(study, list_runs(study), jobs=2)
    for run in (Run("encoder", 1), MNLI):
        run.folder(study).mkdir(parents=True)
    write_record(Run("encoder", 1).folder(study) / "run.json", {"seconds": 7})
    (MNLI.folder(study) / "log.txt").write_text(f"{MARK}the disk is full\n")
    for _ in range(5):
        clock.seconds += 3
        told()
    told(end=True)
    assert capsys.readouterr().out.splitlines() == [
        f"  failed: {MNLI.name}: the disk is full",
        "  encoder: 1 of 1 done in under 1 s",
    ]


def test_a_terminal_has_one_line_for_each_phase(study, clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    runs = list_runs(study)
    told = News(study, runs, jobs=2)
    for run in runs:
        (folder := run.folder(study)).mkdir(parents=True)
        (folder / "log.txt").touch()
        for _ in range(3):
            clock.seconds += 3
            told()
        write_record(folder / "run.json", {"seconds": 9})
    told(end=True)
    screen = []
    for part in re.split(r"(\033\[\d+F\033\[J|\n)", capsys.readouterr().out):
        if part.startswith("\033"):
            del screen[-int(re.search(r"\d+", part).group()) :]
        elif part.strip("\n"):
            screen.append(part)
    assert [line.partition(" done")[0].strip() for line in screen] == [
        "encoder: 1 of 1", "intermediate: 1 of 1", "targets: 4 of 4", "transfer: 1 of 1",
    ]  # fmt: skip
    assert max(map(len, screen)) < 60


def test_a_dry_run_lists_what_is_missing_or_stale_and_changes_nothing(study, capsys, monkeypatch):
    finish(study)
    undone(study, MNLI)
    proof = TATOEBA.folder(study) / "run.json"
    write_record(proof, read_record(proof) | {"fingerprint": "another"})
    before = tree(study)
    monkeypatch.setattr(sys, "argv", ["xstilts", "study", str(study.path), "--dry-run"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert {f"  missing: {MNLI.name}", f"  stale: {TATOEBA.name}"} <= set(lines)
    assert tree(study) == before
