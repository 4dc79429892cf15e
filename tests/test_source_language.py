"""Question 6 on made-up statistics whose truth is known, in words, in figures, and through the study's own command."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

import commands
import small
import toy
from synthetic import study as make_study
from test_figures import overlapping
from xstilts import plots, results
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.preflight import check_data
from xstilts.questions import source_language as asked
from xstilts.questions import source_language as source_language_figures
from xstilts.questions import source_language as source_language_findings
from xstilts.questions.source_language import ADDED, BOTH, DROPPED, NEITHER, OVER_RUNS
from xstilts.results import MEAN
from xstilts.runs import Fingerprints, list_runs
from xstilts.settings import SOURCE
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.target_runs import training_sets
from xstilts.tasks import get

real = pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")
CODES = ["qaa", "qab", "qac", "qad"]
NAMES = pd.Series({"qaa": "Amari", "qab": "Belu", "qac": "Cevo", "qad": "Dorim"})
RUNS = ["none", "squad1", "squad1@qab", "squad1@all=60", "mnli"]
TRAINED = {"none": [], "squad1": ["qaa"], "squad1@qab": ["qab"], "squad1@all=60": CODES, "mnli": ["qaa"]}
FURTHER = {"sources": {"runs": ["none", "squad1"], "targets": ["tydiqa"], "training_languages": ["each", "all"]}}
# Points of exact match that a score is made of.
RUN = {"none": 0, "squad1": 3, "squad1@qab": 1, "squad1@all=60": 2, "mnli": -1}
LANGUAGE = {"qaa": 60, "qab": 40, "qac": 30, "qad": 10}
SEEN = 8  # phase 2 was trained in the language
TUNED = {SOURCE: 0, "qaa": 0, "qab": -4, "qac": 2, "qad": -6, "all": 1}  # training language of phase 3
TINY = 1e-3  # statistics are in single precision
OWN = 20  # phase 3 was trained in the language
SHIFT = {"squad1": {"qab": 3, "qac": 3, "qad": 3}}  # phase 2 makes the other training languages better


@pytest.fixture(autouse=True)
def style():
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


@pytest.fixture
def study(tmp_path):
    return make_study(
        tmp_path, intermediate=RUNS, targets=["tydiqa"], bundle="each", further=FURTHER, seeds=2,
        question="source-language", micro={"languages": CODES, "span": {"train": 60}},
        figures=str(tmp_path / "figures"),
        training={"intermediate": {"steps": 10, "batch_size": 8, "epochs": 0}},
    )  # fmt: skip


def truth(run, training, language):
    own = training == language or (training == SOURCE and language == "qaa")
    return RUN[run] + LANGUAGE[language] + SEEN * (language in TRAINED[run]) + TUNED[training] + OWN * own + (
        SHIFT.get(run, {}).get(training, 0))  # fmt: skip


def statistics(run, trainings, seed, noise=0.0, rng=None, languages=CODES):
    """Exact match equal to the truth, in every example; F1 ten points more."""
    tables = []
    for training in trainings:
        for language in languages:
            for metric, more in (("exact_match", 0), ("f1", 10)):
                value = (truth(run, training, language) + more) / 100
                values = np.full(20, value) + (noise * rng.normal(size=20) if noise else 0)
                tables.append(pd.DataFrame({
                    "study": "toy", "encoder": "pretrained", "intermediate": run, "target": "tydiqa",
                    "training_language": training, "examples": 0, "language": language, "seed": seed,
                    "metric": metric, "id": [str(n) for n in range(20)], "numerator": values, "denominator": 1.0,
                }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def write(study, noise=0.0, without=()):
    """Finished runs of phase 3, of both bundles."""
    rng = np.random.default_rng(0)
    for seed in study.seed_numbers:
        for run in study.intermediate:
            for bundle in study.bundles_of(run):
                if (run, seed) in without:
                    continue
                trainings = [SOURCE] if bundle == "tydiqa" else [code for code in TUNED if code not in (SOURCE, "qaa")]
                folder = study.folder / "targets" / run / bundle / f"seed{seed}"
                folder.mkdir(parents=True)
                statistics(run, trainings, seed, noise, rng).to_parquet(folder / "stats.parquet", index=False)
                (folder / "run.json").write_text("{}")


def tables(study, metric="exact_match"):
    source = open_source(study)
    plan = asked.design(study, source)
    found = results.resample(asked.read(study, source), np.random.default_rng(0), 200, metric)
    return plan, asked.tables(found, plan)


def test_the_design_is_read_off_the_settings(study):
    plan = asked.design(study, open_source(study))
    assert plan.source == "qaa" and list(plan.languages) == CODES
    assert plan.trained == {run: frozenset(codes) for run, codes in TRAINED.items()}
    assert plan.pairs == (("squad1@qab", "squad1"), ("squad1@all=60", "squad1"))
    assert plan.families == {"squad1": ("squad1", "squad1@qab")}
    assert plan.tuned == {run: (SOURCE, "qab", "qac", "qad", "all") for run in ("none", "squad1")}
    assert asked.groups(plan, "squad1@qab", "squad1") == {
        ADDED: ("qab",), DROPPED: ("qaa",), NEITHER: ("qac", "qad"),
    }  # fmt: skip
    assert asked.groups(plan, "squad1@all=60", "squad1") == {BOTH: ("qaa",), ADDED: ("qab", "qac", "qad")}


def test_runs_on_as_many_examples_and_on_more_are_told_apart(tmp_path):
    """The default squad1 has 60 examples in each of four languages; 62 are 15 of each."""
    runs = ["none", "squad1", "squad1@all=62", "squad1@all", "squad1@all=20", "squad1+mnli@qab"]
    sizes = {"languages": CODES, "span": {"train": 60}, "classification": {"train": 100}}
    study = make_study(tmp_path, intermediate=runs, targets=["tydiqa"], bundle="each", micro=sizes)
    plan = asked.design(study, open_source(study))
    assert plan.examples == dict(zip(runs, (0, 60, 60, 240, 20, 160), strict=True))
    pairs = [pd.Series({"first": run, "second": "squad1"}) for run in runs[2:5]]
    amounts = [source_language_findings._amount(pair, plan) for pair in pairs]
    assert amounts == ["as many examples", "more examples", "fewer examples"]


def test_phase_2_is_recovered(study):
    write(study)
    _, found = tables(study)
    gains = found["languages"].set_index(["intermediate", "language"])
    assert gains.loc[("none", "qaa"), "value"] == pytest.approx(60 + OWN) and not gains.loc["none", "seen"].any()
    assert gains.loc["squad1@qab", "value"].drop(MEAN).tolist() == pytest.approx([1, 9, 1, 1], abs=TINY)
    assert gains.loc["squad1@qab", "seen"].tolist() == [False, True, False, False, False]
    pairs = found["comparisons"].set_index(["first", "second", "group"])["value"].sort_index()
    assert pairs["squad1@qab", "squad1"].to_dict() == pytest.approx(
        {MEAN: -2, ADDED: -2 + SEEN, DROPPED: -2 - SEEN, NEITHER: -2}, abs=TINY
    )
    assert pairs["squad1@all=60", "squad1"].to_dict() == pytest.approx(
        {MEAN: -1 + SEEN * 3 / 4, BOTH: -1, ADDED: -1 + SEEN}, abs=TINY
    )
    assert pairs["mnli", "none"].to_dict() == pytest.approx(
        {MEAN: -1 + SEEN / 4, ADDED: -1 + SEEN, NEITHER: -1}, abs=TINY
    )
    assert found["seen"][["task", "value", "runs"]].values.tolist() == [["squad1", pytest.approx(SEEN, abs=TINY), 2]]
    assert tables(study, "f1")[1]["languages"]["value"].iloc[0] == pytest.approx(60 + OWN + 10)


def test_having_been_seen_is_the_coefficient_of_a_regression(study):
    """Against ordinary least squares with a dummy for every run and language, on scores with noise."""
    write(study, noise=0.3)
    plan, found = tables(study)
    runs = plan.families["squad1"]
    stats = asked.read(study, open_source(study)).query("metric == 'exact_match'")
    score = 100 * stats.groupby(["intermediate", "language", "seed"])["numerator"].mean()
    score = score.groupby(level=[0, 1]).mean()
    rows, values = [], []
    for run in runs:
        for code in CODES:
            rows.append([code in plan.trained[run], *(run == r for r in runs), *(code == c for c in CODES)])
            values.append(score[run, code])
    coefficient = np.linalg.lstsq(np.array(rows, float), np.array(values), rcond=None)[0][0]
    row = found["seen"].iloc[0]
    assert row["value"] == pytest.approx(coefficient, abs=TINY) and row["low"] < coefficient < row["high"]


def test_the_language_of_phase_3_is_recovered_without_the_advantage_of_its_own_test_language(study):
    write(study)
    _, found = tables(study)
    sources = found["sources"].set_index(["intermediate", "training"])
    assert sources.loc["none", "value"].to_dict() == pytest.approx({"qab": -4, "qac": 2, "qad": -6}, abs=TINY)
    assert sources.loc["squad1", "value"].to_dict() == pytest.approx({"qab": -1, "qac": 5, "qad": -3}, abs=TINY)
    assert sources.loc[OVER_RUNS, "value"].to_dict() == pytest.approx({"qab": -2.5, "qac": 3.5, "qad": -4.5}, abs=TINY)
    assert set(sources["languages"]) == {2}
    # what averages over all languages but one's own would have said: their languages differ
    matrix = found["matrix"].query("intermediate == 'none'").pivot(
        index="training", columns="language", values="value")  # fmt: skip
    naive = matrix.loc["qac", ["qaa", "qab", "qad"]].mean() - matrix.loc[SOURCE, ["qab", "qac", "qad"]].mean()
    assert naive == pytest.approx(2 + (60 - 30) / 3, abs=TINY)
    assert matrix.loc["qac", "qac"] == pytest.approx(30 + 2 + OWN, abs=TINY)
    effects = found["factors"].set_index(["intermediate", "effect"])["value"]
    assert effects["none"].to_dict() == pytest.approx({"lead": 8 / 3, "own": OWN - 8 / 3, "all": 1}, abs=TINY)
    assert effects["squad1"].to_dict() == pytest.approx(
        {"lead": 8 / 3 - 3, "change of lead": -3, "own": OWN - 8 / 3 + 3, "all": 1}, abs=TINY
    )


def test_only_whole_trainings_of_tydiqa_count_and_each_once(study):
    write(study)
    folder = study.folder / "targets" / "none" / "sources" / "seed1"
    again = statistics("none", [SOURCE, "qaa"], 1)  # what the study's own bundle has, under two names
    few = statistics("none", ["qab"], 1).assign(examples=10, numerator=0.0)
    other = statistics("none", ["qab"], 1).assign(target="xnli")
    whole = pd.read_parquet(folder / "stats.parquet")
    pd.concat([whole, again, few, other]).to_parquet(folder / "stats.parquet", index=False)
    stats = asked.read(study, open_source(study))
    names = {*RUNS, *(f"{run} > {code}" for run in ("none", "squad1") for code in ("qab", "qac", "qad", "all"))}
    assert set(stats["intermediate"]) == names
    assert len(stats) == len(names) * 2 * len(CODES) * 2 * 20
    assert stats.query("intermediate == 'none > qab'")["numerator"].min() > 0


def words(study, metric="exact_match"):
    plan, found = tables(study, metric)
    gaps = asked.missing(study, open_source(study), plan)
    return source_language_findings.answer(study, plan, found, NAMES, gaps)


def test_the_answer_follows_the_numbers(study):
    write(study)
    said = words(study)
    assert "exact match on TyDiQA in 4 languages, 4 intermediate runs; Amari (qaa) is the source language" in said
    assert "Every run of phase 2 takes 10 steps of 8 examples" in said
    assert "alone, on as many examples?** On average over the languages it helps: `squad1@all=60` +5.0 [5.0" in said
    assert "than Amari (qaa)?** On average over the languages it hurts: `squad1@qab` −2.0 [−2.0, −2.0]." in said
    assert "+7.0 [7.0, 7.0] in the 3 languages that only `squad1@all=60` has seen" in said
    assert "−10.0 [−10.0, −10.0] in the language (qaa) that only `squad1` has seen" in said
    assert "- `squad1`: gains +8.0 [8.0, 8.0] (2 runs of one language each)" in said
    assert "No: better is Cevo (qac) +3.5 [3.5, 3.5]" in said and "Worse: Belu (qab) −2.5" in said
    assert "change of that lead by phase 2, against `none`: `squad1` −3.0" in said and "issing" not in said


def test_the_source_is_the_best_or_nothing_is_known(study, monkeypatch):
    monkeypatch.setitem(TUNED, "qac", -4)
    write(study)
    assert "best language to train on?** Yes: every other is worse (mean over phase 2" in words(study)
    noisy = make_study(study.folder.parent, "noisy", **study.model_dump(
        include={"intermediate", "targets", "bundle", "further", "seeds", "question"}, mode="json"),
        micro={"languages": CODES})  # fmt: skip
    write(noisy, noise=5.0)
    said = words(noisy)
    assert (
        "No evidence that any other is better or worse (mean over phase 2, on the languages that are neither's; "
        in said
    )
    assert "No evidence on average, either way: `squad1@all=60`" in said
    lines = [line for line in said.splitlines() if line.startswith("- `squad1@") or "instead of" in line]
    spanning = [number for line in lines for number in re.findall(r"\[−\d[^]]*, \d[^]]*\]", line)]
    assert len(spanning) == sum(line.count("] (no evidence)") for line in lines) > 3, "each of them is said to be none"


def test_what_has_not_run_is_missing_and_its_averages_too(study):
    write(study, without={("squad1@qab", 1), ("squad1@qab", 2), ("mnli", 2)})
    said = words(study)
    assert "than Amari (qaa)?** Missing: `squad1@qab`." in said and "- `squad1@qab` against `squad1`: missing" in said
    assert "- `squad1`: missing (2 runs of one language each)" in said
    assert said.endswith("Missing: targets/squad1@qab/tydiqa (seed 1, 2); targets/mnli/tydiqa (seed 2).")
    table = tables(study)[1]["comparisons"].set_index(["first", "second", "group"])
    assert table.loc[("mnli", "none", MEAN), "seeds"] == 1


def test_without_trainings_in_other_languages_phase_3_is_not_asked(study):
    alone = make_study(
        study.folder.parent, "alone", intermediate=["none", "mnli"], targets=["tydiqa"], bundle="each",
        question="source-language", micro={"languages": CODES},
        training={"intermediate": {"epochs": 3}, "target": {"epochs": 3}},
    )  # fmt: skip
    write(alone)
    plan, found = tables(alone)
    assert plan.tuned == {} and found["matrix"].empty and found["sources"].empty and found["factors"].empty
    said = words(alone)
    assert "TyDiQA is trained in the source language alone" in said and "measured in epochs" in said
    assert "**Phase 2 or none?** On average" in said and "in several languages" not in said


def test_how_much_phase_2_was_trained_on(study):
    folder = study.folder / "intermediate" / "squad1@all=60" / "seed1"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps({"examples": {"squad1": 40}, "steps": 10}))
    amounts = asked.amounts(study, asked.design(study, open_source(study))).set_index("intermediate")
    assert amounts.loc["squad1@all=60"].tolist() == [4, 40, 10, 2.0]  # ten steps of eight
    assert amounts.loc["squad1", ["examples", "passes"]].isna().all()


def test_figures_mark_what_phase_2_has_seen_and_nothing_overlaps(study):
    write(study, noise=0.5, without={("mnli", 1), ("mnli", 2)})
    plan, found = tables(study)
    languages = open_source(study).language_table()
    panels = source_language_figures.language_panels(found["languages"], languages, "exact match")
    assert [ax.get_title("left") for ax in panels.axes] == ["none (score)", *RUNS[1:]]
    faces = [ax.collections[-1].get_facecolors()[:, 0] for ax in panels.axes]
    assert [(face < 1).tolist() for face in faces[:4]] == [[code in TRAINED[run] for code in CODES] for run in RUNS[:4]]
    assert [text.get_text() for text in panels.axes[4].texts].count("missing") == 4
    drawn = [
        panels,
        source_language_figures.comparison_dots(found["comparisons"], plan, "exact match"),
        source_language_figures.matrix_panels(found["matrix"], languages, "exact match", plan),
        source_language_figures.source_dots(found["sources"], languages, "exact match", plan),
    ]
    assert [overlapping(figure) for figure in drawn] == [[]] * 4
    pairs = [label.get_text() for label in drawn[1].axes[0].get_yticklabels()]
    assert pairs == ["squad1@qab − squad1", "squad1@all=60 − squad1"]
    outlined = [(p.get_x(), p.get_y()) for p in drawn[2].axes[0].patches]
    assert outlined == [(0, 0), (1, 1), (2, 2), (3, 3)]


NOTEBOOK = ROOT / "notebooks" / "6-source-language.ipynb"


def test_the_notebook_is_thin_and_runs_on_an_unfinished_study(study, monkeypatch, capsys):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(len(cell["source"]) <= 12 and cell["outputs"] == [] and not cell["execution_count"] for cell in code)
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1
    write(study, noise=0.5, without={("squad1@qab", 2)})
    monkeypatch.setattr("xstilts.study.load_study", lambda name: study)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    space = {}
    for cell in code:
        exec("".join(cell["source"]), space)
    assert "missing: targets/squad1@qab/tydiqa (seed 2)" in capsys.readouterr().out
    stems = {f"{name}-{metric}" for name in ("languages", "phase2", "matrix", "sources") for metric in asked.METRICS}
    assert {path.stem for path in study.figures_folder.iterdir()} == {"answer", *stems}
    kept = pd.read_parquet(study.own_folder / "source-language" / "factors.parquet")
    assert set(kept["metric"]) == set(asked.METRICS)


def test_a_study_that_does_not_score_tydiqa_is_refused(tmp_path):
    with pytest.raises(UserError, match='question: "source-language" is asked of tydiqa: name it among the targets'):
        make_study(tmp_path, question="source-language")


def test_the_shipped_study_goes_on_from_the_default_studys_encoders():
    base, study = load_study("micro"), load_study("source-language")
    old, new = Fingerprints(base), Fingerprints(study)
    shared = [run for run in list_runs(base) if run in list_runs(study)]
    assert {run.name for run in shared if run.seed == 1} == {
        "encoder/seed1", *(f"intermediate/{name}/seed1" for name in ("squad1", "mnli", "mnli@qad")),
    }  # fmt: skip
    assert all(old.of(run) == new.of(run) and run.folder(base) == run.folder(study) for run in shared)
    plan, sizes = asked.design(study, open_source(study)), study.micro
    assert all(len(plan.trained[run]) == 8 for run in plan.trained if "@all" in run)
    assert f"squad1@all={sizes.span.train}" in plan.trained, "as many as squad1 has in one language"
    assert f"mnli@all={sizes.classification.train}" in plan.trained


@real
def test_no_training_set_of_the_real_study_holds_what_is_scored():
    """Every set that the shipped study trains on, read; none has a question or a passage of TyDiQA's."""
    study = load_study("files-source-language")
    check_data(study)
    source = open_source(study)
    scored = [row for code in ("en", "id", "ko", "sw") for row in source.load(get("tydiqa"), "dev", code)]
    texts = {row[column] for row in scored for column in ("question", "context")}
    for name, languages in {"xquad": 7, "xnli": 6, "mlqa": 4}.items():
        sets = training_sets(name, get(name), ("all",), source)
        assert len(sets) == languages
        for split, code in sets:
            rows = source.load(get(name), split, code)
            columns = {"question", "context", "text_a", "text_b"} & set(rows.column_names)
            assert len(rows) > 300 and not texts & {text for column in columns for text in rows[column][:]}
    # TyDiQA's own sets may be cut: its languages are no translations of each other
    files = {"root": study.files.root, "splits": {"tydiqa": {"train": "dev[:80%]", "dev": "dev[80%:]"}}}
    cut = open_source(load_study("files-source-language", files=files, training_sets={}))
    parts = [set(cut.load(get("tydiqa"), split, "ko")["id"]) for split in ("train", "dev")]
    assert all(parts) and not set.intersection(*parts)


@real
def test_the_question_on_real_files(tmp_path):
    """The shipped study on a few examples of each set, from a tiny checkpoint: trained, answered and drawn."""
    toy.build_checkpoint(tmp_path / "encoder")
    further = {"runs": ["none"], "targets": ["tydiqa"], "training_languages": ["zh", "all"]}
    values = {
        "based_on": str(ROOT / "params" / "files-source-language.yaml"), "name": "few", "intermediate": ["none"],
        "runs": str(tmp_path / "runs"), "figures": str(tmp_path / "figures"), "further": {"sources": further},
        "encoder": {"checkpoint": str(tmp_path / "encoder")}, "files": {"limits": {"train": 8, "dev": 6, "test": 6}},
        "training": {"intermediate": {"epochs": 1}, "target": {"epochs": 1}},
    }  # fmt: skip
    path = tmp_path / "few.yaml"
    path.write_text(yaml.safe_dump(values))
    small.but_the_answer(path)
    commands.run("make study STUDY=source-language", STUDY=path)
    study = load_study(path)
    stats = asked.read(study, open_source(study))
    assert set(stats["intermediate"]) == {"none", "none > zh", "none > all"}
    assert set(stats["language"]) == {"en", "id", "ko", "sw"}
    said = (study.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert "On real text" in said and "is English (en) the best language to train on?" in said and "issing" not in said
    assert (study.figures_folder / "6-source-language.html").is_file()
