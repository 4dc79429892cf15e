"""Peak memory of evaluation, retrieval and ranking does not grow with the number of languages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toy import build_checkpoint

MORE = 3  # MiB that nine more languages may take: allocators are not exact
# what is freed is given back, so that what is seen is what is needed
EXACT = {
    "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}  # fmt: skip


@pytest.fixture(scope="module")
def peaks(tmp_path_factory) -> dict[tuple[str, int], float]:
    """(kind, number of languages) -> MiB."""
    folder = tmp_path_factory.mktemp("memory")
    script, checkpoint = Path(__file__).with_name("memory.py"), build_checkpoint(folder / "checkpoint")
    asked = [sys.executable, str(script), str(checkpoint), str(folder), "3", "12"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env=os.environ | EXACT)
    assert done.returncode == 0, done.stderr
    return {(kind, count): found for kind, count, found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("kind", ["xquad", "tatoeba", "lareqa"])
def test_nine_more_languages_need_no_more_memory(peaks, kind):
    print(f"{kind}: {peaks[kind, 3]:.1f} MiB for 3 languages, {peaks[kind, 12]:.1f} for 12")
    assert peaks[kind, 12] < peaks[kind, 3] + MORE
