"""The report of a study: its executed notebooks as one HTML site, from the file system, without network.

An index with the answer, its figure, and every run with its status; a page for each run that left something to show.
"""

import re
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from html import unescape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbconvert.filters import markdown2html

from xstilts.errors import UserError
from xstilts.io import ROOT, read_record, write_text, written_whole
from xstilts.names import BASELINES, NONE
from xstilts.progress import duration
from xstilts.runs import Fingerprints, Run, list_runs
from xstilts.settings import Study
from xstilts.site import FOLDER, exporter, read_notebook, render
from xstilts.status import GAPS, standing
from xstilts.study import load_study, read_yaml

FIGURES = {  # question -> the figure that the index shows, in the study's folder of figures
    "transfer": "heatmap-mean", "distance": "gain-distance", "source-language": "languages-exact_match",
    "domain-shift": "made", "retrieval": "gains",
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """One run. ``why``: the cause of a failure, or what is missing; ``seconds``: wall time, None where it did not
    finish."""

    study: Study
    run: Run
    status: str
    why: str
    seconds: float | None

    @property
    def name(self) -> str:
        """As messages name the run; a final notebook by its study, as studies that share runs have one each."""
        return f"answers/{self.study.name}" if self.run.final else self.run.name

    @property
    def path(self) -> str:
        """Of its page below the report's folder; "" where there is nothing to show."""
        return "" if self.status == "missing" else f"{self.name}.html"

    @property
    def time(self) -> str:
        return "" if self.seconds is None else duration(self.seconds)

    @property
    def log(self) -> str:
        """The last lines of a failed run's log."""
        path = self.run.folder(self.study) / "log.txt"
        text = path.read_text(encoding="utf-8", errors="replace") if self.status == "failed" and path.is_file() else ""
        return "\n".join(text.splitlines()[-40:])

    @property
    def executed(self) -> bool:
        return self.status in ("done", "gaps", "stale")

    @cached_property
    def answer(self) -> str:
        """The committed answer of a final notebook in Markdown, if it is that of the notebook executed here: figures
        in the study's folder may be from another machine. "" otherwise."""
        path = self.study.figures_folder / "answer.md"
        text = path.read_text(encoding="utf-8") if self.executed and path.is_file() else ""
        cells = read_notebook(self.run.folder(self.study) / "notebook.ipynb").cells
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        return text if any(text.strip() in data.get("text/markdown", "") for data in outputs) else ""


def survey(study: Study) -> tuple[list[Page], str]:
    """Every run of the study and of those that share its runs; and, where the data that results depend on cannot be
    read here, why: results are then shown as done, stale or not."""
    pages: dict[str, Page] = {}
    problem = ""
    for member in [study, *sharing(study)]:
        try:
            current = Fingerprints(member)
            current.of(Run(member.question))
            fingerprints: Fingerprints | None = current
        except UserError as error:  # the data are elsewhere: runs were copied from another machine
            fingerprints, problem = None, str(error)
        for run in list_runs(member):
            seen, folder = standing(member, run, fingerprints), run.folder(member)
            status = seen.state if seen.state != "left" else "gaps" if seen.detail else "missing"
            seconds = (read_record(folder / "run.json") or read_record(folder / GAPS)).get("seconds")
            page = Page(member, run, status, "" if status == "running" else seen.detail, seconds)
            pages.setdefault(page.name, page)
    return list(pages.values()), problem


def sharing(study: Study) -> list[Study]:
    """The studies that keep their runs in the folder of this one and have been run."""
    studies = []
    for path in sorted((ROOT / study.runs).glob("*/study.yaml")):
        with suppress(UserError):  # of an earlier version
            if read_yaml(path).get("shares") == study.name:
                studies.append(load_study(path))
    return [other for other in studies if other.folder == study.folder]


def parent(run: Run) -> Run | None:
    """The run that a run starts from."""
    if run.phase == "targets" and run.intermediate not in BASELINES:
        return Run("intermediate", run.seed, run.intermediate)
    return Run("encoder", run.seed) if run.phase in ("intermediate", "targets") else None


def related(page: Page, pages: list[Page]) -> dict[str, list[Page]]:
    """The runs before and after a run, and the same run with other seeds."""
    run, targets = page.run, page.run.phase == "targets"
    return {
        "Starts from": [other for other in pages if other.run == parent(run)],
        "Leads to": [other for other in pages if parent(other.run) == run or (targets and other.run.final)],
        "Other seeds": [other for other in pages if other.run != run and replace(other.run, seed=run.seed) == run],
    }


def build(study: Study) -> tuple[Path, str]:
    """Write the report of the study, finished or not; returns its index and one line on what was done."""
    pages, problem = survey(study)
    folder, shown = study.own_folder / "report", [page for page in pages if page.path]
    values = [{"page": page, "related": related(page, pages), "log": page.log} for page in shown]
    notebooks = [page.run.folder(page.study) / "notebook.ipynb" for page in shown]
    with written_whole(folder) as aside:
        shutil.copytree(FOLDER / "static", aside / "static")
        with ProcessPoolExecutor() as pool:
            list(pool.map(render, notebooks, [aside / page.path for page in shown], values))
        template = exporter().environment.overlay(autoescape=True).get_template("site.html.j2")
        write_text(aside / "index.html", template.render(_index(study, pages, aside), problem=problem))
    summary = ", ".join(f"{count} {status}" for status, count in Counter(page.status for page in pages).items())
    return folder / "index.html", f"{len(pages)} runs ({summary}); {len(shown)} have a page"


def _index(study: Study, pages: list[Page], folder: Path) -> dict[str, Any]:
    """What the template of the index is given."""
    answers = [page for page in pages if page.run.final]
    final = next(page for page in answers if page.study.name == study.name)
    runs = dict.fromkeys(page.run.intermediate for page in pages if page.run.intermediate)
    return {
        "study": study,
        "pages": pages,
        "final": final,
        "further": [page for page in answers if page is not final],
        "answers": {page.name: markdown2html(page.answer) if page.answer else "" for page in answers},
        "figure": _figure(final, folder),
        "intermediate": sorted(runs, key=lambda name: name != NONE),
        "counts": Counter(page.status for page in pages),
        "time": duration(sum(page.seconds or 0 for page in pages)),
        "version": version("xstilts"),
        "commit": read_record(final.run.folder(final.study) / "run.json").get("git", "")[:10],
    }


def _figure(final: Page, folder: Path) -> dict[str, str]:
    """The main figure, copied into the report: its files and alternative text; {} without one."""
    name = FIGURES[final.study.question]
    paths = [final.study.figures_folder / f"{name}.{suffix}" for suffix in ("png", "svg", "csv")]
    if not final.answer or not all(path.is_file() for path in paths):
        return {}
    (folder / "figures").mkdir(exist_ok=True)
    for path in paths:
        shutil.copy(path, folder / "figures")
    (text,) = re.findall(r"<dc:description>(.+?)</dc:description>", paths[1].read_text("utf-8"), re.DOTALL)
    return {path.suffix[1:]: f"figures/{path.name}" for path in paths} | {"alt": unescape(text.strip())}
