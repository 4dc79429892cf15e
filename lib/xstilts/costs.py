"""What a pass through an encoder costs, in FLOPs and bytes, and how many FLOPs per second a device does.

A forward pass takes 2 FLOPs per token and per parameter other than embeddings, a backward pass twice as many: 6 N per
token of training (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention over a row of T tokens adds, in
training, 12 * layers * width * T per token, a third of it forward (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B). Frozen embeddings change nothing here; DeBERTa's relative positions and padding are not counted.
"""

import re
from copy import copy
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import transformers
from torch.utils.benchmark import Timer
from transformers import PretrainedConfig

from xstilts.errors import UserError, nearest
from xstilts.settings import EncoderSettings

TABLES = Path(__file__).with_name("tables")
GPUS = TABLES / "gpus.csv"  # peak TFLOPS, dense, by precision, each with its source
ENCODERS = TABLES / "encoders.csv"  # from config.json of the checkpoints named most often: a plan needs no network
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


class Encoder:
    """The sizes of an encoder, without its pooler: ``parameters``, and ``body``, those other than embeddings."""

    def __init__(self, config: PretrainedConfig):
        self.config = config
        with torch.device("meta"):  # no memory, no weights
            weights = transformers.AutoModel.from_config(config).named_parameters()
        sizes = {name: weight.numel() for name, weight in weights if not name.startswith("pooler")}
        self.parameters = sum(sizes.values())
        self.body = sum(size for name, size in sizes.items() if re.search(r"\blayers?\.", name))

    @property
    def checkpoint_bytes(self) -> int:
        """An encoder on disk, or with a small head a target's model."""
        return BYTES * self.parameters + TOKENIZER_BYTES * self.config.vocab_size

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
        width = self.config.hidden_size
        flops = 2 * self.body * amount.tokens + 4 * self.config.num_hidden_layers * width * amount.squares
        if head in ("classification", "choice"):  # a dense layer and the output, at <s>
            flops += 2 * width * (width + (labels if head == "classification" else 1)) * amount.rows
        elif head == "text":
            flops += 2 * width * (width + self.config.vocab_size) * masked * amount.tokens
        elif head:  # an output per token; of a span: start and end
            flops += 2 * width * labels * amount.tokens
        return flops


def read_config(settings: EncoderSettings, vocabulary: int, folder: Path) -> PretrainedConfig:
    """The configuration of a study's encoder: that of its checkpoint ``folder``, if it exists; else of the checkpoint
    that it names; else of the encoder that it will pretrain, with ``vocabulary`` entries.

    Raises UserError for a checkpoint whose config.json is neither here, nor known, nor on the hub.
    """
    own, name = settings.pretrain, str(folder) if (folder / "config.json").is_file() else settings.checkpoint
    if not name:
        return transformers.XLMRobertaConfig(
            hidden_size=own.width, num_hidden_layers=own.layers, intermediate_size=own.feed_forward,
            num_attention_heads=own.heads, vocab_size=vocabulary, max_position_embeddings=own.positions,
            type_vocab_size=1,
        )  # fmt: skip
    known = pd.read_csv(ENCODERS, index_col="checkpoint")
    for checkpoint, sizes in known.to_dict("index").items():
        if name in (checkpoint, checkpoint.split("/")[1]):
            return transformers.AutoConfig.for_model(**sizes)
    try:
        return transformers.AutoConfig.from_pretrained(name, revision=settings.revision or None)
    except (OSError, ValueError) as error:
        raise UserError(
            f'encoder.checkpoint "{name}": its config.json cannot be read ({str(error).strip().splitlines()[0]}); '
            f"name a folder that holds one, or one that is known without a network: {', '.join(known.index)}"
        ) from None


class Rate(NamedTuple):
    """FLOPs per second, what an hour is an hour of, and where the figure comes from."""

    flops: float
    unit: str
    origin: str


def device_rate(gpu: str, precision: str, utilisation: float, encoder: Encoder, batch_size: int, length: int) -> Rate:
    """The rate of ``gpu``: a name in gpus.csv, "cpu", or "" for the device that this machine would train on.

    A GPU of this machine, or its processor, is measured on ``batch_size`` rows of ``length`` tokens; of any other GPU
    ``utilisation`` is the share of its peak that training is taken to reach: an assumption, not a measurement
    (PaLM reports 0.46, arXiv:2204.02311). Raises UserError for an unknown GPU, or a precision that it lacks.
    """
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    if gpu == "cpu" or not (gpu or device):
        flops = probe(encoder, "cpu", "fp32", max(1, CPU_TOKENS // length), length)
        return Rate(flops, "core", f"measured on one core of this machine: {flops / 1e9:.3g} GFLOP/s in fp32")
    if not gpu or is_named(gpu, device):
        flops = probe(encoder, "cuda", precision, batch_size, length)
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


def probe(encoder: Encoder, device: str, precision: str, batch_size: int, length: int) -> float:
    """FLOPs per second of a few training steps of a random encoder of these sizes. On a processor at most two of its
    layers under a small vocabulary: the rate is hardly different, time and memory are."""
    config = copy(encoder.config)
    if device == "cpu":
        config.num_hidden_layers, config.vocab_size = min(config.num_hidden_layers, 2), min(config.vocab_size, 1000)
        encoder = Encoder(config)
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    model = transformers.AutoModel.from_config(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(5, config.vocab_size, (batch_size, length), device=device)

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
    return 3 * encoder.forward(Amount(tokens=batch_size * length, squares=batch_size * length**2)) / seconds
