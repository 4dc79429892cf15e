"""Where a task's sets lie: files of the original distribution, parquet files on the hub, folders under licence."""

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# The revision of every repository, pinned here and nowhere else: the commit that public code of 2026 names, as the hub
# itself was out of reach. Two repositories have a loading script, which nothing runs: theirs is a commit of the hub's
# own conversion to parquet.
REVISIONS = {
    "google/xtreme": "ec5f1f46e9af79639a90684a7a70a956c4998f04",
    "nyu-mll/multi_nli": "da70db2af9d09693783c3320c4249840212ee221",
    "stanfordnlp/snli": "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
    "facebook/anli": "8e4813d81f46d313dac7892e1c28076917cfcdf9",
    "facebook/xnli": "b8dd5d7af51114dbda02c0e3f6133f332186418e",
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
    "rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412",
    "tau/commonsense_qa": "94630fe30dad47192a8546eb75f094926d47e155",
    "cambridgeltl/xcopa": "042f78955ba48e6404616762fa6e05e839c3907a",
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "allenai/cosmos_qa": "ed50fe83db62b355759053b1cd5eef344ee371e0",  # refs/convert/parquet
    "allenai/social_i_qa": "537a2ec8ec565adc0b70b70752893e59e024df26",  # refs/convert/parquet
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "wikimedia/wikipedia": "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
}

Codes = dict[str, str]  # our code of a language -> the code or name that it has elsewhere
Names = tuple[str, ...]
MANY = "mul"  # ISO 639-2 for several languages: of a file that is not parted by language


@dataclass(frozen=True)
class Files:
    """Where a split of a task lies below the data folder.

    ``paths`` are glob patterns, tried in order for each language; all files of the first that matches
    are read. ``{language}`` stands for the code in the file name (the same wherever it recurs);
    ``codes`` maps our codes to those. A path without ``{language}`` holds the language ``language``.
    ``overlaps`` names tasks whose scored examples this split shares (articles, or as translations):
    training on it and scoring them is refused.
    """

    reader: str
    paths: Names
    codes: Codes = field(default_factory=dict)
    language: str = "en"
    overlaps: Names = ()


@dataclass(frozen=True)
class Hub:
    """Where a split of a task lies on the hub. ``reader`` is one of those of :mod:`xstilts.sources.hub`.

    ``{language}`` in ``config`` stands for the language's code there, which ``codes`` maps ours to.
    ``mixed`` names the column that says the language, up to a hyphen, where one configuration holds several.
    ``languages`` are those it holds, () = the task's.
    """

    reader: str
    repo: str
    config: str
    split: str
    codes: Codes = field(default_factory=dict)
    languages: Names = ()
    mixed: str = ""

    def code(self, language: str) -> str:
        return self.codes.get(language, language)

    def key(self, language: str) -> tuple[str, str, str]:
        """Repository, configuration and split."""
        return self.repo, self.config.replace("{language}", self.code(language)), self.split

    def name_of(self, language: str) -> str:
        """As messages name it."""
        return " ".join(self.key(language))


@dataclass(frozen=True)
class Folder:
    """A set that the hub does not hold: it lies in the folder a study names under ``hub.<setting>``."""

    setting: str
    languages: Names = ()


Places = dict[str, tuple[Hub | Folder, ...]]  # split -> what holds its rows, one after the other
# Wikipedia of each language for masked LM, the first file of each. Not in the project's notes on the hub: the
# name and the layout are those that public code uses.
TEXT = Hub("text", "wikimedia/wikipedia", "20231101.{language}", "train-00000-of")


def files(
    reader: str, codes: Codes | None = None, language: str = "en", overlaps: Names = (), **splits: str | Names
) -> dict[str, Files]:
    """Split -> where its files are: ``files("pairs", dev_test="xnli/{split}-{language}.tsv")``, of both splits."""
    located = {}
    for names, paths in splits.items():
        for split in names.split("_"):
            named = [path.replace("{split}", split) for path in ([paths] if isinstance(paths, str) else paths)]
            located[split] = Files(reader, tuple(named), codes or {}, language, overlaps)
    return located


def hub(reader: str, repo: str, config: str, codes: Codes | None = None, mixed: str = "", **splits: str) -> Places:
    """Our split -> its place, for one configuration: ``hub("qqp", "nyu-mll/glue", "qqp", dev="validation")``."""
    return {ours: (Hub(reader, repo, config, theirs, codes or {}, (), mixed),) for ours, theirs in splits.items()}


def _pairs(text: str) -> Codes:
    return dict(pair.split(":") for pair in text.split())


# What places call languages that we call by their ISO 639-1 code, where there is one.
CODES = {
    "tatoeba": _pairs(
        "af:afr ar:ara bg:bul bn:ben de:deu el:ell es:spa et:est eu:eus fa:pes fi:fin fr:fra he:heb hi:hin hu:hun "
        "id:ind it:ita ja:jpn jv:jav ka:kat kk:kaz ko:kor ml:mal mr:mar nl:nld pt:por ru:rus sw:swh ta:tam te:tel "
        "th:tha tl:tgl tr:tur ur:urd vi:vie zh:cmn"
    ),
    "udpos": _pairs(
        "af:Afrikaans ar:Arabic bg:Bulgarian de:German el:Greek en:English es:Spanish et:Estonian eu:Basque fa:Persian "
        "fi:Finnish fr:French he:Hebrew hi:Hindi hu:Hungarian id:Indonesian it:Italian ja:Japanese kk:Kazakh ko:Korean "
        "mr:Marathi nl:Dutch pt:Portuguese ru:Russian ta:Tamil te:Telugu th:Thai tl:Tagalog tr:Turkish ur:Urdu "
        "vi:Vietnamese yo:Yoruba zh:Chinese"
    ),
    "tydiqa": _pairs(
        "ar:arabic bn:bengali en:english fi:finnish id:indonesian ko:korean ru:russian sw:swahili te:telugu"
    ),
    "masakhaner": _pairs("am:amh ha:hau ig:ibo rw:kin lg:lug sw:swa wo:wol yo:yor"),
    "verses": _pairs("et:est eu:eus gu:guj lv:lav qu:que sw:swh uk:ukr wo:wol zu:zul"),
}

TABLE = Path(__file__).with_name("tables") / "languages.csv"


@cache
def _ours() -> Codes:
    """What anything calls a language -> our code of it: names and codes of the tables above, ISO 639-3."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        codes = {row["iso639_3"]: row["language"] for row in csv.DictReader(file)}
    return codes | {theirs: ours for table in CODES.values() for ours, theirs in table.items()}


def language_code(name: str) -> str:
    """Our code of a language that a file or a study calls ``name``: ISO 639-1, where there is one (``ron``: ro). Names
    that no table holds stay as they are."""
    return _ours().get(name, name)


# Plain text beside the tasks' sets: one verse a line, <id> TAB <text>, one file a language.
VERSES = Files("verses", ("mlm-text/bible-nt/{language}.tsv",), CODES["verses"])
