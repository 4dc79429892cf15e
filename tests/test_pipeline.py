"""A study through the commands that the texts show: Snakemake, papermill, notebooks; and what can follow it."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

import commands
import small
from synthetic import run_cells
from xstilts.io import ROOT, read_record
from xstilts.results import read_stats
from xstilts.runs import Run, list_runs
from xstilts.study import load_study
from xstilts.submission import default_folder
from xstilts.workflow import discard_stale

KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining")
SMALL = {"train": 60, "dev": 20, "test": 20}
STUDY = {
    "intermediate": ["none", "mnli", "mnli+squad1@mt"],
    "targets": ["xnli", "udpos", "xquad", "mlqa", "tatoeba"],
    "micro": {"documents": 200, "languages": ["qaa", "qab", "qac", "qad", "qae"]} | dict.fromkeys(KINDS, SMALL),
    "encoder": {"pretrain": {"steps": 10, "log_every": 5, "layers": 2, "width": 32, "feed_forward": 64}},
    "training": {
        "intermediate": {"steps": 12, "learning_rate": 0.001},
        "target": {"steps": 12, "learning_rate": 0.001},
        "max_length": dict.fromkeys((*KINDS[:4], "retrieval", "mlm"), 158) | {"stride": 64},
        "overrides": {
            "mnli+squad1@mt": {"evaluate_every": 5},
            "target/mnli": {"evaluate_every": 4, "evaluate_examples": 10, "accumulate": 2},
        },
    },
}


def write(folder: Path, name: str, **changes) -> Path:
    path = folder / f"{name}.yaml"
    values = STUDY | {"name": name, "runs": str(folder / "runs"), "figures": str(folder / "figures")} | changes
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, server):
    """(a small study, what its command printed: it does one intermediate run, its targets and the final notebook)."""
    path = write(tmp_path_factory.mktemp("study"), "small")
    small.every_run(path, final=False, but="mnli+squad1@mt")
    return path, commands.run("make study STUDY=tour", STUDY=path, CORES=2)


def times(path: Path) -> dict[str, int]:
    """When each run that is done was, by its name."""
    study = load_study(path)
    records = {run.name: run.folder(study) / "run.json" for run in list_runs(study)}
    return {name: record.stat().st_mtime_ns for name, record in records.items() if record.is_file()}


def test_every_notebook_ran_and_left_its_proof(finished):
    path, output = finished
    study = load_study(path)
    for job in [run for run in list_runs(study) if run.final or "squad1" in run.intermediate]:
        record = read_record(job.folder(study) / "run.json")
        assert record["run"] == job.name and record["packages"]["torch"] and record["seconds"] > 0
        cells = nbformat.read(job.folder(study) / "notebook.ipynb", 4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    drawn = [f"languages-{target}" for target in study.targets]
    for name in ("heatmap-mean", "heatmap-zero-shot", "macro", "distance", "controls", *drawn):
        for kind in ("png", "svg", "csv"):
            assert (study.figures_folder / f"{name}.{kind}").stat().st_size > 100
    page = (study.figures_folder / "4-transfer.html").read_text(encoding="utf-8")
    alternatives = [image["alt"] for image in BeautifulSoup(page, "html.parser").find_all("img")]
    assert len(alternatives) == len(drawn) + 5
    (few,) = [text for text in alternatives if "rho" in text]  # four zero-shot languages are too few for a correlation
    assert few.endswith(f"Spearman's rho: no values; {len(drawn)} missing.")
    alternatives.remove(few)
    assert all(re.search(r": (\d+ values, from )?[−+]?\d", text) for text in alternatives)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"http", page), "the page needs the network"
    for phase in ("intermediate", "targets", "transfer"):
        lines = [line for line in output.splitlines() if line.startswith(f"  {phase}: ")]
        assert lines[-1].startswith(f"  {phase}: 1 of 1 done in "), output
        assert sum(" done in " in line for line in lines) == 1
    coverage = "one seed: the intervals cover test examples alone, so nothing is said to help or to hurt."
    sentence = f"\nIn the generated micro-world (constructed languages; not XTREME): {coverage}\n"
    assert sentence in output.partition("minutes")[2] and "\nfigures: " in output and "notebook.ipynb" in output


def test_records_say_which_checkpoint_was_taken(finished):
    study = load_study(finished[0])
    run = read_record(Run("intermediate", 1, "mnli+squad1@mt").folder(study) / "run.json")
    record, dev = run["training"], run["training"]["dev"]
    assert [entry["step"] for entry in record["selection"]["curve"]] == [5, 10, 12]
    best = {entry["step"]: entry for entry in record["selection"]["curve"]}[record["selection"]["best_step"]]
    # the whole development set: the weights that were kept score there what they were chosen for
    assert best["mnli"] == dev["mnli"]["accuracy"] and best["squad1"] == sum(dev["squad1"].values()) / 2
    assert best["score"] == (best["mnli"] + best["squad1"]) / 2 == record["selection"]["best_score"]
    assert record["dropped"] == {"mnli": 0, "squad1": 0} and record["examples"]["mnli"] == 4 * SMALL["train"]
    targets = Run("targets", 1, "none", "all").folder(study)
    scored = read_record(targets / "xnli" / "scored.json")
    assert [entry["step"] for entry in scored["selection"]["curve"]] == [4, 8, 12]
    assert {entry["score"] % 10 for entry in scored["selection"]["curve"]} == {0}  # of ten examples
    assert "selection" not in read_record(targets / "udpos" / "scored.json")


def test_commands_on_a_finished_study(finished):
    path, before = finished[0], times(finished[0])
    study = load_study(path)
    assert "nothing to do" in commands.run("make study", STUDY=path)
    plan = commands.run("make plan GPU=A100-80GB PRECISION=bf16", STUDY=path)
    assert "A100-80GB, 40% of" in plan and "Already done: 6 of 6 runs" in plan
    assert "All runs are done" in commands.run("make status STUDY=xtreme", STUDY=path)
    output = commands.run("make submission STUDY=micro RUN=mnli SEED=1", STUDY=path)
    assert "xnli: 0 of XTREME's 15 languages (5 others)" in output
    submitted = default_folder(study, "mnli", 1) / "xnli" / "test-qab.tsv"
    assert set(submitted.read_text().split()) <= {"entailment", "neutral", "contradiction"}
    commands.run("make report", STUDY=path)
    assert (study.own_folder / "report" / "index.html").stat().st_size > 1000
    assert before == times(path)


def test_the_question_of_distance_shares_runs_and_does_its_own_alone(finished):
    path, before = finished[0], times(finished[0])
    base, distance = load_study(path), path.with_name("far.yaml")
    direct = {"targets": ["xquad"], "training_languages": ["source", "each"], "examples": [10, 0]}
    keys = {"based_on": str(path), "name": "far", "shares": "small", "question": "distance"}
    distance.write_text(yaml.safe_dump(keys | {"further": {"direct": direct | {"scored_in": "own"}}}))
    study = load_study(distance)
    own = Run("targets", 1, "none", "direct")
    small.at_once(distance, [own])
    small.prove(study, [own, Run("distance")])  # test_distance executes its notebook
    assert "nothing to do" in commands.run("make study STUDY=distance", STUDY=distance)
    assert before == times(path) and not discard_stale(base)  # what was added beside its runs is nothing to it
    stats = read_stats(study, ["direct"])
    elsewhere = stats[stats["training_language"] != "source"]
    assert set(zip(elsewhere["target"], elsewhere["training_language"], elsewhere["language"], strict=True)) == {
        (target, code, code) for target in direct["targets"] for code in base.micro.languages[1:]
    }
    assert set(stats["examples"]) == {10, 0} and set(stats["study"]) == {"small"}
    record = read_record(Run("targets", 1, "none", "direct").folder(study) / "xquad@qab=10" / "scored.json")
    assert record["steps"] == 12
    pd.testing.assert_frame_equal(read_stats(study), read_stats(base))


def test_a_control_beside_the_study(finished):
    values = yaml.safe_load((ROOT / "params" / "micro-untrained.yaml").read_text(encoding="utf-8"))
    assert values["based_on"] == "micro"
    control = finished[0].with_name("micro-untrained.yaml")
    control.write_text(yaml.safe_dump(values | {"based_on": str(finished[0]), "targets": ["xnli", "tatoeba"]}))
    small.every_run(control)
    assert "nothing to do" in commands.run("make study STUDY=micro-untrained SEEDS=3", STUDY=control, SEEDS=1)
    assert set(read_stats(load_study(control))["intermediate"]) == {"none"}


def test_an_own_task_beside_a_finished_study(finished):
    path = finished[0]
    example = commands.yaml_block("README.md", "name", "support")
    own = example["own"]["support"]
    teams = {"pay": "billing", "log in": "access", "print": "devices"}
    folder = path.with_name("support")
    folder.mkdir()
    for name, people in {"train": "Ada Ben Cem Dan Eve", "test-qaa": "Fay Gil Hal", "test-qab": "Ida Jon Kim"}.items():
        rows = [f"{who} cannot {what},{team}" for who in people.split() for what, team in teams.items()]
        (folder / f"{name}.csv").write_text("\n".join([f"{own['text_a']},{own['label']}", *rows]) + "\n")
    for key in ("train", "test"):
        assert own[key].startswith("data/support/")
        own[key] = own[key].replace("data/support", str(folder))
    changes = {"based_on": str(path), "shares": "small", "intermediate": ["none", "mnli"], "languages": ["qaa", "qab"]}
    study = path.with_name("support.yaml")
    study.write_text(yaml.safe_dump(example | changes))
    small.every_run(study)
    assert "nothing to do" in commands.run("make study STUDY=params/support.yaml", STUDY=study)
    stats = read_stats(load_study(study))
    assert set(stats["target"]) == {"support"} and set(stats["intermediate"]) == {"none", "mnli"}
    assert set(stats["language"]) == {"qaa", "qab"}


def test_a_mistake_is_one_message_and_starts_nothing(tmp_path):
    path = write(tmp_path, "wrong", intermediate=["none", "mnlli"])
    command = [sys.executable, "-m", "xstilts", "study", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and 'did you mean "mnli"' in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not (ROOT / load_study("files").files.root).is_dir(), reason="no real data here")
def test_the_opening_notebook_runs_on_real_files(tmp_path):
    """No run of a study needs notebook 0; test_notebooks executes it on the micro-world."""
    path = tmp_path / "files.yaml"
    path.write_text(yaml.safe_dump({"based_on": "files", "name": "looked-at", "runs": str(tmp_path / "runs")}))
    study = load_study(path)
    targets = run_cells(study, ROOT / "notebooks" / "0-tasks.ipynb")["targets"]
    assert list(targets) == list(study.targets) and all(target["languages"] for target in targets.values())
