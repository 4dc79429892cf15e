"""Readers on small files written here: what they make of each format, and what they refuse."""

import json

import pytest

from hostile_files import asked, conllu, squad
from xstilts.errors import UserError
from xstilts.readers.pairs_and_choices import has_gold, read
from xstilts.tasks import NLI, PARAPHRASE, TASKS, UPOS, WIKIANN


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


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
    row = read("hellaswag", write("h.jsonl", json.dumps(swag | {"ctx_a": "a.", "ctx_b": "b", "ctx": "a. b"})))[0]
    assert (row["context"], row["choices"]) == ("a.", ["b w", "b x", "b y", "b z"])  # as jiant parts them
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


# --- what is refused: hostile_files.py has the rest ----------------------------------------------------


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
