"""Trainings of phase 3: the set that a target's model is tuned on and the languages it is scored in.

Written ``target[@language][=examples]``: ``xnli`` is tuned on the whole source-language set and scored zero-shot,
``xnli@qab`` on the training set in another language (direct target-language tuning), ``xnli@all`` on every
language's, ``xnli=100`` and ``xnli@qab=100`` on a hundred examples. A retrieval target is the encoder as it is;
``lareqa@source`` one tuned for retrieval in the source language.
"""

from dataclasses import dataclass

from xstilts.errors import UserError
from xstilts.locations import MANY
from xstilts.settings import ALL, EACH, SOURCE, UNTRAINED, FurtherSettings, PhaseSettings
from xstilts.sources import Source
from xstilts.study import Study
from xstilts.tasks import POOL, RETRIEVAL_KINDS, TRANSLATED, Task, get


@dataclass(frozen=True)
class Tuning:
    """One training of phase 3. ``language``: a code, "all", "mt" or "source"; "" is a target's usual training, the
    source language or, of a retrieval target, none. ``examples``: how many are drawn, 0 = the whole set."""

    target: str
    language: str = ""
    examples: int = 0
    own: bool = False  # scored in its training language alone
    min_steps: int = 0

    @property
    def name(self) -> str:
        """The folder of its results, and how messages name it."""
        return f"{self.target}{self._set}"

    def model(self, study: Study) -> str:
        """Name of the fine-tuned model, which targets with the same training set share."""
        return f"{'retrieval-' if self.retrieval else ''}{study.training_task(get(self.target)).name}{self._set}"

    @property
    def _set(self) -> str:
        return (f"@{self.language}" if self.language else "") + (f"={self.examples}" if self.examples else "")

    @property
    def retrieval(self) -> bool:
        return get(self.target).kind in RETRIEVAL_KINDS

    @property
    def untrained(self) -> bool:
        return self.retrieval and not self.language

    @property
    def training_language(self) -> str:
        """As in the column of that name: "source", "untrained", "all", "mt" or a code."""
        return self.language or (UNTRAINED if self.untrained else SOURCE)

    def phase(self, study: Study) -> PhaseSettings:
        """The settings it is trained with."""
        trained = study.training_task(get(self.target)).name
        phase = study.phase("retrieval" if self.retrieval else "target", trained)
        changed = {"examples": self.examples} if self.examples else {}
        return phase.model_copy(update={**changed, "min_steps": max(phase.min_steps, self.min_steps)})

    def training_sets(self, study: Study, source: Source) -> list[tuple[str, str]]:
        """(split, language) of what it is trained on."""
        languages = () if self.language in ("", SOURCE) else (self.language,)
        return training_sets(self.name, study.training_task(get(self.target)), languages, source)

    def languages(self, study: Study, source: Source) -> list[str]:
        """Languages it is scored in."""
        found = evaluation_languages(study, source, get(self.target))
        return [code for code in found if not self.own or code == self.language]


def tunings(study: Study, source: Source, bundle: str) -> list[Tuning]:
    """What one execution of ``3-targets.ipynb`` does, in order; of a further bundle's name, what all its parts do."""
    if bundle in study.bundles():
        return [Tuning(target) for target in study.bundles()[bundle]]
    name = next(name for name in study.further if bundle == name or bundle in study.parts(name))
    further = study.further[name]
    return [
        Tuning(target, code, examples, further.scored_in == "own" and code not in ("", SOURCE), further.min_steps)
        for target in further.targets
        if bundle in (name, f"{name}-{target}")
        for code in _languages(study, source, further, get(target))
        for examples in (further.examples if code or get(target).kind not in RETRIEVAL_KINDS else (0,))
    ]


def _languages(study: Study, source: Source, further: FurtherSettings, task: Task) -> list[str]:
    """Training languages of a further bundle for one target, "each" spelt out."""
    retrieval, found = task.kind in RETRIEVAL_KINDS, []
    for word in further.training_languages:
        if word == EACH:
            trained, scored = study.training_task(task), evaluation_languages(study, source, task)
            known = {*source.languages(trained, "train"), *source.languages(trained, TRANSLATED)}
            found += [code for code in scored if code in known and code != study.source_language]
        else:
            usual = UNTRAINED if retrieval else SOURCE
            found.append("" if word == usual else word)
    return list(dict.fromkeys(found))


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
                "lib/xstilts/sources/translations.py says where its files are looked for"
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
