"""The report of a small real study, one run failed and some missing, in a real Chromium and without one."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

import small
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.report import build, survey
from xstilts.runs import Run, list_runs
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.workflow import run_notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NAN = {"training": small.SMALL["training"] | {"overrides": {"intermediate/mnli": {"learning_rate": 1e30}}}}
PAGES = {"index", "encoder/seed1", "intermediate/mnli/seed1", "targets/none/all/seed1", "answers/small"}
WIDTHS = {"phone": 390, "desktop": 1440}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Seed 1 of a study without its run ``mnli``, which fails; of seed 2 nothing. Two runs are done without a kernel:
    their notebooks have no outputs."""
    folder = tmp_path_factory.mktemp("report")
    study = load_study(small.write(folder, "small", title="A <small> study", bundle="all", seeds=2, **NAN))
    source = open_source(study)
    small.phases.encoder(study, source, 1)
    list(small.phases.targets(study, source, "none", "all", 1))
    done = [run for run in list_runs(study) if run.name in ("encoder/seed1", "targets/none/all/seed1")]
    small.prove(study, done)
    for run in done:
        shutil.copy(ROOT / "notebooks" / run.notebook, run.folder(study) / "notebook.ipynb")
    for name in ("intermediate/mnli/seed1", "transfer"):
        (study.folder / name).mkdir(parents=True, exist_ok=True)
        # what a job's shell does; papermill's own lines are left out
        with (study.folder / name / "log.txt").open("w") as log, contextlib.redirect_stderr(log):
            assert run_notebook(study, name) == (name == "intermediate/mnli/seed1")
    (study.folder / "notes").mkdir()
    return study


@pytest.fixture(scope="module")
def site(study):
    index, summary = build(study)
    assert summary == "9 runs (2 done, 5 missing, 1 failed, 1 gaps); 4 have a page"
    return index.parent


def html(site: Path) -> dict[str, Path]:
    return {str(path.relative_to(site).with_suffix("")): path for path in sorted(site.rglob("*.html"))}


def index_of(site: Path) -> str:
    return (site / "index.html").read_text(encoding="utf-8")


@contextlib.contextmanager
def changed(study, path: Path, text: str):
    """A file with another text, and the report of it."""
    before = path.read_text(encoding="utf-8")
    path.write_text(text)
    try:
        build(study)
        yield
    finally:
        path.write_text(before)
        build(study)


# Without a browser


def test_there_is_a_page_for_every_run_that_left_something(site):
    assert set(html(site)) == PAGES
    assert "A &lt;small&gt; study" in index_of(site) and "A <small>" not in index_of(site)
    assert "training diverged: the loss is" in index_of(site) and "5 missing: not run yet" in index_of(site)


def test_pages_share_their_style_and_those_of_runs_that_are_gone_are_deleted(study, site):
    path = html(site)["encoder/seed1"]
    assert path.stat().st_size < 300_000 and "<style>\n:root" not in path.read_text(encoding="utf-8")
    (site / "targets" / "old.html").touch()  # of a run that the study no longer has
    notebook = Run("targets", 1, "none", "all").folder(study) / "notebook.ipynb"
    with changed(study, notebook, notebook.read_text(encoding="utf-8").replace("# 3 · ", "# Changed ")):
        assert set(html(site)) == PAGES
        assert "<title>targets/none/all/seed1 · Changed" in html(site)["targets/none/all/seed1"].read_text("utf-8")


def test_runs_whose_data_are_elsewhere_are_shown_as_they_were_recorded(study, site, monkeypatch):
    def elsewhere(*_):
        raise UserError("files.root: no such folder")

    before = index_of(site)
    with monkeypatch.context() as patch:
        patch.setattr("xstilts.runs.Fingerprints._data", elsewhere)
        build(study)
    assert "whether or not they are up to date: files.root: no such folder" in index_of(site)
    assert "2 done: finished" in index_of(site) and "training diverged" in index_of(site)
    build(study)
    assert index_of(site) == before


def test_status_of_a_run(study):
    pretrain = study.encoder.pretrain.model_copy(update={"steps": 5})
    other = study.model_copy(update={"encoder": study.encoder.model_copy(update={"pretrain": pretrain})})
    statuses = {page.name: page.status for page in survey(other)[0]}
    assert statuses["encoder/seed1"] == "stale" and statuses["encoder/seed2"] == "missing"


def test_half_a_notebook_and_figures_of_another_execution_are_not_shown(study, site):
    failed = Run("intermediate", 1, "mnli").folder(study) / "notebook.ipynb"
    with changed(study, failed, failed.read_text(encoding="utf-8")[:500]):
        page = html(site)["intermediate/mnli/seed1"].read_text(encoding="utf-8")
        assert "<h1>intermediate/mnli/seed1</h1>" in page and "xstilts: training diverged" in page
    with changed(study, study.figures_folder / "answer.md", "Another machine wrote this.\n"):
        index = index_of(site)
        assert "Another machine" not in index and "<img" not in index and "another execution" in index


def test_own_tasks_of_other_studies_are_not_taken_for_this_ones(tmp_path):
    """One that shares its runs has a task of the same name, with other labels; one that lies beside shares nothing."""

    def written(name, task, labels, **changes):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(f"w,{labels[n % 2]}\n" for n in range(10)))
        own = {task: {"kind": "classification", "train": str(tmp_path / f"{name}.csv")}}
        return small.write(tmp_path, name, targets=[task], languages=[], own=own, **changes)

    study = load_study(written("one", "mine", "ab"))
    small.finish(study)
    for path in (written("more", "mine", "cd", shares="one"), written("apart", "theirs", "ef")):
        (tmp_path / "runs" / path.stem).mkdir(exist_ok=True)
        path.rename(tmp_path / "runs" / path.stem / "study.yaml")
    pages, _ = survey(study)
    assert {page.status for page in pages if page.study.name == "one"} == {"done"}
    assert [page.name for page in pages if page.run.final] == ["answers/one", "answers/more"]
    assert [page.study.task("mine").labels for page in pages if page.run.final] == [("a", "b"), ("c", "d")]


# In a browser


@pytest.fixture(scope="module")
def browser(site):
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # in containers one is root, for whom Chromium has no sandbox
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] * (os.getuid() == 0))
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": WIDTHS["desktop"], "height": 900})
    page.set_default_timeout(120_000)
    yield page
    page.close()


def test_pages_load_without_error_from_the_site_alone_and_every_link_leads_somewhere(site, page):
    problems, requests, ids, links, figures = [], set(), {}, [], 0
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    page.on("request", lambda request: requests.add(request.url))
    for path in html(site).values():
        page.goto(path.as_uri(), wait_until="load")
        ids[path] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        urls = page.evaluate("[...document.querySelectorAll('[href], [src]')].map(e => e.href || e.src)")
        links += [(path, url) for url in urls]
        alts = page.evaluate("[...document.images].map(e => e.alt)")
        figures += len(alts)
        # nbconvert's own words for a figure without any begin so
        assert not [alt for alt in alts if len(alt) < 20 or alt.startswith("No description")], path
    assert not problems and figures > 5 and len(links) > 40
    assert not [url[:100] for url in requests if not url.startswith((f"{site.as_uri()}/", "data:image/png;base64,"))]
    assert {f"{site.as_uri()}/static/{name}" for name in ("site.css", "site.js")} < requests
    for path, url in links:
        parts, target = urlparse(url), Path(unquote(urlparse(url).path))
        if parts.scheme in ("https", "data"):  # a citation; a figure
            assert parts.scheme == "data" or "arxiv.org/abs/" in url, url
            continue
        assert parts.scheme == "file" and target.is_file() and target.is_relative_to(site), f"{path}: {url}"
        # a browser looks for the fragment as it is, then decoded
        assert not parts.fragment or ids[target] & {parts.fragment, unquote(parts.fragment)}, f"{path}: {url}"


@pytest.mark.parametrize("device", WIDTHS)
def test_the_heatmap_is_seen_and_no_page_is_wider_than_the_screen_or_closed_to_anyone(site, page, device):
    """All of axe-core's rules, contrast, headings in order and landmarks among them, at the width that hides most."""
    from axe_playwright_python.sync_playwright import Axe

    # pandas leaves the header above its index empty
    options = {"resultTypes": ["violations"], "rules": {"empty-table-header": {"enabled": False}}}
    width = WIDTHS[device]
    page.set_viewport_size({"width": width, "height": 800})
    for name, path in html(site).items():
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.locator("h1").count() == 1, name
        violations = Axe().run(page, options=options).response["violations"] if device == "phone" else []
        nodes = [{rule["id"]: [node["html"][:200] for node in rule["nodes"][:3]]} for rule in violations]
        assert not nodes, f"{name}: {json.dumps(nodes, indent=1)}"
    for name, heatmap in (("index", "#figure"), ("answers/small", ".jp-OutputArea-output img >> nth=0")):
        page.goto(html(site)[name].as_uri())
        image = page.locator(heatmap)
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert box["width"] > min(0.6 * width, 340)  # one run and two targets are drawn 354 pixels wide
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert 0 <= box["y"] < 800 and box["height"] > 60
        assert image.evaluate("e => e.complete && e.naturalWidth") > 300
    page.goto((site / "index.html").as_uri())
    assert page.locator("#figure").evaluate("e => e.currentSrc").endswith("/figures/heatmap-mean.png")


def test_the_table_is_searched_by_text_run_and_status(site, page):
    def shown() -> set[str]:
        return {row for row in page.locator("#table tbody tr:visible th").all_inner_texts()}

    page.goto((site / "index.html").as_uri())
    every, mnli = shown(), "intermediate/mnli/seed1"
    assert len(every) == 9
    searches = {"MNLI seed1": {mnli, "targets/mnli/all/seed1"}, "failed": {mnli}, "nothing like it": set(), "": every}
    for text, rows in searches.items():
        page.fill("#search", text)
        assert shown() == rows and page.inner_text("#matches").startswith(str(len(rows)))
    none = {"targets/none/all/seed1", "targets/none/all/seed2"}
    for key, value, rows in (("run", "none", none), ("status", "missing", {"targets/none/all/seed2"})):
        page.select_option(f"[data-key={key}]", value)
        assert shown() == rows


def test_code_is_folded_and_unfolds(site, page):
    page.goto(html(site)["targets/none/all/seed1"].as_uri())
    code, visible = page.locator(".highlight"), page.locator(".highlight >> visible=true")
    assert code.count() > 5 and visible.count() == 0
    page.locator("details.code summary").first.click()
    assert visible.count() == 1
    for count in (code.count(), 0):
        page.click("#code")
        assert visible.count() == count


def test_the_graph_leads_to_pages_and_a_failure_to_its_cause(site, page):
    page.goto((site / "index.html").as_uri())
    assert page.locator(".graph .chip").count() == 9
    assert page.locator(".graph a.chip").count() == 4  # the others: no page
    page.click(".graph a.failed")
    assert page.url.endswith("/intermediate/mnli/seed1.html")
    assert "training diverged: the loss is" in page.inner_text(".about")
    page.click("text=Go to the error")
    assert page.locator("#error").is_visible() and "learning rate 1e+30" in page.inner_text("#error")
    page.click("text=encoder/seed1")
    assert page.inner_text("h1") == "1 · Encoder"
    page.click("nav >> text=A <small> study")
    assert page.url.endswith("/index.html")


def test_the_final_notebook_stands_alone_as_well(study, page):
    """``figures/<study>/4-transfer.html``: one file, by the same template."""
    requests, path = set(), study.figures_folder / "4-transfer.html"
    page.on("request", lambda request: requests.add(request.url))
    page.goto(path.as_uri())
    assert {url for url in requests if not url.startswith("data:image/png;base64,")} == {path.as_uri()}
    assert page.locator(".highlight >> visible=true").count() == 0
    page.click("#code")
    assert page.locator(".highlight >> visible=true").count() > 5
    assert page.inner_text("h1") == page.title() and page.inner_text("h1").startswith("4 · ")
