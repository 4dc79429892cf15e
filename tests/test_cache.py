"""Sets are made once per study, and made again when anything they depend on changes."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import datasets
import pytest

from microworld.settings import MicroSettings, Sizes
from xstilts.errors import UserError
from xstilts.io import lock
from xstilts.sources import cache as kept
from xstilts.sources.cache import CachedSource
from xstilts.sources.micro import MicroSource
from xstilts.tasks import get

SMALL = MicroSettings(classification=Sizes(test=5), span=Sizes(test=5), documents=20)


class Counting(MicroSource):
    loads = 0

    def load(self, task, split, language):
        self.loads += 1
        return super().load(task, split, language)

    def text(self, seed):
        self.loads += 1
        return super().text(seed)


@pytest.mark.parametrize("name", ["xnli", "xquad"])
def test_a_set_is_made_once_and_stays_as_it_was(tmp_path, name):
    made = Counting(SMALL)
    first, again = CachedSource(made, tmp_path), CachedSource(made, tmp_path)
    task = get(name)
    assert first.languages(task, "test") == made.languages(task, "test")
    rows = first.load(task, "test", "qad")
    assert again.load(task, "test", "qad")[:] == rows[:] == MicroSource(SMALL).load(task, "test", "qad")[:]
    assert made.loads == 1
    assert first.text(1)[:] == again.text(1)[:] and made.loads == 2
    assert first.text(2)[:] != first.text(1)[:] and made.loads == 3


def test_what_changes_a_set_makes_it_again(tmp_path, monkeypatch):
    task = get("xnli")
    first = CachedSource(Counting(SMALL), tmp_path).load(task, "test", "qad")
    other = Counting(SMALL.model_copy(update={"world_seed": 1}))
    assert CachedSource(other, tmp_path).load(task, "test", "qad")[:] != first[:] and other.loads == 1
    longer = Counting(SMALL.model_copy(update={"classification": Sizes(test=6)}))
    assert len(CachedSource(longer, tmp_path).load(task, "test", "qad")) == 6
    monkeypatch.setattr(kept, "_code_hash", lambda: "edited")
    edited = Counting(SMALL)
    CachedSource(edited, tmp_path).load(task, "test", "qad")
    assert edited.loads == 1


def test_two_runs_that_make_the_same_set_at_once_both_get_it(tmp_path):
    class Overtaken(Counting):
        def load(self, task, split, language):
            if not self.loads:  # while this one is busy, another run begins and ends
                self.loads += 1
                CachedSource(self, tmp_path).load(task, split, language)
            return super().load(task, split, language)

    rows = CachedSource(Overtaken(SMALL), tmp_path).load(get("xnli"), "test", "qad")
    assert isinstance(rows, datasets.Dataset) and len(rows) == 5
    assert len(list(tmp_path.iterdir())) == 1


def damaged(folder):
    for path in folder.glob("*/*.arrow"):
        path.write_bytes(path.read_bytes()[:100])


def test_a_damaged_set_is_made_again_and_said(tmp_path, caplog):
    made, task = Counting(SMALL), get("xnli")
    source = CachedSource(made, tmp_path)
    rows = source.load(task, "test", "qad")[:]
    damaged(tmp_path)
    assert source.load(task, "test", "qad")[:] == rows and made.loads == 2
    assert source.load(task, "test", "qad")[:] == rows and made.loads == 2
    (line,) = caplog.messages
    assert "this cached dataset cannot be read" in line and line.endswith("made again") and str(tmp_path) in line


def test_one_process_mends_a_damaged_set(tmp_path, monkeypatch):
    made, task = Counting(SMALL), get("xnli")
    source = CachedSource(made, tmp_path / "data")
    rows = source.load(task, "test", "qad")[:]
    shutil.copytree(tmp_path / "data", tmp_path / "whole")
    damaged(tmp_path / "data")
    held, _ = lock(tmp_path / "data" / ".lock")
    came = threading.Event()
    monkeypatch.setattr(kept, "lock", lambda *args, **options: (came.set(), lock(*args, **options))[1])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(source.load, task, "test", "qad")
        assert came.wait(600) and not waiting.done()
        shutil.copytree(tmp_path / "whole", tmp_path / "data", dirs_exist_ok=True)
        held.close()
        assert waiting.result()[:] == rows and made.loads == 1


def test_what_is_no_set_is_not_removed(tmp_path):
    source, task = CachedSource(Counting(SMALL), tmp_path), get("xnli")
    source.load(task, "test", "qad")
    (path,) = tmp_path.iterdir()
    shutil.rmtree(path)
    path.touch()
    with pytest.raises(UserError, match="cannot be written"):
        source.load(task, "test", "qad")
    assert path.is_file()
