"""What fails is contained and said, whatever is killed is resumed, and nothing is lost: injected for real."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

import small
from xstilts import phases, warm
from xstilts.errors import MARK
from xstilts.io import holder, read_record, whole_file, write_record
from xstilts.runs import Run
from xstilts.sources import open_source
from xstilts.status import DISK, GAPS, cause, look, of_log
from xstilts.study import load_study
from xstilts.tasks import get
from xstilts.workflow import discard_stale, run_notebook

pytestmark = pytest.mark.usefixtures("server")
NAN = {"training": small.SMALL["training"] | {"overrides": {"intermediate/mnli": {"learning_rate": 1e30}}}}


def command(path: Path, name: str = "study") -> list[str]:
    return [sys.executable, "-m", "xstilts", name, str(path), *(["--cores", "2"] if name == "study" else [])]


def execute(path: Path, name: str = "study") -> subprocess.CompletedProcess:
    return subprocess.run(command(path, name), capture_output=True, text=True, check=False)


def begin(path: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The scores of a study in which nothing goes wrong."""
    return small.at_once(small.write(tmp_path_factory.mktemp("whole"), "small", targets=["xnli"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a study to which everything happens; the tests that use it follow one another."""
    return tmp_path_factory.mktemp("faults")


def test_a_path_may_hold_whatever_a_path_can(tmp_path):
    """Braces, which papermill and Snakemake fill in, quotes, blanks, % and other letters."""
    folder = tmp_path / "a {b} 'c' \"d\" 100% *é: #1"
    folder.mkdir()
    path = small.write(folder, "small", targets=["xnli"], intermediate=["none", "mnli"])
    small.every_run(path, final=False, but="mnli")
    done = execute(path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "figures" / "small" / "heatmap-mean.png").is_file()


def test_the_last_line_of_a_traceback_is_why_a_job_ended(tmp_path):
    (tmp_path / "log.txt").write_text(
        "Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'x'\n"
    )
    assert of_log(tmp_path / "log.txt") == "ModuleNotFoundError: No module named 'x'"


def test_what_fails_is_said_and_does_not_stop_the_others(folder):
    path = small.write(folder, "small", **NAN)
    study = load_study(path)
    source, caches = open_source(study), {}
    for code in ("qab", "qac"):
        before = set(source.folder.glob("*"))
        source.load(get("xnli"), "test", code)
        (caches[code],) = set(source.folder.glob("*")) - before
    for arrow in caches["qab"].glob("*.arrow"):  # a set that was read well enough before
        arrow.write_bytes(arrow.read_bytes()[:100])
    shutil.rmtree(caches["qac"])
    caches["qac"].touch()  # a file in the place of one
    done = execute(path)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = {line.split(":")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("  failed:")}
    assert set(lines) == {"intermediate/mnli/seed1", "targets/none/xnli/seed1"}, done.stdout
    assert re.search(r"training diverged: the loss is .*learning rate 1e\+30", lines["intermediate/mnli/seed1"])
    assert f"{caches['qac']}: a file, where a folder with a cached dataset belongs" in lines["targets/none/xnli/seed1"]
    log = (Run("targets", 1, "none", "xnli").folder(study) / "log.txt").read_text()
    assert f"{caches['qab']}: this cached dataset cannot be read" in log and "made again" in log
    assert len(source.load(get("xnli"), "test", "qab")) == small.SIZES["test"]
    for line in lines.values():  # the notebook with the error
        notebook = Path(line.rpartition("(see ")[2].rstrip(")"))
        assert "UserError" in notebook.read_text(encoding="utf-8")
    waiting = "targets/mnli/xnli/seed1, targets/mnli/tatoeba/seed1"
    assert f"not run because a run before them failed: {waiting}" in done.stdout
    final = Run("transfer").folder(study)
    assert "executed with gaps, 3 runs are missing" in done.stdout and not (final / "run.json").exists()
    assert len(read_record(final / GAPS)["gaps"]) == 3
    table = pd.read_parquet(final / "estimates.parquet").set_index(["intermediate", "target", "language", "quantity"])
    score = table.loc[("none", "tatoeba", "mean", "score")]
    assert score["value"] > 0 and score["seeds"] == 1
    for cell in (("mnli", "tatoeba", "mean", "gain"), ("none", "xnli", "mean", "score")):
        assert math.isnan(table.loc[cell]["value"]) and table.loc[cell]["seeds"] == 0  # a gap, no zero
    assert (study.figures_folder / "4-transfer.html").stat().st_size > 10_000


def process_of(process: subprocess.Popen, study, pattern: str, look: Callable[[], psutil.Process | None]):
    """The process of a study that ``look`` finds, once a file is there."""
    while True:
        assert process.poll() is None, f"ended before there was {pattern}: {process.communicate()[0]}"
        time.sleep(0.02)
        with suppress(psutil.NoSuchProcess):
            if list(study.folder.glob(pattern)) and (child := look()):
                return child


def child_of(process: subprocess.Popen, word: str) -> psutil.Process | None:
    """A process that the command started, by its command line."""
    children = psutil.Process(process.pid).children()
    return next((child for child in children if word in child.cmdline()), None)


def kernel_of(folder: Path) -> psutil.Process | None:
    """Of a run at work: beside its job, which signs the lock, its kernel has it open."""
    lock = folder / ".lock"
    for process in psutil.process_iter() if holder(lock) else ():
        with suppress(psutil.Error):
            if process.pid != holder(lock).get("process") and str(lock) in {file.path for file in process.open_files()}:
                return process
    return None


def server_of(process: subprocess.Popen, folder: Path) -> psutil.Process | None:
    """The process that the job of a run at work was forked from."""
    server, job = child_of(process, "xstilts.warm"), holder(folder / ".lock").get("process")
    return server if server and job in [child.pid for child in server.children()] else None


def test_whatever_is_killed_the_same_command_ends_with_the_same_scores(folder, whole, monkeypatch):
    path = small.write(folder, "small", targets=["xnli"])  # mended: the learning rate, and below the file
    study = load_study(path)
    shutil.rmtree(study.folder / "data", ignore_errors=True)
    outputs, mnli = [], "intermediate/mnli/seed1"
    wanted = {
        "kernel": lambda: kernel_of(study.folder / mnli),
        "server": lambda: server_of(process, study.folder / mnli),
        "Snakemake": lambda: child_of(process, "snakemake"),
    }
    for name, sought in wanted.items():
        with monkeypatch.context() as patch:
            if name == "server":
                patch.delenv(warm.ADDRESS)  # for one of its own
            process = begin(path)
        process_of(process, study, f"{mnli}/log.txt", sought).kill()
        outputs.append(process.communicate()[0])
        assert process.returncode == 1, outputs[-1]
    process = begin(path)  # everything at once, as in a power cut: a target is scored, its bundle hardly done yet
    process_of(process, study, "targets/mnli/*/seed1/*/scored.json", wanted["Snakemake"])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process = begin(path)
    process_of(process, study, "study.yaml", wanted["Snakemake"])  # which goes on
    process.kill()
    process.wait()
    assert "its kernel was killed, most often because memory ran out" in outputs[0]
    assert f"{mnli}: ended without a word" in outputs[1]
    assert "Snakemake was killed (SIGKILL)" in outputs[2]
    last = execute(path)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "is still at work on it; waiting for it to end" in last.stdout
    pd.testing.assert_frame_equal(small.results(path), whole)
    assert not list(study.folder.rglob("*.half-*")) and not (Run("transfer").folder(study) / GAPS).exists()
    assert not discard_stale(study)


def test_a_running_study_is_watched_and_stopped(folder):
    pretrain = small.SMALL["encoder"]["pretrain"] | {"steps": 100_000, "log_every": 1}
    path, other = small.write(folder, "small", encoder={"pretrain": pretrain}, seeds=3), folder / "other.yaml"
    other.write_text(f"based_on: {path}\nname: other\nshares: small\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script begins it by &
    study, process = load_study(path), begin(path)
    signal.signal(signal.SIGINT, before)

    def encoders():
        return [seen for run, seen in look(study).items() if run.phase == "encoder"]

    try:
        while not any(re.search(r"pretraining: [1-9]\d* of 100,000 steps, loss \d", run.detail) for run in encoders()):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
        status = execute(path, "status").stdout
        assert 'study "small", 3 seeds: running since' in status and f"process {process.pid}" in status
        for again in (path, other):
            second = execute(again)
            assert second.returncode == 2 and 'study "small" is already running' in second.stderr
            assert f"process {process.pid}" in second.stderr and second.stderr.count("\n") == 1
    finally:
        snakemake = child_of(process, "snakemake")
        for _ in range(3):  # the first is passed on, whatever follows
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert "stopped; what is done is kept" in process.communicate(timeout=60)[0]
    assert process.returncode == 130 and not psutil.pid_exists(snakemake.pid)
    while any(run.state == "running" for run in encoders()):  # they save themselves
        time.sleep(0.2)
    assert sorted(run.state for run in encoders()) == ["failed", "failed", "left"], "no other was begun"
    assert all("SIGTERM" in run.detail for run in encoders() if run.state == "failed")


MEMORY_LIMIT = """\
import resource
from xstilts import phases, warm
encoder = phases.encoder
def limited(*arguments):
    size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28,) * 2)
    return encoder(*arguments), bytearray(2**30)
phases.encoder = limited
"""


@pytest.mark.parametrize(
    "code, why",
    [
        (MEMORY_LIMIT, "out of memory: "),
        ("import os\nos.kill(os.getpid(), 9)", "its kernel was killed, most often because memory ran out"),
        ("import os\nos.kill(os.getpid(), 15)", "its kernel was told to stop (SIGTERM)"),
    ],
    ids=["memory", "killed", "stopped"],
)
def test_a_kernel_without_memory_says_so(tmp_path, monkeypatch, capfd, code, why):
    startup = tmp_path / "ipython" / "profile_default" / "startup"  # runs before the notebook
    startup.mkdir(parents=True)
    (startup / "fault.py").write_text(code)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    assert run_notebook(load_study(small.write(tmp_path, "small")), "encoder/seed1") == 1
    assert capfd.readouterr().err.strip().splitlines()[-1].startswith(f"{MARK}{why}")


def test_a_full_disk_is_said_and_once_there_is_room_the_encoder_is_made(tmp_path, capfd):
    (tmp_path / "runs").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(tmp_path / "runs")]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk takes the right to mount one")
    try:
        study = load_study(small.write(tmp_path, "small"))
        assert run_notebook(study, "encoder/seed1") == 1
        assert DISK in capfd.readouterr().err.strip().splitlines()[-1]
        folder = Run("encoder", 1).folder(study)
        assert not (folder / "checkpoint").exists() and not (folder / "run.json").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "runs")], check=True)
        phases.encoder(study, open_source(study), 1)
        assert (folder / "checkpoint").is_dir()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=False)


def test_a_notebook_that_cannot_be_written_is_a_full_disk(tmp_path, capfd):
    study = load_study(small.write(tmp_path, "small"))
    folder = Run("encoder", 1).folder(study)
    folder.mkdir(parents=True)
    (folder / "notebook.ipynb").symlink_to("/dev/full")
    assert run_notebook(study, "encoder/seed1") == 1
    assert DISK in capfd.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "name, message, line",
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB.", "out of GPU memory"),
        ("UserError", "f.tsv:3: a label\n outside the set", "f.tsv:3: a label outside the set"),
        ("KeyError", "'x'", "KeyError: 'x'"),
    ],
)
def test_causes_are_one_line(name, message, line):
    assert cause(name, message).startswith(line) and "\n" not in cause(name, message)


def test_halves_are_never_there(tmp_path):
    with pytest.raises(OSError), whole_file(tmp_path / "table.csv") as aside:
        aside.write_text("half")
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
    write_record(tmp_path / "run.json", {"a": 1})
    (tmp_path / "run.json").write_bytes(b'{"a": ')  # what a failing disk left
    assert read_record(tmp_path / "run.json") == {}


@pytest.mark.parametrize(
    "phase, changes, record",
    [
        ("encoder", {"encoder": {"pretrain": small.SMALL["encoder"]["pretrain"] | {"steps": 0}}},
         "encoder/seed1/training.json"),
        ("intermediate", {"training": small.SMALL["training"] | {"intermediate": {"steps": 1, "learning_rate": 0.1}}},
         "intermediate/mnli/seed1/training.json"),
        ("targets", {"retrieval": {"layer": 0}}, "targets/none/tatoeba/seed1/tatoeba/scored.json"),
    ],
)  # fmt: skip
def test_what_was_overwritten_half_way_is_not_taken_for_what_it_was(tmp_path, monkeypatch, phase, changes, record):
    """Settings changed, killed before the record was written, settings changed back."""
    study = load_study(small.write(tmp_path, "small", targets=["tatoeba"]))
    source = open_source(study)
    steps = {
        "encoder": lambda study: phases.encoder(study, source, 1),
        "intermediate": lambda study: phases.intermediate(study, source, "mnli", 1),
        "targets": lambda study: list(phases.targets(study, source, "none", "tatoeba", 1)),
    }
    steps["encoder"](study)
    steps[phase](study)
    write = phases.write_record

    def killed(path, values):
        if path.name in ("training.json", "scored.json"):
            raise KeyboardInterrupt
        write(path, values)

    monkeypatch.setattr(phases, "write_record", killed)
    assert read_record(study.folder / record)
    with pytest.raises(KeyboardInterrupt):
        steps[phase](load_study(small.write(tmp_path, "small", targets=["tatoeba"], **changes)))
    assert read_record(study.folder / record) == {}, f"{record} stands for results that were overwritten"
