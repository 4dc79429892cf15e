"""Every notebook as it stands, from a copy of the project in which nothing has run."""

import ast
import os
import re
import shutil
from itertools import pairwise

import nbformat
import papermill
import pytest
import yaml

import small
from xstilts.io import ROOT

IN_ORDER = ["0-tasks", "1-encoder", "2-intermediate", "3-targets", "4-transfer", "9-your-task"]
QUESTIONS = ["5-distance", "6-source-language", "7-domain-shift", "8-retrieval"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project whose own modules the kernel imports, with a shorter tour."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("lib", "notebooks", "params"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    tour = yaml.safe_load((ROOT / "params" / "tour.yaml").read_text(encoding="utf-8"))
    tour["micro"]["documents"], tour["encoder"]["pretrain"] = 400, {"steps": 20, "log_every": 5}
    (folder / "params" / "tour.yaml").write_text(yaml.safe_dump(tour))
    return folder


@pytest.fixture(scope="module")
def done(project):
    """Name -> notebook, executed one after the other on one folder of runs: as one, whose kernel forgets every name in
    between."""
    parts = {name: nbformat.read(project / "notebooks" / f"{name}.ipynb", 4).cells for name in IN_ORDER}
    cells = []
    for name, part in parts.items():
        cells += [nbformat.v4.new_code_cell(cell.source) for cell in part if cell.cell_type == "code"]
        cells.append(nbformat.v4.new_code_cell(f"%reset -f\n# {name}"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), project / "all.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(project / "lib"), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("MPLBACKEND", raising=False)
        executed = papermill.execute_notebook(
            project / "all.ipynb", project / "executed.ipynb", kernel_name="python3", cwd=project / "notebooks",
            progress_bar=False, **small.kernel(project),
        )  # fmt: skip
    notebooks, part = {}, []
    for cell in executed.cells:
        part.append(cell)
        if cell.source.startswith("%reset"):
            notebooks[cell.source.partition("# ")[2]] = nbformat.v4.new_notebook(cells=part)
            part = []
    return notebooks


def shown(notebook):
    """Every text that the cells show, tables and answers included."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text", "") for output in outputs]
    for output in outputs:
        texts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(texts)


def pictures(notebook):
    return re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', shown(notebook))


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_each_has_explained_literals_as_parameters_and_says_what_to_change(path):
    """Only literals, one a line, each with a comment: all that papermill's own reader understands."""
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert all(len(cell.source.splitlines()) < 25 for cell in code)
    (parameters,) = [cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])]
    for line in parameters.splitlines():
        (statement,) = ast.parse(line).body
        assert isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name), line
        assert isinstance(ast.literal_eval(statement.value), str | int | float | bool | list), line
        assert re.fullmatch(r"\w+ = [^=]+  # .+", line), f"say what it means: {line}"
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert "**What this notebook answers:**" in first and "**To change:**" in last
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    levels = [len(marks) for text in texts for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert first.startswith(f"# {path.stem.partition('-')[0]} · ") and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a level is skipped"
    if path.name[0] in "45678":
        figure = next(number for number, cell in enumerate(code) if "plots.save(" in cell.source)
        answer = next(number for number, cell in enumerate(code) if "answer.md" in cell.source)
        assert answer == figure + 1, "first a figure, then the answer"
        assert any("experiment = load_study(study)" in cell.source for cell in code), "no cell binds a parameter anew"


def test_the_phases_in_order_each_show_what_they_made(done, project):
    assert "qah" in shown(done["0-tasks"])
    steps, tokens = re.search(r"(\d+) steps, ([\d,]+) tokens", shown(done["2-intermediate"])).groups()
    assert int(steps) == 150 and int(tokens.replace(",", "")) > 10_000
    assert len(pictures(done["1-encoder"])) == len(pictures(done["2-intermediate"])) == 1
    for target in ("xnli", "udpos", "xquad", "tatoeba"):
        assert (project / "runs/tour/targets/none/all/seed1" / target / "scored.json").is_file()
    # what notebook 1 saw of the encoder as it is, notebook 3 scores
    rows = {name: re.findall(r"accuracy</th>.*?</tr>", shown(done[name]), re.S) for name in ("1-encoder", "3-targets")}
    values = {name: [re.findall(r"<td>([\d.]+)</td>", row)[:3] for row in rows[name]] for name in rows}
    assert values["1-encoder"][0] in values["3-targets"]


def test_the_final_notebook_shows_what_there_is_and_how_to_complete_it(done, project):
    text = shown(done["4-transfer"])
    assert "1 of 3 target runs" in text and "make study STUDY=tour`" in text
    assert any("missing" in alternative for alternative in pictures(done["4-transfer"]))
    answer = (project / "runs/figures/tour/answer.md").read_text(encoding="utf-8")
    assert "one seed" in answer and "| missing |" in answer and "missing" in text


def test_your_own_task_gets_advice_from_real_runs(done, project):
    text = shown(done["9-your-task"])
    assert "**One seed cannot show that a run helps: take two or more.**" in text and "starred" not in text
    assert "| run | mean over | verdict |" in text and "| mnli | zero-shot | one seed |" in text
    assert "labels: organisation, person, place" in text and "too small to mean" in text
    for run in ("none", "mnli", "squad1"):
        assert (project / "runs/tour/targets" / run / "mine/seed1/mine/predictions.parquet").is_file()
    # trained by notebook 2, found again; the targets that notebook 3 scored stand beside
    assert "xnli" in text and len(pictures(done["9-your-task"])) == 2
    assert "200 examples to score" in text and "does not know" not in text


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_begins_with_what_to_run(name):
    """What that shows is tested in test_summaries."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
    parameters, first = [cell.source for cell in cells if cell.cell_type == "code"][:2]
    assert parameters.startswith(f'study = "tour-{name[2:]}"') and first.endswith("report_missing(load_study(study))")
