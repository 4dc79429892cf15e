"""The hub source: on a mirror of every dataset, on a small hub of our own, and where there is neither."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import yaml
from datasets import Dataset, Features

import hub_server
import mirror
from xstilts.errors import UserError
from xstilts.places import REVISIONS, Folder, Hub
from xstilts.runs import check_data, list_runs
from xstilts.sources.ccgbank import auto
from xstilts.sources.hub import HubSource
from xstilts.sources.hub_files import SIZES, records
from xstilts.sources.hub_settings import HubSettings
from xstilts.sources.readers import read
from xstilts.study import load_study
from xstilts.tasks import INTERMEDIATE, SPLITS, TASKS, get

ROWS = 6
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    here = tmp_path_factory.mktemp("hub")
    mirror.build(here / "mirror", ROWS)
    mirror.build_bucc(here / "bucc", ROWS)
    mirror.build_ccgbank(here / "ccgbank", ROWS)
    return here


def settings(folder: Path, **changes) -> HubSettings:
    values = {name: str(folder / name) for name in ("mirror", "bucc", "ccgbank")}
    return HubSettings(**values | changes)


@pytest.fixture(scope="module")
def source(folder):
    return HubSource(settings(folder), languages=("de", "zh"))


def study_file(folder: Path, tmp_path: Path, **changes) -> Path:
    values = {
        "name": "hub", "source": "hub", "source_language": "en", "hub": settings(folder).model_dump(),
        "intermediate": ["none", "mnli"], "targets": ["xnli"], "encoder": {"checkpoint": "nowhere/at-all"},
        "runs": str(tmp_path / "runs"),
    } | changes  # fmt: skip
    path = tmp_path / "hub.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


# --- what is declared --------------------------------------------------------------------------------


def test_every_intermediate_task_and_every_target_of_the_paper_has_a_place():
    study = load_study("xtreme")
    assert set(study.intermediate) == {"none", "multi", *INTERMEDIATE}
    for name in (*INTERMEDIATE, "copa", "socialiqa"):
        assert {"train", "dev"} <= set(get(name).hub), name
    assert all(get(name).hub for name in study.targets) and len(study.targets) == 9
    places = [place for task in TASKS.values() for found in task.hub.values() for place in found]
    for place in places:
        assert isinstance(place, Folder) or place.repo in REVISIONS


def test_every_known_size_is_of_a_set_that_some_task_reads():
    """And the other way round: of every set that is read, the size is known."""
    read_of = {
        (place.repo, place.config_of(language), place.split)
        for task in TASKS.values()
        for found in task.hub.values()
        for place in found
        if isinstance(place, Hub)
        for language in place.languages or task.languages
    }
    assert {key[:3] for key in SIZES} <= read_of
    # what is declared and was never published: tagged sets of four small treebanks
    assert {key[1] for key in read_of - {key[:3] for key in SIZES}} == {
        "udpos.Kazakh", "udpos.Tagalog", "udpos.Thai", "udpos.Yoruba"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "split", "count"),
    [  # protocol: XNLI 15, PAWS-X 7, UDPOS 33 (dev 29), PANX 40, XQuAD 11, MLQA 7, TyDiQA 9, BUCC 4, Tatoeba 36
        ("xnli", "test", 15), ("pawsx", "test", 7), ("udpos", "test", 33), ("udpos", "dev", 29), ("panx", "test", 40),
        ("xquad", "test", 11), ("mlqa", "test", 7), ("tydiqa", "dev", 9), ("bucc", "test", 4), ("tatoeba", "test", 36),
        ("xcopa", "test", 11), ("mnli", "train", 15), ("mnli", "dev", 1), ("anli", "train", 1), ("xquad", "train", 0),
    ],
)  # fmt: skip
def test_languages(source, task, split, count):
    found = source.languages(get(task), split)
    assert len(found) == count and sorted(found[1:]) == found[1:]
    assert found[:1] == ["en"] or "en" not in found


def test_sizes_add_up_to_those_of_the_paper():
    """Table 1 of the paper counts 1,104,934 training and 22,857 development examples of ANLI+ (785 and 158 rows
    of SNLI have no gold label: its card)."""
    totals = {
        split: sum(SIZES[place.repo, place.config, place.split, ""] for place in get("anli").hub[split])
        for split in ("train", "dev")
    }
    assert totals == {"train": 1_104_934 + 785, "dev": 22_857 + 158}
    assert SIZES["google/xtreme", "XNLI", "test", ""] == 15 * 5010


# --- every set of the mirror -------------------------------------------------------------------------


def test_the_mirror_has_the_columns_of_the_hub(folder):
    for known in mirror.sets():
        names = [f"{known['config']}/{known['split']}-*.parquet", f"{known['config']}/{known['split']}/0000.parquet",
                 f"data/{known['split']}-*.parquet"]  # fmt: skip
        (path,) = [found for name in names for found in (folder / "mirror" / known["repo"]).glob(name)]
        assert set(parquet.read_schema(path).names) == set(known["columns"].split("|"))


COLUMNS = {
    "classification": ["id", "text_a", "text_b", "label"],
    "choice": ["id", "context", "question", "choices", "label"],
    "tagging": ["id", "tokens", "tags"],
    "span": ["id", "context", "question", "answers", "is_impossible"],
    "parallel": ["id", "query", "candidate"],
    "mining": ["id", "text", "side", "gold"],
}


def test_every_set_loads_in_the_columns_of_its_kind(source):
    loaded = 0
    for task in TASKS.values():
        for split in task.hub:
            for language in source.languages(task, split):
                found = source.load(task, split, language)
                assert found.column_names == COLUMNS[task.kind], task.name
                assert len(set(found["id"])) == len(found)
                loaded += 1
                if task.labels and "label" in found.column_names:
                    assert set(found["label"]) == set(range(len(task.labels))), task.name
    assert loaded > 370


EXPECTED = {
    ("mnli", "train", "en"): {"id": "2", "text_a": "nyu-mll/multi_nli default 1", "text_b": "1", "label": 1},
    ("mnli", "train", "sw"): {"id": "2", "text_a": "facebook/xnli sw 1", "text_b": "1", "label": 1},
    ("xnli", "test", "zh"): {"id": "2", "text_a": "卡罗来纳黑豹队的防守只丢了1分。", "text_b": "zh 1", "label": 1},
    ("pawsx", "dev", "ko"): {"id": "2", "text_a": "ko team 1 won the game", "text_b": "1", "label": 1},
    ("qqp", "train", "en"): {"id": "2", "text_a": "Why 1?", "text_b": "How 1?", "label": 1},
    ("udpos", "test", "yo"): {"id": "2", "tokens": ["Dogs", "bark1", "."], "tags": ["NOUN", "VERB", "PUNCT"]},
    ("panx", "test", "my"): {
        "id": "2", "tokens": ["Ada", "Byron1", "in", "London"], "tags": ["B-PER", "I-PER", "O", "B-LOC"]
    },
    ("tatoeba", "test", "zh"): {"id": "2", "query": "eng 1", "candidate": "cmn 1"},
    ("hellaswag", "dev", "en"): {
        "id": "2", "context": "A man 1", "question": "", "choices": ["runs.", "sits.", "eats.", "reads."], "label": 1
    },
    ("socialiqa", "train", "en"): {
        "id": "2", "context": "Kai ran.", "question": "Why?", "choices": ["a", "b", "c"], "label": 1
    },
    ("xcopa", "test", "qu"): {
        "id": "1", "context": "qu fell.", "question": "What was the effect?", "choices": ["It slipped.", "It hurt."],
        "label": 1,
    },
    ("copa", "dev", "en"): {
        "id": "1", "context": "copa fell.", "question": "What was the effect?", "choices": ["It slipped.", "It hurt."],
        "label": 1,
    },
    ("csqa", "dev", "en"): {
        "id": "q1", "context": "", "question": "Where do you read?",
        "choices": ["bank", "library", "mall", "park", "pub"], "label": 1,
    },
    ("tydiqa", "train", "en"): {
        "id": "english-1-0", "context": "english team 1 won the game 308 points.", "question": "How many? 1",
        "answers": {"text": ["308"], "answer_start": [28]}, "is_impossible": False,
    },
    ("squad2", "dev", "en"): {
        "id": "validation-1", "context": "squad_v2 team 1 won the game 308 points.", "question": "How many? 1",
        "answers": {"text": [], "answer_start": []}, "is_impossible": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("asked", EXPECTED, ids=lambda asked: "-".join(asked))
def test_second_row(source, asked):
    """By hand: labels as strings, as numbers with names, counted from 1; languages in a column or in the id;
    English on the target side, line ends kept; questions without an answer."""
    task, split, language = asked
    assert source.load(get(task), split, language)[1] == EXPECTED[asked]


def test_anli_plus_is_its_five_sets_less_the_rows_without_gold(source, caplog):
    found = source.load(get("anli"), "train", "en")
    parts = ["facebook/anli plain_text train_r1", "facebook/anli plain_text train_r2",
             "facebook/anli plain_text train_r3", "nyu-mll/multi_nli default train"]  # fmt: skip
    expected = [f"{part}:{n}" for part in parts for n in range(1, ROWS + 1)]
    assert found["id"][:] == expected + [f"stanfordnlp/snli plain_text train:{n}" for n in range(1, ROWS)]
    assert found["label"][:] == [0, 1, 2] * 9 + [0, 1]
    assert "stanfordnlp/snli plain_text train: 1 of 6 rows left out" in caplog.text


def test_another_size_than_the_published_one_is_said_once(folder, caplog):
    source = HubSource(settings(folder))
    for language in ("en", "fi", "en"):
        source.load(get("tydiqa"), "train", language)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [
        "google/xtreme tydiqa train: 54 rows, 49881 expected (revision main): not the published set",
        "google/xtreme tydiqa train (en): 6 rows, 3696 expected (revision main): not the published set",
    ]


def test_labels_without_names_are_numbers_of_the_tasks_labels(folder, tmp_path):
    """A file whose metadata does not name its class labels, and one whose order is another."""
    here = tmp_path / "nyu-mll/multi_nli/data"
    here.mkdir(parents=True)
    row = {"premise": "a", "hypothesis": "b"}
    Dataset.from_list([{**row, "label": 2}]).to_parquet(here / "train-00000-of-00002.parquet")
    features = Features(
        dict.fromkeys(row, mirror.STRING) | {"label": mirror.ClassLabel(names=[*mirror.NLI.names[::-1]])}
    )
    turned = Dataset.from_list([{**row, "label": 0}, {**row, "label": 2}], features=features)
    turned.to_parquet(here / "train-00001-of-00002.parquet")
    source = HubSource(settings(folder, mirror=str(tmp_path)))
    assert source.load(get("mnli"), "train", "en")["label"][:] == [2, 2, 0]
    Dataset.from_list([{**row, "label": 3}]).to_parquet(here / "train-00000-of-00002.parquet")
    with pytest.raises(UserError, match="nyu-mll/multi_nli default train, row 1: label 3, expected 0 to 2"):
        source.load(get("mnli"), "train", "en")


def test_training_questions_need_their_answer_in_place(folder, tmp_path, caplog):
    """XTREME's script cut blanks before passages and left the offsets as they were."""
    rows = [mirror._question(f"english-{n}", "en", n) for n in range(3)]
    rows[1]["answers"]["answer_start"] = [rows[1]["answers"]["answer_start"][0] + 1]
    for split in ("train", "validation"):
        mirror._write(tmp_path / f"google/xtreme/tydiqa/{split}-00000-of-00001.parquet", rows, mirror.QUESTION)
    source = HubSource(settings(folder, mirror=str(tmp_path)))
    assert source.load(get("tydiqa"), "train", "en")["id"][:] == ["english-0", "english-2"]
    assert "tydiqa train: 1 of 3 rows left out" in caplog.text
    assert len(source.load(get("tydiqa"), "dev", "en")) == 3  # scored by their text


def test_limits_and_text(folder):
    few = HubSource(settings(folder, limits={"train": 2}, documents_per_language=3), languages=("de", "zh"))
    assert len(few.load(get("anli"), "train", "en")) == 2 and len(few.load(get("mnli"), "dev", "en")) == ROWS
    assert len(few.load(get("tatoeba"), "test", "de")) == ROWS
    text = few.text(1)
    assert sorted(text["id"]) == [f"{code}-{n}" for code in ("de", "en", "zh") for n in range(3)]
    assert dict(zip(text["id"], text["text"], strict=True))["zh-1"] == "卡罗来纳黑豹队的防守只丢了1分。 zh"
    assert text["id"][:] == few.text(1)["id"][:] != few.text(2)["id"][:]


def test_fingerprints(folder, tmp_path):
    whole, few = HubSource(settings(folder)), HubSource(settings(folder, limits={"train": 2}))
    task, hashes = get("udpos"), set()
    for split in SPLITS:
        hashes |= {whole.fingerprint(task, split, code) for code in ("en", "de")}
    assert len(hashes) == 6
    assert few.fingerprint(task, "train", "en") not in hashes
    assert few.fingerprint(task, "test", "en") == whole.fingerprint(task, "test", "en")
    before = whole.fingerprint(get("ccg"), "dev", "en"), whole.text_fingerprint(1)
    path = folder / "ccgbank/data/AUTO/00/wsj_0001.auto"
    original = path.read_text()
    path.write_text(original.replace("Vinken", "Pierre"))
    try:
        assert HubSource(settings(folder)).fingerprint(get("ccg"), "dev", "en") != before[0]
    finally:
        path.write_text(original)
    assert whole.text_fingerprint(2) != before[1] == whole.text_fingerprint(1)
    unmirrored = HubSource(HubSettings())  # no file is asked for
    assert unmirrored.fingerprint(task, "test", "en") != whole.fingerprint(task, "test", "en")


# --- CCGbank and BUCC --------------------------------------------------------------------------------

AUTO = (
    "ID=wsj_0001.2 PARSER=GOLD NUMPARSE=1\n"
    "(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<T NP 0 2> (<L N/N NNP NNP Mr. N_142/N_142>) (<L N NNP NNP Vinken N>) ) "
    "(<T S[dcl]\\NP 0 2> (<L (S[dcl]\\NP)/NP VBZ VBZ is (S[dcl]\\NP_87)/NP_88>) (<T NP 0 1> (<L N NN NN chairman N>) ) "
    ") ) (<L . . . . .>) ) \n"
)


def test_auto_file(tmp_path):
    path = tmp_path / "wsj_0001.auto"
    path.write_text(AUTO)
    assert read("ccgbank", path) == [{
        "id": "wsj_0001.2", "tokens": ["Mr.", "Vinken", "is", "chairman", "."],
        "tags": ["N/N", "N", "(S[dcl]\\NP)/NP", "N", "."],
    }]  # fmt: skip
    path.write_text(AUTO.replace("NNP Vinken N>", "NNP N>"))
    with pytest.raises(UserError, match=r"wsj_0001\.auto:2: expected ID=.* then, on the next line, a derivation"):
        list(auto(path, ()))


def test_sections_of_ccgbank(source):
    found = {split: {row.split(".")[0] for row in source.load(get("ccg"), split, "en")["id"]} for split in SPLITS}
    assert found == {"train": {"wsj_0201", "wsj_2101"}, "dev": {"wsj_0001"}, "test": {"wsj_2301"}}


def test_supertags_in_columns(folder, tmp_path):
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("Vinken\tN\nreads\t(S[dcl]\\NP)/NP\n\nYes\tS\n")
    source = HubSource(settings(folder, ccgbank=str(tmp_path)))
    assert source.load(get("ccg"), "train", "en")["tags"][:] == [["N", "(S[dcl]\\NP)/NP"], ["S"]]
    (tmp_path / "dev.tsv").unlink()
    with pytest.raises(UserError, match=r"hub\.ccgbank: .* holds neither data/AUTO"):
        source.load(get("ccg"), "dev", "en")


def test_without_ccgbank_its_run_is_left_out_by_name(folder, tmp_path):
    names = ["none", "ccg", "mnli", "multi", "squad1+ccg"]
    values = settings(folder, ccgbank="").model_dump()
    study = load_study(study_file(folder, tmp_path, hub=values, intermediate=names))
    assert study.left_out == ("ccg", "squad1+ccg") and len(study.intermediate_run("multi").tasks) == 8
    assert study.absence == (
        "ccg is left out; squad1+ccg is left out; multi is trained without ccg: no CCGbank (LDC2005T13), whose folder "
        "hub.ccgbank names"
    )
    assert {run.intermediate for run in list_runs(study) if run.intermediate} == {"none", "mnli", "multi"}
    check_data(study)
    whole = load_study(study_file(folder, tmp_path, intermediate=names))
    assert not whole.left_out and not whole.absence and len(whole.intermediate_run("multi").tasks) == 9
    assert {run.intermediate for run in list_runs(whole) if run.intermediate} == set(names)


def test_a_run_that_is_left_out_is_missing_in_the_tables(folder, tmp_path):
    from xstilts.results import expected, missing

    study = load_study(
        study_file(folder, tmp_path, hub=settings(folder, ccgbank="").model_dump(), intermediate=["none", "ccg"])
    )
    wanted = expected(study, HubSource(study.hub))
    scored = wanted[wanted["intermediate"] == "none"].assign(value=50.0)
    assert set(missing(wanted, scored)["intermediate"]) == {"ccg"}


def test_bucc_lacks_its_sentences_on_the_hub(folder, tmp_path):
    study = load_study(
        study_file(folder, tmp_path, hub=settings(folder, bucc="").model_dump(), targets=["xnli", "bucc"])
    )
    with pytest.raises(UserError, match=r"bucc: the hub holds BUCC's gold pairs alone.*de-en\.dev\.gold.*hub\.bucc"):
        check_data(study)


# --- what is checked before anything runs -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate": ["none", "hellaswag@de"]}, "hellaswag: no train set in de on the hub; there is: en"),
        ({"intermediate": ["none", "sick"]}, "sick: no train set in en on the hub; there is: none"),
        ({"languages": ["en", "af"], "targets": ["xnli"]}, '"af" is in no target\'s data'),
        ({"hub": {"mirror": "/nowhere"}}, "hub.mirror: no folder /nowhere"),
        ({"hub": {"ccgbank": "/nowhere"}, "intermediate": ["none", "ccg"]}, "hub.ccgbank: no folder /nowhere"),
        ({"hub": {"miror": ""}}, 'hub.miror: unknown key; did you mean "mirror"'),
    ],
)
def test_refused(folder, tmp_path, changes, message):
    changes = {**changes, "hub": settings(folder).model_dump() | changes.get("hub", {})}
    with pytest.raises(UserError, match=message):
        check_data(load_study(study_file(folder, tmp_path, **changes)))


def test_every_language_of_an_intermediate_task(folder, tmp_path):
    check_data(load_study(study_file(folder, tmp_path, intermediate=["none", "mnli@de", "mnli@all", "panx@sw,tl"])))


def test_a_mirror_that_lacks_a_file(folder, tmp_path):
    lacking = tmp_path / "mirror"
    (lacking / "google").mkdir(parents=True)
    (lacking / "nyu-mll").symlink_to(folder / "mirror/nyu-mll")
    study = load_study(study_file(folder, tmp_path, hub=settings(folder, mirror=str(lacking)).model_dump()))
    with pytest.raises(UserError, match=r"google/xtreme XNLI test: no such file in .*XNLI/test-\*\.parquet"):
        check_data(study)


# --- the hub itself ----------------------------------------------------------------------------------


def command(path: Path | str, home: Path, **environment) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "xstilts", "study", str(path)], env=kept | {"HF_HOME": str(home)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_papers_study_stops_at_once_where_nothing_can_be_reached(tmp_path):
    done = command("xtreme", tmp_path, **OFFLINE)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert "Rowan/hellaswag (revision refs/convert/parquet) could not be reached on the hub" in line
    assert "google/xtreme, nyu-mll/glue" in line and str(tmp_path / "hub") in line
    for way_out in ("connect to the network", "fill the cache", "hub.mirror"):
        assert way_out in line


FETCH = """
import sys
from xstilts.runs import check_data
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.tasks import get
study = load_study(sys.argv[1])
check_data(study)
check_data(study)
source = open_source(study)
print(source.load(get("xnli"), "test", "zh")[1]["text_b"], source.load(get("mnli"), "train", "en")[1]["id"])
"""


def test_the_hub_then_its_cache(folder, tmp_path):
    """Fetched over HTTP as from the hub, only what is needed; then again without a network."""
    path = study_file(folder, tmp_path, hub={})
    outer = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    outer |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def fetch(**environment) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", FETCH, str(path)],
            env=outer | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    with hub_server.serve(folder / "mirror") as (address, asked):
        first = fetch(HF_ENDPOINT=address)
        assert first.returncode == 0, first.stderr
        assert first.stdout.splitlines() == [
            "fetching google/xtreme (revision main) from the hub",
            "fetching nyu-mll/multi_nli (revision main) from the hub",
            "zh 1 2",
        ]  # fmt: skip
        assert {name.rpartition(hub_server.COMMIT)[2] for name in asked if "/resolve/" in name} == {
            "/XNLI/test-00000-of-00001.parquet", "/data/train-00000-of-00001.parquet",
            "/data/validation_matched-00000-of-00001.parquet",
        }  # fmt: skip
        # each repository's state, once to see that it is there and once to fetch; the second check asks for nothing
        assert sum("/revision/" in name for name in asked) == 4
    again = fetch(**OFFLINE)
    assert again.returncode == 0 and again.stdout == "zh 1 2\n", again.stderr


def test_class_labels_have_their_names(folder):
    path = folder / "mirror/stanfordnlp/snli/plain_text/train-00000-of-00001.parquet"
    assert [record["label"] for record in records([path])] == [*mirror.NLI.names, *mirror.NLI.names[:2], None]
