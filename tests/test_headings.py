"""Headings of the notebooks: one title, then sections; no level is skipped, so that they can be read as a contents."""

import json
import re
from itertools import pairwise

import pytest

from xstilts.io import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def markdown(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_one_title_first_and_no_level_skipped(path):
    texts = markdown(path)
    levels = [len(marks) for text in texts for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert texts[0].startswith(f"# {path.name[0]} · ") and levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "**What this notebook answers:**" in texts[0] and "**To change:**" in texts[-1]


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.name[0] in "45678"], ids=lambda path: path.stem)
def test_final_notebooks_show_a_figure_then_the_answer_before_anything_else(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    figure = next(number for number, text in enumerate(code) if "plots.save(" in text)
    answer = next(number for number, text in enumerate(code) if "answer.md" in text)
    assert figure < answer == figure + 1
    assert "experiment = load_study(study)" in "\n".join(code), "no cell binds a parameter anew"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_and_with_one_cell_of_parameters(path):
    code = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and not cell["execution_count"] for cell in code)
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1
