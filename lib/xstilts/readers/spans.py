"""Questions on passages: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA-GoldP, and XQuAD-R with its sentences."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from xstilts.errors import UserError
from xstilts.readers.records import Rows, from_json, get, id_of, strings, text_of


def squad(path: Path, labels: tuple[str, ...]) -> Rows:
    return ((origin, row) for origin, row, _ in _questions(path))


def translated_squad(path: Path, labels: tuple[str, ...]) -> Rows:
    """As SQuAD, machine-translated: an answer need not be where it is said to be; a lost one is ""."""
    for origin, row, _ in _questions(path, checked=False):
        lost = not row["answers"]["text"] and not row["is_impossible"]
        yield origin, {**row, "answers": {"text": [""], "answer_start": [-1]}} if lost else row


def xquad_r(path: Path, labels: tuple[str, ...]) -> Rows:
    """As SQuAD, with the column ``sentences``: those of the passage, checked against their offsets."""
    for origin, row, paragraph in _questions(path):
        yield origin, {**row, "sentences": [row["context"][slice(*span)] for span in _sentences(origin, paragraph)]}


def xquad_r_questions(path: Path, labels: tuple[str, ...]) -> Rows:
    """The questions of LAReQA. One whose answer begins in none of the sentences is left out, as by XTREME's
    ``utils_lareqa``. Questions have one id in all languages: it is the key of their answers."""
    for origin, row, paragraph in _questions(path):
        if _answer_sentence(origin, row, paragraph):
            yield origin, {"id": row["id"], "text": row["question"], "language": path.stem, "keys": [row["id"]]}


def xquad_r_sentences(path: Path, labels: tuple[str, ...]) -> Rows:
    """The candidates of LAReQA: every sentence, followed by its passage; ids as in ``utils_lareqa``, language,
    number of the passage and of the sentence. Of two sentences of a passage in the same words both are an answer."""
    passages = groupby(_questions(path), key=lambda question: id(question[2]))
    for number, (_, questions) in enumerate(passages, 1):
        keys: dict[str, list[str]] = {}
        for origin, row, paragraph in questions:  # the last ones stand for their passage below
            if sentence := _answer_sentence(origin, row, paragraph):
                keys.setdefault(sentence, []).append(row["id"])
        for index, span in enumerate(_sentences(origin, paragraph) if keys else ()):
            sentence, identity = row["context"][slice(*span)], f"{path.stem}_{number}_{index}"
            text = f"{sentence} {row['context']}"
            yield origin, {"id": identity, "text": text, "language": path.stem, "keys": keys.get(sentence, [])}


def _answer_sentence(origin: str, row: dict, paragraph: dict) -> str:
    """The sentence that the answer begins in; "" where there is none."""
    begin = row["answers"]["answer_start"][0] if row["answers"]["text"] else -1
    spans = (span for span in _sentences(origin, paragraph) if span[0] <= begin < span[1])
    return row["context"][slice(*next(spans, (0, 0)))]


def _sentences(origin: str, paragraph: dict) -> list[tuple[int, int]]:
    """Where the sentences of a passage stand in it."""
    sentences = strings(paragraph, "sentences", origin)
    breaks = get(paragraph, "sentence_breaks", list, origin)
    if len(sentences) != len(breaks):
        raise UserError(f"{origin}: {len(sentences)} sentences and {len(breaks)} sentence_breaks")
    for sentence, span in zip(sentences, breaks, strict=True):
        if not isinstance(span, list) or [type(offset) for offset in span] != [int, int]:
            raise UserError(f'{origin}: "sentence_breaks" holds {span!r}, expected pairs of numbers: start, end')
        if paragraph["context"][slice(*span)] != sentence:
            raise UserError(
                f"{origin}: sentence {sentence[:40]!r} does not stand at {span[0]}-{span[1]} of its passage"
            )
    return [(start, end) for start, end in breaks]


def _questions(path: Path, checked: bool = True) -> Iterator[tuple[str, dict, dict]]:
    """(origin, row, paragraph); ``checked``: answers must stand at their offsets. No answers means unanswerable
    in SQuAD 2.0 (by its version or by ``is_impossible``) and withheld gold elsewhere."""
    document = from_json(text_of(path), str(path), whole=True)
    articles = get(document, "data", list, str(path))
    second = str(document.get("version", "")).lstrip("v").startswith("2")
    for article in articles:
        title = article.get("title", "") if isinstance(article, dict) else ""
        for paragraph in get(article, "paragraphs", list, f"{path}: article {title!r}"):
            context = get(paragraph, "context", str, f"{path}: article {title!r}")
            for question in get(paragraph, "qas", list, f"{path}: article {title!r}"):
                key = id_of(question, "id", f"{path}: article {title!r}")
                origin = f"{path}: question {key}"
                answers = get(question, "answers", list, origin) if question.get("answers") is not None else []
                texts = [get(answer, "text", str, origin) for answer in answers]
                starts = [get(answer, "answer_start", int, origin) for answer in answers]
                if not checked:  # machine translation: what is not in the passage is nowhere
                    starts = [start if 0 <= start <= len(context) else -1 for start in starts]
                for text, start in zip(texts, starts, strict=True) if checked else ():
                    if start < 0 or not text or context[start : start + len(text)] != text:
                        passage = context[max(start, 0) :][: len(text) or 20]
                        raise UserError(f"{origin}: the answer {text!r} is not at answer_start {start} ({passage!r})")
                impossible = question.get("is_impossible", second and not answers)
                if not isinstance(impossible, bool):
                    raise UserError(f'{origin}: "is_impossible" is {impossible!r}, expected true or false')
                if impossible and answers:
                    raise UserError(f"{origin}: is_impossible, and yet it has answers")
                row = {"id": key, "context": context, "question": get(question, "question", str, origin)}
                row |= {"answers": {"text": texts, "answer_start": starts}, "is_impossible": impossible}
                yield origin, row, paragraph
