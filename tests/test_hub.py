"""The hub source: on a mirror of every dataset, on a small hub of our own, and where there is neither."""

import re

import pytest

import mirror
from xstilts.errors import UserError
from xstilts.locations import REVISIONS, TEXT, Hub
from xstilts.readers.tagging import auto
from xstilts.settings import HubSettings
from xstilts.sources import left_out
from xstilts.sources.cache import CachedSource
from xstilts.sources.files import COLUMNS
from xstilts.sources.hub import SIZES, HubSource
from xstilts.study import load_study
from xstilts.tasks import INTERMEDIATE, SPLITS, TASKS, get

PINNED = REVISIONS["google/xtreme"]
DECLARED = [(task, entry) for task in TASKS.values() for places in task.hub.values() for entry in places]
PLACES = [(task, entry) for task, entry in DECLARED if isinstance(entry, Hub)]


@pytest.fixture(scope="module")
def source():
    return HubSource(mirror.settings(), languages=("de", "zh"))


# --- what is declared --------------------------------------------------------------------------------


def test_every_intermediate_task_and_every_target_of_the_paper_has_a_place():
    study = load_study("xtreme")
    assert set(study.intermediate) == {"none", "multi", *INTERMEDIATE}
    for name in (*INTERMEDIATE, "copa", "socialiqa"):
        assert {"train", "dev"} <= set(get(name).hub), name
    assert all(get(name).hub for name in study.targets) and len(study.targets) == 9
    assert {entry.repo for _, entry in PLACES} | {TEXT.repo} == set(REVISIONS)
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in REVISIONS.values()), "a branch is no pin: it moves"


def test_every_known_size_is_of_a_set_that_some_task_reads():
    """And the other way round: of every set that is read, the size is known."""
    read_of = {entry.key(code) for task, entry in PLACES for code in entry.languages or task.languages}
    known = {key[:3] for key in SIZES if not key[1].startswith("bucc18.")}  # BUCC's gold pairs are compared with alone
    assert known <= read_of
    # what is declared and was never published: tagged sets of four small treebanks
    assert {key[1] for key in read_of - known} == {f"udpos.{name}" for name in ("Kazakh", "Tagalog", "Thai", "Yoruba")}


LANGUAGES = {  # how many each set has, as in the protocol
    "xnli test": 15, "pawsx test": 7, "udpos test": 33, "udpos dev": 29, "panx test": 40, "xquad test": 11,
    "mlqa test": 7, "tydiqa dev": 9, "bucc test": 4, "tatoeba test": 36, "xcopa test": 11, "mnli train": 15,
    "mnli dev": 1, "anli train": 1, "xquad train": 0,
}  # fmt: skip


def test_languages(source):
    languages = {name: source.languages(get(name.split()[0]), name.split()[1]) for name in LANGUAGES}
    assert {name: len(codes) for name, codes in languages.items()} == LANGUAGES
    for codes in languages.values():
        assert sorted(codes[1:]) == codes[1:] and (codes[:1] == ["en"] or "en" not in codes)


def test_sizes_add_up_to_those_of_the_paper():
    """Table 1 of the paper counts 1,104,934 training and 22,857 development examples of ANLI+ (785 and 158 rows
    of SNLI have no gold label: its card)."""
    for split, size in {"train": 1_104_934 + 785, "dev": 22_857 + 158}.items():
        assert sum(SIZES[entry.repo, entry.config, entry.split, ""] for entry in get("anli").hub[split]) == size
    assert SIZES["google/xtreme", "XNLI", "test", ""] == 15 * 5010


# --- every set of the mirror -------------------------------------------------------------------------


def test_the_mirror_has_the_columns_of_the_hub():
    for known in mirror.sets():
        _, features = mirror.content(known["repo"], known["config"], known["split"])
        assert set(features) == set(known["columns"].split("|"))


def test_every_set_loads_in_the_columns_of_its_kind(source):
    loaded = 0
    for task in TASKS.values():
        sets = [(split, language) for split in task.hub for language in source.languages(task, split)[:4]]
        loaded += len(sets)
        for split, language in sets:
            dataset = source.load(task, split, language)
            assert dataset.column_names == list(COLUMNS[task.kind]), task.name
            assert len(set(dataset["id"])) == len(dataset)
            if task.labels and "label" in dataset.column_names:
                assert set(dataset["label"]) == set(range(len(task.labels))), task.name
    assert loaded > 90


SECOND = {  # set -> values of its second row, in the order of COLUMNS
    "mnli train en": ("2", "nyu-mll/multi_nli default 1", "1", 1),
    "xnli test zh": ("2", "卡罗来纳黑豹队的防守只丢了1分。", "zh 1", 1),
    "pawsx dev ko": ("2", "ko team 1 won the game", "1", 1),
    "qqp train en": ("2", "Why 1?", "How 1?", 1),
    "udpos test yo": ("2", ["Dogs", "bark1", "."], ["NOUN", "VERB", "PUNCT"]),
    "panx test my": ("2", ["Ada", "Byron1", "in", "London"], ["B-PER", "I-PER", "O", "B-LOC"]),
    "ccg dev en": ("wsj_0001.2", ["Mr.", "Vinken", "is1", "chairman", "."], ["N/N", "N", "(S[dcl]\\NP)/NP", "N", "."]),
    "tatoeba test zh": ("2", "eng 1", "cmn 1"),
    "hellaswag dev en": ("2", "A man stands 1.", "", ["he runs.", "he sits.", "he eats.", "he reads."], 1),
    "socialiqa train en": ("2", "Kai ran.", "Why?", ["a", "b", "c"], 1),
    "xcopa test qu": ("1", "qu fell.", "What was the effect?", ["It slipped.", "It hurt."], 1),
    "copa dev en": ("1", "copa fell.", "What was the effect?", ["It slipped.", "It hurt."], 1),
    "csqa dev en": ("q1", "", "Where do you read?", ["bank", "library", "mall", "park", "pub"], 1),
    "tydiqa train en": ("english-1-0", "english team 1 won the game 308 points.", "How many? 1",
                        {"text": ["308"], "answer_start": [28]}, False),
    "squad2 dev en": ("validation-1", "squad_v2 team 1 won the game 308 points.", "How many? 1",
                      {"text": [], "answer_start": []}, True),
}  # fmt: skip


@pytest.mark.parametrize(("name", "values"), SECOND.items(), ids=SECOND)
def test_second_row(source, name, values):
    """By hand: labels as strings, as numbers with names, counted from 1; languages in a column or in the id;
    English on the target side, line ends kept; questions without an answer; leaves of a derivation."""
    task, split, language = name.split()
    row = source.load(get(task), split, language)[1]
    assert row == dict(zip(COLUMNS[get(task).kind], values, strict=True))


def test_anli_plus_is_its_five_sets_less_the_rows_without_gold(source, caplog):
    dataset = source.load(get("anli"), "train", "en")
    rounds = [f"facebook/anli plain_text train_r{number}" for number in (1, 2, 3)]
    parts = [*rounds, "nyu-mll/multi_nli default train", "stanfordnlp/snli plain_text train"]
    rows = [f"{part}:{n}" for part in parts for n in range(1, mirror.ROWS + 1)]
    assert dataset["id"][:] == rows[:-1]  # the last of SNLI has no label
    assert dataset["label"][:] == [0, 1, 2] * 9 + [0, 1]
    assert "stanfordnlp/snli plain_text train: 1 of 6 rows left out" in caplog.text and left_out(dataset) == 1


def test_another_size_than_the_published_one_is_said_once(caplog):
    source = HubSource(mirror.settings())
    for language in ("en", "fi", "en"):
        source.load(get("tydiqa"), "train", language)
    assert caplog.messages == [
        f"google/xtreme tydiqa train: 54 rows, 49881 expected (revision {PINNED}): not the published set",
        f"google/xtreme tydiqa train (en): 6 rows, 3696 expected (revision {PINNED}): not the published set",
    ]


def test_labels_without_names_are_numbers_of_the_tasks_labels(tmp_path):
    """A file whose metadata does not name its class labels, and one whose order is another."""
    data, row = tmp_path / "nyu-mll/multi_nli/data", {"premise": "a", "hypothesis": "b"}
    numbers = dict.fromkeys(row, mirror.STRING) | {"label": mirror.INT}
    turned = numbers | {"label": mirror.ClassLabel(names=mirror.NLI.names[::-1])}
    mirror.write(data / "train-00000-of-00002.parquet", [{**row, "label": 2}], numbers)
    mirror.write(data / "train-00001-of-00002.parquet", [{**row, "label": 0}, {**row, "label": 2}], turned)
    source = HubSource(mirror.settings(mirror=str(tmp_path)))
    assert source.load(get("mnli"), "train", "en")["label"][:] == [2, 2, 0]
    mirror.write(data / "train-00000-of-00002.parquet", [{**row, "label": 3}], numbers)
    with pytest.raises(UserError, match="nyu-mll/multi_nli default train, row 1: label 3, expected 0 to 2"):
        source.load(get("mnli"), "train", "en")


def tydiqa(folder, rows):
    """A source whose English training and development sets are these rows."""
    for split in ("train", "validation"):
        mirror.write(folder / f"google/xtreme/tydiqa/{split}-00000-of-00001.parquet", rows, mirror.QUESTION)
    return HubSource(mirror.settings(mirror=str(folder)))


def test_training_questions_need_their_answer_in_place(tmp_path, caplog):
    """XTREME's script cut blanks before passages and left the offsets as they were."""
    rows = [mirror.question(f"english-{n}", "en", n) for n in range(3)]
    rows[1]["answers"]["answer_start"] = [rows[1]["answers"]["answer_start"][0] + 1]
    source = tydiqa(tmp_path, rows)
    assert source.load(get("tydiqa"), "train", "en")["id"][:] == ["english-0", "english-2"]
    assert "tydiqa train: 1 of 3 rows left out" in caplog.text
    cached = [CachedSource(source, tmp_path / "cached").load(get("tydiqa"), "train", "en") for _ in range(2)]
    assert list(map(left_out, cached)) == [1, 1], "also when the set is read from the cache"
    assert len(source.load(get("tydiqa"), "dev", "en")) == 3  # scored by their text


def test_an_id_that_stands_twice_is_refused_where_it_is_scored(tmp_path):
    source = tydiqa(tmp_path, [mirror.question(f"english-{n}", "en", n) for n in (0, 1, 0)])
    assert len(source.load(get("tydiqa"), "train", "en")) == 3
    message = r'tydiqa validation, row 3: id "english-0" stands already at row 1; ids must be unique: fetch revision'
    with pytest.raises(UserError, match=message):
        source.load(get("tydiqa"), "dev", "en")


def test_limits_and_text():
    few = HubSource(mirror.settings(limits={"train": 2}, documents_per_language=3), languages=("de", "zh"))
    assert len(few.load(get("anli"), "train", "en")) == 2 and len(few.load(get("mnli"), "dev", "en")) == mirror.ROWS
    assert len(few.load(get("tatoeba"), "test", "de")) == mirror.ROWS
    text = few.text(1)
    assert sorted(text["id"]) == [f"{code}-{n}" for code in ("de", "en", "zh") for n in range(3)]
    assert dict(zip(text["id"], text["text"], strict=True))["zh-1"] == "卡罗来纳黑豹队的防守只丢了1分。 zh"
    assert text["id"][:] == few.text(1)["id"][:] != few.text(2)["id"][:]


def test_fingerprints(tmp_path):
    whole, few = HubSource(mirror.settings()), HubSource(mirror.settings(limits={"train": 2}))
    task = get("udpos")
    hashes = {whole.fingerprint(task, split, code) for split in SPLITS for code in ("en", "de")}
    assert len(hashes) == 6
    assert few.fingerprint(task, "train", "en") not in hashes
    assert few.fingerprint(task, "test", "en") == whole.fingerprint(task, "test", "en")
    before = whole.fingerprint(get("ccg"), "dev", "en"), whole.text_fingerprint(1)
    mirror.build_ccgbank(tmp_path, mirror.ROWS + 1)
    assert HubSource(mirror.settings(ccgbank=str(tmp_path))).fingerprint(get("ccg"), "dev", "en") != before[0]
    assert whole.text_fingerprint(2) != before[1] == whole.text_fingerprint(1)
    unmirrored = HubSource(HubSettings())  # no file is asked for
    assert unmirrored.fingerprint(task, "test", "en") != whole.fingerprint(task, "test", "en")


# --- CCGbank and BUCC --------------------------------------------------------------------------------


def test_a_leaf_without_its_word(tmp_path):
    path = tmp_path / "wsj_0001.auto"
    path.write_text(mirror.AUTO.replace("NNP Vinken N>", "NNP N>"))
    with pytest.raises(UserError, match=r"wsj_0001\.auto:2: expected ID=.* then, on the next line, a derivation"):
        list(auto(path, ()))


def test_sections_of_ccgbank(source):
    dataset = {split: {row.split(".")[0] for row in source.load(get("ccg"), split, "en")["id"]} for split in SPLITS}
    assert dataset == {"train": {"wsj_0201", "wsj_2101"}, "dev": {"wsj_0001"}, "test": {"wsj_2301"}}


def test_supertags_in_columns(tmp_path):
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("Vinken\tN\nreads\t(S[dcl]\\NP)/NP\n\nYes\tS\n")
    source = HubSource(mirror.settings(ccgbank=str(tmp_path)))
    assert source.load(get("ccg"), "train", "en")["tags"][:] == [["N", "(S[dcl]\\NP)/NP"], ["S"]]
    (tmp_path / "dev.tsv").unlink()
    with pytest.raises(UserError, match=r"hub\.ccgbank: .* holds neither data/AUTO"):
        source.load(get("ccg"), "dev", "en")
