"""Why a run failed, in one line: the cause where it is known, else the error as it was raised."""

import errno
import re
import shutil
import signal
from pathlib import Path

MARK = "xstilts: "  # begins the line that says what went wrong, of a failed run's log the last
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
MEMORY = "out of memory: run fewer at a time (CORES=n), smaller batches with more accumulate, or on a larger machine"
DISK = "the disk is full: make room where the study and TMPDIR write"
KNOWN = [
    (r"No space left on device|StorageFull|database or disk is full|Disk quota exceeded|os error 28\b", DISK),
    (
        r"CUDA out of memory|OutOfMemoryError",
        "out of GPU memory: smaller batches with more accumulate, or a larger GPU",
    ),
    (
        r"MemoryError|[Cc]an(no|')t allocate memory|Unable to allocate|std::bad_alloc|realloc of size|start new thread",
        MEMORY,
    ),
]
ENDED = {
    signal.SIGKILL: f"its kernel was killed, most often because memory ran out; if so, {MEMORY}",
    signal.SIGBUS: f"its kernel met a disk that took no more (SIGBUS); most often {DISK}",
    signal.SIGTERM: "its kernel was told to stop (SIGTERM), as by a time limit; the same command goes on from here",
}
SILENT = "ended without a word: killed from outside (memory, a time limit, a lost machine); the same command resumes it"


def cause(name: str, message: str, traceback: str = "") -> str:
    """One line for an error of that class ``name`` with that ``message``."""
    if name == "UserError":
        return " ".join(message.split())
    for pattern, known in KNOWN:  # of a chain of errors the first may be the one that says it
        if re.search(pattern, f"{name}: {message}\n{traceback}"):
            return known
    return " ".join(f"{name}: {message}".split())[:500]


def of_kernel(ended: int | None) -> str:
    """Why a kernel is gone, by its exit status (negative: a signal's number)."""
    if ended is not None and ended < 0:
        number = signal.Signals(-ended)
        return ENDED.get(number, f"its kernel crashed ({number.name})")
    return f"its kernel died (exit status {ended})"


def of_log(log: Path) -> str:
    """Why the run that left this log failed: its last word or, where it has none, what its disk suggests."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines and lines[-1].startswith(MARK):
        return lines[-1].removeprefix(MARK)
    return DISK if shutil.disk_usage(log.parent).free < 2**16 else SILENT
