"""Mewsli-X (Ruder et al. 2021, XTREME-R): mentions of entities in WikiNews, and descriptions of entities to rank.

One JSON object a line, as ``get-mewsli-x.sh`` of google-research makes them and XTREME's ``download_data.sh`` parts
the mentions by language. Texts are prepared as XTREME's ``utils_mewslix`` does.
"""

import re
from pathlib import Path

from xstilts.errors import UserError
from xstilts.readers.records import Rows, get, json_lines


def mentions(path: Path, labels: tuple[str, ...]) -> Rows:
    """Queries: ``wikinews_mentions/dev-de.jsonl``, an article and its mentions a line. A mention without
    ``entity_id``, as XTREME's script leaves the test set, has no gold."""
    for origin, record in json_lines(path):
        context = get(record, "context", dict, origin)
        for mention in get(record, "mentions", list, origin):
            entity = get(mention, "entity_id", str, origin).strip()
            row = {"id": get(mention, "example_id", str, origin), "text": _query(context, mention, origin)}
            language = get(context, "language", str, origin)
            yield origin, {**row, "language": language, "keys": [entity] if entity else []}


def entities(path: Path, labels: tuple[str, ...]) -> Rows:
    """Candidates: ``candidate_set_entities.jsonl``, an entity a line, described in one language."""
    for origin, entity in json_lines(path):
        identity, language = (get(entity, key, str, origin) for key in ("entity_id", "description_language"))
        yield origin, {"id": identity, "text": _description(entity, origin), "language": language, "keys": [identity]}


def pairs(path: Path, labels: tuple[str, ...]) -> Rows:
    """Training pairs: ``wikipedia_pairs-train.jsonl``, a mention in English Wikipedia and its entity a line."""
    for origin, record in json_lines(path):
        contextual = get(record, "contextual_mention", dict, origin)
        context, mention = get(contextual, "context", dict, origin), get(contextual, "mention", dict, origin)
        query = {"id": get(mention, "example_id", str, origin), "query": _query(context, mention, origin)}
        yield origin, {**query, "candidate": _description(get(record, "entity", dict, origin), origin)}


def _query(context: dict, mention: dict, origin: str) -> str:
    """The mention, then its sentence with braces around the mention."""
    text, span = get(context, "text", str, origin), get(mention, "mention_span", dict, origin)
    name, start, end = get(span, "text", str, origin), get(span, "start", int, origin), get(span, "end", int, origin)
    if text[start:end] != name:
        empty = "" if text else ", which is empty; get-mewsli-x.sh fills it in"
        raise UserError(f"{origin}: the mention {name!r} does not stand at {start}-{end} of the article's text{empty}")
    for begin, stop in _spans(context, origin):
        if begin <= start and end <= stop:
            left, right = (re.sub(r"\{(.*?)\}", r"(\1)", part) for part in (text[begin:start], text[end:stop]))
            return _line(f"{name}: {left} {{ {name} }} {right}")
    raise UserError(f"{origin}: the mention {name!r} at {start}-{end} lies in none of the article's sentences")


def _description(entity: dict, origin: str) -> str:
    text = get(entity, "description", str, origin)
    return _line(" ".join(text[begin:stop] for begin, stop in _spans(entity, origin)) or text)


def _spans(record: dict, origin: str) -> list[tuple[int, int]]:
    spans = get(record, "sentence_spans", list, origin)
    return [(get(span, "start", int, origin), get(span, "end", int, origin)) for span in spans]


def _line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()
