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
from collections import defaultdict
from collections.abc import Iterable, Mapping
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
GAPS = "gaps.json"  # in place of run.json where a final notebook was executed before all it shows was there
STATES = ("done", "running", "failed", "stale", "left")
BEGINS = 60  # seconds that a job may take from its first sign, an empty log, to its lock
WIDTH = 80
SHOWN = 12  # running or failed runs named; the others are counted


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
    recorded = "done" if read_record(folder / "run.json") else "missing"
    proved = state(study, run, fingerprints) if fingerprints else recorded
    if proved == "done":
        return Seen("done", seconds=seconds(study, run))
    if not holder(folder / ".lock"):  # else it is done again
        if proved == "stale":  # its log is that of the time when it was done
            return Seen("stale")
        if gaps := read_record(folder / GAPS).get("gaps"):
            return Seen("left", f"{len(gaps)} runs are missing")
    return unfinished(folder)


def unfinished(folder: Path) -> Seen:
    """Of a run that is not done: running, failed or left to do."""
    log, lock = folder / "log.txt", folder / ".lock"
    if holder(lock):
        return Seen("running", read_record(folder / FILE).get("line", ""), time.time() - lock.stat().st_mtime)
    if not log.is_file():
        return Seen("left")
    log_status = log.stat()
    if not log_status.st_size and time.time() - log_status.st_mtime < BEGINS:
        return Seen("running", "starting")
    return Seen("failed", of_log(log))


def seconds(study: Study, run: Run) -> float:
    """What a run that is done took."""
    return read_record(run.folder(study) / "run.json").get("seconds", 0)


class Times:
    """How long runs take, learned from those that are done."""

    def __init__(self, took: Mapping[Run, float]):
        self.alike: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self.phase: dict[str, list[float]] = defaultdict(list)
        for run, spent in took.items():
            self.add(run, spent)

    def add(self, run: Run, spent: float) -> None:
        self.alike[run.phase, run.intermediate, run.bundle].append(spent)
        self.phase[run.phase].append(spent)

    def of(self, run: Run) -> float | None:
        """Seconds: the mean over other seeds of the run, else over its phase; None before any of that is done."""
        known = self.alike.get((run.phase, run.intermediate, run.bundle)) or self.phase.get(run.phase)
        return mean(known) if known else None

    def left(self, runs: Iterable[Run], running: Mapping[Run, float], jobs: int) -> float:
        """Seconds that these runs take, so many at a time, where ``running`` ones have had theirs; of runs that
        nothing is known of, nothing."""
        work = [max(0.0, (self.of(run) or 0) - running.get(run, 0)) for run in runs]
        return max([sum(work) / max(1, jobs), *work])

    def unknown(self, runs: Iterable[Run]) -> list[str]:
        """Phases of these runs that nothing is known of; not the final notebook, which takes seconds."""
        return list(dict.fromkeys(run.phase for run in runs if not run.final and self.of(run) is None))


@dataclass(frozen=True)
class AtWork:
    """The command that holds the lock of a study's runs: what it signed with, and since when (seconds, wall clock)."""

    signed: dict
    since: float


def print_status(name: str, seeds: int | None) -> None:
    """Print how the study is getting on. One that is running is shown as it was started."""
    study = load_study(name, seeds=seeds)
    signed = holder(study.folder / ".lock")
    started = study.own_folder / "study.yaml"
    running = signed.get("name") == study.name
    if started.is_file() and (running or seeds is None):
        try:
            begun = load_study(started)
            study = begun if running else load_study(name, seeds=begun.seeds)
        except UserError:  # of an earlier version
            study = load_study(name, seeds=seeds)
    at_work = AtWork(signed, (study.folder / ".lock").stat().st_mtime) if signed else None
    print("\n".join(report(study, at_work, look(study))))


def report(study: Study, at_work: AtWork | None, seen: dict[Run, Seen]) -> list[str]:
    """Lines of at most 80 characters."""
    seeds = f"{study.seeds} seed{'s' if study.seeds > 1 else ''}"
    lines = _wrapped(f'study "{study.name}", {seeds}: {_command(study, at_work)}')
    lines += ["", *_counts(seen)]
    for status, title in (("running", "Running"), ("failed", "Failed or stopped")):
        named = [(run, entry) for run, entry in seen.items() if entry.state == status]
        if named:
            lines += ["", title, *(row for run, entry in named[:SHOWN] for row in _named(run, entry))]
        if len(named) > SHOWN:
            lines.append(f"  and {len(named) - SHOWN} more")
    lines += ["", *_wrapped(_outlook(study, at_work, seen))]
    if not at_work and any(entry.state != "done" for entry in seen.values()):
        more = "" if load_study(study.given).seeds == study.seeds else f" SEEDS={study.seeds}"
        lines += _wrapped(f"To go on: make study STUDY={study.given}{more}")
    return lines


def _command(study: Study, at_work: AtWork | None) -> str:
    if not at_work:
        return "not running"
    signed, since = at_work.signed, time.strftime("%H:%M", time.localtime(at_work.since))
    if time.time() - at_work.since > 12 * 3600:
        since = time.strftime("%a %d %b %H:%M", time.localtime(at_work.since))
    process = f"process {signed.get('process')} on {signed.get('host')}"
    if signed["name"] != study.name:
        return f'not running; study "{signed["name"]}" works on the same runs since {since} ({process})'
    if not lives(signed, "process"):
        return f"its command was killed; what it began (process {signed.get('snakemake')}) goes on since {since}"
    return f"running since {since} ({process})"


def _counts(seen: dict[Run, Seen]) -> list[str]:
    phases = list(dict.fromkeys(run.phase for run in seen))
    first = max(len(phase) for phase in [*phases, "all"])
    rows: list[tuple[str, ...]] = [("", *STATES, "of")]
    for phase in [*phases, "all"]:
        states = [entry.state for run, entry in seen.items() if phase in (run.phase, "all")]
        rows.append((phase, *(str(states.count(status) or "–") for status in STATES), str(len(states))))
    return ["  ".join([row[0].ljust(first), *(cell.rjust(8) for cell in row[1:])]) for row in rows]


def _named(run: Run, entry: Seen) -> list[str]:
    line = f"{run.name}: {entry.detail}" if entry.detail else run.name
    return textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _outlook(study: Study, at_work: AtWork | None, seen: dict[Run, Seen]) -> str:
    """What is left, in words."""
    left = [run for run, entry in seen.items() if entry.state != "done"]
    if not left:
        return f"All runs are done: {os.path.relpath(Run(study.question).folder(study) / 'notebook.ipynb')}"
    times = Times({run: entry.seconds for run, entry in seen.items() if entry.state == "done"})
    running = {run: entry.seconds for run, entry in seen.items() if entry.state == "running"}
    jobs = at_work.signed.get("jobs") if at_work else os.cpu_count()
    jobs = jobs or max(1, len(running))
    unknown = times.unknown(left)
    seconds = times.left([run for run in left if not run.final], running, jobs)
    outlook = ""
    if seconds:
        done, words = sum(entry.state == "done" for entry in seen.values()), about(seconds).capitalize()
        outlook = f"{words} left, by what {done} runs took, {jobs} at a time"
        outlook += f"; not counting {_phases(left, unknown)}" if unknown else ""
    elif unknown:
        outlook = f"Time left: not known yet for {_phases(left, unknown)}"
    return outlook


def _phases(left: list[Run], names: list[str]) -> str:
    counts = " and ".join(f"{sum(run.phase == name for run in left)} of {name}" for name in names)
    return f"{counts}, where none is done yet"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)
