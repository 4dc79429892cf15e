"""A run in a fork is the run in processes of its own: the same bits, and whatever ends one of its processes ends it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

import small
from test_failures import kernel_of
from xstilts import warm
from xstilts.io import holder
from xstilts.runs import Run
from xstilts.study import load_study

pytestmark = pytest.mark.usefixtures("server")
RUNS = (Run("encoder", 1), Run("targets", 1, "none", "xnli"))


def job(path: Path, run: Run, **variables: str) -> subprocess.Popen:
    command, environment = [sys.executable, "-m", "xstilts", "run", str(path), run.name], os.environ | variables
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(folder: Path) -> dict[str, bytes]:
    """Weights, statistics, predictions and figures of a study's runs."""
    files = [path for pattern in ("*.safetensors", "*.parquet") for path in folder.rglob(pattern)]
    results = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    for path in folder.rglob("notebook.ipynb"):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        data = [output.get("data", {}) for cell in cells for output in cell.outputs]
        shown = re.sub(r"\bT_[0-9a-f]{5}", "", str([entry.get("text/html") for entry in data]))  # pandas' random names
        results[str(path.relative_to(folder))] = shown.encode()
    return results


def test_a_fork_makes_the_same_bits(tmp_path):
    outcomes = []
    for name, variables in {"cold": {warm.ADDRESS: ""}, "warm": {}}.items():
        (tmp_path / name).mkdir()
        path = small.write(tmp_path / name, "small", targets=["xnli"], intermediate=["none"])
        for run, threads in zip(RUNS, "21", strict=True):
            process = job(path, run, OMP_NUM_THREADS=threads, **variables)
            output, _ = process.communicate()
            assert process.returncode == 0, output
        outcomes.append(outcome(load_study(path).folder))
    assert outcomes[0] == outcomes[1] and len(outcomes[0]) > 5


def test_whoever_ends_the_others_end(tmp_path):
    pretrain = small.SMALL["encoder"]["pretrain"] | {"steps": 100_000}
    path = small.write(tmp_path, "small", encoder={"pretrain": pretrain})
    folder = RUNS[0].folder(load_study(path))

    def begin() -> tuple[subprocess.Popen, psutil.Process, psutil.Process]:
        process = job(path, RUNS[0])
        while not (kernel := kernel_of(folder)):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        return process, psutil.Process(holder(folder / ".lock")["process"]), kernel

    for killed in range(3):
        process, *forks = begin()
        (process, *forks)[killed].kill()
        output, _ = process.communicate()
        assert process.returncode == (1 if killed == 2 else -signal.SIGKILL), output
        assert killed < 2 or "its kernel was killed" in output
        psutil.wait_procs(forks)
    process, *forks = begin()
    os.kill(process.pid, signal.SIGTERM)
    assert "SIGTERM" in process.communicate()[0] and process.returncode == 1
    psutil.wait_procs(forks)


def test_a_fork_is_a_process_like_any_other():
    process = warm.fork("signal:pause", [], os.environ, "/", {})
    assert process.poll() is None
    process.terminate()
    assert process.wait() == process.poll() == -signal.SIGTERM
    process = warm.fork("os:getppid", [], os.environ, "/", {})  # what it returns is its status
    assert process.wait() > 0


def test_what_was_changed_since_starts_cold():
    module = Path(warm.__file__)
    before = module.stat()
    try:
        os.utime(module)
        assert warm.fork("signal:pause", [], os.environ, "/", {}) is None
    finally:
        os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
