"""Training that came to nothing: a loss that is no number is an error at once, not a score of chance at the end."""

import math
from typing import Any

from transformers import TrainerCallback

from ..errors import UserError

MEND = "lower the learning rate, warm up longer, or train in fp32 or bf16 (training: in the study's file)"


def check_loss(loss: float, step: int, learning_rate: float) -> None:
    """UserError for a loss that is not finite."""
    if not math.isfinite(loss):
        raise UserError(
            f"training diverged: the loss is {loss} at step {step} (learning rate {learning_rate:g}); {MEND}"
        )


class FiniteLoss(TrainerCallback):
    """Checks what Trainer logs; it must not leave out what is no number (``logging_nan_inf_filter``)."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        for key in ("loss", "train_loss"):
            check_loss((logs or {}).get(key, 0.0), state.global_step, args.learning_rate)
