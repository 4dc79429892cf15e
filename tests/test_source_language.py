"""Question 6. Contrasts against results.py and in coverage, on made-up statistics whose truth is known, and through
the study's own command."""

import numpy as np
import pandas as pd
import pytest
import yaml

import commands
import small
import toy
from synthetic import run_cells, wanted
from synthetic import statistics as noisy_statistics
from synthetic import study as make_study
from xstilts import results
from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.names import SOURCE
from xstilts.preflight import check_data
from xstilts.questions import source_language
from xstilts.questions.source_language import ADDED, BOTH, DROPPED, NEITHER, OVER_RUNS
from xstilts.results import MEAN
from xstilts.runs import Fingerprints, list_runs
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
    plan = source_language.design(study, source)
    replicates = results.resample(source_language.read(study, source), np.random.default_rng(0), 200, metric)
    return plan, source_language.tables(replicates, plan)


# --- contrasts ---------------------------------------------------------------------------------------------


def test_a_difference_is_the_gain_of_results():
    runs, languages, seeds = ["none", "squad1"], ["qaa", "qab", "qac"], [1, 2, 3]
    stats = noisy_statistics(runs, ["tydiqa"], languages, seeds, 60)
    replicates = results.resample(stats, np.random.default_rng(3), 300)
    table = results.estimates(replicates, wanted(runs, ["tydiqa"], languages, seeds), "qaa")
    gain = table[(table["quantity"] == "gain") & (table["target"] == "tydiqa")].set_index("language")
    groups = {code: (code,) for code in languages} | {"mean": languages}
    contrasts = {
        (name,): source_language.average(replicates, "squad1", codes)
        - source_language.average(replicates, "none", codes)
        for name, codes in groups.items()
    }
    ours = source_language.estimates(replicates, contrasts, ("language",)).set_index("language")
    np.testing.assert_allclose(ours.astype(float), gain.loc[ours.index, list(ours)].astype(float), atol=1e-5)


def contrast(score, deviations=0.0, resamples=400):
    score = np.array(score, float)[:, None]
    return np.hstack([score, np.broadcast_to(deviations, (len(score), resamples))])


def replicates_of(seeds, rng=None, resamples=400):
    return results.Replicates({}, {}, list(range(seeds)), resamples, rng or np.random.default_rng(0))


def test_a_seed_that_lacks_a_part_does_not_count_and_no_seed_is_a_gap():
    three = replicates_of(3)
    contrasts = {("a",): contrast([2, 4, np.nan]), ("b",): contrast([np.nan] * 3)}
    table = source_language.estimates(three, contrasts, ("name",))
    assert table["seeds"].tolist() == [2, 0] and table["value"].tolist() == pytest.approx([3, np.nan], nan_ok=True)
    joint = source_language.estimates(three, {("b",): contrasts["b",]}, ("name",), simultaneous=True)
    assert joint[["value", "low", "high"]].isna().all(axis=None) and joint["seeds"].tolist() == [0]


def test_scores_by_one_metric():
    stats = noisy_statistics(["none"], ["tydiqa"], CODES, [1], 40)
    parts = {metric: results.resample(stats, np.random.default_rng(0), 50, metric) for metric in ("exact_match", "f1")}
    both = results.resample(stats, np.random.default_rng(0), 50)
    by_hand = stats.groupby(["metric", "language"])["numerator"].mean() * 100
    for code in CODES:
        key = ("none", "tydiqa", code)
        values = [parts[metric].score[key][0] for metric in parts]
        assert values == pytest.approx([by_hand[metric, code] for metric in parts])
        assert both.score[key][0] == pytest.approx(np.mean(values))
        # one and the same resamples: the mean of the parts is the whole, resample by resample
        mean = np.mean([parts[metric].deviation[key] for metric in parts], axis=0)
        np.testing.assert_allclose(both.deviation[key], mean, atol=1e-4)


def test_simultaneous_intervals_cover_all_truths_at_once():
    """Seven contrasts whose truth is 0, five seeds; single intervals miss one of seven far more often."""
    rng, hits = np.random.default_rng(1), {True: [], False: []}
    for _ in range(150):
        scores = rng.normal(0, 1.5, (7, 1)) + rng.normal(0, 2, (7, 5))
        spread = rng.normal(0, 1.5, (7, 400))
        contrasts = {(row,): contrast(scores[row], spread[row]) for row in range(7)}
        replicates = replicates_of(5, rng)
        for simultaneous in hits:
            table = source_language.estimates(replicates, contrasts, ("row",), simultaneous)
            hits[simultaneous].append(((table["low"] <= 0) & (table["high"] >= 0)).all())
    assert np.mean(hits[True]) >= 0.92 and np.mean(hits[False]) < 0.87


def test_simultaneous_intervals_of_one_contrast_are_those_of_a_normal():
    contrasts = {("a",): contrast([7], np.random.default_rng(0).normal(0, 2, 4000), 4000)}
    row = source_language.estimates(replicates_of(1, resamples=4000), contrasts, ("name",), True).iloc[0]
    assert row["value"] == 7 and (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * 2, rel=0.05)


# --- tables ------------------------------------------------------------------------------------------------


def test_the_design_is_read_off_the_settings(study):
    plan = source_language.design(study, open_source(study))
    assert plan.source == "qaa" and list(plan.languages) == CODES
    assert plan.trained == {run: frozenset(codes) for run, codes in TRAINED.items()}
    assert plan.tasks == {"none": "", "mnli": "mnli"} | dict.fromkeys(RUNS[1:4], "squad1")
    assert plan.tuned == {run: (SOURCE, "qab", "qac", "qad", "all") for run in ("none", "squad1")}


def test_phase_2_is_recovered(study):
    write(study)
    _, made = tables(study)
    gains = made["languages"].set_index(["intermediate", "language"])
    assert gains.loc[("none", "qaa"), "value"] == pytest.approx(60 + OWN) and not gains.loc["none", "seen"].any()
    assert gains.loc["squad1@qab", "value"].drop(MEAN).tolist() == pytest.approx([1, 9, 1, 1], abs=TINY)
    assert gains.loc["squad1@qab", "seen"].tolist() == [False, True, False, False, False]
    pairs = made["comparisons"].set_index(["first", "second", "group"])["value"].sort_index()
    assert pairs["squad1@qab", "squad1"].to_dict() == pytest.approx(
        {MEAN: -2, ADDED: -2 + SEEN, DROPPED: -2 - SEEN, NEITHER: -2}, abs=TINY
    )
    assert pairs["squad1@all=60", "squad1"].to_dict() == pytest.approx(
        {MEAN: -1 + SEEN * 3 / 4, BOTH: -1, ADDED: -1 + SEEN}, abs=TINY
    )
    assert pairs["mnli", "none"].to_dict() == pytest.approx(
        {MEAN: -1 + SEEN / 4, ADDED: -1 + SEEN, NEITHER: -1}, abs=TINY
    )
    assert made["seen"][["task", "value", "runs"]].values.tolist() == [["squad1", pytest.approx(SEEN, abs=TINY), 2]]
    assert tables(study, "f1")[1]["languages"]["value"].iloc[0] == pytest.approx(60 + OWN + 10)


def test_having_been_seen_is_the_coefficient_of_a_regression(study):
    """Against ordinary least squares with a dummy for every run and language, on scores with noise."""
    write(study, noise=0.3)
    plan, made = tables(study)
    runs = ["squad1", "squad1@qab"]
    stats = source_language.read(study, open_source(study)).query("metric == 'exact_match'")
    score = 100 * stats.groupby(["intermediate", "language", "seed"])["numerator"].mean()
    score = score.groupby(level=[0, 1]).mean()
    rows, values = [], []
    for run in runs:
        for code in CODES:
            rows.append([code in plan.trained[run], *(run == r for r in runs), *(code == c for c in CODES)])
            values.append(score[run, code])
    coefficient = np.linalg.lstsq(np.array(rows, float), np.array(values), rcond=None)[0][0]
    row = made["seen"].iloc[0]
    assert row["value"] == pytest.approx(coefficient, abs=TINY) and row["low"] < coefficient < row["high"]


def test_the_language_of_phase_3_is_recovered_without_the_advantage_of_its_own_test_language(study):
    write(study)
    _, made = tables(study)
    sources = made["sources"].set_index(["intermediate", "training"])
    assert sources.loc["none", "value"].to_dict() == pytest.approx({"qab": -4, "qac": 2, "qad": -6}, abs=TINY)
    assert sources.loc["squad1", "value"].to_dict() == pytest.approx({"qab": -1, "qac": 5, "qad": -3}, abs=TINY)
    assert sources.loc[OVER_RUNS, "value"].to_dict() == pytest.approx({"qab": -2.5, "qac": 3.5, "qad": -4.5}, abs=TINY)
    assert set(sources["languages"]) == {2}
    # what averages over all languages but one's own would have said: their languages differ
    matrix = made["matrix"].query("intermediate == 'none'").pivot(
        index="training", columns="language", values="value")  # fmt: skip
    naive = matrix.loc["qac", ["qaa", "qab", "qad"]].mean() - matrix.loc[SOURCE, ["qab", "qac", "qad"]].mean()
    assert naive == pytest.approx(2 + (60 - 30) / 3, abs=TINY)
    assert matrix.loc["qac", "qac"] == pytest.approx(30 + 2 + OWN, abs=TINY)
    effects = made["factors"].set_index(["intermediate", "effect"])["value"]
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
    stats = source_language.read(study, open_source(study))
    names = {*RUNS, *(f"{run} > {code}" for run in ("none", "squad1") for code in ("qab", "qac", "qad", "all"))}
    assert set(stats["intermediate"]) == names
    assert len(stats) == len(names) * 2 * len(CODES) * 2 * 20
    assert stats.query("intermediate == 'none > qab'")["numerator"].min() > 0


def test_the_answer_follows_the_numbers(study):
    write(study)
    plan, made = tables(study)
    assert source_language.sentences(made, plan) == [
        "Phase 2 in several languages instead of qaa: better in 1 of 1 comparisons, worse in 0.",
        "Phase 2 in one other language instead of qaa: better in 0 of 1 comparisons, worse in 1.",
        "TyDiQA trained in another language than qaa: better in 1 of 3 comparisons, worse in 2.",
        "What a language gains by being among those of phase 2 (`squad1`): +8.0 [8.0, 8.0].",
    ]
    table = source_language.verdicts(made, plan).set_index(["run", "against"])["verdict"]
    assert table["squad1@all=60", "squad1"] == "helps" and table["TyDiQA in qab", "TyDiQA in qaa"] == "hurts"


def test_the_notebook_shows_an_unfinished_study(study):
    write(study, noise=0.5, without={("squad1@qab", 1), ("squad1@qab", 2), ("mnli", 2)})
    made = run_cells(study)["exact"]
    table = made["comparisons"].set_index(["first", "second", "group"])["seeds"].to_dict()
    assert table["mnli", "none", MEAN] == 1 and table["squad1@qab", "squad1", MEAN] == 0
    assert made["seen"]["value"].isna().all()
    answer = (study.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert "- Missing, or of fewer seeds: `squad1@qab`, `mnli`.\n" in answer and "| missing |" in answer
    figures = {path.stem for path in study.figures_folder.glob("*.png")}
    assert figures == {f"{name}-exact_match" for name in ("languages", "phase2", "matrix", "sources")}
    assert len(list(study.figures_folder.glob("*-f1.csv"))) == 4
    factors = pd.read_parquet(study.own_folder / "source-language" / "factors.parquet")
    assert set(factors["metric"]) == set(source_language.METRICS)


def test_without_trainings_in_other_languages_phase_3_is_not_asked(study):
    alone = make_study(
        study.folder.parent, "alone", intermediate=["none", "mnli"], targets=["tydiqa"], bundle="each",
        question="source-language", micro={"languages": CODES}, figures=study.figures,
    )  # fmt: skip
    write(alone)
    names = run_cells(alone)
    assert names["design"].tuned == {} and all(
        names["exact"][table].empty for table in ("matrix", "sources", "factors")
    )
    assert names["lines"] == []


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
    plan, sizes = source_language.design(study, open_source(study)), study.micro
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
    stats = source_language.read(study, open_source(study))
    assert set(stats["intermediate"]) == {"none", "none > zh", "none > all"}
    assert set(stats["language"]) == {"en", "id", "ko", "sw"}
    answer = (study.figures_folder / "answer.md").read_text(encoding="utf-8")
    assert (
        "On real text" in answer and "TyDiQA trained in another language than en" in answer and "issing" not in answer
    )
    assert (study.figures_folder / "6-source-language.html").is_file()
