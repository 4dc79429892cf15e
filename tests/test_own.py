"""Tasks of the user's own: what is read from their files, what is said of bad ones, and a study of one."""

import json
import re

import pandas as pd
import pytest
import yaml

import commands
import small
from test_figures import COLUMNS as ESTIMATES
from xstilts import custom_task as own_task
from xstilts import results
from xstilts.__main__ import main
from xstilts.errors import UserError
from xstilts.evaluation import metrics
from xstilts.preflight import check_data
from xstilts.readers.custom import test_files as files_of
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.settings import OwnTask
from xstilts.sources import open_source
from xstilts.study import load_study

CHOICES = {"kind": "choice", "context": "said", "choices": ["a", "b"], "label": "right"}


def declared(folder, files, **own):
    """A study whose one target is the task ``mine`` of these files."""
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    own = {"kind": "classification", "train": str(folder / next(iter(files)))} | own
    path = small.write(folder, "own", targets=["mine"], languages=[], own={"mine": own})
    return load_study(path)


def rows(study, split="train", language="qaa"):
    return open_source(study).load(study.task("mine"), split, language).to_list()


def csv(count, labels=("no", "yes")):
    return "text,label\n" + "".join(f"word {n},{labels[n % len(labels)]}\n" for n in range(count))


def test_csv_with_a_mark_quotes_and_line_breaks(tmp_path):
    text = '\ufefftext,note,label\r\n"a, ""b""\r\nc",x,yes\r\nd,,no\r\n\r\n'
    study = declared(tmp_path, {"train.csv": text, "dev.csv": csv(2)}, dev=str(tmp_path / "dev.csv"))
    assert study.task("mine").labels == ("no", "yes")
    assert [tuple(row.values()) for row in rows(study)] == [("1", 'a, "b"\r\nc', "", 1), ("2", "d", "", 0)]


def test_jsonl_with_numbers_as_labels_and_ids(tmp_path):
    lines = [{"n": number, "q": "x", "r": "y", "s": label} for number, label in enumerate([10, 2, 10, 2, 2])]
    text = "\n".join(map(json.dumps, lines))
    columns = {"id": "n", "text_a": "q", "text_b": "r", "label": "s"}
    study = declared(tmp_path, {"train.jsonl": text, "dev.jsonl": text}, dev=str(tmp_path / "dev.jsonl"), **columns)
    assert study.task("mine").labels == ("2", "10")  # as numbers
    assert rows(study)[0] == {"id": "0", "text_a": "x", "text_b": "y", "label": 1}


def test_tsv_is_raw(tmp_path):
    study = declared(tmp_path, {"train.tsv": 'text\tlabel\n"a\tno\nb"\tyes\nc\tno\nd\tno\ne\tno\nf\tyes\n'})
    assert [row["text_a"] for row in rows(study)] == ['"a', 'b"', "c", "d", "f"]
    assert [row["text_a"] for row in rows(study, "dev")] == ["e"]  # without a file of its own: every fifth row


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [("t.csv", ";", "utf-8-sig"), ("t.csv", "\t", "utf-16"), ("t.tsv", ";", "utf-8"), ("t.tsv", ",", "utf-16")],
)
def test_exports_of_spreadsheets_are_read(tmp_path, name, delimiter, encoding):
    cells = ["message,team", '"un café\t ""noir"", bien; oui",b', '"d\'accord, non",a', *[f"{n},a" for n in range(3)]]
    text = "\r\n".join(line[: line.rindex(",")] + delimiter + line[line.rindex(",") + 1 :] for line in cells)
    study = declared(tmp_path, {name: text.encode(encoding)}, text_a="message", label="team")
    assert [row["text_a"] for row in rows(study)] == ['un café\t "noir", bien; oui', "d'accord, non", "0", "1"]
    assert study.task("mine").labels == ("a", "b") and [row["label"] for row in rows(study)] == [1, 0, 0, 0]


def test_labels_by_name_and_by_number(tmp_path):
    files = {"train.csv": csv(10), "x.csv": csv(4, "01")}
    study = declared(tmp_path, files, labels=["yes", "no"], test={"qab": str(tmp_path / "x.csv")})
    assert [row["label"] for row in rows(study)] == [1, 0, 1, 0, 0, 1, 0, 1]
    assert [row["label"] for row in rows(study, "test", "qab")] == [0, 1] * 2


def test_choices_by_name_and_by_number(tmp_path):
    text = "said,a,b,right\nx,y,z,b\nx2,y,z,0\n"
    study = declared(tmp_path, {"train.csv": text, "dev.csv": text}, dev=str(tmp_path / "dev.csv"), **CHOICES)
    values = [(row["context"], row["choices"], row["label"]) for row in rows(study)]
    assert values == [("x", ["y", "z"], 1), ("x2", ["y", "z"], 0)]


def test_tags_and_questions_are_read_as_published_sets_are(tmp_path):
    tagged = "".join(f"w{n}\tB-X\nv\tO\n\n" for n in range(6))
    study = declared(tmp_path, {"train.tsv": tagged}, kind="tagging")
    assert study.task("mine").labels == ("B-X", "O") and study.task("mine").metrics[0] == "f1" and len(rows(study)) == 5
    questions = [{"id": f"q{n}", "question": "Who?", "answers": [{"text": "Ana", "answer_start": 0}]} for n in range(5)]
    squad = {"data": [{"paragraphs": [{"context": "Ana sah.", "qas": questions}]}]}
    study = declared(tmp_path, {"train.json": json.dumps(squad)}, kind="span")
    assert rows(study, "dev")[0]["answers"] == {"text": ["Ana"], "answer_start": [0]}


def test_test_files_by_pattern_or_by_name(tmp_path):
    files = {"train.csv": csv(10), "x-qac.csv": csv(3), "x-qaa.csv": csv(4), "x-qac.txt": ""}
    study = declared(tmp_path, files, test=str(tmp_path / "x-{language}.csv"))
    source = open_source(study)
    assert source.languages(study.task("mine"), "test") == ["qaa", "qac"] == list(study.task("mine").languages)
    assert len(rows(study, "test", "qac")) == 3
    study = declared(tmp_path, files, test={"qac": str(tmp_path / "x-qac.csv")})
    assert open_source(study).languages(study.task("mine"), "test") == ["qac"]


SHAPES = "x-{language}.csv d/{language}.csv {language}/test.csv {language}.csv d/{language}/t-{language}.csv".split()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("below", ["", ".//", "{root}/"])
def test_the_language_may_stand_anywhere_in_the_path_of_a_test_file(tmp_path, shape, below):
    root = tmp_path / "data"
    files = {code: root / shape.replace("{language}", code) for code in ("qab", "qac")}
    others = [root / name for name in ("train.csv", "dev.csv", "further/down/qad.csv", "d/qab/t-qac.csv")]
    for path in [*files.values(), *others]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    test = below.replace("{root}", str(root)) + shape
    task = OwnTask(kind="classification", train="train.csv", dev="dev.csv", test=test)
    assert files_of("mine", task, root) == files


BAD = {  # files, keys of the task, what is said
    "column": ({"t.csv": "texts,label\na,b\nc,d\n"}, {}, r't.csv:2: no "text"; did you mean "texts"'),
    "label column": ({"t.csv": "text,gold\na,b\n"}, {}, r't.csv:2: no "label"; known: gold, text'),
    "JSON column": ({"t.jsonl": '{"text": "a", "label": "x"}\n{"txt": "a", "label": "y"}'}, {},
                    r't.jsonl:2: no "text"; did you mean "txt"'),
    "unknown test label": ({"t.csv": csv(10), "x.csv": "text,label\na,no\nb,maybe\n"}, {"test": {"qab": "DIR/x.csv"}},
                           r'x.csv:3: column "label" says "maybe", none of training.s no, yes'),
    "empty label": ({"t.csv": csv(4) + "a,\n"}, {}, r't.csv:6: column "label" is empty'),
    "no label": ({"t.jsonl": '{"text": "a", "label": null}'}, {}, r't.jsonl:1: "label" is None'),
    "half a label": ({"t.jsonl": '{"text": "a", "label": 0.5}'}, {}, r't.jsonl:1: "label" is 0.5, expected str'),
    "one label": ({"t.csv": csv(9, ["no"])}, {}, r"own.mine: one label, no: nothing is to be told apart"),
    "scores": ({"t.csv": csv(90, [f"{n}" for n in range(90)])}, {}, r"90 different values in 90 rows"),
    "rows cut": ({"t.csv": csv(4) + "a\n"}, {}, r"t.csv:6: 1 columns, expected 2 separated by commas"),
    "open quote": ({"t.csv": csv(4) + '"a,no\n'}, {}, r"t.csv:6: not CSV"),
    "column twice": ({"t.csv": "text,label,label\na,b,c\n"}, {}, r't.csv:1: the column "label" stands there twice'),
    "nothing": ({"t.csv": ""}, {}, r"t.csv: holds no examples"),
    "header alone": ({"t.csv": "text,label\n"}, {}, r"t.csv: holds no examples"),
    "same id": ({"t.csv": "i,text,label\n7,a,no\n7,b,yes\n"}, {"id": "i"}, r't.csv:3: id "7" stands already at'),
    "Latin-1": ({"t.csv": "text,label\nun café,no\n".encode("latin-1")}, {},
                r"t.csv:2: not UTF-8 .*as Latin-1 it reads 'bel un café,no'\); save the file as UTF-8 .*CSV UTF-8"),
    "UTF-16 cut short": ({"t.csv": csv(4).encode("utf-16")[:-1]}, {}, r"t.csv:5: not UTF-16, which it begins as; save"),
    "UTF-16 without its mark": ({"t.csv": csv(4).encode("utf-16-le")}, {}, r"t.csv:1: a NUL byte; .*UTF-16 with its"),
    "semicolons": ({"t.csv": "text;label\na;b\nc, d\n"}, {}, r"t.csv:3: 1 columns, expected 2 separated by semicolons"),
    "numbers for names": ({"t.csv": csv(10), "x.csv": csv(4, "01")}, {"test": {"qab": "DIR/x.csv"}},
                          r'x.csv:2: .*says "0", none of .* no, yes; .* write labels: \[no, yes\], that of 0 first'),
    "names for numbers": ({"t.csv": csv(10, "01"), "x.csv": csv(4)}, {"test": {"qab": "DIR/x.csv"}},
                          r'says "no", none of .* 0, 1; .* labels: \[the name of 0, the name of 1\], that of 0 first'),
    "rows again": ({"t.csv": csv(9), "x.csv": csv(9)}, {"test": {"qab": "DIR/x.csv"}},
                   r"own.yaml: mine: 9 of 9 test rows in qab are in training \(8\) and .*\(1\) too, 9 to the letter:"),
    "encoding": ({"t.csv": csv(4).encode() + b"\xff,no\n"}, {}, r"t.csv:6: not UTF-8"),
    "few rows": ({"t.csv": csv(4)}, {}, r"t.csv: fewer than 5 rows, none is left for dev"),
    "no file": ({"t.csv": csv(9)}, {"dev": "DIR/d.csv"}, r"own.mine.dev: no file .*d.csv"),
    "no test file": ({"t.csv": csv(9)}, {"test": "DIR/x-{language}.csv"}, r"own.mine.test: no file matches"),
    "no placeholder": ({"t.csv": csv(9)}, {"test": "x.csv"}, r"own.mine: .*write {language} where its code stands"),
    "language": ({"t.csv": csv(9), "x.csv": csv(2)}, {"test": {"de": "DIR/x.csv"}}, 
                 r'test: unknown language "de" \(of real text: the studies files and xtreme\); known: qaa'),
    "ending": ({"t.xls": "x"}, {}, r"t.xls: expected a file that ends in .csv, .tsv, .txt or .jsonl"),
    "choice": ({"t.csv": "said,a,b,right\nx,y,z,2\n"}, CHOICES, r't.csv:2: column "right" says "2"; expected one of'),
    "one choice": ({"t.csv": csv(9)}, CHOICES | {"choices": ["a"]}, r"own.mine.choices: .*two or more"),
    "columns of tags": ({"t.tsv": "a\tO\n"}, {"kind": "tagging", "text_a": "x"}, r"a tagging task has no columns"),
    "no tags": ({"t.tsv": "a\nb\n"}, {"kind": "tagging"}, r"t.tsv: no gold; expected tags"),
    "key": ({"t.csv": csv(9)}, {"text_c": "x"}, r'own.mine.text_c: unknown key; did you mean "text_[ab]"'),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_said_of_bad_files(tmp_path, name):
    files, own, message = BAD[name]
    own = json.loads(json.dumps(own).replace("DIR", str(tmp_path)))
    with pytest.raises(UserError, match=message):
        check_data(declared(tmp_path, files, **own))


@pytest.mark.parametrize("name", ["mnli", "multi", "mlm", "macro"])
def test_names_that_mean_something_are_refused(tmp_path, name):
    (tmp_path / "t.csv").write_text(csv(9))
    own = {name: {"kind": "classification", "train": str(tmp_path / "t.csv")}}
    with pytest.raises(UserError, match=f"own.{name}: .* take another name"):
        load_study(small.write(tmp_path, "own", own=own))


def test_a_file_that_changes_makes_its_own_runs_stale_alone(tmp_path):
    files = {"train.csv": csv(10), "x-qab.csv": csv(4)}

    def hashes():
        fingerprints = Fingerprints(declared(tmp_path, files, test=str(tmp_path / "x-{language}.csv")))
        runs = Run("encoder", 1), Run("intermediate", 1, "mnli"), Run("targets", 1, "none", "mine")
        return [fingerprints.of(run) for run in runs]

    first = hashes()
    for name in files:
        files[name] = csv(12)
        encoder, mnli, mine = hashes()
        assert [encoder, mnli] == first[:2] and mine != first[2]
        first = [encoder, mnli, mine]


def test_a_study_of_an_own_task_shares_the_runs_of_its_base_and_gives_advice(tmp_path):
    """As target, and in phase 2; without test files, the source language's development rows are scored."""
    base_path = small.write(tmp_path, "base")
    small.at_once(base_path)
    base = load_study(base_path)
    folder = own_task.study_folder(base, "mine")
    own = own_task.write_example(base, folder)
    assert pd.read_csv(folder / "test-qac.csv").columns.to_list() == ["sentence", "mentions"]
    path = own_task.write_study(base, "mine", own, [], folder)
    before = (base.folder / "intermediate/mnli/seed1/training.json").stat().st_mtime_ns
    small.at_once(path)
    study = load_study(path)
    assert (base.folder / "intermediate/mnli/seed1/training.json").stat().st_mtime_ns == before
    table = own_task.estimates(study, open_source(study))
    text = own_task.advice(table, study)
    assert "| run | mean over | verdict | gain | seeds |" in text and "| mnli | zero-shot |" in text
    gain = table[(table["quantity"] == "gain") & (table["language"] == results.ZERO_SHOT)].set_index("target")
    assert gain.loc["mine", "low"] <= gain.loc["mine", "value"] <= gain.loc["mine", "high"]
    similar = own_task.estimates(base, open_source(base), "classification")
    assert own_task.mean_gains(similar)[["intermediate", "target"]].to_numpy().tolist() == [["mnli", "xnli"]]
    alone = {key: own[key] for key in ("kind", "train", "text_a", "label")}
    values = yaml.safe_load(path.read_text()) | {"own": {"mine": alone}, "intermediate": ["none", "mine"]}
    path.write_text(yaml.safe_dump(values | {"name": "alone"}))
    stats = small.at_once(path)
    assert set(stats["language"]) == {"qaa"} and set(stats["intermediate"]) == {"none", "mine"}
    assert len(stats) == 2 * (small.SIZES["train"] // 5)


ADVICE = [
    ({"mnli": (2, 1, 3), "qqp": (5, 3, 7)}, r"\*\*Train on `qqp` first.*qqp .* helps \| \+5.0 .*mnli .* helps"),
    ({"mnli": (1, -1, 3), "qqp": (-4, -6, -2)}, r"No .* help.*mnli .* no evidence \| \+1.0.*qqp .* hurts \| −4.0"),
    ({"mnli": (float("nan"),) * 3}, r"No .* help.*mnli .* missing"),
]


@pytest.mark.parametrize(("gains", "message"), ADVICE)
def test_advice_follows_what_is_significant(tmp_path, gains, message):
    study = declared(tmp_path, {"train.csv": csv(10)})
    cells = [("none", "score", 50, 40, 60)] + [(run, "gain", *numbers) for run, numbers in gains.items()]
    rows = [(run, "mine", "zero-shot", quantity, *numbers, 2, 2, 1) for run, quantity, *numbers in cells]
    table = pd.DataFrame(rows, columns=ESTIMATES).assign(p=0.01)
    table = table.assign(significant=(table["low"] > 0) | (table["high"] < 0))
    answer = own_task.advice(table, study)
    assert re.search(message, answer, re.DOTALL), answer
    alone = own_task.advice(table.assign(seeds=1, p=float("nan"), significant=False), study)
    assert "One seed cannot show that a run helps" in alone and "| helps |" not in alone and "starred" not in alone


def test_warnings_name_what_makes_results_weak(tmp_path):
    text = "text,label\n" + "c d,no\n" + "a b,yes\n" * 9
    study = declared(tmp_path, {"train.csv": text, "x.csv": text}, test={"qaa": str(tmp_path / "x.csv")})

    class Tokenizer:
        unk_token_id = 3

        def __call__(self, texts, **options):
            return {"input_ids": [[0, 3 if "c" in text else 4] for text in texts]}

    source, task = open_source(study), study.task("mine")
    rows = source.load(task, "train", "qaa"), {"qaa": source.load(task, "test", "qaa")}
    text = " ".join(own_task.warnings(study, *rows, Tokenizer()))
    for words in ("8 training examples", "to score in qaa", "other languages than qaa", "88%"):
        assert words in text, words
    assert "does not know" not in text  # one token of sixteen


def test_repeated_rows_are_counted_in_every_set_before_anything_trains(tmp_path, capsys, monkeypatch):
    """Forty training rows in two test files, eight of which are held out for development; ten of them in other forms of
    their letters and with other white space."""
    again = [f"word {n}" if n >= 10 else f"\uff37\uff2f\uff32\uff24 \u00a0{n}" for n in range(40)]
    test = "text,label\n" + "".join(f"{text},no\n" for text in [*again, *(f"new {n}" for n in range(20))])
    files = {"train.csv": csv(200), "x-qaa.csv": test, "x-qab.csv": test, "x-qac.csv": csv(5).replace("word", "new")}
    study = declared(tmp_path, files, test=str(tmp_path / "x-{language}.csv"))
    line = (
        "mine: 40 of 60 test rows in {} are in training (32) and development (8) too, 30 to the letter: leave them out"
    )
    assert check_data(study) == [line.format("qaa"), line.format("qab")]
    monkeypatch.setattr("sys.argv", ["xstilts", "plan", str(tmp_path / "own.yaml")])
    assert main() == 0 and f"{line.format('qab')}." in " ".join(capsys.readouterr().out.split())


SOCIAL = '{"context": "%d", "question": "Who?", "answerA": "Ada", "answerB": "Bo", "answerC": "Cy", "correct": "C"}\n'
ASKED = '{"id": 910%d, "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}], "is_impossible": false}'
LAYOUTS = {  # as docs/your-data.md has them -> file, a row with its number, a column as it is read, and what it holds
    "UNER": ("a.iob2", "# sent_id = s\n1\tAda\tB-PER\t-\ta\n2\tsings%d\tO\t-\ta\n\n", "tags", ["B-PER", "O"]),
    "CoNLL-2003": ("a.txt", "-DOCSTART- -X- -X- O\n\nAda NNP B-NP B-PER\n%d VBZ B-VP O\n\n", "tags", ["B-PER", "O"]),
    "PersianQA": ("a.json", '{"paragraphs": [{"context": "Ada sings %d.", "qas": [' + ASKED + "]}]},", "id", "9101"),
    "SocialIQA": ("a.jsonl", SOCIAL, "label", 2),
    "HellaSwag": ("a.jsonl", '{"ind": 7, "ctx": "%d", "endings": ["a", "b", "c", "d"], "label": "3"}\n', "label", 3),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_are_trained_on_as_the_page_says(tmp_path, name):
    file, row, column, value = LAYOUTS[name]
    text = "".join(row.replace("%d", str(number)) for number in range(1, 10))
    text = f'{{"data": [{text[:-1]}]}}' if name == "PersianQA" else text
    (line,) = [line for line in commands.TEXTS["docs/your-data.md"].splitlines() if re.match(rf"\| .*\b{name}\b", line)]
    own = own_task.parse_task(line.split("`")[1], str(tmp_path / file), "")
    study = declared(tmp_path, {file: text}, **own)
    assert check_data(study) == [] and rows(study)[0][column] == value
    runs = [run for run in list_runs(study) if run.intermediate in ("", "none")]
    assert set(small.at_once(tmp_path / "own.yaml", runs)["target"]) == {"mine"}


def test_labels_and_ids_of_other_types_are_taken_where_they_are_unambiguous(tmp_path):
    """Of choices: letters, numbers as text, and a column of lists."""
    columns = {"kind": "choice", "context": "context", "label": "label"}
    lettered = [{"context": "x", "a1": "p", "a2": "q", "a3": "r", "label": label} for label in ("A", "C", " 1", 2)]
    listed = [{"context": "x", "endings": ["p", "q", "r"], "label": label} for label in ("A", "C", "1", 2)]
    for number, (lines, choices) in enumerate([(lettered, ["a1", "a2", "a3"]), (listed, ["endings"])]):
        file = {f"{number}.jsonl": "\n".join(map(json.dumps, lines))}
        study = declared(tmp_path, file, dev=str(tmp_path / f"{number}.jsonl"), choices=choices, **columns)
        assert [row["label"] for row in rows(study)] == [0, 2, 1, 2] and study.task("mine").choices == 3
        assert rows(study)[0]["choices"] == ["p", "q", "r"]
    listed[1]["endings"] = ["p"]
    with pytest.raises(UserError, match=r'b.jsonl:2: "endings" holds 1, expected two or more'):
        declared(tmp_path, {"b.jsonl": "\n".join(map(json.dumps, listed))}, choices=["endings"], **columns)


def test_rows_with_an_empty_text_are_counted_and_left_out_of_training_alone(tmp_path):
    files = {"t.csv": csv(10) + " ,no\n\u3000,yes\n", "x.csv": csv(4) + " ,no\n"}
    study = declared(tmp_path, files, dev=str(tmp_path / "x.csv"), test={"qab": str(tmp_path / "x.csv")})
    small.at_once(tmp_path / "own.yaml", [run for run in list_runs(study) if run.intermediate in ("", "none")])
    record = json.loads(next(study.folder.rglob("scored.json")).read_text())
    assert record["dropped"] == {"mine": 2} and record["examples"] == {"mine": 10}
    assert len(rows(study, "test", "qab")) == 5


SCHEMES = {  # one tagging of each way; the last has words alone
    "BIO": "B-PER I-PER I-PER O B-LOC", "BIOES": "B-PER I-PER E-PER O S-LOC", "BILOU": "B-PER I-PER L-PER O U-LOC",
    "BMES": "B-PER M-PER E-PER O S-LOC",
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_own_tags_are_scored_by_their_scheme(tmp_path, scheme):
    gold = SCHEMES[scheme].split()
    study = declared(tmp_path, {"t.txt": "".join(f"w {tag}\n" for tag in gold) * 2}, kind="tagging")
    assert study.task("mine").metrics[0] == "f1"
    for predicted, f1 in {SCHEMES[scheme]: 100, "O O O O " + gold[4]: 200 / 3, "O " + " ".join(gold[1:]): 50}.items():
        stats = metrics.tagging(["1"], [gold], [predicted.split()], "qaa", study.task("mine").scorer)
        assert metrics.score(stats).loc["qaa", "f1"] == pytest.approx(f1), predicted


def test_own_tags_without_a_scheme_are_scored_by_word(tmp_path):
    study = declared(tmp_path, {"t.txt": "a NS\nb VS\nc ORG\nd O\n\n" * 6}, kind="tagging")
    assert study.task("mine").metrics[0] == "accuracy"
    for predicted, f1 in {"NS VS ORG O": 100, "VS NS ORG O": 100 / 3, "NS VS O O": 80, "NS VS VS O": 200 / 3}.items():
        gold = [["NS", "VS", "ORG", "O"]]
        stats = metrics.tagging(["1"], gold, [predicted.split()], "qaa", study.task("mine").scorer)
        assert metrics.score(stats).loc["qaa", "f1"] == pytest.approx(f1), predicted


def test_a_bad_line_among_tags_is_named(tmp_path):
    clean = "".join(f"a{n} B-PER\nb O\n\nc{n} B-LOC\nd O\n\n" for n in range(5))
    with pytest.raises(UserError, match=r"""t.txt:32: tag "'" is none of B-LOC, B-PER, O"""):
        declared(tmp_path, {"t.txt": clean + "\n248 '\n"}, kind="tagging")
    study = declared(tmp_path, {"t.txt": "d B-PRE\n\n" + clean}, kind="tagging")
    (line,) = check_data(study)
    assert re.search(r't.txt:1: the tag "B-PRE" stands once in the training file', line)
    with pytest.raises(UserError, match=r"t.txt: tags begin with B, E, L, which is none of the schemes BIO, BIOES"):
        declared(tmp_path, {"t.txt": clean + "a B-X\nb L-X\nc E-X\n"}, kind="tagging")
    with pytest.raises(UserError, match="that of tags holds 30 different values in 30 words"):
        declared(tmp_path, {"t.txt": "".join(f"a {n}\n" for n in range(30))}, kind="tagging")


def test_columns_of_a_file_without_a_header_have_numbers(tmp_path):
    text = "".join(f"{'no yes'.split()[n % 2]}\tw {n}\n" for n in range(10))
    for name in ("t.txt", "t.tsv"):
        study = declared(tmp_path, {name: text}, text_a="2", label="1")
        assert [row["text_a"] for row in rows(study)] == [f"w {n}" for n in (0, 1, 2, 3, 5, 6, 7, 8)]
        assert study.task("mine").labels == ("no", "yes")
    study = declared(tmp_path, {"t.csv": "2,1\n" + text.replace("\t", ",")}, text_a="1", label="2")  # these are names
    assert rows(study)[0]["text_a"] == "w 0"


def test_labels_that_differ_in_their_normal_form_are_one(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    files = {"t.csv": csv(10, (composed, "bar", decomposed)), "x.csv": csv(3, (decomposed, "bar", composed))}
    for labels in ([], ["bar", decomposed]):
        study = declared(tmp_path, files, labels=labels, test={"qab": str(tmp_path / "x.csv")})
        assert study.task("mine").labels == ("bar", composed)
        assert [row["label"] for row in rows(study, "test", "qab")] == [1, 0, 1]
    tagged = "".join(f"w\tB-{tag}\n\n" for tag in (composed, decomposed) * 3)
    assert declared(tmp_path, {"t.tsv": tagged}, kind="tagging").task("mine").labels == (f"B-{composed}",)


def test_a_task_described_in_the_notebook():
    values = own_task.parse_task("kind: choice, choices: [a, b], label: right", "t.csv", "")
    assert values == {"kind": "choice", "choices": ["a", "b"], "label": "right", "train": "t.csv"}
    unreadable = {"a: [b": ":1: not", "a: !!int x": ": .*invalid literal", "[" * 500: ".*: nested too deeply"}
    for text, message in unreadable.items():
        with pytest.raises(UserError, match=f"task{message}"):
            own_task.parse_task(text, "t.csv", "")


@pytest.mark.parametrize("name", ["../params", "Mine", "", "a" * 41, "mine\n"])
def test_a_name_that_no_task_may_have_gets_no_folder(tmp_path, name):
    with pytest.raises(UserError, match=r"name: .*expected a lower-case letter, then up to 39"):
        own_task.study_folder(load_study(small.write(tmp_path, "base")), name)
