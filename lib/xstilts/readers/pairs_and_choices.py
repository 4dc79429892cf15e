"""Readers: one file of an original distribution -> rows in the canonical columns of its kind.

Each reader yields ``(origin, row)``; ``origin`` is ``file:line`` or, in SQuAD JSON, ``file: question id``,
and every error names it. Files are UTF-8 (a byte-order mark is dropped), line ends LF or CRLF, offsets
count code points. Text is kept as it stands. Rows of a set published without gold have label -1, tags
None, no answers or no gold; a file with both sorts is an error.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from xstilts.errors import UserError
from xstilts.readers.records import (
    UNLABELLED,
    Rows,
    columns_of,
    csv_records,
    get,
    index_of,
    json_lines,
    lines_of,
    strings,
)
from xstilts.readers.retrieval import entities, mentions, pairs
from xstilts.readers.spans import squad, translated_squad, xquad_r, xquad_r_questions, xquad_r_sentences
from xstilts.readers.tagging import auto, tagged


def read(reader: str, path: Path, labels: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All rows of a file. ``labels`` are the task's, in order; empty = any tag is allowed.

    Raises UserError for anything malformed, for an id that stands twice, for gold that is missing in
    some rows only, and for a file without examples.
    """
    mixed = reader in ("bucc", "translated_pairs", "xquad_r_sentences")
    return whole(path, READERS[reader](path, labels), mixed)


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
    if "keys" in row:
        return bool(row["keys"])
    return True


def companions(reader: str, path: Path) -> list[Path]:
    """The files that must lie beside ``path`` and are read with it."""
    if reader == "tatoeba":  # tatoeba.deu-eng.deu -> tatoeba.deu-eng.eng
        return [path.with_suffix("." + path.stem.rsplit("-", 1)[-1])]
    if reader == "bucc":
        return [path.with_suffix(".en"), path.with_suffix(".gold")]
    if reader == "piqa":  # train.jsonl -> train-labels.lst
        return [path.with_name(f"{path.stem}-labels.lst")]
    return []


# --- pairs: XNLI, ANLI, MNLI, SICK, RTE, AmericasNLI; PAWS-X, MRPC, QQP --------------------------------

PAIR_FIELDS = {  # lower-case column and key names of the distributions
    "id": ("id", "uid", "index", "pair_id", "pairid"),
    "text_a": ("premise", "sentence1", "sentence_a", "question1", "#1 string", "context"),
    "text_b": ("hypothesis", "sentence2", "sentence_b", "question2", "#2 string"),
    "label": ("label", "gold_label", "entailment_judgment", "is_duplicate", "quality"),
}
LABEL_ALIASES = {"e": "entailment", "n": "neutral", "c": "contradiction", "contradictory": "contradiction"}
# XTREME wrote its tables with csv.writer, which wraps a text holding quotes in quotes and doubles them; the
# other distributions are raw. A field that is quoted throughout and holds doubled quotes is the former.
CSV_QUOTED = re.compile(r'"(?=.*"".*")(?:[^"]|"")*"', re.DOTALL)


def _pairs(path: Path, labels: tuple[str, ...]) -> Rows:
    """TSV with or without a header (then: text, text[, label]) or JSON lines, by the name's ending."""
    for origin, record in _pair_records(path):
        label = record.get("label")
        if label == "-":  # MultiNLI: the annotators did not agree; every published result leaves these out
            continue
        if isinstance(label, str):
            label = _plain(label, labels)
        yield (
            origin,
            {
                "id": str(record["id"]) if "id" in record else origin.rpartition(":")[2],
                "text_a": get(record, "text_a", str, origin),
                "text_b": get(record, "text_b", str, origin),
                "label": index_of(label, labels, origin),
            },
        )


def _plain(label: str, labels: tuple[str, ...]) -> str:
    label = label.strip() if label.strip() in labels else label.strip().lower()
    return label if label in labels else LABEL_ALIASES.get(label, label)


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


def _pair_records(path: Path) -> Iterator[tuple[str, dict]]:
    if path.suffix == ".jsonl":
        for origin, record in json_lines(path):
            columns = _fields(list(record))
            yield origin, {field: record[key] for field, key in columns.items()}
        return
    lines = lines_of(path)
    first = next(lines)[1].split("\t")
    fields = _fields(first)
    if {"text_a", "text_b"} <= set(fields):
        places, width = {field: first.index(name) for field, name in fields.items()}, len(first)
    else:
        lines = lines_of(path)
        places, width = {"text_a": 0, "text_b": 1}, len(first)
        if width == 3:
            places["label"] = 2
        elif width != 2:
            raise UserError(
                f"{path}:1: {width} columns and no header that names two texts; expected "
                "text, text and label (or two texts alone) separated by tabs"
            )
    for origin, line in lines:
        cells = line.split("\t")
        if len(cells) != width:
            raise UserError(f"{origin}: {len(cells)} columns, expected {width} separated by tabs")
        record = {field: cells[index] for field, index in places.items()}
        for field in ("text_a", "text_b"):
            if CSV_QUOTED.fullmatch(record[field]):
                record[field] = record[field][1:-1].replace('""', '"')
        if "label" in record and not record["label"].strip():
            raise UserError(f"{origin}: empty label")
        yield origin, record


def _fields(names: list[str]) -> dict[str, str]:
    """Our field -> the distribution's name for it, of those that are there."""
    lower = {name.lower(): name for name in names}
    return {
        field: lower[known[0]]
        for field, aliases in PAIR_FIELDS.items()
        if (known := [alias for alias in aliases if alias in lower])
    }


# --- choices: (X)COPA, SocialIQA, PIQA, HellaSwag, CommonsenseQA, Cosmos QA ----------------------------------

COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What was the effect?"}  # XTREME-R's, in every language


def _choice(identity: Any, context: str, question: str, choices: list[str], label: int) -> dict:
    return {"id": str(identity), "context": context, "question": question, "choices": choices, "label": label}


def _copa(path: Path, labels: tuple[str, ...]) -> Rows:
    for origin, record in json_lines(path):
        question = get(record, "question", str, origin)
        if question not in COPA_QUESTIONS:
            raise UserError(f'{origin}: question "{question}" is neither cause nor effect')
        choices = [get(record, "choice1", str, origin), get(record, "choice2", str, origin)]
        label = index_of(record.get("label"), (0, 1), origin)
        premise = get(record, "premise", str, origin)
        yield origin, _choice(get(record, "idx", int, origin), premise, COPA_QUESTIONS[question], choices, label)


def _socialiqa(path: Path, labels: tuple[str, ...]) -> Rows:
    for number, (origin, record) in enumerate(json_lines(path), 1):
        context, question = get(record, "context", str, origin), get(record, "question", str, origin)
        choices = [get(record, f"answer{letter}", str, origin) for letter in "ABC"]
        yield (
            origin,
            _choice(number, context, question, choices, index_of(record.get("correct"), tuple("ABC"), origin)),
        )


def _piqa(path: Path, labels: tuple[str, ...]) -> Rows:
    """A goal and two ways to it; line i of the companion says which of them, "0" or "1", is right on line i."""
    records, answers = list(json_lines(path)), list(lines_of(companions("piqa", path)[0]))
    if len(records) != len(answers):
        raise UserError(f"{path}: {len(records)} lines, its labels {len(answers)}; expected the same number")
    for number, ((origin, record), (beside, answer)) in enumerate(zip(records, answers, strict=True), 1):
        choices = [get(record, "sol1", str, origin), get(record, "sol2", str, origin)]
        label = index_of(answer.strip(), ("0", "1"), beside)
        yield origin, _choice(number, "", get(record, "goal", str, origin), choices, label)


def _hellaswag(path: Path, labels: tuple[str, ...]) -> Rows:
    for origin, record in json_lines(path):
        endings = strings(record, "endings", origin)
        if len(endings) < 2:
            raise UserError(f'{origin}: "endings" holds {len(endings)}, expected two or more to choose from')
        label = index_of(record.get("label"), tuple(range(len(endings))), origin)
        context = get(record, "ctx", str, origin)
        if "ctx_a" in record:  # in the whole files, where some copies have the two joined alone
            context, begun = get(record, "ctx_a", str, origin), get(record, "ctx_b", str, origin)
            endings = continued(begun, endings)
        yield origin, _choice(get(record, "ind", int, origin), context, "", endings, label)


def continued(begun: str, endings: list[str]) -> list[str]:
    """HellaSwag's choices as jiant has them: the sentence that is begun (``ctx_b``, often empty) with each ending."""
    return [f"{begun} {ending}".strip() for ending in endings]


def _commonsenseqa(path: Path, labels: tuple[str, ...]) -> Rows:
    for origin, record in json_lines(path):
        question = get(record, "question", dict, origin)
        choices = {
            get(choice, "label", str, origin): get(choice, "text", str, origin)
            for choice in get(question, "choices", list, origin)
        }
        letters = tuple(sorted(choices))
        if len(letters) < 2:
            raise UserError(f'{origin}: "choices" holds {len(letters)}, expected two or more to choose from')
        label = index_of(record.get("answerKey"), letters, origin, "answerKey")
        texts = [choices[letter] for letter in letters]
        yield (
            origin,
            _choice(get(record, "id", str, origin), "", get(question, "stem", str, origin), texts, label),
        )


def _cosmosqa(path: Path, labels: tuple[str, ...]) -> Rows:
    answers = [f"answer{number}" for number in range(4)]
    for origin, record in csv_records(path, ["id", "context", "question", *answers]):
        label = index_of(record.get("label"), tuple("0123"), origin)
        choices = [record[answer] for answer in answers]
        yield origin, _choice(record["id"], record["context"], record["question"], choices, label)


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
    "pairs": _pairs,
    "translated_pairs": _translated_pairs,
    "copa": _copa,
    "socialiqa": _socialiqa,
    "piqa": _piqa,
    "hellaswag": _hellaswag,
    "commonsenseqa": _commonsenseqa,
    "cosmosqa": _cosmosqa,
    "tagged": tagged,
    "ccgbank": auto,
    "squad": squad,
    "translated_squad": translated_squad,
    "xquad_r": xquad_r,
    "xquad_r_questions": xquad_r_questions,
    "xquad_r_sentences": xquad_r_sentences,
    "mewslix_mentions": mentions,
    "mewslix_entities": entities,
    "mewslix_pairs": pairs,
    "tatoeba": _tatoeba,
    "bucc": _bucc,
    "verses": _verses,
}
