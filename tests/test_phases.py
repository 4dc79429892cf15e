"""What the notebooks show of a training: trials with other settings, tokens with their characters and labels."""

import numpy as np
import pytest

import small
from xstilts import phases
from xstilts.features import IGNORED, encode, token_table
from xstilts.io import read_record
from xstilts.sources import open_source
from xstilts.study import load_study


def test_a_training_changed_by_hand_is_never_taken_for_the_studys(tmp_path):
    study = load_study(small.write(tmp_path, "small"))
    source = open_source(study)
    phases.encoder(study, source, 1)
    own = phases.intermediate(study, source, "mnli", 1)
    training = phases.intermediate_training(study, source, "mnli", 1)
    trial = training.changed(learning_rate=0.01)
    assert training.finished() == own and trial.finished() is None
    assert trial.folder.is_relative_to(study.folder / "trials")
    record = phases.trained(trial, "none")
    assert trial.finished() == record and training.finished() == own
    assert training.changed(learning_rate=0.02).finished() is None  # nor for another trial
    with pytest.raises(ValueError, match="learning_rte"):
        training.changed(learning_rte=0.01)


@pytest.mark.parametrize("name", ["mnli", "hellaswag", "ccg", "squad2"])
def test_shuffled_labels_are_those_of_others(tmp_path, name):
    study = load_study(small.write(tmp_path, "small", intermediate=["none", name, f"{name}+shuffled"]))
    source = open_source(study)
    phases.encoder(study, source, 1)
    tokenizer = phases.load_tokenizer(phases.encoder_of(study, "none", 1))
    (own,), (shuffled,) = (
        phases.intermediate_training(study, source, run, 1).datasets(tokenizer) for run in study.intermediate[1:]
    )
    assert own.labels == shuffled.labels and len(own.features) == len(shuffled.features)
    golds = []
    for item in (own, shuffled):
        if name == "squad2":  # which windows have an answer, and of what length
            spans = [(row["start_positions"], row["end_positions"]) for row in item.features]
            golds.append([end - start if end else -1 for start, end in spans])
            inside = [row["offsets"][at] for row, span in zip(item.features, spans, strict=True) for at in span if at]
            assert all(inside)  # of the passage, not of the question
        else:
            golds.append([label for row in item.features for label in np.ravel(row["labels"]).tolist()])
    assert golds[0] != golds[1] and sorted(golds[0]) == sorted(golds[1])
    ignored = [[label == IGNORED for label in gold] for gold in golds]
    assert name == "squad2" or ignored[0] == ignored[1]
    assert [row["input_ids"] for row in own.features] == [row["input_ids"] for row in shuffled.features]


def test_the_controls_of_a_study_run_and_steps_are_added(tmp_path):
    runs = ["none", "none+steps", "mnli+shuffled"]
    stats = small.at_once(small.write(tmp_path, "small", intermediate=runs, targets=["xnli", "tatoeba"]))
    assert list(stats["intermediate"].unique()) == runs
    study = load_study(str(tmp_path / "small.yaml"))
    steps = {name: read_record(study.folder / f"targets/{name}/xnli/seed1/xnli/scored.json")["steps"] for name in runs}
    assert steps == {"none": 4, "none+steps": 8, "mnli+shuffled": 4}
    raw = stats[stats["target"] == "tatoeba"].groupby("intermediate")["numerator"].apply(list)
    assert raw["none"] == raw["none+steps"]  # nothing is trained for it


def test_a_reader_sees_which_text_and_label_a_token_has(tmp_path):
    study = load_study(small.write(tmp_path, "small"))
    source = open_source(study)
    phases.encoder(study, source, 1)
    tokenizer = phases.load_tokenizer(phases.encoder_of(study, "none", 1))
    task = study.task("squad1")
    rows = source.load(task, "train", "qaa")
    feature = encode(task, rows.select([0]), tokenizer, study.training.max_length)[0]
    table = token_table(task, feature, tokenizer)
    start, end = table.index[table["label"] == "answer"][[0, -1]]
    context, offsets = rows[0]["context"], feature["offsets"]
    assert context[offsets[start][0] : offsets[end][1]] == rows[0]["answers"]["text"][0]
    assert table["text"][start] == context[slice(*offsets[start])] and table["id"].tolist() == feature["input_ids"]
