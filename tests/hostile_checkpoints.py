"""Hostile checkpoints: a good one, spoilt in one way. Only safetensors are read, and no code of a repository runs."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from encoders import build_encoder
from hostile_files import Case
from test_encoders import write_study
from xstilts import phases
from xstilts.runs import Run

WEIGHTS = "model.safetensors"


def remove(name: str, folder: Path) -> None:
    (folder / name).unlink()


def cut(name: str, folder: Path) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def write(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)


def configure(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def lack(part: str, folder: Path) -> None:
    weights = {name: tensor for name, tensor in load_file(folder / WEIGHTS).items() if part not in name}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def diverged(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["bert.embeddings.word_embeddings.weight"].fill_(float("nan"))
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def pickled(folder: Path) -> None:
    remove(WEIGHTS, folder)
    torch.save({}, folder / "pytorch_model.bin")


def pickled_in_parts(folder: Path) -> None:
    """An index of safetensors that names a pickle, which the library would read."""
    weights = load_file(folder / WEIGHTS)
    torch.save(weights, folder / "part-1.bin")
    (folder / WEIGHTS).rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "part-1.bin")}
    write(f"{WEIGHTS}.index.json", json.dumps(index), folder)


def foreign_code(folder: Path) -> None:
    configure(folder, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForMaskedLM": "mine.Model"})
    write("mine.py", f"open({str(folder / 'ran')!r}, 'w')\n", folder)


def slow_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", folder)


def other_tokenizer(folder: Path) -> None:
    config = transformers.BertConfig.from_pretrained(folder, vocab_size=50)
    transformers.BertForMaskedLM(config).save_pretrained(folder)


def number_beyond(folder: Path) -> None:
    """As many tokens as embeddings, and one with a higher number."""
    path, size = folder / "tokenizer.json", transformers.AutoConfig.from_pretrained(folder).vocab_size
    tokenizer = json.loads(path.read_text())
    token = max(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    tokenizer["model"]["vocab"][token] = size + 7
    path.write_text(json.dumps(tokenizer))


NOT_ONE = "not a masked-LM checkpoint that loads"
ROWS = [  # what is hostile, how it comes to be, message
    ("no folder", shutil.rmtree, r"no folder \S+given; name one, or a checkpoint on the hub such as"),
    ("no config.json", partial(remove, "config.json"), "no config.json in .*expected a checkpoint"),
    ("config.json cut", partial(write, "config.json", "{"), f"{NOT_ONE}.* not a valid JSON"),
    ("config.json is a list", partial(write, "config.json", "[1]"), NOT_ONE),
    ("a pickle", pickled, "holds only pytorch_model.bin, which can run code as it is loaded; expected model.safetens"),
    ("a pickle named by an index", pickled_in_parts, "holds only part-1.bin, which can run code as it is loaded"),
    ("an index that is none", partial(write, f"{WEIGHTS}.index.json", "[]"), "not an index of"),
    ("no weights", partial(remove, WEIGHTS), "holds no weights; expected model.safetensors"),
    ("weights cut", partial(cut, WEIGHTS), f"{NOT_ONE}: .*"),
    ("missing tensors", partial(lack, "layer.1.attention"),
     r"its weights lack \d+ that the model has, among them bert.encoder.layer.1.attention"),
    ("no masked-LM head, and +mlm", partial(lack, "cls."), r"lack \d+ .*of the masked-LM head"),
    ("a layer more in config.json", partial(configure, num_hidden_layers=3), r"its weights lack \d+ that"),
    ("no layers in config.json", partial(configure, num_hidden_layers=0), "num_hidden_layers: expected 1"),
    ("NaN weights", diverged, "bert.embeddings.word_embeddings.weight holds NaN or infinite weights"),
    ("wrong vocabulary size", partial(configure, vocab_size=77),
     rf"{NOT_ONE}: \S+ has the shape .*config.json asks for \(77"),
    ("a width in words", partial(configure, hidden_size="wide"), NOT_ONE),
    ("a token's number beyond the embeddings", number_beyond, r'" has the number \d+; expected those of'),
    ("tokenizer of another model", other_tokenizer, r"its tokenizer has \d+ tokens, the model 50 embeddings"),
    ("no tokenizer", partial(remove, "tokenizer.json"), "no tokenizer in .*expected tokenizer.json"),
    ("tokenizer cut", partial(cut, "tokenizer.json"), f"{NOT_ONE}: .*"),
    ("slow tokenizer alone", slow_tokenizer, "no tokenizer there; expected tokenizer.json beside the weights"),
    ("code of its own", foreign_code, "contains custom code"),
    ("another architecture", partial(configure, model_type="gpt2"), "Unrecognized configuration class"),
]  # fmt: skip


def attempt(spoil: Callable[[Path], object], folder: Path) -> None:
    checkpoint = build_encoder("bert", folder / "given")
    spoil(checkpoint)
    study = write_study(folder, checkpoint)
    try:
        phases.encoder(study, None, 1)
    finally:
        assert not (Run("encoder", 1).folder(study) / "checkpoint").exists()
        assert not (checkpoint / "ran").exists(), "its code ran"


PREFIX = r'mine.yaml: encoder.checkpoint "\S+given": .*'
CASES = [
    Case("checkpoint", name, partial(attempt, spoil), message if "index of" in message else f"{PREFIX}(?:{message})")
    for name, spoil, message in ROWS
]
