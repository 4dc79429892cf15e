"""README.md and docs/ are true: their commands, worked examples, links and numbers."""

import ast
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from torch.utils.tensorboard import SummaryWriter

import commands
import small
import toy
from xstilts import findings, speed
from xstilts.io import ROOT
from xstilts.results import read_stats
from xstilts.study import load_study

NLI = ("entailment", "neutral", "contradiction")
README = commands.TEXTS["README.md"]
# commands that tests do not run by ``commands.run`` or ``commands.command``, and where they are run
ELSEWHERE = {
    "make test": (".ci/run", "make test"),
    "make lint": (".ci/run", "make lint"),
    "make setup": ("tests/test_setup.py", 'sandbox.make("setup")'),
    "make lab": ("tests/test_lab.py", '["make", "lab"'),
    "make speed": ("Makefile", "notebooks/10-speed.ipynb"),
    "make speed QUICK=1": ("Makefile", "$(if $(QUICK)"),
    "make speed ARGS=-p layers 24 -p width 1024 -p heads 16 -p precision bf16": ("Makefile", "$(ARGS)"),
    "make study SEEDS=5": ("Makefile", "--seeds $(SEEDS)"),
    "make study STUDY=micro-lora": ("params/micro-lora.yaml", "name: micro-lora"),
    ".venv/bin/python -m pytest -q tests/test_metrics.py": ("Makefile", "$(BIN)python -m pytest -q"),
}
# as STUDY=distance; their tests run the phases
for name in ("files", "real", "real-quick", "xtreme", "source-language", "domain-shift", "retrieval"):
    ELSEWHERE[f"make study STUDY={name}"] = (f"params/{name}.yaml", f"name: {name}")


def executed() -> set[str]:
    """The commands that some test takes from a text and runs, by the calls that do it."""
    lines = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("commands.run", "commands.command"):
                lines.add(ast.literal_eval(node.args[0]))
    return lines


def test_every_command_is_executed():
    lines = {line for text in commands.TEXTS for line in commands.shown(text)}
    assert len(lines) > 20 and lines == executed() | set(ELSEWHERE)
    for line, (name, how) in ELSEWHERE.items():
        assert how in (ROOT / name).read_text(encoding="utf-8"), line


def test_studies_that_are_named_exist():
    for name in re.findall(r"\bSTUDY=([a-z][a-z-]*)(?![/a-z])", "\n".join(commands.TEXTS.values())):
        assert (ROOT / "params" / f"{name}.yaml").is_file(), name


def test_links_and_pictures_exist():
    titles = {name: re.findall(r"(?m)^#+ (.+)$", text) for name, text in commands.TEXTS.items()}
    for name, text in commands.TEXTS.items():
        for target in re.findall(r"\]\((?!https://)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            assert file.exists(), f"{name}: {target}"
            anchors = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in
                       titles.get(file.relative_to(ROOT).as_posix(), [])]  # fmt: skip
            assert not anchor or anchor in anchors, f"{name}: {target}"


def test_texts_are_short():
    assert len(README.splitlines()) <= 150 and len(commands.TEXTS["CONTRIBUTING.md"].splitlines()) <= 80


def test_every_module_is_described():
    described = re.findall(r"(?m)^\| (`.+`) \|", commands.TEXTS["CONTRIBUTING.md"])
    names = {name for row in described for name in re.findall(r"`([a-z_]+)`", row)}
    modules = {path.stem for path in (ROOT / "lib" / "xstilts").iterdir() if path.suffix in ("", ".py")}
    assert names == modules - {"__init__", "__pycache__", "tables"}


def test_the_answer_is_that_of_the_committed_figures():
    (shown,) = re.findall(r"<!-- answer -->\n(.*?)<!-- /answer -->", README, re.DOTALL)
    assert shown == (ROOT / "figures" / "micro" / "answer.md").read_text(encoding="utf-8")


def test_the_findings_are_those_of_the_committed_figures():
    (shown,) = re.findall(r"<!-- findings -->\n(.*?)\n<!-- /findings -->", README, re.DOTALL)
    table = pd.read_csv(ROOT / "figures" / "micro" / "findings.csv", dtype=str)
    assert shown == findings.sentence(table)


@pytest.mark.parametrize("study", ["distance", "source-language", "domain-shift", "retrieval"])
def test_committed_answers_are_of_every_run_and_seed(study):
    """Five seeds, every intermediate run of the study; each figure with its table."""
    folder = ROOT / "figures" / study
    answer = (folder / "answer.md").read_text(encoding="utf-8")
    assert "5 seeds" in answer and "issing" not in answer
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) >= 3
    for picture in pictures:
        assert picture.with_suffix(".csv").is_file() and picture.with_suffix(".svg").is_file()
    assert list(folder.glob("[5-8]-*.html"))


def test_committed_figures_are_of_the_whole_study():
    folder = ROOT / "figures" / "micro"
    table = pd.read_csv(folder / "heatmap-mean.csv", keep_default_na=False, na_values=[""])
    gains = table[(table["quantity"] == "gain")]
    expected = load_study("micro")
    assert set(table["intermediate"]) == set(expected.intermediate)
    assert set(expected.targets) < set(table["target"])
    assert gains["value"].notna().all() and (gains["low"] <= gains["value"]).all()
    assert set(table["seeds"]) == {5}
    for name in expected.targets:
        languages = pd.read_csv(folder / f"languages-{name}.csv", keep_default_na=False)
        assert not languages.empty, name


def test_an_encoder_that_was_never_trained_does_clearly_worse():
    """On the committed run: in the average over targets, with retrieval and without, and in every trained target."""
    table = pd.read_csv(ROOT / "figures" / "micro" / "controls.csv").set_index(["study", "target"])
    assert (table.loc["micro-untrained", "seeds"] >= 3).all() and set(table["language"]) == {"zero-shot"}
    ours, untrained = table.loc["micro"], table.loc["micro-untrained"]
    assert (ours["value"] > untrained["value"]).all()
    apart = ours["low"] > untrained["high"]
    assert apart.drop("xcopa").all(), "intervals overlap"  # of XCOPA they touch: 60.0 and 58.7
    for target in ("macro", "macro without retrieval"):
        ladder = [table.loc[(f"micro-{steps}", target), "value"] for steps in ("untrained", 1000, 2000)]
        assert sorted([*ladder, ours.loc[target, "value"]]) == [*ladder, ours.loc[target, "value"]]


def test_the_plan_of_the_papers_study_is_what_the_command_prints():
    plan = commands.run("make plan STUDY=xtreme GPU=A100-80GB")
    assert plan == (ROOT / "figures" / "xtreme" / "plan.txt").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- plan -->\n```text\n(.*?)```", README, re.DOTALL)
    head, title, total = table.splitlines()
    assert {head, total} <= set(plan.splitlines())
    assert title.split()[-8:] == "examples steps tokens tokens FLOPs hours disk done".split()


def test_the_line_of_speed_is_that_of_the_committed_figures():
    table = pd.read_csv(ROOT / "figures" / "speed" / "ratios.csv")
    (shown,) = re.findall(r"<!-- speed -->\n(.*?)\n<!-- /speed -->", README, re.DOTALL)
    assert shown == speed.sentence(table)
    items = zip(table["item"].str.partition(" (")[0], table["against"], strict=True)
    assert set(items) > set(speed.GOALS) and table["goal"].notna().sum() == len(speed.GOALS)


def test_tensorboard_reads_the_curves(tmp_path):
    with SummaryWriter(tmp_path / "runs" / "micro" / "intermediate" / "mnli" / "seed1" / "tensorboard") as curves:
        curves.add_scalar("loss", 0.5, 1)
    words = [*commands.command(".venv/bin/tensorboard --logdir runs/micro"), "--inspect"]  # instead of serving them
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "mnli" in done.stdout and "loss" in done.stdout


# The worked examples, on a few rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """XNLI, SICK and MRPC in their layouts, a few rows each."""
    data = tmp_path_factory.mktemp("data")
    for folder in ("xnli", "sick", "mrpc"):
        (data / folder).mkdir()
    lines = [f"the {a} sees a {b}\tthe {b} runs\t{label}" for a in "abcdefgh" for b in "ijk" for label in NLI]
    for language in ("en", "de"):
        (data / "xnli" / f"dev-{language}.tsv").write_text("\n".join(lines) + "\n")
    head = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"
    rows = [line.split("\t") for line in lines]
    for name in ("SICK_train", "SICK_trial"):
        sick = [f"{n}\t{name} {a}\t{b}\t4.5\t{label.upper()}" for n, (a, b, label) in enumerate(rows)]
        (data / "sick" / f"{name}.txt").write_text("\n".join([head, *sick]) + "\n")
    mrpc = [f"{n % 2}\t{n}1\t{n}2\t{a} {n}\t{b}" for n, (a, b, _) in enumerate(rows)]
    mrpc.insert(0, "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String")
    (data / "mrpc" / "msr_paraphrase_train.txt").write_text("\n".join(mrpc) + "\n")
    return data


def write(folder: Path, values: dict) -> Path:
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values | {"runs": str(folder / "runs"), "figures": str(folder / "figures")}))
    return path


def test_own_data_and_an_own_encoder(data, tmp_path):
    example = commands.yaml_block("docs/your-data.md", "name", "mine")
    assert example["files"]["root"] == "/path/to/data" and example["encoder"]["pretrain"]["steps"] == 2500
    example["files"]["root"], example["encoder"]["pretrain"]["steps"] = str(data), 2
    mine = write(tmp_path, example)
    small.every_run(mine, final=False)
    commands.run("make study STUDY=params/mine.yaml", STUDY=mine)
    stats = read_stats(load_study(mine))
    assert set(stats["intermediate"]) == {"none", "sick", "mrpc"} and set(stats["language"]) == {"en", "de"}
    assert (tmp_path / "figures" / "mine" / "heatmap-mean.png").is_file()

    example = commands.yaml_block("docs/your-data.md", "name", "mdeberta")
    assert example["based_on"] == "mine" and "/" in example["encoder"]["checkpoint"]
    assert example["encoder"].pop("revision").startswith("refs/pr/")  # on main it has no safetensors
    example["encoder"]["checkpoint"] = str(toy.build_checkpoint(tmp_path / "encoder"))
    other = write(tmp_path, example | {"based_on": str(mine), "intermediate": ["none"]})
    small.every_run(other)
    assert "nothing to do" in commands.run("make study STUDY=params/mdeberta.yaml", STUDY=other)
    assert len(read_stats(load_study(other))) == len(stats) / 3
