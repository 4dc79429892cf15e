"""A study as jobs of a real Slurm cluster: two nodes, the same bits as here, and a node lost half-way."""

import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from cluster import NODES, cluster, missing
from test_pipeline import results, run, write
from xstilts.study import ROOT, load_study

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
SMALL = {"intermediate": ["none", "mnli", "squad1"], "targets": ["xnli", "tatoeba"]}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The study's results as this machine gives them without a cluster."""
    path = write(tmp_path_factory.mktemp("here"), "small", **SMALL)
    done = run(path)
    assert done.returncode == 0, done.stdout + done.stderr
    return results(path)


@pytest.fixture
def profile(tmp_path):
    """The shipped profile for a cluster with no GPU, no accounting and little memory, looked at often."""
    values = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert values["set-resources"]["targets"]["gpu"] == "threads"
    values |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1, "latency-wait": 5}
    del values["set-resources"]
    values["default-resources"] = {"mem_mb": "attempt * 1500", "runtime": "attempt * 10"}

    def made(**changes):
        (tmp_path / "profile").mkdir(exist_ok=True)
        (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(values | changes))
        return tmp_path / "profile"

    return made


def command(path, profile):
    return [sys.executable, "-m", "xstilts", "study", str(path), "--profile", str(profile)]


def test_jobs_on_both_nodes_give_the_bits_of_one_machine(slurm, here, profile, tmp_path):
    path = write(tmp_path, "small", **SMALL)
    done = subprocess.run(command(path, profile()), env=slurm.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = slurm.jobs()
    assert len(jobs) == 7 and {node for _, node in jobs} == set(NODES) and {state for state, _ in jobs} == {"COMPLETED"}
    pd.testing.assert_frame_equal(results(path), here)


def test_short_jobs_may_be_submitted_together(slurm, here, profile, tmp_path):
    path, before = write(tmp_path, "small", **SMALL), len(slurm.jobs())
    grouped = profile(groups=["targets=phase3"], **{"group-components": ["phase3=2"]})
    done = subprocess.run(command(path, grouped), env=slurm.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(slurm.jobs()) - before < 7
    pd.testing.assert_frame_equal(results(path), here)


def test_a_node_lost_half_way_loses_nothing(slurm, here, profile, tmp_path):
    path = write(tmp_path, "small", **SMALL)
    process = subprocess.Popen(
        command(path, profile()), env=slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    folder = load_study(path).folder
    while not (list(folder.glob("intermediate/*/seed1/trainer")) and ("RUNNING", "node1") in slurm.jobs()):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    slurm.lose("node1")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert "down" in slurm("sinfo", "-h", "-n", "node1", "-o", "%T")
    pd.testing.assert_frame_equal(results(path), here)
