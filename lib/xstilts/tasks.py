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


_QA = ("f1", "exact_match")
_XNLI = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())
_PAWSX = tuple("de en es fr ja ko zh".split())
_UDPOS = tuple(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh".split()
)
_PANX = tuple(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl "
    "tr ur vi yo zh".split()
)
_XQUAD = tuple("ar de el en es hi ru th tr vi zh".split())
_MLQA = tuple("ar de en es hi vi zh".split())
_TYDIQA = tuple("ar bn en fi id ko ru sw te".split())
_BUCC = tuple("de fr ru zh".split())
_TATOEBA = tuple(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh".split()
)
_XCOPA = tuple("et ht id it qu sw ta th tr vi zh".split())

TASKS = {
    task.name: task
    for task in (
        Task("anli", "classification", "ANLI+", ("accuracy",), NLI),
        Task("mnli", "classification", "MNLI", ("accuracy",), NLI),
        Task("qqp", "classification", "QQP", ("accuracy",), ("0", "1")),
        Task("squad2", "span", "SQuAD v2.0", _QA),
        Task("squad1", "span", "SQuAD v1.1", _QA),
        Task("hellaswag", "choice", "HellaSwag", ("accuracy",)),
        Task("ccg", "tagging", "CCG", ("accuracy",)),
        Task("cosmosqa", "choice", "Cosmos QA", ("accuracy",)),
        Task("csqa", "choice", "CommonsenseQA", ("accuracy",)),
        Task("xnli", "classification", "XNLI", ("accuracy",), NLI, _XNLI, "mnli"),
        Task("pawsx", "classification", "PAWS-X", ("accuracy",), ("0", "1"), _PAWSX),
        Task("udpos", "tagging", "UDPOS", ("f1", "accuracy"), UPOS, _UDPOS),
        Task("panx", "tagging", "PANX", ("f1",), WIKIANN, _PANX),
        Task("xquad", "span", "XQuAD", _QA, (), _XQUAD, "squad1"),
        Task("mlqa", "span", "MLQA", _QA, (), _MLQA, "squad1", "mlqa"),
        Task("tydiqa", "span", "TyDiQA", _QA, (), _TYDIQA),
        Task("bucc", "mining", "BUCC", ("f1",), (), _BUCC),
        Task("tatoeba", "parallel", "Tatoeba", ("accuracy",), (), _TATOEBA),
        Task("xcopa", "choice", "XCOPA", ("accuracy",), (), _XCOPA, "copa"),
        Task("copa", "choice", "COPA", ("accuracy",)),
    )
}
INTERMEDIATE = ("anli", "mnli", "qqp", "squad2", "squad1", "hellaswag", "ccg", "cosmosqa", "csqa")
TARGETS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba", "xcopa")


def get(name: str) -> Task:
    """The task of that name; UserError with the nearest name for an unknown one."""
    if name not in TASKS:
        raise UserError(f'unknown task "{name}"{nearest(name, TASKS)}')
    return TASKS[name]


def refused_pairs(trained: list[str], targets: tuple[str, ...]) -> list[str]:
    """Why a set must not be trained on and a target scored in one study of the files source, one line a pair."""
    return [
        f'"{name}" is trained on articles that "{target}" is scored on; drop one of them'
        for name in trained
        if "train" in TASKS[name].files
        for target in targets
        if target in TASKS[name].files["train"].overlaps
    ]
