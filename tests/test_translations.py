"""Machine-translated training sets: the layouts they are released in, what they lost, and what is made of the rest."""

import shutil

import pytest
import yaml

from hostile_files import asked, squad
from microworld.settings import MicroSettings, Sizes
from toy import build_checkpoint
from xstilts import phases
from xstilts.errors import UserError
from xstilts.features import learnable
from xstilts.io import ROOT, read_record
from xstilts.runs import Fingerprints, Run
from xstilts.settings import FilesSettings, HubSettings
from xstilts.sources import open_source
from xstilts.sources.files import FilesSource
from xstilts.sources.micro import MicroSource
from xstilts.study import load_study
from xstilts.target_runs import training_sets
from xstilts.tasks import INTERMEDIATE, TASKS, get

PASSAGE = "Die Verteidigung der Panthers gab nur 308 Punkte ab."


def spans(*answers):
    """A file in SQuAD's layout, of a question for each list of (text, start)."""
    return squad(*(asked(str(number), *pairs) for number, pairs in enumerate(answers)), context=PASSAGE)


XNLI = "xtreme_translations/XNLI/translate-train/en-{}-translated.tsv"
MT = "XNLI-MT-1.0/multinli/multinli.train.{}.tsv"
SQUAD = "squad/translate-train/squad.translate.train.en-de.json"
MLQA = "mlqa-translate-train/{}_squad-translate-train-train-v1.1.json"
FILES = {
    XNLI.format("de"): 'He ran\tHe slept\tEr lief\tEr "schlief"\tcontradictory\na\tb\tEins\tZwei\tneutral\n',
    XNLI.format("zh"): "a\tb\t一\t二\tentailment\nc\td\t三\n\te\t\t四\tneutral\ne\tf\t五\t六\t七\n",
    MT.format("fr"): "premise\thypo\tlabel\nUn\tDeux\tentailment\n",
    MT.format("en"): "premise\thypo\tlabel\nOne\tTwo\tentailment\n",
    MT.format("de"): "premise\thypo\tlabel\nX\tY\tneutral\n",
    "mnli/train.tsv": "One\tTwo\tentailment\n",
    "hellaswag/translate-train/de.jsonl": '{"ind": 0, "ctx": "Er", "endings": ["lief", "las"], "label": 1}',
    SQUAD: spans([("308", 38)], [("309", 38)], [("308", 37)], []),
    MLQA.format("es"): spans([("Panthers", 21)], [("308", -1)], [("Punkte", 42)]),
    "squad/dev-v1.1.json": spans([("308", 38)]),
    "squad-v2/translate-train/ru.json": squad(
        asked("0", is_impossible=True), asked("1", ("Panther", 0), is_impossible=False),
        version="v2.0", context=PASSAGE),
    "tatoeba/tatoeba.deu-eng.deu": "eins\nzwei\n", "tatoeba/tatoeba.deu-eng.eng": "one\ntwo\n",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "data"


@pytest.fixture
def source(folder):
    return FilesSource(FilesSettings(root=str(folder)))


def test_released_layouts_are_found_and_read(folder, source):
    mnli = get("mnli")
    assert source.languages(mnli, "mt") == ["de", "fr", "zh"]  # English is no translation
    german = source.load(mnli, "mt", "de")  # XTREME's where there are two
    assert german["text_a"][:] == ["Er lief", "Eins"] and german["text_b"][0] == 'Er "schlief"'
    assert [mnli.labels[label] for label in german["label"]] == ["contradiction", "neutral"]
    assert source.load(mnli, "mt", "fr")[:] == {"id": ["2"], "text_a": ["Un"], "text_b": ["Deux"], "label": [0]}
    assert training_sets("mnli@mt", mnli, ("mt",), source) == [("mt", "de"), ("mt", "fr"), ("mt", "zh")]
    assert training_sets("mnli@en,zh", mnli, ("en", "zh"), source) == [("train", "en"), ("mt", "zh")]
    assert source.languages(get("hellaswag"), "mt") == ["de"]
    assert source.load(get("hellaswag"), "mt", "de")["label"][:] == [1]
    assert not {"Eins", "Zwei"} & set(source.text(1)["text"])  # masked LM reads no translated training set
    xtreme = load_study("xtreme")  # the hub has none of its own
    hub = open_source(xtreme.model_copy(update={"hub": HubSettings(translations=str(folder))}))
    assert hub.languages(mnli, "mt") == ["de", "fr", "zh"] and hub.at_hand(mnli, "mt", "de")


def test_what_translation_spoilt_is_read_and_not_learned_from(folder, source):
    # of four rows: a column is missing, a text is empty, a label is none
    assert learnable(get("mnli"), source.load(get("mnli"), "mt", "zh")) == [0]
    # another answer, an offset beside it, no answer where there is one in every passage
    assert learnable(get("squad1"), source.load(get("squad1"), "mt", "de")) == [0]
    assert learnable(get("squad1"), source.load(get("squad1"), "mt", "es")) == [0, 2]
    assert learnable(get("hellaswag"), source.load(get("hellaswag"), "mt", "de")) == [0]
    # such a row in the original is an error still
    shutil.copy(folder / SQUAD, folder / "squad/train-v1.1.json")
    with pytest.raises(UserError, match=r"train-v1.1.json: question 1: the answer '309' is not at answer_start 38"):
        source.load(get("squad1"), "train", "en")


def test_an_unanswerable_question_has_lost_nothing(source):
    rows = source.load(get("squad2"), "mt", "ru")
    assert rows["is_impossible"][:] == [True, False] and learnable(get("squad2"), rows) == [0]


def test_limits_are_those_of_the_training_set(folder, source):
    limited = FilesSource(FilesSettings(root=str(folder), limits={"train": 1}))
    assert len(limited.load(get("mnli"), "mt", "de")) == 1
    assert limited.fingerprint(get("mnli"), "mt", "de") != source.fingerprint(get("mnli"), "mt", "de")


def test_every_declared_translation_is_of_a_task_that_trains():
    translated = {name for name, task in TASKS.items() if "mt" in task.files}
    assert translated <= {name for name, task in TASKS.items() if "train" in task.files}
    assert set(INTERMEDIATE) - translated == {"ccg"}


def test_the_count_of_dropped_rows_is_in_the_record(folder, tmp_path):
    phase = {"steps": 2, "batch_size": 2}
    values = {
        "name": "translated", "source": "files", "source_language": "en", "files": {"root": str(folder)},
        "intermediate": ["none", "squad1@mt", "mnli@zh"], "targets": ["tatoeba"], "runs": str(tmp_path / "runs"),
        "encoder": {"checkpoint": str(build_checkpoint(tmp_path / "encoder"))},
        "training": {"intermediate": phase, "target": phase, "max_length": {"retrieval": 128}},
    }  # fmt: skip
    path = tmp_path / "translated.yaml"
    path.write_text(yaml.safe_dump(values))
    study = load_study(path)
    source, run = open_source(study), Run("intermediate", 1, "squad1@mt")
    phases.encoder(study, source, 1)
    before = Fingerprints(study).of(run)
    record = phases.intermediate(study, source, "squad1@mt", 1)
    assert record["dropped"] == {"squad1": 4} and record["examples"] == {"squad1": 3} and record["steps"] == 2
    assert read_record(run.folder(study) / "training.json") == record
    shutil.copy(folder / MLQA.format("es"), folder / MLQA.format("vi"))
    assert Fingerprints(study).of(run) != before  # one language more, though the run's name is the same
    (folder / XNLI.format("zh")).write_text("a\tb\t一\t二\tnone\n")
    with pytest.raises(UserError, match=r"en-zh-translated.tsv: published without gold"):
        phases.intermediate(study, source, "mnli@zh", 1)


def test_the_micro_world_translates_without_mistakes():
    """There ``task@mt`` is the generated task in all languages but the source."""
    sizes = Sizes(train=20)
    source = MicroSource(MicroSettings(classification=sizes, span=sizes, choice=sizes))
    for name in ("mnli", "squad1", "hellaswag"):
        task = get(name)
        assert source.languages(task, "mt") == source.languages(task, "train")[1:] != []
        rows = source.load(task, "mt", "qad")
        assert rows[:] == source.load(task, "train", "qad")[:] and learnable(task, rows) == list(range(20))
    assert source.languages(get("xnli"), "mt") == source.languages(get("tatoeba"), "mt") == []


@pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data")
def test_copa_in_other_languages_is_none_of_what_xcopa_is_scored_on():
    source, copa = open_source(load_study("files-domain-shift")), get("copa")
    parts = training_sets("copa@all", copa, ("all",), source)
    assert parts == [("train", "en"), *(("mt", code) for code in "et id it sw th tr vi zh".split())]
    for split, code in parts[1:]:
        train, test = source.load(copa, split, code), source.load(get("xcopa"), "test", code)
        assert len(train) == 100 and learnable(copa, train) == list(range(100))
        assert not {repr(row["choices"]) for row in train} & {repr(row["choices"]) for row in test}
