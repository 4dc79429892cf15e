"""The names of intermediate runs, and of runs on a target: their grammar is known here alone.

An intermediate run is named ``task[+task…][+mlm][+shuffled][@language[,language…]][=examples]``: "mnli+mlm@de=3000".
Two are controls: ``none+steps`` trains each target for as much longer as phase 2 takes, "mnli+shuffled" learns labels
in random order.
A target run is named ``target[@language][=examples]``: "xnli@qab=100".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xstilts.errors import UserError, located, nearest, refuse
from xstilts.tasks import INTERMEDIATE, RETRIEVAL_KINDS, TASKS, TRANSLATED, Task

NONE = "none"  # no phase 2: the baseline that every gain is measured from
STEPS = "none+steps"  # no phase 2, and a phase 3 that is longer by it
BASELINES = (NONE, STEPS)  # what starts from the encoder of phase 1
MULTI = "multi"  # all nine intermediate tasks at once
MLM = "+mlm"  # among the overrides: every run with masked LM mixed in
SHUFFLED = "+shuffled"
ALL = "all"  # after an @: every language that a task has a training set in
SOURCE, UNTRAINED, EACH = "source", "untrained", "each"  # training languages of phase 3 that are no codes
DIRECT = "direct"  # the further bundle of the question of distance: tuning on the language that is scored

TASK_NAME = r"^[a-z][a-z0-9]{0,39}$"
RUN_NAME = re.compile(
    r"(?P<tasks>[a-z0-9]+(\+[a-z0-9]+)*)(@(?P<languages>[A-Za-z-]+(,[A-Za-z-]+)*))?(=(?P<examples>[1-9][0-9]{0,8}))?"
)
LONGEST_RUN = 200  # characters: a run's name is a folder's


@dataclass(frozen=True)
class IntermediateRun:
    """What phase 2 is trained on.

    ``languages``: () is the source language; ("mt",) every machine-translated training set of the tasks, without the
    source language; ("all",) every language, translated where a task has no set of its own. ``examples``: so many of
    each task, drawn from all the languages together; 0 = as many as the phase's settings say. ``shuffled``: each
    with the label of another.
    """

    name: str
    tasks: tuple[str, ...]
    mlm: bool = False
    languages: tuple[str, ...] = ()
    examples: int = 0
    shuffled: bool = False


def parse_run(name: str, tasks: Mapping[str, Task] | None = TASKS) -> IntermediateRun:
    """Parse the name of an intermediate run on ``tasks``; None for a name from a study, whose tasks were checked.
    UserError for a name that is none."""

    if len(name) > LONGEST_RUN:
        problem = f"{len(name)} characters; its name is a folder's: {LONGEST_RUN} at most"
        raise UserError(f'intermediate run "{name[:40]}…": {problem}')
    with located(f'intermediate run "{name}"'):
        if not (match := RUN_NAME.fullmatch(name)):
            raise UserError("expected task[+task…][+mlm][+shuffled][@language[,language…]][=examples]")
        if name == STEPS:
            return IntermediateRun(name, ())
        parts = match["tasks"].split("+")
        shuffled = parts[-1] == SHUFFLED[1:]
        parts = parts[:-1] if shuffled else parts
        languages = tuple(match["languages"].split(",")) if match["languages"] else ()
        mlm = parts[-1:] == [MLM[1:]]
        named = parts[:-1] if mlm else parts
        if tasks is not None:
            for part in named:
                if part not in (*tasks, MULTI, NONE):
                    raise UserError(f'unknown task "{part}"{nearest(part, [*tasks, MULTI, NONE])}')
                retrieval = part in tasks and tasks[part].kind in RETRIEVAL_KINDS
                refuse(retrieval, f'"{part}" is a retrieval set; nothing trains on it')
        refuse(NONE in named and name != NONE, '"none" stands alone')
        refuse(len(set(named)) < len(named) or len(set(languages)) < len(languages), "names something twice")
        refuse(not named, '"mlm" and "shuffled" are of a task, as in "mnli+mlm"')
        for word, meaning in ((ALL, "every language"), (TRANSLATED, "every translated language")):
            refuse(word in languages and len(languages) > 1, f'"{word}" already holds {meaning}')
        refuse(MULTI in named and len(named) > 1, '"multi" already holds every intermediate task')
    trained = {MULTI: tuple(INTERMEDIATE), NONE: ()}.get(named[0], tuple(named))
    return IntermediateRun(name, trained, mlm, languages, int(match["examples"] or 0), shuffled)


def compared(runs: Iterable[str]) -> list[str]:
    """Of intermediate runs those that a study compares with ``none``: neither baselines nor controls."""
    return [run for run in runs if run not in BASELINES and SHUFFLED not in run]


def target_run_name(name: str, language: str, examples: int) -> str:
    """Name of a run on a target, or of a model trained on a training set: ``xnli@qab=100``."""
    return name + (f"@{language}" if language else "") + (f"={examples}" if examples else "")
