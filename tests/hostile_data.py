"""Hostile data: what must work all the same, and what a study must say before it trains."""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pandas as pd
import yaml
from datasets import Dataset

from encoders import tokenizer_of
from hostile_files import COPA, COSMOS, Case, asked, read_file, squad
from toy import build_checkpoint, placeholder
from xstilts import phases
from xstilts.features import encode
from xstilts.preflight import check_data
from xstilts.settings import LengthSettings, Study
from xstilts.sources import open_source
from xstilts.sources.hub import records
from xstilts.study import load_study
from xstilts.tasks import NLI, SPLITS, WIKIANN, get

LONG = 100_000  # characters
WORDS = "The Panthers defense gave up just 308 points "
HEBREW = "בשנת 308 ניצחו הפנתרים את כל היריבים שלהם בליגה."
COMBINING = "Cafe\u0301 Ma\u0308dchen, n\u0303o: q\u0323\u0307 308 a\u0301\u0323\u0302 points."  # nothing composed
LENGTHS = LengthSettings(classification=40, choice=40, tagging=32, span=96, stride=16, retrieval=64, mlm=64)

SICK = "sentence_A\tsentence_B\tentailment_judgment\nOne\tTwo\tNEUTRAL\n"
ANA = ["squad/train-v1.1.json", "squad/dev-v1.1.json", "xquad/xquad.en.json", "xquad/xquad.de.json"]
FILES = {  # a whole study on a page: one training example, and what each language must bear
    **dict.fromkeys(["sick/SICK_train.txt", "sick/SICK_trial.txt"], SICK),
    "xnli/test-en.tsv": "\ufeffOne\tTwo\tneutral\r\nThree\tFour\tentailment\r\n",
    "xnli/test-de.tsv": "Eins\tZwei\tneutral\n",
    "xnli/test-ru.tsv": f"{WORDS * (LONG // len(WORDS))}\t{'x' * LONG}\tneutral\nОдин\tДва\tneutral\n",
    "xnli/test-ar.tsv": f"{HEBREW}\t\u200f{HEBREW}\u202e\tneutral\n{COMBINING}\t\u0301\tentailment\n",
    **dict.fromkeys((f"udpos/xtreme-tsv/{split}-en.tsv" for split in SPLITS), "Ana\tPROPN\nlives\tVERB\n"),
    "udpos/xtreme-tsv/test-de.tsv": "Ana\tPROPN\n",
    "udpos/xtreme-tsv/test-ru.tsv": "Ana\tPROPN\n" * (LONG // 10) + "x" * LONG + "\tNOUN\n",
    "udpos/xtreme-tsv/test-ar.tsv": "\u200f\tPUNCT\n\u0301\tNOUN\nהפנתרים\tNOUN\n",
    **dict.fromkeys(ANA, squad(asked("q1", ("Ana", 12)))),
    "xquad/xquad.ru.json": squad(asked("q1", ("Ana", LONG)), context="x y " * (LONG // 4) + "Ana."),
    "xquad/xquad.ar.json": squad(asked("q1", ("308", HEBREW.index("308"))), context=HEBREW),
    "tatoeba/tatoeba.deu-eng.deu": "eins\n",
    "tatoeba/tatoeba.deu-eng.eng": "one\n",
    "tatoeba/tatoeba.rus-eng.rus": f"{'x ' * (LONG // 2)}\nдва\n",
    "tatoeba/tatoeba.rus-eng.eng": "one\ntwo\n",
}


def study(folder: Path, files: dict[str, str | bytes], **changes) -> Study:
    """A study of these files, from a checkpoint that is there."""
    for name, content in files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    phase = {"steps": 1, "batch_size": 2}
    values = {
        "name": "hostile", "source": "files", "source_language": "en", "files": {"root": str(folder / "data")},
        "intermediate": ["none"], "targets": ["xnli", "udpos", "xquad", "tatoeba"], "training_sets": {"xnli": "sick"},
        "runs": str(folder / "runs"), "figures": str(folder / "figures"),
        "encoder": {"checkpoint": str(placeholder(folder / "placeholder"))},
        "training": {"target": phase, "intermediate": phase, "max_length": LENGTHS.model_dump()},
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
    return load_study(path)


@cache
def scored() -> dict[str, pd.DataFrame]:
    """Target -> scores by language of the study on a page, after a step of training."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = study(folder, FILES, encoder={"checkpoint": str(build_checkpoint(folder / "encoder"))})
        check_data(made)
        source = open_source(made)
        phases.encoder(made, source, 1)
        return dict(phases.targets(made, source, "none", "all", 1))


def works(language: str, _: Path) -> None:
    for target, scores in scored().items():
        if (target, language) not in (("tatoeba", "ar"), ("tatoeba", "en")):
            assert scores.loc[language].between(0, 100).all(), target


def malformed(name: str, content: str | bytes, folder: Path) -> None:
    """The study on a page with another file; where ``check_data`` looks, nothing is trained yet."""
    check_data(study(folder, FILES | {name: content}))


def offsets(context: str, answer: str, family: str, folder: Path) -> None:
    """The gold tokens of a passage are those of the answer, at its characters."""
    question = squad(asked("q1", (answer, context.index(answer))), context=context)
    rows = Dataset.from_list(read_file("squad", (), "x.json", question, folder))
    windows = encode(get("squad1"), rows, tokenizer_of(family, [context[:500], "Who?"]), LENGTHS)
    answered = [window for window in windows if window["start_positions"]]
    assert answered
    for window in answered:
        spans = window["offsets"][window["start_positions"]], window["offsets"][window["end_positions"]]
        assert context[spans[0][0] : spans[1][1]].strip() == answer


def column(name: str, expected: list, *file) -> None:
    """A column of a file, which is given as to ``read_file``."""
    assert [row[name] for row in read_file(*file)] == expected


def parquet(spoil: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / "part.parquet"
    pd.DataFrame({"a": range(1000)}).to_parquet(path)
    path.write_bytes(spoil(path.read_bytes()))
    list(records([path]))


def published(rows: list[dict], folder: Path) -> None:
    """MNLI's repository of the hub in a mirror, with these rows."""
    path = folder / "nyu-mll/multi_nli/data/train-0.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(path)
    made = study(folder, {}, source="hub", hub={"mirror": str(folder)}, targets=["xnli"], training_sets={})
    open_source(made).load(get("mnli"), "train", "en")


ROW = {"premise": "a", "hypothesis": "b", "label": 0}
SEPARATED = "a\u2028b\u2029c\x85\x0b\x0c"
ACCENTS = "é" * LONG
PASSAGES = {"a right-to-left passage": (HEBREW, "הפנתרים"), "combining characters": (COMBINING, "308")}
WORKS = [  # what must work, what tries it and with which arguments
    ("a language of one example, and a training set of one", works, "de"),
    (f"texts, sentences, words and passages of {LONG} characters", works, "ru"),
    ("right-to-left and combining characters in every task", works, "ar"),
    ("a byte-order mark and CRLF in a table", works, "en"),
    *((f"offsets in {name}, {family}", offsets, *passage, family)
      for name, passage in PASSAGES.items() for family in ("bert", "xlmr", "roberta")),
    (f"offsets in {LONG} characters", offsets, WORDS * (LONG // len(WORDS)) + "Ana.", "Ana", "xlmr"),
    ("a byte-order mark in JSON", column, "id", ["0"], "copa", (), "v.jsonl", "\ufeff" + COPA),
    ("CRLF in JSON lines", column, "label", [0], "copa", (), "v.jsonl", COPA + "\r\n"),
    ("CRLF between sentences", column, "tokens", [["a"], ["b"]], "tagged", WIKIANN, "d.tsv", "a\tO\r\n\r\nb\tO\r\n"),
    ("separators in a text", column, "text_a", [SEPARATED], "pairs", NLI, "d.tsv", f"{SEPARATED}\tb\tneutral\n"),
    ("a table without its last line end", column, "label", [1], "pairs", NLI, "d.tsv", "a\tb\tneutral"),
    ("a long text in JSON", column, "context", [ACCENTS], "copa", (), "v.jsonl", COPA.replace('"p"', f'"{ACCENTS}"')),
    ("a long text in CSV", column, "context", [ACCENTS], "cosmosqa", (), "v.csv", f"{COSMOS}1,{ACCENTS},q,a,b,c,d,1\n"),
]  # fmt: skip
REFUSED = [  # what is hostile, what tries it and with which arguments, what must be said before anything is trained
    ("a language of blank lines", malformed, "xnli/test-de.tsv", "\n\n", r"xnli/test-de.tsv: is empty"),
    ("an empty parallel set", malformed, "tatoeba/tatoeba.deu-eng.deu", "", r"tatoeba.deu-eng.deu: is empty"),
    ("a wrong tag in a last training row", malformed, "udpos/xtreme-tsv/train-en.tsv", "a\tNOUN\n\nb\tNOMEN\n",
     r'train-en.tsv:3: tag "NOMEN" is none of'),
    ("an answer off by one in a second question",
     malformed, "squad/train-v1.1.json", squad(asked("q1", ("Ana", 12)), asked("q2", ("Ana", 11))),
     r"train-v1.1.json: question q2: the answer 'Ana' is not at answer_start 11"),
    ("another encoding far down", malformed, "xnli/test-de.tsv", b"a\tb\tneutral\n" * 999 + b"\xe4\tb\tneutral\n",
     r"test-de.tsv:1000: not UTF-8"),
    ("parquet cut by a byte", parquet, lambda data: data[:-1], r"part.parquet: not a parquet .*fetch it again"),
    ("empty parquet", parquet, lambda _: b"", r"part.parquet: not a parquet file that can be read"),
    ("HTML for parquet", parquet, lambda _: b"<html>404</html>", r"part.parquet: not a parquet file"),
    ("overwritten parquet", parquet, lambda data: data[:8] + bytes(900) + data[908:], "part.parquet: not a"),
    ("parquet that lacks a column", published, [{"premise": "a", "label": 0}],
     r'nyu-mll/multi_nli default train, row 1: no "text_b" .*, hypothesis, .*; it has premise, label: fetch'),
    ("a label of the hub outside the set", published, [ROW, ROW | {"label": 3}], r"row 2: label 3, expected 0 to 2"),
    ("numbers for texts of the hub", published, [ROW | {"premise": 5}], r'row 1: "text_a" is 5, expected str: fetch'),
    ("no rows of the hub with gold", published, [ROW | {"label": -1}], r"mnli: no examples with gold labels in its tr"),
]  # fmt: skip
CASES = [
    Case("data", name, partial(check, *arguments), message)
    for name, check, *arguments, message in [*((*row, "") for row in WORKS), *REFUSED]
]
