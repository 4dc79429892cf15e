"""The study through its own command: notebooks, Snakemake, papermill; killed and resumed."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
import yaml
from bs4 import BeautifulSoup

import commands
import distance_truth
import small
from xstilts.io import ROOT, read_record
from xstilts.results import read_stats
from xstilts.runs import Run, list_runs
from xstilts.study import load_study

KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining")
SMALL = {"train": 200, "dev": 30, "test": 30}
STUDY = {
    "intermediate": ["none", "mnli", "hellaswag+mlm", "mnli+squad1@mt"],
    "targets": ["xnli", "udpos", "xquad", "mlqa", "xcopa", "bucc", "tatoeba"],
    "micro": {"documents": 1500} | dict.fromkeys(KINDS, SMALL),
    "encoder": {"pretrain": {"steps": 30, "log_every": 10}},
    "training": {
        "intermediate": {"steps": 12, "learning_rate": 0.001},
        "target": {"steps": 12, "learning_rate": 0.001},
        "max_length": dict.fromkeys((*KINDS[:4], "retrieval", "mlm"), 158) | {"stride": 64},
        "mix": {"mlm_documents": 100},
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


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "xstilts", "study", str(path), "--cores", "2"]


def run(path: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(path), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small study, run from nothing to the final notebook."""
    path = write(tmp_path_factory.mktemp("study"), "small")
    result = run(path)
    assert result.returncode == 0, result.stdout + result.stderr
    return path, result


def proofs(path: Path) -> dict[str, int]:
    """When each run that is done was, by its name."""
    study = load_study(path)
    found = {job.name: job.folder(study) / "run.json" for job in list_runs(study)}
    return {name: proof.stat().st_mtime_ns for name, proof in found.items() if proof.is_file()}


def results(path: Path) -> pd.DataFrame:
    study = load_study(path)
    parts = [run.folder(study) / "stats.parquet" for run in list_runs(study) if run.phase == "targets"]
    return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True).drop(columns="study")


def test_every_notebook_ran_and_left_its_proof(finished):
    path, result = finished
    study = load_study(path)
    for job in list_runs(study):
        record = read_record(job.folder(study) / "run.json")
        assert record["run"] == job.name and record["packages"]["torch"] and record["seconds"] > 0
        cells = nbformat.read(job.folder(study) / "notebook.ipynb", 4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    drawn = [f"languages-{target}" for target in study.targets]
    for name in ("heatmap-mean", "heatmap-zero-shot", "macro", "distance", "controls", *drawn):
        for kind in ("png", "svg", "csv"):
            assert (study.figures_folder / f"{name}.{kind}").stat().st_size > 100
    page = (study.figures_folder / "4-transfer.html").read_text(encoding="utf-8")
    said = [image["alt"] for image in BeautifulSoup(page, "html.parser").find_all("img")]
    assert len(said) == len(drawn) + 5 and all(re.search(r": (\d+ values, from )?[−+]?\d", text) for text in said)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"http", page), "the page needs the network"
    said = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    for phase, count in (("encoder", 1), ("intermediate", 3), ("targets", 4), ("transfer", 1)):
        mine = [line for line in said if line.startswith(f"  {phase}: ")]
        assert mine[-1].startswith(f"  {phase}: {count} of {count} done in "), result.stdout
        assert sum(" done in " in line for line in mine) == 1
    assert "notebook.ipynb" in result.stdout


def test_scores_cover_every_target_language_and_run(finished):
    path, _ = finished
    study, table = load_study(path), results(path)
    assert set(table["intermediate"]) == set(study.intermediate)
    assert set(table["target"]) == set(study.targets)
    languages = table.groupby("target")["language"].nunique()
    assert languages["xnli"] == 8 and languages["tatoeba"] == 7
    assert (table.groupby(["intermediate", "target", "language", "metric"]).size() <= SMALL["test"]).all()
    assert table["denominator"].ge(0).all() and table["numerator"].le(table["denominator"]).all()


def test_records_say_which_checkpoint_was_taken(finished):
    study = load_study(finished[0])
    run = read_record(Run("intermediate", 1, "mnli+squad1@mt").folder(study) / "run.json")
    record, dev = run["training"], run["training"]["dev"]
    assert [entry["step"] for entry in record["selection"]["curve"]] == [5, 10, 12]
    best = {entry["step"]: entry for entry in record["selection"]["curve"]}[record["selection"]["best_step"]]
    # the whole development set: the weights that were kept score there what they were chosen for
    assert best["mnli"] == dev["mnli"]["accuracy"] and best["squad1"] == sum(dev["squad1"].values()) / 2
    assert best["score"] == (best["mnli"] + best["squad1"]) / 2 == record["selection"]["best_score"]
    assert record["dropped"] == {"mnli": 0, "squad1": 0} and record["examples"]["mnli"] == 7 * SMALL["train"]
    targets = Run("targets", 1, "none", "all").folder(study)
    scored = read_record(targets / "xnli" / "scored.json")
    assert [entry["step"] for entry in scored["selection"]["curve"]] == [4, 8, 12]
    assert {entry["score"] % 10 for entry in scored["selection"]["curve"]} == {0}  # of ten examples
    assert "selection" not in read_record(targets / "udpos" / "scored.json")


def test_a_second_run_does_nothing(finished):
    path, _ = finished
    before = proofs(path)
    result = run(path)
    assert result.returncode == 0 and "nothing to do" in result.stdout
    assert before == proofs(path)


def test_a_study_that_shares_runs_does_its_own_alone(finished):
    path, _ = finished
    base, before = load_study(path), proofs(path)
    more = path.with_name("more.yaml")
    direct = {"targets": ["xcopa", "xquad"], "training_languages": ["each"], "examples": [20], "scored_in": "own"}
    more.write_text(
        yaml.safe_dump({"based_on": str(path), "name": "more", "shares": "small", "further": {"direct": direct}})
    )
    shared = proofs(more)
    result = run(more)
    assert result.returncode == 0, result.stdout + result.stderr
    assert dict(proofs(more).items() - shared.items()).keys() == {"targets/none/direct/seed1", "transfer"}
    study = load_study(more)
    found = read_stats(study, ["direct"])
    assert set(zip(found["target"], found["training_language"], found["language"], strict=True)) == {
        (target, code, code) for target in direct["targets"] for code in base.micro.languages[1:]
    }
    assert set(found["examples"]) == {20} and set(found["study"]) == {"small"}
    record = read_record(Run("targets", 1, "none", "direct").folder(study) / "xquad@qab=20" / "scored.json")
    assert record["steps"] == 12
    assert (study.own_folder / "transfer" / "notebook.ipynb").is_file()
    pd.testing.assert_frame_equal(read_stats(study), read_stats(base))
    result = run(path)  # what was added beside its runs is nothing to it
    assert "nothing to do" in result.stdout
    assert before == proofs(path)


def test_the_question_of_distance_is_answered_beside_a_finished_study(finished):
    path, _ = finished
    distance = path.with_name("far.yaml")
    direct = {"targets": ["udpos", "xquad"], "training_languages": ["source", "each"], "examples": [10, 0]}
    keys = {"based_on": str(path), "name": "far", "shares": "small", "question": "distance"}
    distance.write_text(yaml.safe_dump(keys | {"further": {"direct": direct | {"scored_in": "own"}}}))
    shared = proofs(distance)
    commands.run("make study STUDY=distance", STUDY=distance)
    assert dict(proofs(distance).items() - shared.items()).keys() == {"targets/none/direct/seed1", "distance"}
    study = load_study(distance)
    distance_truth.check(study, ["mnli", "hellaswag+mlm"], load_study(path).micro.languages[1:])
    for name in distance_truth.FIGURES:
        assert (study.figures_folder / f"{name}.png").stat().st_size > 1000
    answer = (study.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert "Gain of intermediate training in the source language" in answer and "Missing" not in answer
    assert (study.figures_folder / "5-distance.html").stat().st_size > 100_000


def test_a_mistake_is_one_message_and_starts_nothing(tmp_path):
    path = write(tmp_path, "wrong", intermediate=["none", "mnlli"])
    result = run(path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and 'did you mean "mnli"' in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("study", ["small", "files"])
def test_the_opening_notebook_runs_on_both_sources(tmp_path, study):
    """No run of a study needs notebook 0; the others ran above."""
    if study == "files" and not (ROOT / load_study("files").files.root).is_dir():
        pytest.skip("no real data here")
    changes = {"based_on": "files", "name": "looked-at", "runs": str(tmp_path / "runs")}
    path = write(tmp_path, study)
    if study == "files":
        path.write_text(yaml.safe_dump(changes))
    done = papermill.execute_notebook(
        ROOT / "notebooks" / "0-tasks.ipynb", tmp_path / "0.ipynb", {"study": str(path)}, kernel_name="python3",
        cwd=ROOT / "notebooks", progress_bar=False, **small.kernel(tmp_path),
    )  # fmt: skip
    shown = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    tables = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert len(tables) == 3 + len(load_study(path).targets)  # languages, targets, runs; an example of each target
