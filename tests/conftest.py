"""What every test runs under, set before any library is imported."""

import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from xstilts import warm

WORKER = "PYTEST_XDIST_WORKER" in os.environ

os.environ["OMP_NUM_THREADS"] = "1"  # tests run one per core
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "agg"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if DATA.is_dir():
    os.environ["XSTILTS_DATA"] = str(DATA)  # of the studies of real files
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that needs the network fails everywhere, not only in the gate
if not WORKER:  # workers inherit it
    for name in ("incomplete", "metadata"):  # of several Snakemakes that are the first here, one may fail
        (Path(__file__).parents[1] / ".snakemake" / name).mkdir(parents=True, exist_ok=True)
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="xstilts-tests-")  # not the user's caches


@contextmanager
def serving():
    """One process that jobs, kernels and functions of tests are forks of, as those of a study are."""
    with tempfile.TemporaryFile("w") as log, ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        with pytest.MonkeyPatch.context() as imports:
            imports.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
            environment, _ = stack.enter_context(warm.server(log))
        patch.setenv(warm.ADDRESS, environment[warm.ADDRESS])
        yield


SHARED = ExitStack()  # what all workers share


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        SHARED.enter_context(serving())


@pytest.fixture(scope="session")
def server():
    """From here on there is that process, also without workers."""
    with serving():
        yield


def pytest_xdist_auto_num_workers(config):
    """One more than the processors this process may use, as some tests wait for jobs; pytest-xdist itself counts the
    machine's physical cores."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


# whole studies, minutes each: begun last they would be waited for
LONG = ("test_failures", "test_pipeline", "test_slurm", "test_processes", "test_warm", "test_notebooks", "test_memory",
        "test_readme", "test_speed", "test_report", "test_distance", "test_hub_pipeline", "test_resume", "test_own",
        "test_contributing")  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True)
def _job():
    """What the execution of a run leaves in its process, where that goes on."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    os.environ["MPLBACKEND"] = "agg"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A random encoder for the sentences of test_training.py."""
    from test_training import WORDS
    from toy import build_checkpoint

    return build_checkpoint(tmp_path_factory.mktemp("encoder") / "checkpoint", [" ".join(WORDS)] * 20)


@pytest.fixture(scope="session")
def tokenizer(checkpoint):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="session")
def dropout(checkpoint, tmp_path_factory):
    """The encoder ``checkpoint``, whose training draws random numbers at every step."""
    folder = shutil.copytree(checkpoint, tmp_path_factory.mktemp("dropout") / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.2}))
    return folder


def pytest_unconfigure(config):
    SHARED.close()
    if not WORKER:
        shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)
