"""One training in several processes, a GPU each: started by accelerate's launcher from inside the notebook.

Every process runs the same phase function; each takes its part of every batch, the first alone scores and writes,
and the notebook finds the finished training as it finds any other.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from xstilts.errors import MARK, UserError, located, refuse
from xstilts.progress import FILE, LOG, PLACE, Progress
from xstilts.settings import Study

NOTEBOOK = "XSTILTS_NOTEBOOK"  # in the environment of a launched process: the process that waits for it


def launches(study: Study) -> bool:
    """Whether trainings of this study are to be launched from here."""
    return study.training.processes > 1 and NOTEBOOK not in os.environ


def launch(study: Study, name: str, folder: Path, batch_size: int, target_run: str = "") -> None:
    """Train the run ``name`` (of a bundle one target run), whose results are in ``folder``, in ``training.processes``
    processes, each of which executes ``xstilts.phases`` as a program. SIGTERM is passed on to them. UserError with the
    message that the training ended with."""
    count, gpus = study.training.processes, torch.cuda.device_count()
    with located("training.processes"):
        missing = torch.cuda.is_available() and count > gpus
        refuse(missing, f"{count} processes need a GPU each, and this machine has {gpus}")
        problem = f"a batch of {batch_size} ({name}) cannot be parted over {count} processes"
        refuse(batch_size < count, f"{problem}; make batch_size larger (and accumulate smaller) or processes fewer")
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        "--module", "xstilts.phases", str(study.path), name, target_run,
    ]  # fmt: skip
    progress_file = folder / f"launched-{FILE}"  # their progress, which this process displays
    environment = os.environ | {PLACE: str(progress_file), LOG: "", NOTEBOOK: str(os.getpid())}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if not torch.cuda.is_available():
        environment |= {"ACCELERATE_USE_CPU": "true"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        before = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        try:
            with Progress(f"{name} in {count} processes", 1, "part") as bar:
                while process.poll() is None:
                    time.sleep(0.2)
                    bar.follow(progress_file)
        finally:
            signal.signal(signal.SIGTERM, before)
            progress_file.unlink(missing_ok=True)
            if process.poll() is None:  # the cell was interrupted: the launcher ends all that it began
                process.terminate()
                process.wait()
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        why = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
        if why:
            raise UserError(why[0])
        raise RuntimeError("\n".join([f"{name}: training in {count} processes failed", *lines[-60:]]))


def _end_with(notebook: int) -> None:
    """A process whose notebook was killed must not go on writing beside the next one."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(notebook).wait()
    os._exit(1)


def exit_code(training: Callable[[], None]) -> int:
    """Do the training of a launched process, which ends when its notebook is killed. The message of a UserError goes
    to the standard error, where :func:`launch` reads it."""
    threading.Thread(target=_end_with, args=[int(os.environ[NOTEBOOK])], daemon=True).start()
    try:
        training()
    except UserError as error:
        print(f"{MARK}{error}", file=sys.stderr, flush=True)
        return 2
    return 0
