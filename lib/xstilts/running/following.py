"""What has become of each run of a study, read from its folder: nothing is changed, and no lock is kept.

A run at work holds the lock of its folder, on whichever machine it is; one that failed leaves a log and no proof.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ..locks import holder
from ..progress import FILE
from ..runs import Fingerprints, Run, list_runs, state
from ..study import Study
from ..writing import read_record
from .causes import of_log
from .execution import GAPS

STATES = ("done", "running", "failed", "stale", "left")
BEGINS = 60  # seconds that a job may take from its first sign, an empty log, to its lock


@dataclass(frozen=True)
class Seen:
    """A run's state, with how far it is (running), what it lacks (left) or why it failed in one line, and seconds:
    those it took (done) or those since it began (running)."""

    state: str
    said: str = ""
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
            return Seen("left", f"for want of {len(gaps)} runs")
    return unfinished(folder)


def unfinished(folder: Path) -> Seen:
    """Of a run that is not done: running, failed or left to do."""
    log, lock = folder / "log.txt", folder / ".lock"
    if holder(lock):
        return Seen("running", read_record(folder / FILE).get("line", ""), time.time() - lock.stat().st_mtime)
    if not log.is_file():
        return Seen("left")
    told = log.stat()
    if not told.st_size and time.time() - told.st_mtime < BEGINS:
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
