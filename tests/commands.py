"""The commands that README.md, CONTRIBUTING.md and docs/ show, executed from their own text."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from xstilts.io import ROOT

PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PATHS}
# variables of the make that runs the tests: they must not reach the one that a test runs
OUTER = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "STUDY", "SEEDS", "SEED", "RUN", "CORES", "GPU", "PROFILE", "CSV")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXTS[text], re.DOTALL)


def yaml_block(text: str, key: str, value: str = "") -> dict:
    """The one YAML block of a text with this key, and this value of it."""
    values = list(map(yaml.safe_load, blocks(text, "yaml")))
    (block,) = [block for block in values if key in block and value in ("", block[key])]
    return block


def shown(text: str) -> list[str]:
    """Every line of every shell block, without its comment."""
    lines = (line for block in blocks(text, "sh") for line in block.splitlines())
    return [shlex.join(words).replace("'", "") for line in lines if (words := shlex.split(line, comments=True))]


def command(line: str, **instead: object) -> list[str]:
    """The words of a command that a text shows, with other values for make's variables, where it is scaled down for the
    test: ``command("make study STUDY=xtreme", STUDY=path)``."""
    assert any(line in shown(text) for text in TEXTS), f"no text shows: {line}"
    program, *words = shlex.split(line)
    if program != "make":
        assert not instead and program.startswith(".venv/bin/"), line
        return [str(Path(sys.executable).with_name(Path(program).name)), *words]
    values = dict(word.split("=", 1) for word in words[1:]) | {name: str(value) for name, value in instead.items()}
    unset = [part for name in OUTER for part in ("-u", name)]
    environment = [f"ENV={sys.prefix}", "STAMP=pyproject.toml"]  # this environment, which is set up
    make = ["make", "--no-print-directory", "-C", str(ROOT), words[0], *environment]
    return ["env", *unset, *make, *(f"{name}={value}" for name, value in values.items())]


def run(line: str, **instead: object) -> str:
    """Execute a command that a text shows, see :func:`command`; what it printed. It must succeed."""
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command(line, **instead), cwd=ROOT, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout
