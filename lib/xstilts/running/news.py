"""What ``make study`` says while it works: one line per phase, redrawn in place on a terminal, told now and then
elsewhere."""

import shutil
import sys
import time
from pathlib import Path

from ..progress import about, duration
from ..runs import Run, list_runs
from ..study import Study
from .causes import MARK
from .following import Times, seconds, unfinished

APART = 60  # seconds between two lines of a phase where there is no terminal
LOOK = 2  # seconds between two looks at the runs at work


class News:
    """The runs ``left`` to do, ``jobs`` at a time (0: as many as there are at work), called twice a second."""

    def __init__(self, study: Study, left: list[Run], jobs: int):
        self.study, self.left, self.jobs = study, left, jobs
        self.waiting = list(left)
        self.running: dict[Run, float] = {}  # seconds since each began
        self.failed: dict[Run, str] = {}  # why
        self.times = Times({run: seconds(study, run) for run in list_runs(study) if run not in left})
        self.phases = list(dict.fromkeys(run.phase for run in left))
        self.began: dict[str, float] = {}
        self.told = dict.fromkeys(self.phases, ("", 0.0))  # of each phase the line that was printed last, and when
        self.drawn: list[str] = []
        self.terminal, self.looked = sys.stdout.isatty(), 0.0

    def __call__(self, end: bool = False) -> None:
        """``end``: nothing is at work any more."""
        for run in [run for run in self.waiting if (run.folder(self.study) / "run.json").is_file()]:
            self.waiting.remove(run)
            self.began.setdefault(run.phase, time.monotonic())
            self.times.add(run, seconds(self.study, run))
            self.running.pop(run, None)
        if end or time.monotonic() - self.looked >= LOOK:
            self._look()
        if self.terminal:
            self._draw()
        else:
            for phase in self.phases:
                self._tell(phase, end)

    def _look(self) -> None:
        self.looked, self.running = time.monotonic(), {}
        for run in self.waiting:
            folder = run.folder(self.study)
            if not (folder / "log.txt").is_file():
                continue
            seen = unfinished(folder)
            if seen.state == "running":
                self.running[run] = seen.seconds
                self.began.setdefault(run.phase, self.looked)
                self.failed.pop(run, None)  # a profile may try again
            elif seen.state == "failed" and _spoke(folder / "log.txt") and self.failed.get(run) != seen.said:
                self.failed[run] = seen.said
                self._above(f"  failed: {run.name}: {seen.said}")

    def line(self, phase: str) -> str:
        """``  targets: 12 of 26 done, 4 running, about 6 min left``."""
        here = [run for run in self.left if run.phase == phase]
        waiting, running, failed = (
            [run for run in runs if run.phase == phase] for runs in (self.waiting, self.running, self.failed)
        )
        parts = [f"  {phase}: {len(here) - len(waiting)} of {len(here)} done"]
        parts += [f"{len(runs)} {word}" for runs, word in ((running, "running"), (failed, "failed")) if runs]
        if not waiting:
            return f"{parts[0]} in {duration(time.monotonic() - self.began[phase])}"
        until = self.phases[: self.phases.index(phase) + 1]
        ahead = [run for run in self.waiting if run.phase in until]  # earlier phases go first
        if (running or not self.failed) and not self.times.unknown(ahead) and self.times.of(waiting[0]):
            left = self.times.left(ahead, self.running, self.jobs or len(self.running))
            parts.append(f"{about(left)} left")
        return ", ".join(parts)

    def _tell(self, phase: str, end: bool) -> None:
        if phase not in self.began:
            return
        line, (last, when) = self.line(phase), self.told[phase]
        over = end or all(run.phase != phase for run in self.waiting)
        if not last or (over and not _ended(last)) or (not over and time.monotonic() - when >= APART and line != last):
            self.told[phase] = (line, time.monotonic())
            print(line, flush=True)

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        rows = []
        for phase in self.phases:
            row = self.line(phase)
            names = ", ".join(run.name.partition("/")[2] for run in self.running if run.phase == phase)
            rows.append((f"{row}: {names}" if names else row)[: width - 1])
        if rows != self.drawn:
            self._up()
            print("".join(f"{row}\n" for row in rows), end="", flush=True)
            self.drawn = rows

    def _above(self, line: str) -> None:
        """A line that stays, above those that are redrawn."""
        self._up()
        print(line, flush=True)

    def _up(self) -> None:
        """Back to the first of the lines that are drawn, which go."""
        if self.drawn:
            print(f"\033[{len(self.drawn)}F\033[J", end="")
            self.drawn = []


def _ended(line: str) -> bool:
    return " done in " in line


def _spoke(log: Path) -> bool:
    """Whether the job said itself why it failed: of one that is silent more is known at the end."""
    return log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2].startswith(MARK)
