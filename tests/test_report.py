"""The report of a small real study, one run failed and some missing, in a real Chromium and without one."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

import small
from xstilts.errors import UserError
from xstilts.report import build, survey
from xstilts.runs import Run
from xstilts.study import load_study
from xstilts.workflow import run_notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NAN = {"training": small.SMALL["training"] | {"overrides": {"intermediate/mnli": {"learning_rate": 1e30}}}}
PAGES = {"index", "encoder/seed1", "intermediate/mnli/seed1", "targets/none/all/seed1", "answers/small"}
WIDTHS = {"phone": 390, "desktop": 1440}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Seed 1 of a study without its run ``mnli``, which fails; of seed 2 nothing."""
    folder = tmp_path_factory.mktemp("report")
    study = load_study(small.write(folder, "small", title="A <small> study", bundle="all", seeds=2, **NAN))
    for name in ("encoder/seed1", "intermediate/mnli/seed1", "targets/none/all/seed1", "transfer"):
        place = study.folder / name
        place.mkdir(parents=True)
        # what a job's shell does; papermill's own lines are left out
        with (place / "log.txt").open("w") as log, contextlib.redirect_stderr(log):
            assert run_notebook(study, name) == (name == "intermediate/mnli/seed1")
    (study.folder / "notes").mkdir()
    return study


@pytest.fixture(scope="module")
def site(study):
    index, summary = build(study)
    assert summary == "9 runs (2 done, 5 missing, 1 failed, 1 gaps); 4 pages made, the others are current"
    return index.parent


def html(site: Path) -> dict[str, Path]:
    return {str(path.relative_to(site).with_suffix("")): path for path in sorted(site.rglob("*.html"))}


@contextlib.contextmanager
def changed(study, path: Path, text: str):
    """A file with another text, and the report of it."""
    before = path.read_text(encoding="utf-8")
    path.write_text(text)
    try:
        yield build(study)[1]
    finally:
        path.write_text(before)
        build(study)


# Without a browser


def test_there_is_a_page_for_every_run_that_left_something(site):
    assert set(html(site)) == PAGES
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "A &lt;small&gt; study" in index and "A <small>" not in index
    assert "training diverged: the loss is" in index and "5 missing: not run yet" in index


def test_pages_share_their_style_and_are_made_again_only_when_they_changed(study, site):
    path = html(site)["encoder/seed1"]
    assert path.stat().st_size < 300_000 and "<style>\n:root" not in path.read_text(encoding="utf-8")
    before = {name: page.stat().st_mtime_ns for name, page in html(site).items() if name != "index"}
    notebook = Run("targets", 1, "none", "all").folder(study) / "notebook.ipynb"
    notebook.touch()
    command = [sys.executable, "-m", "xstilts", "report", study.path, "--seeds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "; 0 pages made, the others are current\nreport: " in done.stdout
    assert done.stdout.rstrip().endswith("runs/small/report/index.html")
    (site / "targets" / "old.html").touch()  # of a run that the study no longer has
    text = notebook.read_text(encoding="utf-8").replace("Fine-tune and score", "Tune and score")
    with changed(study, notebook, text) as summary:
        assert "; 1 pages made" in summary
        after = {name: page.stat().st_mtime_ns for name, page in html(site).items() if name != "index"}
        assert {name for name in after if after[name] != before[name]} == {"targets/none/all/seed1"}
        assert set(html(site)) == PAGES


def test_runs_whose_data_are_elsewhere_are_shown_as_they_were_recorded(study, site, monkeypatch):
    def elsewhere(*_):
        raise UserError("files.root: no such folder")

    before = (site / "index.html").read_text(encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr("xstilts.runs.Fingerprints._data", elsewhere)
        build(study)
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "whether or not they are up to date: files.root: no such folder" in index
    assert "2 done: finished" in index and "training diverged" in index
    build(study)
    assert (site / "index.html").read_text(encoding="utf-8") == before


def test_status_of_a_run(study):
    other = study.model_copy(update={"training": study.training.model_copy(update={"save_minutes": 1})})
    assert {page.name: page.status for page in survey(other)[0]}["encoder/seed1"] == "done"
    pretrain = study.encoder.pretrain.model_copy(update={"steps": 5})
    other = study.model_copy(update={"encoder": study.encoder.model_copy(update={"pretrain": pretrain})})
    statuses = {page.name: page.status for page in survey(other)[0]}
    assert statuses["encoder/seed1"] == "stale" and statuses["encoder/seed2"] == "missing"


def test_half_a_notebook_is_shown_by_its_log(study, site):
    failed = Run("intermediate", 1, "mnli").folder(study) / "notebook.ipynb"
    with changed(study, failed, failed.read_text(encoding="utf-8")[:500]):
        page = html(site)["intermediate/mnli/seed1"].read_text(encoding="utf-8")
        assert "<h1>intermediate/mnli/seed1</h1>" in page and "xstilts: training diverged" in page


def test_figures_of_another_execution_are_not_shown(study, site):
    with changed(study, study.figures_folder / "answer.md", "Another machine wrote this.\n"):
        index = (site / "index.html").read_text(encoding="utf-8")
        assert "Another machine" not in index and "<img" not in index and "another execution" in index


def test_a_study_that_shares_runs_has_its_answer_in_the_report(study, site):
    path = study.own_folder.parent / "more" / "study.yaml"
    path.parent.mkdir()
    try:
        path.write_text(f"based_on: {study.path}\nname: more\ntitle: One more question\nshares: small\n")
        build(study)
        index = (site / "index.html").read_text(encoding="utf-8")
        assert "<h3>One more question</h3>" in index
        pages, _ = survey(study)
        assert [page.name for page in pages if page.run.final] == ["answers/small", "answers/more"]
    finally:
        shutil.rmtree(path.parent)
        build(study)


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


def test_every_page_loads_without_an_error_or_a_request_elsewhere(site, page):
    problems, asked = [], set()
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    page.on("request", lambda request: asked.add(request.url))
    for path in html(site).values():
        page.goto(path.as_uri(), wait_until="load")
    assert not problems
    elsewhere = {url[:100] for url in asked if not url.startswith((f"{site.as_uri()}/", "data:image/png;base64,"))}
    assert not elsewhere
    assert {f"{site.as_uri()}/static/{name}" for name in ("site.css", "site.js")} < asked


def test_every_link_leads_somewhere(site, page):
    ids, links = {}, []
    for path in html(site).values():
        page.goto(path.as_uri())
        ids[path] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        found = page.evaluate("[...document.querySelectorAll('[href], [src]')].map(e => e.href || e.src)")
        links += [(path, link) for link in found]
    assert len(links) > 40
    for path, link in links:
        parts = urlparse(link)
        if parts.scheme in ("https", "data"):  # a citation; a figure
            assert parts.scheme == "data" or "arxiv.org/abs/" in link, link
            continue
        there = Path(unquote(parts.path))
        assert parts.scheme == "file" and there.is_file() and there.is_relative_to(site), f"{path}: {link}"
        # a browser looks for the fragment as it is, then decoded
        assert not parts.fragment or ids[there] & {parts.fragment, unquote(parts.fragment)}, f"{path}: {link}"


@pytest.mark.parametrize("device", WIDTHS)
def test_the_heatmap_is_seen_and_no_page_is_wider_than_the_screen(site, page, device):
    width = WIDTHS[device]
    page.set_viewport_size({"width": width, "height": 800})
    for name, path in html(site).items():
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
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


def shown(page) -> set[str]:
    return {row for row in page.locator("#table tbody tr:visible th").all_inner_texts()}


def test_the_table_is_searched_by_run_target_and_language(site, page):
    page.goto((site / "index.html").as_uri())
    every = shown(page)
    assert len(every) == 9
    page.fill("#search", "MNLI seed1")
    assert shown(page) == {"intermediate/mnli/seed1", "targets/mnli/all/seed1"}
    assert page.inner_text("#matches") == "2 of 9 runs"
    page.fill("#search", "failed")
    assert shown(page) == {"intermediate/mnli/seed1"}
    page.fill("#search", "nothing like it")
    assert shown(page) == set()
    page.fill("#search", "")
    page.select_option("[data-key=target]", "tatoeba")
    targets = {f"targets/{run}/all/seed{seed}" for run in ("none", "mnli") for seed in (1, 2)}
    assert shown(page) == {*targets, "answers/small"}
    page.select_option("[data-key=run]", "none")
    assert shown(page) == {"targets/none/all/seed1", "targets/none/all/seed2"}
    page.select_option("[data-key=status]", "missing")
    assert shown(page) == {"targets/none/all/seed2"}
    for key in ("target", "run", "status"):
        page.select_option(f"[data-key={key}]", "")
    page.select_option("[data-key=language]", "qac")  # mnli is trained in the source language
    assert shown(page) == every - {"intermediate/mnli/seed1", "intermediate/mnli/seed2"}


def test_code_is_folded_and_unfolds(site, page):
    page.goto(html(site)["targets/none/all/seed1"].as_uri())
    code = page.locator(".highlight")
    assert code.count() > 5 and not any(one.is_visible() for one in code.all())
    page.locator("details.code summary").first.click()
    assert [one.is_visible() for one in code.all()].count(True) == 1
    page.click("#code")
    assert all(one.is_visible() for one in code.all())
    page.click("#code")
    assert not any(one.is_visible() for one in code.all())


def test_the_graph_leads_to_pages_and_a_failure_to_its_cause(site, page):
    page.goto((site / "index.html").as_uri())
    chips = page.locator(".graph .chip")
    assert chips.count() == 9
    assert sum(chips.nth(place).get_attribute("href") is not None for place in range(9)) == 4  # the others: no page
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
    asked, path = set(), study.figures_folder / "4-transfer.html"
    page.on("request", lambda request: asked.add(request.url))
    page.goto(path.as_uri())
    assert {url for url in asked if not url.startswith("data:image/png;base64,")} == {path.as_uri()}
    assert page.locator(".highlight >> visible=true").count() == 0
    page.click("#code")
    assert page.locator(".highlight >> visible=true").count() > 5
    assert page.inner_text("h1") == page.title() and page.inner_text("h1").startswith("4 · ")


def test_pages_can_be_read_by_everyone(site, page):
    """All of axe-core's rules, contrast, headings in order and landmarks among them, at the width that hides most."""
    from axe_playwright_python.sync_playwright import Axe

    # pandas leaves the header above its index empty
    options = {"resultTypes": ["violations"], "rules": {"empty-table-header": {"enabled": False}}}
    page.set_viewport_size({"width": WIDTHS["phone"], "height": 800})
    for name, path in html(site).items():
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        found = Axe().run(page, options=options).response["violations"]
        said = [{one["id"]: [node["html"][:200] for node in one["nodes"][:3]]} for one in found]
        assert not said, f"{name}: {json.dumps(said, indent=1)}"
        assert page.locator("h1").count() == 1, name


def test_every_figure_says_what_it_shows(site, page):
    seen = 0
    for name, path in html(site).items():
        page.goto(path.as_uri())
        alts = page.evaluate("[...document.images].map(e => e.alt)")
        seen += len(alts)
        # nbconvert's own words for a figure without any begin so
        assert not [alt for alt in alts if len(alt) < 20 or alt.startswith("No description")], name
    assert seen > 5
