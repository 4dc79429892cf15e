"""Drive Snakemake through a study, say how far it is and what failed, and execute the notebook of one run."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import quote

import psutil
from tqdm import tqdm

from xstilts.errors import MARK, UserError, refuse
from xstilts.io import ROOT, literal, lives, lock, read_record, remove_halves, sign, write_record
from xstilts.preflight import check_data
from xstilts.progress import duration, reported
from xstilts.runs import Fingerprints, Run, list_runs, notebook_hash, provenance, remove_encoder, state
from xstilts.settings import Study
from xstilts.status import GAPS, SILENT, Seen, cause, of_kernel, of_log, standing
from xstilts.target_runs import target_runs
from xstilts.training.checkpoints import locate
from xstilts.validation import check_folders
from xstilts.warm import Fork, fork, server

PATIENCE = 600  # seconds for a kernel to come up, and for its outputs to arrive: many jobs may share a machine


def run_notebook(study: Study, name: str) -> int:
    """Execute the notebook of the run called ``name``; 1 when it failed, the cause in the last line printed.

    A run has one process at a time: one that a killed study left behind is waited for, and what it finished is found.
    """
    run = next((run for run in list_runs(study) if run.name == name), None)
    if run is None:
        raise UserError(f'study "{study.name}" has no run "{name}"')
    folder = run.folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, name) as held:
        remove_halves(folder)
        with reported(folder) as log:
            why = _execute(study, run, (held.fileno(), log))
        if why:
            print(f"{MARK}{why}", file=sys.stderr)
    return 1 if why else 0


def _execute(study: Study, run: Run, descriptors: tuple[int, ...]) -> str:
    """Execute and record the run; returns why it failed, "" when all went well. ``descriptors``: open files that the
    kernel holds as long as it lives (the run's lock, its log)."""
    os.environ.pop("MPLBACKEND", None)  # another backend than the notebook's own would leave its pages without figures
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from traitlets.config import Config

    class Kernel(AsyncKernelManager):
        process: ClassVar[Any] = None
        exit_status: ClassVar[int | None] = None

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            local: Any = self.provisioner
            if fork := _forked(kernel_cmd, options["env"], options.get("cwd") or os.getcwd(), descriptors):
                local.process, local.pid, local.pgid = fork, fork.pid, fork.pid
            else:
                await super()._async_launch_kernel(kernel_cmd, pass_fds=descriptors, **options)
            Kernel.process = local.process

        async def _async_is_alive(self) -> bool:
            alive = await super()._async_is_alive()
            process = getattr(self.provisioner, "process", None)
            if not alive and process is not None:
                Kernel.exit_status = process.returncode
            return alive

        _launch_kernel, is_alive = _async_launch_kernel, _async_is_alive

    folder, parameters, started = run.folder(study), run.parameters(study), time.monotonic()
    notebook_hash(run.notebook)  # says what papermill says at length: that it is none
    unknown = sorted(set(parameters) - set(papermill.inspect_notebook(literal(run.notebook))))
    # papermill itself would run to the end with the defaults
    refuse(unknown, f"{run.notebook}: its parameters cell lacks {', '.join(unknown)}")
    # schedulers may tell this process alone; a training in the kernel saves itself, and the cell ends with a message
    signal.signal(signal.SIGTERM, lambda number, _: Kernel.process and Kernel.process.send_signal(number))
    try:
        with tempfile.TemporaryDirectory(prefix="xstilts-") as sockets:
            papermill.execute_notebook(
                literal(run.notebook), literal(folder / "notebook.ipynb"), parameters, kernel_name="python3",
                kernel_manager_class=Kernel, cwd=str(ROOT / "notebooks"), progress_bar=False, log_output=True,
                # papermill's own iopub_timeout is 4 s, after which a run would be lost to a slow disk
                start_timeout=PATIENCE, iopub_timeout=PATIENCE,
                # IPC: many kernels started at once race for TCP ports; each needs sockets of its own
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )  # fmt: skip
        _record(study, run, started)
    except Exception as error:
        traceback.print_exc()
        name, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
        if Kernel.exit_status is not None and not hasattr(error, "ename"):  # no cell has failed
            return of_kernel(Kernel.exit_status)
        return cause(name, message, str(getattr(error, "traceback", "")))  # papermill's own: no room for the notebook
    return ""


def _forked(command: list[str], environment: dict[str, str], folder: str, descriptors: tuple[int, ...]) -> Fork | None:
    """A kernel of this environment that starts warm; None where there is no such server."""
    if command[0] != sys.executable or "ipykernel_launcher" not in command:
        return None
    arguments = command[command.index("ipykernel_launcher") :]
    with open(os.devnull) as nothing:
        files = {0: nothing.fileno()} | {number: number for number in (1, 2, *descriptors)}
        return fork("ipykernel.kernelapp:launch_new_instance", arguments, environment, folder, files)


def _record(study: Study, run: Run, started: float) -> None:
    """Write the proof that the run is done; of a final notebook with gaps, which is none, under another name."""
    folder, gaps = run.folder(study), []
    if run.final:
        from xstilts.site import render_alone

        render_alone(folder / "notebook.ipynb", study.figures_folder / f"{run.notebook.stem}.html")
        gaps = [other.name for other in list_runs(study) if other.phase == "targets" and not _is_recorded(study, other)]
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


def _is_recorded(study: Study, run: Run) -> bool:
    return (run.folder(study) / "run.json").is_file()


def run_study(study: Study, cores: int, profile: str = "default") -> int:
    """Bring every run of the study up to date through Snakemake; 1 where some failed."""
    started, settings = time.monotonic(), _profile(profile)
    if study.encoder.checkpoint:
        locate(study)
    check_folders(study)
    for line in check_data(study):
        print(line, flush=True)
    if study.published:
        from xstilts.published import read

        read(study)
    if study.absence:
        print(study.absence, flush=True)
    with _locked(study.folder, study.name, command=True) as held:
        study.resolve()
        runs = discard_stale(study)
        if runs:
            executor = f"on {cores} cores" if profile == "default" else f"through profile {profile}"
            print(f'study "{study.name}": {len(runs)} of {len(list_runs(study))} runs to do {executor}', flush=True)
            snakemake = Snakemake(study, held, cores if profile == "default" else 0, settings)
            status = snakemake.do(runs)
            fingerprints = Fingerprints(study)
            failed = [run for run in runs if state(study, run, fingerprints) != "done"]  # whoever it was done by
            if failed:
                return _report(study, failed, status, snakemake)
            print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
        else:
            print(f'study "{study.name}" is up to date: nothing to do.')
    notebook = Run(study.question).folder(study) / "notebook.ipynb"
    answer = study.figures_folder / "answer.md"
    if answer.is_file():
        print(*[line[2:] for line in answer.read_text("utf-8").splitlines() if line.startswith("- ")][:3], sep="\n")
    print(f"figures: {os.path.relpath(study.figures_folder)}\nnotebook: {os.path.relpath(notebook)}")
    return 0


def discard_stale(study: Study) -> list[Run]:
    """Runs to do. The run.json of a stale run is deleted, so that Snakemake does it again, and so is the log of an
    earlier try."""
    fingerprints, unfinished = Fingerprints(study), []
    for run in list_runs(study):
        if state(study, run, fingerprints) != "done":
            for name in ("run.json", "log.txt"):  # stale, or one that cannot be read
                (run.folder(study) / name).unlink(missing_ok=True)
            unfinished.append(run)
        elif run.phase == "intermediate":  # the study may have said only since that encoders go
            remove_encoder(run, fingerprints)
    return unfinished


def _locked(folder: Path, name: str, command: bool = False) -> IO[str]:
    """The lock of a folder, held and signed with ``name``. What a killed process left at work is waited for. UserError
    where this is a study's ``command`` and another is at work."""
    held, holder = lock(folder / ".lock")
    if holder:
        held.close()
        process, host = holder.get("process"), holder.get("host")
        running = f'study "{holder["name"]}" is already running (process {process} on {host}); wait for it or stop it'
        refuse(command and lives(holder, "process"), running)
        process = holder.get("snakemake", process)
        print(f"{name}: process {process} on {host} is still at work on it; waiting for it to end", flush=True)
        held, _ = lock(folder / ".lock", wait=True)
    sign(held, name, process=os.getpid())
    return held


def _profile(name: str) -> Path:
    """The folder of a profile: below profiles/, or a path."""
    known = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
    for folder in (ROOT / "profiles" / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    raise UserError(f'no profile "{name}": expected one of {", ".join(known)}, or a folder that holds a config.yaml')


class StudyProgress:
    """A line on each phase of the ``runs`` that a study does, once it is done, and on each failure; in a terminal a
    bar below them, which says how far the run is that has been at work longest. Elsewhere a line says it when there
    was none for two minutes."""

    def __init__(self, study: Study, runs: Sequence[Run]):
        self.study = study
        self.seen = dict.fromkeys(runs, Seen("left"))
        self.began: dict[str, float] = {}  # when runs of each phase were first seen at work
        self.looked, self.printed = 0.0, time.monotonic()
        self.bar = tqdm(total=len(runs), unit="run", disable=None, leave=False, file=sys.stdout)

    def update(self, end: bool = False) -> None:
        """Look at the runs, if the last look is some seconds old. ``end``: nothing is at work any more."""
        if not end and time.monotonic() - self.looked < 2:
            return
        self.looked = time.monotonic()
        for run in [run for run, seen in self.seen.items() if seen.state != "done"]:
            before, seen = self.seen[run], standing(self.study, run, None)
            self.seen[run] = seen
            if seen.state in ("running", "done"):
                self.began.setdefault(run.phase, self.looked)
            # of a job that is silent more is known at the end; a profile may try again
            if seen.state == "failed" and seen.detail not in (before.detail, SILENT):
                self._print(f"  failed: {run.name}: {seen.detail}")
            states = Counter(entry.state for other, entry in self.seen.items() if other.phase == run.phase)
            if states["done"] == states.total():
                took = duration(self.looked - self.began[run.phase])
                self._print(f"  {run.phase}: {states['done']} of {states['done']} done in {took}")
        self.bar.n = sum(seen.state == "done" for seen in self.seen.values())
        at_work = {run.name: seen for run, seen in self.seen.items() if seen.state == "running" and seen.seconds}
        longest = max(at_work, key=lambda name: at_work[name].seconds, default="")
        text = f"{longest}: {at_work[longest].detail}" if longest and at_work[longest].detail else ""
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.refresh()
        if text and self.bar.disable and self.looked - self.printed >= 120:
            self._print(f"  running: {text}")

    def _print(self, line: str) -> None:
        self.printed = self.looked
        self.bar.write(line, file=sys.stdout)
        sys.stdout.flush()


class Snakemake:
    """Snakemake at work on a study whose lock is ``held``; ``cores`` is 0 where the profile says where jobs run."""

    def __init__(self, study: Study, held: IO[str], cores: int, profile: Path):
        self.study, self.held, self.cores = study, held, cores
        self.log = study.own_folder / "snakemake.log"
        self.log.unlink(missing_ok=True)
        self.command: list[str | Path] = [
            sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", ROOT,
            "--workflow-profile", profile, *(["--cores", str(cores)] if cores else []),
            "--config", f"study={quote(str(study.own_folder / 'study.yaml'))}", "--",  # it is read as YAML
        ]  # fmt: skip

    def do(self, runs: Sequence[Run]) -> int:
        """Do these runs and print how far they are; the exit status."""
        progress = StudyProgress(self.study, runs)
        # by name: what follows a run may be done already (a notebook was edited, its run.json deleted)
        status = self.make([run.folder(self.study) / "run.json" for run in runs], progress.update)
        progress.update(end=True)
        progress.bar.close()
        if status > 0 and not any((run.folder(self.study) / "log.txt").is_file() for run in runs):
            tail = self.log.read_text(encoding="utf-8").strip().splitlines()[-5:]
            raise UserError("Snakemake could not start the study: " + " / ".join(tail))
        return status

    def make(self, files: Sequence[Path], update: Callable[[], None] = lambda: None) -> int:
        """Make these files; ``update`` is called twice a second. The exit status, negative where a signal ended it."""
        # Snakemake is stopped by it; what a script begins by & would ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log.open("a") as log, server(log, bool(self.cores)) as (environment, more):
            # the lock goes along: as long as Snakemake lives, another command on this folder is told so
            process = subprocess.Popen(
                [*self.command, *files],
                stdout=log, stderr=log, env=environment, pass_fds=[self.held.fileno(), *more],
            )  # fmt: skip
            sign(self.held, self.study.name, process=os.getpid(), snakemake=process.pid, jobs=self.cores)
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    signal.signal(number, signal.default_int_handler)
            try:
                while process.poll() is None:
                    update()
                    time.sleep(0.5)
            except KeyboardInterrupt:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # again: nothing must be left at work
                    signal.signal(number, signal.SIG_IGN)
                jobs = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
                process.send_signal(signal.SIGINT)
                for job in jobs:  # Snakemake alone would wait for them
                    with suppress(psutil.NoSuchProcess):
                        job.send_signal(signal.SIGTERM)
                process.wait()
                raise
            return process.returncode


def _report(study: Study, failed: list[Run], status: int, snakemake: Snakemake) -> int:
    """List what failed and why, after the final notebook was executed on what there is; the exit status."""
    final = Run(study.question)
    gaps = final.folder(study) / GAPS
    if status < 0:
        print(
            f"Snakemake was killed ({signal.Signals(-status).name}); runs that it had begun may still end by themselves"
        )
    elif final in failed and any(run.phase == "targets" and _is_recorded(study, run) for run in list_runs(study)):
        gaps.unlink(missing_ok=True)
        snakemake.make([gaps])
    waiting = []
    for run in failed:
        log, notebook = (run.folder(study) / name for name in ("log.txt", "notebook.ipynb"))
        if run == final and status >= 0 and gaps.is_file():
            missing = len(read_record(gaps)["gaps"])
            print(f"  {run.name}: executed with gaps, {missing} runs are missing: {os.path.relpath(notebook)}")
        elif log.is_file():
            shown = notebook if notebook.is_file() and notebook.stat().st_size else log
            print(f"  failed: {run.name}: {of_log(log)} (see {os.path.relpath(shown)})")
        else:
            waiting.append(run.name)
    if waiting:
        print(f"  not run because a run before them failed: {', '.join(waiting)}")
    print(f"{len(failed)} runs are not done; what is done is kept: mend the cause and run the same command again.")
    return 1
