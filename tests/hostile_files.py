"""What a hostile input is; hostile files, one by one: what each reader is given and what it must say."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

from xstilts.errors import LONGEST
from xstilts.readers.pairs_and_choices import read
from xstilts.tasks import NLI, UPOS, WIKIANN


class Case(NamedTuple):
    group: str
    name: str
    attempt: Callable[[Path], Any]  # called with an empty folder
    message: str  # regular expression of the one UserError; "" = it must work


def one_line(message: str) -> None:
    """What a terminal shows as one line, and no more of it than a person reads."""
    assert not {category(character) for character in message} & {"Cc", "Cs", "Zl", "Zp"} and len(message) <= LONGEST


def squad(*questions, version="1.1", context="Ünter 🙂 sah Ana.", **paragraph):
    article = {"title": "t", "paragraphs": [{"context": context, "qas": list(questions), **paragraph}]}
    return json.dumps({"version": version, "data": [article]}, ensure_ascii=False)


def asked(identity="q1", *answers, **more):
    answers = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": identity, "question": "Who?", "answers": answers, **more}


CONLLU = """\
# sent_id = s-1
1-2\tim\t_\t_\t_\t_\t_\t_\t_\t_
1\tin\tin\tADP\t_\t_\t3\tcase\t_\t_
2\tdem\tder\tDET\t_\t_\t3\tdet\t_\t_
3\tHaus am\tHaus\tNOUN\t_\t_\t0\troot\t_\t_
3.1\tist\tsein\tAUX\t_\t_\t_\t_\t0:root\t_

"""


def conllu(change=("", "")):
    return CONLLU.replace(*change) if change[0] else CONLLU


COPA = '{"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "idx": 0, "label": 0}'
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"
CHOICES = '{"id": "i", "answerKey": "A", "question": {"stem": "s", "choices": %s}}'
TWO = '[{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]'
ENDINGS = '{"ind": %d, "ctx": "c", "endings": %s, "label": 0}'
XQUAD_R = {"sentences": ["Ünter 🙂", "sah Ana."]}


def raw(value: Any) -> str:
    return json.dumps({"version": "1.1", "data": value})


ROWS = [  # reader, labels, file, content, message
    ("pairs", NLI, "d.tsv", "a\tb\tneutral\nc\td\tmaybe\n", r'd.tsv:2: label "maybe" is none of entailment'),
    ("pairs", NLI, "d.tsv", "a\tb\tneutral\nc\td\n", r"d.tsv:2: 2 columns, expected 3"),
    ("pairs", NLI, "d.tsv", "a\tb\tneutral\n\nc\td\tneutral\n", r"d.tsv:2: 1 columns, expected 3"),
    ("pairs", NLI, "d.tsv", "a\tb\tneutral\nc\td\t\n", r"d.tsv:2: empty label"),
    ("pairs", NLI, "d.tsv", "one\n", r"d.tsv:1: 1 columns and no header"),
    ("pairs", NLI, "d.tsv", "id\tpremise\thypothesis\tlabel\n1\ta\tb\tneutral\n1\tc\td\tneutral\n",
     r'd.tsv:3: id "1" stands already at .*d.tsv:2'),
    ("pairs", NLI, "d.tsv", "id\tpremise\thypothesis\tlabel\n", r"d.tsv: holds no examples"),
    ("pairs", NLI, "d.tsv", "", r"d.tsv: is empty"),
    ("pairs", NLI, "d.tsv", b"a\tb\tneutral\nc\xff\td\tneutral\n", r"d.tsv:2: not UTF-8"),
    ("pairs", NLI, "d.jsonl", '{"uid": "1", "context": "a", "label": "e"}', r'd.jsonl:1: no "text_b"'),
    ("copa", (), "v.jsonl", COPA + "\n" + COPA, r'v.jsonl:2: id "0" stands already at .*:1'),
    ("copa", (), "v.jsonl", COPA.replace('"label": 0', '"label": 2'), r"v.jsonl:1: label 2, expected 0 to 1, or -1"),
    ("copa", (), "v.jsonl", COPA.replace("cause", "why"), r'v.jsonl:1: question "why" is neither'),
    ("copa", (), "v.jsonl", COPA.replace("premise", "premises"), r'no "premise"; did you mean "premises"'),
    ("copa", (), "v.jsonl", COPA + "\n" + COPA.replace('"idx": 0, "label": 0', '"idx": 1'),
     r"v.jsonl:2: gold in some rows and none in others"),
    ("copa", (), "v.jsonl", "[1]", r"v.jsonl:1: expected a JSON object"),
    ("hellaswag", (), "h.jsonl", ENDINGS.replace("0", "2") % (1, '["a", "b"]'), r"h.jsonl:1: label"),
    ("cosmosqa", (), "v.csv", COSMOS + "1,c,q,a,b,c,d,4\n", r'v.csv:2: label "4" is none of 0, 1, 2, 3'),
    ("cosmosqa", (), "v.csv", COSMOS + "1,c,q,a,b\n", r"v.csv:2: 5 columns, expected 8"),
    ("cosmosqa", (), "v.csv", "id,context\n1,c\n", r'v.csv:2: no "question"; known: context, id'),
    ("tagged", WIKIANN, "d.tsv", "a\tO\nb\tB-DATE\n", r'd.tsv:2: tag "B-DATE" is none of O, B-PER'),
    ("tagged", WIKIANN, "d.tsv", "a\tO\nb\n", r"d.tsv:2: 'b': some words .* some none"),
    ("tagged", WIKIANN, "d.tsv", "a\tO\nb\t\n", r"d.tsv:2: expected a word and its tag"),
    ("tagged", UPOS, "x.conllu", conllu(("\tNOUN\t", "\tNOMEN\t")), r'x.conllu:5: tag "NOMEN" is none of ADJ'),
    ("tagged", UPOS, "x.conllu", conllu(("3\tHaus am", "4\tHaus am")), r"x.conllu:5: word 4 .* expected word 3"),
    ("tagged", UPOS, "x.conllu", conllu(("\t_\n2\t", "\n2\t")), r"x.conllu:3: 9 columns, expected the 10"),
    ("tagged", UPOS, "x.conllu", conllu(("1-2", "1-9")), r"x.conllu:1: fused form 1-9 in a sentence of 3 words"),
    ("tagged", UPOS, "x.conllu", "# sent_id = 1\n", r"x.conllu:1: a sentence without words"),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 11))), r"x.json: question q7: the answer 'Ana' is not at"),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", -4))), r"question q7: .*answer_start -4"),
    ("squad", (), "x.json", squad(asked("q7"), asked("q7")), r'question q7: id "q7" stands already'),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 12)), asked("q8")), r"question q8: gold in some rows"),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 12), is_impossible=True)), r"q7: is_impossible, and"),
    ("squad", (), "x.json", squad(), r"x.json: holds no examples"),
    ("squad", (), "x.json", '{"date": []}', r'x.json: no "data"; did you mean "date"'),
    ("xquad_r", (), "x.json", squad(asked("q7", ("Ana", 12)), sentences=["Ana"], sentence_breaks=[[0, 3]]),
     r"question q7: sentence 'Ana' does not stand at 0-3"),
    # truncated, as a download that broke off
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 12)))[:-20], r"x.json:1: not JSON .*is the file whole"),
    ("copa", (), "v.jsonl", COPA + "\n" + COPA[:-30], r"v.jsonl:2: not JSON .*is the file whole"),
    # encodings
    ("pairs", NLI, "d.tsv", "ä\tb\tneutral\n".encode("latin-1"), r"d.tsv:1: not UTF-8 .*save the file as UTF-8"),
    ("pairs", NLI, "d.tsv", "a\tb\tneutral\nc\x00\td\tneutral\n", r"d.tsv:2: a NUL byte; expected text in UTF-8"),
    ("copa", (), "v.jsonl", COPA.replace('"p"', '"\\ud83d"'), r"v.jsonl:1: not JSON .*hex escape"),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 12))).replace("Who?", "\\udfff"), r"not JSON .*surrogate"),
    # JSON that Python takes and nobody means
    ("copa", (), "v.jsonl", COPA.replace('"label": 0', '"label": NaN'), r"v.jsonl:1: not JSON .expected value"),
    ("copa", (), "v.jsonl", COPA.replace('"label": 0', '"label": true'), r'v.jsonl:1: label "True" is none of choice1'),
    ("copa", (), "v.jsonl", COPA.replace('"idx": 0', '"idx": true'), r'v.jsonl:1: "idx" is True, expected str'),
    ("copa", (), "v.jsonl", COPA.replace('"idx": 0', '"idx": ' + "1" * 5000), r"not JSON .number out of range"),
    ("copa", (), "v.jsonl", "[" * 100_000, r"v.jsonl:1: not JSON"),
    ("squad", (), "x.json", "[" * 100_000 + "]" * 100_000, r"not JSON .recursion limit exceeded"),
    # JSON of another shape
    ("squad", (), "x.json", raw(["t"]), r"x.json: article '': expected a JSON object with \"paragraphs\", found 't'"),
    ("squad", (), "x.json", raw([{"paragraphs": [7]}]), r'expected a JSON object with "context", found \'7\''),
    ("squad", (), "x.json", raw([{"paragraphs": [{"context": "a", "qas": {"id": "1"}}]}]), r'"qas" is .*expected list'),
    ("squad", (), "x.json", squad(asked("q7") | {"answers": 5}), r'question q7: "answers" is 5, expected list'),
    ("squad", (), "x.json", squad(asked("q7") | {"answers": ["Ana"]}), r'q7: expected a JSON object with "text"'),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", "12"))), r"question q7: \"answer_start\" is '12', expected int"),
    ("squad", (), "x.json", squad(asked("q7", ("Ana", 12), is_impossible="no")), r"q7: \"is_impossible\" is 'no'"),
    ("xquad_r", (), "x.json", squad(asked("q7", ("Ana", 12)), **XQUAD_R, sentence_breaks=[[0], [8, 16]]),
     r"question q7: \"sentence_breaks\" holds \[0\], expected pairs"),
    ("xquad_r", (), "x.json", squad(asked("q7", ("Ana", 12)), **XQUAD_R, sentence_breaks=[[0, 7]]), "sentences and 1"),
    ("xquad_r", (), "x.json", squad(asked("q7", ("Ana", 12)), sentences=[1, 2], sentence_breaks=[[0, 1], [1, 2]]),
     r'"sentences" holds 1, expected texts alone'),
    ("hellaswag", (), "h.jsonl", ENDINGS % (1, '["a", 2]'), r'h.jsonl:1: "endings" holds 2, expected texts alone'),
    ("hellaswag", (), "h.jsonl", ENDINGS % (1, '["a"]'), r'h.jsonl:1: "endings" holds 1, expected two or more'),
    ("hellaswag", (), "h.jsonl", ENDINGS % (1, '["a", "b"]') + "\n" + ENDINGS % (2, '["a", "b", "c"]'),
     r"h.jsonl:2: 3 choices, and the first row has 2"),
    ("commonsenseqa", (), "c.jsonl", CHOICES % '["A"]', r'c.jsonl:1: expected a JSON object with "label", found \'A\''),
    ("commonsenseqa", (), "c.jsonl", CHOICES % '[{"label": "A", "text": "a"}]', r'"choices" holds 1, expected two'),
    ("commonsenseqa", (), "c.jsonl", CHOICES.replace("A", "F") % TWO, r'c.jsonl:1: answerKey "F" is none of A, B'),
    ("cosmosqa", (), "v.csv", '"id"x,context\n', r"v.csv:1: not CSV"),
    ("cosmosqa", (), "v.csv", COSMOS + '1,c,q,a,b,c,d,1\n2,"c,q\n', r"v.csv:3: not CSV \(unexpected end"),
    # trees that are none
    ("tagged", UPOS, "x.conllu", conllu(("1-2", "1-x")), r"x.conllu:2: fused form 1-x, expected the numbers of two"),
    ("tagged", UPOS, "x.conllu", conllu(("1-2", "0-2")), r"x.conllu:1: fused form 0-2 in a sentence of 3 words"),
    ("tagged", UPOS, "x.conllu", conllu(("_\t_\t3\tdet", "_\t_\t²\tdet")), r"x.conllu:4: word 2 with head ²"),
    ("tagged", UPOS, "x.conllu", conllu(("_\t_\t3\tdet", "_\t_\t9\tdet")), r"x.conllu:1: a word with head 9 in a"),
    ("tagged", UPOS, "x.conllu", conllu(("3\tHaus am", "2-3\tx\t_\t_\t_\t_\t_\t_\t_\t_\n3\tHaus am")),
     r"x.conllu:1: fused form 2-3 in a sentence of 3 words"),
    ("ccgbank", (), "w.auto", "(<T S[dcl] 0 2> )\n", r"w.auto:1: expected ID="),
    ("mewslix_entities", (), "e.jsonl", '{"entity_id": "Q1"}', r'e.jsonl:1: no "description_language"'),
    ("mewslix_mentions", (), "m.jsonl", '{"context": {}, "mentions": [3]}', r'm.jsonl:1: expected a JSON object with'),
    ("verses", (), "v.tsv", "1\ta\n1\tb\n", r'v.tsv:2: id "1" stands already at .*v.tsv:1'),
    ("tagged", UPOS, "x.conllu", conllu() + conllu(), r'x.conllu:8: id "s-1" stands already at .*x.conllu:1'),
]  # fmt: skip


def read_file(reader: str, labels: tuple[str, ...], name: str, content: str | bytes, folder: Path) -> list[dict]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(reader, path, labels)


CASES = [
    Case("file", f"{reader} {number}, {message}", partial(read_file, reader, labels, name, content), message)
    for number, (reader, labels, name, content, message) in enumerate(ROWS)
]
