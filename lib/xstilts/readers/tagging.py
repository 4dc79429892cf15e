"""Tagged sentences: PANX, MasakhaNER and XTREME's UDPOS (a word and its tag a line), files of more columns
(CoNLL-2000, -2002 and -2003, MultiCoNER, GermEval, UNER), CoNLL-U.

CCGbank (LDC2005T13): words and their supertags from its AUTO files, or from files of two columns."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from xstilts.errors import UserError
from xstilts.readers.records import Rows, label_name, lines_of

# The word whose tag a fused form (zum = zu + dem) takes when no word of it stands highest in the tree: the
# conversion that XTREME's UDPOS was made with, third_party/ud-conversion-tools of google-research/xtreme.
POS_RANK = {
    "": "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT",
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}

# Lines that are no words: comments with a key of CoNLL-U or MultiCoNER, or "# name = value", and CoNLL's -DOCSTART-.
MARK = re.compile(
    r"# +(newdoc|newpar|sent_id|text|id|global\.columns)\b(?! *\t).*|# [^\t ]+ *= .*|-DOCSTART-.*"
    r"|#\t(http|.*\[\d{4}-\d\d-\d\d\]).*"  # GermEval's sources
)
CHUNK_TAG = re.compile(r"[BIESLUM]-.+|O")


def tagged(path: Path, labels: tuple[str, ...]) -> Rows:
    """Sentences apart by an empty line; a word, then a tab or blank, then its tag, a line. Of lines with more columns
    the first is the word and the last its tag (CoNLL-2003), or after a number the two that follow (UNER), where that
    is a tag of a chunk. Comments and marks of documents are passed over."""
    if path.suffix == ".conllu":
        yield from _conllu(path, labels)
        return
    width, numbered = 0, False
    blocks = ([item for item in block if not MARK.match(item[1])] for block in _blocks(path))
    for number, block in enumerate(filter(None, blocks), 1):
        words: list[tuple[str, str]] = []  # and their tags, "" for none
        table = [line.split("\t" if "\t" in line else " ") for _, line in block]
        if not width:
            width = len(table[0])
            numbered = width > 2 and [cells[0] for cells in table] == [str(row) for row in range(1, len(table) + 1)]
        for (origin, line), cells in zip(block, table, strict=True):
            columns = len(cells)
            if max(width, columns) > 2 and columns != width:
                raise UserError(f"{origin}: {columns} columns, expected {width} as in the first line: {line[:60]!r}")
            token, tag = cells[numbered], cells[2 if numbered else -1] if columns > 1 else ""
            if not token or (not tag and columns > 1):
                raise UserError(f"{origin}: expected a word and its tag, found {line!r}")
            if columns > 2 and not CHUNK_TAG.fullmatch(tag):
                layouts = "columns as in CoNLL-2003 or UNER (files of Universal Dependencies end in .conllu)"
                raise UserError(f"{origin}: expected a word and its tag, or {layouts}, found {line[:60]!r}")
            if tag:
                tag = label_name(tag)
                _check_tag(tag, labels, origin)
            if words and bool(tag) != bool(words[0][1]):
                raise UserError(f"{origin}: {line!r}: some words of the sentence have a tag and some none")
            words.append((token, tag))
        tokens, tags = map(list, zip(*words, strict=True))
        yield block[0][0], {"id": str(number), "tokens": tokens, "tags": tags if tags[0] else None}


def _blocks(path: Path) -> Iterator[list[tuple[str, str]]]:
    for empty, block in groupby(lines_of(path), key=lambda item: not item[1].strip(" \t")):
        if not empty:
            yield list(block)


def _check_tag(tag: str, labels: tuple[str, ...], origin: str) -> None:
    if labels and tag not in labels:
        raise UserError(f'{origin}: tag "{tag}" is none of {", ".join(labels)}')


def _conllu(path: Path, labels: tuple[str, ...]) -> Rows:
    """Words as XTREME has them: a fused form is one word with the tag of its head, empty nodes are left out,
    blanks and zero-width non-joiners within a word are dropped. English stays split (did n't): the UD v2.5
    that XTREME took marked no fused forms in EWT, later releases do. The id is ``sent_id``."""
    language = path.name.partition("_")[0]
    ranks = POS_RANK.get(language, POS_RANK[""]).split()
    for number, block in enumerate(_blocks(path), 1):
        identity, spans = str(number), []
        words: dict[int, tuple[str, str, int]] = {}
        for origin, line in block:
            if line.startswith("#"):
                key, _, value = line[1:].partition("=")
                identity = value.strip() if key.strip() == "sent_id" else identity
                continue
            cells = line.split("\t")
            if len(cells) != 10:
                raise UserError(f"{origin}: {len(cells)} columns, expected the 10 of CoNLL-U separated by tabs")
            name, form, tag, head = cells[0], cells[1], cells[3], cells[6]
            if "." in name:
                continue
            if "-" in name:
                if not re.fullmatch("[0-9]{1,6}-[0-9]{1,6}", name):
                    raise UserError(f"{origin}: fused form {name}, expected the numbers of two words, such as 3-4")
                first, last = map(int, name.split("-"))
                spans.append((first, last, form))
                continue
            _check_tag(tag, labels, origin)
            if name != str(len(words) + 1) or not re.fullmatch("[0-9]{1,6}|_", head):
                raise UserError(f"{origin}: word {name} with head {head}, expected word {len(words) + 1} and a number")
            words[int(name)] = (form, tag, 0 if head == "_" else int(head))
        if not words:
            raise UserError(f"{block[0][0]}: a sentence without words")
        if absent := [head for _, _, head in words.values() if head > len(words)]:
            raise UserError(f"{block[0][0]}: a word with head {absent[0]} in a sentence of {len(words)} words")
        surface = {position: (form, tag) for position, (form, tag, _) in words.items()}
        end = 0
        for first, last, form in spans:
            if not end < first < last <= len(words):
                raise UserError(f"{block[0][0]}: fused form {first}-{last} in a sentence of {len(words)} words")
            end = last
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


# The field's sections (Clark and Curran 2007, doi:10.1162/coli.2007.33.4.493).
SECTIONS = {"train": range(2, 22), "dev": range(1), "test": range(23, 24)}
LEAF = re.compile(r"<L (\S+) \S+ \S+ (\S+) \S+>")  # category, two tags, word, category with its dependencies


def paths(folder: Path, split: str) -> list[Path]:
    """The AUTO files of a split's sections, else ``<split>.tsv``; [] where the folder holds neither."""
    for root in (folder / "data" / "AUTO", folder / "AUTO"):
        if files := [path for section in SECTIONS[split] for path in sorted((root / f"{section:02}").glob("*.auto"))]:
            return files
    return [*folder.glob(f"{split}.tsv")]


def auto(path: Path, labels: tuple[str, ...]) -> Rows:
    """One derivation a line, after a line ``ID=wsj_0001.1 PARSER=GOLD …``; its leaves are the words."""
    identity = ""
    for origin, line in lines_of(path):
        if line.startswith("ID="):
            identity = line.split()[0].removeprefix("ID=")
            continue
        leaves = LEAF.findall(line)
        if not identity or not leaves or len(leaves) != line.count("(<L "):
            expected = "ID=… and then, on the next line, a derivation with leaves (<L category tag tag word category>)"
            raise UserError(f"{origin}: expected {expected}, found {line[:60]!r}")
        tags, tokens = zip(*leaves, strict=True)
        yield origin, {"id": identity, "tokens": list(tokens), "tags": list(tags)}
        identity = ""
