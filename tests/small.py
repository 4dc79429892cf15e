"""The smallest study that has every phase, and its scores without Snakemake and notebooks."""

import os
import sys
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd
import yaml
from traitlets.config import Config

from xstilts import phases
from xstilts.errors import UserError
from xstilts.io import write_record
from xstilts.runs import Fingerprints, Run, list_runs, notebook_hash
from xstilts.settings import Study
from xstilts.sources import open_source
from xstilts.study import load_study

LANGUAGES = ["qaa", "qab", "qac"]
SIZES = {"train": 40, "dev": 10, "test": 10}
KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining", "ranking")
PRETRAIN = {
    "steps": 4, "log_every": 2, "vocab_size": 400, "width": 32, "layers": 2, "heads": 2, "feed_forward": 64,
    "batch_tokens": 1000,
}  # fmt: skip
SMALL = {
    "intermediate": ["none", "mnli"],
    "targets": ["xnli", "tatoeba"],
    "bundle": "each",
    "languages": LANGUAGES,
    "micro": {"documents": 200} | dict.fromkeys(KINDS, SIZES),
    "encoder": {"pretrain": PRETRAIN},
    "training": {
        "intermediate": {"steps": 4, "learning_rate": 0.001},
        "target": {"steps": 4, "learning_rate": 0.001},
        "max_length": dict.fromkeys((*KINDS[:4], "retrieval", "mlm"), 128) | {"stride": 32},
    },
}


def write(folder: Path, name: str, **changes) -> Path:
    """The study's file; what it makes lies in ``folder``/runs and ``folder``/figures."""
    path = folder / f"{name}.yaml"
    places = {"name": name, "runs": str(folder / "runs"), "figures": str(folder / "figures")}
    path.write_text(yaml.safe_dump(SMALL | places | changes))
    return path


def kernel(folder: Path) -> dict:
    """How papermill starts a kernel on a busy machine: patiently, and over IPC, as kernels race for TCP ports. Paths of
    sockets are short, and so must the folder's be."""
    config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
    return {"config": config, "start_timeout": 600, "iopub_timeout": 600}


def at_once(path: Path, runs: list[Run] | None = None) -> pd.DataFrame:
    """Every run of the study in this process, one after the other: what an interrupted one must come to."""
    study = load_study(path)
    source = open_source(study)
    for run in runs or list_runs(study):
        if run.phase == "encoder":
            phases.encoder(study, source, run.seed)
        elif run.phase == "intermediate":
            phases.intermediate(study, source, run.intermediate, run.seed)
        elif run.phase == "targets":
            list(phases.targets(study, source, run.intermediate, run.bundle, run.seed))
    return results(path)


def whole_study() -> None:
    """All phases of the study ``sys.argv[0]``, as the notebooks call them, in a process of its own. The other
    arguments: a call, how often, and the signal that comes in the call then."""
    path, after, count, number = sys.argv
    if after:
        module, name = after.rsplit(".", 1)
        owner, calls = resolve_name(module), []
        plain = getattr(owner, name)

        def counted(*arguments, **options):
            calls.append(None)
            if len(calls) == int(count):
                os.kill(os.getpid(), int(number))
            return plain(*arguments, **options)

        setattr(owner, name, counted)
    study = load_study(path)
    source, run = open_source(study), study.intermediate[-1]
    try:
        phases.encoder(study, source, 1)
        phases.intermediate(study, source, run, 1)
        for _ in phases.targets(study, source, run, "all", 1):
            pass
    except UserError as error:
        (study.folder / "message").write_text(str(error))
        sys.exit(2)


def finish(study: Study) -> None:
    """Leave what says that every run of a study is done, where nothing was."""
    for run in list_runs(study):
        if run.phase in ("encoder", "intermediate"):
            (run.folder(study) / "checkpoint").mkdir(parents=True, exist_ok=True)
    prove(study, list_runs(study))


def prove(study: Study, runs: list[Run]) -> None:
    fingerprints = Fingerprints(study)
    for run in runs:
        record = {"fingerprint": fingerprints.of(run), "notebook": notebook_hash(run.notebook)}
        write_record(run.folder(study) / "run.json", record)


def every_run(path: Path, final: bool = True, but: str = "") -> None:
    """Every run done in this process, which is quicker. Left to the command are, without ``final``, its notebook, and
    what comes of the intermediate run ``but``."""
    study = load_study(path)
    runs = [run for run in list_runs(study) if (final or not run.final) and (not but or run.intermediate != but)]
    at_once(path, runs)
    prove(study, runs)


def results(path: Path) -> pd.DataFrame:
    study = load_study(path)
    paths = [run.folder(study) / "stats.parquet" for run in list_runs(study) if run.phase == "targets"]
    parts = [pd.read_parquet(path) for path in paths if path.is_file()]
    return pd.concat(parts, ignore_index=True).drop(columns="study")
