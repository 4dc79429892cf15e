"""Studies on the hub source before anything runs: what is left out, refused, fetched, and not to be reached."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError

import mirror
from toy import placeholder
from xstilts.errors import UserError
from xstilts.locations import REVISIONS
from xstilts.preflight import check_data
from xstilts.results import expected, missing
from xstilts.runs import list_runs
from xstilts.settings import Study
from xstilts.sources.hub import HubSource
from xstilts.study import load_study
from xstilts.tasks import get

MULTI_NLI = "nyu-mll/multi_nli"


def hub_study(tmp_path: Path, hub: dict | None = None, **changes) -> Study:
    """Of a file hub.yaml, on the mirror but for what ``hub`` sets."""
    values = {
        "name": "hub", "source": "hub", "source_language": "en", "hub": mirror.settings().model_dump() | (hub or {}),
        "intermediate": ["none", "mnli"], "targets": ["xnli"], "runs": str(tmp_path / "runs"),
        "encoder": {"checkpoint": str(placeholder(tmp_path / "encoder"))},
    } | changes  # fmt: skip
    path = tmp_path / "hub.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(path)


def test_without_ccgbank_its_run_is_left_out_by_name(tmp_path):
    names = ["none", "ccg", "mnli", "multi", "squad1+ccg"]
    study = hub_study(tmp_path, {"ccgbank": ""}, intermediate=names)
    assert study.left_out == ("ccg", "squad1+ccg") and len(study.intermediate_run("multi").tasks) == 8
    assert study.absence == (
        "ccg is left out; squad1+ccg is left out; multi is trained without ccg: no CCGbank (LDC2005T13), whose folder "
        "hub.ccgbank names"
    )
    assert {run.intermediate for run in list_runs(study) if run.intermediate} == {"none", "mnli", "multi"}
    check_data(study)
    wanted = expected(study, HubSource(study.hub))
    scored = wanted[~wanted["intermediate"].isin(study.left_out)].assign(value=50.0)
    assert set(missing(wanted, scored)["intermediate"]) == set(study.left_out), "missing in the tables"
    whole = hub_study(tmp_path, intermediate=names)
    assert not whole.left_out and not whole.absence and len(whole.intermediate_run("multi").tasks) == 9
    assert {run.intermediate for run in list_runs(whole) if run.intermediate} == set(names)


def test_the_gold_that_xtremes_script_deletes_is_asked_for(tmp_path):
    """Its download_data.sh ends with rm *test.gold: no language may drop out of BUCC for that in silence."""
    bucc = shutil.copytree(mirror.built() / "bucc", tmp_path / "bucc")
    (bucc / "fr-en.test.gold").unlink()
    study = hub_study(tmp_path, {"bucc": str(bucc)}, targets=["bucc"])
    message = r"hub\.bucc: .* lacks fr-en\.test\.gold; take it from bucc2018-fr-en.*\.training-gold\.tar\.bz2"
    with pytest.raises(UserError, match=message):
        check_data(study)
    for path in bucc.glob("fr-en.*"):
        path.unlink()
    assert HubSource(study.hub).languages(get("bucc"), "test") == ["de", "ru", "zh"]


# --- what is checked before anything runs -------------------------------------------------------------


REFUSED = [
    ({"intermediate": ["none", "hellaswag@de"]}, 'no train set of "hellaswag" in de; there is: en'),
    ({"intermediate": ["none", "sick"]}, "sick: no train set in en on the hub; there is: none"),
    ({"languages": ["en", "af"], "targets": ["xnli"]}, '"af" is in no target\'s data'),
    ({"hub": {"mirror": "/nowhere"}}, "hub.mirror: no folder /nowhere"),
    ({"hub": {"ccgbank": "/nowhere"}, "intermediate": ["none", "ccg"]}, "hub.ccgbank: no folder /nowhere"),
    ({"hub": {"miror": ""}}, 'hub.miror: unknown key; did you mean "mirror"'),
    ({"hub": {"bucc": ""}, "targets": ["xnli", "bucc"]},
     r"bucc: the hub holds BUCC's gold pairs alone.*de-en\.dev\.gold.*hub\.bucc"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        check_data(hub_study(tmp_path, **changes))


def test_every_language_of_an_intermediate_task(tmp_path):
    check_data(hub_study(tmp_path, intermediate=["none", "mnli@de", "mnli@all", "panx@sw,tl"]))


def test_a_mirror_that_lacks_a_file(tmp_path):
    lacking = tmp_path / "mirror"
    (lacking / "google").mkdir(parents=True)
    (lacking / "nyu-mll").symlink_to(mirror.built() / "mirror/nyu-mll")
    with pytest.raises(UserError, match=r"google/xtreme XNLI test: no such file in .*XNLI/test-\*\.parquet"):
        check_data(hub_study(tmp_path, {"mirror": str(lacking)}))


# --- the hub itself ----------------------------------------------------------------------------------


def test_the_papers_study_stops_at_once_where_nothing_can_be_reached():
    """The tests run offline, with an empty cache."""
    with pytest.raises(UserError) as raised:
        check_data(load_study("xtreme"))
    message = str(raised.value)
    assert f"Rowan/hellaswag (revision {REVISIONS['Rowan/hellaswag']}) could not be reached on the hub" in message
    assert "google/xtreme, nyu-mll/glue" in message and str(Path(os.environ["HF_HOME"]) / "hub") in message
    for way_out in ("connect to the network", "fill the cache", "hub.mirror"):
        assert way_out in message


def test_the_encoder_is_fetched_before_jobs_begin(tmp_path, monkeypatch, capsys):
    """They may run where no network is. What the cache holds is not asked for."""
    calls = []

    def download(name, revision, allow_patterns, ignore_patterns, local_files_only=False):
        calls.append((name, revision, local_files_only))
        if local_files_only and len(calls) == 1:
            raise LocalEntryNotFoundError("not in the cache")
        for pattern in allow_patterns if revision in ("main", "refs/pr/7") else ["config.json"]:
            (tmp_path / revision).mkdir(parents=True, exist_ok=True)
            (tmp_path / revision / pattern.replace("*", "model")).touch()
        return str(tmp_path / revision)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, **options: None)
    study = hub_study(tmp_path, encoder={"checkpoint": "some/model"})
    check_data(study)
    assert calls == [("some/model", "main", True), ("some/model", "main", False)]
    assert capsys.readouterr().out == "fetching some/model (revision main) from the hub\n"
    check_data(study)
    assert calls[2:] == [("some/model", "main", True)]
    for revision in ("refs/pr/7", "older"):  # as mDeBERTa-v3, whose safetensors a pull request has
        pull = hub_study(tmp_path, encoder={"checkpoint": "some/model", "revision": revision})
        with pytest.raises(UserError, match="refs/pr/<number>") if revision == "older" else nullcontext():
            check_data(pull)

    def unreachable(*args, **options):
        raise LocalEntryNotFoundError("not all of it")

    for name in ("snapshot_download", "HfApi.model_info"):
        monkeypatch.setattr(f"huggingface_hub.{name}", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: "model.safetensors")
    check_data(study)  # transformers put there what it needs, and no more
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: None)
    message = (
        r'encoder.checkpoint "some/model" \(revision main\) could not be reached on the hub, and the cache .* connect '
        "to the network; or fill the cache .*name a folder that holds the checkpoint"
    )
    with pytest.raises(UserError, match=message):
        check_data(study)


FETCH = """
import sys
from xstilts.preflight import check_data
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.tasks import get
study = load_study(sys.argv[1])
check_data(study)
check_data(study)
source = open_source(study)
print(source.load(get("xnli"), "test", "zh")[1]["text_b"], source.load(get("mnli"), "train", "en")[1]["id"])
"""


@pytest.fixture
def hub():
    """(address, paths of requests so far) of the hub's web interface in miniature: each commit is the mirror."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(self.path.partition("?")[0])
            requests.append(path)
            # /datasets/<repo>/resolve/<commit>/<file>, /api/datasets/<repo>/revision/<commit> or …/tree/<commit>
            owner, name, what, commit, *rest = path.removeprefix("/api").removeprefix("/datasets/").split("/")
            repo = mirror.built() / "mirror" / owner / name
            if what == "resolve":
                data = repo.joinpath(*rest).read_bytes()
            elif what == "tree":
                sizes = {path.relative_to(repo).as_posix(): path.stat().st_size for path in repo.rglob("*.parquet")}
                tree = [{"type": "file", "path": path, "size": size, "oid": path} for path, size in sizes.items()]
                data = json.dumps(tree).encode()
            else:
                card = {"id": f"{owner}/{name}", "sha": commit, "private": False, "tags": [], "downloads": 0}
                data = json.dumps(card).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


def test_the_hub_then_its_cache(tmp_path, hub):
    """Fetched over HTTP as from the hub, only what is needed; then again without a network."""
    address, requests = hub
    study = hub_study(tmp_path, {"mirror": "", "bucc": "", "ccgbank": ""})
    outer = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    outer |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    outer |= dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), "120")

    def fetch(**environment) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", FETCH, str(study.path)]
        return subprocess.run(command, env=outer | environment, capture_output=True, text=True, check=False)

    first = fetch(HF_ENDPOINT=address)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [
        *(f"fetching {repo} (revision {REVISIONS[repo]}) from the hub" for repo in ("google/xtreme", MULTI_NLI)),
        "zh 1 2",
    ]
    assert {name for name in requests if "/resolve/" in name} == {
        f"/datasets/google/xtreme/resolve/{REVISIONS['google/xtreme']}/XNLI/test-00000-of-00001.parquet",
        *(f"/datasets/{MULTI_NLI}/resolve/{REVISIONS[MULTI_NLI]}/data/{split}-00000-of-00001.parquet"
          for split in ("train", "validation_matched")),
    }  # fmt: skip
    assert sum("/revision/" in name for name in requests) == 2, "the second check asks for nothing"
    again = fetch(HF_HUB_OFFLINE="1")
    assert again.returncode == 0 and again.stdout == "zh 1 2\n", again.stderr


def test_a_second_start_reads_what_changed_and_nothing_else(tmp_path, monkeypatch):
    loads, load = [], HubSource.load

    def spy(self, task, split, language):
        loads.append((task.name, split, language))
        return load(self, task, split, language)

    monkeypatch.setattr(HubSource, "load", spy)
    for repo in (MULTI_NLI, "google/xtreme/XNLI"):
        shutil.copytree(mirror.built() / "mirror" / repo, tmp_path / "mirror" / repo)
    study = hub_study(tmp_path, {"mirror": str(tmp_path / "mirror")})
    check_data(study)
    assert len(loads) == len(set(loads)) > 15  # XNLI's test sets, MultiNLI's training and development set
    loads.clear()
    check_data(study)
    assert loads == []
    table = mirror.content(MULTI_NLI, "default", "train", 7)
    mirror.write(tmp_path / "mirror" / MULTI_NLI / "data/train-00000-of-00001.parquet", *table)
    check_data(study)
    assert loads == [("mnli", "train", "en")]
