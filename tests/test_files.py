"""The files source on the real files (../shared/data, where it is there) and on small ones written here."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.preflight import check_data, unscored_languages
from xstilts.readers.pairs_and_choices import companions, has_gold, read
from xstilts.settings import FilesSettings
from xstilts.sources import open_source
from xstilts.sources.files import FilesSource
from xstilts.study import dump_yaml, load_study, parse_yaml
from xstilts.submission import FURTHER
from xstilts.summaries import unknown_distance
from xstilts.target_runs import evaluation_languages
from xstilts.tasks import INTERMEDIATE, NLI, PARAPHRASE, RETRIEVAL_KINDS, TARGETS, TASKS, UPOS, WIKIANN, get
from xstilts.validation import refused_pairs

DATA = (ROOT / "../shared/data").resolve()
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")


@pytest.fixture(scope="module")
def source():
    return FilesSource(FilesSettings())


# --- the real files ----------------------------------------------------------------------------------

READ_AS = {  # folder -> reader and labels
    "americasnli": ("pairs", NLI), "anli": ("pairs", NLI), "xnli": ("pairs", NLI), "sick": ("pairs", NLI),
    "rte": ("pairs", TASKS["rte"].labels), "mrpc": ("pairs", PARAPHRASE), "pawsx": ("pairs", PARAPHRASE),
    "pawsx-original": ("pairs", PARAPHRASE), "qqp-sample": ("pairs", PARAPHRASE),
    "copa-en": ("copa", ()), "xcopa": ("copa", ()), "socialiqa": ("socialiqa", ()), "hellaswag": ("hellaswag", ()),
    "commonsenseqa": ("commonsenseqa", ()), "cosmosqa": ("cosmosqa", ()),
    "panx": ("tagged", WIKIANN), "masakhaner": ("tagged", TASKS["masakhaner"].labels), "udpos": ("tagged", UPOS),
    "xquad": ("squad", ()), "mlqa": ("squad", ()), "tydiqa-goldp": ("squad", ()), "squad-v2": ("squad", ()),
    "lareqa": ("xquad_r", ()), "tatoeba": ("tatoeba", ()), "bucc2018": ("bucc", ()), "mlm-text": ("verses", ()),
}  # fmt: skip


@real
def test_every_file_is_read_whole():
    """Every file there is, against the number of examples that PROVENANCE.md gives for it."""
    stated = {}
    for section in (DATA / "PROVENANCE.md").read_text().split("\n## ")[1:]:
        folder = section.partition("\n")[0]
        lists = re.findall(r"files, \d+ bytes: (.*) \(", section) + re.findall(r"licence .*?; (.*) sentences", section)
        for name, count in re.findall(r"([\w./-]+\.\w+):? (\d+)", " ".join(lists)):
            stated[name if "/" not in name and "conllu" in name else f"{folder}/{name}"] = int(count)
    seen = 0
    for path in sorted(DATA.rglob("*.*")):
        name = path.relative_to(DATA).as_posix()
        if path.is_dir() or path.suffix in (".md", ".eng") or name.startswith("bucc2018"):
            continue  # read with their companions, below
        reader, labels = READ_AS[name.partition("/")[0]]
        rows = read(reader, path, labels)
        assert len(rows) == stated[path.name if path.suffix == ".conllu" else name], name
        unlabelled = name in ("xnli/test-fr.tsv", "qqp-sample/test.tsv")
        assert has_gold(rows[0]) != unlabelled, name
        seen += 1 + len(companions(reader, path))
    rows = read("bucc", DATA / "bucc2018/zh-en.dev.zh")
    sides = Counter(row["side"] for row in rows)
    assert sides == {"foreign": stated["bucc2018/zh-en.dev.zh"], "source": stated["bucc2018/zh-en.dev.en"]}
    assert sum(len(row["gold"]) for row in rows if row["side"] == "foreign") == stated["bucc2018/zh-en.dev.gold"]
    assert seen + 3 == len(stated) > 140


PRESENT = {  # set -> languages that have gold in the folder
    "xnli dev": "en de es hi sw zh", "xnli test": "",  # test-fr.tsv carries no gold
    "pawsx dev": "en de es fr zh",  # zh in the original layout
    "udpos train": "en", "udpos test": "en ar de es eu fi hi ja ko ru ta te th vi yo zh",
    "panx dev": "en de es eu hi ru sw te zh", "masakhaner test": "sw yo", "americasnli dev": "gn quy",
    "xquad test": "en de es hi ru th zh", "xquadr test": "en de es hi th zh", "mlqa dev": "en de es zh",
    "tydiqa dev": "en id ko sw", "tatoeba test": "af ar bg de es et eu fi fr hi id ja ko ru sw ta te th tl zh",
    "bucc dev": "zh", "xcopa test": "et id it sw th tr vi zh", "copa train": "en", "mnli train": "", "sick mt": "",
}  # fmt: skip


@real
def test_languages_are_those_in_the_folder(source):
    assert {name: " ".join(source.languages(get(name.split()[0]), name.split()[1])) for name in PRESENT} == PRESENT


@real
def test_every_set_loads_and_its_gold_scores_100():
    from xstilts.evaluation.metrics import score
    from xstilts.evaluation.prediction import evaluate

    few = FilesSource(FilesSettings(limits={"train": 80, "dev": 80, "test": 80}))
    columns = {"classification": "label", "choice": "label", "tagging": "tags", "span": "answers"}
    sets = [(task, split, few.languages(task, split)) for task in TASKS.values() for split in task.files]
    assert sum(len(languages) for _, _, languages in sets) > 90
    for task, split, languages in sets:
        for code in languages:
            rows = few.load(task, split, code)
            if task.kind in columns and split in ("dev", "test"):
                gold = rows[columns[task.kind]][:]
                answers = [(row["text"] or [""])[0] for row in gold] if task.kind == "span" else gold
                scores = score(evaluate(task, rows, answers, code))
                assert scores.index == [code] and (scores == 100).all(axis=None), task.name


@real
def test_unlabelled_gold_is_refused_by_name(source):
    with pytest.raises(UserError, match=r"test-fr.tsv: published without gold"):
        source.load(get("xnli"), "test", "fr")


@real
def test_traps_of_the_real_files(source):
    assert len(source.load(get("mlqa"), "dev", "en")) == len(source.load(get("mlqa"), "dev", "de")) == 400
    english = source.load(get("mlqa"), "dev", "en")[0]
    assert english["question"] != source.load(get("mlqa"), "dev", "de")[0]["question"]
    french = source.load(get("pawsx"), "dev", "fr")
    assert not any('""' in text for text in french["text_a"]) and any('"' in text for text in french["text_a"])
    rte = {row["id"]: row for row in source.load(get("rte"), "train", "en")}
    assert rte["50"]["text_a"].startswith('"Instead of action on crime,')
    assert {"B-DATE", "I-DATE"} < {tag for tags in source.load(get("masakhaner"), "test", "yo")["tags"] for tag in tags}
    copa, xcopa = source.load(get("copa"), "test", "en"), source.load(get("xcopa"), "test", "it")
    assert copa["id"] == xcopa["id"] and copa["label"] == xcopa["label"]  # translations of the same items
    assert set(xcopa["question"]) == {"What was the cause?", "What was the effect?"}
    second = source.load(get("squad2"), "dev", "en")
    assert 0 < sum(second["is_impossible"]) < len(second)
    ids = source.load(get("anli"), "dev", "en")["id"]
    assert ids[0].startswith("anli/R1/dev.jsonl:") and ids[-1].startswith("anli/R2/dev.jsonl:")


@real
def test_conllu_gives_the_words_of_xtremes_own_conversion():
    """XTREME's English development set opens with the sentences of EWT's, its German one fuses im, zum, …"""
    theirs = {tuple(row["tokens"]) for row in read("tagged", DATA / "udpos/xtreme-tsv/dev-en.tsv", UPOS)}
    ours = read("tagged", DATA / "udpos/conllu/UD_English-EWT/en_ewt-ud-dev.conllu", UPOS)
    assert all(tuple(row["tokens"]) in theirs for row in ours)
    for path in ("xtreme-tsv/dev-de.tsv", "conllu/UD_German-GSD/de_gsd-ud-test.conllu"):
        table = pd.DataFrame(read("tagged", DATA / "udpos" / path, UPOS)).explode(["tokens", "tags"])
        assert set(table["tags"][table["tokens"].isin(("im", "zum", "zur", "am", "vom", "beim"))]) == {"ADP"}


@real
def test_text_holds_no_gold_and_no_alignment(source):
    text = FilesSource(FilesSettings(documents_per_language=0)).text(1)
    counts, position = Counter(text["language"][:]), {line: number for number, line in enumerate(text["text"][:])}
    assert {"en", "zh", "fr", "uk", "wo", "yo"} < set(counts) and len(counts) > 30
    assert len(position) > 0.99 * len(text) and len(set(text["id"][:])) == len(text)
    for language in ("fi", "sw"):  # where one side of a pair stands says nothing of the other
        sides = source.load(get("tatoeba"), "test", language)
        pairs = zip(sides["query"], sides["candidate"], strict=True)
        ranks = pd.DataFrame([(position[a], position[b]) for a, b in pairs if a in position and b in position]).rank()
        assert len(ranks) > 300 and abs(ranks[0].corr(ranks[1])) < 0.2
    assert not {label for task in TASKS.values() for label in task.labels} & set(position) - {"X", "0", "1"}


def test_every_language_has_a_name_a_family_a_script_and_a_place():
    table = FilesSource(FilesSettings(root="."), "en").language_table()
    published = {language for task in TASKS.values() for language in task.languages} | {"gu", "lv", "uk", "wo", "zu"}
    assert published <= set(table.index) and table.index.is_unique
    assert table.loc["en", "distance"] == 0 and table[["name", "family", "script"]].ne("").all(axis=None)
    known = table["distance"].drop("en").dropna()
    assert len(known) >= 66 and known.between(0.3, 0.8).all()
    assert table["distance"].idxmin() == "en" and table.loc["de", "distance"] < table.loc["hi", "distance"]
    other = FilesSource(FilesSettings(root="."), "de").language_table()["distance"]
    assert other["de"] == 0 and other.drop("de").isna().all()  # the table's distances are from English
    parts = table[["syntactic", "genetic", "geographic", "featural"]]
    assert (table["distance"] - parts.mean(axis=1, skipna=False)).abs().max() < 1e-4  # phonological has no part in it
    kinds = table[[*parts, "phonological"]]
    assert kinds.loc["en"].eq(0).all() and kinds.drop("en").min(axis=None) > 0 and kinds.max(axis=None) <= 1
    assert table["phonological"].notna().sum() >= 45 and table["phonological"].dtype == float
    # arXiv:1911.02116, table 6; Haitian Creole and Quechua are not in it
    sizes = table.loc[["en", "vi", "ta", "sw", "jv", "ht", "qu"], "cc100_gib"]
    np.testing.assert_array_equal(sizes, [300.8, 137.3, 12.2, 1.6, 0.2, np.nan, np.nan])
    assert table["cc100_gib"].dropna().between(0.1, 301).all() and table["cc100_gib"].notna().sum() == 49


# --- small files ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    items = [json.dumps({"ind": i, "ctx": f"c{i}", "endings": ["w", "x", "y", "z"], "label": 0}) for i in range(6)]
    files = {
        "xnli/dev-de.tsv": [f"a{i}\tb{i}\tneutral" for i in range(10)],
        "xnli/dev-en.tsv": [f"c{i}\td{i}\tentailment" for i in range(10)],
        "xnli/dev-en.tsv.orig": ["not one of them"],
        "rte/train.tsv": ["index\tsentence1\tsentence2\tlabel", *(f"{i}\te\tf\tentailment" for i in range(20))],
        "tatoeba/tatoeba.deu-eng.deu": ["eins", "zwei", "drei"],
        "tatoeba/tatoeba.deu-eng.eng": ["one", "two", "three"],
        "hellaswag/hellaswag_train.jsonl": items[:4], "hellaswag/hellaswag_val.jsonl": items[4:],
    }  # fmt: skip
    for name, rows in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(row + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def small(folder):
    return FilesSource(FilesSettings(root=str(folder)))


def test_limits_cut_the_head_of_each_language_but_no_retrieval_set(folder):
    cut = FilesSource(FilesSettings(root=str(folder), limits={"dev": 3, "test": 2}))
    assert cut.languages(get("xnli"), "dev") == ["en", "de"]
    assert cut.load(get("xnli"), "dev", "de")["text_a"][:] == ["a0", "a1", "a2"]
    assert len(cut.load(get("tatoeba"), "test", "de")) == 3


def test_languages_have_our_codes_whatever_a_file_calls_them(folder):
    """XTREME-R's Tatoeba has five languages more than XTREME's; a language without a distance is named."""
    further = {"aze": "az", "lit": "lt", "pol": "pl", "ron": "ro", "ukr": "uk", "gom": "gom"}
    for theirs in further:
        for side in (theirs, "eng"):
            shutil.copy(folder / "tatoeba/tatoeba.deu-eng.eng", folder / f"tatoeba/tatoeba.{theirs}-eng.{side}")
    source = FilesSource(FilesSettings(root=str(folder)))
    codes, table = source.languages(get("tatoeba"), "test"), source.language_table()
    assert codes == sorted(["de", *further.values()])
    assert set(FURTHER["tatoeba"].split()) < set(codes) and table.loc[list(further.values())[:5], "distance"].all()
    sentence = "Left out, as their distance from the source is not known: gom."
    assert unknown_distance(pd.DataFrame({"language": codes}), table) == sentence


def test_languages_with_a_development_set_only_are_named_and_can_be_scored(tmp_path):
    """As PAWS-X at hand: test has de, dev has ja, ko and zh."""
    for name in ("dev-en", "dev-ja", "dev-zh", "test-de", "test-en", "train-en"):
        path = tmp_path / "pawsx" / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("id\tsentence1\tsentence2\tlabel\n" + "".join(f"{n}\ta{n}\tb\t{n % 2}\n" for n in range(8)))
    changes = {"targets": ("pawsx",), "training_sets": {}, "intermediate": ("none",)}
    study = load_study("files").model_copy(update=changes | {"files": FilesSettings(root=str(tmp_path))})
    (line,) = unscored_languages(study, open_source(study))
    assert "pawsx is scored on its test set, in en, de: ja, zh have a development set only and are left out" in line
    (splits,) = re.findall(r"files: (\{.*\}) scores", line)
    settings = parse_yaml(f"files: {splits}", "line")["files"]
    study = study.model_copy(update={"files": FilesSettings(root=str(tmp_path), **settings)})
    assert evaluation_languages(study, open_source(study), get("pawsx")) == ["en", "ja", "zh"]


def test_what_a_study_lacks_is_named_before_anything_runs(folder, tmp_path):
    encoder = {"pretrain": {"tokenizer": "unigram", "vocab_size": 300}}
    values = {"name": "mine", "source": "files", "files": {"root": str(folder)}, "encoder": encoder, "seeds": 1}
    values |= {"source_language": "en", "intermediate": ["none"], "targets": ["xnli"], "runs": str(tmp_path / "runs")}
    path = tmp_path / "mine.yaml"
    path.write_text(dump_yaml(values))
    with pytest.raises(UserError, match=r"mine.yaml: mnli: no train file for en below .*\(looked for mnli/train.tsv"):
        check_data(load_study(path))
    (folder / "xnli" / "dev-ru.tsv").write_text("абвгдежзиклмнопрстуфхцчшщ ABCDEFGHIJKLMNOPQRSTU\tx\tneutral\n")
    path.write_text(dump_yaml(values | {"targets": ["tatoeba"]}))
    with pytest.raises(UserError, match=r"vocab_size: 300 has no room for the \d+ characters .*; make it \d+ at least"):
        check_data(load_study(path))


def test_text_is_capped_and_repeatable(folder):
    source = FilesSource(FilesSettings(root=str(folder), documents_per_language=12))
    text = source.text(1)
    assert text.column_names == ["id", "text", "language"]
    assert Counter(text["language"]) == {"de": 12, "en": 12}
    assert text["text"][:] == source.text(1)["text"][:] != source.text(2)["text"][:]
    whole = FilesSource(FilesSettings(root=str(folder), documents_per_language=0)).text(1)
    assert Counter(whole["language"]) == {"de": 23, "en": 25}  # each text once


def test_splits_made_from_one_file_share_no_row(folder, small):
    splits = {"rte": {"train": "train[:80%]", "dev": "train[80%:]"}}
    made = FilesSource(FilesSettings(root=str(folder), splits=splits))
    train, dev = (made.load(get("rte"), split, "en")["id"][:] for split in ("train", "dev"))
    assert train == [str(i) for i in range(16)] and dev == ["16", "17", "18", "19"]
    assert made.languages(get("rte"), "dev") == ["en"]
    assert small.languages(get("rte"), "dev") == []


@real
def test_a_mining_set_parts_between_its_pairs(source):
    whole = source.load(get("bucc"), "dev", "zh")
    settings = FilesSettings(splits={"bucc": {"dev": "dev[:30%]", "test": "dev[30%:]"}})
    parts = [FilesSource(settings).load(get("bucc"), split, "zh") for split in ("dev", "test")]
    assert sorted(parts[0]["id"][:] + parts[1]["id"][:]) == sorted(whole["id"][:])
    for rows, pairs in zip(parts, (57, 136), strict=True):
        assert sum(map(len, rows["gold"])) == 2 * pairs
        assert {identity for gold in rows["gold"] for identity in gold} <= set(rows["id"])
    assert FilesSource(settings).languages(get("bucc"), "test") == ["zh"]


def test_training_items_that_are_also_scored_are_refused(folder, small):
    assert len(small.load(get("hellaswag"), "train", "en")) == 4
    shutil.copy(folder / "hellaswag/hellaswag_train.jsonl", folder / "hellaswag/hellaswag_val.jsonl")
    with pytest.raises(UserError, match=r"hellaswag_train.jsonl: item 0 is item 0 of .*hellaswag_val.jsonl"):
        small.load(get("hellaswag"), "train", "en")


def test_absent_sets_say_what_was_looked_for(folder, small):
    with pytest.raises(UserError, match=r"xnli: no dev file for zh .*looked for xnli/dev-zh.tsv\); there is: de, en"):
        small.load(get("xnli"), "dev", "zh")
    with pytest.raises(UserError, match=r"tatoeba: no train set is published; there is test"):
        small.load(get("tatoeba"), "train", "de")
    with pytest.raises(UserError, match=r"xnli: no dev file for zh"):
        small.fingerprint(get("xnli"), "dev", "zh")
    with pytest.raises(UserError, match=r"files.root: no folder .*nowhere"):
        FilesSource(FilesSettings(root=str(folder / "nowhere")))


def test_fingerprints_follow_the_bytes_and_the_settings(folder):
    def prints(seed=1, **settings):
        source = FilesSource(FilesSettings(root=str(folder), **settings))
        sets = source.fingerprint(get("xnli"), "dev", "de"), source.fingerprint(get("tatoeba"), "test", "de")
        return np.array([*sets, source.text_fingerprint(seed)])

    before = prints()
    assert (prints() != before).tolist() == [False, False, False]
    assert (prints(limits={"dev": 3}) != before).tolist() == [True, False, False]
    assert (prints(seed=2) != before).tolist() == [False, False, True]
    (folder / "tatoeba/tatoeba.deu-eng.eng").write_text("one\ntwo\nfour\n")  # the side read along
    assert (prints() != before).tolist() == [False, True, True]


REFUSED = [
    ({"rt": {}}, 'unknown task "rt"; did you mean "rte"'),
    ({"rte": {"tain": "train"}}, 'rte.tain: unknown split "tain"; did you mean "train"'),
    ({"rte": {"dev": "train[90:]"}}, 'rte.dev: "train.90:." names no rows'),
    ({"rte": {"dev": "train[90%:80%]"}}, "names no rows"),
    ({"mrpc": {"dev": "dev"}}, "expected one of train, test"),
    ({"rte": {"dev": "train[90%:]"}}, "dev and train would share rows of the train file"),
    ({"rte": {"train": "train[:90%]", "dev": "train[80%:]"}}, "would share rows"),
    ({"cosmosqa": {"train": "dev[:80%]"}}, "dev and train would share rows of the dev file"),
]


@pytest.mark.parametrize(("splits", "message"), REFUSED)
def test_splits_that_cannot_be(splits, message):
    with pytest.raises(ValidationError, match=message):
        FilesSettings(splits=splits)


# --- the registry --------------------------------------------------------------------------------------


def test_registry():
    assert " ".join(INTERMEDIATE) == "anli mnli qqp squad2 squad1 hellaswag ccg cosmosqa csqa"
    assert " ".join(TARGETS) == "xnli pawsx udpos panx xquad mlqa tydiqa bucc tatoeba xcopa"
    assert [len(TASKS[name].languages) for name in TARGETS] == [15, 7, 33, 40, 11, 7, 9, 4, 36, 11]
    for task in TASKS.values():
        trained_on = get(task.training_set)
        assert trained_on.kind == task.kind or (task.kind in RETRIEVAL_KINDS and trained_on.kind == "span")
        assert trained_on.labels == task.labels
        assert set(task.files) <= {"train", "dev", "test", "mt", "pool"}
        assert all(shared in TASKS for files in task.files.values() for shared in files.overlaps)
    with pytest.raises(UserError, match='unknown task "xqad"; did you mean "xquad'):
        get("xqad")


def test_pairs_that_share_examples_are_refused_by_name():
    splits = {"squad2": {"train": "dev[:80%]", "dev": "dev[80%:]"}, "copa": {"train": "dev", "dev": "train"}}
    from_dev = FilesSettings(splits=splits).trained_from() | {"pawsx": "dev"}
    refused = refused_pairs(["squad2", "copa", "pawsx", "tydiqa"], (*TARGETS, "xquadr"), from_dev)
    assert [re.findall('"(.*?)"', line)[:2] for line in refused] == [
        ["squad2", "xquad"], ["squad2", "xquadr"], ["copa", "xcopa"], ["pawsx", "pawsx"],
    ]  # fmt: skip
    published = refused_pairs(["squad1", "squad2", "copa", "tydiqa"], TARGETS, {})
    assert published == [], "the published training sets are clean"
    parts = {"udpos": "test", "tydiqa": "dev", "xquad": "test"}  # of XQuAD every language is a translation
    assert [line.split()[0] for line in refused_pairs(list(parts), ("udpos", "tydiqa", "xquad"), parts)] == ['"xquad"']


def write_pairs(folder, name, labels):
    path = folder / "xnli" / f"dev-{name}.tsv"
    path.parent.mkdir(exist_ok=True)
    rows = [f"premise {number} {name}\thypothesis {name}\t{label}" for number, label in enumerate(labels)]
    path.write_text("\n".join(rows) + "\n")


PARTED = {"train": "dev[40%:90%]", "dev": "dev[90%:]", "test": "dev[:40%]"}


def test_rows_of_a_translated_set_that_are_trained_on_are_scored_in_no_language(tmp_path):
    labels = [NLI[number % 3] for number in range(100)]
    changed = [NLI[2], *labels[1:]]  # a translator's
    for name, values in (("en", labels), ("de", changed), ("sw", labels[1:] + labels[:1]), ("zh", labels[:-1])):
        write_pairs(tmp_path, name, values)
    settings = FilesSettings(root=str(tmp_path), splits={"xnli": PARTED})
    parted, task = FilesSource(settings), get("xnli")
    lines = {
        (split, code): {text.split()[1] for text in parted.load(task, split, code)["text_a"]}
        for split in PARTED for code in ("en", "de")
    }  # fmt: skip
    for code in ("en", "de"):
        assert not lines["train", "en"] & lines["test", code] and not lines["train", "en"] & lines["dev", code]
        assert lines["test", code] == lines["test", "en"] and len(lines["test", code]) == 40
    for code, counts in (("sw", "100 rows, of which 1"), ("zh", "99 rows, of which 99")):
        with pytest.raises(UserError, match=rf"dev-{code}.tsv: {counts} have the label of that of .*dev-en.tsv in the"):
            parted.load(task, "test", code)
    read_from, names = settings.trained_from(), settings.parted()
    assert refused_pairs(["xnli"], ["xnli"], read_from) and not refused_pairs(
        ["xnli"], ["xnli"], read_from, TASKS, names
    )
    assert refused_pairs(["xnli"], ["americasnli"], read_from, TASKS, names)  # translations of any of its rows


def test_the_training_set_of_one_target_leaks_into_no_other(tmp_path):
    values = {
        "name": "mine", "source": "files", "source_language": "en", "encoder": {"checkpoint": "packaged/x"},
        "files": {"splits": {"xnli": PARTED}}, "intermediate": ["none"], "targets": ["xnli", "americasnli"],
        "training_sets": {"xnli": "xnli", "americasnli": "sick"},
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(values))
    assert load_study(path).training_task(get("xnli")).name == "xnli"
    for changes in ({"intermediate": ["none", "xnli"]}, {"training_sets": {"xnli": "xnli", "americasnli": "xnli"}}):
        path.write_text(json.dumps(values | changes))
        with pytest.raises(UserError, match='"xnli" would be trained on examples that "americasnli" is scored on'):
            load_study(path)


def test_what_a_study_is_checked_with_imports_nothing_heavy():
    code = "import sys, xstilts.tasks, xstilts.study; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "lib", capture_output=True, text=True, check=True)
    assert not {"torch", "datasets", "pandas", "numpy"} & set(done.stdout.split())
