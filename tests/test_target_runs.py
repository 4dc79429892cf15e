"""Further trainings of phase 3: their names, what they train on and are scored in, and what they leave alone."""

import pytest

from synthetic import study
from xstilts.errors import UserError
from xstilts.preflight import check_data
from xstilts.runs import Fingerprints, list_runs
from xstilts.sources import open_source
from xstilts.study import load_study
from xstilts.target_runs import TargetRun, target_runs
from xstilts.tasks import get

LANGUAGES = ["qaa", "qab", "qac"]
DIRECT = {"runs": ["none"], "targets": ["xnli"], "training_languages": ["source", "each"], "scored_in": "own"}


def toy(folder, name="toy", **keys):
    values = {"intermediate": ["none", "mnli"], "targets": ["xnli", "tatoeba"], "seeds": 2,
              "micro": {"languages": LANGUAGES}, "training": {"intermediate": {"steps": 9, "epochs": 0},
                                                              "target": {"steps": 9, "epochs": 0}}}  # fmt: skip
    return study(folder, name, **values | keys)


def test_a_further_bundle_spelt_out(tmp_path):
    toy_study = toy(tmp_path, further={"direct": DIRECT | {"examples": [10, 0]}})
    source = open_source(toy_study)
    runs = target_runs(toy_study, source, "direct")
    names = ["xnli=10", "xnli", "xnli@qab=10", "xnli@qab", "xnli@qac=10", "xnli@qac"]
    assert [run.name for run in runs] == names
    assert [run.languages(toy_study, source) for run in runs[1::2]] == [LANGUAGES, ["qab"], ["qac"]]
    assert [run.training_language for run in runs[::2]] == ["source", "qab", "qac"]
    assert [run.training_sets(toy_study, source) for run in runs[::2]] == [[("train", code)] for code in LANGUAGES]
    assert [run.phase(toy_study).examples for run in runs[:2]] == [10, 0]
    assert runs[2].model(toy_study) == "mnli@qab=10", "XNLI is trained on MNLI"
    raw, tuned = target_runs(toy_study, source, "all")[1], TargetRun(get("tatoeba"), "source")
    assert (raw.name, raw.training_language, raw.untrained) == ("tatoeba", "untrained", True)
    assert (tuned.name, tuned.training_language, tuned.untrained) == ("tatoeba@source", "source", False)


def test_a_bundle_in_jobs_of_their_own_and_all_languages_in_every_language_scored(tmp_path):
    joint = {"targets": ["xnli"], "training_languages": ["all", "qac"]}
    direct = DIRECT | {"targets": ["xnli", "xcopa"], "bundle": "each"}
    toy_study = toy(tmp_path, further={"direct": direct, "joint": joint})
    source = open_source(toy_study)
    assert toy_study.bundles_of("none") == ["all", "direct-xnli", "direct-xcopa", "joint"]
    parts = [target_runs(toy_study, source, part) for part in toy_study.parts("direct")]
    assert [{run.target for run in part} for part in parts] == [{"xnli"}, {"xcopa"}]
    assert [run for part in parts for run in part] == target_runs(toy_study, source, "direct")
    every, single = target_runs(toy_study, source, "joint")
    assert (every.name, single.name) == ("xnli@all", "xnli@qac")
    assert every.training_sets(toy_study, source) == [("train", code) for code in LANGUAGES]
    assert every.languages(toy_study, source) == single.languages(toy_study, source) == LANGUAGES


def test_few_examples_still_take_their_steps(tmp_path):
    training = {"intermediate": {"steps": 9}, "target": {"epochs": 2, "batch_size": 8}}
    toy_study = toy(tmp_path, training=training, further={"direct": DIRECT | {"examples": [10], "min_steps": 30}})
    phase = target_runs(toy_study, open_source(toy_study), "direct")[0].phase(toy_study)
    assert phase.total_steps([10], toy_study.training.mix) == 30
    assert phase.total_steps([4000], toy_study.training.mix) == 1000, "two epochs of 500 batches"


def test_further_runs_follow_the_encoders_they_name(tmp_path):
    plain, more = toy(tmp_path), toy(tmp_path, further={"direct": DIRECT})
    names = [run.name for run in list_runs(more)]
    assert set(names) - {run.name for run in list_runs(plain)} == {f"targets/none/direct/seed{n}" for n in (1, 2)}
    old, new = Fingerprints(plain), Fingerprints(more)
    assert all(old.of(run) == new.of(run) for run in list_runs(plain) if not run.final), "nothing is done again"


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"all": DIRECT}, "further.all: a bundle of the study's own has that name"),
        ({"direct": DIRECT | {"runs": ["mnlli"]}}, 'further.direct.runs: "mnlli" is no run of the study'),
        ({"direct": DIRECT | {"targets": ["xnlli"]}}, 'further.direct.targets: unknown task "xnlli"; did you mean'),
        ({"direct": DIRECT | {"training_languages": ["qa"]}}, 'unknown language "qa"'),
        ({"direct": DIRECT | {"training_languages": ["untrained"]}}, '"untrained" is for retrieval; xnli must'),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_before(tmp_path, further, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        toy(tmp_path, further=further)


def test_data_of_further_trainings_are_looked_for_before(tmp_path):
    check_data(toy(tmp_path, further={"direct": DIRECT | {"targets": ["xcopa"], "training_languages": ["mt"]}}))
    with pytest.raises(UserError, match='no data with gold labels for "rte"'):
        check_data(toy(tmp_path, further={"direct": DIRECT | {"targets": ["rte"]}}))


def test_a_study_shares_the_runs_of_the_one_it_is_based_on_alone(tmp_path):
    toy(tmp_path)
    (tmp_path / "other.yaml").write_text(f"based_on: {tmp_path}/toy.yaml\nname: other\nshares: micro\n")
    with pytest.raises(UserError, match='shares: "micro": a study shares the runs of the one it is based on'):
        load_study(tmp_path / "other.yaml")
