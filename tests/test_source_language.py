"""Question 6. Contrasts against results.py and in coverage, on made-up statistics whose truth is known, and its
notebook on real files."""

import numpy as np
import pandas as pd
import pytest

import small
import toy
from synthetic import known, run_cells, wanted, write
from synthetic import statistics as noisy_statistics
from synthetic import study as make_study
from xstilts import results
from xstilts.errors import UserError
from xstilts.inference import Scores, from_statistics
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

CODES = ["qaa", "qab", "qac", "qad"]
TRAINED = {"none": [], "squad1": ["qaa"], "squad1@qab": ["qab"], "squad1@all=60": CODES, "mnli": ["qaa"]}
FURTHER = {"sources": {"runs": ["none", "squad1"], "targets": ["tydiqa"], "training_languages": ["each", "all"]}}
# Points of exact match that a score is made of.
RUN = {"none": 0, "squad1": 3, "squad1@qab": 1, "squad1@all=60": 2, "mnli": -1}
LANGUAGE = {"qaa": 60, "qab": 40, "qac": 30, "qad": 10}
SEEN = 8  # phase 2 was trained in the language
TUNED = {SOURCE: 0, "qab": -4, "qac": 2, "qad": -6, "all": 1}  # training language of phase 3
OWN = 20  # phase 3 was trained in the language
SHIFT = 3  # after squad1 the other training languages are better by this
TINY = 1e-3  # statistics are in single precision


def study_of(folder, **keys):
    return make_study(
        folder, question="source-language", targets=["tydiqa"], bundle="each", seeds=2, figures=str(folder / "figures"),
        micro={"languages": CODES, "span": {"train": 60}}, **keys,
        training={"intermediate": {"steps": 10, "batch_size": 8, "epochs": 0}},
    )  # fmt: skip


def truth(run, training, language):
    own = training == language or (training == SOURCE and language == "qaa")
    better = SHIFT * (run == "squad1" and training in ("qab", "qac", "qad"))
    return RUN[run] + LANGUAGE[language] + SEEN * (language in TRAINED[run]) + TUNED[training] + OWN * own + better


def statistics(runs, trainings):
    """Exact match equal to the truth, in every example; F1 ten points more."""
    tables = [
        known(lambda run, _, code, seed: truth(run, training, code), runs, ["tydiqa"], CODES, [1, 2])  # noqa: B023
        .assign(training_language=training)
        for training in trainings
    ]  # fmt: skip
    stats = pd.concat(tables, ignore_index=True)
    return stats.assign(numerator=stats["numerator"] + 0.1 * (stats["metric"] == "f1"))


def finish(study, noise=0.0, without=()):
    """Finished runs of phase 3, of the study's own bundle and of the further one."""
    rng = np.random.default_rng(0)
    own, further = statistics(study.intermediate, [SOURCE]), statistics(["none", "squad1"], list(TUNED)[1:])
    for bundle, stats in {"tydiqa": own, **({"sources": further} if study.further else {})}.items():
        stats["numerator"] += noise * rng.normal(size=len(stats))
        absent = [run in without for run in zip(stats["intermediate"], stats["seed"], strict=True)]
        write(stats[~np.array(absent)], study.folder, bundle)


def tables(stats, plan, metric="exact_match"):
    return source_language.tables(from_statistics(stats, metric), plan)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(a finished study without noise, its design, its statistics)"""
    study = study_of(tmp_path_factory.mktemp("finished"), intermediate=list(TRAINED), further=FURTHER)
    finish(study)
    return study, source_language.design(study, open_source(study)), source_language.read(study)


@pytest.fixture(scope="module")
def made(finished):
    _, plan, stats = finished
    return tables(stats, plan)


# --- contrasts ---------------------------------------------------------------------------------------------


def test_a_difference_is_the_gain_of_results():
    runs, codes, seeds = ["none", "squad1"], ["qaa", "qab", "qac"], [1, 2, 3]
    scores = from_statistics(noisy_statistics(runs, ["tydiqa"], codes, seeds, 60))
    table = results.estimates(scores, wanted(runs, ["tydiqa"], codes, seeds), "qaa").query("target == 'tydiqa'")
    plan = source_language.Design("qaa", tuple(codes), dict.fromkeys(runs, frozenset()), {}, {})
    ours = (
        source_language.languages(scores, plan)
        .drop(columns=["seen", "significant"])
        .set_index(["intermediate", "language"])
    )
    rows = table[table["quantity"] == np.where(table["intermediate"] == "none", "score", "gain")]
    rows = rows.set_index(["intermediate", "language"]).loc[ours.index, ours.columns]
    pd.testing.assert_frame_equal(ours, rows, atol=1e-5)


def seed_scores(values: dict):
    """Scores without influence of examples: run -> value with each seed."""
    cells = {(run, "tydiqa", "qab"): np.array(score, float) for run, score in values.items()}
    return Scores(cells, list(range(len(next(iter(values.values()))))))


def test_a_seed_that_lacks_a_part_does_not_count_and_no_seed_is_a_gap():
    scores = seed_scores({"a": [2, 4, np.nan], "b": [np.nan] * 3})
    contrasts = {(run,): {(run, "tydiqa", "qab"): 1.0} for run in "ab"}
    table = source_language.estimates(scores, contrasts, ("name",))
    assert table["seeds"].tolist() == [2, 0] and table["value"].tolist() == pytest.approx([3, np.nan], nan_ok=True)
    joint = source_language.estimates(scores, {("b",): contrasts["b",]}, ("name",), simultaneous=True)
    assert joint[["value", "low", "high"]].isna().all(axis=None) and joint["seeds"].tolist() == [0]


def test_simultaneous_intervals_cover_all_truths_at_once():
    """Seven comparisons with a control whose truth is 0, five seeds; single intervals miss one of seven far more often.
    Dunnett's quantile of 7 and 28 degrees of freedom is 2.74."""
    rng, hits = np.random.default_rng(1), {True: [], False: []}
    for _ in range(300):
        scores = seed_scores({run: rng.normal(50, 2, 5) for run in "cdefghi"} | {"none": rng.normal(50, 2, 5)})
        gains = {(run,): {(run, "tydiqa", "qab"): 1.0, ("none", "tydiqa", "qab"): -1.0} for run in "cdefghi"}
        for simultaneous in hits:
            table = source_language.estimates(scores, gains, ("row",), simultaneous)
            hits[simultaneous].append(((table["low"] <= 0) & (table["high"] >= 0)).all())
    assert 0.92 <= np.mean(hits[True]) <= 0.985 and np.mean(hits[False]) < 0.88


# --- tables ------------------------------------------------------------------------------------------------


def test_the_design_is_read_off_the_settings(finished):
    plan = finished[1]
    assert plan.source == "qaa" and list(plan.languages) == CODES
    assert plan.trained == {run: frozenset(codes) for run, codes in TRAINED.items()}
    assert plan.tasks == {"none": "", "mnli": "mnli"} | dict.fromkeys(list(TRAINED)[1:4], "squad1")
    assert plan.tuned == {run: (SOURCE, "qab", "qac", "qad", "all") for run in ("none", "squad1")}


def test_phase_2_is_recovered(finished, made):
    gains = made["languages"].set_index(["intermediate", "language"])
    assert gains.loc[("none", "qaa"), "value"] == pytest.approx(60 + OWN) and not gains.loc["none", "seen"].any()
    assert gains.loc["squad1@qab", "value"].drop(MEAN).tolist() == pytest.approx([1, 9, 1, 1], abs=TINY)
    assert gains.loc["squad1@qab", "seen"].tolist() == [False, True, False, False, False]
    pairs = made["comparisons"].set_index(["first", "second", "group"])["value"].sort_index()
    expected = {
        ("squad1@qab", "squad1"): {MEAN: -2, ADDED: -2 + SEEN, DROPPED: -2 - SEEN, NEITHER: -2},
        ("squad1@all=60", "squad1"): {MEAN: -1 + SEEN * 3 / 4, BOTH: -1, ADDED: -1 + SEEN},
        ("mnli", "none"): {MEAN: -1 + SEEN / 4, ADDED: -1 + SEEN, NEITHER: -1},
    }
    for pair, values in expected.items():
        assert pairs[pair].to_dict() == pytest.approx(values, abs=TINY)
    assert made["seen"][["task", "value", "runs"]].values.tolist() == [["squad1", pytest.approx(SEEN, abs=TINY), 2]]
    f1 = tables(finished[2], finished[1], "f1")["languages"]["value"]
    assert f1.iloc[0] == pytest.approx(60 + OWN + 10)


def test_having_been_seen_is_the_coefficient_of_a_regression(finished):
    """Against ordinary least squares with a dummy for every run and language, on scores with noise."""
    _, plan, stats = finished
    runs = ["squad1", "squad1@qab"]
    stats = stats.query("metric == 'exact_match'")
    stats = stats.assign(numerator=stats["numerator"] + np.random.default_rng(0).normal(0, 0.3, len(stats)))
    score = 100 * stats.groupby(["intermediate", "language"])["numerator"].mean()
    rows, values = [], []
    for run in runs:
        for code in CODES:
            rows.append([code in plan.trained[run], *(run == r for r in runs), *(code == c for c in CODES)])
            values.append(score[run, code])
    coefficient = np.linalg.lstsq(np.array(rows, float), np.array(values), rcond=None)[0][0]
    row = tables(stats, plan)["seen"].iloc[0]
    assert row["value"] == pytest.approx(coefficient, abs=TINY) and row["low"] < coefficient < row["high"]


def test_the_language_of_phase_3_is_recovered_without_the_advantage_of_its_own_test_language(made):
    sources = made["sources"].set_index(["intermediate", "training"])
    for run, values in {"none": (-4, 2, -6), "squad1": (-1, 5, -3), OVER_RUNS: (-2.5, 3.5, -4.5)}.items():
        assert sources.loc[run, "value"][CODES[1:]].tolist() == pytest.approx(values, abs=TINY)
    assert set(sources["languages"]) == {2}
    # what averages over all languages but one's own would have said: their languages differ
    matrix = made["matrix"].query("intermediate == 'none'").pivot_table("value", "training", "language")
    naive = matrix.loc["qac", ["qaa", "qab", "qad"]].mean() - matrix.loc[SOURCE, ["qab", "qac", "qad"]].mean()
    assert naive == pytest.approx(2 + (60 - 30) / 3, abs=TINY)
    assert matrix.loc["qac", "qac"] == pytest.approx(30 + 2 + OWN, abs=TINY)
    effects = made["factors"].set_index(["intermediate", "effect"])["value"]
    assert effects["none"].to_dict() == pytest.approx({"lead": 8 / 3, "own": OWN - 8 / 3, "all": 1}, abs=TINY)
    expected = {"lead": 8 / 3 - SHIFT, "change of lead": -SHIFT, "own": OWN - 8 / 3 + SHIFT, "all": 1}
    assert effects["squad1"].to_dict() == pytest.approx(expected, abs=TINY)


def test_only_whole_trainings_of_tydiqa_count_and_each_once(tmp_path):
    study = study_of(tmp_path, intermediate=["none"], further={"sources": FURTHER["sources"] | {"runs": ["none"]}})
    whole = statistics(["none"], TUNED)
    again = statistics(["none"], [SOURCE]).assign(training_language="qaa")  # what the own bundle has, by another name
    few = whole.assign(examples=10, numerator=0.0)
    write(statistics(["none"], [SOURCE]), study.folder, "tydiqa")
    write(pd.concat([whole, again, few, whole.assign(target="xnli")]), study.folder, "sources")
    stats = source_language.read(study)
    assert set(stats["intermediate"]) == {"none", "none > qab", "none > qac", "none > qad", "none > all"}
    assert len(stats) == len(whole) and stats["numerator"].min() > 0


def test_the_answer_follows_the_numbers(finished, made):
    plan = finished[1]
    assert source_language.sentences(made, plan) == [
        "Phase 2 in several languages instead of qaa: better in 1 of 1 comparisons, worse in 0.",
        "Phase 2 in one other language instead of qaa: better in 0 of 1 comparisons, worse in 1.",
        "TyDiQA trained in another language than qaa: better in 1 of 3 comparisons, worse in 2.",
        "What a language gains by being among those of phase 2 (`squad1`): +8.0 [8.0, 8.0].",
    ]
    table = source_language.verdicts(made, plan).set_index(["run", "against"])["verdict"]
    assert table["squad1@all=60", "squad1"] == "helps" and table["TyDiQA in qab", "TyDiQA in qaa"] == "hurts"


def test_the_notebook_shows_an_unfinished_study(tmp_path):
    study = study_of(tmp_path, intermediate=list(TRAINED), further=FURTHER)
    finish(study, noise=0.5, without={("squad1@qab", 1), ("squad1@qab", 2), ("mnli", 2)})
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


def test_without_trainings_in_other_languages_phase_3_is_not_asked(tmp_path):
    study = study_of(tmp_path, intermediate=["none", "mnli"])
    finish(study)
    names = run_cells(study)
    assert names["design"].tuned == {} and names["lines"] == []
    assert all(names["exact"][table].empty for table in ("matrix", "sources", "factors"))


def test_a_study_that_does_not_score_tydiqa_is_refused(tmp_path):
    with pytest.raises(UserError, match='question: "source-language" is asked of tydiqa: name it among the targets'):
        make_study(tmp_path, question="source-language")


def test_the_shipped_study_goes_on_from_the_default_studys_encoders():
    base, study = load_study("micro"), load_study("source-language")
    old, new = Fingerprints(base), Fingerprints(study)
    shared = [run for run in list_runs(base) if run in list_runs(study)]
    names = {run.name for run in shared if run.seed == 1}
    assert names == {"encoder/seed1", *(f"intermediate/{name}/seed1" for name in ("squad1", "mnli", "mnli@qad"))}
    assert all(old.of(run) == new.of(run) and run.folder(base) == run.folder(study) for run in shared)
    assert f"squad1@all={study.micro.span.train}" in study.intermediate, "as many as squad1 has in one language"


real = pytest.mark.skipif(not (ROOT / "../shared/data").is_dir(), reason="no real data here")


@real
def test_no_training_set_of_the_real_study_holds_what_is_scored():
    """Every set that the shipped study trains on, read; none has a question or a passage of TyDiQA's."""
    source, columns = open_source(load_study("files-source-language")), {"question", "context", "text_a", "text_b"}
    scored = [row for code in ("en", "id", "ko", "sw") for row in source.load(get("tydiqa"), "dev", code)]
    texts = {row[column] for row in scored for column in ("question", "context")}
    for name, languages in {"xquad": 7, "xnli": 6, "mlqa": 4}.items():
        sets = [source.load(get(name), *part) for part in training_sets(name, get(name), ("all",), source)]
        assert len(sets) == languages and min(map(len, sets)) > 300
        assert not any(texts & set(rows[column][:]) for rows in sets for column in columns & set(rows.column_names))


@real
def test_the_question_on_real_files(tmp_path):
    """The committed study on a few examples of each set, from a tiny checkpoint: trained, answered and drawn."""
    toy.build_checkpoint(tmp_path / "encoder")
    study = make_study(
        tmp_path, based_on=str(ROOT / "params" / "files-source-language.yaml"), targets=["tydiqa"], seeds=1,
        further={"sources": {"runs": ["none"], "targets": ["tydiqa"], "training_languages": ["zh", "all"]}},
        encoder={"checkpoint": str(tmp_path / "encoder")}, files={"limits": {"train": 4, "dev": 4, "test": 4}},
        training={"intermediate": {"epochs": 1}, "target": {"epochs": 1}}, figures=str(tmp_path / "figures"),
    )  # fmt: skip
    check_data(load_study("files-source-language"))  # nothing that is scored is trained on
    small.at_once(study.path)
    stats = run_cells(study)["stats"]
    assert set(stats["intermediate"]) == {"none", "none > zh", "none > all"}
    assert set(stats["language"]) == {"en", "id", "ko", "sw"}
    answer = (study.figures_folder / "answer.md").read_text(encoding="utf-8")
    lines, table = answer.split("\n\n")
    coverage = "one seed: the intervals cover test examples alone, so nothing is said to help or to hurt."
    assert lines == f"- On real text: {coverage}"
    assert "| TyDiQA in zh | TyDiQA in en | one seed |" in table and "issing" not in table
