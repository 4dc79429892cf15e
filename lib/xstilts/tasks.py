"""Every task of the study, declared once.

A task says what it is (kind, labels in order, metrics), which set trains it, and where the
original distribution keeps its files. Nothing here loads data: :mod:`xstilts.sources` does.
"""

from dataclasses import dataclass, field

from .errors import UserError, nearest

KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining")
RETRIEVAL_KINDS = ("parallel", "mining")  # no head, no training: pooled encoder states

NLI = ("entailment", "neutral", "contradiction")
UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
WIKIANN = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


@dataclass(frozen=True)
class Files:
    """Where a split of a task lies below the data folder.

    ``path`` may hold ``{language}``; ``codes`` maps our language codes to the ones in file names;
    ``languages`` limits the set when the path names none; ``overlaps`` names targets whose test
    articles this set contains, so that training on it and scoring them is refused.
    """

    reader: str
    path: str
    languages: tuple[str, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)
    overlaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One task. ``labels`` is the label order of the head; empty for tasks whose labels come from
    their training data (supertags) or that have none (span, choice, retrieval).

    ``metrics``: the main one first; several are averaged into the XTREME score of the task.
    ``trained_on``: the task whose training split trains this one ("" = its own).
    ``scorer``: "squad" or "mlqa" answer normalisation (span kind only).
    """

    name: str
    kind: str
    title: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    trained_on: str = ""
    scorer: str = "squad"
    files: dict[str, Files] = field(default_factory=dict)
    citation: str = ""

    @property
    def training_set(self) -> str:
        """Name of the task whose training split trains this one."""
        return self.trained_on or self.name
