"""A finished run's predictions in the folders and formats that XTREME's and XTREME-R's ``evaluate.py`` read.

    xnli, pawsx            test-<language>.tsv    a label a line, in the order of the test file
    udpos, panx            test-<language>.tsv    a tag a line, an empty line between sentences
    xquad, mlqa, tydiqa    test-<language>.json   {question id: answer}
    bucc2018               test-<language>.tsv    foreign id, tab, English id: a mined pair a line
    tatoeba                test-<language>.tsv    line number, from 0, of the foreign sentence found; a line per
                                                  English sentence, these in alphabetical order
    xcopa                  test-<language>.jsonl  {"label": 0} or {"label": 1} a line
    mewslix                test-<language>.json   {mention id: [the 20 entities found, best first]}

Read in google-research/xtreme at 838c13b: README.md, evaluate.py (what is read, and the folders' names; LAReQA, which
XTREME-R has too, it does not read), mock_test_data, utils_preprocess.py (the order of Tatoeba), scripts/predict_qa.sh
(TyDiQA's test set is its published development set). Both versions of the benchmark read the same files, each the
tasks it has.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xstilts.errors import UserError, nearest
from xstilts.io import read_record, write_text, written_whole
from xstilts.runs import Fingerprints, Run, state
from xstilts.sources import Source
from xstilts.study import Study
from xstilts.tasks import Task, get

IN_R_ALONE = ("xcopa", "mewslix")
FOLDERS = {"bucc": "bucc2018"} | {
    name: name for name in ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba", *IN_R_ALONE)
}
# languages that XTREME-R's scorer asks for beside XTREME's
FURTHER = {"panx": "qu pl uk az lt pa gu ro", "udpos": "lt pl uk wo ro", "tatoeba": "az lt pl uk ro", "xquad": "ro"}


@dataclass(frozen=True)
class Written:
    """What became of one target: its languages, those that either scorer stops without, or why nothing was written."""

    target: str
    languages: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    absent_r: tuple[str, ...] = ()
    left_out: str = ""

    def described(self) -> str:
        """One line: how far the scorers get with it."""
        if self.left_out:
            return f"{self.target}: left out: {self.left_out}"
        wanted, whose = get(self.target).languages, "XTREME-R" if self.target in IN_R_ALONE else "XTREME"
        text = f"{FOLDERS[self.target]}: {len(wanted) - len(self.absent)} of {whose}'s {len(wanted)} languages"
        if len(self.absent) == len(wanted):
            return f"{text} ({len(self.languages)} others)"
        if self.absent:
            text += f": its scorer stops without {', '.join(self.absent)}"
        return f"{text}; XTREME-R also wants {', '.join(self.absent_r)}" if self.absent_r else text


def write_submission(study: Study, source: Source, name: str, seed: int, folder: Path | None = None) -> list[Written]:
    """Write the predictions of every target of intermediate run ``name`` to ``folder`` (by default the study's
    own, which is replaced); one :class:`Written` per target.

    UserError for a run that the study lacks, that is not finished or stale, for a folder that holds something,
    and where no target is XTREME's.
    """
    if name not in study.intermediate:
        raise UserError(f'{study.path}: no intermediate run "{name}"{nearest(name, study.intermediate)}')
    if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there and not empty; name a new folder for the submission")
    if seed < 1:
        raise UserError(f"SEED={seed}: seeds are counted from 1")
    fingerprints = Fingerprints(study)
    runs = {target: Run("targets", seed, name, bundle) for bundle, names in study.bundles().items() for target in names}
    for run in dict.fromkeys(runs.values()):
        found = state(study, run, fingerprints)
        if found != "done":
            what = "not finished" if found == "missing" else "stale (its parameters, data or code changed since)"
            more = f" SEEDS={seed}" if seed > study.seeds else ""
            raise UserError(f"{run.name}: {what}; run the study first: make study STUDY={study.given}{more}")
    places = {target: run.folder(study) / target for target, run in runs.items()}
    written = [_described(target, place) for target, place in places.items()]
    if all(one.left_out for one in written):
        raise UserError(f"{study.path}: nothing to submit: " + "; ".join(f"{w.target}: {w.left_out}" for w in written))
    with written_whole(folder or default_folder(study, name, seed)) as aside:
        for target in [one.target for one in written if not one.left_out]:
            _write(get(target), places[target], source, aside / FOLDERS[target])
    return written


def default_folder(study: Study, name: str, seed: int) -> Path:
    """Where a submission of intermediate run ``name`` lies if nobody says otherwise."""
    return study.folder / "submission" / name / f"seed{seed}"


def _described(target: str, place: Path) -> Written:
    split = read_record(place / "scored.json")["split"]
    if target not in FOLDERS:
        return Written(target, left_out="XTREME's and XTREME-R's scorers read no such task")
    if split != "test" and target != "tydiqa":
        return Written(target, left_out=f"scored on its {split} set, and XTREME's labels are those of the test set")
    languages = tuple(pd.read_parquet(place / "predictions.parquet", columns=["language"])["language"].unique())
    wanted = {"xtreme": get(target).languages, "xtreme-r": FURTHER.get(target, "").split()}
    absent, absent_r = (tuple(code for code in codes if code not in languages) for codes in wanted.values())
    return Written(target, languages, absent, absent_r)


def _write(task: Task, place: Path, source: Source, folder: Path) -> None:
    table = pd.read_parquet(place / "predictions.parquet")
    split = read_record(place / "scored.json")["split"]
    folder.mkdir()
    suffix = {"span": "json", "ranking": "json", "choice": "jsonl"}.get(task.kind, "tsv")
    lines: Iterable[str | int]
    for language, part in table.groupby("language", sort=False):
        if task.kind == "parallel":
            lines = _rows_found(part, source.load(task, split, language)["query"][:])
        else:
            lines = _lines(task, part)
        text = "".join(f"{line}\n" for line in lines)
        write_text(folder / f"test-{language}.{suffix}", text)


def _lines(task: Task, part: pd.DataFrame) -> Iterator[str]:
    predictions = part["prediction"]
    if task.kind == "classification":
        yield from (task.labels[int(label)] for label in predictions)
    elif task.kind == "choice":
        yield from (json.dumps({"label": int(label)}) for label in predictions)
    elif task.kind == "tagging":
        for number, tags in enumerate(predictions):
            yield from ["", *tags.split()] if number else tags.split()  # an empty line at the end would be a sentence
    elif task.kind == "span":
        yield json.dumps(dict(zip(part["id"], predictions, strict=True)), indent=1)
    elif task.kind == "ranking":
        yield json.dumps(dict(zip(part["id"], predictions.str.split(), strict=True)), indent=1)
    else:
        yield from (f"{foreign}\t{home}" for foreign, home in zip(part["id"], predictions, strict=True) if home)


def _rows_found(part: pd.DataFrame, queries: list[str]) -> list[int]:
    """For the source-language sentences in alphabetical order (equal ones as they stood, as the script sorts them):
    the foreign sentence found, as its line in the original file."""
    line = {identity: number for number, identity in enumerate(part["id"])}
    found = part["prediction"].tolist()
    return [line[found[row]] for row in sorted(range(len(queries)), key=lambda row: queries[row].strip())]
