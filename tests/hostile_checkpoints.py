"""Hostile checkpoints: a good one, spoilt in one way. Only safetensors are read, and no code of a repository runs."""

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from encoders import build_encoder
from hostile_case import Case
from test_encoders import write_study
from xstilts import phases
from xstilts.runs import Run


@cache
def good() -> Path:
    """A checkpoint like any other; kept to the end of the tests, as one is spoilt for every row."""
    folder = tempfile.TemporaryDirectory(prefix="xstilts-good-")
    good.folder = folder  # removed with the process
    return build_encoder("bert", Path(folder.name) / "good")


def configured(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reweighed(folder: Path, change: Callable[[dict], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def pickled_in_parts(folder: Path) -> None:
    """An index of safetensors that names a pickle, which the library would read."""
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "part-1.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "part-1.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def foreign_code(folder: Path) -> None:
    configured(folder, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForMaskedLM": "mine.Model"})
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")


def slow_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")


def other_tokenizer(folder: Path) -> None:
    config = transformers.BertConfig.from_pretrained(folder, vocab_size=50)
    transformers.BertForMaskedLM(config).save_pretrained(folder)


def cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return spoil


def lack_layer(weights: dict) -> None:
    for name in [name for name in weights if "layer.1.attention" in name]:
        del weights[name]


def lack_head(weights: dict) -> None:
    for name in [name for name in weights if name.startswith("cls.")]:
        del weights[name]


NOT_ONE = "not a masked-LM checkpoint that loads"
ROWS = [  # what is hostile, how it comes to be, message
    ("no folder", shutil.rmtree, r"no folder \S+given; name one, or a checkpoint on the hub such as"),
    ("no config.json", lambda path: (path / "config.json").unlink(), "no config.json in .*expected a checkpoint"),
    ("config.json cut", lambda path: (path / "config.json").write_text("{"), f"{NOT_ONE}.* not a valid JSON"),
    ("config.json is a list", lambda path: (path / "config.json").write_text("[1]"), NOT_ONE),
    ("a pickle", pickled, "holds only pytorch_model.bin, which can run code as it is loaded; expected model.safetens"),
    ("a pickle named by an index", pickled_in_parts, "holds only part-1.bin, which can run code as it is loaded"),
    ("an index that is none", lambda path: (path / "model.safetensors.index.json").write_text("[]"), "not an index of"),
    ("no weights", lambda path: (path / "model.safetensors").unlink(), "holds no weights; expected model.safetensors"),
    ("weights cut", cut("model.safetensors"), f"{NOT_ONE}: .*"),
    ("missing tensors", lambda path: reweighed(path, lack_layer),
     r"its weights lack \d+ that the model has, among them bert.encoder.layer.1.attention"),
    ("no masked-LM head, and +mlm", lambda path: reweighed(path, lack_head), r"lack \d+ .*of the masked-LM head"),
    ("a layer more in config.json", lambda path: configured(path, num_hidden_layers=3), r"its weights lack \d+ that"),
    ("no layers in config.json", lambda path: configured(path, num_hidden_layers=0), "num_hidden_layers: expected 1"),
    ("NaN weights",
     lambda path: reweighed(path, lambda all: all["bert.embeddings.word_embeddings.weight"].fill_(float("nan"))),
     "bert.embeddings.word_embeddings.weight holds NaN or infinite weights"),
    ("wrong vocabulary size", lambda path: configured(path, vocab_size=77),
     rf"{NOT_ONE}: \S+ has the shape .*config.json asks for \(77"),
    ("a width in words", lambda path: configured(path, hidden_size="wide"), NOT_ONE),
    ("tokenizer of another model", other_tokenizer, r"its tokenizer has \d+ tokens, the model 50 embeddings"),
    ("no tokenizer", lambda path: (path / "tokenizer.json").unlink(), "no tokenizer in .*expected tokenizer.json"),
    ("tokenizer cut", cut("tokenizer.json"), f"{NOT_ONE}: .*"),
    ("slow tokenizer alone", slow_tokenizer, "no tokenizer there; expected tokenizer.json beside the weights"),
    ("code of its own", foreign_code, "contains custom code"),
    ("another architecture", lambda path: configured(path, model_type="gpt2"), "Unrecognized configuration class"),
]  # fmt: skip


def given(spoil: Callable[[Path], object]):
    def attempt(folder: Path) -> None:
        checkpoint = Path(shutil.copytree(good(), folder / "given"))
        spoil(checkpoint)
        study = write_study(folder, checkpoint)
        try:
            phases.encoder(study, None, 1)
        finally:
            assert not (Run("encoder", 1).folder(study) / "checkpoint").exists()
            assert not (checkpoint / "ran").exists(), "its code ran"

    return attempt


PREFIX = r'mine.yaml: encoder.checkpoint "\S+given": .*'
CASES = [
    Case("checkpoint", name, given(spoil), message if "index of" in message else f"{PREFIX}(?:{message})")
    for name, spoil, message in ROWS
]
