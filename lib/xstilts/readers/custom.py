"""The files of a user's own task -> rows in the canonical columns of its kind; its declaration as a task."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from xstilts.errors import UserError
from xstilts.names import ALL, MULTI, NONE, SOURCE, UNTRAINED
from xstilts.readers.pairs_and_choices import has_gold, read, whole
from xstilts.readers.records import csv_records, get, json_lines, label_name, strings
from xstilts.readers.tagging import CHUNK_TAG
from xstilts.settings import OwnTask
from xstilts.tasks import TASKS, TRANSLATED, Task

TAKEN = {*TASKS, MULTI, NONE, ALL, TRANSLATED, SOURCE, UNTRAINED, "mlm", "macro", "mean"}
SCHEMES = ("BIO", "BIOES", "BILOU", "BMESO")  # of chunks, by the letters that tags begin with


def declare(own: dict[str, OwnTask], root: Path, source_language: str) -> dict[str, Task]:
    """The tasks that settings describe, by name; labels that they do not state are read from the training file.
    ``root``: what paths are relative to. UserError naming the key, or file and line."""
    tasks = {}
    for name, settings in own.items():
        if name in TAKEN:
            raise UserError(f'own.{name}: "{name}" means something else already; take another name')
        for key, path in (("train", settings.train), ("dev", settings.dev)):
            if path and not (root / path).is_file():
                raise UserError(f"own.{name}.{key}: no file {root / path} (paths are relative to the project's folder)")
        labels, count = tuple(map(label_name, settings.labels)), len(settings.choices)
        if count == 1:
            if not settings.train.endswith(".jsonl"):
                problem = "name the columns to choose from, two or more, or one of a .jsonl file that holds lists"
                raise UserError(f"own.{name}.choices: {problem}, not {settings.choices[0]} alone")
            count = len(rows(settings, root / settings.train, ())[0]["choices"])
        if settings.kind in ("classification", "tagging") and not labels:
            labels = _labels(settings, root / settings.train)
        if settings.kind == "classification" and len(labels) < 2:
            raise UserError(f"own.{name}: one label, {labels[0]}: nothing is to be told apart")
        scorer = _scorer(settings, root / settings.train, labels) if settings.kind == "tagging" else "squad"
        tagging = ("f1", "accuracy") if scorer == "chunks" else ("accuracy", "f1")
        metrics = {"span": ("f1", "exact_match"), "tagging": tagging}
        tasks[name] = Task(
            name, settings.kind, settings.title or name, metrics.get(settings.kind, ("accuracy",)), labels,
            tuple(test_files(name, settings, root)) or (source_language,), scorer=scorer, choices=count,
        )  # fmt: skip
    return tasks


def _scorer(settings: OwnTask, path: Path, labels: tuple[str, ...]) -> str:
    """How F1 of these tags is counted: "chunks" where most are tags of a scheme, else "words". UserError for tags of no
    scheme among them, at their line, and for letters of several schemes."""
    tags = {*labels} - {"O"}
    chunks = {tag for tag in tags if CHUNK_TAG.fullmatch(tag)}
    if 2 * len(chunks) < len(tags) or not tags:
        return "words"
    rows(settings, path, (*sorted(chunks), "O"))  # refuses the others
    letters = {tag[0] for tag in chunks}
    if not any(letters <= {*scheme} for scheme in SCHEMES):
        known = ", ".join(SCHEMES)
        raise UserError(f"{path}: tags begin with {', '.join(sorted(letters))}, which is none of the schemes {known}")
    return "chunks"


def rare_tags(name: str, settings: OwnTask, root: Path) -> list[str]:
    """Tags that stand once in the training file of a tagging task, at most five, each with its line there."""
    path, notes = root / settings.train, []
    counts = Counter(tag for row in rows(settings, path, ()) for tag in row["tags"])
    for rare in [tag for tag, count in counts.items() if count == 1 and len(counts) > 1][:5]:
        try:
            rows(settings, path, tuple(tag for tag in counts if tag != rare))
        except UserError as error:
            origin = str(error).partition(": tag ")[0]
            notes.append(f'{name}: {origin}: the tag "{rare}" stands once in the training file; is it meant?')
    return notes


def test_files(name: str, settings: OwnTask, root: Path) -> dict[str, Path]:
    """Language -> its test file, by code; {} where the task has none."""
    if isinstance(settings.test, str) and settings.test:
        head, *parts = settings.test.split("{language}")
        folder, before = (root / f"{head}x").parent, head.rpartition("/")[2]
        pattern = re.escape(before) + "([A-Za-z]+(?:-[A-Za-z0-9]+)*)" + r"\1".join(map(re.escape, parts))
        files = {}
        for path in sorted(folder.glob("/".join("*" * (1 + "".join(parts).count("/"))))):
            match = re.fullmatch(pattern, str(path.relative_to(folder)))
            # train.csv may lie beside en.csv
            if match and path.is_file() and path not in (root / settings.train, root / settings.dev):
                files[match[1]] = path
        if not files:
            raise UserError(f"own.{name}.test: no file matches {root / settings.test}")
        return files
    files = {code: root / path for code, path in sorted((settings.test or {}).items())}
    for code, path in files.items():
        if not path.is_file():
            raise UserError(f"own.{name}.test.{code}: no file {path} (paths are relative to the project's folder)")
    return files


def rows(settings: OwnTask, path: Path, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every row of a file. UserError naming file, line and column for what is malformed, empty or without gold."""
    if reader := {"tagging": "tagged", "span": "squad"}.get(settings.kind):
        examples = read(reader, path, labels)
        if not has_gold(examples[0]):
            gold = "tags" if settings.kind == "tagging" else "answers"
            raise UserError(f"{path}: no gold; expected {gold} throughout")
        return examples
    return whole(path, _numbered(settings, path, labels))


def _numbered(settings: OwnTask, path: Path, labels: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    read_record = _classification if settings.kind == "classification" else _choice
    for number, (origin, record) in enumerate(_records(settings, path), 1):
        identity = _label(record, settings.id, origin) if settings.id else str(number)
        yield origin, {"id": identity, **read_record(settings, record, labels, origin)}


def _records(settings: OwnTask, path: Path) -> Iterator[tuple[str, dict]]:
    if path.suffix == ".jsonl":
        return json_lines(path)
    if path.suffix not in (".csv", ".tsv", ".txt"):
        raise UserError(f'{path}: expected a file that ends in .csv, .tsv, .txt or .jsonl, this one in "{path.suffix}"')
    texts = settings.choices if settings.kind == "choice" else (settings.text_a, settings.text_b)
    named = [*filter(None, (settings.id, settings.context, settings.question, settings.label, *texts))]
    numbers = named if all(map(str.isdecimal, named)) else ()
    return csv_records(path, numbers, "," if path.suffix == ".csv" else "\t")


def _text(record: dict, column: str, origin: str) -> str:
    """The text of a column, which may be empty: ``features.learnable`` leaves such rows out of training."""
    return str(get(record, column, (str, int), origin)) if column else ""


def _label(record: dict, column: str, origin: str) -> str:
    label = label_name(_text(record, column, origin))
    if not label:
        raise UserError(f'{origin}: column "{column}" is empty; fill it in or leave the row out')
    return label


def _classification(settings: OwnTask, record: dict, labels: tuple[str, ...], origin: str) -> dict[str, Any]:
    label = _label(record, settings.label, origin)
    # names that are stated are in the order of their numbers
    known = [*labels, *(map(str, range(len(labels))) if settings.labels and not labels[0].isdecimal() else ())]
    if label not in known:
        names = ", ".join(f"the name of {name}" if name.isdecimal() else name for name in labels)
        hint = f"; if numbers stand for names, write labels: [{names}], that of 0 first"
        problem = f'column "{settings.label}" says "{label}", none of training\'s {", ".join(labels)}'
        raise UserError(f"{origin}: {problem}{hint if label.isdecimal() != labels[0].isdecimal() else ''}")
    texts = {"text_a": _text(record, settings.text_a, origin), "text_b": _text(record, settings.text_b, origin)}
    return {**texts, "label": known.index(label) % len(labels)}


def _choice(settings: OwnTask, record: dict, labels: tuple[str, ...], origin: str) -> dict[str, Any]:
    label, names = _label(record, settings.label, origin), [*map(label_name, settings.choices)]
    if len(names) == 1:  # a column of lists
        choices = strings(record, settings.choices[0], origin)
        names = [f"{names[0]}[{number}]" for number in range(len(choices))]
        if len(names) < 2:
            raise UserError(
                f'{origin}: "{settings.choices[0]}" holds {len(names)}, expected two or more to choose from'
            )
    else:
        choices = [_text(record, column, origin) for column in settings.choices]
    known = [*names, *map(str, range(len(names))), *ascii_uppercase[: len(names)]]
    if label not in known:
        raise UserError(f'{origin}: column "{settings.label}" says "{label}"; expected one of {", ".join(known)}')
    texts = {name: _text(record, getattr(settings, name), origin) for name in ("context", "question")}
    return {**texts, "choices": choices, "label": known.index(label) % len(names)}


def _labels(settings: OwnTask, path: Path) -> tuple[str, ...]:
    """Labels or tags of a training file, numbers in their order. UserError for a column that is none of labels."""
    tagging = settings.kind == "tagging"
    if tagging:
        values = [tag for row in rows(settings, path, ()) for tag in row["tags"]]
    else:
        values = [_label(record, settings.label, origin) for origin, record in _records(settings, path)]
    numbers = not tagging and all(re.fullmatch(r"-?[0-9]{1,9}", value) for value in values)
    labels = sorted(set(values), key=int if numbers else None)
    if len(labels) > (2000 if tagging else 200) or (len(labels) > 20 and len(labels) > len(values) / 2):
        column, unit = ("that of tags", "words") if tagging else (f'"{settings.label}"', "rows")
        counts = f"{len(labels)} different values in {len(values)} {unit}"
        raise UserError(f"{path}: column {column} holds {counts}, which are no labels: is another one meant?")
    if not values:
        raise UserError(f"{path}: holds no examples")
    return tuple(labels)
