"""A study as jobs of a real Slurm cluster: two nodes, the same bits as here, and a node lost half-way."""

import subprocess
import time

import pandas as pd
import pytest
import yaml

import commands
import small
from cluster import NODES, cluster, missing
from xstilts.io import ROOT
from xstilts.study import load_study

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The study's results as this machine gives them without a cluster."""
    return small.at_once(small.write(tmp_path_factory.mktemp("here"), "small"))


@pytest.fixture
def command(tmp_path):
    """The command of a study through the shipped profile, for a cluster with no GPU, no accounting and little memory,
    looked at often."""
    values = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert values["set-resources"]["targets"]["gpu"] == "threads"
    values |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1, "latency-wait": 5}
    del values["set-resources"]
    values["default-resources"] = {"mem_mb": "attempt * 1500", "runtime": "attempt * 10"}

    def made(path, **changes):
        (tmp_path / "profile").mkdir()
        (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(values | changes))
        return commands.command("make study STUDY=xtreme PROFILE=slurm", STUDY=path, PROFILE=tmp_path / "profile")

    return made


def test_jobs_on_both_nodes_short_ones_together_give_the_bits_of_one_machine(slurm, here, command, tmp_path):
    path = small.write(tmp_path, "small")
    grouped = command(path, groups=["targets=phase3"], **{"group-components": ["phase3=2"]})
    done = subprocess.run(grouped, env=slurm.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = slurm.jobs()
    assert {node for _, node in jobs} == set(NODES) and {state for state, _ in jobs} == {"COMPLETED"}
    assert len(jobs) < 7
    pd.testing.assert_frame_equal(small.results(path), here)


def test_a_node_lost_half_way_loses_nothing(slurm, here, command, tmp_path):
    path, before = small.write(tmp_path, "small"), len(slurm.jobs())
    process = subprocess.Popen(
        command(path), env=slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    folder = load_study(path).folder
    try:
        while not (list(folder.glob("intermediate/*/seed1/log.txt")) and slurm.at_work("node1")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        slurm.lose("node1")
        output, _ = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "down" in slurm("sinfo", "-h", "-n", "node1", "-o", "%T") and len(slurm.jobs()) - before == 7
    pd.testing.assert_frame_equal(small.results(path), here)
