"""Read and validate a study (``params/*.yaml``); parse and list its runs. Imports nothing heavy."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from xstilts.errors import UserError, nearest
from xstilts.io import ROOT, write_text
from xstilts.parameters import read, truths
from xstilts.settings import (
    ALL,
    MLM,
    MULTI,
    NAME,
    NONE,
    FilesSettings,
    FurtherSettings,
    HubSettings,
    MicroSettings,
    MixSettings,
    OwnTask,
    PhaseSettings,
    PretrainSettings,
)
from xstilts.sources.custom import declare
from xstilts.tasks import INTERMEDIATE, RETRIEVAL_KINDS, TASKS, TRANSLATED, Task
from xstilts.tasks import get as get_task
from xstilts.validation import check, explain

LONGEST_RUN = 200  # characters


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    overrides: dict[str, dict[str, Any]] = {}
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
        asked = [("layer", self.layer), *(("layers", layer) for layer in further)]
        for key, layer in asked:
            if not -depth - 1 <= layer <= depth:
                raise UserError(
                    f"retrieval.{key}: {layer}, and the encoder has {depth} layers: 0 (embeddings) to {depth}, "
                    "or -1 for the last"
                )
        return list(dict.fromkeys(layer % (depth + 1) for _, layer in asked))


class Study(Section):
    """A validated study. ``seeds`` is how many; they are numbered 1, 2, …"""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
    title: str = ""
    source: Literal["micro", "files", "hub"] = "micro"
    source_language: str = "qaa"
    languages: tuple[str, ...] = ()  # () = every language that the source has
    intermediate: tuple[str, ...]
    targets: tuple[str, ...]
    own: dict[Annotated[str, Field(pattern=NAME)], OwnTask] = {}  # the user's own tasks, by name
    training_sets: dict[str, str] = {}  # target -> task that trains it, where not the task's own
    bundle: Literal["all", "each"] = "all"
    # bundle -> what it trains
    further: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")], FurtherSettings] = {}
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
    published: str = ""  # a table of numbers to compare with, see publications/published.py; relative to the project
    # checkpoints that stay once their targets are scored: all; encoders, those of phases 1 and 2, without the
    # targets' fine-tuned models; pretrained, the encoders of phase 1 alone
    keep: Literal["all", "encoders", "pretrained"] = "encoders"
    controls: tuple[str, ...] = ()  # studies with another encoder, shown beside this one once they have run
    runs: str = Field("runs", min_length=1)  # folder for everything a run makes; relative to the project
    figures: str = Field("figures", min_length=1)
    _path: Path = PrivateAttr(default=Path())  # the file it was read from

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
        return tuple(dict.fromkeys([*self.targets, *(name for one in self.further.values() for name in one.targets)]))

    @property
    def seed_numbers(self) -> range:
        return range(1, self.seeds + 1)

    def training_task(self, target: Task) -> Task:
        """The task whose training split trains ``target`` in this study."""
        return get_task(self.training_sets.get(target.name, target.training_set))

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

    def intermediate_run(self, name: str) -> "IntermediateRun":
        """The intermediate run of that name; ``multi`` holds every intermediate task but the absent ones."""
        run = parse_run(name)
        if not name.startswith(MULTI):
            return run
        return replace(run, tasks=tuple(task for task in run.tasks if task not in self.absent))

    def phase(self, phase: Literal["intermediate", "target", "retrieval"], name: str) -> PhaseSettings:
        """Settings of a phase for one run or training set, overrides applied."""
        run = IntermediateRun(name, (name,)) if name in TASKS else parse_run(name)
        values, examples = getattr(self.training, phase).model_dump(), run.examples
        for key in ([MLM] if run.mlm else []) + [name, f"{phase}/{name}"]:
            fields = self.training.overrides.get(key, {})
            if "steps" in fields or "epochs" in fields:
                values |= {"steps": 0, "epochs": 0}
            values |= fields
        values |= {"examples": examples} if examples else {}
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


@dataclass(frozen=True)
class IntermediateRun:
    """What phase 2 is trained on: ``task[+task…][+mlm][@language[,language…]][=examples]``.

    ``@mt`` is every machine-translated training set of the tasks, the source language left out; ``@all``
    every language, translated where a task has no set of its own. ``=3000``: so many examples of each task,
    drawn from all the languages together.
    """

    name: str
    tasks: tuple[str, ...]
    mlm: bool = False
    languages: tuple[str, ...] = ()  # () = the source language
    examples: int = 0  # 0 = as many as the phase's settings say


def parse_run(name: str) -> IntermediateRun:
    """Parse the name of an intermediate run; the only place that knows the grammar."""
    body, equals, number = name.partition("=")
    head, at, tail = body.partition("@")
    parts, languages = head.split("+"), tuple(tail.split(",")) if at else ()
    known = [*TASKS, MULTI, NONE]
    if len(name) > LONGEST_RUN:
        raise UserError(
            f'intermediate run "{name[:40]}…": {len(name)} characters; its name is a folder\'s: {LONGEST_RUN} at most'
        )
    if not re.fullmatch(r"[a-z0-9]+(\+[a-z0-9]+)*(@[A-Za-z-]+(,[A-Za-z-]+)*)?(=[1-9][0-9]{0,8})?", name):
        raise UserError(f'intermediate run "{name}": expected task[+task…][+mlm][@language[,language…]][=examples]')
    mlm = parts[-1] == "mlm"
    tasks = parts[:-1] if mlm else parts
    for part in tasks:
        if part not in known:
            raise UserError(f'intermediate run "{name}": unknown task "{part}"{nearest(part, known)}')
        if part in TASKS and TASKS[part].kind in RETRIEVAL_KINDS:
            raise UserError(f'intermediate run "{name}": "{part}" is a retrieval set; nothing trains on it')
    if NONE in tasks and (len(parts) > 1 or languages or equals):
        raise UserError(f'intermediate run "{name}": "none" stands alone')
    if len(set(tasks)) < len(tasks) or len(set(languages)) < len(languages):
        raise UserError(f'intermediate run "{name}": names something twice')
    if not tasks:
        raise UserError(f'intermediate run "{name}": "mlm" is mixed into a task, as in "mnli+mlm"')
    for word, meaning in ((ALL, "every language"), (TRANSLATED, "every translated language")):
        if word in languages and len(languages) > 1:
            raise UserError(f'intermediate run "{name}": "{word}" already holds {meaning}')
    if MULTI in tasks:
        if len(tasks) > 1:
            raise UserError(f'intermediate run "{name}": "multi" already holds every intermediate task')
        tasks = list(INTERMEDIATE)
    return IntermediateRun(name, () if tasks == [NONE] else tuple(tasks), mlm, languages, int(number or 0))


def load_study(study: str | Path, **changes: Any) -> Study:
    """Read ``params/<study>.yaml`` (a name) or the file at a path; ``changes`` replace top-level keys.

    A file with ``based_on: <study>`` states only what it changes of that one; lists are replaced whole, and so
    is a section by ``{}``.
    Raises UserError naming the file and the key for anything a study cannot be run with.
    """
    path = _path(study)
    values = read(path)
    if "based_on" in values:
        named = values.pop("based_on")
        if not isinstance(named, str):
            raise UserError(f"{path}: based_on: {named!r}: expected the name of a study")
        base = _path(named)
        basis = read(base)
        if values.get("shares", basis.get("name")) != basis.get("name"):
            raise UserError(f'{path}: shares: "{values["shares"]}": a study shares the runs of the one it is based on')
        if "based_on" in basis:
            raise UserError(f"{path}: based_on: {base} is itself based on another study; name that one")
        if isinstance(encoder := values.get("encoder"), dict) and "checkpoint" in encoder:
            values["encoder"] = {"revision": "", **encoder}  # that of the basis is of another checkpoint
        values = _merged(basis | {"controls": []}, values)
    values |= {key: value for key, value in changes.items() if value is not None}
    try:
        loaded = Study.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(explain(item, Study) for item in error.errors())) from None
    if wrong := truths(values, loaded.model_dump()):
        raise UserError(f"{path}: {wrong}: a truth value, expected a number")
    try:
        loaded = loaded.model_copy(update={"own": declare(loaded.own, ROOT, loaded.source_language)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not loaded.encoder.checkpoint:
        loaded = _fitting(loaded)
    loaded._path = path
    check(loaded, path)
    return loaded


def _fitting(study: Study) -> Study:
    """The study with lengths that it does not state cut to what its own encoder takes."""
    lengths, longest = study.training.max_length, study.encoder.pretrain.positions - 2
    limits = dict.fromkeys(lengths.model_dump(), longest) | {"stride": longest // 3}
    cut = {key: min(getattr(lengths, key), limits[key]) for key in limits.keys() - lengths.model_fields_set}
    training = study.training.model_copy(update={"max_length": lengths.model_copy(update=cut)})
    return study.model_copy(update={"training": training})


def _path(study: str | Path) -> Path:
    path = Path(study)
    path = ROOT / path if path.suffix in (".yaml", ".yml") else ROOT / "params" / f"{study}.yaml"
    try:
        found = path.is_file()
    except OSError:  # a name that is too long for one
        found = False
    if not found:
        names = [found.stem for found in sorted((ROOT / "params").glob("*.yaml"))]
        raise UserError(f'no study "{study}": {path} does not exist{nearest(Path(study).stem, names)}')
    return path


def _merged(basis: dict, changes: dict) -> dict:
    """``changes`` over ``basis``, section by section; an empty one, ``{}``, empties it."""
    sections = {
        key: _merged(basis[key], value)
        if value and isinstance(value, dict) and isinstance(basis.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return basis | sections
