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
from pathlib import Path

import pandas as pd

from xstilts.errors import UserError, nearest
from xstilts.io import read_record, write_text, written_whole
from xstilts.runs import Fingerprints, Run, state
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.tasks import Task

XTREME_R_ONLY = ("xcopa", "mewslix")
XTREME = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba")
FOLDERS = {name: name for name in (*XTREME, *XTREME_R_ONLY)} | {"bucc": "bucc2018"}
SUFFIXES = {"span": "json", "ranking": "json", "choice": "jsonl"}  # of other kinds: tsv
# languages that XTREME-R's scorer requires beside XTREME's
FURTHER = {"panx": "qu pl uk az lt pa gu ro", "udpos": "lt pl uk wo ro", "tatoeba": "az lt pl uk ro", "xquad": "ro"}


def write_submission(study: Study, source: Source, name: str, seed: int, folder: Path | None = None) -> list[str]:
    """Write the predictions of every target of intermediate run ``name`` to ``folder``, by default the study's own,
    which is replaced. Returns a line per target: which languages either scorer lacks, or why it was left out.

    UserError for a run that the study lacks, that is not finished or is stale, for a folder that is not empty, and
    where no target is XTREME's.
    """
    if name not in study.intermediate:
        raise UserError(f'{study.path}: no intermediate run "{name}"{nearest(name, study.intermediate)}')
    if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is not empty; name a new folder for the submission")
    if seed < 1:
        raise UserError(f"SEED={seed}: seeds are counted from 1")
    fingerprints = Fingerprints(study)
    runs = {target: Run("targets", seed, name, bundle) for bundle, names in study.bundles().items() for target in names}
    for run in dict.fromkeys(runs.values()):
        if (standing := state(study, run, fingerprints)) != "done":
            why = "not finished" if standing == "missing" else "stale (its parameters, data or code changed since)"
            more = f" SEEDS={seed}" if seed > study.seeds else ""
            raise UserError(f"{run.name}: {why}; run the study first: make study STUDY={study.given}{more}")
    lines = []
    with written_whole(folder or default_folder(study, name, seed)) as aside:
        for target, run in runs.items():
            results = run.folder(study) / target
            split = read_record(results / "scored.json")["split"]
            if target not in FOLDERS:
                lines.append(f"{target}: left out: XTREME's and XTREME-R's scorers read no such task")
                continue
            if split != "test" and target != "tydiqa":
                lines.append(f"{target}: left out: scored on its {split} set, and XTREME's labels are of the test set")
                continue
            task, predictions = study.task(target), pd.read_parquet(results / "predictions.parquet")
            lines.append(_coverage(task, list(predictions["language"].unique())))
            for language, part in predictions.groupby("language", sort=False):
                path = aside / FOLDERS[target] / f"test-{language}.{SUFFIXES.get(task.kind, 'tsv')}"
                write_text(path, _text(task, part, source, split, str(language)))
        if not any(aside.iterdir()):
            raise UserError(f"{study.path}: nothing to submit: {'; '.join(lines)}")
    return lines


def default_folder(study: Study, name: str, seed: int) -> Path:
    """Where the submission of intermediate run ``name`` is written by default."""
    return study.folder / "submission" / name / f"seed{seed}"


def _coverage(task: Task, languages: list[str]) -> str:
    """One line: which of the languages that the scorers require there are predictions for."""
    absent = [code for code in task.languages if code not in languages]
    absent_r = [code for code in FURTHER.get(task.name, "").split() if code not in languages]
    benchmark, count = "XTREME-R" if task.name in XTREME_R_ONLY else "XTREME", len(task.languages)
    line = f"{FOLDERS[task.name]}: {count - len(absent)} of {benchmark}'s {count} languages"
    if len(absent) == count:
        return f"{line} ({len(languages)} others)"
    if absent:
        line += f": its scorer stops without {', '.join(absent)}"
    return f"{line}; XTREME-R also wants {', '.join(absent_r)}" if absent_r else line


def _text(task: Task, part: pd.DataFrame, source: Source, split: str, language: str) -> str:
    """The file of one language; ``part``: its predictions, in the order of the test file."""
    ids, predictions = part["id"].tolist(), part["prediction"].tolist()
    if task.kind in ("span", "ranking"):
        answers = predictions if task.kind == "span" else map(str.split, predictions)
        return json.dumps(dict(zip(ids, answers, strict=True)), indent=1) + "\n"
    if task.kind == "classification":
        lines = [task.labels[int(label)] for label in predictions]
    elif task.kind == "choice":
        lines = [json.dumps({"label": int(label)}) for label in predictions]
    elif task.kind == "tagging":
        lines = ["\n\n".join("\n".join(tags.split()) for tags in predictions)]
    elif task.kind == "mining":
        lines = [f"{foreign}\t{mined}" for foreign, mined in zip(ids, predictions, strict=True) if mined]
    else:  # parallel, by source-language sentence in alphabetical order, equal ones as in the file
        queries = source.load(task, split, language)["query"][:]
        order = sorted(range(len(queries)), key=lambda row: queries[row].strip())
        lines = [str(ids.index(predictions[row])) for row in order]
    return "".join(f"{line}\n" for line in lines)
