"""A mirror of the hub in miniature: every dataset that the hub source reads, laid out as on the hub, with the
hub's columns, types and names of class labels, and a few made-up rows. Written from the datasets' cards, not from
the package's own declarations; only which configurations and splits there are comes from ``hub_sizes.csv``."""

import csv
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, List, Value, disable_progress_bars

from xstilts.io import ROOT

disable_progress_bars()
STRING, INT = Value("string"), Value("int32")
ANSWERS = {"text": List(STRING), "answer_start": List(INT)}
QUESTION = {"id": STRING, "title": STRING, "context": STRING, "question": STRING, "answers": ANSWERS}
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
UPOS = ["ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
        "SYM", "VERB", "X"]  # fmt: skip
NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh".split()
TYDIQA = "arabic bengali english finnish indonesian korean russian swahili telugu".split()
TEXTS = {"zh": "卡罗来纳黑豹队的防守只丢了{}分。", "th": "แพนเธอร์สเสียแต้มเพียง {} แต้ม", "ar": "الفريق خسر {} نقطة فقط"}
DATA = (
    "nyu-mll/multi_nli",
    "tau/commonsense_qa",
    "Rowan/hellaswag",
)  # data/<split>-…: repositories of one configuration
CONVERTED = ("allenai/cosmos_qa", "allenai/social_i_qa")  # refs/convert/parquet


def sets() -> list[dict[str, str]]:
    """Rows of ``hub_sizes.csv``: every configuration and split there is and that anything reads."""
    with open(ROOT / "lib/xstilts/tables/hub_sizes.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if not row["language"] and "bucc18" not in row["config"]]


def build(folder: Path, rows: int = 6) -> Path:
    """Write the mirror below ``folder``: ``rows`` rows of every set, in mixed sets of every language."""
    for known in sets():
        repo, config, split = known["repo"], known["config"], known["split"]
        content, features = _content(repo, config, split, rows)
        name = f"{split}-00000-of-00001.parquet"
        path = f"{config}/{split}/0000.parquet" if repo in CONVERTED else f"{config}/{name}"
        _write(folder / repo / (f"data/{name}" if repo in DATA else path), content, features)
    for code in {"en", *(row["config"].removeprefix("PAN-X.") for row in sets() if row["config"].startswith("PAN-X"))}:
        articles = [
            {"id": str(n), "url": "", "title": code, "text": f"{_text(code, n)}\n\n{code}"} for n in range(rows)
        ]
        path = folder / f"wikimedia/wikipedia/20231101.{code}/train-00000-of-00002.parquet"
        _write(path, articles, dict.fromkeys(("id", "url", "title", "text"), STRING))
    return folder


def build_all(folder: Path, rows: int = 6) -> Path:
    """``mirror``, ``bucc`` and ``ccgbank`` below ``folder``: all that a study on the hub source may name."""
    build(folder / "mirror", rows)
    build_bucc(folder / "bucc", rows)
    build_ccgbank(folder / "ccgbank", rows)
    return folder


def build_bucc(folder: Path, rows: int = 6) -> Path:
    """BUCC 2018 as XTREME's script leaves it: in both splits every second sentence has its translation."""
    folder.mkdir(parents=True)
    for code in ("de", "fr", "ru", "zh"):
        for split in ("dev", "test"):
            start = folder / f"{code}-en.{split}"
            for side in (code, "en"):
                lines = [f"{side}-{n:09}\t{_text(side, n)} {split}" for n in range(rows)]
                Path(f"{start}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
            gold = [f"{code}-{n:09}\ten-{n:09}" for n in range(0, rows, 2)]
            Path(f"{start}.gold").write_text("\n".join(gold) + "\n")
    return folder


def build_ccgbank(folder: Path, rows: int = 6) -> Path:
    """LDC2005T13's AUTO files: sections 00 (development), 02 and 21 (training), 22 (neither) and 23 (test)."""
    for section in ("00", "02", "21", "22", "23"):
        path = folder / "data" / "AUTO" / section / f"wsj_{section}01.auto"
        path.parent.mkdir(parents=True)
        path.write_text("".join(
            f"ID=wsj_{section}01.{n + 1} PARSER=GOLD NUMPARSE=1\n"
            "(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<T NP 0 1> (<L N NNP NNP Vinken N>) ) "
            f"(<L (S[dcl]\\NP)/NP VBZ VBZ reads{n} (S[dcl]\\NP_1)/NP_2>) ) (<L . . . . .>) ) \n"
            for n in range(rows)
        ))  # fmt: skip
    return folder


def _write(path: Path, rows: list[dict], features: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=Features(features)).to_parquet(path)


def _text(language: str, number: int) -> str:
    return TEXTS.get(language, f"{language} team {{}} won the game").format(number)


def _content(repo: str, config: str, split: str, rows: int) -> tuple[list[dict], dict]:
    """(rows, features) of one set."""
    numbers, language = range(rows), config.rpartition(".")[2]
    if config == "XNLI":  # all languages in one, labels as strings
        names = ("language", "sentence1", "sentence2", "gold_label")
        found = [(code, _text(code, n), f"{code} {n}", NLI.names[n % 3]) for code in XNLI for n in numbers]
        return [dict(zip(names, row, strict=True)) for row in found], dict.fromkeys(names, STRING)
    if config.startswith("PAWS-X"):  # labels as strings
        content = [{"sentence1": _text(language, n), "sentence2": f"{n}", "label": str(n % 2)} for n in numbers]
        return content, dict.fromkeys(("sentence1", "sentence2", "label"), STRING)
    if config.startswith("udpos"):
        content = [{"tokens": ["Dogs", f"bark{n}", "."], "pos_tags": [7, 15, 12]} for n in numbers]
        return content, {"tokens": List(STRING), "pos_tags": List(ClassLabel(names=UPOS))}
    if config.startswith("PAN-X"):
        row = {"ner_tags": [1, 2, 0, 5], "langs": [language] * 4}
        content = [{"tokens": ["Ada", f"Byron{n}", "in", "London"], **row} for n in numbers]
        return content, {"tokens": List(STRING), "ner_tags": List(ClassLabel(names=NER)), "langs": List(STRING)}
    if config == "tydiqa":  # the language stands in the id alone
        return [_question(f"{name}-{n}-0", name, n) for name in TYDIQA for n in numbers], QUESTION
    if config.startswith("MLQA") or repo in ("rajpurkar/squad", "rajpurkar/squad_v2"):
        content = [_question(f"{split}-{n}", language, n) for n in numbers]
        if repo == "rajpurkar/squad_v2":
            content[1]["answers"] = {"text": [], "answer_start": []}
        return content, QUESTION
    if config.startswith("XQuAD"):
        content = [_question(f"{n}", language, n) for n in numbers]
        features = {name: kind for name, kind in QUESTION.items() if name != "title"}
        return [{name: row[name] for name in features} for row in content], features
    if config.startswith("tatoeba"):  # XTREME's script keeps the line ends; the foreign side comes first
        names = ("source_sentence", "target_sentence", "source_lang", "target_lang")
        found = [(f"{language} {n}\n", f"eng {n}\n", language, "eng") for n in numbers]
        return [dict(zip(names, row, strict=True)) for row in found], dict.fromkeys(names, STRING)
    return _english(repo, config, split, rows)


def _question(identity: str, language: str, number: int) -> dict:
    context = _text(language, number) + " 308 points."
    answers = {"text": ["308"], "answer_start": [context.index("308")]}
    return {
        "id": identity,
        "title": "Panthers",
        "context": context,
        "question": f"How many? {number}",
        "answers": answers,
    }


def _english(repo: str, config: str, split: str, rows: int) -> tuple[list[dict], dict]:
    numbers = range(rows)
    pair = [{"premise": f"{repo} {config} {n}", "hypothesis": f"{n}", "label": n % 3} for n in numbers]
    texts = {"premise": STRING, "hypothesis": STRING}
    if repo == "nyu-mll/multi_nli":
        strings = ("pairID", "premise_binary_parse", "premise_parse", "hypothesis_binary_parse", "hypothesis_parse",
                   "genre")  # fmt: skip
        content = [{**row, **dict.fromkeys(strings, "x"), "promptID": n} for n, row in enumerate(pair)]
        return content, {"promptID": INT, **texts, **dict.fromkeys(strings, STRING), "label": NLI}
    if repo == "stanfordnlp/snli":  # -1: the annotators did not agree
        pair[-1]["label"] = -1
        return pair, {**texts, "label": NLI}
    if repo == "facebook/anli":
        return [{**row, "uid": f"u{n}", "reason": ""} for n, row in enumerate(pair)], {
            "uid": STRING, **texts, "label": NLI, "reason": STRING
        }  # fmt: skip
    if repo == "facebook/xnli":
        return pair, {**texts, "label": NLI}
    if repo == "nyu-mll/glue":
        content = [{"question1": f"Why {n}?", "question2": f"How {n}?", "label": n % 2, "idx": n} for n in numbers]
        label = ClassLabel(names=["not_duplicate", "duplicate"])
        return content, {"question1": STRING, "question2": STRING, "label": label, "idx": INT}
    if repo in ("aps/super_glue", "cambridgeltl/xcopa"):
        names = ("premise", "choice1", "choice2", "question")
        choices = {"premise": f"{config} fell.", "choice1": "It slipped.", "choice2": "It hurt."}
        content = [{**choices, "question": ("cause", "effect")[n % 2], "label": n % 2, "idx": n} for n in numbers]
        features = dict.fromkeys(names, STRING) | {"label": INT, "idx": INT}
        if repo == "aps/super_glue":
            return content, {**features, "label": ClassLabel(names=["choice1", "choice2"])}
        return [{**row, "changed": False} for row in content], {**features, "changed": Value("bool")}
    if repo == "Rowan/hellaswag":  # the label is a string
        strings = ("activity_label", "ctx_a", "ctx_b", "ctx", "source_id", "split", "split_type", "label")
        row = dict.fromkeys(strings, "x") | {"endings": ["runs.", "sits.", "eats.", "reads."]}
        told = [(f"A man stands {n}.", "he" if n % 2 else "") for n in numbers]
        content = [
            {**row, "ind": n, "ctx_a": a, "ctx_b": b, "ctx": f"{a} {b}".strip(), "label": str(n % 4)}
            for n, (a, b) in enumerate(told)
        ]
        return content, {"ind": INT, **dict.fromkeys(strings, STRING), "endings": List(STRING)}
    if repo == "allenai/cosmos_qa":
        answers = {f"answer{letter}": f"It was {letter}." for letter in "0123"}
        row = {"context": "It rained.", "question": "Why?", **answers}
        content = [{"id": f"c{n}", **row, "label": n % 4} for n in numbers]
        return content, {"id": STRING, **dict.fromkeys(row, STRING), "label": INT}
    if repo == "tau/commonsense_qa":
        choices = {"label": list("ABCDE"), "text": ["bank", "library", "mall", "park", "pub"]}
        row = {"question": "Where do you read?", "question_concept": "read", "choices": choices}
        content = [{"id": f"q{n}", **row, "answerKey": "ABCDE"[n % 5]} for n in numbers]
        features = dict.fromkeys(("id", "question", "question_concept", "answerKey"), STRING)
        return content, {**features, "choices": {"label": List(STRING), "text": List(STRING)}}
    assert repo == "allenai/social_i_qa", repo  # the label is a string, "1" to "3"
    names = ("context", "question", "answerA", "answerB", "answerC", "label")
    return [dict(zip(names, ("Kai ran.", "Why?", "a", "b", "c", str(n % 3 + 1)), strict=True)) for n in numbers], (
        dict.fromkeys(names, STRING)
    )
