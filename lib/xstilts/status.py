"""How each run of a study stands, as its folder shows it, and why it failed; ``make status`` prints it.

A run at work holds the lock of its folder, on whichever machine it is; one that is done has a ``run.json``, written
last; one that failed leaves a log, whose last line is the cause, and no ``run.json``.
"""

import errno
import os
import re
import shutil
import signal
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from xstilts.errors import MARK, UserError
from xstilts.io import holder, lives, read_record
from xstilts.progress import FILE, about
from xstilts.runs import Fingerprints, Run, list_runs, state
from xstilts.settings import Study
from xstilts.study import load_study

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
MEMORY = "out of memory: run fewer at a time (CORES=n), smaller batches with more accumulate, or on a larger machine"
DISK = "the disk is full: make room where the study and TMPDIR write"
GPU_MEMORY = "out of GPU memory: smaller batches with more accumulate, or a larger GPU"
KNOWN = {  # of a chain of errors the first may be the one that says it
    DISK: r"No space left on device|StorageFull|database or disk is full|Disk quota exceeded|os error 28\b",
    GPU_MEMORY: r"CUDA out of memory|OutOfMemoryError",
    MEMORY: r"MemoryError|[Cc]an(no|')t allocate memory|Unable to allocate|bad_alloc|realloc of size|start new thread",
}
ENDED = {
    signal.SIGKILL: f"its kernel was killed, most often because memory ran out; if so, {MEMORY}",
    signal.SIGBUS: f"its kernel met a disk that took no more (SIGBUS); most often {DISK}",
    signal.SIGTERM: "its kernel was told to stop (SIGTERM), as by a time limit; the same command goes on from here",
}
SILENT = "ended without a word: killed from outside (memory, a time limit, a lost machine); the same command resumes it"
GAPS = "gaps.json"  # in place of run.json where a final notebook was executed before all it shows was there
STATES = ("done", "running", "failed", "stale", "left")
SHOWN = 12  # running or failed runs named; the others are counted


def cause(name: str, message: str, traceback: str = "") -> str:
    """One line for an error of that class ``name`` with that ``message``."""
    if name == "UserError":
        return " ".join(message.split())
    for known, pattern in KNOWN.items():
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
    if lines and re.match(r"[A-Za-z_.]+(Error|Exception|Interrupt|Exit)\b", lines[-1]):  # of a traceback
        return lines[-1]
    return DISK if shutil.disk_usage(log.parent).free < 2**16 else SILENT


@dataclass(frozen=True)
class Seen:
    """A run's state, with how far it is (running), what it lacks (left) or why it failed in one line, and seconds:
    those it took (done) or those since it began (running)."""

    state: str
    detail: str = ""
    seconds: float = 0


def look(study: Study) -> dict[Run, Seen]:
    """Every run of the study."""
    fingerprints = Fingerprints(study)
    return {run: standing(study, run, fingerprints) for run in list_runs(study)}


def standing(study: Study, run: Run, fingerprints: Fingerprints | None) -> Seen:
    """One run. ``fingerprints``: None where they cannot be had; then what is recorded counts as done."""
    folder = run.folder(study)
    log, lock, record = folder / "log.txt", folder / ".lock", read_record(folder / "run.json")
    proved = state(study, run, fingerprints) if record and fingerprints else "done" if record else "missing"
    if proved == "done":
        return Seen("done", seconds=record.get("seconds", 0))
    if holder(lock):  # it is done for the first time or again
        return Seen("running", read_record(folder / FILE).get("line", ""), time.time() - lock.stat().st_mtime)
    if proved == "stale":  # its log is that of the time when it was done
        return Seen("stale")
    if gaps := read_record(folder / GAPS).get("gaps"):
        return Seen("left", f"{len(gaps)} runs are missing")
    if not log.is_file():
        return Seen("left")
    # a job may take a minute from its first sign, an empty log, to its lock
    if not log.stat().st_size and time.time() - log.stat().st_mtime < 60:
        return Seen("running", "starting")
    return Seen("failed", of_log(log))


def time_left(seen: Mapping[Run, Seen], jobs: int) -> tuple[float, Counter[str]]:
    """Seconds that the runs which are not done take, ``jobs`` at a time; and how many runs, by phase, are not in them
    since none of their phase is done yet.

    A run takes what other seeds of it took on average, else what others of its phase did.
    """
    took: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for run, entry in seen.items():
        if entry.state == "done":
            for alike in ((run.phase, run.intermediate, run.bundle), (run.phase,)):
                took[alike].append(entry.seconds)
    work, unknown = [0.0], Counter[str]()
    for run, entry in seen.items():
        times = took.get((run.phase, run.intermediate, run.bundle)) or took.get((run.phase,))
        if times and entry.state != "done":
            work.append(max(0.0, mean(times) - (entry.seconds if entry.state == "running" else 0)))
        elif entry.state != "done" and not run.final:  # which takes seconds
            unknown[run.phase] += 1
    return max(sum(work) / max(1, jobs), *work), unknown


def print_status(name: str, seeds: int | None) -> None:
    """Print how the study is getting on. One that is running is shown as it was started."""
    study = load_study(name, seeds=seeds)
    lock, started = study.folder / ".lock", study.own_folder / "study.yaml"
    signed = holder(lock)
    running = signed.get("name") == study.name
    if started.is_file() and (running or seeds is None):
        with suppress(UserError):  # of an earlier version
            begun = load_study(started)
            study = begun if running else load_study(name, seeds=begun.seeds)
    print("\n".join(report(study, signed, lock.stat().st_mtime if signed else 0, look(study))))


def report(study: Study, signed: dict, since: float, seen: Mapping[Run, Seen]) -> list[str]:
    """Lines of at most 80 characters. ``signed``: what the command that holds the lock of the study's runs wrote into
    it; ``since``: when (seconds, wall clock)."""
    seeds = f"{study.seeds} seed{'s' if study.seeds > 1 else ''}"
    lines = [*_wrapped(f'study "{study.name}", {seeds}: {_command(study, signed, since)}'), ""]
    rows: list[tuple[str, ...]] = [("", *STATES, "of")]
    for phase in [*dict.fromkeys(run.phase for run in seen), "all"]:
        states = [entry.state for run, entry in seen.items() if phase in (run.phase, "all")]
        rows.append((phase, *(str(states.count(status) or "–") for status in STATES), str(len(states))))
    width = max(len(row[0]) for row in rows)
    lines += ["  ".join([row[0].ljust(width), *(cell.rjust(8) for cell in row[1:])]) for row in rows]
    for status, title in (("running", "Running"), ("failed", "Failed or stopped")):
        named = [(run.name, entry.detail) for run, entry in seen.items() if entry.state == status]
        lines += ["", title] if named else []
        for texts in named[:SHOWN]:
            lines += _wrapped("  " + ": ".join(filter(None, texts)), "    ")
        if len(named) > SHOWN:
            lines.append(f"  and {len(named) - SHOWN} more")
    lines += ["", *_wrapped(_outlook(study, signed, seen))]
    if not signed and any(entry.state != "done" for entry in seen.values()):
        more = "" if load_study(study.given).seeds == study.seeds else f" SEEDS={study.seeds}"
        lines += _wrapped(f"To go on: make study STUDY={study.given}{more}")
    return lines


def _command(study: Study, signed: dict, since: float) -> str:
    if not signed:
        return "not running"
    begun = time.strftime("%a %d %b %H:%M" if time.time() - since > 12 * 3600 else "%H:%M", time.localtime(since))
    process = f"process {signed.get('process')} on {signed.get('host')}"
    if signed["name"] != study.name:
        return f'not running; study "{signed["name"]}" works on the same runs since {begun} ({process})'
    if not lives(signed, "process"):
        return f"its command was killed; what it began (process {signed.get('snakemake')}) goes on since {begun}"
    return f"running since {begun} ({process})"


def _outlook(study: Study, signed: dict, seen: Mapping[Run, Seen]) -> str:
    """What is left, in words."""
    states = Counter(entry.state for entry in seen.values())
    if states["done"] == len(seen):
        return f"All runs are done: {os.path.relpath(Run(study.question).folder(study) / 'notebook.ipynb')}"
    jobs = (signed.get("jobs") if signed else os.cpu_count()) or max(1, states["running"])
    seconds, unknown = time_left({run: entry for run, entry in seen.items() if not run.final}, jobs)
    phases = " and ".join(f"{count} of {phase}" for phase, count in unknown.items()) + ", where none is done yet"
    if seconds:
        known = f"{about(seconds).capitalize()} left, by what {states['done']} runs took, {jobs} at a time"
        return f"{known}; not counting {phases}" if unknown else known
    return f"Time left: not known yet for {phases}" if unknown else ""


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, 80, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
