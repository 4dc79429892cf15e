"""Instruments of ``10-speed.ipynb``: speed and memory beside what a user would run instead, in turn on one machine.

Runs that are compared alternate, ours first in every other pair; a ratio above 1 is in our favour, its range is that of
the pairs. The other side is ``notebooks/stock.py``.
"""

import ctypes
import gc
import platform
import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import torch
import transformers
from datasets import Dataset
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from torch.optim.optimizer import register_optimizer_step_post_hook

from xstilts import plots
from xstilts.features import Feature, encode, label_names, size
from xstilts.plan import TABLES, Encoder, mean_amount
from xstilts.settings import AdapterSettings, LengthSettings, MixSettings, PhaseSettings, Study
from xstilts.sources import open_source
from xstilts.target_runs import evaluation_split
from xstilts.tasks import SPLITS, Task, get
from xstilts.training.batching import Batches, TrainingSet
from xstilts.training.callbacks import Saves
from xstilts.training.fine_tuning import fine_tune
from xstilts.training.pretraining import train_tokenizer

OURS, PADDED, DYNAMIC, MATMUL = "ours", "stock, padded", "stock, dynamic padding", "matrix product"
XTREME, FAISS, EARLIER, FULL = "XTREME's procedure", "faiss's search alone", "earlier version", "full tuning"
COLD = "a process of its own"
# kind -> what figures call it, the task whose rows in the source language are trained on, the task that is scored
SETS = {
    "classification": ("pairs", "xnli", "xnli"),
    "tagging": ("tagging", "udpos", "udpos"),
    "span": ("spans", "xquad", "xquad"),
    "choice": ("choice", "hellaswag", "xcopa"),
    "parallel": ("Tatoeba", "", "tatoeba"),
}
GOALS = {  # (item, against): of issue 13
    **{(f"fine-tuning, {name}", PADDED): 8 for name in ("pairs", "tagging")},
    **{(f"fine-tuning, {name}", DYNAMIC): 3 for name in ("pairs", "tagging")},
    **{(f"fine-tuning, {name}", PADDED): 3 for name in ("spans", "choice")},
    **{(f"arithmetic, {name}", MATMUL): 0.7 for name in ("pairs", "tagging", "spans", "choice")},
    **{(f"scoring, {name}", PADDED): 5 for name in ("pairs", "tagging", "spans", "choice")},
    **{("masked-LM step", PADDED): 5, ("masked-LM step, peak memory", PADDED): 4},
    **{("mining", XTREME): 2, ("mining", FAISS): 1, ("whole study", EARLIER): 1 / 0.35},
}
LENGTHS = LengthSettings(classification=128, choice=128, tagging=128, span=384, stride=128, mlm=128, retrieval=128)


@dataclass
class Bench:
    """A random encoder in a folder, rows to train on (by kind) and to score (by kind and language), and text. As a
    source it gives retrieval its rows."""

    checkpoint: Path
    training: dict[str, Dataset]
    scored: dict[str, dict[str, Dataset]]
    text: list[str]
    batch: int
    precision: Any

    def __post_init__(self) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.checkpoint)
        self.encoder = Encoder(transformers.AutoConfig.from_pretrained(self.checkpoint))

    def load(self, task: Task, split: str, language: str) -> Dataset:
        return self.scored[task.kind][language]

    def labels(self, kind: str) -> list[str]:
        return label_names(get(SETS[kind][1]), self.training[kind])

    def features(self, kind: str, scored: bool = False) -> list[Feature]:
        """Of the rows to train on, or of those to score in every language."""
        parts = self.scored[kind].values() if scored else [self.training[kind]]
        task, labels = get(SETS[kind][1]), self.labels(kind)
        return [row for part in parts for row in encode(task, part, self.tokenizer, LENGTHS, labels)]

    def training_set(self, kind: str, count: int, name: str = "task") -> TrainingSet:
        """``count`` features of the rows to train on, from the first again where they are fewer."""
        features = list(islice(cycle(self.features(kind)), count))
        return TrainingSet(name, kind, features, tuple(self.labels(kind)))

    def train(self, sets: list[TrainingSet], steps: int, adapter: AdapterSettings | None = None) -> None:
        """Ours, from the checkpoint to a fine-tuned model. With text, the last of the sets, all steps but the first are
        of it."""
        phase = PhaseSettings(steps=steps, batch_size=self.batch, precision=self.precision)
        batches = Batches(sets, phase, MixSettings(mlm_share=0.999), seed=1)
        saves = Saves(self.checkpoint.with_name("trainer"), "speed", minutes=1e9)
        fine_tune(self.checkpoint, batches, self.tokenizer, saves, adapter=adapter)

    def flops(self, kind: str, scored: bool = False) -> float:
        """Of training on an average example, or of scoring one, its padding not counted."""
        parts = self.scored[kind].values() if scored else [self.training[kind]]
        amount = mean_amount(self.features(kind, scored), sum(map(len, parts)))
        cost = self.encoder.scoring if scored else self.encoder.training
        return cost(amount, kind, len(self.labels(kind)))["flops"]


def prepare(
    study: Study, folder: Path, shape: Mapping[str, int], batch: int, rows: int, scored_rows: int, precision: str
) -> Bench:
    """A random XLM-R of the ``shape`` (layers, width, heads, vocabulary) with a tokenizer of at most 32,000 pieces, and
    ``rows`` of a study's rows to train on and at most ``scored_rows`` in each language to score.

    Texts of the micro-world are repeated until they are about as long as those of lengths.csv.
    """
    source, training, scored = open_source(study), {}, {}
    text = source.text(1).shuffle(1, keep_in_memory=True)
    text = text.select(range(min(20_000, len(text))))
    pretrain = study.encoder.pretrain.model_copy(update={"vocab_size": 32_000, "positions": 514})
    tokenizer = train_tokenizer(text, pretrain)
    typical = pd.read_csv(TABLES / "lengths.csv", index_col="set")["tokens"]

    def load(name: str, split: str, language: str, count: int) -> Dataset:
        task, whole = get(name), source.load(get(name), split, language)
        part = whole.select(np.linspace(0, len(whole) - 1, min(count, len(whole))).astype(int))  # of every topic
        if study.source != "micro" or task.kind == "parallel":
            return part
        times = round(typical[name] / np.mean([size(feature)[1] for feature in encode(task, part, tokenizer, LENGTHS)]))
        texts, words = {"text_a", "text_b", "context"}, {"tokens", "tags"}

        def longer(row: dict[str, Any]) -> dict[str, Any]:
            strings = {key: " ".join([row[key]] * times) for key in texts & {*row}}
            return strings | {key: row[key] * times for key in words & {*row}}

        return part.map(longer, load_from_cache_file=False)

    for kind, (_, trained, name) in SETS.items():
        split = evaluation_split(source, get(name))
        scored[kind] = {code: load(name, split, code, scored_rows) for code in source.languages(get(name), split)}
        if trained:
            home = source.source_language
            split = next(split for split in SPLITS if home in source.languages(get(trained), split))
            training[kind] = load(trained, split, home, rows)
    config = transformers.XLMRobertaConfig(
        vocab_size=max(shape["vocabulary"], len(tokenizer)), hidden_size=shape["width"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], intermediate_size=4 * shape["width"],
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    transformers.set_seed(1)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    return Bench(folder / "encoder", training, scored, text["text"][:], batch, precision)


def machine() -> str:
    """The GPU, or the processor and how many threads are in use."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    count = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, {count} thread{'s' * (count > 1)}"


def clock() -> float:
    """Seconds, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    began = clock()
    function()
    return clock() - began


def step_seconds(train: Callable[[], Any]) -> float:
    """Of an optimizer step on average, whatever loop takes them; the first is left out, as it warms up."""
    ends: list[float] = []
    handle = register_optimizer_step_post_hook(lambda *_: ends.append(clock()))
    try:
        train()
    finally:
        handle.remove()
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def peak_memory(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and by how many MiB memory (a GPU's, or resident) rose at most while it ran."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        return function(), (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is resident now
    before = psutil.Process().memory_info().rss / 2**20
    return function(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before


def matmul_rate(precision: str) -> float:
    """GFLOP/s of the fastest of several products of square matrices."""
    rows, device = (8192, "cuda") if torch.cuda.is_available() else (2048, "cpu")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = (torch.randn(rows, rows, device=device).to(kind) for _ in range(2))
    return 2e-9 * rows**3 / min(seconds(lambda: left @ right) for _ in range(5))


def alternate(runs: Mapping[str, Callable[[], Any]], pairs: int) -> dict[str, list[Any]]:
    """The values of ``pairs`` calls of each function, in turn, every other round in the opposite order."""
    values: dict[str, list[Any]] = {name: [] for name in runs}
    for number in range(pairs):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            values[name].append(runs[name]())
    return values


def compare(item: str, unit: str, values: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Rows of ``ratios.csv``: medians, median and range of the ratios of "ours" among ``values`` against every other
    name's. Of a unit per second more is better, of others less. No values: not measured."""
    rows = []
    for against in (name for name in values if name != OURS):
        goal = GOALS.get((item.partition(" (")[0], against), np.nan)
        row = {"item": item, "against": against, **dict.fromkeys(["ours", "theirs", "ratio", "low", "high"], np.nan)}
        ours, theirs = np.array(values.get(OURS, ())), np.array(values[against])
        if ours.size:
            row["ours"] = np.median(ours)
        if ours.size and theirs.size:
            ratios = ours / theirs if unit.endswith("/s") else theirs / ours
            row |= {"theirs": np.median(theirs), "ratio": np.median(ratios)}
            row |= {"low": ratios.min(), "high": ratios.max()}
        rows.append(row | {"goal": goal, "unit": unit, "machine": machine()})
    return rows


def goals(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``ratios.csv`` that were measured and have a goal: whether it is met, and the ratio if ours ran at the
    rate of the matrix product."""
    rows = table.dropna(subset=["ratio", "goal"])[["item", "against", "ratio", "goal"]]
    shares = table[table["against"] == MATMUL].set_index("item")["ratio"]
    part = rows["item"].replace({"^fine-tuning": "arithmetic", "^scoring": "arithmetic of scoring"}, regex=True)
    limit = rows["ratio"] / part.map(shares)
    return rows.assign(met=rows["ratio"] >= rows["goal"]).assign(**{"at the product's rate": limit})


def sentence(table: pd.DataFrame) -> str:
    """What ``ratios.csv`` says of fine-tuning and scoring, for the README."""
    parts = []
    for name in ("fine-tuning", "scoring"):
        ratio = table.loc[table["item"].str.startswith(f"{name}, ") & (table["against"] == PADDED), "ratio"]
        parts.append(f"{name} is {ratio.min():.1f} to {ratio.max():.1f} times as fast")
    return f"Beside transformers' example scripts as they are, on {table['machine'].iloc[0]}: {', '.join(parts)}."


@plots.styled
def ratio_figure(table: pd.DataFrame) -> Figure:
    """Ratios of ``ratios.csv`` with their ranges and goals."""
    names = list(table["item"].unique())
    figure, ax = plt.subplots(figsize=(6.6, 1.3 + 0.24 * len(names)))
    for number, (against, part) in enumerate(table.groupby("against", sort=False)):
        height, shade = part["item"].map(names.index), str(0.15 + 0.15 * (number % 4))
        ax.hlines(height, part["low"], part["high"], colors=shade, linewidth=1)
        look = {"s": 14, "color": shade, "marker": plots.MARKERS[number % len(plots.MARKERS)]}
        ax.scatter(part["ratio"], height, label=against, zorder=3, **look)
        ax.scatter(part["goal"], height, s=50, color=plots.GAIN, marker="|", label="" if number else "goal")
        for row in height[part["ratio"].isna()]:
            ax.text(1.05, row, "not measured", va="center", fontsize=5.5)
    ax.axvline(1, color="0.3", linewidth=0.6)
    ax.set(xscale="log", yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    ax.set(title="Ours against what a user would run instead", xlabel="ratio, above 1: ours is better; range of pairs")
    ax.xaxis.set(major_formatter="{x:g}", major_locator=LogLocator(subs=[1, 2, 5]), minor_locator=NullLocator())
    ax.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=3)
    shown, by = table.rename(columns={"ratio": "value"}).drop(columns=["low", "high"]), ["item", "against"]
    figure.set_label(plots.alternative_text("Dots with ranges: ratio by item and by side", shown, by, decimals=2))
    return figure


@plots.styled
def growth_figure(table: pd.DataFrame) -> Figure:
    """Cost of a run by how many times as much it has of something, on logarithmic axes. ``table``: what, times,
    quantity, value; the exponent of the power law that fits best is added as a column."""
    groups = table.groupby(["quantity", "what"], sort=False)
    table["exponent"] = groups["value"].transform(
        lambda part: np.polyfit(np.log(table.loc[part.index, "times"]), np.log(part), 1)[0]
    )
    shown = table.assign(low=np.nan, high=np.nan, run="ours")
    figure = plots.curves(
        shown, "times", "run", "what", "Cost of a run as something doubles", "times as many", "quantity", log=True
    )
    pairs = [(quantity, what) for quantity in table["quantity"].unique() for what in table["what"].unique()]
    for ax, pair in zip(figure.axes, pairs, strict=True):
        ax.set_yscale("log")
        ax.xaxis.set(major_formatter="{x:g}", major_locator=LogLocator(base=2), minor_locator=NullLocator())
        ax.set_title(f"exponent {groups.get_group(pair)['exponent'].iloc[0]:.2f}", loc="right", fontsize=6)
    return figure
