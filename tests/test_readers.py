"""Readers on small files written here: what they make of each format, and what they refuse."""

import json

import pytest

from hostile_files import asked, conllu, squad
from xstilts.errors import UserError
from xstilts.readers.pairs_and_choices import has_gold, read
from xstilts.sources.files import COLUMNS
from xstilts.tasks import NLI, PARAPHRASE, TASKS, UPOS, WIKIANN


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode())
        return path

    return write


# --- what is read ------------------------------------------------------------------------------------

MNLI = '{"pairID": "%s", "sentence1": "a", "sentence2": "b", "gold_label": "%s"}\n'
QUOTED = '"He said ""no"" twice"\t"""Yes"" it was"\t1\n"Instead of action," he said.\t"So"\t0\n'
COPA = '{"premise": "p", "choice1": "a", "choice2": "b", "question": "%s", "idx": %d, "label": 1}\r\n'
SOCIAL = '{"context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "correct": "C"}'
SWAG = '{"ind": 4, %s, "endings": ["w", "x", "y", "z"], "label": 3}'
LETTERS = [{"label": letter, "text": letter.lower()} for letter in "BAC"]
CSQA = {"id": "i", "question": {"stem": "s", "choices": LETTERS}}
GOAL = '{"goal": "g", "sol1": "x", "sol2": "y"}\n'
COSMOS = 'id,context,question,answer0,answer1,answer2,answer3,label\n5,"a, ""b""\nc",q,w,x,y,z,2\n'
CAUSE, EFFECT = "What was the cause?", "What was the effect?"
FORMATS = [  # reader, labels, file, content -> the rows' values in the order of COLUMNS
    ("pairs", NLI, "dev.tsv", 'a "x\tb\tneutral\nc\td\tcontradictory\r\n', [("1", 'a "x', "b", 1), ("2", "c", "d", 2)]),
    ("pairs", NLI, "sick.txt", "pair_ID\tsentence_A\tsentence_B\tentailment_judgment\n7\ta\tb\tENTAILMENT\n",
     [("7", "a", "b", 0)]),
    ("pairs", PARAPHRASE, "mrpc.txt",
     '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t5\t6\the said " no\tx\n', [("2", 'he said " no', "x", 1)]),
    ("pairs", NLI, "dev.jsonl", '{"uid": "u", "context": "a", "hypothesis": "b", "label": "c", "reason": ""}\n',
     [("u", "a", "b", 2)]),
    ("pairs", NLI, "m.jsonl", MNLI % (0, "neutral") + MNLI % (1, "-"), [("0", "a", "b", 1)]),  # no agreement: left out
    ("pairs", PARAPHRASE, "dev.tsv", QUOTED,  # quotes that CSV wrote are undone and raw ones stay
     [("1", 'He said "no" twice', '"Yes" it was', 1), ("2", '"Instead of action," he said.', '"So"', 0)]),
    ("pairs", NLI, "test.tsv", "a\tb\nc\td\n", [("1", "a", "b", -1), ("2", "c", "d", -1)]),
    ("copa", (), "val.jsonl", COPA % ("cause", 3) + COPA % ("effect", 4),
     [("3", "p", CAUSE, ["a", "b"], 1), ("4", "p", EFFECT, ["a", "b"], 1)]),
    ("socialiqa", (), "s.jsonl", SOCIAL, [("1", "c", "q", ["x", "y", "z"], 2)]),
    ("hellaswag", (), "h.jsonl", SWAG % '"ctx": "c"', [("4", "c", "", ["w", "x", "y", "z"], 3)]),
    ("hellaswag", (), "h.jsonl", SWAG % '"ctx_a": "a.", "ctx_b": "b", "ctx": "a. b"',  # as jiant parts them
     [("4", "a.", "", ["b w", "b x", "b y", "b z"], 3)]),
    ("commonsenseqa", (), "c.jsonl", json.dumps(CSQA | {"answerKey": "B"}), [("i", "", "s", ["a", "b", "c"], 1)]),
    ("commonsenseqa", (), "c.jsonl", json.dumps(CSQA), [("i", "", "s", ["a", "b", "c"], -1)]),
    ("cosmosqa", (), "v.csv", COSMOS, [("5", 'a, "b"\nc', "q", ["w", "x", "y", "z"], 2)]),
    ("tagged", WIKIANN, "dev.tsv", 'Ana\tB-PER\r\n"""\tO\r\n\r\n\r\nKo \u3000\tO\n\n\n',
     [("1", ["Ana", '"""'], ["B-PER", "O"]), ("2", ["Ko \u3000"], ["O"])]),
    ("tagged", TASKS["masakhaner"].labels, "train.txt", "Jumatatu B-DATE\n, O\n",
     [("1", ["Jumatatu", ","], ["B-DATE", "O"])]),
    ("tagged", UPOS, "test.tsv", "Ana\nlives\n\nhere\n", [("1", ["Ana", "lives"], None), ("2", ["here"], None)]),
    ("tagged", (), "ccg.tsv", "sees\t(S[dcl]\\NP)/NP\n", [("1", ["sees"], ["(S[dcl]\\NP)/NP"])]),
    # a fused form is one word, tagged as its highest or (both equally high) first-ranked part; the English that XTREME
    # took marks none
    ("tagged", UPOS, "de_gsd-ud-test.conllu", conllu(), [("s-1", ["im", "Hausam"], ["ADP", "NOUN"])]),
    ("tagged", UPOS, "de_gsd-ud-test.conllu", conllu(("DET\t_\t_\t3", "DET\t_\t_\t0")),
     [("s-1", ["im", "Hausam"], ["DET", "NOUN"])]),
    ("tagged", UPOS, "en_ewt-ud-test.conllu", conllu(), [("s-1", ["in", "dem", "Hausam"], ["ADP", "DET", "NOUN"])]),
    ("squad", (), "x.json", squad(asked("q1", ("Ana", 12), ("sah Ana", 8))),  # offsets count code points
     [("q1", "Ünter 🙂 sah Ana.", "Who?", {"text": ["Ana", "sah Ana"], "answer_start": [12, 8]}, False)]),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "labels", "name", "content", "values"), FORMATS)
def test_formats(write, reader, labels, name, content, values):
    kind = {"pairs": "classification", "tagged": "tagging", "squad": "span"}.get(reader, "choice")
    rows = read(reader, write(name, content), labels)
    assert rows == [dict(zip(COLUMNS[kind], row, strict=True)) for row in values]
    assert [has_gold(row) for row in rows] == [row[-1] not in (-1, None) for row in values]


LAYOUTS = {  # two sentences as sets of more columns have them; each line's last cells
    "conll2003.txt": "-DOCSTART- -X- -X- O\n\n1 CD B-NP B-PER\nsings VBZ B-VP O\n\n{} NNP B-NP B-LOC\n",
    "conll2002.txt": "1 NP B-PER\nsings V O\n\n{} NP B-LOC\n",
    "multiconer.conll": "# id 5-a\tdomain=en\n1 _ _ B-PER\nsings _ _ O\n\n# id 6\tdomain=en\n{} _ _ B-LOC\n",
    "uner.iob2": "# sent_id = s\n# text = 1\n1\t1\tB-PER\t-\ta\n2\tsings\tO\t-\ta\n\n1\t{}\tB-LOC\t-\ta\n",
    "three.tsv": "1\t1\tB-PER\n2\tsings\tO\n\n1\t{}\tB-LOC\n",
    "germeval.tsv": "#\tn-tv.de vom 26.02.2005 [2005-02-26]\n1\t1\tB-PER\tO\n2\tsings\tO\tO\n\n1\t{}\tB-LOC\tO\n",
    "two.txt": "-DOCSTART- O\n\n1 B-PER\nsings O\n\n{} B-LOC\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("word", ["Oslo", "#", "#text", "2"])
def test_tagged_files_of_more_columns_are_read_by_what_they_are(write, name, word):
    rows = read("tagged", write(name, LAYOUTS[name].format(word)))
    assert [row["tokens"] for row in rows] == [["1", "sings"], [word]]
    assert [row["tags"] for row in rows] == [["B-PER", "O"], ["B-LOC"]]


OTHER_COLUMNS = [
    ("a NOUN x\n", r"t.txt:1: expected a word and its tag, or columns as in CoNLL-2003"),
    ("1\ta\ta\tDET\tDT\n", r"t.txt:1: .* or columns .*Universal Dependencies end in .conllu"),
    ("a O\nb c O\n", r"t.txt:2: 3 columns, expected 2 as in the first line"),
    ("a N B-X\nb O\n", r"t.txt:2: 2 columns, expected 3 as in the first line"),
]


@pytest.mark.parametrize(("content", "message"), OTHER_COLUMNS)
def test_tagged_files_of_other_columns_are_refused_at_their_line(write, content, message):
    with pytest.raises(UserError, match=message):
        read("tagged", write("t.txt", content))


def test_ids_that_are_numbers_and_labels_that_are_letters_or_texts_of_numbers(write):
    question = squad(asked("q1", ("Ana", 12))).replace('"q1"', "9101")
    assert read("squad", write("x.json", question))[0]["id"] == "9101"
    for label, index in {'"correct": "B"': 1, '"label": "B"': 1, '"label": "2"': 1, '"label": 2': 1}.items():
        text = SOCIAL.replace('"correct": "C"', label)
        assert read("socialiqa", write("s.jsonl", text))[0]["label"] == index
    assert read("hellaswag", write("h.jsonl", (SWAG % '"ctx": "c"').replace("3}", '" 2"}')))[0]["label"] == 2
    assert read("pairs", write("d.jsonl", MNLI % (7, "2")), NLI)[0]["label"] == 2


def test_labels_in_a_file_beside(write):
    write("valid-labels.lst", "1\n0\n")
    rows = read("piqa", write("valid.jsonl", GOAL + GOAL))
    assert [row["label"] for row in rows] == [1, 0]
    assert rows[1] == {"id": "2", "context": "", "question": "g", "choices": ["x", "y"], "label": 0}


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

GOALS = {"train.jsonl": GOAL}
EINS = {"tatoeba.deu-eng.deu": "eins\nzwei\n"}
MINED = {"zh-en.dev.zh": "zh-1\t二\n", "zh-en.dev.en": "en-1\tone\n", "zh-en.dev.gold": "zh-1\ten-9\n"}


LACKING = [
    ("piqa", GOALS, r"train-labels\.lst: is missing"),
    ("piqa", GOALS | {"train-labels.lst": "1\n0\n"}, "1 lines, its labels 2; expected the same number"),
    ("piqa", GOALS | {"train-labels.lst": "2\n"}, r"train-labels\.lst:1: .*2"),
    ("tatoeba", EINS, r"tatoeba.deu-eng.eng: is missing"),
    ("tatoeba", EINS | {"tatoeba.deu-eng.eng": "one\n"}, r"deu: 2 lines, its English side 1"),
    ("tatoeba", EINS | {"tatoeba.deu-eng.eng": "\ntwo\n"}, r"eng:1: an empty line"),
    ("bucc", MINED, r'gold:1: no source sentence has the id "en-9"'),
]


@pytest.mark.parametrize(("reader", "files", "message"), LACKING)
def test_malformed_companions_are_named(write, reader, files, message):
    paths = [write(name, content) for name, content in files.items()]
    with pytest.raises(UserError, match=message):
        read(reader, paths[0])
