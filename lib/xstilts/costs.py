"""What a pass through an encoder costs, in FLOPs and bytes, and how many FLOPs per second a device does.

A forward pass takes 2 FLOPs per token and per parameter other than embeddings, a backward pass twice as many: 6 N per
token of training (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention over a row of T tokens adds, in
training, 12 * layers * width * T per token, a third of it forward (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B). Frozen embeddings change nothing here; DeBERTa's relative positions and padding are not counted.
"""

import json
import re
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import transformers
from torch.utils.benchmark import Timer

from xstilts.errors import UserError, nearest
from xstilts.study import EncoderSettings

GPUS = Path(__file__).with_name("tables") / "gpus.csv"  # peak TFLOPS, dense, by precision, each with its source
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
BYTES = 4  # per parameter: checkpoints are written in float32
TOKENIZER_BYTES = 40  # per vocabulary entry, roughly: XLM-R's tokenizer.json has 9 MB for 250,002
CPU_TOKENS = 512  # in a step of the probe on a processor
PROBE_STEPS = 5


@dataclass(frozen=True)
class Amount:
    """Data that goes through the encoder: ``examples`` of a set, ``features`` made of them (windows of a passage),
    ``rows`` (each choice is one), ``tokens``, and ``squares``, the sum of squared row lengths."""

    examples: float = 0
    features: float = 0
    rows: float = 0
    tokens: float = 0
    squares: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*np.add(astuple(self), astuple(other)).tolist())

    def __mul__(self, factor: float) -> "Amount":
        return Amount(*np.multiply(astuple(self), factor).tolist())


@dataclass(frozen=True)
class Shape:
    """An encoder's sizes, in the words of config.json: hidden_size, num_hidden_layers, …"""

    width: int
    layers: int
    feed_forward: int
    heads: int
    vocabulary: int
    positions: int
    types: int = 1

    @property
    def body(self) -> int:
        """Parameters other than embeddings: attention, feed-forward and two layer norms per layer."""
        attention = 4 * (self.width**2 + self.width)
        feed_forward = 2 * self.width * self.feed_forward + self.feed_forward + self.width
        return self.layers * (attention + feed_forward + 4 * self.width)

    @property
    def parameters(self) -> int:
        """All parameters of the encoder without its pooler."""
        return self.body + (self.vocabulary + self.positions + self.types + 2) * self.width

    @property
    def checkpoint_bytes(self) -> int:
        """An encoder on disk, or with a small head a target's model."""
        return BYTES * self.parameters + TOKENIZER_BYTES * self.vocabulary

    @property
    def training_bytes(self) -> int:
        """The most that a training has on disk: what it resumes from (weights and AdamW's two moments) and its best
        weights so far; the old files of both stay until the new ones are complete."""
        return 2 * (3 + 1) * BYTES * self.parameters

    def forward(self, amount: Amount, head: str = "", labels: int = 2, masked: float = 0) -> float:
        """FLOPs of one forward pass.

        ``head``: the kind of the task whose head is computed, "text" for masked LM, "" without one. ``masked``: share
        of the tokens whose vocabulary logits the masked-LM head computes.
        """
        flops = 2 * self.body * amount.tokens + 4 * self.layers * self.width * amount.squares
        if head in ("classification", "choice"):  # a dense layer and the output, at <s>
            flops += 2 * self.width * (self.width + (labels if head == "classification" else 1)) * amount.rows
        elif head == "text":
            flops += 2 * self.width * (self.width + self.vocabulary) * masked * amount.tokens
        elif head:  # an output per token; of a span: start and end
            flops += 2 * self.width * labels * amount.tokens
        return flops


# Of the checkpoints named most often, from their config.json: a plan needs no network.
SHAPES = {
    "FacebookAI/xlm-roberta-base": Shape(768, 12, 3072, 12, 250_002, 514),
    "FacebookAI/xlm-roberta-large": Shape(1024, 24, 4096, 16, 250_002, 514),
    "google-bert/bert-base-multilingual-cased": Shape(768, 12, 3072, 12, 119_547, 512, 2),
    "microsoft/mdeberta-v3-base": Shape(768, 12, 3072, 12, 251_000, 512, 0),
}
CONFIG_KEYS = ["hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size",
               "max_position_embeddings"]  # fmt: skip


def shape_of(settings: EncoderSettings, vocabulary: int, folder: Path) -> Shape:
    """The shape of a study's encoder: that of its checkpoint ``folder``, if it exists; else of the checkpoint that it
    names; else of the encoder that it will pretrain, with ``vocabulary`` entries.

    Raises UserError for a checkpoint whose config.json is neither here, nor known, nor on the hub.
    """
    name, own = settings.checkpoint, settings.pretrain
    known = SHAPES | {name.split("/")[1]: shape for name, shape in SHAPES.items()}
    if (folder / "config.json").is_file():
        name, config = str(folder), json.loads((folder / "config.json").read_text(encoding="utf-8"))
    elif not name:
        return Shape(own.width, own.layers, own.feed_forward, own.heads, vocabulary, own.positions)
    elif name in known:
        return known[name]
    else:
        try:
            config = transformers.AutoConfig.from_pretrained(name, revision=settings.revision or None).to_dict()
        except (OSError, ValueError) as error:
            raise UserError(
                f'encoder.checkpoint "{name}": its config.json cannot be read ({str(error).strip().splitlines()[0]}); '
                f"name a folder that holds one, or one whose shape is known without a network: {', '.join(SHAPES)}"
            ) from None
    if missing := [key for key in CONFIG_KEYS if key not in config]:
        raise UserError(f"{name}: its config.json lacks {', '.join(missing)}, which the cost is computed from")
    return Shape(*(config[key] for key in CONFIG_KEYS), types=config.get("type_vocab_size", 1))


class Rate(NamedTuple):
    """FLOPs per second, what an hour is an hour of, and where the figure comes from."""

    flops: float
    unit: str
    origin: str


def device_rate(gpu: str, precision: str, utilisation: float, shape: Shape, batch_size: int, length: int) -> Rate:
    """The rate of ``gpu``: a name in gpus.csv, "cpu", or "" for the device that this machine would train on.

    A GPU of this machine, or its processor, is measured on ``batch_size`` rows of ``length`` tokens; of any other GPU
    ``utilisation`` is the share of its peak that training is taken to reach: an assumption, not a measurement
    (PaLM reports 0.46, arXiv:2204.02311). Raises UserError for an unknown GPU, or a precision that it lacks.
    """
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    if gpu == "cpu" or not (gpu or device):
        flops = probe(shape, "cpu", "fp32", max(1, CPU_TOKENS // length), length)
        return Rate(flops, "core", f"measured on one core of this machine: {flops / 1e9:.3g} GFLOP/s in fp32")
    if not gpu or is_named(gpu, device):
        flops = probe(shape, "cuda", precision, batch_size, length)
        return Rate(flops, device, f"measured on this {device}: {flops / 1e12:.3g} TFLOP/s in {precision}")
    table = pd.read_csv(GPUS, index_col="gpu")
    names = {name.lower(): name for name in table.index}
    if gpu.lower() not in names:
        raise UserError(f'--gpu: unknown GPU "{gpu}"{nearest(gpu, [*table.index, "cpu"])}')
    name = names[gpu.lower()]
    peak = table.loc[name, precision]
    if pd.isna(peak):
        available = ", ".join(table.loc[name, [*PRECISIONS]].dropna().index)
        raise UserError(f"--precision: {name} has no {precision}; it has {available}")
    origin = f"{utilisation:.0%} of the {peak:g} TFLOP/s in {precision} of the {table.loc[name, 'source']}"
    return Rate(utilisation * peak * 1e12, name, origin)


def is_named(gpu: str, device: str) -> bool:
    """Whether ``gpu``, as gpus.csv names it, is the ``device`` of a driver ("NVIDIA A100-SXM4-80GB")."""
    words = {word.lower() for word in re.split(r"[ -]", device)}
    return set(gpu.lower().split("-")) <= words


def probe(shape: Shape, device: str, precision: str, batch_size: int, length: int) -> float:
    """FLOPs per second of a few training steps of a random encoder of this shape. On a processor at most two of its
    layers under a small vocabulary: the rate is hardly different, time and memory are."""
    if device == "cpu":
        shape = replace(shape, layers=min(shape.layers, 2), vocabulary=min(shape.vocabulary, 1000))
    config = transformers.XLMRobertaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.feed_forward,
        max_position_embeddings=max(shape.positions, length + 2), type_vocab_size=1,
    )  # fmt: skip
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    model = transformers.XLMRobertaModel(config, add_pooling_layer=False).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(5, shape.vocabulary, (batch_size, length), device=device)

    def step() -> None:
        with torch.autocast(device, reduced, enabled=reduced is not None):
            states = model(input_ids=ids).last_hidden_state
        states.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:  # after two steps that are not counted, on one thread: `make study` runs one job a core
        seconds = Timer("step()", globals={"step": step}).timeit(PROBE_STEPS).mean
    finally:
        torch.set_float32_matmul_precision(matmul)
    return 3 * shape.forward(Amount(tokens=batch_size * length, squares=batch_size * length**2)) / seconds
