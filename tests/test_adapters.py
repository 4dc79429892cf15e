"""LoRA: what is trained and what stays, updates merged into a plain checkpoint, and its cost as torch counts it."""

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from encoders import FAMILIES, build_encoder
from test_dual import TEXT, dual, rows
from test_plan import config
from test_training import PHASE, colours, guesses, masked_text, scores, tags, training_set
from toy import tune
from xstilts.errors import UserError
from xstilts.plan import Amount, Encoder
from xstilts.settings import AdapterSettings
from xstilts.tasks import get
from xstilts.training.adapters import add_adapter, merge_adapter
from xstilts.training.batching import TrainingSet
from xstilts.training.fine_tuning import save_encoder

ADAPTER = AdapterSettings(rank=4)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_updates_give_what_the_adapter_gave(family, tmp_path):
    checkpoint = build_encoder(family, tmp_path)
    encoder = transformers.AutoModel.from_pretrained(checkpoint).eval()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    ids = torch.arange(5, 25).reshape(2, 10)
    plain = encoder(ids).last_hidden_state
    add_adapter(encoder, ADAPTER)
    assert torch.equal(encoder(ids).last_hidden_state, plain)  # updates are zero at first
    trained = {name: weight for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or name.startswith("pooler.") for name in trained)
    # two layers of query, key, value, output, and the two of the feed-forward
    assert sum("lora_B" in name for name in trained) == 2 * 6
    for name in trained:
        torch.nn.init.normal_(trained[name], std=0.05)
    adapted = encoder(ids).last_hidden_state
    assert not torch.allclose(adapted, plain, atol=0.01)
    merge_adapter(encoder)
    torch.testing.assert_close(encoder(ids).last_hidden_state, adapted, atol=1e-5, rtol=1e-5)
    after = encoder.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in after if "embed" in name or "Norm" in name)


def test_tasks_masked_lm_and_poolers_are_learned_and_the_encoder_is_plain(checkpoint, tokenizer, tmp_path):
    tables = {"mnli": colours(40), "udpos": tags(60), "hellaswag": guesses(40)}
    sets = [*(training_set(name, rows, tokenizer) for name, rows in tables.items()), masked_text(50, tokenizer)]
    phase = PHASE.model_copy(update={"steps": 200, "learning_rate": 1e-2, "evaluate_every": 50})

    def accuracy(model):
        return {"mnli": scores(model, sets[0], tables["mnli"], tokenizer)["accuracy"]}

    model, record = tune(checkpoint, sets, tokenizer, tmp_path / "trainer", phase, accuracy, adapter=ADAPTER)
    assert record["loss"][-1]["loss"] < record["loss"][0]["loss"] / 2
    assert accuracy(model)["mnli"] == record["selection"]["best_score"] >= 90
    saved = load_file(next(tmp_path.glob("trainer/*/model.safetensors")))  # no frozen weight
    assert not any(name.endswith("word_embeddings.weight") or "base_layer" in name for name in saved)
    save_encoder(model, tokenizer, tmp_path / "encoder")
    assert not list((tmp_path / "encoder").glob("adapter*"))
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, tmp_path / "encoder"))
    moved = {name for name in after if not torch.equal(after[name], before[f"roberta.{name}"])}
    assert moved == {name for name in after if name.startswith("encoder") and after[name].dim() == 2}


def test_a_dual_encoder_is_tuned_by_matrices_that_are_named(checkpoint, tokenizer, tmp_path):
    pairs = [(text, TEXT[(number + 1) % 4]) for number, text in enumerate(TEXT)]
    features = dual.features(get("mewslix"), rows(*pairs), tokenizer, 64)
    sets = [TrainingSet("mewslix", "dual", features)]
    phase = PHASE.model_copy(update={"steps": 5})
    adapter = AdapterSettings(rank=2, alpha=8, matrices=("query", "value"))
    model, _ = tune(checkpoint, sets, tokenizer, tmp_path, phase, adapter=adapter)
    before = transformers.AutoModel.from_pretrained(checkpoint).state_dict()
    after = model.encoder.state_dict()
    moved = {name.split(".")[-2] for name in after if (after[name] != before[name]).any()}
    assert moved == {"query", "value", "dense"}  # the last of the pooler, which no checkpoint holds
    message = r'training\.adapter\.matrices: the encoder has no linear layer "quary"; did you mean "query"'
    with pytest.raises(UserError, match=message):
        tune(checkpoint, sets, tokenizer, tmp_path, phase, adapter=AdapterSettings(rank=2, matrices=("quary",)))


def test_flops_are_those_that_torch_counts():
    settings = config(layers=12, attn_implementation="eager", num_labels=3)
    model, encoder = transformers.XLMRobertaForSequenceClassification(settings), Encoder(settings, ADAPTER)
    add_adapter(model.roberta, ADAPTER)
    assert encoder.trained == sum(weight.numel() for weight in model.roberta.parameters() if weight.requires_grad)
    with FlopCounterMode(display=False) as training:
        model(torch.randint(5, 500, (4, 64)), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    amount = Amount(4, 4, 4, 4 * 64, 4 * 64**2)
    flops = encoder.training(amount, "classification", 3)["flops"]
    assert flops == pytest.approx(training.get_total_flops(), rel=0.03)
    assert flops < 0.85 * Encoder(settings).training(amount, "classification", 3)["flops"]
    assert encoder.training_bytes == 32 * encoder.trained < Encoder(settings).training_bytes / 10
