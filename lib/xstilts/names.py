"""The names of intermediate runs, and of runs on a target: their grammar is known here alone.

An intermediate run is named ``task[+task…][+mlm][@language[,language…]][=examples]``: "mnli+mlm@de=3000".
A target run is named ``target[@language][=examples]``: "xnli@qab=100".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xstilts.errors import UserError, nearest
from xstilts.tasks import INTERMEDIATE, RETRIEVAL_KINDS, TASKS, TRANSLATED, Task

NONE = "none"  # no phase 2: the baseline that every gain is measured from
MULTI = "multi"  # all nine intermediate tasks at once
MLM = "+mlm"  # among the overrides: every run with masked LM mixed in
ALL = "all"  # after an @: every language that a task has a training set in
SOURCE, UNTRAINED, EACH = "source", "untrained", "each"  # training languages of phase 3 that are no codes
DIRECT = "direct"  # the further bundle of the question of distance: tuning on the language that is scored

TASK_NAME = r"^[a-z][a-z0-9]{0,39}$"
RUN_NAME = r"[a-z0-9]+(\+[a-z0-9]+)*(@[A-Za-z-]+(,[A-Za-z-]+)*)?(=[1-9][0-9]{0,8})?"
LONGEST_RUN = 200  # characters: a run's name is a folder's


@dataclass(frozen=True)
class IntermediateRun:
    """What phase 2 is trained on.

    ``languages``: () is the source language; ("mt",) every machine-translated training set of the tasks, without the
    source language; ("all",) every language, translated where a task has no set of its own. ``examples``: so many of
    each task, drawn from all the languages together; 0 = as many as the phase's settings say.
    """

    name: str
    tasks: tuple[str, ...]
    mlm: bool = False
    languages: tuple[str, ...] = ()
    examples: int = 0


def parse_run(name: str, tasks: Mapping[str, Task] | None = TASKS) -> IntermediateRun:
    """Parse the name of an intermediate run on ``tasks``; None for a name from a study, whose tasks were checked.
    UserError for a name that is none."""

    def error(problem: str) -> UserError:
        return UserError(f'intermediate run "{name}": {problem}')

    if len(name) > LONGEST_RUN:
        problem = f"{len(name)} characters; its name is a folder's: {LONGEST_RUN} at most"
        raise UserError(f'intermediate run "{name[:40]}…": {problem}')
    if not re.fullmatch(RUN_NAME, name):
        raise error("expected task[+task…][+mlm][@language[,language…]][=examples]")
    body, _, examples = name.partition("=")
    head, _, tail = body.partition("@")
    parts = head.split("+")
    languages = tuple(tail.split(",")) if tail else ()
    mlm = parts[-1] == "mlm"
    named = parts[:-1] if mlm else parts
    if tasks is not None:
        for part in named:
            if part not in (*tasks, MULTI, NONE):
                raise error(f'unknown task "{part}"{nearest(part, [*tasks, MULTI, NONE])}')
            if part in tasks and tasks[part].kind in RETRIEVAL_KINDS:
                raise error(f'"{part}" is a retrieval set; nothing trains on it')
    if NONE in named and name != NONE:
        raise error('"none" stands alone')
    if len(set(named)) < len(named) or len(set(languages)) < len(languages):
        raise error("names something twice")
    if not named:
        raise error('"mlm" is mixed into a task, as in "mnli+mlm"')
    for word, meaning in ((ALL, "every language"), (TRANSLATED, "every translated language")):
        if word in languages and len(languages) > 1:
            raise error(f'"{word}" already holds {meaning}')
    if MULTI in named:
        if len(named) > 1:
            raise error('"multi" already holds every intermediate task')
        named = list(INTERMEDIATE)
    return IntermediateRun(name, () if name == NONE else tuple(named), mlm, languages, int(examples or 0))


def target_run_name(name: str, language: str, examples: int) -> str:
    """Name of a run on a target, or of a model trained on a training set: ``xnli@qab=100``."""
    return name + (f"@{language}" if language else "") + (f"={examples}" if examples else "")
