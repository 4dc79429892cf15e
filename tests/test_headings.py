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
    levels = [len(found) for text in texts for found in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert texts[0].startswith(f"# {path.name[0]} · ") and levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "**What this notebook answers:**" in texts[0] and "**To change:**" in texts[-1]


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.name[0] in "45678"], ids=lambda path: path.stem)
def test_final_notebooks_answer_in_words_first_or_last_and_say_where(path):
    sections = [line for text in markdown(path) for line in text.splitlines() if line.startswith("## ")]
    if path.name[0] == "4":
        assert sections[0] == "## The answer in words"
    else:
        assert sections[-1] == "## The answer in words"
        assert "[The answer in words](#The-answer-in-words)" in markdown(path)[0]
