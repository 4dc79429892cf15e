"""How a study is getting on, for ``make status``: counts by phase, what runs, what failed and why, the time left."""

import os
import textwrap
import time
from dataclasses import dataclass

from xstilts.errors import UserError
from xstilts.io import holder, lives
from xstilts.progress import about
from xstilts.runs import Run
from xstilts.settings import Study
from xstilts.study import load_study
from xstilts.workflow import STATES, Seen, Times, look

WIDTH = 80
SHOWN = 12  # running or failed runs named; the others are counted


@dataclass(frozen=True)
class AtWork:
    """The command that holds the lock of a study's runs: what it signed with, and since when (seconds, wall clock)."""

    signed: dict
    since: float


def print_status(name: str, seeds: int | None) -> None:
    """Print how the study is getting on. One that is running is shown as it was started."""
    study = load_study(name, seeds=seeds)
    signed = holder(study.folder / ".lock")
    started = study.own_folder / "study.yaml"
    running = signed.get("name") == study.name
    if started.is_file() and (running or seeds is None):
        try:
            begun = load_study(started)
            study = begun if running else load_study(name, seeds=begun.seeds)
        except UserError:  # of an earlier version
            study = load_study(name, seeds=seeds)
    at_work = AtWork(signed, (study.folder / ".lock").stat().st_mtime) if signed else None
    print("\n".join(report(study, at_work, look(study))))


def report(study: Study, at_work: AtWork | None, seen: dict[Run, Seen]) -> list[str]:
    """Lines of at most 80 characters."""
    seeds = f"{study.seeds} seed{'s' if study.seeds > 1 else ''}"
    lines = _wrapped(f'study "{study.name}", {seeds}: {_command(study, at_work)}')
    lines += ["", *_counts(seen)]
    for state, title in (("running", "Running"), ("failed", "Failed or stopped")):
        named = [(run, standing) for run, standing in seen.items() if standing.state == state]
        if named:
            lines += ["", title, *(row for run, standing in named[:SHOWN] for row in _named(run, standing))]
        if len(named) > SHOWN:
            lines.append(f"  and {len(named) - SHOWN} more")
    lines += ["", *_wrapped(_outlook(study, at_work, seen))]
    if not at_work and any(standing.state != "done" for standing in seen.values()):
        more = "" if load_study(study.given).seeds == study.seeds else f" SEEDS={study.seeds}"
        lines += _wrapped(f"To go on: make study STUDY={study.given}{more}")
    return lines


def _command(study: Study, at_work: AtWork | None) -> str:
    if not at_work:
        return "not running"
    signed, since = at_work.signed, time.strftime("%H:%M", time.localtime(at_work.since))
    if time.time() - at_work.since > 12 * 3600:
        since = time.strftime("%a %d %b %H:%M", time.localtime(at_work.since))
    process = f"process {signed.get('process')} on {signed.get('host')}"
    if signed["name"] != study.name:
        return f'not running; study "{signed["name"]}" works on the same runs since {since} ({process})'
    if not lives(signed, "process"):
        return f"its command was killed; what it began (process {signed.get('snakemake')}) goes on since {since}"
    return f"running since {since} ({process})"


def _counts(seen: dict[Run, Seen]) -> list[str]:
    phases = list(dict.fromkeys(run.phase for run in seen))
    first = max(len(phase) for phase in [*phases, "all"])
    rows: list[tuple[str, ...]] = [("", *STATES, "of")]
    for phase in [*phases, "all"]:
        states = [standing.state for run, standing in seen.items() if phase in (run.phase, "all")]
        rows.append((phase, *(str(states.count(state) or "–") for state in STATES), str(len(states))))
    return ["  ".join([row[0].ljust(first), *(cell.rjust(8) for cell in row[1:])]) for row in rows]


def _named(run: Run, standing: Seen) -> list[str]:
    line = f"{run.name}: {standing.detail}" if standing.detail else run.name
    return textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _outlook(study: Study, at_work: AtWork | None, seen: dict[Run, Seen]) -> str:
    """What is left, in words."""
    left = [run for run, standing in seen.items() if standing.state != "done"]
    if not left:
        return f"All runs are done: {os.path.relpath(Run(study.question).folder(study) / 'notebook.ipynb')}"
    times = Times({run: standing.seconds for run, standing in seen.items() if standing.state == "done"})
    running = {run: standing.seconds for run, standing in seen.items() if standing.state == "running"}
    jobs = at_work.signed.get("jobs") if at_work else os.cpu_count()
    jobs = jobs or max(1, len(running))
    unknown = times.unknown(left)
    seconds = times.left([run for run in left if not run.final], running, jobs)
    outlook = ""
    if seconds:
        done, words = sum(standing.state == "done" for standing in seen.values()), about(seconds).capitalize()
        outlook = f"{words} left, by what {done} runs took, {jobs} at a time"
        outlook += f"; not counting {_phases(left, unknown)}" if unknown else ""
    elif unknown:
        outlook = f"Time left: not known yet for {_phases(left, unknown)}"
    return outlook


def _phases(left: list[Run], names: list[str]) -> str:
    counts = " and ".join(f"{sum(run.phase == name for run in left)} of {name}" for name in names)
    return f"{counts}, where none is done yet"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)
