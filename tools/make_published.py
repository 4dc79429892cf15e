"""Remake ``lib/xstilts/tables/published/*.csv`` from the numbers as they were collected.

    PYTHONPATH=lib python tools/make_published.py FOLDER    # of the collected CSV files

Each table comes from the collected file that its function names. Left out, because no score of a study could
be compared with it: F1 or exact match alone of question answering (a score of ours is their mean), averages
over task groups, token accuracy of UDPOS, XNLI figures whose split the source does not state, humans,
translate-test and adapters on XCOPA, XTREME-S and image tasks. Rows marked ``recalled`` were in no file: they
are typed in here from the project's notes.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.io import ROOT
from xstilts.locations import CODES
from xstilts.names import NONE
from xstilts.published import BEST, COLUMNS, MAP, MEAN_OF_TARGETS, UNSTATED, metric_of
from xstilts.results import MACRO, MACRO_TRAINED
from xstilts.tasks import TASKS, get

TABLES = ROOT / "lib" / "xstilts" / "tables" / "published"
TARGETS = {
    "XNLI": "xnli", "PAWS-X": "pawsx", "POS": "udpos", "NER": "panx", "XQuAD": "xquad", "MLQA": "mlqa",
    "TyDiQA": "tydiqa", "BUCC": "bucc", "Tatoeba": "tatoeba", "AVG_7tasks": MACRO_TRAINED, "AVG_9": MACRO,
}  # fmt: skip
XTREME_RETRIEVAL = {
    "BUCC": "XTREME's baseline; its script pools the first token of the 20th layer, mean pooling was meant: "
    "unknown which gave this",
    "Tatoeba": "XTREME's baseline: untuned XLM-R Large, 36 languages; its script says mean of the 14th layer, but "
    "only layer 10 reproduced it (xtreme PR 104)",
}
NOTES = {
    "X-STILTs (leaderboard submission)": "run chosen per target",
    "X-STILTs (as quoted by mT5)": "run chosen per target; XNLI, PAWS-X, NER and XQuAD are not the leaderboard's",
}
JIANT = "authors' own replication: untuned XLM-R Large, hidden_states[14], mean over all tokens"


def collected(folder: Path, name: str) -> list[dict]:
    with open(folder / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row(
    system: str,
    intermediate: str,
    target: str,
    value: Any,
    provenance: str,
    source: str,
    note: str = "",
    **more: object,
) -> dict:
    """A row of the tidy table; what is not given is as :mod:`.published` fills it in."""
    languages = "" if more.get("language") or target not in TASKS else len(get(target).languages)
    metric = MEAN_OF_TARGETS if target not in TASKS else metric_of(get(target))
    default = {"language": "mean", "languages": languages, "split": "test", "metric": metric, "kind": "score"}
    given = {"system": system, "intermediate": intermediate, "target": target, "value": f"{float(value):g}"}
    rest = {"layer": "", "pooling": "", "source": source, "provenance": provenance, "note": note}
    return {**default, **given, **rest, **more}


def average_gains(folder: Path) -> list[dict]:
    """``phang2020_average_gains.csv``, and the gains that ``phang2020_test.csv`` quotes from version 1."""
    runs = {
        "SQuAD": UNSTATED, "MNLI": "mnli", "HellaSwag": "hellaswag", "Multi-task (all nine)": "multi",
        "best model per target": BEST,
    }  # fmt: skip
    rows = []
    for cell in collected(folder, "phang2020_average_gains.csv"):
        run = runs[cell["intermediate_task"]]
        more = {"layer": 14, "pooling": "mean"} if cell["split"] == "dev" else {}
        note = "nine targets; retrieval as in the authors' jiant-dev PR 128, from the Tatoeba baseline of 31.0"
        if cell["split"] == "test":
            note = "nine targets; measured from XTREME's baseline of 68.1; run chosen per target on development sets"
        note += "; SQuAD 1.1 or 2.0: not said" if run == UNSTATED else ""
        rows.append(
            row(
                "X-STILTs", run, MACRO, cell["value"], cell["provenance"], cell["source"], note,
                kind="gain", split=cell["split"], **more,
            )
        )  # fmt: skip
    for cell in collected(folder, "phang2020_test.csv"):
        if cell["system"] == "X-STILTs v1":
            run, split = (BEST, "test") if cell["target"].startswith("AVG_9") else (UNSTATED, "dev")
            note = "version 1 of the paper: seven intermediate tasks"
            note += "" if run == BEST else "; SQuAD 1.1 or 2.0: not said"
            more = {"kind": "gain", "split": split}
            rows.append(
                row(
                    cell["system"],
                    run,
                    MACRO,
                    cell["value"],
                    cell["provenance"],
                    cell["source"],
                    note,
                    **more,
                )
            )
    return rows


def test_scores(folder: Path) -> list[dict]:
    """``phang2020_test.csv``; exact match and F1 of one cell become their mean. The rest is recalled."""
    rows: list[dict] = []
    spans: dict[Any, Any] = {}
    for cell in collected(folder, "phang2020_test.csv"):
        system, name = cell["system"].replace("large", "Large"), cell["target"]
        if name not in TARGETS:
            continue
        run = NONE if system == "XLM-R Large (XTREME)" else BEST
        target, note = TARGETS[name], XTREME_RETRIEVAL.get(name, NOTES.get(system, ""))
        if name == "AVG_9":
            note = "XTREME's retrieval baselines among the nine; the cells quoted here average 68.25: another version"
        if target in TASKS and TASKS[target].kind == "span":
            other = spans.pop((system, name), None)
            spans[system, name] = cell
            if other:
                value = (float(other["value"]) + float(cell["value"])) / 2
                mean = f"mean of {other['metric']} {other['value']} and {cell['metric']} {cell['value']}"
                note = f"{note}; {mean}" if note else mean
                rows.append(row(system, run, target, value, "derived", cell["source"], note))
            continue
        rows.append(row(system, run, target, cell["value"], cell["provenance"], cell["source"], note))
    paper = ("X-STILTs (paper's test row)", BEST), "Phang et al. 2020, arXiv:2005.13013, not checked"
    for target, value in (("udpos", 74.4), ("bucc", 71.9), ("tatoeba", 82.7), (MACRO, 73.5)):
        rows.append(row(*paper[0], target, value, "recalled", paper[1], "run chosen per target"))
    later = "Ruder et al. 2021 (XTREME-R), arXiv:2104.07412, not checked"
    tuned = "XTREME-R's baseline: encoder tuned on SQuAD, 41 languages (az lt pl uk ro added)"
    for system, xcopa, tatoeba in (("XLM-R Large (XTREME-R)", 69.2, 77.3), ("mBERT (XTREME-R)", 56.1, 45.3)):
        rows.append(row(system, "socialiqa", "xcopa", xcopa, "recalled", later, "SocialIQA, then COPA"))
        rows.append(row(system, "squad1", "tatoeba", tatoeba, "recalled", later, tuned, languages=41))
    return rows


def retrieval(folder: Path) -> list[dict]:
    """``jiant_xlmr_large_retrieval_baseline.csv``: fractions there, percent here."""
    rows = []
    for cell in collected(folder, "jiant_xlmr_large_retrieval_baseline.csv"):
        target = "bucc" if cell["task"].startswith("BUCC") else "tatoeba"
        more = {"split": "dev" if target == "bucc" else "test", "layer": 14, "pooling": "mean"}
        if not cell["lang"].startswith("MEAN"):
            more["language"] = cell["lang"]
        note = JIANT + ("; threshold tuned on the set it is scored on" if target == "bucc" else "")
        value = 100 * float(cell["value"])
        rows.append(row("XLM-R Large (jiant)", NONE, target, value, cell["provenance"], cell["source"], note, **more))
    return rows


def e5(folder: Path) -> list[dict]:
    """``e5_small_tatoeba.csv``: of the whole encoder, its last layer, as mteb scores it. The system is named as
    checkpoints are."""
    ours = {theirs: code for code, theirs in CODES["tatoeba"].items()}
    rows = []
    for cell in collected(folder, "e5_small_tatoeba.csv"):
        system = cell["encoder"].rpartition("/")[2]
        more = {"language": ours[cell["language"]], "metric": "reverse_accuracy", "layer": 12, "pooling": "mean"}
        rest = (cell["value"], cell["provenance"], cell["source"], cell["protocol"])
        rows.append(row(system, NONE, cell["task"], *rest, **more))
    return rows


def xcopa(folder: Path) -> list[dict]:
    """``xcopa_published.csv``, XLM-R Large. The table does not say whether SocialIQA was trained on first."""
    rows = []
    for cell in collected(folder, "xcopa_published.csv"):
        if cell["model"] == "XLM-R Large":
            more = {} if cell["lang"] == "avg" else {"language": cell["lang"]}
            note = "whether SocialIQA was trained on before COPA is not said"
            if cell["lang"] in ("ht", "qu"):
                note += "; not in XLM-R's pretraining, in brackets in the source"
            rest = (cell["accuracy"], cell["provenance"], cell["source"], note)
            rows.append(row("XLM-R Large (XCOPA)", UNSTATED, "xcopa", *rest, **more))
    return rows


def reports(folder: Path) -> list[dict]:
    """``reproduction_reports.csv``: UDPOS in F1; MLQA, whose exact matches are whole counts of the test sets."""
    rows, matches = [], {}
    for cell in collected(folder, "reproduction_reports.csv"):
        what, metric, value = cell["what"], cell["metric"], cell["value"]
        source = f"github.com/{cell['source'].replace(' #', '/issues/')}"
        if metric.endswith("seqeval F1"):
            more = {} if metric.startswith("avg") else {"language": metric.split()[0]}
            rows.append(row("XLM-R Large (xtreme issue)", NONE, "udpos", value, cell["provenance"], source, **more))
        elif what.startswith("MLQA"):
            language = what.split()[-1]
            if metric == "EM":
                matches[language] = value
            else:
                mean, note = (float(matches[language]) + float(value)) / 2, f"mean of EM {matches[language]} and F1 "
                rest = (mean, "derived", source, note + value)
                rows.append(row("XLM-R Large (xtreme issue)", NONE, "mlqa", *rest, language=language))
    return rows


def lareqa(folder: Path) -> list[dict]:
    """``xtreme_r_published.csv``: fractions there, percent here."""
    rows, source = [], ""
    for cell in collected(folder, "xtreme_r_published.csv"):
        source = source if cell["source"] == "same" else cell["source"]
        note = "questions and candidates of 11 languages in one pool; mBERT as a dual encoder"
        value = 100 * float(cell["value"])
        rows.append(row(cell["model"], NONE, "lareqa", value, cell["provenance"], source, note, metric=MAP))
    return rows


def write(path: Path, rows: list[dict], columns: Sequence[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_published.py FOLDER (of the collected CSV files)")
    for make in (average_gains, test_scores, retrieval, e5, xcopa, reports, lareqa):
        write(TABLES / f"{make.__name__}.csv", make(Path(sys.argv[1])), COLUMNS)
