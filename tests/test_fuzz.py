"""Whatever is given to the run grammar, the readers and the parameter file: it is right, or one message says why not.

Derandomised: the same inputs every time, a bounded number of them.
"""

import copy
import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from hostile_files import CHOICES, COPA, COSMOS, TWO, XQUAD_R, asked, conllu, one_line, squad
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.names import parse_run
from xstilts.readers.pairs_and_choices import READERS, read
from xstilts.runs import list_runs
from xstilts.sources.files import COLUMNS, to_dataset
from xstilts.study import load_study
from xstilts.target_runs import TargetRun
from xstilts.tasks import INTERMEDIATE, NLI, TASKS, UPOS


def inputs(count: int):
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes
    )  # fmt: skip


def says(error: UserError, name: str) -> None:
    """One line that names what is wrong."""
    assert name in str(error)
    one_line(str(error))


# --- the run grammar -----------------------------------------------------------------------------------

PIECES = [*TASKS, "multi", "none", "mlm", "all", "mt", "de", "zh-TW", *"+@=,1/ \n", "010", ".."]


@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("mnli+squad1+mlm@de,zh=3000")
@inputs(150)
def test_the_name_of_a_run(name):
    try:
        run = parse_run(name)
    except UserError as error:
        says(error, "intermediate run")
        return
    tasks = {(): "none", INTERMEDIATE: "multi"}.get(run.tasks, "+".join(run.tasks))
    languages = f"@{','.join(run.languages)}" if run.languages else ""
    spelt = f"{tasks}{'+mlm' * run.mlm}{languages}{f'={run.examples}' * bool(run.examples)}"
    assert run.name == name == spelt
    safe_as_a_folder(name)


def safe_as_a_folder(name: str) -> None:
    assert Path(name).parts == (name,) and name not in (".", "..") and name.isprintable() and len(name.encode()) < 256


# --- the readers ---------------------------------------------------------------------------------------

ANSWERED = asked("q1", ("Ana", 12))
PARTED = squad(ANSWERED, **XQUAD_R, sentence_breaks=[[0, 7], [8, 16]])
MENTION = {"example_id": "1", "entity_id": "Q1", "mention_span": {"text": "Ana", "start": 0, "end": 3}}
ARTICLE = {"language": "de", "text": "Ana lebt.", "sentence_spans": [{"start": 0, "end": 9}]}
ENTITY = {"entity_id": "Q1", "description_language": "de", "description": "Eine.", "sentence_spans": []}
VALID = {  # reader -> kind, labels, name, content, companions
    "pairs": ("classification", NLI, "d.tsv", "a\tb\tneutral\nc\td\tentailment\n", {}),
    "translated_pairs": ("classification", NLI, "d.tsv", "a\tb\tc\td\tneutral\n", {}),
    "copa": ("choice", (), "v.jsonl", COPA + "\n", {}),
    "socialiqa": ("choice", (), "s.jsonl", json.dumps(
        {"context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "correct": "C"}), {}),
    "piqa": ("choice", (), "v.jsonl", '{"goal": "g", "sol1": "x", "sol2": "y"}', {"v-labels.lst": "1\n"}),
    "hellaswag": ("choice", (), "h.jsonl", '{"ind": 4, "ctx": "c", "endings": ["w", "x"], "label": 1}', {}),
    "commonsenseqa": ("choice", (), "c.jsonl", CHOICES % TWO, {}),
    "cosmosqa": ("choice", (), "v.csv", COSMOS + '5,"a, ""b""\nc",q,w,x,y,z,2\n', {}),
    "tagged": ("tagging", UPOS, "de_x.conllu", conllu(), {}),
    "ccgbank": ("tagging", (), "w.auto", "ID=wsj.1 PARSER=GOLD\n(<T S 0 1> (<L N NN NN word N> ) )\n", {}),
    "squad": ("span", (), "x.json", squad(ANSWERED), {}),
    "translated_squad": ("span", (), "x.json", squad(ANSWERED), {}),
    "xquad_r": ("span", (), "de.json", PARTED, {}),
    "xquad_r_questions": ("ranking", (), "de.json", PARTED, {}),
    "xquad_r_sentences": ("ranking", (), "de.json", PARTED, {}),
    "mewslix_mentions": ("ranking", (), "m.jsonl", json.dumps({"context": ARTICLE, "mentions": [MENTION]}), {}),
    "mewslix_entities": ("ranking", (), "e.jsonl", json.dumps(ENTITY), {}),
    "mewslix_pairs": ("parallel", (), "p.jsonl", json.dumps(
        {"contextual_mention": {"context": ARTICLE, "mention": MENTION}, "entity": ENTITY}), {}),
    "tatoeba": ("parallel", (), "tatoeba.deu-eng.deu", "eins\nzwei\n", {"tatoeba.deu-eng.eng": "one\ntwo\n"}),
    "bucc": ("mining", (), "de-en.dev.de", "de-1\teins\nde-2\tzwei\n",
             {"de-en.dev.en": "en-1\tone\n", "de-en.dev.gold": "de-1\ten-1\n"}),
    "verses": ("text", (), "v.tsv", "1\tIn the beginning\n2\twas the word\n", {}),
}  # fmt: skip
MARKS = [*'\n\t"-._\x00\ufeff\u2028[{},²', "\r\n", "\\ud800", "9" * 20]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**30, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value, before=()):
    """Paths to all parts of a JSON value."""
    yield before
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*before, key))


def replaced(value, path, new):
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@st.composite
def mutated(draw, text: str) -> bytes:
    """Any bytes; or the text with bytes cut out and marks put in, or a value of its JSON replaced."""
    way = draw(st.sampled_from(["bytes", "marks", "marks", "json", "json"]))
    if way == "bytes":
        return draw(st.binary(max_size=60))
    if way == "json" and text.startswith("{"):
        value = json.loads(text)
        value = replaced(value, draw(st.sampled_from(list(places(value)))), draw(VALUES))
        return json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    data = text.encode()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        mark = draw(st.sampled_from(MARKS) | st.text(max_size=3)).encode("utf-8", "surrogatepass")
        data = data[:start] + mark + data[start + draw(st.sampled_from([0, 0, 1, 2, 30])) :]
    return data


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_file(reader):
    kind, labels, name, content, beside = VALID[reader]
    files = {name: content, **beside}

    @given(st.sampled_from(sorted(files)).flatmap(lambda name: st.tuples(st.just(name), mutated(files[name]))))
    @example((name, content.encode()))
    @example((name, b"\xef\xbb\xbf" + content.encode().replace(b"\n", b"\r\n")))
    @inputs(40)
    def attempt(given):
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                (Path(folder) / file).write_bytes(text.encode())
            (Path(folder) / given[0]).write_bytes(given[1])
            try:
                rows = read(reader, Path(folder) / name, labels)
            except UserError as error:
                assert given[1] != content.encode(), "the good file is read"
                says(error, folder)
            else:
                valid(kind, labels, rows, reader.startswith("translated"))

    attempt()


def valid(kind: str, labels: tuple[str, ...], rows: list[dict], translated: bool) -> None:
    """Rows that a data set can be made of, with gold that can be scored."""
    assert rows and len({row["id"] for row in rows}) == len(rows)
    if kind != "text":
        to_dataset(rows, COLUMNS[kind])
    for row in rows:
        if "label" in row:
            assert -1 <= row["label"] < len(row.get("choices", labels))
        if row.get("tags") is not None:
            assert len(row["tags"]) == len(row["tokens"]) > 0 and (not labels or set(row["tags"]) <= set(labels))
        if kind == "span":
            for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
                assert (0 <= start < len(row["context"]) and row["context"].startswith(text, start)) or translated


# --- the parameter file --------------------------------------------------------------------------------

MICRO = yaml.safe_load((ROOT / "params" / "micro.yaml").read_text(encoding="utf-8"))
FURTHER = {"direct": {"targets": ["xnli"], "training_languages": ["source", "qab"], "examples": [10], "runs": ["none"]}}
BASE = MICRO | {"further": FURTHER, "training_sets": {"xnli": "mnli"}}
WORDS = st.sampled_from([*PIECES, "qaa", "qab", "each", "source", "tydiqa", "../..", "/etc", "a\0b", "lareqa", "micro"])
CHANGES = VALUES | WORDS | st.lists(WORDS, max_size=3) | st.dictionaries(WORDS, WORDS | VALUES, max_size=2)


def loaded(text: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            study = load_study(path)
        except UserError as error:
            says(error, "no study" if "no study" in str(error) else folder)
            return
        for run in list_runs(study):
            assert run.folder(study).is_relative_to(ROOT / study.runs)
            for part in Path(run.name).parts:
                safe_as_a_folder(part)
        for further in study.further.values():
            for language in further.training_languages:
                for examples in further.examples:
                    safe_as_a_folder(TargetRun(study.task(further.targets[0]), language, examples).name)


@given(st.sampled_from(list(places(BASE))), CHANGES)
@inputs(80)
def test_a_study_with_one_value_changed(path, value):
    loaded(yaml.safe_dump(replaced(BASE, path, value)))


@given(st.dictionaries(st.sampled_from(sorted(BASE)) | st.text(max_size=5), CHANGES, max_size=4))
@inputs(40)
def test_a_study_based_on_another(changes):
    loaded(yaml.safe_dump({"based_on": "micro", "name": "toy"} | changes))


YAML = [*"a\n[]{}'|#%\t\x00~", '"', "name", ": ", "- ", "  ", "&a ", "*a", "<<", "!!int ", "!!python/name:os ",
        "? ", ", ", "no", "010", "1:30", "2020-01-01", "1e5", "---\n"]  # fmt: skip


@given(st.binary(max_size=40) | st.lists(st.sampled_from(YAML), max_size=20).map(lambda parts: "".join(parts).encode()))
@inputs(160)
def test_any_text_as_a_study(text):
    loaded(text)
