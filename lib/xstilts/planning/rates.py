"""FLOPs per second of a device: measured on the one that is here, else a share of the datasheet's peak."""

import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import transformers

from ..errors import UserError, nearest
from .costs import Amount, Shape

GPUS = Path(__file__).with_name("gpus.csv")  # peak TFLOPS, dense, by precision, each with its source
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
CPU_TOKENS = 512  # a step of the probe on a processor
WARM_UP, STEPS = 2, 5


@dataclass(frozen=True)
class Rate:
    """FLOPs per second as :mod:`xstilts.planning.costs` counts them, and where the figure comes from."""

    flops: float
    unit: str  # what an hour is an hour of
    origin: str


def rate(gpu: str, precision: str, utilisation: float, shape: Shape, batch_size: int, length: int) -> Rate:
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


def probe(shape: Shape, device: str, precision: str, batch_size: int, length: int) -> float:
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
