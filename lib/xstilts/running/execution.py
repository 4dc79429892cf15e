"""One run: its notebook executed by papermill and, when all went well, its ``run.json``. What a job does."""

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from typing import Any, ClassVar

import psutil

from ..errors import UserError
from ..locks import lock, sign
from ..progress import reported
from ..runs import Fingerprints, Run, list_runs, notebook_hash, provenance
from ..study import Study
from ..tunings import tunings
from ..writing import read_record, remove_halves, write_record
from . import causes

GAPS = "gaps.json"  # in place of run.json where a final notebook was executed before all it shows was there
PATIENCE = 600  # seconds for a kernel to come up, and for its outputs to arrive: many jobs may share a machine


def run_notebook(study: Study, name: str) -> int:
    """Execute the notebook of the run called ``name``; 1 when it failed, the cause in the last line printed.

    A run has one process at a time: one that a killed study left behind is waited for, and what it finished is found.
    """
    run = _find(study, name)
    folder = run.folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    held, holder = lock(folder / ".lock")
    if holder:
        print(f"{name}: another process still does it ({holder}); waiting for it to end", flush=True)
        held.close()
        held, _ = lock(folder / ".lock", wait=True)
    with held:
        sign(held, name, process=os.getpid())
        remove_halves(folder)
        with reported(folder) as log:
            why = _execute(study, run, (held.fileno(), log))
        if why:
            print(f"{causes.MARK}{why}", file=sys.stderr)
    return 1 if why else 0


def _execute(study: Study, run: Run, given: tuple[int, ...]) -> str:
    """Execute and record the run; returns why it failed, "" when all went well. ``given``: open files of the kernel."""
    os.environ.pop("MPLBACKEND", None)  # another backend than the notebook's own would leave its pages without figures
    import papermill
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

    from ..study import ROOT

    folder, parameters, started = run.folder(study), run.parameters(study), time.monotonic()
    notebook_hash(run.notebook)  # says what papermill says at length: that it is none
    unknown = sorted(set(parameters) - set(papermill.inspect_notebook(str(run.notebook))))
    if unknown:  # papermill itself would run to the end with the defaults
        raise UserError(f"{run.notebook}: its parameters cell lacks {', '.join(unknown)}")
    Kernel = _kernel(given)
    # schedulers may tell this process alone; a training in the kernel saves itself, and the cell ends with a message
    signal.signal(
        signal.SIGTERM, lambda number, _: [child.send_signal(number) for child in psutil.Process().children()]
    )
    try:
        with tempfile.TemporaryDirectory(prefix="xstilts-") as sockets:
            papermill.execute_notebook(
                str(run.notebook),
                str(folder / "notebook.ipynb"),
                parameters=parameters,
                kernel_name="python3",
                kernel_manager_class=Kernel,
                cwd=str(ROOT / "notebooks"),
                progress_bar=False,
                log_output=True,
                start_timeout=PATIENCE,
                iopub_timeout=PATIENCE,  # papermill's own is 4 s, after which a run would be lost to a slow disk
                # IPC: many kernels started at once race for TCP ports; each needs sockets of its own
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
        _record(study, run, started)
    except papermill.PapermillExecutionError as error:
        traceback.print_exc()
        return causes.cause(error.ename, error.evalue, "\n".join(error.traceback))
    except CellExecutionError as error:  # the notebook's error could not even be shown
        traceback.print_exc()
        return causes.cause(error.ename, error.evalue, str(error.traceback))
    except (DeadKernelError, RuntimeError, OSError, MemoryError) as error:
        traceback.print_exc()
        if Kernel.ended is not None:
            return causes.of_kernel(Kernel.ended)
        return causes.cause(type(error).__name__, str(error))  # papermill's own: the notebook cannot be written
    return ""


def _kernel(given: tuple[int, ...]) -> Any:
    """A manager of kernels that hold these open files (the run's lock, its log) as long as they live, and whose exit
    status is kept."""
    from jupyter_client.manager import AsyncKernelManager

    class Kernel(AsyncKernelManager):
        ended: ClassVar[int | None] = None

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            await super()._async_launch_kernel(kernel_cmd, pass_fds=given, **options)

        async def _async_is_alive(self) -> bool:
            alive = await super()._async_is_alive()
            process = getattr(self.provisioner, "process", None)
            if not alive and process is not None:
                Kernel.ended = process.returncode
            return alive

        _launch_kernel, is_alive = _async_launch_kernel, _async_is_alive

    return Kernel


def _record(study: Study, run: Run, started: float) -> None:
    """Write the proof that the run is done; of a final notebook with gaps, which is none, under another name."""
    folder, gaps = run.folder(study), []
    if run.final:
        from ..report.rendering import render_alone  # not at the start of every job

        render_alone(folder / "notebook.ipynb", study.figures_folder / f"{run.notebook.stem}.html")
        wanted = [other for other in list_runs(study) if other.phase == "targets"]
        gaps = [other.name for other in wanted if not (other.folder(study) / "run.json").is_file()]
        (folder / GAPS).unlink(missing_ok=True)
    fingerprints = Fingerprints(study)
    targets = [one.name for one in tunings(study, fingerprints.source, run.bundle)] if run.bundle else []
    record = {
        "run": run.name,
        "fingerprint": fingerprints.of(run),
        "notebook": notebook_hash(run.notebook),
        "seconds": round(time.monotonic() - started, 1),
        "study": json.loads(study.model_dump_json()),
        "training": read_record(folder / "training.json"),
        "targets": {target: read_record(folder / target / "scored.json") for target in targets},
        **({"gaps": gaps} if gaps else {}),
        **provenance(),
    }
    write_record(folder / (GAPS if gaps else "run.json"), record)


def _find(study: Study, name: str) -> Run:
    for run in list_runs(study):
        if run.name == name:
            return run
    raise UserError(f'study "{study.name}" has no run "{name}"')
