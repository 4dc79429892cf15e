"""A study as ``params/*.yaml`` states it: read, validated, and listed by its runs. Imports nothing heavy."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from microworld.settings import MicroSettings
from xstilts.errors import UserError, nearest
from xstilts.io import ROOT, write_text
from xstilts.names import MLM, MULTI, TASK_NAME, IntermediateRun, parse_run
from xstilts.readers.custom import declare
from xstilts.settings import (
    FilesSettings,
    FurtherSettings,
    HubSettings,
    MixSettings,
    OwnTask,
    PhaseSettings,
    PretrainSettings,
    Section,
)
from xstilts.tasks import TASKS, Task
from xstilts.validation import check, explain

DATA = "XSTILTS_DATA"  # environment variable: the folder of the files source


class EncoderSettings(Section):
    """Phase 1: a checkpoint (folder or hub id) or, without one, the study's own pretraining."""

    checkpoint: str = ""
    revision: str = ""
    pretrain: PretrainSettings = PretrainSettings()


class LengthSettings(Section):
    """Longest inputs in tokens: pairs and choices are cut, taggings split, passages windowed, each window ``stride``
    tokens after the one before. What a study does not state is no longer than the encoder that it pretrains takes."""

    classification: int = Field(256, ge=8)
    choice: int = Field(256, ge=8)
    tagging: int = Field(256, ge=8)
    span: int = Field(384, ge=8)
    stride: int = Field(128, ge=1)
    retrieval: int = Field(512, ge=8)
    mlm: int = Field(256, ge=8)


class TrainingSettings(Section):
    """``overrides`` changes single fields of a phase for an intermediate run or a training set, by name:
    ``mnli`` in all phases, ``intermediate/mnli``, ``target/mnli`` or ``retrieval/squad1`` in one, ``+mlm`` for all
    runs with masked LM. The more particular wins; ``steps`` and ``epochs`` replace each other."""

    intermediate: PhaseSettings = PhaseSettings(epochs=3)
    target: PhaseSettings = PhaseSettings(epochs=3)
    retrieval: PhaseSettings = PhaseSettings(  # of dual encoders, in phase 3; XTREME-R's train_lareqa.sh
        epochs=3, batch_size=4, accumulate=4, learning_rate=2e-5, warmup=0, weight_decay=0
    )
    overrides: dict[str, dict[str, Any]] = Field({})
    mix: MixSettings = MixSettings()
    max_length: LengthSettings = LengthSettings()
    # how a training is done, not what it is: neither makes a result stale
    save_minutes: float = Field(15, ge=0, description="between checkpoints that a killed training goes on from")
    tensorboard: bool = Field(False, description="write the curves of every training that is yet to be done")
    # equal to one within rounding, not to the bit: another number is another result
    processes: int = Field(
        1, ge=1, description="part every batch over so many GPUs; without GPUs, processes. Dual encoders take one"
    )


class RetrievalSettings(Section):
    """``layer`` indexes the hidden states (0 = embeddings, -1 = last) and gives the scores; ``layers`` are
    scored beside it in the same pass, for the curve. ``special_tokens``: whether "mean" pools <s> and </s> too
    (the authors do); ``centre`` subtracts each language's mean."""

    layer: int = -1
    layers: tuple[int, ...] | Literal["all"] = ()
    pooling: Literal["mean", "cls"] = "mean"
    special_tokens: bool = True
    centre: bool = False

    def indices(self, depth: int) -> list[int]:
        """Hidden states to pool of an encoder of ``depth`` layers, from 0, ``layer`` first, each once.
        UserError for one that it lacks."""
        further = range(depth + 1) if self.layers == "all" else self.layers
        layers = [("layer", self.layer), *(("layers", layer) for layer in further)]
        for key, layer in layers:
            if not -depth - 1 <= layer <= depth:
                raise UserError(
                    f"retrieval.{key}: {layer}, and the encoder has {depth} layers: 0 (embeddings) to {depth}, "
                    "or -1 for the last"
                )
        return list(dict.fromkeys(layer % (depth + 1) for _, layer in layers))


class Study(Section):
    """A validated study. ``seeds`` is how many; they are numbered 1, 2, …"""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
    title: str = ""
    source: Literal["micro", "files", "hub"] = "micro"
    source_language: str = "qaa"
    languages: tuple[str, ...] = ()  # () = every language that the source has
    intermediate: tuple[str, ...]
    targets: tuple[str, ...]
    own: dict[Annotated[str, Field(pattern=TASK_NAME)], OwnTask] = Field(
        {}, description="the user's own tasks, by name"
    )
    training_sets: dict[str, str] = Field({}, description="target -> task that trains it, where not the target's own")
    bundle: Literal["all", "each"] = "all"
    further: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")], FurtherSettings] = Field(
        {}, description="bundle -> what it trains beside the study's own targets"
    )
    question: Literal["transfer", "distance", "source-language", "domain-shift", "retrieval"] = "transfer"
    # the study it is based on, where it keeps its runs beside that one's: none is done twice
    shares: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,99})?$")] = ""
    seeds: Annotated[int, Field(gt=0, le=1000)] = 1
    encoder: EncoderSettings = EncoderSettings()
    training: TrainingSettings = TrainingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    micro: MicroSettings = MicroSettings()
    files: FilesSettings = FilesSettings()
    hub: HubSettings = HubSettings()
    published: str = ""  # a table of numbers to compare with, see published.py; relative to the project
    # checkpoints that stay once their targets are scored: all; encoders, those of phases 1 and 2, without the
    # targets' fine-tuned models; pretrained, the encoders of phase 1 alone
    keep: Literal["all", "encoders", "pretrained"] = "encoders"
    controls: tuple[str, ...] = ()  # studies with another encoder, shown beside this one once they have run
    runs: str = Field("runs", min_length=1)  # folder for everything a run makes; relative to the project
    figures: str = Field("figures", min_length=1)
    _path: Path = PrivateAttr(default=Path())  # the file it was read from
    _own_tasks: dict[str, Task] = PrivateAttr(default_factory=dict)

    @property
    def folder(self) -> Path:
        """``runs/<study>``: its runs, or the folder of the study that it shares them with."""
        return ROOT / self.runs / (self.shares or self.name)

    @property
    def own_folder(self) -> Path:
        """``runs/<study>``: its final notebook, also where its runs are shared."""
        return ROOT / self.runs / self.name

    @property
    def figures_folder(self) -> Path:
        return ROOT / self.figures / self.name

    @property
    def path(self) -> str:
        """The parameter file the study was read from; relative to the project where it lies in it."""
        return str(self._path.relative_to(ROOT) if self._path.is_relative_to(ROOT) else self._path)

    @property
    def given(self) -> str:
        """As ``make study STUDY=…`` takes it: its name in params/, else the path of its file."""
        path = Path(self.path)
        return path.stem if path.parent == Path("params") else self.path

    def resolve(self) -> Path:
        """Write the study, every default filled in, beside its runs: what all of its jobs read, so
        that editing ``params/`` while a study runs changes nothing half-way."""
        path = self.own_folder / "study.yaml"
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))
        return path

    @property
    def all_targets(self) -> tuple[str, ...]:
        """The targets, and those that further trainings alone have."""
        return tuple(
            dict.fromkeys([*self.targets, *(name for further in self.further.values() for name in further.targets)])
        )

    @property
    def seed_numbers(self) -> range:
        return range(1, self.seeds + 1)

    @property
    def tasks(self) -> dict[str, Task]:
        """Every task by name, those of the user's own among them."""
        return TASKS | self._own_tasks

    def task(self, name: str) -> Task:
        """The task of that name. UserError with the nearest name for an unknown one."""
        if name not in self.tasks:
            raise UserError(f'unknown task "{name}"{nearest(name, self.tasks)}')
        return self.tasks[name]

    def training_task(self, target: Task) -> Task:
        """The task whose training split trains ``target`` in this study."""
        return self.task(self.training_sets.get(target.name, target.training_set))

    @property
    def absent(self) -> tuple[str, ...]:
        """Intermediate tasks whose licensed data the study has not been given: ``multi`` goes on without them."""
        return ("ccg",) if self.source == "hub" and not self.hub.ccgbank else ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Intermediate runs that name an absent task: never run, and missing in the tables."""
        return tuple(name for name in self.intermediate if set(self.intermediate_run(name).tasks) & set(self.absent))

    @property
    def absence(self) -> str:
        """One line on what is left out for want of data; "" where nothing is."""
        parts = [f"{name} is left out" for name in self.left_out]
        parts += [
            f"{name} is trained without {', '.join(self.absent)}"
            for name in self.intermediate
            if self.absent and name.startswith(MULTI)
        ]
        return f"{'; '.join(parts)}: no CCGbank (LDC2005T13), whose folder hub.ccgbank names" if parts else ""

    def intermediate_run(self, name: str) -> IntermediateRun:
        """The intermediate run of that name; ``multi`` holds every intermediate task but the absent ones."""
        run = parse_run(name, self.tasks)
        if not name.startswith(MULTI):
            return run
        return replace(run, tasks=tuple(task for task in run.tasks if task not in self.absent))

    def phase(self, phase: Literal["intermediate", "target", "retrieval"], name: str) -> PhaseSettings:
        """Settings of a phase for one run or training set, overrides applied."""
        run = IntermediateRun(name, (name,)) if name in self.tasks else parse_run(name, self.tasks)
        values = getattr(self.training, phase).model_dump()
        for key in ([MLM] if run.mlm else []) + [name, f"{phase}/{name}"]:
            fields = self.training.overrides.get(key, {})
            if "steps" in fields or "epochs" in fields:
                values |= {"steps": 0, "epochs": 0}
            values |= fields
        if run.examples:
            values["examples"] = run.examples
        return PhaseSettings.model_validate(values)

    def bundles(self) -> dict[str, tuple[str, ...]]:
        """Bundle name -> the targets one execution of ``3-targets.ipynb`` does; see ``further`` for the others."""
        return {"all": self.targets} if self.bundle == "all" else {target: (target,) for target in self.targets}

    def bundles_of(self, run: str) -> list[str]:
        """Every bundle that starts from an intermediate run, the further ones last."""
        started = [name for name, further in self.further.items() if run in further.runs]
        return [*self.bundles(), *(part for name in started for part in self.parts(name))]

    def parts(self, name: str) -> list[str]:
        """The bundles that a further one is split into: itself, or ``direct-xnli``, … where its targets go singly."""
        further = self.further.get(name)
        return [f"{name}-{target}" for target in further.targets] if further and further.bundle == "each" else [name]


def load_study(study: str | Path, **changes: Any) -> Study:
    """Read ``params/<study>.yaml`` (a name) or the file at a path; ``changes`` replace top-level keys.

    A file with ``based_on: <study>`` states only what it changes of that one; lists are replaced whole, and so
    is a section by ``{}``.
    Raises UserError naming the file and the key for anything a study cannot be run with.
    """
    path = _path(study)
    values = read_yaml(path)
    if "based_on" in values:
        values = _with_basis(path, values)
    values |= {key: value for key, value in changes.items() if value is not None}
    try:
        loaded = Study.model_validate_json(json.dumps(values))  # in JSON a list is a tuple, also to strict types
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(explain(item, Study) for item in error.errors())) from None
    loaded._path = path
    if not loaded.encoder.checkpoint:
        loaded = _with_fitting_lengths(loaded)
    if loaded.source == "files" and not loaded.files.root and os.environ.get(DATA):
        files = loaded.files.model_copy(update={"root": os.environ[DATA]})
        loaded = loaded.model_copy(update={"files": files})
    try:
        loaded._own_tasks = declare(loaded.own, ROOT, loaded.source_language)
        check(loaded)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return loaded


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a file of YAML 1.2, as :func:`parse_yaml`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Keys and values of YAML 1.2, where ``no`` is text. UserError with the line, in what ``name`` says."""
    try:
        anchored = []  # whether each open collection has an anchor
        for event in YAML(typ="safe", pure=True).parse(text):
            if isinstance(event, CollectionStartEvent):
                anchored.append(event.anchor is not None)
            elif isinstance(event, CollectionEndEvent):
                anchored.pop()
            elif isinstance(event, AliasEvent) and any(anchored):  # a few lines can stand for gigabytes
                problem = "an alias (*) inside an anchor (&); write its values out"
                raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        values = YAML(typ="safe", pure=True).load(text)
        json.dumps(values, default=_refuse, ensure_ascii=False).encode()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(" ".join(filter(None, [error.context, error.problem])).split())
        raise UserError(f"{name}:{mark.line + 1 if mark else 1}: not readable as YAML: {problem}") from None
    except RecursionError:
        raise UserError(f"{name}: not readable as YAML: nested too deeply; expected a few levels") from None
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:  # a value does not fit its tag
        raise UserError(f"{name}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected keys and values (name:, intermediate:, targets:, …)")
    return values


def _refuse(value: Any) -> None:
    raise ValueError(f"{value}: a {type(value).__name__} to YAML; put it in quotes")


def _with_basis(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of the study that ``based_on`` names, changed by those of the file at ``path``."""
    name = values.pop("based_on")
    if not isinstance(name, str):
        raise UserError(f"{path}: based_on: {name!r}: expected the name of a study")
    base = _path(name)
    basis = read_yaml(base)
    if values.get("shares", basis.get("name")) != basis.get("name"):
        raise UserError(f'{path}: shares: "{values["shares"]}": a study shares the runs of the one it is based on')
    if "based_on" in basis:
        raise UserError(f"{path}: based_on: {base} is itself based on another study; name that one")
    encoder = values.get("encoder")
    if isinstance(encoder, dict) and "checkpoint" in encoder:
        values["encoder"] = {"revision": "", **encoder}  # that of the basis is of another checkpoint
    return _merged(basis | {"controls": []}, values)


def _merged(basis: dict, changes: dict) -> dict:
    """``changes`` over ``basis``, section by section; an empty one, ``{}``, empties it."""
    sections = {
        key: _merged(basis[key], value)
        if value and isinstance(value, dict) and isinstance(basis.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return basis | sections


def _with_fitting_lengths(study: Study) -> Study:
    """The study with lengths that it does not state cut to what its own encoder takes."""
    lengths = study.training.max_length
    longest = study.encoder.pretrain.positions - 2
    limits = dict.fromkeys(lengths.model_dump(), longest) | {"stride": longest // 3}
    cut = {key: min(getattr(lengths, key), limits[key]) for key in limits.keys() - lengths.model_fields_set}
    training = study.training.model_copy(update={"max_length": lengths.model_copy(update=cut)})
    return study.model_copy(update={"training": training})


def _path(study: str | Path) -> Path:
    path = Path(study)
    path = ROOT / path if path.suffix in (".yaml", ".yml") else ROOT / "params" / f"{study}.yaml"
    if "\0" in str(path) or not os.path.isfile(path):  # False also for a name that is too long
        names = [known.stem for known in sorted((ROOT / "params").glob("*.yaml"))]
        raise UserError(f'no study "{study}": {path} does not exist{nearest(Path(study).stem, names)}')
    return path
