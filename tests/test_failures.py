"""What fails is contained and said, whatever is killed is resumed, and nothing is lost: injected for real."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

import small
from xstilts import phases
from xstilts import status as causes
from xstilts.io import read_record, whole_file, write_record
from xstilts.runs import Run
from xstilts.sources import open_source
from xstilts.status import GAPS
from xstilts.study import load_study
from xstilts.tasks import get
from xstilts.workflow import run_notebook

NAN = {"training": small.SMALL["training"] | {"overrides": {"intermediate/mnli": {"learning_rate": 1e30}}}}


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "xstilts", "study", str(path), "--cores", "2"]


def study(path: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(path), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The scores of a study in which nothing goes wrong."""
    return small.at_once(small.write(tmp_path_factory.mktemp("whole"), "small"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a study to which everything happens; the tests that use it follow one another."""
    return tmp_path_factory.mktemp("faults")


def test_what_fails_is_said_and_does_not_stop_the_others(folder):
    path = small.write(folder, "small", **NAN)
    here = load_study(path)
    source = open_source(here)
    places = {}
    for code in ("qab", "qac"):
        before = set(source.folder.glob("*"))
        source.load(get("xnli"), "test", code)
        (places[code],) = set(source.folder.glob("*")) - before
    for kept in places["qab"].glob("*.arrow"):  # a set that was read well enough before
        kept.write_bytes(kept.read_bytes()[:100])
    shutil.rmtree(places["qac"])
    places["qac"].touch()  # a file in the place of one
    done = study(path)
    said = done.stdout
    assert done.returncode == 1, said + done.stderr
    lines = {line.split(":")[1].strip(): line for line in said.splitlines() if line.startswith("  failed:")}
    assert set(lines) == {"intermediate/mnli/seed1", "targets/none/xnli/seed1"}, said
    assert "training diverged: the loss is" in lines["intermediate/mnli/seed1"]
    assert "learning rate 1e+30" in lines["intermediate/mnli/seed1"]
    assert f"{places['qac']}: a file, where a folder with a cached dataset belongs" in lines["targets/none/xnli/seed1"]
    log = (Run("targets", 1, "none", "xnli").folder(here) / "log.txt").read_text()
    assert f"{places['qab']}: this cached dataset cannot be read" in log and "made again" in log
    assert len(source.load(get("xnli"), "test", "qab")) == small.SIZES["test"]
    for line in lines.values():  # the notebook with the error
        notebook = Path(line.rpartition("(see ")[2].rstrip(")"))
        assert "UserError" in notebook.read_text(encoding="utf-8")
    assert "not run because a run before them failed: targets/mnli/xnli/seed1, targets/mnli/tatoeba/seed1" in said
    final = Run("transfer").folder(here)
    assert "executed with gaps, 3 runs are missing" in said and not (final / "run.json").exists()
    assert len(read_record(final / GAPS)["gaps"]) == 3
    shown = pd.read_parquet(final / "estimates.parquet").set_index(["intermediate", "target", "language", "quantity"])
    there = shown.loc[("none", "tatoeba", "mean", "score")]
    assert there["value"] > 0 and there["seeds"] == 1
    for cell in (("mnli", "tatoeba", "mean", "gain"), ("none", "xnli", "mean", "score")):
        assert shown.loc[cell]["value"] != shown.loc[cell]["value"] and shown.loc[cell]["seeds"] == 0  # a gap, no zero
    assert (here.figures_folder / "4-transfer.html").stat().st_size > 10_000


def once(process: subprocess.Popen, here, pattern: str, *words: str) -> psutil.Process:
    """The process of a study in whose command line, or its parent's, all words are, once it and a file are there."""
    while True:
        assert process.poll() is None, f"the study ended before there was any {words} and {pattern}"
        time.sleep(0.02)
        if not list(here.folder.glob(pattern)):
            continue
        for one in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                parent = one.parent()
                line = " ".join([*one.cmdline(), "child of", *(parent.cmdline() if parent else [])])
                if all(word in line for word in words) and words[0] in line.partition("child of")[0]:
                    return one


def test_whatever_is_killed_the_same_command_ends_with_the_same_scores(folder, whole):
    path = small.write(folder, "small")  # mended: the learning rate, and below the file
    here = load_study(path)
    shutil.rmtree(here.folder / "data", ignore_errors=True)
    outputs, mnli = [], "intermediate/mnli/seed1"

    def begun() -> subprocess.Popen:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command(path), start_new_session=True, **pipe)

    for words in (("ipykernel", mnli), ("snakemake",)):
        process = begun()
        once(process, here, f"{mnli}/log.txt", *words).kill()
        outputs.append(process.communicate()[0])
        assert process.returncode == 1, outputs[-1]
    process = begun()  # everything at once, as in a power cut: a target is scored, its bundle hardly done yet
    once(process, here, "targets/mnli/*/seed1/*/scored.json", "snakemake")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process = begun()
    once(process, here, "study.yaml", "snakemake")  # which goes on
    process.kill()
    process.wait()
    assert "its kernel was killed, most often because memory ran out" in outputs[0]
    assert "Snakemake was killed (SIGKILL)" in outputs[1]
    last = study(path)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "its command was killed, and Snakemake" in last.stdout
    pd.testing.assert_frame_equal(small.results(path), whole)
    assert not list(here.folder.rglob("*.half-*")) and not (Run("transfer").folder(here) / GAPS).exists()
    assert "nothing to do" in study(path).stdout


def test_a_study_that_shares_the_folder_is_told(folder):
    path = small.write(folder, "small", encoder={"pretrain": {"steps": 5}})
    other = folder / "other.yaml"
    other.write_text(f"based_on: {path}\nname: other\nshares: small\n")
    first = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        first.stdout.readline()  # it has begun
        seen = subprocess.run(
            [sys.executable, "-m", "xstilts", "status", str(path)], capture_output=True, text=True, check=False
        )
        assert 'study "small", 1 seed: running since' in seen.stdout and f"process {first.pid}" in seen.stdout
        for again in (path, other):
            second = study(again)
            assert second.returncode == 2 and 'study "small" is already running' in second.stderr
            assert f"process {first.pid}" in second.stderr and second.stderr.count("\n") == 1
    finally:
        first.send_signal(signal.SIGTERM)
        assert "stopped; what is done is kept" in first.communicate()[0]
    assert first.returncode == 130


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """What the kernel of a run does before its notebook begins."""

    def begins(code: str) -> None:
        startup = tmp_path / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "fault.py").write_text(code)
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    return begins


@pytest.mark.parametrize(
    "code, said",
    [
        ("import resource\nfrom xstilts import phases\nwhole = phases.encoder\n"
         "def encoder(*asked):\n"
         "    now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
         "    resource.setrlimit(resource.RLIMIT_AS, (now + 2**28,) * 2)\n"
         "    return whole(*asked), bytearray(2**30)\n"
         "phases.encoder = encoder", "out of memory: "),
        ("import os\nos.kill(os.getpid(), 9)", "its kernel was killed, most often because memory ran out"),
        ("import os\nos.kill(os.getpid(), 15)", "its kernel was told to stop (SIGTERM)"),
    ],
    ids=["memory", "killed", "told"],
)  # fmt: skip
def test_a_kernel_without_memory_says_so(tmp_path, kernel, capfd, code, said):
    kernel(code)
    assert run_notebook(load_study(small.write(tmp_path, "small")), "encoder/seed1") == 1
    assert capfd.readouterr().err.strip().splitlines()[-1].startswith(f"{causes.MARK}{said}")


def test_a_full_disk_is_said_and_once_there_is_room_the_run_ends(tmp_path, capfd):
    (tmp_path / "runs").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(tmp_path / "runs")]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk takes the right to mount one")
    try:
        here = load_study(small.write(tmp_path, "small"))
        assert run_notebook(here, "encoder/seed1") == 1
        assert causes.DISK in capfd.readouterr().err.strip().splitlines()[-1]
        folder = Run("encoder", 1).folder(here)
        assert not (folder / "checkpoint").exists() and not (folder / "run.json").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "runs")], check=True)
        assert run_notebook(here, "encoder/seed1") == 0 and (folder / "run.json").is_file()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=False)


def test_a_notebook_that_cannot_be_written_is_a_full_disk(tmp_path, capfd):
    here = load_study(small.write(tmp_path, "small"))
    folder = Run("encoder", 1).folder(here)
    folder.mkdir(parents=True)
    (folder / "notebook.ipynb").symlink_to("/dev/full")
    assert run_notebook(here, "encoder/seed1") == 1
    assert causes.DISK in capfd.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "name, message, said",
    [
        ("SafetensorError", 'Error while serializing: I/O error: No space left on device (os error 28)', causes.DISK),
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB.", "out of GPU memory"),
        ("_ArrayMemoryError", "Unable to allocate 8.00 GiB for an array", causes.MEMORY),
        ("UserError", "f.tsv:3: a label\n outside the set", "f.tsv:3: a label outside the set"),
        ("KeyError", "'x'", "KeyError: 'x'"),
    ],
)  # fmt: skip
def test_causes_are_one_line(name, message, said):
    assert causes.cause(name, message).startswith(said) and "\n" not in causes.cause(name, message)


def test_a_run_that_ended_without_a_word(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("Executing: 30%\n")
    assert causes.of_log(log) == causes.SILENT


def test_halves_are_never_there(tmp_path):
    with pytest.raises(OSError), whole_file(tmp_path / "table.csv") as aside:
        aside.write_text("half")
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
    write_record(tmp_path / "run.json", {"a": 1})
    (tmp_path / "run.json").write_bytes(b'{"a": ')  # what a failing disk left
    assert read_record(tmp_path / "run.json") == {}


@pytest.mark.parametrize("phase", ["encoder", "intermediate", "targets"])
def test_what_was_overwritten_half_way_is_not_taken_for_what_it_was(tmp_path, monkeypatch, phase):
    """Settings changed, killed before the record was written, settings changed back."""
    here = load_study(small.write(tmp_path, "small", targets=["tatoeba"]))
    source = open_source(here)

    def do(study):
        if phase == "encoder":
            return phases.encoder(study, source, 1)
        if phase == "intermediate":
            return phases.intermediate(study, source, "mnli", 1)
        return list(phases.targets(study, source, "none", "tatoeba", 1))

    phases.encoder(here, source, 1)
    do(here)
    if phase == "encoder":
        changed = {"encoder": small.SMALL["encoder"] | {"pretrain": small.SMALL["encoder"]["pretrain"] | {"steps": 0}}}
    elif phase == "intermediate":
        training = small.SMALL["training"]
        changed = {"training": training | {"intermediate": {"steps": 1, "learning_rate": 0.1}}}
    else:
        changed = {"retrieval": {"layer": 0}}
    there = load_study(small.write(tmp_path, "small", targets=["tatoeba"], **changed))
    real = phases.write_record

    def killed(path, record):
        if path.name in ("training.json", "scored.json"):
            raise KeyboardInterrupt
        real(path, record)

    monkeypatch.setattr(phases, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        do(there)
    run = {"encoder": Run("encoder", 1), "intermediate": Run("intermediate", 1, "mnli")}.get(phase)
    record = run.folder(here) / "training.json" if run else Run("targets", 1, "none", "tatoeba").folder(here)
    record = record if run else record / "tatoeba" / "scored.json"
    assert read_record(record) == {}, f"{record} stands for results that were overwritten"
