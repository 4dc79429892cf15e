"""Snakemake at work on a study, and what is said meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from ..errors import UserError
from ..locks import sign
from ..runs import Run
from ..study import ROOT, Study
from .news import News


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
