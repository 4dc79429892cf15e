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
    one = toy(tmp_path, further={"direct": DIRECT | {"examples": [10, 0]}})
    source = open_source(one)
    found = target_runs(one, source, "direct")
    assert [tuning.name for tuning in found] == [
        "xnli=10",
        "xnli",
        "xnli@qab=10",
        "xnli@qab",
        "xnli@qac=10",
        "xnli@qac",
    ]
    assert [tuning.languages(one, source) for tuning in found[1::2]] == [LANGUAGES, ["qab"], ["qac"]]
    assert [tuning.training_language for tuning in found[::2]] == ["source", "qab", "qac"]
    assert [tuning.training_sets(one, source) for tuning in found[::2]] == [[("train", code)] for code in LANGUAGES]
    assert [tuning.phase(one).examples for tuning in found[:2]] == [10, 0]
    assert found[2].model(one) == "mnli@qab=10", "XNLI is trained on MNLI"
    assert [tuning.name for tuning in target_runs(one, source, "all")] == ["xnli", "tatoeba"]


def test_targets_of_a_further_bundle_in_jobs_of_their_own(tmp_path):
    keys = DIRECT | {"targets": ["xnli", "xcopa"], "bundle": "each"}
    one = toy(tmp_path, further={"direct": keys})
    source = open_source(one)
    assert one.bundles_of("none") == ["all", "direct-xnli", "direct-xcopa"] and one.bundles_of("mnli") == ["all"]
    parts = [target_runs(one, source, part) for part in one.parts("direct")]
    assert [{tuning.target for tuning in part} for part in parts] == [{"xnli"}, {"xcopa"}]
    assert [tuning for part in parts for tuning in part] == target_runs(one, source, "direct")


def test_all_languages_and_every_language_scored(tmp_path):
    one = toy(tmp_path, further={"joint": {"targets": ["xnli"], "training_languages": ["all", "qac"]}})
    source = open_source(one)
    joint, single = target_runs(one, source, "joint")
    assert (joint.name, single.name) == ("xnli@all", "xnli@qac")
    assert joint.training_sets(one, source) == [("train", code) for code in LANGUAGES]
    assert joint.languages(one, source) == single.languages(one, source) == LANGUAGES


def test_a_retrieval_target_is_the_encoder_as_it_is_unless_trained():
    raw, tuned = TargetRun(get("tatoeba")), TargetRun(get("tatoeba"), "source")
    assert (raw.name, raw.training_language, raw.untrained) == ("tatoeba", "untrained", True)
    assert (tuned.name, tuned.training_language, tuned.untrained) == ("tatoeba@source", "source", False)


def test_few_examples_still_take_their_steps(tmp_path):
    training = {"intermediate": {"steps": 9}, "target": {"epochs": 2, "batch_size": 8}}
    one = toy(tmp_path, training=training, further={"direct": DIRECT | {"examples": [10], "min_steps": 30}})
    phase = target_runs(one, open_source(one), "direct")[0].phase(one)
    assert phase.total_steps([10], one.training.mix) == 30
    assert phase.total_steps([4000], one.training.mix) == 1000, "two epochs of 500 batches"


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
        ({"direct": DIRECT | {"exampels": [3]}}, 'further.direct.exampels: unknown key; did you mean "examples"'),
        ({"direct": DIRECT | {"examples": [-1]}}, "further.direct.examples.0: input should be greater"),
        ({"Direct": DIRECT}, "further.Direct"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_before(tmp_path, further, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        toy(tmp_path, further=further)


def test_data_of_further_trainings_are_looked_for_before(tmp_path):
    check_data(toy(tmp_path, further={"direct": DIRECT | {"targets": ["xcopa"], "training_languages": ["mt"]}}))
    small = toy(tmp_path, micro={"languages": LANGUAGES[:2]}, further={"direct": DIRECT})
    check_data(small)
    with pytest.raises(UserError, match='no data with gold labels for "rte"'):
        check_data(toy(tmp_path, further={"direct": DIRECT | {"targets": ["rte"]}}))


def test_a_study_shares_the_runs_of_the_one_it_is_based_on_alone(tmp_path):
    base = toy(tmp_path)
    path = tmp_path / "question.yaml"
    path.write_text("based_on: {}\nname: question\nshares: toy\nquestion: domain-shift\n".format(tmp_path / "toy.yaml"))
    shared = load_study(path)
    assert shared.folder == base.folder and shared.own_folder == base.folder.with_name("question")
    assert {run.name: run.folder(shared) for run in list_runs(base) if not run.final} == {
        run.name: run.folder(base) for run in list_runs(base) if not run.final
    }
    final = list_runs(shared)[-1]
    assert final.name == "domain-shift" and final.folder(shared) == shared.own_folder / "domain-shift"
    path.write_text(path.read_text().replace("shares: toy", "shares: micro"))
    with pytest.raises(UserError, match='shares: "micro": a study shares the runs of the one it is based on'):
        load_study(path)
