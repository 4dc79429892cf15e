"""Figures on domain shift, from the tables of :mod:`.shift`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures import alt
from ..figures.breakdowns import gain_limits, language_dots
from ..figures.drawing import NEUTRAL, score_dots
from ..results import ZERO_SHOT
from ..study import NONE
from .shift import AGAINST, DROP, SOURCE
from .shift_findings import amount, numbers, run_name

ENDS = ("value", "low", "high")
GROUPS = {ZERO_SHOT: "all but the source language"}  # phase 2 may have been in one of them
QUANTITIES = {DROP: "drop, in-domain minus out-of-domain", AGAINST: "gain over source-language phase 2"}


def side_panels(table: pd.DataFrame, groups: list[str], sides: list[str]) -> Figure:
    """Scores by language of phase 2 (lines) and side (markers): a column per group of languages, a row per number of
    training examples. The band is ``none`` with its interval."""
    rows = table[(table["quantity"] == "score") & table["group"].isin(groups)]
    lines = [name for name in rows["trained_in"].unique() if name != NONE]
    counts = numbers(rows)
    size = (1.2 + min(6.9, 2.3 * len(groups)), 0.8 + (0.45 + 0.24 * len(lines)) * len(counts))
    figure, grid = plt.subplots(len(counts), len(groups), figsize=size, squeeze=False, sharex=True, sharey=True)
    for (examples, group), ax in zip([(n, g) for n in counts for g in groups], grid.flat, strict=True):
        part = rows[(rows["examples"] == examples) & (rows["group"] == group)]
        for base in part[part["side"] == NONE].dropna(subset="value").itertuples():
            ax.axvspan(base.low, base.high, color="0.92", linewidth=0, label="none, 95% interval", zorder=0)
            ax.axvline(base.value, color=NEUTRAL, linewidth=0.8, linestyle="--", label="none", zorder=1)
        score_dots(part[part["side"].isin(sides)], ax, "trained_in", "side", lines)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for ax, group in zip(grid[0], groups, strict=True):
        ax.set_title(GROUPS.get(group, group), loc="left", fontsize=7)
    for ax, examples in zip(grid[:, 0], counts, strict=True):
        ax.set_ylabel(f"tuned on {amount(examples)}", fontsize=7)
    figure.legend(*_handles(grid[0][0]), loc="outside upper center", ncols=2 + len(sides))
    figure.supxlabel("accuracy (%); 95% intervals", fontsize=8)
    figure.supylabel("language of phase 2", fontsize=8)
    what = "Dots with 95% intervals: accuracy by language of phase 2, in-domain and out-of-domain"
    figure.set_label(alt.values(what, _told(rows), ["group", "side", "trained_in", "examples"]))
    return figure


def run_panels(table: pd.DataFrame, groups: list[str]) -> Figure:
    """Gain over ``none`` of every run (lines) in groups of languages (markers), a column per number of examples."""
    rows = table[(table["quantity"] == "gain") & table["group"].isin(groups)]
    names = [run_name(*pair) for pair in zip(rows["side"], rows["trained_in"], strict=True)]
    rows = rows.assign(run=names, group=rows["group"].replace(GROUPS))
    counts = numbers(rows)
    size = (1.2 + 2.8 * len(counts), 0.9 + 0.26 * rows["run"].nunique())
    figure, axes = plt.subplots(1, len(counts), figsize=size, squeeze=False, sharey=True)
    for examples, ax in zip(counts, axes.flat, strict=True):
        score_dots(rows[rows["examples"] == examples], ax, "run", "group")
        ax.set_title(f"tuned on {amount(examples)}", loc="left", fontsize=7)
    figure.legend(*_handles(axes[0][0]), loc="outside upper center", ncols=len(groups))
    figure.supxlabel("gain over none (points); 95% intervals", fontsize=8)
    what = "Dots with 95% intervals: gain over none in points, by run and group of languages"
    figure.set_label(alt.values(what, _told(rows), ["run", "group", "examples"], signed=True))
    return figure


def language_panels(table: pd.DataFrame, order: list[str]) -> Figure:
    """One quantity language by language: a column per language of phase 2 (per side, where there is one language
    alone), a row per side and number of examples; a panel that no run was asked for is empty.
    The widest intervals may leave the panels. ``order``: languages."""
    across, down = ("trained_in", "side") if table["trained_in"].nunique() > 1 else ("side", "trained_in")
    columns = list(table[across].unique())
    lines = [(name, examples) for name in table[down].unique() for examples in numbers(table)]
    size = (0.9 + max(1.2, 0.17 * len(order)) * len(columns), 0.8 + 1.15 * len(lines))
    figure, grid = plt.subplots(len(lines), len(columns), figsize=size, squeeze=False, sharex=True, sharey=True)
    for (name, examples), axes in zip(lines, grid, strict=True):
        for column, ax in zip(columns, axes, strict=True):
            chosen = table[(table[down] == name) & (table["examples"] == examples) & (table[across] == column)]
            if chosen.empty:
                ax.spines[:].set_visible(False)
                ax.tick_params(length=0)
                ax.tick_params(axis="x", rotation=90, labelsize=5.5)
                continue
            language_dots(chosen.assign(quantity="gain"), ax, order)
            language = chosen["trained_in"].iloc[0]
            for place in [place for place, code in enumerate(order) if code in language.split("=")[0].split(",")]:
                ax.axvspan(place - 0.4, place + 0.4, color="0.9", linewidth=0, zorder=0)
            ax.set_ylim(*gain_limits(table))
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.tick_params(axis="x", rotation=90, labelsize=5.5)
        told = amount(examples) if name in (DROP, SOURCE) else f"{name}\n{amount(examples)}"
        axes[0].set_ylabel(told, fontsize=6)
    for column, ax in zip(columns, grid[0], strict=True):
        title = f"phase 2 in {column}" if across == "trained_in" else f"phase 2 on {column}"
        ax.set_title(title, loc="left", fontweight="bold", fontsize=7)
    figure.supylabel(f"{QUANTITIES[table['quantity'].iloc[0]]} (points)", fontsize=8)
    figure.supxlabel(
        "language, nearest to the source first; filled: the 95% interval excludes zero\ngrey: the language of phase 2 "
        "itself; a line that reaches the edge goes on beyond it",
        fontsize=7.5,
    )
    what = f"Language by language, in points: {QUANTITIES[table['quantity'].iloc[0]]}"
    figure.set_label(alt.values(what, _told(table), ["side", "trained_in", "language", "examples"], signed=True))
    return figure


def measured_panels(measured: pd.DataFrame) -> Figure:
    """The measured shift: proxy A-distances of each task from each part of the target's text, and shared words."""
    pair = measured["task"] + " → " + measured["against"]
    distances = [
        pd.DataFrame({"pair": pair, "by": name, "quantity": "score", "value": measured[name],
                      "low": measured[f"{name}_low"], "high": measured[f"{name}_high"]})
        for name in ("characters", "words")
    ]  # fmt: skip
    labels = {"covered": "running words known", "jaccard": "vocabulary shared (Jaccard)"}
    shares = [
        pd.DataFrame({"pair": pair, "by": label, "quantity": "score"} | dict.fromkeys(ENDS, measured[name]))
        for name, label in labels.items()
    ]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 1.1 + 0.24 * len(measured)), sharey=True)
    for ax, parts, label, end in (
        (left, distances, "proxy A-distance, 2 (1 − 2 × the classifier's error)", 2),
        (right, shares, "share", 1),
    ):
        score_dots(pd.concat(parts), ax, "pair", "by")
        ax.set(xlabel=label, xlim=(-0.03 * end, 1.03 * end))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1, handletextpad=0.2)
    said = [
        alt.values(
            "Dots: how far apart domains are, as proxy A-distance", pd.concat(distances), ["pair", "by"], decimals=2
        )
    ]
    said.append(alt.values("Shares of words in common", pd.concat(shares), ["pair", "by"], decimals=2))
    figure.set_label(" ".join(said))
    return figure


def distance_panels(points: pd.DataFrame, rho: pd.DataFrame) -> Figure:
    """Gain against measured distance, a panel per number of examples; columns as ``shift.by_distance`` gives them."""
    counts = numbers(points)
    size = (0.8 + 2.9 * len(counts), 2.8)
    figure, axes = plt.subplots(1, len(counts), figsize=size, squeeze=False, sharex=True, sharey=True)
    for examples, ax in zip(counts, axes.flat, strict=True):
        part = points[points["examples"] == examples].dropna(subset="value")
        ax.axhline(0, color="0.3", linewidth=0.6)
        beside = part.groupby(part["characters"].round(1)).cumcount().to_numpy()  # of points that are as far
        for number, row in enumerate(part.itertuples()):
            place = row.characters + 0.04 * beside[number]
            shade, marker = str(0.1 + 0.5 * number / len(part)), "oD^svP*X"[number % 8]
            ax.vlines(place, row.low, row.high, colors=shade, linewidth=0.9)
            ax.hlines(row.value, row.characters_low, row.characters_high, colors=shade, linewidth=0.9)
            name = f"{row.task}, {row.topic} items" if row.topic else row.task
            face = shade if row.low > 0 or row.high < 0 else "white"
            ax.scatter(place, row.value, s=18, marker=marker, facecolors=face, edgecolors=shade, label=name, zorder=3)
        found = rho[rho["examples"] == examples].iloc[0]
        text = f"ρ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]" if np.isfinite(found.rho) else "ρ: too few"
        ax.set_title(f"tuned on {amount(examples)}", loc="left", fontsize=7)
        ax.set_title(text.replace("-", "−"), loc="right", fontsize=7)
        ax.grid(axis="y")
    figure.legend(*_handles(axes[0][0]), loc="outside upper center", ncols=4)
    figure.supxlabel(
        "proxy A-distance of phase 2 from the target's text (filled: the gain's interval excludes zero)", fontsize=7
    )
    figure.supylabel("gain over none (points)", fontsize=8)
    what = "Gain over none in points against the domain's distance from the target"
    said = [alt.values(what, _told(points), ["task", "examples"], signed=True)]
    correlations = _told(rho).rename(columns={"rho": "value"})
    figure.set_label(
        " ".join([*said, alt.values("Spearman's rho", correlations, ["examples"], signed=True, decimals=2)])
    )
    return figure


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """With numbers of training examples in words."""
    return table.assign(examples=[amount(number) for number in table["examples"]])


def _handles(ax: Axes) -> tuple[list, list]:
    named = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    return list(named.values()), list(named)
