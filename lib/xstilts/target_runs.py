"""Runs on a target in phase 3: the training set that a target's model is tuned on, the languages it is scored in.

Named ``target[@language][=examples]``: ``xnli`` is tuned on the whole source-language set and scored zero-shot,
``xnli@qab`` on the training set in another language (direct target-language tuning), ``xnli@all`` on every
language's, ``xnli=100`` and ``xnli@qab=100`` on a hundred examples. A retrieval target is the encoder as it is;
``lareqa@source`` one tuned for retrieval in the source language.
"""

from dataclasses import dataclass
from typing import Any

from xstilts.errors import UserError
from xstilts.locations import MANY
from xstilts.names import ALL, EACH, NONE, SOURCE, STEPS, UNTRAINED, target_run_name
from xstilts.settings import FurtherSettings, PhaseSettings, Study
from xstilts.sources import Source
from xstilts.tasks import POOL, RETRIEVAL_KINDS, TRANSLATED, Task


@dataclass(frozen=True)
class TargetRun:
    """One training of phase 3 and its scores. ``language``: a code, "all", "mt" or "source"; "" is a target's usual
    training, the source language or, of a retrieval target, none. ``examples``: how many are drawn, 0 = the whole
    set. ``own``: scored in its training language alone."""

    task: Task
    language: str = ""
    examples: int = 0
    own: bool = False
    min_steps: int = 0

    @property
    def target(self) -> str:
        """Name of the target task."""
        return self.task.name

    @property
    def name(self) -> str:
        """The folder of its results, and how messages name it."""
        return target_run_name(self.target, self.language, self.examples)

    def model(self, study: Study) -> str:
        """Name of the fine-tuned model, which targets with the same training set share."""
        training_set = study.training_task(self.task).name
        name = f"retrieval-{training_set}" if self.retrieval else training_set
        return target_run_name(name, self.language, self.examples)

    @property
    def retrieval(self) -> bool:
        return self.task.kind in RETRIEVAL_KINDS

    @property
    def untrained(self) -> bool:
        return self.retrieval and not self.language

    @property
    def training_language(self) -> str:
        """As in the column of that name: "source", "untrained", "all", "mt" or a code."""
        return self.language or (UNTRAINED if self.untrained else SOURCE)

    def phase(self, study: Study, intermediate: str = NONE) -> PhaseSettings:
        """The settings it is trained with after an intermediate run. After ``none+steps`` as many steps, or epochs,
        are added as phase 2 takes, and no patience ends them early."""
        phase = study.phase("retrieval" if self.retrieval else "target", study.training_task(self.task).name)
        changed: dict[str, Any] = {"examples": self.examples} if self.examples else {}
        if intermediate == STEPS and not self.retrieval:
            added = study.training.intermediate
            changed |= {"steps": phase.steps + added.steps, "epochs": phase.epochs + added.epochs, "patience": 0}
        return phase.model_copy(update={**changed, "min_steps": max(phase.min_steps, self.min_steps)})

    def training_sets(self, study: Study, source: Source) -> list[tuple[str, str]]:
        """(split, language) of what it is trained on."""
        languages = () if self.language in ("", SOURCE) else (self.language,)
        return training_sets(self.name, study.training_task(self.task), languages, source)

    def languages(self, study: Study, source: Source) -> list[str]:
        """Languages it is scored in."""
        languages = evaluation_languages(study, source, self.task)
        return [code for code in languages if not self.own or code == self.language]


def target_runs(study: Study, source: Source, bundle: str) -> list[TargetRun]:
    """What one execution of ``3-targets.ipynb`` does, in order; of a further bundle's name, what all its parts do."""
    if bundle in study.bundles():
        return [TargetRun(study.task(target)) for target in study.bundles()[bundle]]
    name = next(name for name in study.further if bundle == name or bundle in study.parts(name))
    further = study.further[name]
    runs = []
    for task in [study.task(target) for target in further.targets if bundle in (name, f"{name}-{target}")]:
        for language in _training_languages(study, source, further, task):
            own = further.scored_in == "own" and language not in ("", SOURCE)
            untrained = task.kind in RETRIEVAL_KINDS and not language
            for examples in (0,) if untrained else further.examples:
                runs.append(TargetRun(task, language, examples, own, further.min_steps))
    return runs


def _training_languages(study: Study, source: Source, further: FurtherSettings, task: Task) -> list[str]:
    """Training languages of a further bundle for one target, "each" spelt out; "" is the usual one."""
    usual = UNTRAINED if task.kind in RETRIEVAL_KINDS else SOURCE
    languages = []
    for word in further.training_languages:
        if word == EACH:
            sets = [source.languages(study.training_task(task), split) for split in ("train", TRANSLATED)]
            scored = evaluation_languages(study, source, task)
            languages += [code for code in scored if code in {*sets[0], *sets[1]} - {study.source_language}]
        else:
            languages.append("" if word == usual else word)
    return list(dict.fromkeys(languages))


def training_sets(name: str, task: Task, languages: tuple[str, ...], source: Source) -> list[tuple[str, str]]:
    """(split, language) of what a training ``name`` of ``task`` reads: its own training set where it has one in a
    language, else the machine-translated one; () is the source language, ("all",) every one, ("mt",) the translated
    ones alone. UserError for "mt" of a task without any."""
    if not languages:
        return [("train", source.source_language)]
    own, translated = source.languages(task, "train"), source.languages(task, TRANSLATED)
    if languages == (TRANSLATED,):
        if not translated:
            raise UserError(
                f'"{name}": no machine-translated training set of "{task.name}" is at hand; '
                "docs/your-data.md says where its files are looked for"
            )
        return [(TRANSLATED, code) for code in translated]
    codes = dict.fromkeys([*own, *translated]) if languages == (ALL,) else languages
    return [("train" if code in own else TRANSLATED, code) for code in codes]


def evaluation_split(source: Source, task: Task) -> str:
    """ "test" where the source has one with gold labels, else "dev"."""
    return "test" if source.languages(task, "test") else "dev"


def pool_languages(study: Study, source: Source, task: Task) -> list[str]:
    """Languages that the candidates of a ranking task are loaded in: the study's, or all of a pool that is not
    parted by language."""
    known = source.languages(task, POOL) if task.kind == "ranking" else []
    return [code for code in known if code in (*(study.languages or known), MANY)]


def evaluation_languages(study: Study, source: Source, task: Task) -> list[str]:
    """Languages a target is scored in: those of the study that the source has, source language first."""
    available = source.languages(task, evaluation_split(source, task))
    return [language for language in available if not study.languages or language in study.languages]
