"""Figures of ``8-retrieval.ipynb`` from the tables of :mod:`.recall`; colours and marks as in
:mod:`xstilts.figures.drawing`."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures import alt
from ..figures.breakdowns import by_distance
from ..figures.drawing import DIVERGING, LOSS, NEUTRAL, SEQUENTIAL, colour_limit, score_dots
from ..results import MACRO, MEAN, marked
from ..study import NONE
from ..tasks import get
from .recall import ALL_RUNS, MAIN, OWN

LINES = {"raw": "-", "tuned": "--"}
MEAN_LINE: dict[str, Any] = {"color": LOSS, "linestyle": "--", "linewidth": 1.1}


def gain_panels(table: pd.DataFrame) -> Figure:
    """Gain of every run over ``none``, raw and tuned, a panel per target and one for their mean."""
    rows = table[(table["metric"] == MAIN) & (table["language"] == MEAN)]
    targets = list(rows["target"].unique())
    gain = rows[(rows["quantity"] == "gain") & (rows["intermediate"] != NONE)]
    runs = [run for run in gain["intermediate"].unique() if run != ALL_RUNS] + [ALL_RUNS]
    size = (1.3 + 1.75 * len(targets), 1.3 + 0.23 * len(runs))
    figure, grid = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    for ax, target in zip(grid.flat, targets, strict=True):
        score_dots(gain[gain["target"] == target], ax, "intermediate", "tuning", runs)
        base = rows[(rows["target"] == target) & (rows["intermediate"] == NONE) & (rows["quantity"] == "score")]
        scores = "  ".join(f"{row.tuning} {row.value:.1f}" for row in base.itertuples())
        ax.set_title(_title(target), loc="left", fontweight="bold", pad=13)
        ax.annotate(f"none: {scores}", (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.axhline(len(runs) - 1.5, color="0.6", linewidth=0.5, linestyle=":")
    figure.supxlabel(f"gain over none in points, mean over languages ({_seeds(rows)})", fontsize=8)
    _legend(figure, grid.flat[0])
    what = "Dots with 95% intervals: gain over none in points, mean over languages, raw and tuned"
    figure.set_label(alt.values(what, gain, ["intermediate", "target", "tuning"], signed=True))
    return figure


def language_heatmap(table: pd.DataFrame, languages: pd.DataFrame, target: str) -> Figure:
    """One target language by language: the score of ``none``, the gain of every run and their mean, raw beside
    tuned."""
    rows = table[(table["metric"] == MAIN) & (table["target"] == target)]
    order = by_distance(rows, languages)
    tunings, names = list(rows["tuning"].unique()), rows["intermediate"].unique()
    runs = [*(name for name in names if name != ALL_RUNS), *(name for name in names if name == ALL_RUNS)]
    limit = colour_limit(rows.loc[rows["quantity"] == "gain", "value"])
    wide = len(order) > 12  # one below the other
    shape = (len(tunings), 1) if wide else (1, len(tunings))
    size = (1.2 + max(2.2, 0.36 * len(order)) * shape[1], 1.1 + (0.2 + 0.23 * len(runs) + 0.3 * wide) * shape[0])
    figure, grid = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    for ax, tuning in zip(grid.flat, tunings, strict=True):
        part = rows[rows["tuning"] == tuning]
        for top, run in enumerate(runs):
            kind = "score" if run == NONE else "gain"
            here = part[(part["intermediate"] == run) & (part["quantity"] == kind)].set_index("language").reindex(order)
            scale = (SEQUENTIAL, Normalize(0, 100)) if run == NONE else (DIVERGING, Normalize(-limit, limit))
            _heat_row(ax, here, top, run != NONE, *scale)
        ax.set_title(f"{_title(target)}, {tuning}", loc="left", fontweight="bold")
        ax.set_xticks(np.arange(len(order)) + 0.5, order, rotation=90 if len(order) > 8 else 0)
        ax.set_yticks(np.arange(len(runs)) + 0.5, ["none (score)" if run == NONE else run for run in runs])
        ax.set(xlim=(0, len(order)), ylim=(len(runs), 0))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    note = "gain over none in points (bold with *: its 95% interval excludes zero; hatched: missing)"
    figure.supxlabel(f"language, nearest to the source first\n{note}, {_seeds(rows)}", fontsize=7.5)
    single = rows[rows["language"].isin(order)]
    gain = single[(single["quantity"] == "gain") & (single["intermediate"] != NONE)]
    scores = single[(single["quantity"] == "score") & (single["intermediate"] == NONE)]
    what = f"Heatmap of {_title(target)}, runs by query languages, raw and tuned. Gain over none in points"
    said = [alt.values(what, gain, ["intermediate", "language", "tuning"], signed=True)]
    figure.set_label(" ".join([*said, alt.values("Score of none", scores, ["language", "tuning"])]))
    return figure


def _heat_row(ax: Axes, row: pd.DataFrame, top: int, signed: bool, colours: Any, norm: Normalize) -> None:
    for left, (cell, star) in enumerate(zip(row.itertuples(), marked(row), strict=True)):
        there = np.isfinite(cell.value)
        colour = colours(norm(cell.value)) if there else (1, 1, 1, 1)
        look = (
            {"edgecolor": "white", "linewidth": 0.7}
            if there
            else {"edgecolor": "0.6", "linewidth": 0, "hatch": "//////"}
        )
        ax.add_patch(plt.Rectangle((left, top), 1, 1, facecolor=colour, **look))
        value = round(cell.value, 1) + 0.0 if there else 0  # no -0.0
        text = (f"{value:+.{int(abs(value) < 10)}f}" if signed else f"{value:.0f}").replace("-", "−") if there else ""
        bold = signed and bool(star)
        ax.text(
            left + 0.5, top + 0.5, text + "*" * bold, ha="center", va="center", fontsize=5.5,
            fontweight="bold" if bold else "normal",
            color="white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else "black",
        )  # fmt: skip


def recall_panels(curves: pd.DataFrame) -> Figure:
    """Recall among the first k: above, ``none`` as a line and the other runs as the band that they fill; below, what
    the mean of the runs changes, with its interval. Raw and tuned."""
    targets, cuts = list(curves["target"].unique()), sorted(curves["k"].unique())
    size = (1.0 + 2.1 * len(targets), 4.4)
    figure, grid = plt.subplots(
        2, len(targets), figsize=size, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2)
    )
    place = np.arange(len(cuts))
    for (ax, below), target in zip(grid.T, targets, strict=True):
        for number, (tuning, part) in enumerate(curves[curves["target"] == target].groupby("tuning", sort=False)):
            score = part[part["quantity"] == "score"]
            wide = score.pivot(index="k", columns="intermediate", values="value").reindex(cuts)
            shade = "black" if tuning == "raw" else NEUTRAL
            others = wide.drop(columns=NONE, errors="ignore")
            if len(others.columns):
                low, high = others.min(axis=1), others.max(axis=1)
                ax.fill_between(place, low, high, color=shade, alpha=0.15, linewidth=0, label=f"other runs, {tuning}")
            look = {"color": shade, "marker": "oD"[number % 2], "markersize": 3}
            if NONE in wide:
                ax.plot(place, wide[NONE], **look, linestyle=LINES[tuning], label=f"none, {tuning}")
            gain = part[part["intermediate"] == ALL_RUNS].set_index("k").reindex(cuts)
            beside = place + 0.1 * (number - 0.5)
            below.vlines(beside, gain["low"], gain["high"], colors=shade, linewidth=1)
            below.plot(beside, gain["value"], **look, linestyle="")
        ax.set_title(_title(target), loc="left", fontweight="bold")
        ax.set_ylim(0, 102)
        below.axhline(0, color="0.3", linewidth=0.6)
        below.set_xticks(place, cuts)
        for panel in (ax, below):
            panel.grid(axis="y")
    grid[0, 0].set_ylabel("recall@k (%)", fontsize=7.5)
    grid[1, 0].set_ylabel("gain over none (points),\nmean of the runs", fontsize=7.5)
    figure.supxlabel(f"k; mean over languages; below with 95% intervals ({_seeds(curves)})", fontsize=8)
    _legend(figure, grid[0, 0])
    shown = curves.assign(k=[f"k = {k}" for k in curves["k"]])
    keys = ["target", "intermediate", "tuning", "k"]
    what = "Recall among the first k in percent, none as a line and the other runs as a band, raw and tuned"
    said = [alt.values(what, shown[shown["quantity"] == "score"], keys)]
    gain = shown[shown["intermediate"] == ALL_RUNS]
    figure.set_label(" ".join([*said, alt.values("Below, gain over none in points", gain, keys, signed=True)]))
    return figure


def layer_panels(curves: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """The main metric by layer, a row for raw and tuned, a panel per target: ``none`` in black, a grey line for each
    other run, the highest and the lowest of them at the last layer named, and dashed, as far below or above ``none``
    as their mean gain, the mean of the runs with the interval of that gain. Of ``recall.layer_curves`` and
    ``recall.layer_gains``."""
    targets, tunings = list(curves["target"].unique()), [name for name in LINES if name in set(curves["tuning"])]
    size = (1.2 + 2.1 * len(targets), 0.9 + 1.8 * len(tunings))
    figure, grid = plt.subplots(len(tunings), len(targets), figsize=size, sharex=True, sharey="col", squeeze=False)
    for axes, tuning in zip(grid, tunings, strict=True):
        for ax, target in zip(axes, targets, strict=True):
            part = curves[(curves["target"] == target) & (curves["tuning"] == tuning)]
            wide = part.pivot(index="layer", columns="intermediate", values="value").sort_index()
            others = wide.drop(columns=NONE, errors="ignore")
            ax.plot(others.index, others, color="0.8", linewidth=0.7)
            if NONE in wide:
                ax.plot(wide.index, wide[NONE], color="black", marker="o", markersize=3)
                gain = gains[(gains["target"] == target) & (gains["tuning"] == tuning)].set_index("layer")
                gain, base = gain.reindex(wide.index), wide[NONE]
                ax.plot(wide.index, base + gain["value"], **MEAN_LINE)
                ends = (np.maximum(base + gain[end], 0) for end in ("low", "high"))
                ax.vlines(wide.index, *ends, colors=MEAN_LINE["color"], linewidth=1)
            last = others.iloc[-1].dropna() if len(others) else pd.Series(dtype=float)
            for run, shift in ((last.idxmax(), 2), (last.idxmin(), -2)) if len(last) > 1 else ():
                at = (others.index[-1], last[run])
                look = {"textcoords": "offset points", "fontsize": 5.5, "va": "bottom" if shift > 0 else "top"}
                ax.annotate(run, at, (3, shift), **look, annotation_clip=False)
            ax.set_title(f"{_title(target)}, {tuning}", loc="left", fontweight="bold")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            ax.margins(x=0.04)
            ax.set(ylim=(0, 1.1 * curves.loc[curves["target"] == target, "value"].max() + 1))
            ax.grid(axis="y")
    seeds = int(gains["seeds"].max()) if len(gains) else 0
    cover = f"95% intervals of its distance from none, over {seeds} seeds alone" if seeds > 1 else "no intervals"
    figure.supxlabel(f"hidden layer (0: embeddings); mean of the runs in the source language: {cover}", fontsize=7.5)
    figure.supylabel("main score, mean over languages", fontsize=8)
    looks: tuple[dict, ...] = {"color": "black", "marker": "o", "markersize": 3}, {"color": "0.8", "linewidth": 0.7}
    handles = [plt.Line2D([], [], **style) for style in (*looks, MEAN_LINE)]
    figure.legend(handles, ["none", "each other run", ALL_RUNS], loc="outside upper center", ncols=3)
    shown, changed = (table.assign(layer=[f"layer {layer}" for layer in table["layer"]]) for table in (curves, gains))
    what = "Main score by hidden layer, none in black and each other run in grey, raw and tuned"
    said = [alt.values(what, shown, ["target", "intermediate", "tuning", "layer"])]
    if len(gains):
        said.append(alt.values("Mean gain of the runs", changed, ["target", "tuning", "layer"], signed=True))
    figure.set_label(" ".join(said))
    return figure


def bias_panels(table: pd.DataFrame, languages: pd.DataFrame, shares: dict[str, pd.Series]) -> Figure:
    """Share of first answers in the query's own language, raw and tuned: by run above, of ``none`` by language below.
    Dotted is a language's share of the pool, above the mean of the languages'."""
    rows = table[(table["metric"] == OWN) & (table["quantity"] == "score")]
    order = by_distance(rows, languages)
    runs = list(rows["intermediate"].unique())
    heights = [0.6 + len(runs), 0.6 + len(order)]
    size = (2.0 + 2.6 * len(shares), 1.5 + 0.19 * sum(heights))
    figure, grid = plt.subplots(
        2, len(shares), figsize=size, squeeze=False, sharey="row", sharex=True, height_ratios=heights
    )
    for column, (target, share) in enumerate(shares.items()):
        part = rows[rows["target"] == target]
        score_dots(part[part["language"] == MEAN], grid[0, column], "intermediate", "tuning", runs)
        score_dots(part[part["intermediate"] == NONE], grid[1, column], "language", "tuning", order)
        grid[0, column].set_title(f"{_title(target)}, mean of the languages", loc="left", fontweight="bold")
        grid[1, column].set_title("none, query language by language", loc="left", fontsize=7.5)
        look = {"colors": "black", "linewidth": 0.8, "linestyles": ":"}
        grid[0, column].vlines(share.mean(), 0, 1, transform=grid[0, column].get_xaxis_transform(), **look)
        places = np.arange(len(order))
        grid[1, column].vlines(share.reindex(order), places - 0.5, places + 0.5, **look)
        grid[0, column].set(xlim=(-2, 102))
    figure.supxlabel(
        f"first answers in the query's own language, percent\n(dotted: its share of the pool; {_seeds(rows)})",
        fontsize=7.5,
    )
    _legend(figure, grid[0, 0])
    what = "Dots with 95% intervals: first answers in the query's own language (percent), by run"
    said = [alt.values(what, rows[rows["language"] == MEAN], ["target", "intermediate", "tuning"])]
    pool = ", ".join(f"{share.mean():.1f}% for {_title(target)}" for target, share in shares.items())
    figure.set_label(f"{said[0]} A language's share of the pool: {pool}.")
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))


def _title(target: str) -> str:
    return "mean of the targets" if target == MACRO else get(target).title


def _seeds(rows: pd.DataFrame) -> str:
    count = int(rows["seeds"].max())
    return f"{count} seeds" if count > 1 else "one seed: intervals cover queries alone"
