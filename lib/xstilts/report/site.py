"""Build the report of a study: an index, and a page for every run that left something to show.

A page holds the hash of all it was made from (notebook, log, neighbours, templates) and is made again only when that
changed: contents rather than dates, as copies of a folder do not keep dates.
"""

import re
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from html import unescape
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd

from ..findings import with_interval
from ..hashes import digest, file_hash
from ..progress import duration
from ..sources import open_source
from ..study import NONE, Study
from ..tasks import TASKS
from ..writing import read_record, write_text
from . import rendering
from .pages import STATES, Page, related, survey

MARKS = {"done": "", "gaps": " ◐", "stale": " ~", "running": " …", "failed": " ✕", "missing": " –"}
ANSWERED = ("done", "gaps", "stale")  # what a final notebook that was executed may be
LAST_LINES = 40  # of a failed run's log
FEW = 16  # pages that are made sooner than further processes start
# question -> the figure that the index shows, in the study's folder of figures, and its heading
LEAD = {
    "transfer": ("heatmap-mean", "Transfer heatmap"),
    "distance": ("gain-distance", "Gain against distance"),
    "source-language": ("languages-exact_match", "Exact match on TyDiQA, language by language"),
    "domain-shift": ("made", "In and out of domain"),
    "retrieval": ("gains", "Gain in retrieval"),
}


def build(study: Study) -> tuple[Path, str]:
    """Write the report of the study, finished or not; returns its index and one line on what was done."""
    folder = study.own_folder / "report"
    pages, unknown = survey(study)
    for path in rendering.STATIC:
        (folder / "static").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "static")
    shown = [(page, _values(page, pages)) for page in pages if page.path]
    changed = [(page, values) for page, values in shown if not _is_current(folder / page.path, values["inputs"])]
    _write_pages(changed, folder)
    kept = {folder / page.path for page in pages} | {folder / "index.html"}
    for path in sorted(folder.rglob("*.html")):
        if path not in kept:  # of a run that the study no longer has
            path.unlink()
    write_text(folder / "index.html", rendering.index_html(_index(study, pages, unknown, folder)))
    counts = Counter(page.status for page in pages)
    said = ", ".join(f"{counts[status]} {status}" for status in STATES if counts[status])
    return folder / "index.html", f"{len(pages)} runs ({said}); {len(changed)} pages made, the others as they were"


def _values(page: Page, pages: list[Page]) -> dict[str, Any]:
    """What the page of a run says beside its notebook, and the hash of all it is made from."""
    log = page.log.read_text(encoding="utf-8", errors="replace") if page.log.is_file() else ""
    values = {
        "study": page.study.title or page.study.name,
        "name": page.name,
        "status": page.status,
        "meaning": STATES[page.status],
        "time": _time(page),
        "why": page.why,
        "root": "../" * page.path.count("/"),
        "related": {
            kind: [{"name": one.name, "path": one.path, "status": one.status} for one in found]
            for kind, found in related(page, pages).items()
        },
        "log": "\n".join(log.splitlines()[-LAST_LINES:]) if page.status == "failed" else "",
    }
    notebook = file_hash(page.notebook) if page.notebook.is_file() else ""
    return values | {"inputs": digest([values, notebook, rendering.look()])}


def _is_current(path: Path, inputs: str) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        return f'content="{inputs}"' in file.read(1000)


def _write_pages(changed: list[tuple[Page, dict[str, Any]]], folder: Path) -> None:
    if len(changed) < FEW:
        for page, values in changed:
            _write_page(page, values, folder)
        return
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_page, *zip(*changed, strict=True), repeat(folder), chunksize=4))


def _write_page(page: Page, values: dict[str, Any], folder: Path) -> None:
    notebook = rendering.read_notebook(page.notebook)
    outputs = [output for cell in (notebook.cells if notebook else []) for output in cell.get("outputs", [])]
    failed_at = any(output.output_type == "error" for output in outputs)
    write_text(folder / page.path, rendering.notebook_html(notebook, values | {"failed_at": failed_at}))


def _index(study: Study, pages: list[Page], unknown: str, folder: Path) -> dict[str, Any]:
    """What the template of the index is given."""
    answers = {page.study.name: page for page in pages if page.run.final}
    final = answers.pop(study.name)
    drawn = _drawn(final)
    rows = [_row(page) for page in pages]
    seconds = sum(page.seconds or 0 for page in pages)
    size = (
        f"Intermediate runs: {len(set(study.intermediate) - {NONE})}, targets: {len(study.all_targets)}, "
        f"languages: {len(final.languages) or 'unknown'}, seeds: {study.seeds}. "
        f"Notebooks: {len(pages)}, {duration(seconds)} of work in all."
    )
    return {
        "title": study.title or study.name,
        "size": size,
        "unknown": unknown,
        "failed": [row for row in rows if row["status"] == "failed"],
        "answer": _answer(final, drawn),
        "final": _row(final)
        | {
            "meaning": STATES[final.status],
            "answered": final.status in ANSWERED,
            "figures": f"{study.figures}/{study.name}",
        },
        "figure": _figure(final, drawn, folder),
        "questions": [
            {"title": page.study.title or name, "page": _row(page), "answer": _answer(page, _drawn(page))}
            for name, page in answers.items()
        ],
        "states": STATES,
        "mark": MARKS,
        "counts": Counter(page.status for page in pages),
        "graph": _graph(pages),
        "rows": rows,
        "choices": _choices(study, pages),
        "version": version("xstilts"),
        "commit": read_record(final.run.folder(study) / "run.json").get("git", "")[:10],
    }


def _time(page: Page) -> str:
    return "" if page.seconds is None else duration(page.seconds)


def _row(page: Page) -> dict[str, Any]:
    run = page.run
    targets = page.tasks if run.phase == "targets" or run.final else ()
    titles = [TASKS[name].title for name in page.tasks]
    seed = f"seed{run.seed}" if run.seed else ""
    words = [page.name, page.status, seed, *page.tasks, *titles, *page.languages, page.why]
    return {
        "name": page.name,
        "label": page.study.name,
        "path": page.path,
        "status": page.status,
        "why": page.why,
        "seed": run.seed,
        "intermediate": run.intermediate,
        "targets": targets,
        "tasks": page.tasks,
        "languages": page.languages,
        "time": _time(page),
        "text": " ".join(words).lower(),
    }


def _graph(pages: list[Page]) -> dict[str, Any]:
    """The runs by what they start from: a row for every intermediate run, in it the seeds of every bundle."""
    rows: dict[str, dict[str, Any]] = {}
    for page in (page for page in pages if page.run.intermediate):
        run = page.run
        row = rows.setdefault(run.intermediate, {"name": run.intermediate, "trained": [], "bundles": {}})
        chips = row["trained"] if run.phase == "intermediate" else row["bundles"].setdefault(run.bundle, [])
        chips.append(_row(page))
    return {
        "encoder": [_row(page) for page in pages if page.run.phase == "encoder"],
        "rows": sorted(rows.values(), key=lambda row: row["name"] != NONE),
        "answers": [_row(page) for page in pages if page.run.final],
    }


def _choices(study: Study, pages: list[Page]) -> dict[str, dict[str, str]]:
    """What the table of runs may be narrowed by: name of the choice -> value -> text."""
    targets = dict.fromkeys(name for page in pages if page.run.phase == "targets" for name in page.tasks)
    codes = dict.fromkeys(code for page in pages for code in page.languages)
    names = open_source(study).language_table()["name"].to_dict() if codes else {}
    return {
        "Run": {name: name for name in dict.fromkeys(page.run.intermediate for page in pages) if name},
        "Target": {name: TASKS[name].title for name in targets},
        "Language": {code: f"{code} {names.get(code, '')}".strip() for code in codes},
        "Status": {status: status for status in STATES if any(page.status == status for page in pages)},
    }


def _answer(final: Page, drawn: bool) -> str:
    """The answer in words as HTML; "" where there is none."""
    if not drawn:
        return ""
    from nbconvert.filters import markdown2html

    return markdown2html((final.study.figures_folder / "answer.md").read_text(encoding="utf-8"))


def _drawn(final: Page) -> bool:
    """Whether the figures and the answer in the folder of figures are from the final notebook that was executed here:
    committed ones may be of another machine's runs. That notebook shows the answer."""
    path = final.study.figures_folder / "answer.md"
    notebook = rendering.read_notebook(final.notebook) if final.status in ANSWERED else None
    if not notebook or not path.is_file():
        return False
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("data", {}).get("text/markdown", "") for output in shown]
    return any(path.read_text(encoding="utf-8").strip() in text for text in texts)


def _figure(final: Page, drawn: bool, folder: Path) -> dict[str, Any]:
    """The figure that says most, copied into the report, and what is said of it."""
    name, title = LEAD[final.study.question]
    found = [final.study.figures_folder / f"{name}.{ending}" for ending in ("png", "svg", "csv")]
    if not drawn or not all(path.is_file() for path in found):
        return {"title": title}
    (folder / "figures").mkdir(exist_ok=True)
    narrow = found[0].with_stem(f"{name}-column")  # the same at a paper's column width
    found += [narrow] if narrow.is_file() else []
    for path in found:
        shutil.copy(path, folder / "figures")
    described = re.search(r"<dc:description>(.+?)</dc:description>", found[1].read_text(encoding="utf-8"), re.DOTALL)
    alt = unescape(described.group(1).strip()) if described else f"{title} of {final.study.title or final.study.name}"
    return {
        "title": title,
        "alt": alt,
        "table": _table(found[2]) if name == "heatmap-mean" else "",
        **{path.suffix[1:]: f"figures/{path.name}" for path in found[:3]},
        "narrow": f"figures/{narrow.name}" if narrow in found else "",
    }


def _table(path: Path) -> str:
    """The heatmap's numbers as an HTML table: intermediate runs by targets, the score of ``none``, gains of others."""
    table = pd.read_csv(path)
    table = table[(table["intermediate"] == NONE) | (table["quantity"] == "gain")]
    titles = {name: TASKS[name].title if name in TASKS else name for name in table["target"].unique()}
    table = table.assign(shown=[with_interval(row) for row in table.itertuples()], target=table["target"].map(titles))
    wide = table.pivot(index="intermediate", columns="target", values="shown")
    wide = wide.reindex(index=table["intermediate"].unique(), columns=list(titles.values()))
    wide = wide.rename(index={NONE: "none (score)"}).rename_axis(index=None, columns=None)
    return wide.to_html(border=0).replace("<th></th>", "<th>gain over none</th>", 1)
