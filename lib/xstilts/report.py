"""Executed notebooks as HTML that needs no network: the pages of a report, and a page that stands alone.

One nbconvert template, derived from JupyterLab's, does both. A page of a report links to the style and script that
all pages share; one that stands alone holds them.


What a report shows of a study: every run, how it stands, what it is about, and which runs it belongs to.

Build the report of a study: an index, and a page for every run that left something to show.

A page holds the hash of all it was made from (notebook, log, neighbours, templates) and is made again only when that
changed: contents rather than dates, as copies of a folder do not keep dates.
"""

import re
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from html import unescape
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from traitlets.config import Config

from xstilts.errors import UserError
from xstilts.io import ROOT, digest, file_hash, read_record, write_text
from xstilts.parameters import read
from xstilts.progress import duration
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.sources import Source, open_source
from xstilts.sources.custom import declare
from xstilts.study import NONE, Study, load_study
from xstilts.summaries import with_interval
from xstilts.target_runs import evaluation_languages, training_sets, tunings
from xstilts.tasks import TASKS
from xstilts.workflow import GAPS, standing

HERE = Path(__file__).with_name("site")
STATIC = [HERE / "static" / name for name in ("site.css", "site.js")]


def render_alone(notebook: Path, page: Path) -> None:
    """The notebook as one HTML file."""
    css, script = (path.read_text(encoding="utf-8") for path in STATIC)
    write_text(page, notebook_html(read_notebook(notebook), {"css": css, "script": script}))


def read_notebook(path: Path) -> nbformat.NotebookNode | None:
    """None where there is none that can be read: a killed job leaves half of one."""
    try:
        return nbformat.read(path, as_version=4) if path.is_file() else None
    except (ValueError, nbformat.ValidationError):
        return None


def notebook_html(notebook: nbformat.NotebookNode | None, page: dict[str, Any]) -> str:
    """``page``: what the template says beside the notebook: the path to the report's folder, where the run stands,
    its cause of failure, its neighbours; or ``css`` and ``script`` for a page that stands alone."""
    notebook = notebook or nbformat.v4.new_notebook()
    heading = _heading(notebook)
    html, _ = exporter().from_notebook_node(notebook, {"page": page | {"heading": heading}})
    return html


def index_html(values: dict[str, Any]) -> str:
    """The index; ``values``: what its template is given."""
    return exporter().environment.overlay(autoescape=True).get_template("site.html.j2").render(values)


@cache
def exporter() -> HTMLExporter:
    """nbconvert's, with the template of this project."""
    tags = {"enabled": True, "remove_cell_tags": ["papermill-error-cell-tag"]}  # the page says what failed itself
    return HTMLExporter(
        config=Config({"TagRemovePreprocessor": tags}),
        template_name="xstilts",
        extra_template_basedirs=[str(HERE / "templates")],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


@cache
def look() -> str:
    """Hash of all that decides how a page looks, its content apart."""
    files = [path for path in sorted(HERE.rglob("*")) if path.suffix in (".py", ".j2", ".json", ".css", ".js")]
    return digest([file_hash(path) for path in files])


def _heading(notebook: nbformat.NotebookNode) -> str:
    """The text of its first heading; "" where there is none."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return next((line[2:].strip() for text in cells for line in text.splitlines() if line.startswith("# ")), "")


# how a run may stand, in the order they are listed in, and what it means
STATES = {
    "done": "finished",
    "gaps": "executed before all that it shows was there",
    "stale": "finished, but its settings, data or code have changed since",
    "running": "at work now",
    "failed": "ended with an error",
    "missing": "not run yet",
}


@dataclass(frozen=True)
class Page:
    """One run. ``tasks`` and ``languages``: what it trains on (phase 2) or scores (phase 3); ``why``: the cause of a
    failure, or what is missing; ``seconds``: wall time, None where it did not finish."""

    study: Study
    run: Run
    status: str
    why: str
    seconds: float | None
    tasks: tuple[str, ...]
    languages: tuple[str, ...]

    @property
    def name(self) -> str:
        """As messages name the run; a final notebook, of which studies that share runs have one each, by its study."""
        return f"answers/{self.study.name}" if self.run.final else self.run.name

    @property
    def path(self) -> str:
        """Of its page below the report's folder; "" where there is nothing to show."""
        return "" if self.status == "missing" else f"{self.name}.html"

    @property
    def notebook(self) -> Path:
        return self.run.folder(self.study) / "notebook.ipynb"

    @property
    def log(self) -> Path:
        return self.run.folder(self.study) / "log.txt"


def survey(study: Study) -> tuple[list[Page], str]:
    """Every run of the study and, where others keep their runs beside it, of those; and, where the data that results
    depend on cannot be read here, why: results are then shown as done, whether or not they are stale."""
    pages: dict[str, Page] = {}
    unknown = ""
    for one in [study, *sharing(study)]:
        declare(one.own, ROOT, one.source_language)  # those read since may have own tasks of the same names
        try:
            fingerprints = Fingerprints(one)
            fingerprints.of(Run(one.question))
        except UserError as error:  # the data are elsewhere: runs were copied from another machine
            fingerprints, unknown = None, str(error)
        for run in list_runs(one):
            page = _page(one, run, fingerprints)
            pages.setdefault(page.name, page)
    declare(study.own, ROOT, study.source_language)
    return list(pages.values()), unknown


def sharing(study: Study) -> list[Study]:
    """The studies that keep their runs in the folder of this one and have been run."""
    found = []
    for path in sorted((ROOT / study.runs).glob("*/study.yaml")):
        try:
            other = load_study(path) if read(path).get("shares") == study.name else None
        except UserError:  # of an earlier version
            continue
        if other and other.folder == study.folder:
            found.append(other)
    return found


def _page(study: Study, run: Run, fingerprints: Fingerprints | None) -> Page:
    seen = standing(study, run, fingerprints)
    status = seen.state if seen.state != "left" else "gaps" if seen.said else "missing"
    folder = run.folder(study)
    seconds = (read_record(folder / "run.json") or read_record(folder / GAPS)).get("seconds")
    tasks, languages = _about(study, run, fingerprints.source) if fingerprints else ((), ())
    why = "" if status == "running" else seen.said
    return Page(study, run, status, why, seconds, tasks, languages)


def _about(study: Study, run: Run, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if run.phase == "encoder":
        return (), tuple(source.language_table().index)
    if run.phase == "intermediate":
        parsed = study.intermediate_run(run.intermediate)
        sets = [training_sets(run.intermediate, TASKS[task], parsed.languages, source) for task in parsed.tasks]
        return parsed.tasks, tuple(dict.fromkeys(language for one in sets for _, language in one))
    if run.phase == "targets":
        trained = tunings(study, source, run.bundle)
        languages = (language for tuning in trained for language in tuning.languages(study, source))
        return tuple(dict.fromkeys(tuning.target for tuning in trained)), tuple(dict.fromkeys(languages))
    scored = (code for name in study.all_targets for code in evaluation_languages(study, source, TASKS[name]))
    return study.all_targets, tuple(dict.fromkeys(scored))


def related(page: Page, pages: list[Page]) -> dict[str, list[Page]]:
    """The runs before and after a run, and the same run with other seeds; kinds without any left out."""
    run = page.run

    def those(phase: str, **same: object) -> list[Page]:
        runs = ((other, other.run) for other in pages if other.run.phase == phase)
        return [other for other, one in runs if all(getattr(one, key) == value for key, value in same.items())]

    same = {"seed": run.seed, "intermediate": run.intermediate}
    if run.phase == "intermediate":
        before, after = those("encoder", seed=run.seed), those("targets", **same)
    elif run.phase == "targets":
        before = those("intermediate", **same) or those("encoder", seed=run.seed)
        after = [other for other in pages if other.run.final]
    else:
        before = []
        after = those("intermediate", seed=run.seed) + those("targets", seed=run.seed, intermediate=NONE)
        after = after if run.phase == "encoder" else []
    seeds = [] if run.final else those(run.phase, intermediate=run.intermediate, bundle=run.bundle)
    kinds = {"Starts from": before, "Leads to": after, "Other seeds": [other for other in seeds if other != page]}
    return {kind: found for kind, found in kinds.items() if found}


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
    for path in STATIC:
        (folder / "static").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "static")
    shown = [(page, _values(page, pages)) for page in pages if page.path]
    changed = [(page, values) for page, values in shown if not _is_current(folder / page.path, values["inputs"])]
    _write_pages(changed, folder)
    kept = {folder / page.path for page in pages} | {folder / "index.html"}
    for path in sorted(folder.rglob("*.html")):
        if path not in kept:  # of a run that the study no longer has
            path.unlink()
    write_text(folder / "index.html", index_html(_index(study, pages, unknown, folder)))
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
    return values | {"inputs": digest([values, notebook, look()])}


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
    notebook = read_notebook(page.notebook)
    outputs = [output for cell in (notebook.cells if notebook else []) for output in cell.get("outputs", [])]
    failed_at = any(output.output_type == "error" for output in outputs)
    write_text(folder / page.path, notebook_html(notebook, values | {"failed_at": failed_at}))


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
    notebook = read_notebook(final.notebook) if final.status in ANSWERED else None
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
