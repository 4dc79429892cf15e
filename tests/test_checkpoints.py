"""An encoder that does not fit the study is model so before anything is trained; the rest: hostile_checkpoints.py."""

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2

from encoders import JAPANESE, build_encoder
from test_encoders import write_study
from toy import TEXT
from xstilts import phases
from xstilts.errors import UserError
from xstilts.plan import read_config
from xstilts.training import checkpoints, fine_tuning
from xstilts.training.batching import TrainingSet


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return build_encoder("bert", tmp_path_factory.mktemp("good"))


@pytest.fixture
def given(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "given"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"max_length": {"span": 600}}}, "training.max_length.span: 600 tokens, and .* takes 512 at most"),
        ({"retrieval": {"layers": [0, 3]}}, "retrieval.layers: 3, and the encoder has 2 layers"),
    ],
)
def test_an_encoder_too_small_for_the_study(given, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        phases.encoder(write_study(tmp_path, given, **changes), None, 1)
    unused = {"targets": ["xnli"], "intermediate": ["none"]}
    phases.encoder(write_study(tmp_path, given, **unused, **changes), None, 1)  # no span, no retrieval, nothing to fit


def test_positions_are_counted_as_the_family_counts_them(tmp_path, good):
    lengths = {"bert": 512, "xlmr": 512, "deberta": 0}  # 0: relative positions, no limit
    for family, longest in lengths.items():
        folder = build_encoder(family, tmp_path / family)
        assert checkpoints._positions(transformers.AutoModelForMaskedLM.from_pretrained(folder)) == longest


def test_the_first_layers_of_a_checkpoint(given, tmp_path):
    whole = transformers.AutoModel.from_pretrained(given).state_dict()
    study = write_study(tmp_path, given, encoder={"checkpoint": str(given), "layers": 1})
    assert phases.encoder(study, None, 1)["layers"] == 1
    cut = transformers.AutoModel.from_pretrained(phases.encoder_of(study, "none", 1))
    assert cut.config.num_hidden_layers == 1 and not any(
        name.startswith("encoder.layer.1") for name in cut.state_dict()
    )
    same = [torch.equal(values, whole[name]) for name, values in cut.state_dict().items() if "pooler" not in name]
    assert len(same) > 15 and all(same)
    assert read_config(study.encoder, 0, tmp_path).num_hidden_layers == 1
    with pytest.raises(UserError, match=r"encoder.layers: 3, and the checkpoint has 2"):
        phases.encoder(write_study(tmp_path, given, encoder={"checkpoint": str(given), "layers": 3}), None, 1)


def test_shuffled_embeddings_are_those_of_other_tokens(given, tmp_path):
    """Special tokens keep theirs, no other token does but by chance; all else is the checkpoint's."""
    whole = transformers.AutoModel.from_pretrained(given).state_dict()
    study = write_study(tmp_path, given, encoder={"checkpoint": str(given), "shuffled": True})
    assert phases.encoder(study, None, 1)["shuffled"]
    folder = phases.encoder_of(study, "none", 1)
    shuffled = transformers.AutoModel.from_pretrained(folder).state_dict()
    special = transformers.AutoTokenizer.from_pretrained(folder).all_special_ids
    name = "embeddings.word_embeddings.weight"
    same = (shuffled.pop(name) == whole.pop(name)).all(dim=1)
    assert same[special].all() and same.sum() <= len(special) + 3
    before, after = (table.sort(dim=0).values for table in (whole_words(given), whole_words(folder)))
    assert torch.equal(before, after)
    assert all(torch.equal(values, whole[key]) for key, values in shuffled.items() if "pooler" not in key)
    with pytest.raises(UserError, match=r"encoder.shuffled: is of a checkpoint"):
        write_study(tmp_path, "", encoder={"shuffled": True})


def whole_words(folder):
    return transformers.AutoModel.from_pretrained(folder).get_input_embeddings().weight


def test_an_unknown_packaged_encoder_is_named(tmp_path):
    with pytest.raises(UserError, match='no packages hold it; did you mean "packaged/multilingual-e5-small"'):
        phases.encoder(write_study(tmp_path, "packaged/multilingual-e5-smal"), None, 1)


def test_a_checkpoint_in_half_precision_is_trained_in_fp32(given, tmp_path):
    stored = transformers.AutoModelForMaskedLM.from_pretrained(given).to(torch.bfloat16)
    stored.save_pretrained(given)
    study = write_study(tmp_path, given)
    phases.encoder(study, None, 1)
    sets = [TrainingSet("mnli", "classification", [])]
    tuned = fine_tuning.SharedEncoder(phases.encoder_of(study, "none", 1), sets, False)
    assert {weights.dtype for weights in tuned.parameters()} == {torch.float32}
    weights = tuned.encoder.embeddings.word_embeddings.weight
    assert torch.equal(weights, stored.base_model.embeddings.word_embeddings.weight.float())


def test_what_a_checkpoint_remembers_of_another_head_is_set_back(given, tmp_path):
    """Trained with problem_type regression, classes would be fitted by squared error on their numbers."""
    config = transformers.AutoConfig.from_pretrained(given)
    config.update({"problem_type": "regression", "classifier_dropout": 0.9, "num_labels": 7})
    config.save_pretrained(given)
    study = write_study(tmp_path, given)
    phases.encoder(study, None, 1)
    sets = [TrainingSet("mnli", "classification", [], ("a", "b", "c"))]
    head = fine_tuning.SharedEncoder(phases.encoder_of(study, "none", 1), sets, False).eval().heads["mnli"]
    inputs, labels = {"input_ids": torch.arange(5, 17).reshape(2, 6)}, torch.tensor([2, 0])
    output = head(**inputs, labels=labels)
    assert head.dropout.p == head.config.hidden_dropout_prob and output.logits.shape == (2, 3)
    assert torch.equal(output.loss, torch.nn.functional.cross_entropy(output.logits, labels))


@pytest.mark.parametrize(("architecture", "lacking"), [("EuroBert", "choice"), ("MBart", "has a decoder, too")])
def test_an_architecture_without_a_head_is_refused_before_anything_runs(tmp_path, architecture, lacking):
    given = build_encoder("xlmr", tmp_path / "given")
    sizes = {"hidden_size": 32, "d_model": 32, "num_hidden_layers": 1, "encoder_layers": 1, "decoder_layers": 1}
    sizes |= {
        "vocab_size": 400,
        "pad_token_id": 1,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    names = getattr(transformers, f"{architecture}Config")().to_dict()
    config = getattr(transformers, f"{architecture}Config")(**{name: sizes[name] for name in sizes if name in names})
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(given)
    with pytest.raises(UserError, match=lacking):
        phases.encoder(write_study(tmp_path, given), None, 1)


def test_a_tokenizer_may_be_a_sentencepiece_model_alone(tmp_path):
    """As microsoft/mdeberta-v3-base comes."""
    given = build_encoder("deberta", tmp_path / "given")
    whole = transformers.AutoTokenizer.from_pretrained(given)
    model = json.loads((given / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    spm = sentencepiece_model_pb2.ModelProto()
    spm.trainer_spec.model_type, spm.trainer_spec.unk_id = 1, model["unk_id"]
    types = {"[UNK]": 2, "[PAD]": 3, "[CLS]": 3, "[SEP]": 3}
    for piece, score in model["vocab"]:
        spm.pieces.add(piece=piece, score=score, type=types.get(piece, 1))
    (given / "spm.model").write_bytes(spm.SerializeToString())
    (given / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    (given / "tokenizer.json").unlink()
    study = write_study(tmp_path, given)
    phases.encoder(study, None, 1)
    saved = transformers.AutoTokenizer.from_pretrained(phases.encoder_of(study, "none", 1))
    assert saved([*TEXT, JAPANESE])["input_ids"] == whole([*TEXT, JAPANESE])["input_ids"]


def test_the_hub_is_asked_for_a_name_and_a_folder_has_no_revision(given, tmp_path):
    study = write_study(tmp_path, "someone/encoder")
    assert checkpoints.locate(study) == "someone/encoder"
    with pytest.raises(UserError, match='checkpoint "someone/encoder": not a masked-LM checkpoint that loads: We coul'):
        phases.encoder(study, None, 1)
    with pytest.raises(UserError, match=r"encoder.revision: a folder has no revisions"):
        checkpoints.locate(write_study(tmp_path, given, encoder={"checkpoint": str(given), "revision": "main"}))


def test_a_repository_without_safetensors_is_said_to_be_one(tmp_path, monkeypatch):
    error = OSError("a/b does not appear to have a file named model.safetensors.")
    monkeypatch.setattr(transformers.AutoModelForMaskedLM, "from_pretrained", mock.Mock(side_effect=error))
    with pytest.raises(
        UserError, match=r"the hub has no model\.safetensors of it at this revision.* refs/pr/.* name that folder"
    ):
        phases.encoder(write_study(tmp_path, "a/b"), None, 1)
