"""Executed notebooks as HTML that needs no network: the pages of a report, and a page that stands alone.

One nbconvert template, derived from JupyterLab's, does both. A page of a report links to the style and script that
all pages share; one that stands alone holds them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from ..hashes import digest, file_hash
from ..writing import write_text

HERE = Path(__file__).parent
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
