"""What the README says is so: its commands, its worked example, its links, its numbers."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import toy
from xstilts.results import read_stats
from xstilts.study import ROOT, load_study

NLI = ("entailment", "neutral", "contradiction")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), target


def test_commands_are_targets_of_the_makefile_and_name_studies_there_are():
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) > 5
    for make, target, *variables in commands:
        assert make == "make" and re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
        given = dict(variable.split("=") for variable in variables)
        assert set(given) <= {"STUDY", "SEEDS", "RUN", "SEED", "GPU", "PRECISION", "PROFILE"}
        assert (ROOT / "profiles" / given.get("PROFILE", "default") / "config.yaml").is_file()
        if given.get("STUDY") != "params/mine.yaml":  # the worked example, run below
            study = load_study(given.get("STUDY", "micro"), seeds=int(given["SEEDS"]) if "SEEDS" in given else None)
            assert study.controls or study.name != "micro"


def test_the_answer_is_that_of_the_committed_figures():
    said = re.search(r"<!-- answer -->\n(.*?)<!-- /answer -->", README, re.DOTALL)[1]
    assert said.strip() and said == (ROOT / "figures" / "micro" / "answer.md").read_text(encoding="utf-8")


def test_the_further_trainings_shown_are_those_of_the_distance_study():
    shown = next(block for block in map(yaml.safe_load, blocks("yaml")) if "further" in block)["further"]["direct"]
    shipped = yaml.safe_load((ROOT / "params" / "distance.yaml").read_text(encoding="utf-8"))["further"]["direct"]
    assert shown.items() <= shipped.items()


@pytest.mark.parametrize("study", ["distance", "source-language", "domain-shift", "retrieval"])
def test_committed_answers_are_of_every_run_and_seed(study):
    """Three seeds, every intermediate run of the study; each figure with its table."""
    folder = ROOT / "figures" / study
    said = (folder / "answer.md").read_text(encoding="utf-8")
    assert "3 seeds" in said and "issing" not in said
    for picture in folder.glob("*.png"):
        assert picture.with_suffix(".csv").is_file() and picture.with_suffix(".svg").is_file()
    assert list(folder.glob("[5-8]-*.html"))


@pytest.mark.parametrize("study", ["micro", "files"])
def test_committed_figures_are_of_the_whole_study(study):
    folder = ROOT / "figures" / study
    table = pd.read_csv(folder / "heatmap-mean.csv", keep_default_na=False, na_values=[""])
    gains = table[(table["quantity"] == "gain")]
    expected = load_study(study)
    assert set(table["intermediate"]) == set(expected.intermediate)
    assert set(expected.targets) < set(table["target"])
    assert gains["value"].notna().all() and (gains["low"] <= gains["value"]).all()
    assert set(table["seeds"]) == {5 if study == "micro" else expected.seeds}
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
    assert apart.drop("xnli").all(), "intervals overlap"  # of XNLI they touch: 36.7 and 40.3
    for target in ("macro", "macro without retrieval"):
        ladder = [table.loc[(f"micro-{steps}", target), "value"] for steps in ("untrained", 1000, 2000)]
        assert sorted([*ladder, ours.loc[target, "value"]]) == [*ladder, ours.loc[target, "value"]]


def test_the_plan_of_the_papers_study_is_what_the_command_prints(tmp_path):
    command = [sys.executable, "-m", "xstilts", "plan", "xtreme", "--gpu", "A100-80GB"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True, check=True)
    assert blocks("text")[0].strip() == done.stdout.strip()


def test_the_worked_example_runs(tmp_path):
    data = tmp_path / "data"
    for folder in ("xnli", "sick", "mrpc"):
        (data / folder).mkdir(parents=True)
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
    toy.build_checkpoint(tmp_path / "encoder")

    example = next(block for block in map(yaml.safe_load, blocks("yaml")) if block.get("name") == "mine")
    assert example["files"]["root"] == "/path/to/data" and example["encoder"]["checkpoint"] == "/path/to/encoder"
    example["files"]["root"], example["encoder"]["checkpoint"] = str(data), str(tmp_path / "encoder")
    example |= {"runs": str(tmp_path / "runs"), "figures": str(tmp_path / "figures")}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(example))
    outer = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "STUDY", "SEEDS"))
    }
    command = ["make", "study", f"STUDY={path}", "SEEDS=1"]
    done = subprocess.run(command, cwd=ROOT, env=outer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stats = read_stats(load_study(path))
    assert set(stats["intermediate"]) == {"none", "sick", "mrpc"} and set(stats["language"]) == {"en", "de"}
    assert Path(tmp_path / "figures" / "mine" / "heatmap-mean.png").is_file()
