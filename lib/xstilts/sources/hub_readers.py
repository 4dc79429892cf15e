"""Readers: one record of a hub dataset -> a row in the canonical columns of its kind.

A record is a dict with the names of class labels in the place of their numbers, where the file states the
names; else the numbers, which then count the task's own labels. A reader gives None for a record without gold
(SNLI's label -1) or without words; where the record has no id of its own, the row has none either.
"""

from collections.abc import Callable
from typing import Any

from ..errors import UserError
from .rawfiles import UNLABELLED, index_of
from .readers import COPA_QUESTIONS, continued

Record = dict[str, Any]
Reader = Callable[[Record, tuple[str, ...], str], Record | None]
ALIASES = {"not_duplicate": "0", "duplicate": "1", "contradictory": "contradiction"}  # QQP's names; some XNLI copies'


def _label(value: Any, known: tuple, where: str) -> int:
    """Index of a label that is a name, or its number, or none (None, "", -1)."""
    if isinstance(value, int):
        if not UNLABELLED <= value < len(known):
            raise UserError(f"{where}: label {value}, expected 0 to {len(known) - 1}, or {UNLABELLED} for none")
        return value
    return index_of(ALIASES.get(value, value), known, where)


def _pairs(text_a: str, text_b: str, label: str) -> Reader:
    def read(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
        found = _label(record[label], labels, where)
        return None if found == UNLABELLED else {"text_a": record[text_a], "text_b": record[text_b], "label": found}

    return read


def _tagged(column: str) -> Reader:
    def read(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
        tags = [labels[_label(tag, labels, where)] for tag in record[column]]
        if len(tags) != len(record["tokens"]):
            raise UserError(f"{where}: {len(record['tokens'])} tokens and {len(tags)} tags")
        return {"tokens": record["tokens"], "tags": tags} if tags else None

    return read


def _span(unanswerable: bool) -> Reader:
    def read(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
        answers = {name: list(record["answers"][name]) for name in ("text", "answer_start")}
        if not answers["text"] and not unanswerable:
            return None
        row = {name: record[name] for name in ("id", "context", "question")}
        return {**row, "answers": answers, "is_impossible": not answers["text"]}

    return read


def _choice(context: str, question: str, choices: list[str], label: int) -> Record | None:
    row = {"context": context, "question": question, "choices": choices, "label": label}
    return None if label == UNLABELLED else row


def _hellaswag(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    known = tuple(str(number) for number in range(len(record["endings"])))
    choices = continued(record["ctx_b"], record["endings"])
    return _choice(record["ctx_a"], "", choices, _label(record["label"], known, where))


def _cosmosqa(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    choices = [record[f"answer{number}"] for number in range(4)]
    row = _choice(record["context"], record["question"], choices, _label(record["label"], tuple("0123"), where))
    return row and {"id": record["id"], **row}


def _commonsenseqa(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    choices = dict(sorted(zip(record["choices"]["label"], record["choices"]["text"], strict=True)))
    label = index_of(record["answerKey"], tuple(choices), where, "answerKey")
    row = _choice("", record["question"], list(choices.values()), label)
    return row and {"id": record["id"], **row}


def _socialiqa(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    choices = [record[f"answer{letter}"] for letter in "ABC"]
    return _choice(record["context"], record["question"], choices, index_of(record["label"], tuple("123"), where))


def _copa(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    if record["question"] not in COPA_QUESTIONS:
        raise UserError(f'{where}: question "{record["question"]}" is neither cause nor effect')
    choices, label = [record["choice1"], record["choice2"]], _label(record["label"], ("choice1", "choice2"), where)
    row = _choice(record["premise"], COPA_QUESTIONS[record["question"]], choices, label)
    return row and {"id": str(record["idx"]), **row}


def _tatoeba(record: Record, labels: tuple[str, ...], where: str) -> Record | None:
    """English is the query, whichever side it stands on; XTREME's copy keeps the line ends of its files."""
    sides = {name: (record[f"{name}_lang"], record[f"{name}_sentence"].rstrip("\r\n")) for name in ("source", "target")}
    english = [name for name, (code, _) in sides.items() if code in ("eng", "en")]
    if len(english) != 1:
        raise UserError(
            f"{where}: source_lang and target_lang are {[code for code, _ in sides.values()]}; one must be eng"
        )
    foreign = "target" if english == ["source"] else "source"
    return {"query": sides[english[0]][1], "candidate": sides[foreign][1]}


READERS: dict[str, Reader] = {
    "nli": _pairs("premise", "hypothesis", "label"),
    "xnli": _pairs("sentence1", "sentence2", "gold_label"),
    "pawsx": _pairs("sentence1", "sentence2", "label"),
    "qqp": _pairs("question1", "question2", "label"),
    "udpos": _tagged("pos_tags"),
    "panx": _tagged("ner_tags"),
    "squad": _span(unanswerable=False),
    "squad2": _span(unanswerable=True),
    "hellaswag": _hellaswag,
    "cosmosqa": _cosmosqa,
    "commonsenseqa": _commonsenseqa,
    "socialiqa": _socialiqa,
    "copa": _copa,
    "tatoeba": _tatoeba,
}
