"""Readers on small files written here: what they make of each format, and what they refuse."""

import json

import pytest

from xstilts.errors import UserError
from xstilts.sources.readers import has_gold, read
from xstilts.tasks import NLI, PARAPHRASE, TASKS, UPOS, WIKIANN


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def squad(*questions, version="1.1", context="Ünter 🙂 sah Ana.", **paragraph):
    article = {"title": "t", "paragraphs": [{"context": context, "qas": list(questions), **paragraph}]}
    return json.dumps({"version": version, "data": [article]}, ensure_ascii=False)


def asked(identity="q1", *answers, **more):
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": identity, "question": "Who?", "answers": found, **more}


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


# --- what is read ------------------------------------------------------------------------------------


def test_pair_tables(write):
    plain = write("dev.tsv", 'a "x\tb\tneutral\nc\td\tcontradictory\r\n')
    assert read("pairs", plain, NLI) == [
        {"id": "1", "text_a": 'a "x', "text_b": "b", "label": 1},
        {"id": "2", "text_a": "c", "text_b": "d", "label": 2},
    ]
    header = write("sick.txt", "pair_ID\tsentence_A\tsentence_B\tentailment_judgment\n7\ta\tb\tENTAILMENT\n")
    assert read("pairs", header, NLI) == [{"id": "7", "text_a": "a", "text_b": "b", "label": 0}]
    mrpc = write("mrpc.txt", '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t5\t6\the said " no\tx\n')
    assert read("pairs", mrpc, PARAPHRASE) == [{"id": "2", "text_a": 'he said " no', "text_b": "x", "label": 1}]
    anli = write("dev.jsonl", '{"uid": "u", "context": "a", "hypothesis": "b", "label": "c", "reason": ""}\n')
    assert read("pairs", anli, NLI) == [{"id": "u", "text_a": "a", "text_b": "b", "label": 2}]
    mnli = write("m.jsonl", "".join(
        json.dumps({"pairID": i, "sentence1": "a", "sentence2": "b", "gold_label": label}) + "\n"
        for i, label in enumerate(["neutral", "-"])
    ))  # fmt: skip
    assert [row["label"] for row in read("pairs", mnli, NLI)] == [1]  # no agreement: left out


def test_quotes_that_csv_wrote_are_undone_and_raw_ones_kept(write):
    path = write("dev.tsv", '"He said ""no"" twice"\t"""Yes"" it was"\t1\n"Instead of action," he said.\t"So"\t0\n')
    first, second = read("pairs", path, PARAPHRASE)
    assert (first["text_a"], first["text_b"]) == ('He said "no" twice', '"Yes" it was')
    assert (second["text_a"], second["text_b"]) == ('"Instead of action," he said.', '"So"')


def test_unlabelled_pairs(write):
    rows = read("pairs", write("test.tsv", "a\tb\nc\td\n"), NLI)
    assert [row["label"] for row in rows] == [-1, -1] and not has_gold(rows[0])


def test_line_separators_inside_a_field_do_not_split_it(write):
    rows = read("pairs", write("dev.tsv", "a\u2028b\tc\x85d\tneutral\n"), NLI)
    assert rows == [{"id": "1", "text_a": "a\u2028b", "text_b": "c\x85d", "label": 1}]


def test_choices(write):
    copa = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "idx": 3, "label": 1}
    path = write("val.jsonl", json.dumps(copa) + "\r\n" + json.dumps(copa | {"idx": 4, "question": "effect"}) + "\r\n")
    first, second = read("copa", path)
    assert first == {
        "id": "3", "context": "p", "question": "What was the cause?", "choices": ["a", "b"], "label": 1,
    }  # fmt: skip
    assert second["question"] == "What was the effect?"
    social = {"context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "correct": "C"}
    assert read("socialiqa", write("s.jsonl", json.dumps(social)))[0]["label"] == 2
    goals = [{"goal": f"g{i}", "sol1": "x", "sol2": "y"} for i in range(2)]
    write("valid-labels.lst", "1\n0\n")
    rows = read("piqa", write("valid.jsonl", "\n".join(map(json.dumps, goals))))
    assert [row["label"] for row in rows] == [1, 0]
    assert rows[1] == {"id": "2", "context": "", "question": "g1", "choices": ["x", "y"], "label": 0}
    swag = {"ind": 4, "ctx": "c", "endings": ["w", "x", "y", "z"], "label": 3}
    assert read("hellaswag", write("h.jsonl", json.dumps(swag)))[0]["choices"] == ["w", "x", "y", "z"]
    letters = [{"label": letter, "text": letter.lower()} for letter in "BAC"]
    csqa = {"id": "i", "answerKey": "B", "question": {"stem": "s", "choices": letters}}
    row = read("commonsenseqa", write("c.jsonl", json.dumps(csqa)))[0]
    assert (row["choices"], row["label"], row["question"]) == (["a", "b", "c"], 1, "s")
    del csqa["answerKey"]
    assert not has_gold(read("commonsenseqa", write("c.jsonl", json.dumps(csqa)))[0])
    cosmos = 'id,context,question,answer0,answer1,answer2,answer3,label\n5,"a, ""b""\nc",q,w,x,y,z,2\n'
    assert read("cosmosqa", write("v.csv", cosmos)) == [
        {"id": "5", "context": 'a, "b"\nc', "question": "q", "choices": ["w", "x", "y", "z"], "label": 2}
    ]


def test_a_choice_without_its_label_is_an_error(write):
    path = write("train.jsonl", json.dumps({"goal": "g", "sol1": "x", "sol2": "y"}))
    with pytest.raises(UserError, match=r"train-labels\.lst: is missing"):
        read("piqa", path)
    write("train-labels.lst", "1\n0\n")
    with pytest.raises(UserError, match="1 lines, its labels 2; expected the same number"):
        read("piqa", path)
    write("train-labels.lst", "2\n")
    with pytest.raises(UserError, match=r"train-labels\.lst:1: .*2"):
        read("piqa", path)


def test_tagged_sentences(write):
    path = write("dev.tsv", 'Ana\tB-PER\r\n"""\tO\r\n\r\n\r\nKo \u3000\tO\n\n\n')
    rows = read("tagged", path, WIKIANN)
    assert [row["tokens"] for row in rows] == [["Ana", '"""'], ["Ko \u3000"]]
    assert [row["tags"] for row in rows] == [["B-PER", "O"], ["O"]]
    blank = read("tagged", write("train.txt", "Jumatatu B-DATE\n, O\n"), TASKS["masakhaner"].labels)
    assert blank[0]["tags"] == ["B-DATE", "O"]
    bare = read("tagged", write("test.tsv", "Ana\nlives\n\nhere\n"), UPOS)
    assert [row["tags"] for row in bare] == [None, None] and bare[0]["tokens"] == ["Ana", "lives"]
    open_set = read("tagged", write("ccg.tsv", "sees\t(S[dcl]\\NP)/NP\n"))
    assert open_set[0]["tags"] == ["(S[dcl]\\NP)/NP"]


def test_conllu_words_are_those_of_xtreme(write):
    """A fused form is one word, tagged as its highest or (both equally high) first-ranked part."""
    row = read("tagged", write("de_gsd-ud-test.conllu", conllu()), UPOS)[0]
    assert row == {"id": "s-1", "tokens": ["im", "Hausam"], "tags": ["ADP", "NOUN"]}
    higher = conllu(("DET\t_\t_\t3", "DET\t_\t_\t0"))
    assert read("tagged", write("de_gsd-ud-test.conllu", higher), UPOS)[0]["tags"] == ["DET", "NOUN"]
    row = read("tagged", write("en_ewt-ud-test.conllu", conllu()), UPOS)[0]
    assert row["tokens"] == ["in", "dem", "Hausam"]  # the English that XTREME took marks no fused forms


def test_spans_count_code_points(write):
    row = read("squad", write("x.json", squad(asked("q1", ("Ana", 12), ("sah Ana", 8)))))[0]
    assert row == {
        "id": "q1", "context": "Ünter 🙂 sah Ana.", "question": "Who?", "is_impossible": False,
        "answers": {"text": ["Ana", "sah Ana"], "answer_start": [12, 8]},
    }  # fmt: skip


def test_questions_without_answers(write):
    second = read("squad", write("v2.json", squad(asked("q1"), asked("q2", ("Ana", 12)), version="v2.0")))
    assert [row["is_impossible"] for row in second] == [True, False]
    flagged = read("squad", write("v2.json", squad(asked("q1", is_impossible=True))))
    assert flagged[0]["is_impossible"] and has_gold(flagged[0])
    withheld = read("squad", write("test.json", squad(asked("q1"))))
    assert not withheld[0]["is_impossible"] and not has_gold(withheld[0])


def test_xquad_r_sentences(write):
    content = squad(asked("q1", ("Ana", 12)), sentences=["Ünter 🙂", "sah Ana."], sentence_breaks=[[0, 7], [8, 16]])
    assert read("xquad_r", write("de.json", content))[0]["sentences"] == ["Ünter 🙂", "sah Ana."]


def test_retrieval_sets(write):
    write("tatoeba.deu-eng.eng", "one\ntwo\n")
    rows = read("tatoeba", write("tatoeba.deu-eng.deu", "eins\nzwei\n"))
    assert rows[1] == {"id": "2", "query": "two", "candidate": "zwei"}
    write("zh-en.dev.en", "en-1\tone\nen-2\ttwo\n")
    write("zh-en.dev.gold", "zh-1\ten-2\n")
    rows = read("bucc", write("zh-en.dev.zh", "zh-1\t二\nzh-2\t三\n"))
    assert [(row["id"], row["side"], row["gold"]) for row in rows] == [
        ("zh-1", "foreign", ["en-2"]), ("zh-2", "foreign", []), ("en-1", "source", []), ("en-2", "source", ["zh-1"]),
    ]  # fmt: skip


# --- what is refused ---------------------------------------------------------------------------------

COPA = '{"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "idx": 0, "label": 0}'
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"


@pytest.mark.parametrize(
    ("reader", "labels", "name", "content", "message"),
    [
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
        ("copa", (), "v.jsonl", COPA + "\n{not json}\n", r"v.jsonl:2: not JSON"),
        ("copa", (), "v.jsonl", COPA + "\n" + COPA, r'v.jsonl:2: id "0" stands already at .*:1'),
        ("copa", (), "v.jsonl", COPA.replace('"label": 0', '"label": 2'), r'v.jsonl:1: label "2" is none of 0, 1'),
        ("copa", (), "v.jsonl", COPA.replace("cause", "why"), r'v.jsonl:1: question "why" is neither'),
        ("copa", (), "v.jsonl", COPA.replace("premise", "premises"), r'no "premise"; did you mean "premises"'),
        ("copa", (), "v.jsonl", COPA + "\n" + COPA.replace('"idx": 0, "label": 0', '"idx": 1'),
         r"v.jsonl:2: gold in some rows and none in others"),
        ("copa", (), "v.jsonl", "[1]", r"v.jsonl:1: expected a JSON object"),
        ("hellaswag", (), "h.jsonl", '{"ind": 1, "ctx": "c", "endings": ["a", "b"], "label": 2}', r"h.jsonl:1: label"),
        ("cosmosqa", (), "v.csv", COSMOS + "1,c,q,a,b,c,d,4\n", r'v.csv:2: label "4" is none of 0, 1, 2, 3'),
        ("cosmosqa", (), "v.csv", COSMOS + "1,c,q,a,b\n", r"v.csv:2: 5 columns, expected 8"),
        ("cosmosqa", (), "v.csv", COSMOS + '1,"c,q,a,b,c,d,1\n', r"v.csv:2: not CSV"),
        ("cosmosqa", (), "v.csv", "id,context\n1,c\n", r'v.csv:1: no column "question"'),
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
        ("squad", (), "x.json", '{"data": [}', r"x.json:1: not JSON"),
        ("squad", (), "x.json", '{"date": []}', r'x.json: no "data"; did you mean "date"'),
        ("xquad_r", (), "x.json", squad(asked("q7", ("Ana", 12)), sentences=["Ana"], sentence_breaks=[[0, 3]]),
         r"question q7: sentence 'Ana' does not stand at 0-3"),
    ],
)  # fmt: skip
def test_malformed_files_are_named(write, reader, labels, name, content, message):
    with pytest.raises(UserError, match=message):
        read(reader, write(name, content), labels)


def test_malformed_companions_are_named(write):
    path = write("tatoeba.deu-eng.deu", "eins\nzwei\n")
    with pytest.raises(UserError, match=r"tatoeba.deu-eng.eng: is missing"):
        read("tatoeba", path)
    write("tatoeba.deu-eng.eng", "one\n")
    with pytest.raises(UserError, match=r"deu: 2 lines, its English side 1"):
        read("tatoeba", path)
    write("tatoeba.deu-eng.eng", "\ntwo\n")
    with pytest.raises(UserError, match=r"eng:1: an empty line"):
        read("tatoeba", path)
    path = write("zh-en.dev.zh", "zh-1\t二\n")
    write("zh-en.dev.en", "en-1\tone\n")
    write("zh-en.dev.gold", "zh-1\ten-9\n")
    with pytest.raises(UserError, match=r'gold:1: no source sentence has the id "en-9"'):
        read("bucc", path)
