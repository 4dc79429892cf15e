"""A task is added by following CONTRIBUTING.md, and scored; its hooks refuse what they say."""

import os
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
import yaml

import commands
import toy
from small import SMALL
from xstilts.io import ROOT

END = ")  # fmt: skip\n\nTASKS ="  # of _FURTHER, the last table of tasks.py
STUDY_AT_ONCE = "import sys, small; small.at_once(sys.argv[1]).to_parquet(sys.argv[2])"


def block(language: str, part: str) -> str:
    (text,) = [text for text in commands.blocks("CONTRIBUTING.md", language) if part in text]
    return text


def test_a_task_is_added_by_following_the_text(tmp_path):
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    tasks = tmp_path / "lib" / "xstilts" / "tasks.py"
    text = tasks.read_text(encoding="utf-8")
    assert "scitail" not in text and text.count(END) == 1 and text.rindex("_FURTHER = (") < text.index(END)
    tasks.write_text(text.replace(END, block("python", '"scitail"') + END), encoding="utf-8")
    data = tmp_path / "data" / "scitail"
    data.mkdir(parents=True)
    for name in ("scitail_1.0_train", "scitail_1.0_dev", "test-en", "test-de"):
        (data / f"{name}.tsv").write_text(block("tsv", "entails"), encoding="utf-8")
    values = yaml.safe_load(block("yaml", "scitail"))
    assert values["files"]["root"] == "/path/to/data" and values["encoder"]["checkpoint"] == "/path/to/encoder"
    values["files"]["root"] = str(data.parent)
    values["encoder"]["checkpoint"] = str(toy.build_checkpoint(tmp_path / "encoder"))
    values |= {"runs": str(tmp_path / "runs"), "figures": str(tmp_path / "figures"), "training": SMALL["training"]}
    (tmp_path / "scitail.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-c", STUDY_AT_ONCE, tmp_path / "scitail.yaml", tmp_path / "results.parquet"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'lib'}:{ROOT / 'tests'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_parquet(tmp_path / "results.parquet")
    counts = table.groupby(["intermediate", "target", "language"], observed=True).size()
    assert counts.to_dict() == {(run, "scitail", code): 4 for run in ("none", "scitail") for code in ("en", "de")}
    assert set(table["metric"]) == {"accuracy"} and set(table["numerator"]) <= {0, 1}


@pytest.fixture
def do(tmp_path):
    """Runs a command in a small checkout of this project whose environment is this one."""
    outer = ("GIT_", "CONDA", *commands.OUTER)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    environment |= {f"GIT_{who}_{key}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment |= {"PRE_COMMIT_HOME": str(tmp_path / ".git" / "pre-commit"), "GIT_CONFIG_GLOBAL": os.devnull}
    environment |= {"MAKEFLAGS": "e", "ENV": sys.prefix, "STAMP": "pyproject.toml"}  # of the make that the hooks call

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for name in ("Makefile", "pyproject.toml", "requirements.txt", ".pre-commit-config.yaml", ".gitignore",
                 "lib/xstilts/__init__.py", "lib/xstilts/errors.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell('print("an output")', id="first")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "9-new.ipynb")
    for words in ("git init --quiet", "git add ."):
        assert run(*words.split()).returncode == 0, words
    return run


def test_a_notebook_with_outputs_and_a_wrong_type_cannot_be_committed(do, tmp_path):
    assert do(*commands.command(".venv/bin/pre-commit install")).returncode == 0
    path = tmp_path / "notebooks" / "9-new.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="an output")]
    nbformat.write(notebook, path)
    refused = do("git", "commit", "-qam", "with an output")
    assert refused.returncode and "9-new.ipynb" in refused.stdout + refused.stderr
    assert commands.command("make format")  # the text says so
    assert do("make", "format").returncode == 0 and not nbformat.read(path, as_version=4).cells[0].outputs
    clean = do("git", "commit", "-qam", "clean")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    with (tmp_path / "lib" / "xstilts" / "errors.py").open("a") as source:
        source.write("\n\ndef half(x: int) -> str:\n    return x / 2\n")
    refused = do("git", "commit", "-qam", "a wrong hint")
    assert refused.returncode and "Incompatible return value type" in refused.stdout + refused.stderr
