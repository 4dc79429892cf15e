"""Checkpoints inside a training, so that one that is killed goes on from where it last saved, to the same bits.

A checkpoint is a folder ``resume-<step>`` that takes its name when all its files are on the disk. It says which
training it belongs to, by fingerprint, and how large its files are: one that is half there, or of other settings,
data or code, is passed over.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ..errors import UserError
from ..hashes import digest
from ..writing import read_record, write_record, written_whole

MARKER = "whole.json"


class Saves:
    """The checkpoints of one training: when they are due, and the last whole one. As a context, it takes SIGTERM,
    which schedulers send before a limit, for a wish to be saved and stopped at the end of the step.

    ``fingerprint`` says what the training depends on; ``minutes`` lie between two checkpoints.
    """

    def __init__(self, folder: Path, fingerprint: str, minutes: float):
        self.folder, self.minutes = folder, minutes
        self.fingerprint = digest([fingerprint, version("torch"), version("transformers")])
        self.saved, self.stop = time.monotonic(), False

    def __enter__(self) -> "Saves":
        if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
            self.before = signal.signal(signal.SIGTERM, self._asked_to_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if hasattr(self, "before"):
            signal.signal(signal.SIGTERM, self.before)
        if self.stop and kind is None:  # it came when there was no step left to end
            signal.raise_signal(signal.SIGTERM)

    def _asked_to_stop(self, *_: object) -> None:
        self.stop = True

    def due(self) -> bool:
        return self.stop or time.monotonic() - self.saved >= 60 * self.minutes

    def last(self) -> Path | None:
        """The newest whole checkpoint of this training; all else in the folder is removed."""
        found = sorted(self.folder.glob("resume-*"), key=lambda place: -int(place.name.partition("-")[2]))
        last = next(filter(self._whole, found), None)
        for other in self.folder.glob("*"):
            if other != last:
                shutil.rmtree(other, ignore_errors=True)
        return last

    def _whole(self, place: Path) -> bool:
        try:
            return read_record(place / MARKER) == self._marker(place)
        except ValueError:  # the marker itself is cut off
            return False

    def _marker(self, place: Path) -> dict:
        files = sorted(path for path in place.rglob("*") if path.is_file() and path.name != MARKER)
        sizes = {str(path.relative_to(place)): path.stat().st_size for path in files}
        return {"fingerprint": self.fingerprint, "sizes": sizes}

    @contextmanager
    def written(self, step: int) -> Iterator[Path]:
        """A folder to write the checkpoint of ``step`` into; when it is whole, those before it go."""
        place = self.folder / f"resume-{step}"
        with written_whole(place) as aside:
            yield aside
            write_record(aside / MARKER, self._marker(aside))
        for other in self.folder.glob("resume-*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        self.saved = time.monotonic()

    def stopped(self, step: int) -> UserError:
        """What a training that was saved on SIGTERM ends with."""
        return UserError(f"stopped by SIGTERM after step {step}, which is saved; the same command goes on from there")


def link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where file systems have no such thing."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
