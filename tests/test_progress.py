"""Progress reads well everywhere: one line in a stored notebook, a few in a log, and nothing elsewhere."""

import os
import re
import sys
from types import SimpleNamespace

import nbformat
import pytest

import small
from xstilts import progress, runs
from xstilts.progress import Progress
from xstilts.runs import Run
from xstilts.study import load_study
from xstilts.workflow import run_notebook

WORK = """\
import json, os, time
from xstilts import progress
progress.OFTEN, done = 0.01, []
try:
    with progress.Progress("counting", 40, "sheep") as bar:
        bar.start(4)
        for number in range(4, 30):
            with progress.Progress("looking", 2, "eyes") as inner:
                inner.to(2)
            time.sleep(0.02)
            bar.to(number + 1, "loss 0.5")
            done.append(json.load(open(os.environ["XSTILTS_PROGRESS"]))["done"])
        raise KeyError
except KeyError:
    print(done == sorted(done), len(set(done)) > 10)
"""


def test_a_stored_notebook_and_its_log_hold_one_line(tmp_path, monkeypatch, capfd):
    """The encoder's notebook is one that only counts."""
    cells = [nbformat.v4.new_code_cell('study = "micro"  # a\nseed = 1  # b', metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(WORK))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "1-encoder.ipynb")
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    study = load_study(small.write(tmp_path, "small"))
    assert run_notebook(study, "encoder/seed1") == 0
    folder = Run("encoder", 1).folder(study)
    line, printed = nbformat.read(folder / "notebook.ipynb", 4).cells[-1].outputs
    assert line.output_type == "display_data" and list(line.data) == ["text/plain"] and printed.text == "True True\n"
    assert re.fullmatch(r"counting: 30 of 40 sheep, loss 0\.5, stopped after (under 1|\d+) s", line.data["text/plain"])
    logged = re.findall(r"^\d\d:\d\d:\d\d (.*)$", capfd.readouterr().out, re.MULTILINE)
    assert logged == [line.data["text/plain"]] and not list(folder.glob("*progress*"))
    assert progress.PLACE not in os.environ and progress.LOG not in os.environ


@pytest.fixture
def clock(monkeypatch):
    """Time passes when the test says so."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def shown(monkeypatch):
    """What a notebook is given to show, one entry for each renewal."""
    given = []

    def display(data, raw, display_id):
        assert raw and display_id
        given.append(data)
        return SimpleNamespace(update=lambda data, raw: given.append(data))

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return given


def test_a_bar_is_renewed_once_a_second_and_ends_as_text(clock, shown):
    with Progress("training <mnli>", 1000, "steps") as bar:
        for step in range(1, 1001):
            clock.seconds += 0.01
            bar.to(step, "loss 0.7")
    assert 10 <= len(shown) <= 12
    assert shown[0]["text/plain"] == "training <mnli>: 0 of 1,000 steps"
    assert shown[5]["text/plain"].startswith("training <mnli>: 5") and "about 10 s left" in shown[5]["text/plain"]
    assert re.match(r'<progress value="5\d+" .* aria-label="training &lt;mnli&gt;"', shown[5]["text/html"])
    assert shown[-1] == {"text/plain": "training <mnli>: 1,000 of 1,000 steps, loss 0.7, took 10 s"}


def test_a_log_has_few_lines_of_long_work(clock, monkeypatch, tmp_path):
    path = tmp_path / "log.txt"
    with path.open("w") as log:
        monkeypatch.setenv(progress.LOG, str(log.fileno()))
        with Progress("long", 3600, "steps") as bar:  # ten minutes
            for step in range(1, 3601):
                clock.seconds += 1 / 6
                bar.to(step)
        with Progress("short", 50, "steps") as bar:
            for step in range(1, 51):
                clock.seconds += 0.1
                bar.to(step)
    lines = [line.partition(" ")[2] for line in path.read_text().splitlines()]
    assert lines[-1] == "short: 50 of 50 steps, took 5 s"
    assert lines[-2] == "long: 3,600 of 3,600 steps, took 10 min" and 10 <= len(lines) - 1 <= 14


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_the_first_reports(clock, shown, monkeypatch, tmp_path, rank):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv(progress.PLACE, str(tmp_path / progress.FILE))
    with Progress("training", 10, "steps"):
        pass
    assert (tmp_path / progress.FILE).is_file() == bool(shown) == (rank == "0")


def test_what_another_process_does_is_shown(clock, shown, monkeypatch, tmp_path):
    """As where a training has several: the first writes, the notebook's shows."""
    path = tmp_path / progress.FILE
    with Progress("both", 1, "part") as bar:
        bar.follow(path)
        with monkeypatch.context() as patched:
            patched.setenv(progress.PLACE, str(path))
            patched.setitem(sys.modules, "IPython", None)
            patched.setattr(Progress, "outermost", None)
            with Progress("training", 10, "steps") as other:
                clock.seconds += 4
                other.to(2, "loss 0.3")
        bar.follow(path)
    assert shown[1]["text/plain"] == "training: 2 of 10 steps, loss 0.3, about 20 s left"
    assert shown[-1] == {"text/plain": "training: 2 of 10 steps, loss 0.3, took 4 s"}


def test_a_full_disk_stops_no_training(clock, monkeypatch):
    monkeypatch.setenv(progress.PLACE, "/dev/full/progress.json")
    monkeypatch.setenv(progress.LOG, "9999")
    with Progress("training", 10, "steps") as bar:
        clock.seconds += 70
        bar.to(5)
    assert bar.done == 5
