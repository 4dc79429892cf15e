"""Command line: ``python -m xstilts study [STUDY]``, ``plan``, ``submission`` and, for the Snakefile, ``run``."""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from psutil import Process

from .checkpoints import locate
from .checks import check_folders
from .errors import UserError
from .needed import check_data
from .runs import (
    Fingerprints,
    Run,
    list_runs,
    notebook_hash,
    provenance,
    read_record,
    remove_encoder,
    state,
    write_record,
)
from .study import ROOT, Study, load_study
from .tunings import tunings


def main() -> int:
    parser = argparse.ArgumentParser(prog="xstilts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    study = commands.add_parser("study", help="run a study, or what is left of it")
    study.add_argument("study", nargs="?", default="micro", help="name in params/ or path of a parameter file")
    study.add_argument("--seeds", type=int, help="how many seeds, instead of the study's own number")
    study.add_argument("--cores", type=int, default=os.cpu_count(), help="processor cores to use (default: all)")
    study.add_argument("--profile", default="default", help="where jobs run: a folder of profiles/ (default, slurm, …)")
    plan = commands.add_parser("plan", help="what a study costs and what of it is done; trains nothing")
    plan.add_argument("study", nargs="?", default="micro", help="name in params/ or path of a parameter file")
    plan.add_argument("--seeds", type=int, help="how many seeds, instead of the study's own number")
    plan.add_argument("--gpu", default="", help="A100-80GB, H100, …, or cpu (default: this machine, measured)")
    plan.add_argument(
        "--precision", default="", choices=["fp32", "tf32", "fp16", "bf16"], help="instead of the study's"
    )
    plan.add_argument("--utilisation", type=float, default=0.4, help="share of the datasheet's peak (default: 0.4)")
    plan.add_argument("--csv", type=Path, help="write every run here as well")
    run = commands.add_parser("run", help="execute the notebook of one run (what a Snakemake job does)")
    run.add_argument("study")
    run.add_argument("name", help="the run, as messages name it: targets/mnli/all/seed1")
    submission = commands.add_parser("submission", help="a finished run's predictions in XTREME's formats")
    submission.add_argument("study", help="name in params/ or path of a parameter file")
    submission.add_argument("name", metavar="run", help="intermediate run: none, mnli, …")
    submission.add_argument("--seed", type=int, default=1, help="which seed's predictions (default: 1)")
    submission.add_argument("--folder", type=Path, help="new folder to write (default: in the study's runs)")
    options = parser.parse_args()
    try:
        if options.command == "submission":
            return submit(load_study(options.study), options.name, options.seed, options.folder)
        if options.command == "study":
            return run_study(load_study(options.study, seeds=options.seeds), options.cores, options.profile)
        if options.command == "plan":
            from .planning.plan import print_plan

            study = load_study(options.study, seeds=options.seeds)
            print_plan(study, options.gpu, options.precision, options.utilisation, options.csv)
            return 0
        return run_notebook(load_study(options.study), options.name)
    except UserError as error:
        print(f"xstilts: {error}", file=sys.stderr)
        return 2


def run_study(study: Study, cores: int, profile: str = "default") -> int:
    """Bring every run of the study up to date through Snakemake; print one line per finished run."""
    started = time.monotonic()
    if study.encoder.checkpoint:
        locate(study)
    check_folders(study)
    check_data(study)
    if study.published:
        from .published import read  # not at the start of every job

        read(study)
    if study.absence:
        print(study.absence, flush=True)
    with open(study.folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f'study "{study.name}" is already running in {study.folder}; wait for it or stop it'
            ) from None
        resolved = study.resolve()
        left = _discard_stale(study)
        if not left:
            print(f'study "{study.name}" is up to date: nothing to do.')
        else:
            where = f"on {cores} cores" if profile == "default" else f"through profile {profile}"
            print(f'study "{study.name}": {len(left)} of {len(list_runs(study))} runs to do {where}', flush=True)
            _snakemake(study, resolved, left, cores, profile, lock)
    failed = [run for run in left if not (run.folder(study) / "run.json").is_file()]
    for run in failed:
        print(
            f"  {'failed' if (run.folder(study) / 'log.txt').is_file() else 'not run'}: {run.name}{_reason(study, run)}"
        )
    if failed:
        print(f"{len(failed)} runs are not done; what is done is kept: mend the cause and run the same command again.")
        return 1
    if left:
        print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
    final = Run(study.question).folder(study) / "notebook.ipynb"
    print(f"figures: {_short(study.figures_folder)}\nnotebook: {_short(final)}")
    return 0


def submit(study: Study, name: str, seed: int, folder: Path | None) -> int:
    """Write a run's predictions as XTREME's scorer reads them; one line per target."""
    from .sources import open_source
    from .submission import default_folder, write_submission

    written = write_submission(study, open_source(study), name, seed, folder)
    print(f"{name}, seed {seed}: {_short(folder or default_folder(study, name, seed))}")
    for one in written:
        print(f"  {one.described()}")
    return 0


def _discard_stale(study: Study) -> list[Run]:
    """Runs to do. The proof of a stale run is withdrawn, so that Snakemake does it again."""
    fingerprints = Fingerprints(study)
    left = []
    for run in list_runs(study):
        now = state(study, run, fingerprints)
        if now == "stale":
            (run.folder(study) / "run.json").unlink()
        if now != "done":
            left.append(run)
        elif run.phase == "intermediate":  # the study may have said only since that encoders go
            remove_encoder(run, fingerprints)
    return left


def _snakemake(study: Study, resolved: Path, left: list[Run], cores: int, profile: str, lock) -> None:
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", ROOT,
        "--workflow-profile", _profile(profile),
        *(["--cores", str(cores)] if profile == "default" else []),
        "--config", f"study={resolved}", "--",
        # asked for by name: what follows a run may be done already (a notebook was edited, a proof deleted)
        *(run.folder(study) / "run.json" for run in left),
    ]  # fmt: skip
    with open(study.own_folder / "snakemake.log", "w") as log:
        # the lock goes along: while any job lives, a second study on this folder is told so
        process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[lock.fileno()])
        try:
            waiting, done = list(left), 0
            while True:
                finished = process.poll() is not None
                for run in [run for run in waiting if (run.folder(study) / "run.json").is_file()]:
                    waiting.remove(run)
                    done += 1
                    seconds = read_record(run.folder(study) / "run.json")["seconds"]
                    print(f"  [{done}/{len(left)}] {run.name} ({seconds:.0f} s)", flush=True)
                if finished:
                    break
                time.sleep(0.5)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode and waiting == left and not any((run.folder(study) / "log.txt").is_file() for run in left):
        tail = (study.own_folder / "snakemake.log").read_text(encoding="utf-8").strip().splitlines()[-5:]
        raise UserError("Snakemake could not start the study: " + " / ".join(tail))


def _profile(name: str) -> Path:
    """The folder of a profile: below profiles/, or a path."""
    known = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
    for folder in (ROOT / "profiles" / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    raise UserError(f'no profile "{name}": expected one of {", ".join(known)}, or a folder that holds a config.yaml')


def _reason(study: Study, run: Run) -> str:
    log = run.folder(study) / "log.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return f": {lines[-1].strip()} (see {_short(log)})" if lines else ""


def _short(path: Path) -> str:
    return os.path.relpath(path)


def run_notebook(study: Study, name: str) -> int:
    """Execute one run's notebook with papermill and, when all went well, write its ``run.json``."""
    # jsonschema's optional check of web addresses parses a grammar for a second at every start; nothing needs it here
    sys.modules.setdefault("rfc3987_syntax", None)
    os.environ.pop("MPLBACKEND", None)  # another backend than the notebook's own would leave its pages without figures
    import papermill
    from traitlets.config import Config

    run = _find(study, name)
    folder = run.folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = run.parameters(study)
    known = papermill.inspect_notebook(str(run.notebook))
    unknown = sorted(set(parameters) - set(known))
    if unknown:  # papermill itself would run to the end with the defaults
        raise UserError(f"{run.notebook}: its parameters cell lacks {', '.join(unknown)}")
    started = time.monotonic()
    # schedulers may tell this process alone; a training in the kernel saves itself, and the cell ends with a message
    signal.signal(signal.SIGTERM, lambda number, _: [kernel.send_signal(number) for kernel in Process().children()])
    with tempfile.TemporaryDirectory(prefix="xstilts-") as sockets:
        # IPC: many kernels started at once race for TCP ports; each needs sockets of its own
        kernel = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        papermill.execute_notebook(
            str(run.notebook),
            str(folder / "notebook.ipynb"),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(ROOT / "notebooks"),
            progress_bar=False,
            log_output=True,
            config=kernel,
        )
    if run.final:
        _render(folder / "notebook.ipynb", study.figures_folder / f"{run.notebook.stem}.html")
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
        **provenance(),
    }
    write_record(folder / "run.json", record)
    return 0


def _render(notebook: Path, page: Path) -> None:
    """The executed notebook as one HTML file that needs no network."""
    from nbconvert import HTMLExporter

    nowhere = dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"), "")
    html, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True, **nowhere).from_filename(
        str(notebook)
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")


def _find(study: Study, name: str) -> Run:
    for run in list_runs(study):
        if run.name == name:
            return run
    raise UserError(f'study "{study.name}" has no run "{name}"')


if __name__ == "__main__":
    sys.exit(main())
