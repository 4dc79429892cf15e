"""The table of what was done to studies and what was lost: ``python tests/faults.py`` runs the tests that inject
faults and writes figures/faults/faults.csv and faults.md from what they did.

A line of the table is a test that injects something; its cases were counted as they ran. One that fails counts as a
result lost; one that was skipped (no Slurm, no right to mount a disk) as not tried.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as XML
from pathlib import Path

import pandas as pd

from xstilts.io import ROOT, write_table, write_text

# test file -> test -> (what it does to a study, in words; what a case of it is; how many of these in each case)
FAULTS = {
    "test_failures": {
        "test_what_fails_is_said_and_does_not_stop_the_others": (
            "a loss that is NaN, a damaged set, a file in the place of a set", "faults", 3
        ),
        "test_whatever_is_killed_the_same_command_ends_with_the_same_scores": (
            "SIGKILL of a kernel, of Snakemake, of the command, each alone, and of all at once", "kills", 4
        ),
        "test_a_running_study_is_watched_and_stopped": ("SIGTERM of a command; two more on its folder", "kills", 1),
        "test_a_kernel_without_memory_says_so": ("no memory; a kernel killed by SIGKILL, SIGTERM", "faults", 1),
        "test_a_full_disk_is_said_and_once_there_is_room_the_run_ends": ("a full disk", "faults", 1),
        "test_a_notebook_that_cannot_be_written_is_a_full_disk": ("a notebook on a full disk", "faults", 1),
        "test_halves_are_never_there": ("a write cut short, a record cut short", "faults", 2),
        "test_what_was_overwritten_half_way_is_not_taken_for_what_it_was": (
            "killed before the record, settings changed back", "kills", 1
        ),
    },
    "test_resume": {
        "test_killed_anywhere_a_study_ends_with_the_same_bits": (
            "SIGKILL or SIGTERM inside pretraining, training, scoring and writing", "kills", 12
        ),
    },
    "test_slurm": {"test_a_node_lost_half_way_loses_nothing": ("a node of a cluster taken down", "kills", 1)},
    "test_stale": {
        "test_parameters": ("a parameter changed", "changes", 1),
        "test_the_definition_of_a_task": ("a task's definition changed", "changes", 1),
        "test_the_code_of_a_phase": ("a phase's code changed", "changes", 1),
        "test_a_notebook": ("a notebook edited: metadata, outputs, code", "changes", 3),
        "test_an_input_file": ("an input file changed", "changes", 1),
        "test_the_contents_of_a_checkpoint": ("a byte of a checkpoint changed", "changes", 1),
    },
    "test_hostile": {"": ("hostile inputs", "inputs", 1)},
}  # fmt: skip


def run_tests(folder: Path) -> list[tuple[str, str, str]]:
    """(file, test, outcome) of every case."""
    files = [ROOT / "tests" / f"{name}.py" for name in FAULTS if (ROOT / "tests" / f"{name}.py").is_file()]
    report = folder / "report.xml"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'tests'}"}
    chosen = [f"{path}::{test}" if test else str(path) for path in files for test in FAULTS[path.stem]]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile", f"--junitxml={report}", *chosen],
        cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    return read_report(report)


def read_report(report: Path) -> list[tuple[str, str, str]]:
    found = []
    for case in XML.parse(report).iter("testcase"):
        bad = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "passed" if not bad else "skipped" if bad == {"skipped"} else "failed"
        found.append((case.get("classname").rpartition(".")[2], case.get("name").partition("[")[0], outcome))
    return found


def table(cases: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Columns what, unit (faults, kills, inputs, changes), tried, lost, not_tried."""
    rows = []
    for file, tests in FAULTS.items():
        for test, (what, unit, each) in tests.items():
            outcomes = [outcome for where, name, outcome in cases if where == file and test in ("", name)]
            counts = {outcome: each * outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
            if outcomes:
                tried = counts["passed"] + counts["failed"]
                rows.append((what, unit, tried, counts["failed"], counts["skipped"], f"{file}::{test}".rstrip(":")))
    return pd.DataFrame(rows, columns=["what", "unit", "tried", "lost", "not_tried", "test"])


def markdown(found: pd.DataFrame) -> str:
    sums = found.groupby("unit")["tried"].sum()
    names = {"faults": "faults injected", "kills": "runs killed", "inputs": "inputs tried", "changes": "changes made"}
    head = ", ".join(f"{names[unit]}: {sums[unit]}" for unit in names if unit in sums)
    lines = [f"{head}; results lost: {found['lost'].sum() or 'zero'}", "", "| what | tried | lost | not tried here |"]
    lines += ["|---|---|---|---|"]
    for row in found.itertuples():
        unit = row.unit.removesuffix("s") if row.tried == 1 else row.unit
        lines.append(f"| {row.what} | {row.tried} {unit} | {row.lost} | {row.not_tried} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cases = read_report(Path(sys.argv[1])) if len(sys.argv) > 1 else run_tests(Path(folder))
    if importlib.util.find_spec("hostile"):
        import hostile

        there = sum(file == "test_hostile" for file, _, _ in cases)
        print(f"{len(hostile.CASES)} hostile inputs are declared; {there} cases ran")
    found = table(cases)
    write_table(found, ROOT / "figures" / "faults" / "faults.csv")
    write_text(ROOT / "figures" / "faults" / "faults.md", markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
