"""LoRA: what is trained and what stays, and a plain checkpoint that gives what the adapter gave."""

import pytest
import torch
import transformers
from safetensors.torch import load_file

from encoders import FAMILIES, build_encoder
from test_training import PHASE, colours, guesses, masked_text, scores, training_set
from toy import tune
from xstilts.errors import UserError
from xstilts.settings import AdapterSettings
from xstilts.training.adapters import add_adapter, merge_adapter
from xstilts.training.fine_tuning import save_encoder


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_updates_give_what_the_adapter_gave(family, tmp_path):
    encoder = transformers.AutoModel.from_pretrained(build_encoder(family, tmp_path)).eval()
    names, ids = list(encoder.state_dict()), torch.arange(5, 25).reshape(2, 10)
    plain = encoder(ids).last_hidden_state
    with pytest.raises(UserError, match=r'training\.adapter\.matrices: the encoder has no linear layer "quary"'):
        add_adapter(encoder, AdapterSettings(rank=4, matrices=("quary",)))
    add_adapter(encoder, AdapterSettings(rank=4))
    assert torch.equal(encoder(ids).last_hidden_state, plain)  # updates are zero at first
    trained = {name: weight for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert sum("lora_B" in name for name in trained) == 2 * 6  # query, key, value, output, two of the feed-forward
    optimizer = torch.optim.Adam(trained.values(), lr=0.02)
    for _ in range(5):
        (encoder(ids).last_hidden_state - 1).square().mean().backward()
        optimizer.step()
    adapted = encoder(ids).last_hidden_state
    assert not torch.allclose(adapted, plain, atol=0.01)
    merge_adapter(encoder)
    assert list(encoder.state_dict()) == names
    encoder.save_pretrained(tmp_path / "plain")
    saved = transformers.AutoModel.from_pretrained(tmp_path / "plain").eval()
    torch.testing.assert_close(saved(ids).last_hidden_state, adapted, atol=1e-5, rtol=1e-5)


def test_tasks_masked_lm_and_poolers_are_learned_and_the_encoder_is_plain(checkpoint, tokenizer, tmp_path):
    tables = {"mnli": colours(40), "hellaswag": guesses(40)}
    sets = [*(training_set(name, rows, tokenizer) for name, rows in tables.items()), masked_text(50, tokenizer)]
    phase = PHASE.model_copy(update={"steps": 150, "learning_rate": 1e-2, "evaluate_every": 50})

    def development(model):
        return {item.name: scores(model, item, tables[item.name], tokenizer)["accuracy"] for item in sets[:2]}

    adapter = AdapterSettings(rank=4)
    model, record = tune(checkpoint, sets, tokenizer, tmp_path / "trainer", phase, development, adapter=adapter)
    assert min(development(model).values()) >= 90 and record["selection"]["best_score"] >= 90
    saved = load_file(next(tmp_path.glob("trainer/*/model.safetensors")))  # no frozen weight
    assert not any(name.endswith("word_embeddings.weight") or "base_layer" in name for name in saved)
    save_encoder(model, tokenizer, tmp_path / "encoder")
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, tmp_path / "encoder"))
    moved = {name for name in after if not torch.equal(after[name], before[f"roberta.{name}"])}
    assert moved == {name for name in after if name.startswith("encoder") and after[name].dim() == 2}
