"""What the notebooks show of a training: trials with other settings, tokens with their characters and labels."""

import pytest

import small
from xstilts import phases
from xstilts.features import encode, token_table
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
