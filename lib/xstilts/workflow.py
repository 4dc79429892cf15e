"""Drive Snakemake through a study, say how far it is, and execute the notebook of one run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar

import psutil

from xstilts.errors import MARK, UserError
from xstilts.io import ROOT, lock, read_record, remove_halves, sign, write_record
from xstilts.progress import about, duration, reported
from xstilts.runs import Fingerprints, Run, list_runs, notebook_hash, provenance
from xstilts.settings import Study
from xstilts.status import GAPS, Times, cause, of_kernel, seconds, unfinished
from xstilts.target_runs import target_runs

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
            print(f"{MARK}{why}", file=sys.stderr)
    return 1 if why else 0


def _execute(study: Study, run: Run, given: tuple[int, ...]) -> str:
    """Execute and record the run; returns why it failed, "" when all went well. ``given``: open files of the kernel."""
    os.environ.pop("MPLBACKEND", None)  # another backend than the notebook's own would leave its pages without figures
    import papermill
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

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
        return cause(error.ename, error.evalue, "\n".join(error.traceback))
    except CellExecutionError as error:  # the notebook's error could not even be shown
        traceback.print_exc()
        return cause(error.ename, error.evalue, str(error.traceback))
    except (DeadKernelError, RuntimeError, OSError, MemoryError) as error:
        traceback.print_exc()
        if Kernel.ended is not None:
            return of_kernel(Kernel.ended)
        return cause(type(error).__name__, str(error))  # papermill's own: the notebook cannot be written
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
        from xstilts.site import render_alone

        render_alone(folder / "notebook.ipynb", study.figures_folder / f"{run.notebook.stem}.html")
        wanted = [other for other in list_runs(study) if other.phase == "targets"]
        gaps = [other.name for other in wanted if not (other.folder(study) / "run.json").is_file()]
        (folder / GAPS).unlink(missing_ok=True)
    fingerprints = Fingerprints(study)
    targets = [target.name for target in target_runs(study, fingerprints.source, run.bundle)] if run.bundle else []
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
        self.printed = dict.fromkeys(self.phases, ("", 0.0))  # of each phase the line that was printed last, and when
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
            elif seen.state == "failed" and _spoke(folder / "log.txt") and self.failed.get(run) != seen.detail:
                self.failed[run] = seen.detail
                self._above(f"  failed: {run.name}: {seen.detail}")

    def line(self, phase: str) -> str:
        """``  targets: 12 of 26 done, 4 running, about 6 min left``."""
        members = [run for run in self.left if run.phase == phase]
        waiting, running, failed = (
            [run for run in runs if run.phase == phase] for runs in (self.waiting, self.running, self.failed)
        )
        parts = [f"  {phase}: {len(members) - len(waiting)} of {len(members)} done"]
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
        line, (last, when) = self.line(phase), self.printed[phase]
        over = end or all(run.phase != phase for run in self.waiting)
        if not last or (over and not _ended(last)) or (not over and time.monotonic() - when >= APART and line != last):
            self.printed[phase] = (line, time.monotonic())
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


def proof(study: Study, run: Run) -> Path:
    """The file that says a run is done, written last."""
    return run.folder(study) / "run.json"


class Snakemake:
    """Snakemake at work on a study; ``killed`` is the name of the signal that ended it, "" where none did."""

    def __init__(self, study: Study, resolved: Path, cores: int, profile: str, held: IO[str]):
        self.study, self.held, self.killed = study, held, ""
        self.jobs = cores if profile == "default" else 0
        self.log = study.own_folder / "snakemake.log"
        self.log.unlink(missing_ok=True)
        self.command: list[str | Path] = [
            sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", ROOT,
            "--workflow-profile", _profile(profile),
            *(["--cores", str(cores)] if profile == "default" else []),
            "--config", f"study={resolved}", "--",
        ]  # fmt: skip

    def bring(self, left: list[Run]) -> None:
        """Do these runs, and say how far they are."""
        news = News(self.study, left, self.jobs)
        # asked for by name: what follows a run may be done already (a notebook was edited, a proof deleted)
        status = self(*(proof(self.study, run) for run in left), news=news)
        news(end=True)
        started = any((run.folder(self.study) / "log.txt").is_file() for run in left)
        if status > 0 and news.waiting == left and not started:
            tail = self.log.read_text(encoding="utf-8").strip().splitlines()[-5:]
            raise UserError("Snakemake could not start the study: " + " / ".join(tail))

    def __call__(self, *files: Path, news: Callable[[], None] = lambda: None) -> int:
        """Make these files; ``news`` is called twice a second. The exit status."""
        with open(self.log, "a") as log:
            # the lock goes along: as long as Snakemake lives, another command on this folder is told so
            process = subprocess.Popen([*self.command, *files], stdout=log, stderr=log, pass_fds=[self.held.fileno()])
        sign(self.held, self.study.name, process=os.getpid(), snakemake=process.pid, jobs=self.jobs)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, _interrupt)
        try:
            finished = False
            while not finished:
                finished = process.poll() is not None
                news()
                time.sleep(0 if finished else 0.5)
        except KeyboardInterrupt:
            jobs = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGINT)
            for job in jobs:  # Snakemake alone would wait for them
                with suppress(psutil.NoSuchProcess):
                    job.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if process.returncode < 0:
            self.killed = signal.Signals(-process.returncode).name
        return process.returncode


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _profile(name: str) -> Path:
    """The folder of a profile: below profiles/, or a path."""
    known = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
    for folder in (ROOT / "profiles" / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    raise UserError(f'no profile "{name}": expected one of {", ".join(known)}, or a folder that holds a config.yaml')
