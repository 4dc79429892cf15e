"""Notebooks as HTML that needs no network: a page of a report, or a page that stands alone.

One nbconvert template, derived from JupyterLab's, makes both. A page of a report links to the style and script that
all pages share; one that stands alone contains them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from xstilts.io import write_text

FOLDER = Path(__file__).parent


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """An empty notebook where there is none that can be read: a killed job leaves half of one."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):
        return nbformat.v4.new_notebook()


def render_alone(notebook: Path, page: Path) -> None:
    """Write the notebook as one HTML file."""
    files = {"css": "site.css", "script": "site.js"}
    render(notebook, page, {key: (FOLDER / "static" / name).read_text(encoding="utf-8") for key, name in files.items()})


def render(path: Path, page: Path, values: dict[str, Any]) -> None:
    """Write the notebook at ``path`` as HTML. ``values``: what the template shows beside it: the run as a page of its
    report, related pages, the end of its log; or ``css`` and ``script`` for a page that stands alone."""
    notebook = read_notebook(path)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    headings = [line[2:].strip() for text in texts for line in text.splitlines() if line.startswith("# ")]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    values |= {"heading": "".join(headings[:1]), "error": any(output.output_type == "error" for output in outputs)}
    write_text(page, exporter().from_notebook_node(notebook, {"xstilts": values})[0])


@cache
def exporter() -> HTMLExporter:
    """nbconvert's, with the templates of this folder."""
    tags = {"enabled": True, "remove_cell_tags": ["papermill-error-cell-tag"]}  # the page itself says what failed
    template = {"template_name": "xstilts", "extra_template_basedirs": [str(FOLDER / "templates")]}
    prompts = {"exclude_input_prompt": True, "exclude_output_prompt": True}
    return HTMLExporter(config=Config({"TagRemovePreprocessor": tags}), **template, **prompts)
