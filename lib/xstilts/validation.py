"""What a study cannot be run with, as messages: keys and values that are wrong, names and pairs that do not fit."""

import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from microworld.settings import LANGUAGE_CODES
from xstilts.errors import UserError, located, nearest, refuse
from xstilts.names import ALL, DIRECT, EACH, MLM, NONE, SOURCE, STEPS, UNTRAINED
from xstilts.settings import PhaseSettings, Study
from xstilts.tasks import RETRIEVAL_KINDS, TASKS, TRANSLATED, Task

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
PHASES = ("intermediate", "target", "retrieval")  # that overrides can be of


# what a value must be, by the type of pydantic's error
EXPECTED = {
    "missing": "is missing", "list_type": "expected a list", "tuple_type": "expected a list",
    "dict_type": "expected keys and values", "model_type": "expected keys and values",
    "int_type": "expected a whole number", "float_type": "expected a number", "bool_type": "expected true or false",
    "string_type": "expected text", "literal_error": "expected {expected}", "finite_number": "expected a finite number",
}  # fmt: skip


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The errors in reading ``model`` as a person would say them: key path, what was expected, nearest valid key. Of
    several types that a value may have each is named."""
    problems: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        keys, expected, value = _explain(item, model)
        problems.setdefault((keys, value), []).append(expected)
    return "; ".join(f"{keys}: {' or '.join(parts)}{value}" for (keys, value), parts in problems.items())


def _explain(item: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str, str]:
    """(key path, what was expected, what there is)"""
    parts = [part for part in item["loc"] if not re.match(r"(str|(tuple|literal|dict|list)\[.*)$", str(part))]
    keys, value, kind = ".".join(map(str, parts)), item["input"], item["type"]
    if kind == "extra_forbidden":
        section: Any = model
        for part in parts[:-1]:
            in_dict = get_origin(section) is dict
            section = get_args(section)[1] if in_dict else section.model_fields[part].annotation
            section = get_args(section)[0] if NoneType in get_args(section) else section
        return keys, f"unknown key{nearest(parts[-1], section.model_fields)}", ""
    message = item["msg"].removeprefix("Value error, ")
    if kind in ("value_error", "missing"):
        return keys, EXPECTED.get(kind, message), ""
    expected = EXPECTED[kind].format(**item.get("ctx", {})) if kind in EXPECTED else message[0].lower() + message[1:]
    shown = repr(value)
    if isinstance(value, dict | list):
        names = textwrap.shorten(", ".join(map(str, value)), 60, placeholder=" …")
        shown = f"the keys {names}" if isinstance(value, dict) else f"a list ({names})"
    unquoted = kind == "string_type" and isinstance(value, (bool, int, float))
    return keys, expected, f", found {shown}{'; put it in quotes' if unquoted else ''}"


def check(study: Study) -> None:
    """What single keys cannot show: names, languages, lengths and pairs that must not be scored. UserError naming the
    key."""
    _check_runs_and_targets(study)
    _check_training(study)
    tasks = [task for task in map(study.task, study.all_targets) if task.kind not in RETRIEVAL_KINDS]
    # names of the tasks that phases 2 and 3 train on
    trained = {study.training_task(task).name for task in [*tasks, *_tuned_retrieval(study)]}
    intermediate = {task for name in study.intermediate for task in study.intermediate_run(name).tasks}
    _check_phases(study, trained | intermediate)
    pooled_away = study.retrieval.pooling == "cls" and not study.retrieval.special_tokens
    refuse(pooled_away, "retrieval.special_tokens: false leaves nothing to pool: cls is a special token")
    if not study.encoder.checkpoint:
        for key in ("layers", "shuffled"):
            alone = f"encoder.{key}: is of a checkpoint; name one (encoder.checkpoint), or leave it out"
            refuse(getattr(study.encoder, key), alone)
        pretrain = study.encoder.pretrain
        if any(study.task(name).kind in RETRIEVAL_KINDS for name in study.all_targets):
            study.retrieval.indices(pretrain.layers)
        # RoBERTa counts positions from after the padding's
        check_lengths(study, pretrain.positions - 2, f"an encoder of encoder.pretrain.positions: {pretrain.positions}")
    if study.source == "files":
        read_from, parted = study.files.trained_from(), study.files.parted()
        pairs = []
        for target in study.all_targets:  # a model of another target is nothing that this one's starts from
            sets = intermediate | ({study.training_task(study.task(target)).name} & trained)
            pairs += refused_pairs(sorted(sets), [target], read_from, study.tasks, parted)
        refuse(pairs, "; ".join(pairs))


def _repeated(values: tuple) -> bool:
    return len(set(values)) < len(values)


def _check_runs_and_targets(study: Study) -> None:
    for position, name in enumerate(study.intermediate):
        with located(f"intermediate.{position}"):
            run = study.intermediate_run(name)
        _check_languages(study, f"intermediate.{position}", set(run.languages) - {ALL, TRANSLATED})
    refuse(NONE not in study.intermediate, 'intermediate: add "none": every gain is measured from it')
    for key in ("intermediate", "targets"):
        refuse(_repeated(getattr(study, key)), f"{key}: a name stands twice")
    for position, name in enumerate(study.targets):
        with located(f"targets.{position}"):
            study.task(name)
    for name in study.own:
        _check_languages(study, f"own.{name}.test", study.task(name).languages)
    _check_languages(study, "languages", study.languages)
    _check_languages(study, "source_language", [study.source_language])


def _check_phases(study: Study, trained: set[str]) -> None:
    for name, fields in study.training.overrides.items():
        key = f"training.overrides.{name}"
        phase, _, of = name.rpartition("/")
        refuse(phase not in ("", *PHASES), f'{key}: unknown phase "{phase}"{nearest(phase, PHASES)}')
        # masked LM is of phase 2 by itself
        refuse(of.startswith("+") and name != MLM, f'{key}: unknown name "{name}"{nearest(name, [MLM])}')
        if name != MLM and of not in trained:
            with located(key):
                study.intermediate_run(of)
        if of in study.all_targets and of not in trained:  # nothing would read it
            raise UserError(f"{key}: {of} is trained on {study.training_task(study.task(of)).name}: name that set")
        try:
            PhaseSettings.model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{key}.{explain(error, PhaseSettings)}") from None
        refuse(fields.get("steps") and fields.get("epochs"), f"{key}: set either steps or epochs")
    for phase in PHASES:
        part = getattr(study.training, phase)
        refuse(bool(part.steps) == bool(part.epochs), f"training.{phase}: set either steps or epochs (the other 0)")
        unread = not part.evaluate_every and (part.patience or part.evaluate_examples)
        refuse(unread, f"training.{phase}: patience and evaluate_examples need evaluate_every")
    for name in trained if STEPS in study.intermediate else ():
        mixed = bool(study.phase("target", name).steps) != bool(study.training.intermediate.steps)
        both = "training.intermediate and training.target in steps, or both in epochs"
        refuse(mixed, f"intermediate: none+steps adds the length of phase 2 to that of {name}: state {both}")
    for task in _tuned_retrieval(study):
        evaluated = study.phase("retrieval", study.training_task(task).name).evaluate_every
        refuse(evaluated, "training.retrieval.evaluate_every: dual encoders keep their last weights; set it 0")


def input_kinds(study: Study) -> set[str]:
    """Which of ``training.max_length`` the runs of the study heed."""
    runs = [study.intermediate_run(name) for name in study.intermediate]
    names = [*study.all_targets, *(name for run in runs for name in run.tasks)]
    kinds = {study.task(name).kind for name in names}
    if any(run.mlm for run in runs):
        kinds.add("mlm")
    return kinds | {"retrieval"} if kinds & set(RETRIEVAL_KINDS) else kinds


def check_lengths(study: Study, longest: int, encoder: str) -> None:
    """UserError where inputs may be longer than the ``encoder`` takes: ``longest`` tokens, 0 for any number."""
    kinds = input_kinds(study)
    for kind, length in study.training.max_length.model_dump().items():
        too_long = kind in kinds and longest and length > longest
        refuse(too_long, f"training.max_length.{kind}: {length} tokens, and {encoder} takes {longest} at most")


def check_folders(study: Study) -> None:
    """Make the folders that a study writes to. UserError where they cannot be written."""
    for key, folder in (("runs", study.folder), ("runs", study.own_folder), ("figures", study.figures_folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(2**20))  # a run writes more
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            remedy = f"expected a folder with space to write: free some, or name another folder under {key}:"
            raise UserError(f"{study.path}: {key}: {folder} cannot be written ({error.strerror}); {remedy}") from None


def refused_pairs(
    trained: Iterable[str],
    targets: Iterable[str],
    read_from: Mapping[str, str],
    tasks: Mapping[str, Task] = TASKS,
    parted: Iterable[str] = (),
) -> list[str]:
    """Why a set must not be trained on and a target scored in one study of the files source, one line a pair.

    ``read_from`` names the split that the training rows of a task come from where it is not "train" (a study may train
    on part of a published development set). A target's own development set in one language holds translations of what
    is scored in the others, where the languages are not ``independent``, unless it is ``parted`` by the same rows in
    every language; the parts of a set in one language share no rows (FilesSettings sees to that).
    """
    refused = []
    for name in trained:
        task, split = tasks[name], read_from.get(name, "train")
        shared = set(task.files[split].overlaps) if split in task.files else set()
        if len(task.languages) > 1 and split != "train" and not task.independent and name not in parted:
            shared.add(name)
        reason = f"(its {split} set shares them, perhaps as translations); drop one of the two"
        pairs = [f'"{name}" would be trained on examples that "{target}"' for target in targets if target in shared]
        refused += [f"{pair} is scored on {reason}" for pair in pairs]
    return refused


def _tuned_retrieval(study: Study) -> list[Task]:
    """Retrieval targets that an encoder is tuned for."""
    tuned = [further for further in study.further.values() if set(further.training_languages) != {UNTRAINED}]
    targets = [study.task(name) for further in tuned for name in further.targets]
    return [task for task in targets if task.kind in RETRIEVAL_KINDS]


def _check_training(study: Study) -> None:
    """Further trainings of phase 3: runs, targets and training languages that there are, and those that the question
    of the study needs; training sets that fit their targets."""
    jobs = [part for name in study.further for part in study.parts(name)]
    for name, further in study.further.items():
        key = f"further.{name}"
        shared = any(jobs.count(part) > 1 for part in study.parts(name))
        refuse(shared, f"{key}: another bundle gives its jobs the same name; take another")
        refuse(name in study.bundles(), f"{key}: a bundle of the study's own has that name; take another")
        for run in further.runs:
            known = study.intermediate
            refuse(run not in known, f'{key}.runs: "{run}" is no run of the study{nearest(run, known)}')
        for field in ("targets", "training_languages", "examples"):
            refuse(_repeated(getattr(further, field)), f"{key}.{field}: something stands twice")
        languages = set(further.training_languages)
        for target in further.targets:
            with located(f"{key}.targets"):
                task = study.task(target)
            untrained = UNTRAINED in languages and task.kind not in RETRIEVAL_KINDS
            refuse(untrained, f'{key}.training_languages: "untrained" is for retrieval; {target} must be trained')
            remedy = "give it training_languages: [untrained] or name another under training_sets"
            untrainable = study.training_task(task).kind in ("parallel", "mining") and languages != {UNTRAINED}
            refuse(untrainable, f"{key}.targets: {target} has no training set; {remedy}")
        codes = languages - {SOURCE, EACH, ALL, TRANSLATED, UNTRAINED}
        _check_languages(study, f"{key}.training_languages", sorted(codes))
    if study.question == "source-language":
        message = 'question: "source-language" is asked of tydiqa: name it among the targets'
        refuse("tydiqa" not in study.targets, message)
    if study.question == "distance":
        direct = study.further.get(DIRECT)
        absent = not direct or NONE not in direct.runs or EACH not in direct.training_languages
        remedy = f"add a bundle of that name with runs: [{NONE}] and training_languages: [{SOURCE}, {EACH}]"
        refuse(absent, f"further.{DIRECT}: the question of distance compares with direct tuning: {remedy}")
        unknown = study.source != "micro" and study.source_language != "en"
        refuse(unknown, f'source_language: "{study.source_language}": distances are known from en alone')
    if study.question == "retrieval":
        kinds = {study.task(name).kind for further in study.further.values() for name in further.targets}
        message = "asked of further retrieval targets: add a bundle with targets: [tatoeba] or the like"
        refuse(kinds.isdisjoint(RETRIEVAL_KINDS), f"further: the question of retrieval is {message}")
    for target, name in study.training_sets.items():
        key = f"training_sets.{target}"
        refuse(target not in study.all_targets, f"{key}: not a target{nearest(target, study.all_targets)}")
        with located(key):
            task = study.task(name)
        labels = study.task(target).labels
        kind = study.task(study.task(target).training_set).kind  # of retrieval, that of its own is span
        refuse(task.kind != kind, f'{key}: "{name}" is a {task.kind} task, {target} needs a {kind} one')
        differ = f'the labels of "{name}" are {", ".join(task.labels)}, those of {target} {", ".join(labels)}'
        refuse(kind == "classification" and task.labels != labels, f"{key}: {differ}")


def _check_languages(study: Study, key: str, codes: Iterable[str]) -> None:
    known = study.micro.languages
    for code in codes:
        unknown = study.source == "micro" and code not in known
        others = "the study micro has it" if code in LANGUAGE_CODES else "of real text: the studies files and xtreme"
        refuse(unknown, f'{key}: unknown language "{code}" ({others}){nearest(code, known)}')
        # it becomes part of folders' names
        refuse(not LANGUAGE.fullmatch(code), f'{key}: "{code}" is no language code; expected one such as en or zh')
