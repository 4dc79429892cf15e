"""A mirror of the hub in miniature: every dataset that the hub source reads, laid out as on the hub, with the
hub's columns, types and names of class labels, and a few made-up rows. Written from the datasets' cards, not from
the package's own declarations; only which configurations and splits there are comes from ``hub_sizes.csv``."""

import csv
import tempfile
from functools import cache
from itertools import product
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Features, List, Value

from xstilts.io import ROOT
from xstilts.settings import HubSettings

STRING, INT = Value("string"), Value("int32")
STRINGS = List(STRING)
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh".split()
TYDIQA = "arabic bengali english finnish indonesian korean russian swahili telugu".split()
TEXTS = {"zh": "卡罗来纳黑豹队的防守只丢了{}分。", "th": "แพนเธอร์สเสียแต้มเพียง {} แต้ม", "ar": "الفريق خسر {} نقطة فقط"}
DATA = ("nyu-mll/multi_nli", "tau/commonsense_qa", "Rowan/hellaswag")  # data/<split>-…: of one configuration
ROWS = 6  # of each set in each language
CONVERTED = ("allenai/cosmos_qa", "allenai/social_i_qa")  # refs/convert/parquet
AUTO = (
    "ID=wsj_{0}01.{2} PARSER=GOLD NUMPARSE=1\n"
    "(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<T NP 0 2> (<L N/N NNP NNP Mr. N_142/N_142>) (<L N NNP NNP Vinken N>) ) "
    "(<T S[dcl]\\NP 0 2> (<L (S[dcl]\\NP)/NP VBZ VBZ is{1} (S[dcl]\\NP_87)/NP_88>) "
    "(<T NP 0 1> (<L N NN NN chairman N>) ) ) ) (<L . . . . .>) ) \n"
)


@cache
def sets() -> list[dict[str, str]]:
    """Rows of ``hub_sizes.csv``: every configuration and split there is and that anything reads."""
    with open(ROOT / "lib/xstilts/tables/hub_sizes.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if not row["language"] and "bucc18" not in row["config"]]


@cache
def built() -> Path:
    """``mirror``, ``bucc`` and ``ccgbank`` in a folder that all tests of this process share: copy what you change. All
    that a study on the hub source may name; sets of six rows, in every language."""
    built.folder = tempfile.TemporaryDirectory(prefix="xstilts-hub-")  # removed with the process
    folder = Path(built.folder.name)
    for known in sets():
        repo, config, split = known["repo"], known["config"], known["split"]
        name = f"{split}-00000-of-00001.parquet"
        path = f"{config}/{split}/0000.parquet" if repo in CONVERTED else f"{config}/{name}"
        write(folder / "mirror" / repo / (f"data/{name}" if repo in DATA else path), *content(repo, config, split))
    for code in ("de", "en", "sw", "zh"):  # of the studies with masked LM
        texts = [{"id": str(n), "url": "", "title": code, "text": f"{_text(code, n)}\n\n{code}"} for n in range(ROWS)]
        path = folder / f"mirror/wikimedia/wikipedia/20231101.{code}/train-00000-of-00002.parquet"
        write(path, texts, _columns("id url title text"))
    build_bucc(folder / "bucc")
    build_ccgbank(folder / "ccgbank", ROWS)
    return folder


def settings(**changes) -> HubSettings:
    """Of a study on the mirror and the folders of ``built``."""
    return HubSettings(**{name: str(built() / name) for name in ("mirror", "bucc", "ccgbank")} | changes)


def build_bucc(folder: Path) -> None:
    """BUCC 2018 as XTREME's script leaves it: in both splits every second sentence has its translation."""
    folder.mkdir()
    for code, split in product(("de", "fr", "ru", "zh"), ("dev", "test")):
        start = f"{code}-en.{split}"
        for side in (code, "en"):
            lines = [f"{side}-{n:09}\t{_text(side, n)} {split}\n" for n in range(ROWS)]
            (folder / f"{start}.{side}").write_text("".join(lines), encoding="utf-8")
        gold = [f"{code}-{n:09}\ten-{n:09}\n" for n in range(0, ROWS, 2)]
        (folder / f"{start}.gold").write_text("".join(gold))


def build_ccgbank(folder: Path, rows: int) -> None:
    """LDC2005T13's AUTO files: sections 00 (development), 02 and 21 (training), 22 (neither) and 23 (test)."""
    for section in ("00", "02", "21", "22", "23"):
        path = folder / "data/AUTO" / section / f"wsj_{section}01.auto"
        path.parent.mkdir(parents=True)
        path.write_text("".join(AUTO.format(section, n, n + 1) for n in range(rows)))


def write(path: Path, rows: list[dict], features: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, Features(features).arrow_schema), path)


def _text(language: str, number: int) -> str:
    return TEXTS.get(language, f"{language} team {{}} won the game").format(number)


def question(identity: str, language: str, number: int) -> dict:
    """A row of a set in SQuAD's columns."""
    context = _text(language, number) + " 308 points."
    answers = {"text": ["308"], "answer_start": [context.index("308")]}
    text = f"How many? {number}"
    return {"id": identity, "title": "Panthers", "context": context, "question": text, "answers": answers}


def _columns(strings: str, **others) -> dict:
    return dict.fromkeys(strings.split(), STRING) | others


QUESTION = _columns("id title context question", answers={"text": STRINGS, "answer_start": List(INT)})
COPA = _columns("premise choice1 choice2 question", label=INT, idx=INT)
PAIR = _columns("premise hypothesis", label=NLI)
FEATURES = {  # configuration up to a point, or repository -> features
    "XNLI": _columns("language sentence1 sentence2 gold_label"),
    "PAWS-X": _columns("sentence1 sentence2 label"),
    "udpos": {"tokens": STRINGS, "pos_tags": List(ClassLabel(names=UPOS))},
    "PAN-X": {"tokens": STRINGS, "ner_tags": List(ClassLabel(names=NER)), "langs": STRINGS},
    "tydiqa": QUESTION, "MLQA": QUESTION, "rajpurkar/squad": QUESTION, "rajpurkar/squad_v2": QUESTION,
    "XQuAD": {name: feature for name, feature in QUESTION.items() if name != "title"},
    "tatoeba": _columns("source_sentence target_sentence source_lang target_lang"),
    "nyu-mll/multi_nli": PAIR | _columns(
        "pairID premise_binary_parse premise_parse hypothesis_binary_parse hypothesis_parse genre", promptID=INT),
    "stanfordnlp/snli": PAIR, "facebook/xnli": PAIR,
    "facebook/anli": PAIR | _columns("uid reason"),
    "nyu-mll/glue": _columns("question1 question2", label=ClassLabel(names=["not_duplicate", "duplicate"]), idx=INT),
    "aps/super_glue": {**COPA, "label": ClassLabel(names=["choice1", "choice2"])},
    "cambridgeltl/xcopa": {**COPA, "changed": Value("bool")},
    "Rowan/hellaswag": _columns(
        "activity_label ctx_a ctx_b ctx source_id split split_type label", ind=INT, endings=STRINGS),
    "allenai/cosmos_qa": _columns("id context question answer0 answer1 answer2 answer3", label=INT),
    "tau/commonsense_qa": _columns(
        "id question question_concept answerKey", choices={"label": STRINGS, "text": STRINGS}),
    "allenai/social_i_qa": _columns("context question answerA answerB answerC label"),
}  # fmt: skip


def content(repo: str, config: str, split: str, rows: int = ROWS) -> tuple[list[dict], dict]:
    """(rows, features) of one set."""
    kind = config.partition(".")[0]
    codes = {"XNLI": XNLI, "tydiqa": TYDIQA}.get(kind, [config.rpartition(".")[2]])  # several languages in one
    name = kind if kind in FEATURES else repo
    table = [_row(name, config, split, code, n) for code in codes for n in range(rows)]
    if repo == "rajpurkar/squad_v2":
        table[1]["answers"] = {"text": [], "answer_start": []}
    if repo == "stanfordnlp/snli":  # the annotators did not agree
        table[-1]["label"] = -1
    return [{column: row[column] for column in FEATURES[name]} for row in table], FEATURES[name]


def _row(name: str, config: str, split: str, code: str, n: int) -> dict:
    """The columns of a row, of sets that lack some of them too."""
    if "squad" in name or name in ("tydiqa", "MLQA", "XQuAD"):  # the language stands in TyDiQA's id alone
        return question({"tydiqa": f"{code}-{n}-0", "XQuAD": f"{n}"}.get(name, f"{split}-{n}"), code, n)
    if name in ("XNLI", "PAWS-X"):  # labels as strings
        row = {"language": code, "sentence1": _text(code, n), "gold_label": NLI.names[n % 3], "label": str(n % 2)}
        return {**row, "sentence2": f"{code} {n}" if name == "XNLI" else f"{n}"}
    if name == "udpos":
        return {"tokens": ["Dogs", f"bark{n}", "."], "pos_tags": [7, 15, 12]}
    if name == "PAN-X":
        return {"tokens": ["Ada", f"Byron{n}", "in", "London"], "ner_tags": [1, 2, 0, 5], "langs": [code] * 4}
    if name == "tatoeba":  # XTREME's script keeps the line ends; the foreign side comes first
        sides = {"source_sentence": f"{code} {n}\n", "target_sentence": f"eng {n}\n"}
        return {**sides, "source_lang": code, "target_lang": "eng"}
    if name in ("aps/super_glue", "cambridgeltl/xcopa"):
        texts = {"premise": f"{config} fell.", "choice1": "It slipped.", "choice2": "It hurt."}
        return {**texts, "question": ("cause", "effect")[n % 2], "label": n % 2, "idx": n, "changed": False}
    if name == "nyu-mll/glue":
        return {"question1": f"Why {n}?", "question2": f"How {n}?", "label": n % 2, "idx": n}
    if name == "Rowan/hellaswag":  # the label is a string
        contexts = {"ctx_a": f"A man stands {n}.", "ctx_b": "he" if n % 2 else ""}
        row = dict.fromkeys(FEATURES[name], "x") | contexts | {"ctx": " ".join(contexts.values()).strip()}
        return {**row, "label": str(n % 4), "ind": n, "endings": ["runs.", "sits.", "eats.", "reads."]}
    if name == "allenai/cosmos_qa":
        answers = {f"answer{letter}": f"It was {letter}." for letter in "0123"}
        return {"id": f"c{n}", "context": "It rained.", "question": "Why?", **answers, "label": n % 4}
    if name == "tau/commonsense_qa":
        choices = {"label": list("ABCDE"), "text": ["bank", "library", "mall", "park", "pub"]}
        row = {"question": "Where do you read?", "question_concept": "read", "choices": choices}
        return {"id": f"q{n}", **row, "answerKey": "ABCDE"[n % 5]}
    if name == "allenai/social_i_qa":  # the label is a string, "1" to "3"
        answers = dict(zip(("answerA", "answerB", "answerC"), "abc", strict=True))
        return {"context": "Kai ran.", "question": "Why?", **answers, "label": str(n % 3 + 1)}
    pair = {"premise": f"{name} {config} {n}", "hypothesis": f"{n}", "label": n % 3, "uid": f"u{n}", "reason": ""}
    return {**dict.fromkeys(FEATURES[name], "x"), **pair, "promptID": n}
