"""What a study cannot be run with, as messages: keys and values that are wrong, names and pairs that do not fit."""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from xstilts.errors import UserError, nearest
from xstilts.parameters import truths, unquoted
from xstilts.settings import ALL, DIRECT, EACH, MLM, NONE, SOURCE, UNTRAINED, PhaseSettings
from xstilts.tasks import RETRIEVAL_KINDS, TASKS, TRANSLATED, Task

if TYPE_CHECKING:
    from xstilts.study import Study

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
PROBE = 2**20  # bytes that must fit; a run writes more
PHASES = ("intermediate", "target", "retrieval")  # that overrides can be of


def explain(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One pydantic error in reading ``model`` as a person would say it: key path, what was expected, nearest valid
    key."""
    keys = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        found = "" if item["type"] == "missing" else f", found {item['input']!r}"
        hint = unquoted(item["input"]) if item["type"] == "string_type" else ""
        return f"{keys}: {item['msg'][0].lower()}{item['msg'][1:]}{found}{hint}"
    section: Any = model
    for part in item["loc"][:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        if get_origin(section) is dict:
            section = get_args(section)[1]
        else:
            section = field.annotation if field else None
    return f"{keys}: unknown key{nearest(item['loc'][-1], getattr(section, 'model_fields', {}))}"


def check(study: "Study", path: Path) -> None:
    """What single keys cannot show: names, languages, lengths and pairs that must not be scored."""
    trained: set[str] = set()
    for position, name in enumerate(study.intermediate):
        try:
            run = study.intermediate_run(name)
        except UserError as error:
            raise UserError(f"{path}: intermediate.{position}: {error}") from None
        trained |= set(run.tasks)
        named = [code for code in run.languages if code not in (ALL, TRANSLATED)]
        _check_languages(study, path, f"intermediate.{position}", named)
    if NONE not in study.intermediate:
        raise UserError(f'{path}: intermediate: add "none": every gain is measured from it')
    if len(set(study.intermediate)) < len(study.intermediate) or len(set(study.targets)) < len(study.targets):
        raise UserError(f"{path}: intermediate, targets: a name stands twice")
    for position, name in enumerate(study.targets):
        if name not in TASKS:
            raise UserError(f'{path}: targets.{position}: unknown task "{name}"{nearest(name, TASKS)}')
    _check_further(study, path)
    if study.question == "source-language" and "tydiqa" not in study.targets:
        raise UserError(f'{path}: question: "source-language" is asked of tydiqa: name it among the targets')
    if study.question == "distance":
        _check_distance(study, path)
    if study.question == "retrieval":
        _check_retrieval(study, path)
    for target, name in study.training_sets.items():
        if target not in study.all_targets:
            raise UserError(f"{path}: training_sets.{target}: not a target{nearest(target, study.all_targets)}")
        if name not in TASKS:
            raise UserError(f'{path}: training_sets.{target}: unknown task "{name}"{nearest(name, TASKS)}')
        needed = TASKS[TASKS[target].training_set].kind  # of retrieval, that of its own is questions on passages
        if TASKS[name].kind != needed:
            raise UserError(
                f'{path}: training_sets.{target}: "{name}" is a {TASKS[name].kind} task, {target} needs a {needed} one'
            )
        if TASKS[name].kind == "classification" and TASKS[name].labels != TASKS[target].labels:
            raise UserError(
                f'{path}: training_sets.{target}: the labels of "{name}" are {", ".join(TASKS[name].labels)}, '
                f"those of {target} {', '.join(TASKS[target].labels)}"
            )
    for name in study.own:
        _check_languages(study, path, f"own.{name}.test", TASKS[name].languages)
    _check_languages(study, path, "languages", study.languages)
    _check_languages(study, path, "source_language", [study.source_language])
    trainable = [TASKS[name] for name in study.all_targets if TASKS[name].kind not in RETRIEVAL_KINDS]
    trained |= {study.training_task(target).name for target in [*trainable, *_tuned_retrieval(study)]}
    for name, fields in study.training.overrides.items():
        where, (phase, _, of) = f"{path}: training.overrides.{name}", name.rpartition("/")
        if phase not in ("", *PHASES):
            raise UserError(f'{where}: unknown phase "{phase}"{nearest(phase, PHASES)}')
        if of.startswith("+") and name != MLM:  # of phase 2 by itself
            raise UserError(f'{where}: unknown name "{name}"{nearest(name, [MLM])}')
        try:  # a training set's name is also a run's
            study.intermediate_run(of if name != MLM and of not in trained else NONE)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if of in study.all_targets and of not in trained:  # nothing would read it
            raise UserError(f"{where}: {of} is trained on {study.training_task(TASKS[of]).name}: name that set")
        for key in fields:
            if key not in PhaseSettings.model_fields:
                raise UserError(f"{where}.{key}: unknown key{nearest(key, PhaseSettings.model_fields)}")
        try:
            if wrong := truths(fields, PhaseSettings.model_validate(fields).model_dump()):
                raise UserError(f"{where}.{wrong}: a truth value, expected a number")
        except ValidationError as error:
            wrong = "; ".join(explain(item, PhaseSettings) for item in error.errors())
            raise UserError(f"{where}.{wrong}") from None
        if fields.get("steps") and fields.get("epochs"):
            raise UserError(f"{where}: set either steps or epochs")
    for phase in PHASES:
        settings = getattr(study.training, phase)
        if bool(settings.steps) == bool(settings.epochs):
            raise UserError(f"{path}: training.{phase}: set either steps or epochs (the other 0)")
        if not settings.evaluate_every and (settings.patience or settings.evaluate_examples):
            raise UserError(f"{path}: training.{phase}: patience and evaluate_examples need evaluate_every")
    for task in _tuned_retrieval(study):
        if study.phase("retrieval", study.training_task(task).name).evaluate_every:
            raise UserError(
                f"{path}: training.retrieval.evaluate_every: dual encoders keep their last weights; set it 0"
            )
    if study.retrieval.pooling == "cls" and not study.retrieval.special_tokens:
        raise UserError(f"{path}: retrieval.special_tokens: false leaves nothing to pool: cls is a special token")
    if not study.encoder.checkpoint:
        pretrain = study.encoder.pretrain
        if len(trainable) < len(study.all_targets):
            try:
                study.retrieval.indices(pretrain.layers)
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
        # RoBERTa counts positions from after the padding's
        check_lengths(study, pretrain.positions - 2, f"an encoder of encoder.pretrain.positions: {pretrain.positions}")
    if study.source == "files":
        refused = refused_pairs(sorted(trained), study.all_targets, study.files.trained_from())
        if refused:
            raise UserError(f"{path}: " + "; ".join(refused))


def inputs_of(study: "Study") -> set[str]:
    """Which of ``training.max_length`` the runs of the study heed."""
    runs = [study.intermediate_run(name) for name in study.intermediate]
    names = [*study.all_targets, *(name for run in runs for name in run.tasks)]
    kinds = {TASKS[name].kind for name in names} | ({"mlm"} if any(run.mlm for run in runs) else set())
    return kinds | ({"retrieval"} if kinds & set(RETRIEVAL_KINDS) else set())


def check_lengths(study: "Study", longest: int, encoder: str) -> None:
    """UserError where inputs may be longer than the ``encoder`` takes: ``longest`` tokens, 0 for any number."""
    kinds = inputs_of(study)
    for kind, length in study.training.max_length.model_dump().items():
        if kind in kinds and longest and length > longest:
            raise UserError(
                f"{study.path}: training.max_length.{kind}: {length} tokens, and {encoder} takes {longest} at most"
            )


def check_folders(study: "Study") -> None:
    """Make the folders that a study writes to. UserError where they cannot be written."""
    for key, folder in (("runs", study.folder), ("runs", study.own_folder), ("figures", study.figures_folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PROBE))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{study.path}: {key}: {folder} cannot be written ({error.strerror}); expected a folder with space to "
                f"write: free some, or name another folder under {key}:"
            ) from None


def refused_pairs(
    trained: list[str], targets: tuple[str, ...], read_from: dict[str, tuple[str, ...]] | None = None
) -> list[str]:
    """Why a set must not be trained on and a target scored in one study of the files source, one line a pair.

    ``read_from`` names the splits that the training rows of a task come from where it is not "train"
    alone (a study may train on part of a published development set). A target's own development set in one
    language holds translations of what is scored in the others, where the languages are not ``independent``; the
    parts of a set in one language share no rows (FilesSettings sees to that).
    """
    refused = []
    for name in trained:
        splits = (read_from or {}).get(name, ("train",))
        shared = {task for split in splits if split in TASKS[name].files for task in TASKS[name].files[split].overlaps}
        if len(TASKS[name].languages) > 1 and set(splits) != {"train"} and not TASKS[name].independent:
            shared.add(name)
        refused += [
            f'"{name}" would be trained on examples that "{target}" is scored on (its {"/".join(splits)} set shares '
            f"them, perhaps as translations); drop one of the two"
            for target in targets
            if target in shared
        ]
    return refused


def _tuned_retrieval(study: "Study") -> list[Task]:
    """Retrieval targets that an encoder is tuned for."""
    tuned = [one for one in study.further.values() if set(one.training_languages) != {UNTRAINED}]
    return [TASKS[name] for one in tuned for name in one.targets if TASKS[name].kind in RETRIEVAL_KINDS]


def _check_further(study: "Study", path: Path) -> None:
    """Further trainings of phase 3: runs, targets and training languages that there are."""
    for name, further in study.further.items():
        where = f"{path}: further.{name}"
        if sum(part in study.parts(other) for part in study.parts(name) for other in study.further) > len(
            study.parts(name)
        ):
            raise UserError(f"{where}: another bundle gives its jobs the same name; take another")
        if name in study.bundles():
            raise UserError(f"{where}: a bundle of the study's own has that name; take another")
        for run in further.runs:
            if run not in study.intermediate:
                raise UserError(f'{where}.runs: "{run}" is no run of the study{nearest(run, study.intermediate)}')
        for key in ("targets", "training_languages", "examples"):
            if len(set(getattr(further, key))) < len(getattr(further, key)):
                raise UserError(f"{where}.{key}: something stands twice")
        for target in further.targets:
            if target not in TASKS:
                raise UserError(f'{where}.targets: unknown task "{target}"{nearest(target, TASKS)}')
            if UNTRAINED in further.training_languages and TASKS[target].kind not in RETRIEVAL_KINDS:
                raise UserError(f'{where}.training_languages: "untrained" is for retrieval; {target} must be trained')
            trained, asked = study.training_task(TASKS[target]).kind, set(further.training_languages)
            if trained in ("parallel", "mining") and asked != {UNTRAINED}:
                raise UserError(
                    f"{where}.targets: {target} has no training set; give it training_languages: [untrained] or name "
                    "another under training_sets"
                )
        words = (SOURCE, EACH, ALL, TRANSLATED, UNTRAINED)
        codes = [code for code in further.training_languages if code not in words]
        _check_languages(study, path, f"further.{name}.training_languages", codes)


def _check_distance(study: "Study", path: Path) -> None:
    direct = study.further.get(DIRECT)
    if not direct or NONE not in direct.runs or EACH not in direct.training_languages:
        raise UserError(
            f"{path}: further.{DIRECT}: the question of distance compares with direct tuning: add a bundle of that "
            f"name with runs: [{NONE}] and training_languages: [{SOURCE}, {EACH}]"
        )
    if study.source != "micro" and study.source_language != "en":
        raise UserError(f'{path}: source_language: "{study.source_language}": distances are known from en alone')


def _check_retrieval(study: "Study", path: Path) -> None:
    targets = [name for one in study.further.values() for name in one.targets]
    if not any(TASKS[name].kind in RETRIEVAL_KINDS for name in targets):
        raise UserError(
            f"{path}: further: the question of retrieval is asked of further retrieval targets: add a bundle with "
            "targets: [tatoeba] or the like"
        )


def _check_languages(study: "Study", path: Path, key: str, codes: Iterable[str]) -> None:
    known = study.micro.languages if study.source == "micro" else None
    for code in codes:
        if known is not None and code not in known:
            raise UserError(f'{path}: {key}: unknown language "{code}"{nearest(code, known)}')
        if not LANGUAGE.fullmatch(code):  # it becomes part of folders' names
            raise UserError(f'{path}: {key}: "{code}" is no language code; expected one such as en or zh')
