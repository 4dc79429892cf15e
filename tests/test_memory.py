"""Peak memory of evaluation, retrieval and ranking does not grow with the number of languages.

    python tests/test_memory.py <checkpoint> <folder>

prints a line of JSON for each kind and number of languages: kind, number, MiB. Each is measured in a process of its
own, begun from this one when all is imported.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
import transformers

from toy import build_checkpoint
from xstilts import io, phases
from xstilts.evaluation import prediction, ranking, retrieval
from xstilts.settings import LengthSettings, PhaseSettings, RetrievalSettings
from xstilts.tasks import POOL, get

KINDS = ("xquad", "tatoeba", "lareqa")
MORE = 3  # MiB that nine more languages may take: allocators are not exact
# what is freed is given back, so that what is seen is what is needed
EXACT = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
EXACT["ARROW_DEFAULT_MEMORY_POOL"] = "system"
ROWS, WARM = 400, 20  # of a language
WORDS = "The Panthers defense gave up just 308 points ranking sixth in the league Verteidigung der gab nur ab".split()


class Sets:
    """A source of made-up sets that lie on the disk."""

    source_language = "qa"

    def __init__(self, kind: str, codes: list[str], rows: int, folder: Path):
        self.codes, self.rng, self.sets = codes, np.random.default_rng(0), {}
        for code in codes:
            for split, columns in getattr(self, kind)(code, [f"{code}_{row}" for row in range(rows)]).items():
                path = folder / f"{rows}-{split}-{code}"
                datasets.Dataset.from_dict(columns).save_to_disk(path)
                self.sets[split, code] = datasets.load_from_disk(path)

    def languages(self, task, split: str) -> list[str]:
        return self.codes

    def load(self, task, split: str, code: str) -> datasets.Dataset:
        return self.sets[split, code]

    def _texts(self, ids: list[str], words: int) -> list[str]:
        return [f"{identity} {' '.join(self.rng.choice(WORDS, words))}" for identity in ids]

    def xquad(self, code: str, ids: list[str]) -> dict[str, dict]:
        answers = [{"text": [identity], "answer_start": [0]} for identity in ids]
        columns = {"question": ["who gave up"] * len(ids), "is_impossible": [False] * len(ids), "answers": answers}
        return {"test": {"id": ids, "context": self._texts(ids, 60), **columns}}

    def tatoeba(self, code: str, ids: list[str]) -> dict[str, dict]:
        return {"test": {"id": ids, "query": self._texts(ids, 8), "candidate": self._texts(ids, 20)}}

    def lareqa(self, code: str, ids: list[str]) -> dict[str, dict]:
        named = {"id": ids, "language": [code] * len(ids), "keys": [[identity] for identity in ids]}
        return {"test": named | {"text": self._texts(ids, 8)}, POOL: named | {"text": self._texts(ids, 20)}}


def scoring(kind: str, checkpoint: Path, folder: Path) -> Callable[[Sets], None]:
    """Scores all languages of a source, as a run does, and writes the tables."""
    tables = [folder / f"{kind}{number}.parquet" for number in range(3)]
    training = SimpleNamespace(max_length=LengthSettings(), target=PhaseSettings())
    study = SimpleNamespace(retrieval=RetrievalSettings(layers=(0, 1)), training=training, languages=())
    study.training_task = lambda task: get(task.training_set)
    if kind != "xquad":
        find = ranking.rank if kind == "lareqa" else retrieval.retrieve
        return lambda source: io.write_parts(find(get(kind), source, source.codes, "test", checkpoint, study), tables)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def scored(source: Sets):
        data = {code: source.load(get(kind), "test", code) for code in source.codes}
        return phases._scored(study, get(kind), data, checkpoint, tokenizer)

    return lambda source: io.write_parts(scored(source), tables)


def peak(work: Callable[[], None]) -> float:
    """MiB of its own that the work needed at its peak."""
    seen, ended = [_own()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            seen.append(_own())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    ended.set()
    thread.join()
    return (max(seen) - seen[0]) / 1024


def _own() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def measure(kind: str, checkpoint: Path, folder: Path, count: int) -> None:
    codes = [f"q{chr(97 + number)}" for number in range(count)]
    warm, whole = (Sets(kind, codes[: min(count, rows)], rows, folder) for rows in (WARM, ROWS))
    work = scoring(kind, checkpoint, folder)
    work(warm)
    print(json.dumps([kind, count, peak(lambda: work(whole))]), flush=True)


@pytest.fixture(scope="module")
def peaks(tmp_path_factory) -> dict[tuple[str, int], float]:
    """(kind, number of languages) -> MiB."""
    folder = tmp_path_factory.mktemp("memory")
    command = [sys.executable, __file__, str(build_checkpoint(folder / "checkpoint")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | EXACT)
    assert done.returncode == 0, done.stderr
    return {(kind, count): peak for kind, count, peak in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("kind", KINDS)
def test_nine_more_languages_need_no_more_memory(peaks, kind):
    assert peaks[kind, 12] < peaks[kind, 3] + MORE


if __name__ == "__main__":
    # blocks and batches as small beside these sets as the usual ones beside real sets
    prediction.BATCH_TOKENS = 1024
    retrieval.CHUNK, ranking.BLOCK_VALUES, retrieval.TILE = 256, 2**14, 128
    torch.set_num_threads(1)
    checkpoint, folder = map(Path, sys.argv[1:])
    for kind, count in [(kind, count) for kind in KINDS for count in (3, 12)]:
        child = os.fork()
        if not child:
            measure(kind, checkpoint, folder / f"{kind}{count}", count)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
