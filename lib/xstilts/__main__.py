"""Command line: ``xstilts study [STUDY]``, ``status``, ``plan``, ``report``, ``submission`` and, for jobs,
``run``."""

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from xstilts.errors import MARK, UserError

# jsonschema's optional check of web addresses parses a grammar for a second at every start; nothing needs it here
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xstilts", description=__doc__)
    parser.add_argument("--version", action="version", version=f"xstilts {version('xstilts')}")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, example: str, seeds: str = "", **study: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=f"example: xstilts {name} {example}")
        added.add_argument("study", help="name in params/ or path of a parameter file", **study)  # type: ignore[arg-type]
        if seeds:
            added.add_argument("--seeds", type=int, help=seeds)
        return added

    micro = {"nargs": "?", "default": "micro"}
    seeds = "how many seeds, instead of the study's own number"
    study = command("study", "run a study, or what is left of it", "micro --seeds 5", seeds, **micro)
    study.add_argument("--cores", type=int, default=os.cpu_count(), help="processor cores to use (default: all)")
    study.add_argument("--profile", default="default", help="where jobs run: a folder of profiles/ (default, slurm, …)")
    study.add_argument("--dry-run", action="store_true", help="list the runs that are yet to do; change nothing")
    text = "what of a study is done, running, failed or left; changes nothing"
    command("status", text, "micro", "how many seeds (default: those it was last run with)", **micro)
    text = "what a study costs and what of it is done; trains nothing"
    plan = command("plan", text, "xtreme --gpu H100", seeds, **micro)
    plan.add_argument("--gpu", default="A100-80GB", help="H100, V100, … (default: A100-80GB)")
    precisions = ["fp32", "tf32", "fp16", "bf16"]
    plan.add_argument("--precision", default="", choices=precisions, help="instead of the study's")
    plan.add_argument("--utilisation", type=float, default=0.4, help="share of the datasheet's peak (default: 0.4)")
    plan.add_argument("--csv", type=Path, help="write every run here as well")
    run = command("run", "execute one run's notebook, as a job does", "micro targets/mnli/all/seed1")
    run.add_argument("name", help="the run, as messages name it: targets/mnli/all/seed1")
    command("report", "the executed notebooks of a study as one browsable HTML site", "micro", seeds, **micro)
    text = "a finished run's predictions in XTREME's formats"
    submission = command("submission", text, "micro none --seed 1")
    submission.add_argument("name", metavar="run", help="intermediate run: none, mnli, …")
    submission.add_argument("--seed", type=int, default=1, help="which seed's predictions (default: 1)")
    submission.add_argument("--folder", type=Path, help="new folder to write (default: in the study's runs)")
    return parser


def execute(options: argparse.Namespace) -> int:
    """Do what the command says; its exit status. Each imports what it needs alone."""
    from xstilts.study import load_study

    if options.command == "status":
        from xstilts.status import print_status

        print_status(options.study, options.seeds)
        return 0
    study = load_study(options.study, seeds=getattr(options, "seeds", None))
    if options.command == "study" and options.dry_run:
        from xstilts.status import look

        print("\n".join(f"{seen.state}: {run.name}" for run, seen in look(study).items() if seen.state != "done"))
        return 0
    if options.command == "study":
        from xstilts.workflow import run_study

        return run_study(study, options.cores, options.profile)
    if options.command == "run":
        from xstilts.workflow import run_notebook

        return run_notebook(study, options.name)
    if options.command == "plan":
        from xstilts.plan import print_plan

        print_plan(study, options.gpu, options.precision, options.utilisation, options.csv)
    elif options.command == "report":
        from xstilts.report import build

        index, summary = build(study)
        print(f"{summary}\nreport: {os.path.relpath(index)}")
    else:
        from xstilts.sources import open_source
        from xstilts.submission import default_folder, write_submission

        lines = write_submission(study, open_source(study), options.name, options.seed, options.folder)
        folder = options.folder or default_folder(study, options.name, options.seed)
        print(f"{options.name}, seed {options.seed}: {os.path.relpath(folder)}", *lines, sep="\n  ")
    return 0


def main() -> int:
    try:
        status = execute(build_parser().parse_args())
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"{MARK}{error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads along, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from xstilts.status import DISK, NO_ROOM

        if error.errno not in NO_ROOM:
            raise
        print(f"{MARK}{DISK} ({error.filename or 'no room left'})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is done is kept: the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        from xstilts.warm import job

        if (status := job()) is not None:
            sys.exit(status)
    sys.exit(main())
