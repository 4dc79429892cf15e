"""How far long work is: one live line in a notebook, a few in the job's log, a small file for ``make status``.

Nothing here decides a result. The line in a notebook is one display, renewed in place: a bar while the work lasts,
plain text once it is over. So a stored notebook and its HTML hold one line for it, whoever executed it. Outside
notebooks and jobs nothing is shown.
"""

import html
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from xstilts.io import read_record, whole_file

FILE = "progress.json"  # in the folder of a run while it works
PLACE, LOG = "XSTILTS_PROGRESS", "XSTILTS_LOG"  # in a kernel's environment: that file, the descriptor of the job's log
OFTEN = 1.0  # seconds between two renewals of line and file
SELDOM = 60.0  # seconds between two lines of the log; a quarter of the way is told after a sixth of them


class Progress:
    """Work of ``total`` units on ``what``; as a context, from its beginning to its end.

    Inside another the work is part of that one's line: a scoring within a training has none of its own.
    """

    current: ClassVar["Progress | None"] = None

    def __init__(self, what: str, total: int, unit: str):
        self.what, self.total, self.unit = what, total, unit
        self.done = self.begun = 0
        self.note = self.within = ""
        self.handle: Any = None
        # of the processes of one training the first tells
        self.silent = os.environ.get("RANK", "0") != "0"

    def __enter__(self) -> Self:
        self.outer, Progress.current = Progress.current, self
        self.started = self.shown = self.logged = time.monotonic()
        self.quarter = 0
        if not self.outer:
            self._tell()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if Progress.current is self:  # not where a generator that was left half-way ends at last
            Progress.current = self.outer
        if self.outer:
            self.outer.within = ""
        elif not self.silent:
            self._show(self.ended(kind is not None))
            _log(self.ended(kind is not None))
            if PLACE in os.environ:
                with suppress(OSError):
                    Path(os.environ[PLACE]).unlink(missing_ok=True)

    def start(self, done: int) -> None:
        """So much was there before: a training that goes on."""
        self.done = self.begun = done
        self.quarter = 4 * done // max(1, self.total)

    def to(self, done: int, note: str = "") -> None:
        """So much is done now; ``note`` stands beside it until there is another."""
        self.done, self.note = done, note or self.note
        if time.monotonic() - self.shown >= OFTEN:
            self._tell()

    def follow(self, path: Path) -> None:
        """Be the line of another process, by the file that it writes."""
        if record := read_record(path):
            self.what, self.total, self.unit = record["what"], record["total"], record["unit"]
            self.to(record["done"], record["note"])

    def left(self) -> float | None:
        """Seconds to the end at the speed so far; None before there is one."""
        if self.done == self.begun:
            return None
        return (time.monotonic() - self.started) / (self.done - self.begun) * (self.total - self.done)

    def line(self) -> str:
        """``training mnli: 120 of 500 steps, loss 0.712, about 40 s left``."""
        left = self.left()
        time_left = "" if left is None else f"{about(left)} left"
        within = f" ({self.within})" if self.within else ""
        return ", ".join(filter(None, [self._counted(), self.note, time_left])) + within

    def ended(self, stopped: bool) -> str:
        """``training mnli: 500 of 500 steps, loss 0.512, took 50 s``."""
        took = f"{'stopped after' if stopped else 'took'} {duration(time.monotonic() - self.started)}"
        return ", ".join(filter(None, [self._counted(), self.note, took]))

    def _counted(self) -> str:
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}"

    def _tell(self) -> None:
        self.shown = now = time.monotonic()
        if self.outer:
            self.outer.within = self._counted()
            self.outer._tell()
            return
        if self.silent:
            return
        line = self.line()
        self._show(line, live=True)
        self._write(line)
        quarter = 4 * self.done // max(1, self.total)
        if now - self.logged >= SELDOM or (quarter > self.quarter and now - self.logged >= SELDOM / 6):
            self.logged, self.quarter = now, quarter
            _log(line)

    def _show(self, line: str, live: bool = False) -> None:
        ipython = sys.modules.get("IPython")  # there in a notebook
        if not ipython or getattr(ipython.get_ipython(), "kernel", None) is None:
            return
        data = {"text/plain": line}
        if live:
            bar = f'<progress value="{self.done}" max="{self.total}" aria-label="{html.escape(self.what)}"></progress>'
            data["text/html"] = f"{bar} {html.escape(line)}"
        if self.handle is None:
            self.handle = ipython.display.display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)

    def _write(self, line: str) -> None:
        if PLACE in os.environ:
            record = {name: getattr(self, name) for name in ("what", "done", "total", "unit", "note")}
            with suppress(OSError), whole_file(Path(os.environ[PLACE]), lasting=False) as aside:
                aside.write_text(json.dumps({"line": line, **record}), encoding="utf-8")


def _log(line: str) -> None:
    """A line of the job's log, which is no output of the notebook's."""
    if os.environ.get(LOG):
        with suppress(OSError):
            os.write(int(os.environ[LOG]), f"{time.strftime('%H:%M:%S')} {line}\n".encode())


@contextmanager
def reported(folder: Path) -> Iterator[int]:
    """Have kernels that start meanwhile report to the run's ``folder`` and to the log of this process; yields the
    descriptor that they must be given."""
    path, log = folder / FILE, os.dup(1)
    path.unlink(missing_ok=True)  # of one that was killed
    os.environ |= {PLACE: str(path), LOG: str(log)}
    try:
        yield log
    finally:
        for name in (PLACE, LOG):
            os.environ.pop(name, None)
        os.close(log)
        path.unlink(missing_ok=True)


def duration(seconds: float) -> str:
    """``8 s``, ``12 min``, ``3.5 h``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 95:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def about(seconds: float) -> str:
    """An estimate in words that claim no more than it can: seconds are given in tens."""
    return f"about {duration(max(10, round(seconds, -1)) if seconds < 95 else seconds)}"
