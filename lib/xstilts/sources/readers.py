"""Readers: one file of an original distribution -> rows in the canonical columns of its kind.

Each reader yields ``(where, row)``; ``where`` is ``file:line`` or, in SQuAD JSON, ``file: question id``,
and every error names it. Files are UTF-8 (a byte-order mark is dropped), line ends LF or CRLF, offsets
count code points. Text is kept as it stands. Rows of a set published without gold have label -1, tags
None, no answers or no gold; a file with both sorts is an error.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest

Rows = Iterator[tuple[str, dict[str, Any]]]
UNLABELLED = -1


def read(reader: str, path: Path, labels: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All rows of a file. ``labels`` are the task's, in order; empty = any tag is allowed.

    Raises UserError for anything malformed, for an id that stands twice, for gold that is missing in
    some rows only, and for a file without examples.
    """
    rows, seen = [], {}
    for where, row in READERS[reader](path, labels):
        if row["id"] in seen:
            raise UserError(f'{where}: id "{row["id"]}" stands already at {seen[row["id"]]}; ids must be unique')
        seen[row["id"]] = where
        if rows and "side" not in row and has_gold(row) != has_gold(rows[0]):
            raise UserError(f"{where}: gold in some rows and none in others; expected all or none")
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
    if "label" in row:
        return row["label"] != UNLABELLED
    if "tags" in row:
        return row["tags"] is not None
    if "answers" in row:
        return row["is_impossible"] or bool(row["answers"]["text"])
    return True


def companions(reader: str, path: Path) -> list[Path]:
    """The files that must lie beside ``path`` and are read with it."""
    if reader == "tatoeba":  # tatoeba.deu-eng.deu -> tatoeba.deu-eng.eng
        return [path.with_suffix("." + path.stem.rsplit("-", 1)[-1])]
    if reader == "bucc":
        return [path.with_suffix(".en"), path.with_suffix(".gold")]
    return []


# --- files as text ---------------------------------------------------------------------------------


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) without line ends; empty lines at the end of the file are none.

    Not ``str.splitlines``: real text holds U+2028 and the like inside a field.
    """
    for number, line in enumerate(_text(path).rstrip("\r\n").split("\n"), 1):
        yield f"{path}:{number}", line.removesuffix("\r")


def _columns(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    for where, line in _lines(path):
        cells = line.split("\t")
        if len(cells) != width:
            raise UserError(f"{where}: {len(cells)} columns, expected {width} separated by tabs")
        yield where, cells


def _json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    for where, line in _lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: expected a JSON object, found {line[:40]}")
        yield where, record


def _get(record: dict, key: str, kind: type, where: str) -> Any:
    if key not in record:
        raise UserError(f'{where}: no "{key}"{nearest(key, record)}')
    if not isinstance(record[key], kind):
        raise UserError(f'{where}: "{key}" is {record[key]!r}, expected {kind.__name__}')
    return record[key]


def _index(value: Any, known: tuple, where: str, what: str = "label") -> int:
    """Position of a gold value among ``known``; UNLABELLED where there is none."""
    if value in (None, ""):
        return UNLABELLED
    if value not in known:
        raise UserError(f'{where}: {what} "{value}" is none of {", ".join(map(str, known))}')
    return known.index(value)


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
    for where, record in _pair_records(path):
        label = record.get("label")
        if label == "-":  # MultiNLI: the annotators did not agree; every published result leaves these out
            continue
        if isinstance(label, str):
            label = label.strip() if label.strip() in labels else label.strip().lower()
            label = label if label in labels else LABEL_ALIASES.get(label, label)
        yield (
            where,
            {
                "id": str(record["id"]) if "id" in record else where.rpartition(":")[2],
                "text_a": _get(record, "text_a", str, where),
                "text_b": _get(record, "text_b", str, where),
                "label": _index(label, labels, where),
            },
        )


def _pair_records(path: Path) -> Iterator[tuple[str, dict]]:
    if path.suffix == ".jsonl":
        for where, record in _json_lines(path):
            found = _fields(list(record))
            yield where, {field: record[key] for field, key in found.items()}
        return
    lines = _lines(path)
    first = next(lines)[1].split("\t")
    fields = _fields(first)
    if {"text_a", "text_b"} <= set(fields):
        places, width = {field: first.index(name) for field, name in fields.items()}, len(first)
    else:
        lines = _lines(path)
        places, width = {"text_a": 0, "text_b": 1}, len(first)
        if width == 3:
            places["label"] = 2
        elif width != 2:
            raise UserError(
                f"{path}:1: {width} columns and no header that names two texts; expected "
                "text, text and label (or two texts alone) separated by tabs"
            )
    for where, line in lines:
        cells = line.split("\t")
        if len(cells) != width:
            raise UserError(f"{where}: {len(cells)} columns, expected {width} separated by tabs")
        record = {field: cells[place] for field, place in places.items()}
        for field in ("text_a", "text_b"):
            if CSV_QUOTED.fullmatch(record[field]):
                record[field] = record[field][1:-1].replace('""', '"')
        if "label" in record and not record["label"].strip():
            raise UserError(f"{where}: empty label")
        yield where, record


def _fields(names: list[str]) -> dict[str, str]:
    """Our field -> the distribution's name for it, of those that are there."""
    lower = {name.lower(): name for name in names}
    return {
        field: lower[known[0]]
        for field, aliases in PAIR_FIELDS.items()
        if (known := [alias for alias in aliases if alias in lower])
    }


# --- choices: (X)COPA, SocialIQA, HellaSwag, CommonsenseQA, Cosmos QA ----------------------------------

COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What was the effect?"}  # XTREME-R's, in every language


def _choice(identity: Any, context: str, question: str, choices: list[str], label: int) -> dict:
    return {"id": str(identity), "context": context, "question": question, "choices": choices, "label": label}


def _copa(path: Path, labels: tuple[str, ...]) -> Rows:
    for where, record in _json_lines(path):
        asked = _get(record, "question", str, where)
        if asked not in COPA_QUESTIONS:
            raise UserError(f'{where}: question "{asked}" is neither cause nor effect')
        choices = [_get(record, "choice1", str, where), _get(record, "choice2", str, where)]
        label = _index(record.get("label"), (0, 1), where)
        premise = _get(record, "premise", str, where)
        yield where, _choice(_get(record, "idx", int, where), premise, COPA_QUESTIONS[asked], choices, label)


def _socialiqa(path: Path, labels: tuple[str, ...]) -> Rows:
    for number, (where, record) in enumerate(_json_lines(path), 1):
        context, question = _get(record, "context", str, where), _get(record, "question", str, where)
        choices = [_get(record, f"answer{letter}", str, where) for letter in "ABC"]
        yield where, _choice(number, context, question, choices, _index(record.get("correct"), tuple("ABC"), where))


def _hellaswag(path: Path, labels: tuple[str, ...]) -> Rows:
    for where, record in _json_lines(path):
        endings = _get(record, "endings", list, where)
        label = _index(record.get("label"), tuple(range(len(endings))), where)
        yield where, _choice(_get(record, "ind", int, where), _get(record, "ctx", str, where), "", endings, label)


def _commonsenseqa(path: Path, labels: tuple[str, ...]) -> Rows:
    for where, record in _json_lines(path):
        question = _get(record, "question", dict, where)
        choices = {
            _get(choice, "label", str, where): _get(choice, "text", str, where)
            for choice in _get(question, "choices", list, where)
        }
        letters = tuple(sorted(choices))
        label = _index(record.get("answerKey"), letters, where, "answerKey")
        texts = [choices[letter] for letter in letters]
        yield where, _choice(_get(record, "id", str, where), "", _get(question, "stem", str, where), texts, label)


def _cosmosqa(path: Path, labels: tuple[str, ...]) -> Rows:
    table = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    header = [*next(table, [])]
    answers = [f"answer{number}" for number in range(4)]
    for name in ("id", "context", "question", *answers):
        if name not in header:
            raise UserError(f'{path}:1: no column "{name}"{nearest(name, header)}')
    try:
        for cells in table:
            where = f"{path}:{table.line_num}"
            if len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} columns, expected {len(header)} separated by commas")
            record = dict(zip(header, cells, strict=True))
            label = _index(record.get("label"), tuple("0123"), where)
            choices = [record[answer] for answer in answers]
            yield where, _choice(record["id"], record["context"], record["question"], choices, label)
    except csv.Error as error:
        raise UserError(f"{path}:{table.line_num}: not CSV ({error})") from None


# --- taggings: PANX, MasakhaNER, XTREME's UDPOS, CoNLL-U ----------------------------------------------

# The word whose tag a fused form (zum = zu + dem) takes when no word of it stands highest in the tree: the
# conversion that XTREME's UDPOS was made with, third_party/ud-conversion-tools of google-research/xtreme.
POS_RANK = {
    "": "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT",
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}


def _tagged(path: Path, labels: tuple[str, ...]) -> Rows:
    """Sentences apart by an empty line; a word, then a tab or blank, then its tag, a line."""
    if path.suffix == ".conllu":
        yield from _conllu(path, labels)
        return
    for number, block in enumerate(_blocks(path), 1):
        tokens, tags = [], []
        for where, line in block:
            token, _, tag = line.rpartition("\t" if "\t" in line else " ")
            if not token and not line.startswith(("\t", " ")):  # one column: a test file without tags
                token, tag = tag, None
            elif not token or not tag:
                raise UserError(f"{where}: expected a word and its tag, found {line!r}")
            else:
                _check_tag(tag, labels, where)
            if tokens and (tag is None) != (tags[0] is None):
                raise UserError(f"{where}: {line!r}: some words of the sentence have a tag and some none")
            tokens.append(token)
            tags.append(tag)
        yield block[0][0], {"id": str(number), "tokens": tokens, "tags": None if tags[0] is None else tags}


def _blocks(path: Path) -> Iterator[list[tuple[str, str]]]:
    for empty, block in groupby(_lines(path), key=lambda item: not item[1].strip(" \t")):
        if not empty:
            yield list(block)


def _check_tag(tag: str, labels: tuple[str, ...], where: str) -> None:
    if labels and tag not in labels:
        raise UserError(f'{where}: tag "{tag}" is none of {", ".join(labels)}')


def _conllu(path: Path, labels: tuple[str, ...]) -> Rows:
    """Words as XTREME has them: a fused form is one word with the tag of its head, empty nodes are left out,
    blanks and zero-width non-joiners within a word are dropped. English stays split (did n't): the UD v2.5
    that XTREME took marked no fused forms in EWT, later releases do. The id is ``sent_id``."""
    language = path.name.partition("_")[0]
    ranks = POS_RANK.get(language, POS_RANK[""]).split()
    for number, block in enumerate(_blocks(path), 1):
        identity, words, spans = str(number), {}, []
        for where, line in block:
            if line.startswith("#"):
                key, _, value = line[1:].partition("=")
                identity = value.strip() if key.strip() == "sent_id" else identity
                continue
            cells = line.split("\t")
            if len(cells) != 10:
                raise UserError(f"{where}: {len(cells)} columns, expected the 10 of CoNLL-U separated by tabs")
            name, form, tag, head = cells[0], cells[1], cells[3], cells[6]
            if "." in name:
                continue
            if "-" in name:
                first, last = map(int, name.split("-"))
                spans.append((first, last, form))
                continue
            _check_tag(tag, labels, where)
            if name != str(len(words) + 1) or not (head.isdigit() or head == "_"):
                raise UserError(f"{where}: word {name} with head {head}, expected word {len(words) + 1} and a number")
            words[int(name)] = (form, tag, 0 if head == "_" else int(head))
        if not words:
            raise UserError(f"{block[0][0]}: a sentence without words")
        surface = {position: (form, tag) for position, (form, tag, _) in words.items()}
        for first, last, form in spans:
            if not first < last <= len(words):
                raise UserError(f"{block[0][0]}: fused form {first}-{last} in a sentence of {len(words)} words")
            if language != "en":
                surface[first] = (form, _fused_tag(words, range(first, last + 1), ranks))
                for position in range(first + 1, last + 1):
                    del surface[position]
        forms, tags = zip(*(surface[position] for position in sorted(surface)), strict=True)
        tokens = [form.replace(" ", "").replace("\u200c", "") for form in forms]
        yield block[0][0], {"id": identity, "tokens": tokens, "tags": list(tags)}


def _fused_tag(words: dict[int, tuple], span: range, ranks: list[str]) -> str:
    """Tag of the word of the span nearest the root; of several, of the one whose tag ranks first."""

    def depth(position: int) -> int:
        steps = 0
        while position and steps <= len(words):
            position, steps = words[position][2], steps + 1
        return steps

    highest = min(map(depth, span))
    tags = [words[position][1] for position in span if depth(position) == highest]
    return min(tags, key=lambda tag: ranks.index(tag) if tag in ranks else len(ranks))


# --- spans: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA, XQuAD-R ---------------------------------------------


def _squad(path: Path, labels: tuple[str, ...]) -> Rows:
    for where, row, _ in _questions(path):
        yield where, row


def _xquad_r(path: Path, labels: tuple[str, ...]) -> Rows:
    """As SQuAD, with the column ``sentences``: those of the passage, checked against their offsets."""
    for where, row, paragraph in _questions(path):
        sentences = _get(paragraph, "sentences", list, where)
        breaks = _get(paragraph, "sentence_breaks", list, where)
        if len(sentences) != len(breaks):
            raise UserError(f"{where}: {len(sentences)} sentences and {len(breaks)} sentence_breaks")
        for sentence, (start, end) in zip(sentences, breaks, strict=True):
            if row["context"][start:end] != sentence:
                raise UserError(f"{where}: sentence {sentence[:40]!r} does not stand at {start}-{end} of its passage")
        yield where, {**row, "sentences": sentences}


def _questions(path: Path) -> Iterator[tuple[str, dict, dict]]:
    """(where, row, paragraph). No answers means unanswerable in SQuAD 2.0 (by its version or by
    ``is_impossible``) and withheld gold elsewhere."""
    try:
        document = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(document, dict):
        raise UserError(f'{path}:1: expected a JSON object with "data"')
    second = str(document.get("version", "")).lstrip("v").startswith("2")
    for article in _get(document, "data", list, str(path)):
        title = article.get("title", "")
        for paragraph in _get(article, "paragraphs", list, f"{path}: article {title!r}"):
            context = _get(paragraph, "context", str, f"{path}: article {title!r}")
            for question in _get(paragraph, "qas", list, f"{path}: article {title!r}"):
                identity = str(_get(question, "id", (str, int), f"{path}: article {title!r}"))
                where = f"{path}: question {identity}"
                answers = question.get("answers") or []
                texts = [_get(answer, "text", str, where) for answer in answers]
                starts = [_get(answer, "answer_start", int, where) for answer in answers]
                for text, start in zip(texts, starts, strict=True):
                    if start < 0 or not text or context[start : start + len(text)] != text:
                        raise UserError(
                            f"{where}: the answer {text!r} is not at answer_start {start}, where the passage has "
                            f"{context[max(start, 0) :][: len(text) or 20]!r} (offsets count characters, from 0)"
                        )
                impossible = question.get("is_impossible", second and not answers)
                if impossible and answers:
                    raise UserError(f"{where}: is_impossible, and yet it has answers")
                row = {
                    "id": identity,
                    "context": context,
                    "question": _get(question, "question", str, where),
                    "answers": {"text": texts, "answer_start": starts},
                    "is_impossible": bool(impossible),
                }
                yield where, row, paragraph


# --- retrieval and plain text -------------------------------------------------------------------------


def _tatoeba(path: Path, labels: tuple[str, ...]) -> Rows:
    """Line i of ``path`` (foreign) translates line i of its companion (English)."""
    foreign, english = list(_lines(path)), list(_lines(companions("tatoeba", path)[0]))
    if len(foreign) != len(english):
        raise UserError(f"{path}: {len(foreign)} lines, its English side {len(english)}; expected the same number")
    for number, ((where, candidate), (beside, query)) in enumerate(zip(foreign, english, strict=True), 1):
        for place, text in ((where, candidate), (beside, query)):
            if not text.strip():
                raise UserError(f"{place}: an empty line between sentence pairs")
        yield where, {"id": str(number), "query": query, "candidate": candidate}


def _bucc(path: Path, labels: tuple[str, ...]) -> Rows:
    """Foreign sentences, then the English ones; gold pairs from the companion ``.gold`` where there is one."""
    english, pairs = companions("bucc", path)
    sides = {"foreign": list(_columns(path, 2)), "source": list(_columns(english, 2))}
    known = {side: {cells[0] for _, cells in rows} for side, rows in sides.items()}
    gold: dict[str, list[str]] = {}
    for where, (foreign, source) in _columns(pairs, 2) if pairs.is_file() else ():
        for identity, side in ((foreign, "foreign"), (source, "source")):
            if identity not in known[side]:
                raise UserError(f'{where}: no {side} sentence has the id "{identity}"')
        gold.setdefault(foreign, []).append(source)
        gold.setdefault(source, []).append(foreign)
    for side, rows in sides.items():
        for where, (identity, text) in rows:
            yield where, {"id": identity, "text": text, "side": side, "gold": gold.get(identity, [])}


def _verses(path: Path, labels: tuple[str, ...]) -> Rows:
    for where, (identity, text) in _columns(path, 2):
        yield where, {"id": identity, "text": text}


READERS: dict[str, Callable[[Path, tuple[str, ...]], Rows]] = {
    "pairs": _pairs,
    "copa": _copa,
    "socialiqa": _socialiqa,
    "hellaswag": _hellaswag,
    "commonsenseqa": _commonsenseqa,
    "cosmosqa": _cosmosqa,
    "tagged": _tagged,
    "squad": _squad,
    "xquad_r": _xquad_r,
    "tatoeba": _tatoeba,
    "bucc": _bucc,
    "verses": _verses,
}
