"""Predictions to read: a case by hand for each kind of task, an unfinished study, and how texts are shown."""

import re

import pandas as pd
import pytest
from datasets import Dataset

from gold import Rows
from synthetic import study
from xstilts import examples
from xstilts.errors import UserError
from xstilts.evaluation import metrics
from xstilts.evaluation.prediction import evaluate, prediction_table
from xstilts.io import write_record
from xstilts.runs import Fingerprints, Run
from xstilts.target_runs import TargetRun


class ByHand(Rows):
    """A source of rows given by hand: split -> language -> rows."""

    source_language = "en"

    def fingerprint(self, task, split, language):
        return "rows"

    def text_fingerprint(self, seed):
        return "text"


MNLI = Run("targets", 1, "mnli", "all")
NONE = Run("targets", 1, "none", "all")
PASSAGE = "In Paris steht der Eiffelturm. Er wurde 1889 gebaut."


def pair(name, a, b, label):
    return {"id": name, "text_a": a, "text_b": b, "label": label}


def question(name, text, answers, context=PASSAGE):
    starts = [context.index(answer) for answer in answers]
    answers = {"text": answers, "answer_start": starts}
    return {"id": name, "context": context, "question": text, "answers": answers, "is_impossible": False}


def sentence(name, side, text, gold=()):
    return {"id": name, "text": text, "side": side, "gold": list(gold)}


def candidate(name, language, text, *keys):
    return {"id": name, "text": text, "language": language, "keys": list(keys)}


MINED = [
    sentence("f1", "foreign", "Guten Tag.", ["e1"]), sentence("f2", "foreign", "Es regnet."),
    sentence("f3", "foreign", "Danke.", ["e2"]),
    sentence("e1", "source", "Good day."), sentence("e2", "source", "Thanks."),
]  # fmt: skip

# target: (splits, predictions of none, of mnli, by language; rows expected, by id: change, text, gold, none, mnli)
CASES = {
    "xnli": (
        {"test": {
            "en": [pair("1", "A cat sleeps.", "A cat is awake.", 2)],
            "ar": [pair("1", "قطة نائمة.", "القطة مستيقظة.", 2), pair("2", "كلب يجري.", "حيوان يجري.", 0),
                   pair("3", "مطر.", "", 1)],
        }},
        {"en": [2], "ar": [0, 0, 1]},
        {"en": [2], "ar": [2, 1, 1]},
        {"1": ["mended", "قطة نائمة.\nالقطة مستيقظة.", "contradiction", "entailment", "contradiction"],
         "2": ["broken", "كلب يجري.\nحيوان يجري.", "entailment", "entailment", "neutral"]},
    ),
    "xcopa": (
        {"test": {"th": [
            {"id": "1", "context": "ฝนตก", "question": "ผล?", "choices": ["ถนนเปียก", "ถนนแห้ง"], "label": 0},
        ]}},
        {"th": [1]},
        {"th": [0]},
        {"1": ["mended", "ฝนตก\nผล?", "ถนนเปียก", "ถนนแห้ง", "ถนนเปียก"]},
    ),
    "panx": (
        {"test": {"ja": [
            {"id": "1", "tokens": ["東京", "は", "広い"], "tags": ["B-LOC", "O", "O"]},
            {"id": "2", "tokens": ["犬", "です"], "tags": ["O", "O"]},
        ]}},
        {"ja": [["O", "O", "O"], ["O", "O"]]},
        {"ja": [["B-LOC", "O", "O"], ["B-PER", "O"]]},
        {"1": ["mended", "東京は広い", "東京 B-LOC", "東京 O", "東京 B-LOC"],
         "2": ["broken", "犬です", "犬 O", "犬 O", "犬 B-PER"]},
    ),
    "xquad": (
        {"test": {"de": [question("1", "Wann?", ["1889", "1889"]), question("2", "Wo?", ["Paris", "In Paris"])]}},
        {"de": ["", "Paris"]},
        {"de": ["1889", "der Eiffelturm"]},
        {"1": ["mended", f"Wann?\n{PASSAGE}", "1889", "–", "1889"],
         "2": ["broken", f"Wo?\n{PASSAGE}", "Paris\nIn Paris", "Paris", "der Eiffelturm"]},
    ),
    "tatoeba": (
        {"test": {"hi": [
            {"id": "1", "query": "Hello.", "candidate": "नमस्ते।"},
            {"id": "2", "query": "Thanks.", "candidate": "शुक्रिया।"},
        ]}},
        {"hi": ["2", "2"]},
        {"hi": ["1", "1"]},
        {"1": ["mended", "Hello.", "नमस्ते।", "शुक्रिया।", "नमस्ते।"],
         "2": ["broken", "Thanks.", "शुक्रिया।", "शुक्रिया।", "नमस्ते।"]},
    ),
    "bucc": (
        {"dev": {"de": MINED}, "test": {"de": MINED}},
        {"de": ["e2", "", "e2"]},
        {"de": ["e1", "e2", ""]},
        {"f1": ["mended", "Guten Tag.", "Good day.", "Thanks.", "Good day."],
         "f2": ["broken", "Es regnet.", "–", "–", "Thanks."],
         "f3": ["broken", "Danke.", "Thanks.", "Thanks.", "–"]},
    ),
    "lareqa": (
        {"test": {"en": [{"id": "q", "text": "When?", "language": "en", "keys": ["a"]}],
                  "de": [{"id": "q", "text": "Wann?", "language": "de", "keys": ["a"]}]},
         "pool": {"en": [candidate("e0", "en", "No."), candidate("e1", "en", "In 1889.", "a")],
                  "de": [candidate("d1", "de", "Im Jahr 1889.", "a")]}},
        {"en": ["e1 d1 e0"], "de": ["e0 e1 d1"]},
        {"en": ["e1 d1 e0"], "de": ["e1 d1 e0"]},
        {"q": ["mended", "Wann?", "Im Jahr 1889.", "No.", "In 1889."]},
    ),
}  # fmt: skip


def statistics(task, rows, predictions, language, splits):
    """As the study itself computes them."""
    ids = [row["id"] for row in rows if row.get("side") != "source"]
    if task.kind == "parallel":
        return metrics.classification(ids, range(len(ids)), list(map(ids.index, predictions)), language)
    if task.kind == "mining":
        gold = [row["gold"] for row in rows if row["side"] == "foreign"]
        return metrics.mining(ids, gold, [[name] if name else [] for name in predictions], language)
    if task.kind == "ranking":
        relevant = [row["id"] for part in splits["pool"].values() for row in part if row["keys"]]
        return metrics.ranking(ids, [relevant], [ranked.split() for ranked in predictions], language)
    return evaluate(task, Dataset.from_list(rows), predictions, language)


def score(fingerprints, run, target_run, predictions):
    """Leave what a scored target run leaves."""
    task, splits = target_run.task, fingerprints.source.splits
    stats, tables = [], []
    for language, values in predictions.items():
        rows = splits["test"][language]
        stats.append(statistics(task, rows, values, language, splits))
        foreign = Dataset.from_list([row for row in rows if row.get("side") != "source"])
        tables.append(prediction_table(foreign, values, language))
    folder = run.folder(fingerprints.study) / target_run.name
    folder.mkdir(parents=True)
    pd.concat(stats).to_parquet(folder / "stats.parquet", index=False)
    pd.concat(tables).to_parquet(folder / "predictions.parquet", index=False)
    write_record(folder / "scored.json", {"fingerprint": fingerprints.target_run(run, target_run)})


@pytest.fixture
def prepared(tmp_path):
    def prepared(target):
        """(fingerprints, target run) of a study of one target, whose data are given by hand."""
        made = study(tmp_path, intermediate=["none", "mnli"], targets=[target])
        fingerprints = Fingerprints(made)
        fingerprints.source = ByHand(**CASES[target][0])
        return fingerprints, TargetRun(made.task(target))

    return prepared


def texts(styled):
    """As a reader sees the cells, by id."""
    html = styled.to_html()
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", html, re.DOTALL)]
    width = len(styled.data.columns)
    rows = [cells[number : number + width] for number in range(0, len(cells), width)]
    return dict(zip(styled.data.index, rows, strict=True))


@pytest.mark.parametrize("target", CASES)
def test_what_a_run_mended_and_broke(prepared, target):
    fingerprints, target_run = prepared(target)
    _, before, after, expected = CASES[target]
    score(fingerprints, NONE, target_run, before)
    score(fingerprints, MNLI, target_run, after)
    shown = examples.changes(fingerprints, MNLI, target_run)
    assert texts(shown) == expected
    assert list(shown.data.columns) == ["change", "text", "gold", "none", "mnli"]
    language, counts = (
        list(after)[-1],
        [sum(row[0] == change for row in expected.values()) for change in ("mended", "broken")],
    )
    total = len(after[language])
    assert shown.caption == f"{target}, {language}: of {total} examples {counts[0]} mended, {counts[1]} broken"


def test_the_largest_changes_come_first_and_no_more_than_are_asked_for(prepared):
    fingerprints, target_run = prepared("xquad")
    rows = [question(str(number), "?", ["der Eiffelturm"]) for number in range(5)]
    fingerprints.source = ByHand(test={"en": rows, "de": rows})
    score(fingerprints, NONE, target_run, {"en": [""] * 5, "de": ["der Eiffelturm", "", "", "", "Paris"]})
    after = ["Eiffelturm", "In Paris steht der Eiffelturm", "der Eiffelturm", "", "der Eiffelturm"]
    score(fingerprints, MNLI, target_run, {"en": ["Paris"] * 5, "de": after})
    shown = examples.changes(fingerprints, MNLI, target_run, count=2)
    assert shown.data["change"].to_dict() == {"2": "mended", "4": "mended", "0": "broken"}
    assert shown.caption == "xquad, de: of 5 examples 3 mended, 1 broken"
    shown = examples.changes(fingerprints, MNLI, target_run, "en")
    assert shown.data.empty and shown.caption == "xquad, en: of 5 examples 0 mended, 0 broken"
    with pytest.raises(UserError, match='xquad: no language "fr" is scored; there is: en, de'):
        examples.changes(fingerprints, MNLI, target_run, "fr")


def test_without_none_the_first_predictions_are_shown_and_one_line_says_why(prepared):
    fingerprints, target_run = prepared("xnli")
    _, before, after, _ = CASES["xnli"]
    score(fingerprints, MNLI, target_run, after)
    shown = examples.changes(fingerprints, MNLI, target_run)
    assert shown.caption == "xnli, ar: nothing to compare with until targets/none/all/seed1 is done"
    assert texts(shown)["2"] == ["كلب يجري.\nحيوان يجري.", "entailment", "neutral"] and len(shown.data) == 3
    score(fingerprints, NONE, target_run, before)
    shown = examples.changes(fingerprints, NONE, target_run)
    assert shown.caption == "xnli, ar" and list(shown.data.columns) == ["text", "gold", "none"]
    (NONE.folder(fingerprints.study) / "xnli/scored.json").write_text("{}")  # of other data
    assert "nothing to compare with" in examples.changes(fingerprints, MNLI, target_run).caption


def test_every_cell_has_its_own_direction_and_no_markup_of_the_data(prepared):
    fingerprints, target_run = prepared("xnli")
    fingerprints.source = ByHand(test={"ar": [pair("1", "<b>قطة</b> & كلب", "", 0)]})
    score(fingerprints, NONE, target_run, {"ar": [0]})
    html = examples.changes(fingerprints, NONE, target_run).to_html()
    assert html.count('<div dir="auto" lang="ar"') == 3 and "unicode-bidi: plaintext" in html
    assert "&lt;b&gt;قطة&lt;/b&gt; &amp; كلب" in html


@pytest.mark.parametrize("letter", ["e\u0301", "कि", "น้ำ", "\u0628\u0650\u0651", "👩\u200d👩\u200d👧"])
def test_a_passage_is_cut_between_letters_with_their_marks(letter):
    text = letter * 400 + "X" + letter * 400
    assert examples.excerpt(text, 400 * len(letter), 400 * len(letter) + 1) == f"…{letter * 150}X{letter * 150}…"
    assert examples.excerpt(letter * 150) == letter * 150 and examples.excerpt(letter * 151) == f"{letter * 150}…"
