"""What Trainer tells of a training while it lasts: its progress line and, where asked for, TensorBoard's curves."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from ..progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
