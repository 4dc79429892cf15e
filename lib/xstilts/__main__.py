"""Command line: ``xstilts study [STUDY]``, ``status``, ``plan``, ``report``, ``submission`` and, for jobs,
``run``."""

import argparse
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import IO

from xstilts.errors import MARK, UserError
from xstilts.io import lives, lock, read_record, sign
from xstilts.preflight import check_data
from xstilts.runs import Fingerprints, Run, list_runs, remove_encoder, state
from xstilts.settings import Study
from xstilts.status import DISK, GAPS, NO_ROOM, of_log
from xstilts.study import load_study
from xstilts.training.checkpoints import locate
from xstilts.validation import check_folders
from xstilts.workflow import Snakemake, proof, run_notebook

# jsonschema's optional check of web addresses parses a grammar for a second at every start; nothing needs it here
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def main() -> int:
    parser = argparse.ArgumentParser(prog="xstilts", description=__doc__)
    parser.add_argument("--version", action="version", version=f"xstilts {version('xstilts')}")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, example: str, default: str | None = "micro") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=f"example: xstilts {name} {example}")
        optional = {"nargs": "?", "default": default} if default else {}
        added.add_argument("study", help="name in params/ or path of a parameter file", **optional)  # type: ignore[arg-type]
        return added

    study = command("study", "run a study, or what is left of it", "micro --seeds 5")
    study.add_argument("--seeds", type=int, help="how many seeds, instead of the study's own number")
    study.add_argument("--cores", type=int, default=os.cpu_count(), help="processor cores to use (default: all)")
    study.add_argument("--profile", default="default", help="where jobs run: a folder of profiles/ (default, slurm, …)")
    study.add_argument("--dry-run", action="store_true", help="list the runs that are missing or stale; change nothing")
    status = command("status", "what of a study is done, running, failed or left; changes nothing", "micro")
    status.add_argument("--seeds", type=int, help="how many seeds (default: those it was last run with)")
    plan = command("plan", "what a study costs and what of it is done; trains nothing", "xtreme --gpu H100")
    plan.add_argument("--seeds", type=int, help="how many seeds, instead of the study's own number")
    plan.add_argument("--gpu", default="", help="A100-80GB, H100, …, or cpu (default: this machine, measured)")
    plan.add_argument(
        "--precision", default="", choices=["fp32", "tf32", "fp16", "bf16"], help="instead of the study's"
    )
    plan.add_argument("--utilisation", type=float, default=0.4, help="share of the datasheet's peak (default: 0.4)")
    plan.add_argument("--csv", type=Path, help="write every run here as well")
    run = command("run", "execute one run's notebook, as a job does", "micro targets/mnli/all/seed1", default=None)
    run.add_argument("name", help="the run, as messages name it: targets/mnli/all/seed1")
    report = command("report", "the executed notebooks of a study as one browsable HTML site", "micro")
    report.add_argument("--seeds", type=int, help="how many seeds, instead of the study's own number")
    submission = command(
        "submission", "a finished run's predictions in XTREME's formats", "micro none --seed 1", default=None
    )
    submission.add_argument("name", metavar="run", help="intermediate run: none, mnli, …")
    submission.add_argument("--seed", type=int, default=1, help="which seed's predictions (default: 1)")
    submission.add_argument("--folder", type=Path, help="new folder to write (default: in the study's runs)")
    options = parser.parse_args()
    try:
        if options.command == "submission":
            return submit(load_study(options.study), options.name, options.seed, options.folder)
        if options.command == "study" and options.dry_run:
            return list_unfinished(load_study(options.study, seeds=options.seeds))
        if options.command == "study":
            return run_study(load_study(options.study, seeds=options.seeds), options.cores, options.profile)
        if options.command == "status":
            from xstilts.status import print_status

            print_status(options.study, options.seeds)
            return 0
        if options.command == "plan":
            from xstilts.plan import print_plan

            planned = load_study(options.study, seeds=options.seeds)
            print_plan(planned, options.gpu, options.precision, options.utilisation, options.csv)
            return 0
        if options.command == "report":
            from xstilts.report import build

            index, summary = build(load_study(options.study, seeds=options.seeds))
            print(f"{summary}\nreport: {_short(index)}")
            return 0
        return run_notebook(load_study(options.study), options.name)
    except UserError as error:
        print(f"{MARK}{error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"{MARK}{DISK} ({error.filename or 'no room left'})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is done is kept: the same command goes on from here.", file=sys.stderr)
        return 130


def run_study(study: Study, cores: int, profile: str = "default") -> int:
    """Bring every run of the study up to date through Snakemake."""
    started = time.monotonic()
    if study.encoder.checkpoint:
        locate(study)
    check_folders(study)
    check_data(study)
    if study.published:
        from xstilts.published import read

        read(study)
    if study.absence:
        print(study.absence, flush=True)
    with _locked(study) as held:
        resolved = study.resolve()
        left = _discard_stale(study)
        if not left:
            print(f'study "{study.name}" is up to date: nothing to do.')
        else:
            executor = f"on {cores} cores" if profile == "default" else f"through profile {profile}"
            print(f'study "{study.name}": {len(left)} of {len(list_runs(study))} runs to do {executor}', flush=True)
            snakemake = Snakemake(study, resolved, cores, profile, held)
            snakemake.bring(left)
        fingerprints = Fingerprints(study)
        failed = [run for run in left if state(study, run, fingerprints) != "done"]  # whoever it was done by
        if failed:
            return _report(study, failed, snakemake)
    if left:
        print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
    final = Run(study.question).folder(study) / "notebook.ipynb"
    print(f"figures: {_short(study.figures_folder)}\nnotebook: {_short(final)}")
    return 0


def list_unfinished(study: Study) -> int:
    """Print which runs ``study`` would do, each missing or stale. Nothing is changed."""
    fingerprints = Fingerprints(study)
    states = {run: state(study, run, fingerprints) for run in list_runs(study)}
    unfinished = {run: current for run, current in states.items() if current != "done"}
    print(f'study "{study.name}": {len(unfinished)} of {len(states)} runs to do')
    for run, current in unfinished.items():
        print(f"  {current}: {run.name}")
    return 0


def _locked(study: Study) -> IO[str]:
    """The lock of the folder of runs, held. UserError while another command works there; where that one was killed
    and left Snakemake behind, what it began is waited for."""
    path = study.folder / ".lock"
    held, holder = lock(path)
    if holder and lives(holder, "process"):
        held.close()
        raise UserError(
            f'study "{holder["name"]}" is already running in {study.folder} (process {holder.get("process")} on '
            f"{holder.get('host')}); wait for it or stop it"
        )
    if holder:
        print(
            f'study "{holder["name"]}": its command was killed, and Snakemake (process {holder.get("snakemake")}) is '
            "still at work: waiting for it to end, then doing what is left",
            flush=True,
        )
        held.close()
        held, _ = lock(path, wait=True)
    sign(held, study.name, process=os.getpid())
    return held


def _report(study: Study, failed: list[Run], snakemake: Snakemake) -> int:
    """List what failed and why, after the final notebook was executed on what there is; the exit status."""
    final, gaps = Run(study.question), None
    if final in failed and not snakemake.killed and any(proof(study, run).is_file() for run in _targets(study)):
        gaps = final.folder(study) / GAPS
        gaps.unlink(missing_ok=True)
        snakemake(gaps)
    if snakemake.killed:
        print(f"Snakemake was killed ({snakemake.killed}); runs that it had begun may still end by themselves")
    waiting = []
    for run in failed:
        log, notebook = (run.folder(study) / name for name in ("log.txt", "notebook.ipynb"))
        if run == final and gaps and gaps.is_file():
            continue
        if not log.is_file():
            waiting.append(run.name)
            continue
        seen = notebook if notebook.is_file() and notebook.stat().st_size else log
        print(f"  failed: {run.name}: {of_log(log)} (see {_short(seen)})")
    if waiting:
        print(f"  not run because a run before them failed: {', '.join(waiting)}")
    if gaps and gaps.is_file():
        missing = len(read_record(gaps)["gaps"])
        print(f"  {final.name}: executed with gaps, {missing} runs are missing: {_short(gaps.parent)}/notebook.ipynb")
    print(f"{len(failed)} runs are not done; what is done is kept: mend the cause and run the same command again.")
    return 1


def _targets(study: Study) -> list[Run]:
    return [run for run in list_runs(study) if run.phase == "targets"]


def submit(study: Study, name: str, seed: int, folder: Path | None) -> int:
    """Write a run's predictions as XTREME's scorer reads them; one line per target."""
    from xstilts.sources import open_source
    from xstilts.submission import default_folder, write_submission

    lines = write_submission(study, open_source(study), name, seed, folder)
    print(f"{name}, seed {seed}: {_short(folder or default_folder(study, name, seed))}")
    for line in lines:
        print(f"  {line}")
    return 0


def _discard_stale(study: Study) -> list[Run]:
    """Runs to do. The run.json of a stale run is deleted, so that Snakemake does it again, and so is the log of an
    earlier try."""
    fingerprints = Fingerprints(study)
    left = []
    for run in list_runs(study):
        now = state(study, run, fingerprints)
        if now != "done":
            proof(study, run).unlink(missing_ok=True)  # stale, or one that cannot be read
            (run.folder(study) / "log.txt").unlink(missing_ok=True)
            left.append(run)
        elif run.phase == "intermediate":  # the study may have said only since that encoders go
            remove_encoder(run, fingerprints)
    return left


def _short(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
