"""Readers: one file of an original distribution -> rows in the canonical columns of its kind.

Pairs and choices are read from records, dicts, whichever file they stand in (JSON lines, a table, parquet of the hub):
:data:`RECORD_READERS`. Each reader of files yields ``(origin, row)``; ``origin`` is ``file:line`` or, in SQuAD JSON,
``file: question id``, and every error names it. Files are UTF-8 (a byte-order mark is dropped), line ends LF or CRLF,
offsets count code points. Text is kept as it stands. Rows of a set published without gold have label -1, tags
None, no answers or no gold; a file with both sorts is an error.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from xstilts.errors import UserError
from xstilts.readers import records
from xstilts.readers.records import UNLABELLED, Rows, columns_of, get, id_of, index_of, label_name, lines_of, strings
from xstilts.readers.retrieval import entities, mentions, pairs
from xstilts.readers.spans import squad, translated_squad, xquad_r, xquad_r_questions, xquad_r_sentences
from xstilts.readers.tagging import auto, tagged

Record = dict[str, Any]


def read(reader: str, path: Path, labels: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All rows of a file. ``labels`` are the task's, in order; empty = any tag is allowed.

    Raises UserError for anything malformed, for an id that stands twice, for gold that is missing in
    some rows only, and for a file without examples.
    """
    return whole(path, READERS[reader](path, labels), reader in ("bucc", "translated_pairs", "xquad_r_sentences"))


def whole(path: Path, read_rows: Rows, mixed: bool = False) -> list[dict[str, Any]]:
    """All rows, checked against each other as :func:`read` says; ``mixed``: some may lack gold."""
    rows: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for origin, row in read_rows:
        if row["id"] in seen:
            raise UserError(f'{origin}: id "{row["id"]}" stands already at {seen[row["id"]]}; ids must be unique')
        seen[row["id"]] = origin
        if rows and not mixed and has_gold(row) != has_gold(rows[0]):
            raise UserError(f"{origin}: gold in some rows and none in others; expected all or none")
        if "choices" in row and len(row["choices"]) != len((rows or [row])[0]["choices"]):
            raise UserError(f"{origin}: {len(row['choices'])} choices, and the first row has {len(rows[0]['choices'])}")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: holds no examples")
    return rows


def read_first(reader: str, path: Path, labels: tuple[str, ...] = ()) -> dict[str, Any]:
    """The first row alone: enough to tell whether a file carries gold."""
    for _, row in READERS[reader](path, labels):
        return row
    raise UserError(f"{path}: holds no examples")


def has_gold(row: dict[str, Any]) -> bool:
    """Whether a row of a reader says what is right."""
    if "label" in row:
        return row["label"] != UNLABELLED
    if "tags" in row:
        return row["tags"] is not None
    if "answers" in row:
        return row["is_impossible"] or bool(row["answers"]["text"])
    return bool(row.get("keys", row.get("gold", True)))


def companions(reader: str, path: Path) -> list[Path]:
    """The files that must lie beside ``path`` and are read with it."""
    if reader == "tatoeba":  # tatoeba.deu-eng.deu -> tatoeba.deu-eng.eng
        return [path.with_suffix("." + path.stem.rsplit("-", 1)[-1])]
    if reader == "bucc":
        return [path.with_suffix(".en"), path.with_suffix(".gold")]
    if reader == "piqa":  # train.jsonl -> train-labels.lst
        return [path.with_name(f"{path.stem}-labels.lst")]
    return []


def _rows(name: str, path: Path, labels: tuple[str, ...]) -> Rows:
    """Those of a file whose records have a reader: rows without an id have the number of their line."""
    files: dict[str, Callable[[Path], Rows]] = {".jsonl": records.json_lines, ".csv": records.csv_records}
    for origin, record in files.get(path.suffix, _table)(path):
        if row := RECORD_READERS[name](record, labels, origin):
            yield origin, {"id": origin.rpartition(":")[2], **row}


# --- pairs: XNLI, ANLI, MNLI, SICK, RTE, AmericasNLI; PAWS-X, MRPC, QQP --------------------------------

PAIR_COLUMNS = {  # lower-case column and key names of the distributions
    "id": ("id", "uid", "index", "pair_id", "pairid"),
    "text_a": ("text_a", "premise", "sentence1", "sentence_a", "question1", "#1 string", "context"),
    "text_b": ("text_b", "hypothesis", "sentence2", "sentence_b", "question2", "#2 string"),
    "label": ("label", "gold_label", "entailment_judgment", "is_duplicate", "quality"),
}
LABEL_ALIASES = {
    "e": "entailment", "n": "neutral", "c": "contradiction", "contradictory": "contradiction",
    "not_duplicate": "0", "duplicate": "1",
}  # fmt: skip
# XTREME wrote its tables with csv.writer, which wraps a text holding quotes in quotes and doubles them; the
# other distributions are raw. A field that is quoted throughout and holds doubled quotes is the former.
CSV_QUOTED = re.compile(r'"(?=.*"".*")(?:[^"]|"")*"', re.DOTALL)


def _pair(record: Record, labels: tuple[str, ...], origin: str) -> Record | None:
    columns = _pair_columns(tuple(record))
    for column in {"text_a", "text_b"} - columns.keys():
        known = ", ".join(PAIR_COLUMNS[column])
        raise UserError(f'{origin}: no "{column}" (expected one of {known}); it has {", ".join(record)}')
    record = {column: record[name] for column, name in columns.items()}
    label = record.get("label")
    if label == "-":  # MultiNLI: the annotators did not agree; every published result leaves these out
        return None
    texts = {column: get(record, column, str, origin) for column in ("text_a", "text_b")}
    row = {**texts, "label": index_of(_plain(label, labels) if isinstance(label, str) else label, labels, origin)}
    return {"id": str(record["id"]), **row} if "id" in record else row


@cache
def _pair_columns(names: tuple[str, ...]) -> dict[str, str]:
    """Our column -> the distribution's name for it, of those that it has."""
    lower = {name.lower(): name for name in names}
    known = {column: [alias for alias in aliases if alias in lower] for column, aliases in PAIR_COLUMNS.items()}
    return {column: lower[aliases[0]] for column, aliases in known.items() if aliases}


def _plain(label: str, labels: tuple[str, ...]) -> str:
    label = label_name(label)
    label = label if label in labels else label.lower()
    return label if label in labels else LABEL_ALIASES.get(label, label)


def _table(path: Path) -> Rows:
    """TSV of pairs with a header or without one (then: text, text[, label])."""
    header = next(lines_of(path))[1].split("\t")
    headed = {"text_a", "text_b"} <= _pair_columns(tuple(header)).keys()
    if not headed and len(header) not in (2, 3):
        expected = "text, text and label (or two texts alone) separated by tabs"
        raise UserError(f"{path}:1: {len(header)} columns and no header that names two texts; expected {expected}")
    header = header if headed else ["text_a", "text_b", "label"][: len(header)]
    columns = _pair_columns(tuple(header))
    for origin, cells in islice(columns_of(path, len(header)), headed, None):
        record = dict(zip(header, cells, strict=True))
        for column in (columns["text_a"], columns["text_b"]):
            if CSV_QUOTED.fullmatch(record[column]):
                record[column] = record[column][1:-1].replace('""', '"')
        if "label" in columns and not record[columns["label"]].strip():
            raise UserError(f"{origin}: empty label")
        yield origin, record


def _translated_pairs(path: Path, labels: tuple[str, ...]) -> Rows:
    """TSV that ends in translated text, translated text, label: three columns, after a header or not, or five,
    of which two hold the original texts. A row that lacks one of them, as some released ones do, has label -1."""
    for origin, line in lines_of(path):
        cells = line.split("\t")
        label = _plain(cells[-1], labels)
        if origin.endswith(":1") and label == "label":
            continue
        whole = len(cells) in (3, 5) and label in labels and all(map(str.strip, cells[-3:]))
        text_a, text_b = cells[-3:-1] if whole else ("", "")
        index = labels.index(label) if whole else UNLABELLED
        yield origin, {"id": origin.rpartition(":")[2], "text_a": text_a, "text_b": text_b, "label": index}


# --- choices: (X)COPA, SocialIQA, PIQA, HellaSwag, CommonsenseQA, Cosmos QA ----------------------------------

COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What was the effect?"}  # XTREME-R's, in every language


def _texts(record: Record, origin: str, **columns: str) -> Record:
    """Our column -> the text of theirs, which must be there."""
    return {column: get(record, name, str, origin) for column, name in columns.items()}


def _copa(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    row = _texts(record, origin, context="premise", question="question")
    if row["question"] not in COPA_QUESTIONS:
        raise UserError(f'{origin}: question "{row["question"]}" is neither cause nor effect')
    choices = [get(record, name, str, origin) for name in ("choice1", "choice2")]
    label = index_of(record.get("label"), ("choice1", "choice2"), origin)
    question = COPA_QUESTIONS[row["question"]]
    return {**row, "id": id_of(record, "idx", origin), "question": question, "choices": choices, "label": label}


def _socialiqa(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    row = _texts(record, origin, context="context", question="question")
    choices = [get(record, f"answer{letter}", str, origin) for letter in "ABC"]
    label = record.get("correct", record.get("label"))  # the original's, a letter; the hub's, a number from 1
    known = "ABC" if isinstance(label, str) and label.strip() in tuple("ABC") else "123"
    return {**row, "choices": choices, "label": index_of(label, tuple(known), origin)}


def _piqa(path: Path, labels: tuple[str, ...]) -> Rows:
    """A goal and two ways to it; line i of the companion says which of them, "0" or "1", is right on line i."""
    goals, answers = list(records.json_lines(path)), list(lines_of(companions("piqa", path)[0]))
    if len(goals) != len(answers):
        raise UserError(f"{path}: {len(goals)} lines, its labels {len(answers)}; expected the same number")
    for number, ((origin, record), (beside, answer)) in enumerate(zip(goals, answers, strict=True), 1):
        row = {"id": str(number), "context": "", "question": get(record, "goal", str, origin)}
        choices = [get(record, name, str, origin) for name in ("sol1", "sol2")]
        yield origin, {**row, "choices": choices, "label": index_of(answer.strip(), ("0", "1"), beside)}


def _hellaswag(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    """As jiant has it: each choice is the sentence that is begun (``ctx_b``, often empty) with one of the endings."""
    endings = strings(record, "endings", origin)
    if len(endings) < 2:
        raise UserError(f'{origin}: "endings" holds {len(endings)}, expected two or more to choose from')
    label = index_of(record.get("label"), tuple(map(str, range(len(endings)))), origin)
    row = {"id": id_of(record, "ind", origin), "question": "", "label": label}
    if "ctx_a" not in record:  # some copies have the two joined alone
        return {**row, "context": get(record, "ctx", str, origin), "choices": endings}
    parts = _texts(record, origin, context="ctx_a", begun="ctx_b")
    choices = [f"{parts['begun']} {ending}".strip() for ending in endings]
    return {**row, "context": parts["context"], "choices": choices}


def _commonsenseqa(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    question = record.get("question")
    if isinstance(question, dict):  # the original; the hub has the question itself and two lists
        pairs = [_texts(item, origin, label="label", text="text") for item in get(question, "choices", list, origin)]
        choices = {pair["label"]: pair["text"] for pair in pairs}
        question = get(question, "stem", str, origin)
    else:
        question, columns = get(record, "question", str, origin), get(record, "choices", dict, origin)
        choices = dict(zip(strings(columns, "label", origin), strings(columns, "text", origin), strict=False))
    letters = tuple(sorted(choices))
    if len(letters) < 2:
        raise UserError(f'{origin}: "choices" holds {len(letters)}, expected two or more to choose from')
    label = index_of(record.get("answerKey"), letters, origin, "answerKey")
    row = {"id": id_of(record, "id", origin), "context": "", "question": question}
    return {**row, "choices": [choices[letter] for letter in letters], "label": label}


def _cosmosqa(record: Record, labels: tuple[str, ...], origin: str) -> Record:
    row = {"id": id_of(record, "id", origin), **_texts(record, origin, context="context", question="question")}
    choices = [get(record, f"answer{number}", str, origin) for number in range(4)]
    return {**row, "choices": choices, "label": index_of(record.get("label"), tuple("0123"), origin)}


RECORD_READERS: dict[str, Callable[[Record, tuple[str, ...], str], Record | None]] = {
    "pairs": _pair, "copa": _copa, "socialiqa": _socialiqa, "hellaswag": _hellaswag, "commonsenseqa": _commonsenseqa,
    "cosmosqa": _cosmosqa,
}  # fmt: skip


# --- retrieval and plain text -------------------------------------------------------------------------


def _tatoeba(path: Path, labels: tuple[str, ...]) -> Rows:
    """Line i of ``path`` (foreign) translates line i of its companion (English)."""
    foreign, english = list(lines_of(path)), list(lines_of(companions("tatoeba", path)[0]))
    if len(foreign) != len(english):
        raise UserError(f"{path}: {len(foreign)} lines, its English side {len(english)}; expected the same number")
    for number, ((origin, candidate), (beside, query)) in enumerate(zip(foreign, english, strict=True), 1):
        for line, text in ((origin, candidate), (beside, query)):
            if not text.strip():
                raise UserError(f"{line}: an empty line between sentence pairs")
        yield origin, {"id": str(number), "query": query, "candidate": candidate}


def _bucc(path: Path, labels: tuple[str, ...]) -> Rows:
    """Foreign sentences, then the English ones; gold pairs from the companion ``.gold`` where there is one."""
    english, pairs = companions("bucc", path)
    sides = {"foreign": list(columns_of(path, 2)), "source": list(columns_of(english, 2))}
    known = {side: {cells[0] for _, cells in rows} for side, rows in sides.items()}
    gold: dict[str, list[str]] = {}
    for origin, (foreign, source) in columns_of(pairs, 2) if pairs.is_file() else ():
        if source in gold.get(foreign, ()):
            raise UserError(f'{origin}: the pair "{foreign}", "{source}" stands already above; leave one out')
        for identity, side in ((foreign, "foreign"), (source, "source")):
            if identity not in known[side]:
                raise UserError(f'{origin}: no {side} sentence has the id "{identity}"')
        gold.setdefault(foreign, []).append(source)
        gold.setdefault(source, []).append(foreign)
    for side, rows in sides.items():
        for origin, (identity, text) in rows:
            yield origin, {"id": identity, "text": text, "side": side, "gold": gold.get(identity, [])}


def _verses(path: Path, labels: tuple[str, ...]) -> Rows:
    for origin, (identity, text) in columns_of(path, 2):
        yield origin, {"id": identity, "text": text}


READERS: dict[str, Callable[[Path, tuple[str, ...]], Rows]] = {
    **{name: partial(_rows, name) for name in RECORD_READERS}, "translated_pairs": _translated_pairs, "piqa": _piqa,
    "tagged": tagged, "ccgbank": auto, "squad": squad, "translated_squad": translated_squad, "xquad_r": xquad_r,
    "xquad_r_questions": xquad_r_questions, "xquad_r_sentences": xquad_r_sentences, "mewslix_mentions": mentions,
    "mewslix_entities": entities, "mewslix_pairs": pairs, "tatoeba": _tatoeba, "bucc": _bucc, "verses": _verses,
}  # fmt: skip
