"""FLOPs per second of a device: measured on the one that is here, else a share of the datasheet's peak.

What a pass through the encoder costs: FLOPs and bytes from its shape and the tokens.

The rule. A forward pass takes 2 FLOPs per token and per parameter other than embeddings, a backward pass
twice as many: 6 N per token of training (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention
over a row of T tokens adds, in training, 12 * layers * width * T per token, a third of it forward
(Chowdhery et al. 2022, arXiv:2204.02311, appendix B). Frozen embeddings change nothing here, DeBERTa's
relative positions are left out, and so is padding.
"""

import json
import re
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import transformers

from xstilts.errors import UserError, nearest
from xstilts.study import EncoderSettings

GPUS = Path(__file__).with_name("tables") / "gpus.csv"  # peak TFLOPS, dense, by precision, each with its source
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
CPU_TOKENS = 512  # a step of the probe on a processor
WARM_UP, STEPS = 2, 5


@dataclass(frozen=True)
class Rate:
    """FLOPs per second as :mod:`xstilts.planning.costs` counts them, and where the figure comes from."""

    flops: float
    unit: str  # what an hour is an hour of
    origin: str


def rate(gpu: str, precision: str, utilisation: float, shape: "Shape", batch_size: int, length: int) -> Rate:
    """The rate of ``gpu``: one of gpus.csv, "cpu", or "" for what this machine would train on.

    A GPU that is here, or the processor, is measured on ``batch_size`` rows of ``length`` tokens; of any other
    ``utilisation`` is the share of its peak that training is taken to reach: a statement, not a measurement
    (PaLM reports 0.46, arXiv:2204.02311). Raises UserError for an unknown GPU, or a precision that it lacks.
    """
    here = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    if gpu == "cpu" or not (gpu or here):
        measured = probe(shape, "cpu", "fp32", max(1, CPU_TOKENS // length), length)
        return Rate(measured, "core", f"measured on one core of this machine: {measured / 1e9:.3g} GFLOP/s in fp32")
    if not gpu or is_named(gpu, here):
        measured = probe(shape, "cuda", precision, batch_size, length)
        return Rate(measured, here, f"measured on this {here}: {measured / 1e12:.3g} TFLOP/s in {precision}")
    table = pd.read_csv(GPUS, index_col="gpu")
    known = {name.lower(): name for name in table.index}
    if gpu.lower() not in known:
        raise UserError(f'--gpu: unknown GPU "{gpu}"{nearest(gpu, [*table.index, "cpu"])}')
    name = known[gpu.lower()]
    peak = table.loc[name, precision]
    if pd.isna(peak):
        has = ", ".join(column for column in PRECISIONS if pd.notna(table.loc[name, column]))
        raise UserError(f"--precision: {name} has no {precision}; it has {has}")
    origin = f"{utilisation:.0%} of the {peak:g} TFLOP/s in {precision} of the {table.loc[name, 'source']}"
    return Rate(utilisation * peak * 1e12, name, origin)


def is_named(gpu: str, device: str) -> bool:
    """Whether ``gpu``, as gpus.csv names it, is the device that its driver names so ("NVIDIA A100-SXM4-80GB")."""
    words = {word.lower() for word in re.split(r"[ -]", device)}
    return set(gpu.lower().split("-")) <= words


def probe(shape: "Shape", device: str, precision: str, batch_size: int, length: int) -> float:
    """FLOPs per second of a few training steps of a random encoder of this shape. On a processor at most
    two of its layers under a small vocabulary: the rate hardly differs, waiting and memory do."""
    small = replace(shape, layers=min(shape.layers, 2), vocabulary=min(shape.vocabulary, 1000))
    used = small if device == "cpu" else shape
    config = transformers.XLMRobertaConfig(
        vocab_size=used.vocabulary, hidden_size=used.width, num_hidden_layers=used.layers,
        num_attention_heads=used.heads, intermediate_size=used.feed_forward,
        max_position_embeddings=max(used.positions, length + 2), type_vocab_size=1,
    )  # fmt: skip
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(1)  # `make study` runs one job a core
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        model = transformers.XLMRobertaModel(config, add_pooling_layer=False).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        ids = torch.randint(5, used.vocabulary, (batch_size, length), device=device)
        types = {"fp16": torch.float16, "bf16": torch.bfloat16}
        for step in range(WARM_UP + STEPS):
            if step == WARM_UP:
                started = _now(device)
            with torch.autocast(device, types[precision]) if precision in types else nullcontext():
                states = model(input_ids=ids).last_hidden_state
            states.float().square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds = _now(device) - started
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(matmul)
    done = Amount(rows=batch_size, tokens=batch_size * length, squares=batch_size * length**2) * STEPS
    return 3 * used.forward(done) / seconds


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


BYTES = 4  # per parameter: checkpoints are written in float32
TOKENIZER_BYTES = 40  # per vocabulary entry, roughly: XLM-R's tokenizer.json has 9 MB for 250,002


@dataclass(frozen=True)
class Amount:
    """What goes through the encoder: ``examples`` of a set, ``features`` made of them (windows of a
    passage), ``rows`` (each choice is one), ``tokens``, and ``squares``, the sum of squared row lengths."""

    examples: float = 0
    features: float = 0
    rows: float = 0
    tokens: float = 0
    squares: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*(one + two for one, two in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def __mul__(self, times: float) -> "Amount":
        return Amount(*(value * times for value in asdict(self).values()))


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

    def forward(self, amount: Amount) -> float:
        """FLOPs of one forward pass."""
        return 2 * self.body * amount.tokens + 4 * self.layers * self.width * amount.squares

    def head(self, kind: str, amount: Amount, labels: int = 2, masked: float = 0) -> float:
        """FLOPs of a head's forward pass; ``masked``: share of the tokens whose vocabulary logits the
        masked-LM head ("text") computes."""
        if kind in ("classification", "choice"):  # a dense layer and the output, at <s>
            return 2 * self.width * (self.width + (labels if kind == "classification" else 1)) * amount.rows
        if kind == "text":
            return 2 * self.width * (self.width + self.vocabulary) * masked * amount.tokens
        return 2 * self.width * labels * amount.tokens  # span: start and end

    def training(self, kind: str, amount: Amount, labels: int = 2, masked: float = 0) -> float:
        """FLOPs of training on ``amount``: forward, and backward at twice that."""
        return 3 * (self.forward(amount) + self.head(kind, amount, labels, masked))

    @property
    def checkpoint_bytes(self) -> int:
        """An encoder on disk, or with a small head a target's model."""
        return BYTES * self.parameters + TOKENIZER_BYTES * self.vocabulary

    @property
    def training_bytes(self) -> int:
        """The most that a training has on disk: what it goes on from when it is killed, weights and AdamW's two
        moments, and its best weights so far; of both the old stays until the new is whole."""
        return 2 * (3 + 1) * BYTES * self.parameters


# Of the checkpoints named most often, from their config.json: a plan needs no network.
SHAPES = {
    "FacebookAI/xlm-roberta-base": Shape(768, 12, 3072, 12, 250_002, 514),
    "FacebookAI/xlm-roberta-large": Shape(1024, 24, 4096, 16, 250_002, 514),
    "google-bert/bert-base-multilingual-cased": Shape(768, 12, 3072, 12, 119_547, 512, 2),
    "microsoft/mdeberta-v3-base": Shape(768, 12, 3072, 12, 251_000, 512, 0),
}
SHAPES |= {name.split("/")[1]: shape for name, shape in SHAPES.items()}


def shape_of(settings: EncoderSettings, vocabulary: int, made: Path) -> Shape:
    """The shape of a study's encoder: of ``made``, its checkpoint folder, where that is there; else of the
    checkpoint it names; else of the one it will pretrain, with so large a ``vocabulary``.

    Raises UserError for a checkpoint whose config.json is neither here, nor known, nor to be had.
    """
    name, own = settings.checkpoint, settings.pretrain
    if (made / "config.json").is_file():
        return _from_config(json.loads((made / "config.json").read_text(encoding="utf-8")), made)
    if not name:
        return Shape(own.width, own.layers, own.feed_forward, own.heads, vocabulary, own.positions)
    if name in SHAPES:
        return SHAPES[name]
    try:
        config = transformers.AutoConfig.from_pretrained(name, revision=settings.revision or None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'encoder.checkpoint "{name}": no config.json to be had ({reason}); name a folder that holds one, or '
            f"one of those whose shape is known without a network: {', '.join(n for n in SHAPES if '/' in n)}"
        ) from None
    return _from_config(config.to_dict(), name)


def _from_config(config: dict, where: Path | str) -> Shape:
    keys = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size",
            "max_position_embeddings")  # fmt: skip
    missing = [key for key in keys if key not in config]
    if missing:
        raise UserError(f"{where}: its config.json lacks {', '.join(missing)}, which the cost is computed from")
    return Shape(*(config[key] for key in keys), types=config.get("type_vocab_size", 1))  # type: ignore[misc]  # six keys
