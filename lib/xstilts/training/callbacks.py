"""What happens during a training beside its steps: checkpoints to resume from, check of the loss, progress, curves.

A checkpoint is a folder ``resume-<step>`` that gets its name when all its files are on the disk. A training that was
killed resumes from the last one to the same bits. The checkpoint records which training it belongs to, by fingerprint,
and the sizes of its files: an incomplete one, or one of other settings, data or code, is ignored.
"""

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from xstilts.errors import DIVERGENCE_HINT, UserError
from xstilts.io import digest, read_record, write_record, written_whole
from xstilts.progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MARKER = "whole.json"


def check_loss(loss: float, step: int, learning_rate: float) -> None:
    """UserError for a loss that is not finite."""
    if not math.isfinite(loss):
        raise UserError(
            f"training diverged: the loss is {loss} at step {step} (learning rate {learning_rate:g}); {DIVERGENCE_HINT}"
        )


class FiniteLoss(TrainerCallback):
    """Checks what Trainer logs; it must not leave out what is no number (``logging_nan_inf_filter``)."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        for key in ("loss", "train_loss"):
            check_loss((logs or {}).get(key, 0.0), state.global_step, args.learning_rate)


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
            self.before = signal.signal(signal.SIGTERM, self._request_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if hasattr(self, "before"):
            signal.signal(signal.SIGTERM, self.before)
        if self.stop and kind is None:  # it came when there was no step left to end
            signal.raise_signal(signal.SIGTERM)

    def _request_stop(self, *_: object) -> None:
        self.stop = True

    def due(self) -> bool:
        return self.stop or time.monotonic() - self.saved >= 60 * self.minutes

    def last(self) -> Path | None:
        """The newest whole checkpoint of this training; all else in the folder is removed."""
        checkpoints = sorted(
            self.folder.glob("resume-*"), key=lambda checkpoint: -int(checkpoint.name.partition("-")[2])
        )
        last = next(filter(self._whole, checkpoints), None)
        for other in self.folder.glob("*"):
            if other != last:
                shutil.rmtree(other, ignore_errors=True)
        return last

    def _whole(self, checkpoint: Path) -> bool:
        try:
            return read_record(checkpoint / MARKER) == self._marker(checkpoint)
        except ValueError:  # the marker itself is cut off
            return False

    def _marker(self, checkpoint: Path) -> dict:
        files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARKER)
        sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}
        return {"fingerprint": self.fingerprint, "sizes": sizes}

    @contextmanager
    def written(self, step: int) -> Iterator[Path]:
        """A folder to write the checkpoint of ``step`` into; when it is whole, those before it go."""
        checkpoint = self.folder / f"resume-{step}"
        with written_whole(checkpoint) as aside:
            yield aside
            write_record(aside / MARKER, self._marker(aside))
        for other in self.folder.glob("resume-*"):
            if other != checkpoint:
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


class Shown(TrainerCallback):
    """Steps and loss on a line of progress, in place of Trainer's own bars."""

    def __init__(self, bar: Progress):
        self.bar = bar

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.start(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.to(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in (logs or {}):
            self.bar.to(state.global_step, f"loss {logs['loss']:.3f}")


def events(folder: Path | None, last: Path | None) -> "SummaryWriter | None":
    """A writer of TensorBoard's event files into ``folder``; None without one.

    A training that goes on from the checkpoint ``last`` (``resume-<step>``) takes back what was logged after that step
    before it was killed; one that begins leaves nothing of an earlier one.
    """
    if folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # not where nobody asks for it

    if last is None:
        shutil.rmtree(folder, ignore_errors=True)
        return SummaryWriter(str(folder))
    return SummaryWriter(str(folder), purge_step=int(last.name.rpartition("-")[2]) + 1)
