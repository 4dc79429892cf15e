"""Sets are made once per study, and made again when anything they depend on changes."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from microworld.settings import MicroSettings, Sizes
from xstilts.errors import UserError
from xstilts.io import lock
from xstilts.sources import cache
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


def rows(source, name="xnli"):
    return source.load(get(name), "test", "qad")[:]


@pytest.fixture
def made():
    return Counting(SMALL)


@pytest.fixture
def source(made, tmp_path):
    return CachedSource(made, tmp_path / "data")


@pytest.mark.parametrize("name", ["xnli", "xquad"])
def test_a_set_is_made_once_and_stays_as_it_was(made, source, tmp_path, name):
    again = CachedSource(made, tmp_path / "data")
    assert source.languages(get(name), "test") == made.languages(get(name), "test")
    assert rows(source, name) == rows(again, name) == rows(MicroSource(SMALL), name)
    assert made.loads == 1
    assert source.text(1)[:] == again.text(1)[:] and made.loads == 2
    assert source.text(2)[:] != source.text(1)[:] and made.loads == 3


def test_what_changes_a_set_makes_it_again(made, source, tmp_path, monkeypatch):
    first = rows(source)
    other = Counting(SMALL.model_copy(update={"world_seed": 1}))
    assert rows(CachedSource(other, tmp_path / "data")) != first and other.loads == 1
    longer = Counting(SMALL.model_copy(update={"classification": Sizes(test=6)}))
    assert len(rows(CachedSource(longer, tmp_path / "data"))["id"]) == 6
    monkeypatch.setattr(cache, "_code_hash", lambda: "edited")
    assert rows(source) == first and made.loads == 2


def test_two_runs_that_make_the_same_set_at_once_both_get_it(tmp_path):
    class Overtaken(Counting):
        def load(self, task, split, language):
            if not self.loads:  # while this one is busy, another run begins and ends
                self.loads += 1
                CachedSource(self, tmp_path).load(task, split, language)
            return super().load(task, split, language)

    assert len(rows(CachedSource(Overtaken(SMALL), tmp_path))["id"]) == 5
    assert len(list(tmp_path.iterdir())) == 1


def damaged(folder):
    for path in folder.glob("*/*.arrow"):
        path.write_bytes(path.read_bytes()[:100])


def test_a_damaged_set_is_made_again_and_said(made, source, tmp_path, caplog):
    first = rows(source)
    damaged(tmp_path / "data")
    assert rows(source) == rows(source) == first and made.loads == 2
    (line,) = caplog.messages
    assert "this cached dataset cannot be read" in line and line.endswith("made again") and str(tmp_path) in line


def test_one_process_mends_a_damaged_set(made, source, tmp_path, monkeypatch):
    first = rows(source)
    shutil.copytree(tmp_path / "data", tmp_path / "whole")
    damaged(tmp_path / "data")
    held, _ = lock(tmp_path / "data" / ".lock")
    came = threading.Event()
    monkeypatch.setattr(cache, "lock", lambda *args, **options: (came.set(), lock(*args, **options))[1])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rows, source)
        assert came.wait(600) and not waiting.done()
        shutil.copytree(tmp_path / "whole", tmp_path / "data", dirs_exist_ok=True)
        held.close()
        assert waiting.result() == first and made.loads == 1


def test_what_is_no_set_is_not_removed(source, tmp_path):
    rows(source)
    (path,) = (tmp_path / "data").iterdir()
    shutil.rmtree(path)
    path.touch()
    with pytest.raises(
        UserError, match=f"{path.name}: a file, where a folder with a cached dataset belongs; delete it"
    ):
        rows(source)
    assert path.is_file()
