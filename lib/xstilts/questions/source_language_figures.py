"""Figures on the source language, from the tables of :mod:`.source_language`. A filled dot is a language that phase 2
was trained in, a hollow one a language that it was not."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..figures import alt
from ..figures.breakdowns import by_distance
from ..figures.drawing import NEUTRAL, SEQUENTIAL, score_dots
from ..findings import with_interval
from ..results import MEAN
from ..settings import SOURCE
from ..study import NONE
from .source_language import ADDED, BOTH, DROPPED, NEITHER, OVER_RUNS, Design

GROUPS = {
    MEAN: "all languages",
    ADDED: "seen by the first run alone",
    BOTH: "seen by both",
    DROPPED: "seen by the second alone",
    NEITHER: "seen by neither",
}


def language_panels(table: pd.DataFrame, languages: pd.DataFrame, metric: str) -> Figure:
    """Score of ``none`` and gain of every run by language, nearest to the source first; one scale for all gains.

    ``table``: of ``source_language.by_language``; ``languages``: the source's ``language_table()``."""
    order, runs = by_distance(table, languages), list(table["intermediate"].unique())
    columns = min(4, len(runs))
    lines = -(-len(runs) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(7.2, 0.9 + 1.25 * lines), squeeze=False, sharex=True)
    limits = {quantity: _limits(part) for quantity, part in table.groupby("quantity")}
    for number, (ax, run) in enumerate(zip(grid.flat, runs, strict=False)):
        part = table[table["intermediate"] == run].set_index("language")
        seen_dots(part, ax, order)
        ax.set_title("none (score)" if run == NONE else run, loc="left", fontweight="bold", fontsize=7, pad=11)
        mean = f"mean {with_interval(part.loc[MEAN])}"
        ax.annotate(mean, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6, color="0.3")
        ax.set_ylim(*limits["score" if run == NONE else "gain"])
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.tick_params(axis="y", labelleft=number % columns == 0 or number == 1)
        if number % columns == 0 or number == 1:
            ax.set_ylabel(metric if run == NONE else f"gain in {metric}\nover none (points)", fontsize=7)
        ax.tick_params(axis="x", rotation=90, labelsize=6, labelbottom=number + columns >= len(runs))
    for ax in list(grid.flat)[len(runs) :]:
        ax.remove()
    look = {"linestyle": "", "marker": "o", "markersize": 4, "color": "0.15"}
    handles = [
        plt.Line2D([], [], label="phase 2 was trained in the language", **look),
        plt.Line2D([], [], label="it was not", **look | {"markerfacecolor": "white"}),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    figure.supxlabel("language, nearest to the source first", fontsize=8)
    single = table[table["language"].isin(order)]
    gain, scores = (single[single["quantity"] == quantity] for quantity in ("gain", "score"))
    what = f"Small multiples, a panel per run, language by language. Gain in {metric} over none in points"
    said = [alt.values(what, gain, ["intermediate", "language"], signed=True)]
    figure.set_label(
        " ".join([*said, alt.values("Score of none", scores[scores["intermediate"] == NONE], ["language"])])
    )
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Zero, and all but the few widest intervals."""
    there = table.dropna(subset="value")
    low, high = (min(0, there["low"].quantile(0.05)), max(1, there["high"].quantile(0.95))) if len(there) else (-1, 1)
    edge = 0.08 * (high - low)
    return low - edge, high + edge


def seen_dots(rows: pd.DataFrame, ax: Axes, order: list[str]) -> Axes:
    """One value per language with its interval. ``rows``: of one run, indexed by language."""
    rows, place = rows.reindex(order), np.arange(len(order))
    score = (rows["quantity"] == "score").all()
    colour = NEUTRAL if score else "0.15"
    if not score:
        ax.axhline(0, color="0.3", linewidth=0.6)
    ax.vlines(place, rows["low"], rows["high"], colors=colour, linewidth=0.9, zorder=2)
    faces = np.where(rows["seen"].eq(True), colour, "white")
    ax.scatter(place, rows["value"], s=14, facecolors=faces, edgecolors=colour, linewidths=0.9, zorder=3)
    for position in place[rows["value"].isna()]:
        look = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 5.5, "color": "0.4"}
        ax.text(position, 0.5, "missing", transform=ax.get_xaxis_transform(), **look)
    ax.set_xticks(place, order)
    ax.set_xlim(-0.6, len(order) - 0.4)
    ax.grid(axis="y")
    return ax


def comparison_dots(table: pd.DataFrame, plan: Design, metric: str) -> Figure:
    """Each run minus that of the same task in the source language, by whether phase 2 has seen the languages.

    ``table``: of ``source_language.compared``; without such pairs, each run minus ``none``."""
    table = table[table["second"] != NONE] if plan.pairs else table
    table = table.assign(
        pair=[f"{one} − {other}" for one, other in zip(table["first"], table["second"], strict=True)],
        group=table["group"].map(GROUPS),
    )
    table["group"] = pd.Categorical(table["group"], list(GROUPS.values()))
    return _dots(table.sort_values("group", kind="stable"), "pair", "group", f"difference in {metric} (points)")


def source_dots(table: pd.DataFrame, languages: pd.DataFrame, metric: str, plan: Design) -> Figure:
    """Training languages of phase 3 against the source language. ``table``: of ``against_source``."""
    names = languages["name"].reindex(table["training"])
    shown = table.assign(training=[f"{name} ({code})" for code, name in names.items()])
    order = [f"{languages.loc[code, 'name']} ({code})" for code in _by_distance(table["training"].unique(), languages)]
    shown = shown.sort_values("intermediate", key=lambda run: run != OVER_RUNS, kind="stable")
    what = f"{metric}: trained in it minus trained in {plan.source}, on the languages that are neither's (points)"
    return _dots(shown, "training", "intermediate", what, order)


def _by_distance(codes: Iterable[str], languages: pd.DataFrame) -> list[str]:
    known = [code for code in languages.index if code in set(codes)]
    return [*known, *[code for code in codes if code not in known]]


def _dots(table: pd.DataFrame, row: str, series: str, label: str, order: list[str] | None = None) -> Figure:
    rows, names = table[row].nunique(), table[series].nunique()
    figure, ax = plt.subplots(figsize=(6.4, 1.1 + (0.14 + 0.09 * names) * rows))
    score_dots(table, ax, row, series, order or list(dict.fromkeys(table[row])))
    ax.set_xlabel(label)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=names if names <= 4 else 3)
    figure.set_label(alt.values(f"Dots with 95% intervals: {label}", table, [row, series], signed=True))
    return figure


def matrix_panels(table: pd.DataFrame, languages: pd.DataFrame, metric: str, plan: Design) -> Figure:
    """Score by training language (rows) and test language (columns), a panel per run; outlined: the same language.

    ``table``: of ``source_language.matrix``."""
    runs = list(table["intermediate"].unique())
    tests, trained = _by_distance(plan.languages, languages), list(table["training"].unique())
    trained = [SOURCE, *_by_distance([code for code in trained if code != SOURCE], languages)]
    norm = Normalize(np.floor(table["value"].min()), np.ceil(table["value"].max()))
    width, height = 0.9 + (0.25 * len(tests) + 0.15) * min(2, len(runs)) * 1.25, 0.3 + 0.21 * len(trained)
    lines = -(-len(runs) // 2)
    figure, grid = plt.subplots(lines, min(2, len(runs)), figsize=(width, 0.6 + (height + 0.2) * lines), squeeze=False)
    for number, (ax, run) in enumerate(zip(grid.flat, runs, strict=False)):
        cells = table[table["intermediate"] == run].pivot(index="training", columns="language", values="value")
        cells = cells.reindex(index=trained, columns=tests)
        ax.pcolormesh(cells, cmap=SEQUENTIAL, norm=norm, edgecolors="white", linewidth=0.6)
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            text = f"{value:.0f}" if np.isfinite(value) else "–"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6)
            if tests[column] == (plan.source if trained[row] == SOURCE else trained[row]):
                ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=0.9))
        ax.invert_yaxis()
        ax.set_xticks(np.arange(len(tests)) + 0.5, tests, rotation=90)
        shown = [plan.source if code == SOURCE else code for code in trained]
        ax.set_yticks(np.arange(len(trained)) + 0.5, shown if number % 2 == 0 else [])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(run, loc="left", fontweight="bold", fontsize=7)
    for ax in list(grid.flat)[len(runs) :]:
        ax.remove()
    figure.supxlabel(f"test language ({metric})", fontsize=8)
    figure.supylabel("training language of phase 3", fontsize=8)
    what = f"Heatmap of {metric} by training language (rows) and test language (columns), a panel per run"
    figure.set_label(alt.values(what, table, ["intermediate", "training", "language"]))
    return figure
