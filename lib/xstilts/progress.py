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


class Progress:
    """Work of ``total`` units on ``what``; as a context, from its beginning to its end. Work within other work, as a
    scoring within a training, has no line of its own."""

    outermost: ClassVar["Progress | None"] = None

    def __init__(self, what: str, total: int, unit: str):
        self.what, self.total, self.unit = what, total, unit
        self.done = self.begun = 0
        self.note = ""
        self.handle: Any = None

    def __enter__(self) -> Self:
        # of the processes of one training the first reports
        self.silent = Progress.outermost is not None or os.environ.get("RANK", "0") != "0"
        Progress.outermost = Progress.outermost or self
        self.started = self.shown = self.logged = time.monotonic()
        self._renew()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if Progress.outermost is self:
            Progress.outermost = None
        if not self.silent:
            took = duration(time.monotonic() - self.started)
            line = ", ".join(filter(None, [self.counted, self.note, f"{'stopped after' if kind else 'took'} {took}"]))
            self._display({"text/plain": line})
            self._write(line)
            _log(line)

    def start(self, done: int) -> None:
        """So much was done before: a training that is resumed."""
        self.done = self.begun = done

    def to(self, done: int, note: str = "") -> None:
        """So much is done now; ``note`` stands beside it until there is another."""
        self.done, self.note = done, note or self.note
        if time.monotonic() - self.shown >= OFTEN:
            self._renew()

    def follow(self, path: Path) -> None:
        """Be the line of another process, by the file that it writes."""
        if record := read_record(path):
            self.what, self.total, self.unit = record["what"], record["total"], record["unit"]
            self.to(record["done"], record["note"])

    @property
    def counted(self) -> str:
        """``training mnli: 120 of 500 steps``."""
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}"

    def _renew(self) -> None:
        """``training mnli: 120 of 500 steps, loss 0.712, about 40 s left``; no time before there is a speed."""
        self.shown = time.monotonic()
        if self.silent:
            return
        parts = [self.counted, self.note]
        if self.done > self.begun:
            speed = (self.done - self.begun) / (self.shown - self.started)
            parts.append(f"{about((self.total - self.done) / speed)} left")
        line = ", ".join(filter(None, parts))
        bar = f'<progress value="{self.done}" max="{self.total}" aria-label="{html.escape(self.what)}"></progress>'
        self._display({"text/plain": line, "text/html": f"{bar} {html.escape(line)}"})
        self._write(line)
        if self.shown - self.logged >= 60:  # seconds between two lines of the log
            self.logged = self.shown
            _log(line)

    def _display(self, data: dict[str, str]) -> None:
        ipython = sys.modules.get("IPython")  # imported in a notebook
        if not ipython or getattr(ipython.get_ipython(), "kernel", None) is None:
            return
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
    with suppress(KeyError, ValueError, OSError):  # no log, or a full disk
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
        del os.environ[PLACE], os.environ[LOG]
        os.close(log)
        path.unlink(missing_ok=True)


def duration(seconds: float) -> str:
    """``8 s``, ``12 min``, ``3.5 h``."""
    if seconds < 95:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def about(seconds: float) -> str:
    """An estimate in words that claim no more than it can: seconds are given in tens."""
    return f"about {duration(max(10, round(seconds, -1)) if seconds < 95 else seconds)}"
