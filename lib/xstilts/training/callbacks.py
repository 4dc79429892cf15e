"""What happens during a training beside its steps: checkpoints to resume from, check of the loss, progress, curves.

A checkpoint is a folder ``checkpoint-<step>``, which is whole once it holds a record of which training it belongs to,
by fingerprint, and of the sizes of its files. A training that was killed resumes from the last one to the same bits; an
incomplete one, or one of other settings, data or code, is ignored.
"""

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from xstilts.errors import DIVERGENCE_HINT, UserError, refuse
from xstilts.io import digest, read_record, write_record
from xstilts.progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MARKER, WEIGHTS = "whole.json", "model.safetensors"


def check_loss(loss: float, step: int, learning_rate: float) -> None:
    """UserError for a loss that is not finite."""
    problem = f"training diverged: the loss is {loss} at step {step} (learning rate {learning_rate:g})"
    refuse(not math.isfinite(loss), f"{problem}; {DIVERGENCE_HINT}")


class Monitor(TrainerCallback):
    """Checks each loss that Trainer logs, and shows steps and loss on a line of progress in place of Trainer's bars."""

    def __init__(self, bar: Progress):
        self.bar = bar

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.start(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.to(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        loss = logs.get("loss", logs.get("train_loss", 0.0))
        check_loss(loss, state.global_step, args.learning_rate)
        if "loss" in logs:
            self.bar.to(state.global_step, f"loss {loss:.3f}")


class Saves:
    """The checkpoints of one training: when they are due, and the last whole one. As a context, it takes SIGTERM,
    which schedulers send before a limit, for a wish to be saved and stopped at the end of the step.

    ``fingerprint`` says what the training depends on; ``minutes`` lie between two checkpoints; ``curves`` is a folder
    for TensorBoard's event files.
    """

    def __init__(self, folder: Path, fingerprint: str, minutes: float, curves: Path | None = None):
        self.folder, self.minutes, self.curves = folder, minutes, curves
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

    def stopped(self, step: int) -> UserError:
        """What a training that was saved on SIGTERM ends with."""
        return UserError(f"stopped by SIGTERM after step {step}, which is saved; the same command goes on from there")

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after a step."""
        return self.folder / f"checkpoint-{step}"

    def last(self) -> Path | None:
        """The newest whole checkpoint of this training; all files that it does not need are removed."""
        for checkpoint in sorted(self.folder.glob("checkpoint-*"), key=_step, reverse=True):
            record = read_record(checkpoint / MARKER)
            if record and record == self._record(map(self.folder.joinpath, record["sizes"])):
                self._remove_except([checkpoint / MARKER, *map(self.folder.joinpath, record["sizes"])])
                return checkpoint
        self._remove_except([])
        return None

    def complete(self, step: int, best: int | None = None) -> None:
        """Declare the checkpoint of a step whole, all of whose files are written; of those before it the weights of
        step ``best`` stay."""
        checkpoint = self.checkpoint(step)
        files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
        if best and best != step:
            files.append(self.checkpoint(best) / WEIGHTS)
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        write_record(checkpoint / MARKER, self._record(files))
        self._remove_except([checkpoint / MARKER, *files])
        self.saved = time.monotonic()

    def _record(self, files: Iterable[Path]) -> dict:
        sizes = {str(path.relative_to(self.folder)): path.stat().st_size for path in files if path.is_file()}
        return {"fingerprint": self.fingerprint, "sizes": sizes}

    def _remove_except(self, files: list[Path]) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in files:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def writer(self, last: Path | None) -> "SummaryWriter | None":
        """A writer of TensorBoard's event files into ``curves``; None without that folder.

        A training that goes on from the checkpoint ``last`` takes back what was logged after that step before it was
        killed; one that begins leaves nothing of an earlier one.
        """
        if self.curves is None:
            return None
        from torch.utils.tensorboard import SummaryWriter  # not where nobody asks for it

        if last is None:
            shutil.rmtree(self.curves, ignore_errors=True)
        return SummaryWriter(str(self.curves), purge_step=_step(last) + 1 if last else None)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
