"""A study as jobs of a real Slurm cluster: two nodes, one lost half-way, the same bits as here."""

import shutil
import subprocess
import time

import pandas as pd
import pytest
import yaml

import commands
import small
from cluster import cluster, missing
from xstilts.io import ROOT
from xstilts.runs import Run
from xstilts.study import load_study

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as daemons:
        yield daemons


@pytest.fixture
def profile(tmp_path):
    """The shipped profile for a cluster with no GPU, no accounting and little memory, looked at often; short jobs are
    submitted together."""
    values = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert values["set-resources"]["targets"]["gpu"] == "threads"
    values |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1, "latency-wait": 5}
    values |= {"default-resources": {"mem_mb": "attempt * 1500", "runtime": "attempt * 10"}}
    values |= {"groups": ["targets=phase3"], "group-components": ["phase3=2"]}
    del values["set-resources"]
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "profile"


def test_a_node_lost_half_way_loses_nothing(server, slurm, profile, tmp_path):
    """And jobs of a cluster, some of them submitted together, give the bits of one machine. The encoder is there."""
    path = small.write(tmp_path, "small", intermediate=["none"])
    expected, study = small.at_once(path), load_study(path)
    small.prove(study, [Run("encoder", 1)])
    shutil.rmtree(study.folder / "targets")
    words = commands.command("make study STUDY=xtreme PROFILE=slurm", STUDY=path, PROFILE=profile)
    process = subprocess.Popen(
        words, env=slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        while not (list(study.folder.glob("targets/*/*/seed1/log.txt")) and slurm.at_work("node1")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        slurm.lose("node1")
        output, _ = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "down" in slurm("sinfo", "-h", "-n", "node1", "-o", "%T")
    jobs = slurm.jobs()
    assert "node2" in {node for _, node in jobs} and {state for state, _ in jobs} == {"COMPLETED"} and len(jobs) == 2
    pd.testing.assert_frame_equal(small.results(path), expected)
