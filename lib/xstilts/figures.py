"""Figures from the tables of :mod:`xstilts.results`. Axes-level functions take a table and an ``ax`` and
return it; ``language_breakdown`` and ``distance_panels`` lay out their own figure.

Blue is a gain and orange a loss (told apart by colour-blind readers); the printed sign, or the side of the
zero line, says the same in grayscale. Filled or bold is an interval that excludes zero.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .findings import with_interval
from .results import MACRO, MACRO_TRAINED, MEAN, ZERO_SHOT, marked
from .study import NONE
from .tasks import TASKS
from .writing import whole_file, write_table

STYLE = str(Path(__file__).with_name("style.mplstyle"))
GAIN, LOSS, NEUTRAL = "#2166ac", "#b35806", "#6b6b6b"
DIVERGING = LinearSegmentedColormap.from_list("gain", [LOSS, "#f1a340", "#f7f7f7", "#67a9cf", GAIN], 257)
SEQUENTIAL = LinearSegmentedColormap.from_list("score", ["#ffffff", "#8c8c8c"])
GROUPS = {
    "classification": "sentence pairs", "choice": "choice", "tagging": "tagging", "span": "question answering",
    "parallel": "retrieval", "mining": "retrieval", "ranking": "retrieval",
}  # fmt: skip
LABELS = {MACRO: "all\ntargets", MACRO_TRAINED: "without\nretrieval"}
GAP = 0.18  # between groups of columns and below the row of none, in cells


def transfer_heatmap(table: pd.DataFrame, ax: Axes, language: str = MEAN) -> Axes:
    """Gain over ``none`` of every intermediate run (rows, in the table's order) on every target (columns, by
    kind, then the averages over targets), above them the score of ``none`` in a scale of its own.

    ``table``: as ``results.estimates`` gives it; ``language``: ``MEAN`` or ``ZERO_SHOT``. Bold with a star:
    the interval excludes zero. Hatched: missing. A cell on fewer seeds than the table's most says so.
    """
    table = table[table["language"] == language]
    groups = _groups(table)
    left = {}  # target -> left edge of its column
    for number, (_, targets) in enumerate(groups):
        left |= {target: len(left) + place + number * GAP for place, target in enumerate(targets)}
    runs = [run for run in table["intermediate"].unique() if run != NONE]
    top = {NONE: 0.0} | {run: 1 + GAP + place for place, run in enumerate(runs)}
    gain = table[table["quantity"] == "gain"]
    limit = colour_limit(gain["value"])
    scales = {"score": (SEQUENTIAL, Normalize(0, 100)), "gain": (DIVERGING, Normalize(-limit, limit))}
    seeds = table["seeds"].max()
    shown = table[(table["intermediate"] == NONE) | (table["quantity"] == "gain")]
    for row in shown.itertuples():
        _cell(ax, row, left[row.target], top[row.intermediate], *scales[row.quantity], seeds)
    width, height = max(left.values()) + 1, max(top.values()) + 1
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_xticks([x + 0.5 for x in left.values()], [_title(target) for target in left])
    ax.set_yticks([y + 0.5 for y in top.values()], ["none (score)" if run == NONE else run for run in top])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    over = "all languages" if language == MEAN else "languages other than the source"
    what = "gain over none in points (bold with *: its 95% interval excludes zero), " if runs else ""
    ax.set_xlabel(f"{what}mean over {over}; {_seeds(seeds)}", loc="left", fontsize=7, color="0.3")
    above = ax.secondary_xaxis(1.0)
    middles = [(left[targets[0]] + left[targets[-1]] + 1) / 2 for _, targets in groups]
    above.set_xticks(middles, [name for name, _ in groups], fontstyle="italic", color=NEUTRAL)
    above.tick_params(length=0, pad=27)  # above two lines of titles
    above.spines[:].set_visible(False)
    bars = [("score", "score", 0.58)] + ([("gain", "gain", 0.0)] if runs else [])
    for quantity, label, foot in bars:
        colours, norm = scales[quantity]
        bar = ax.inset_axes([1.02, foot if runs else 0.0, 0.018, 0.42 if runs else 1.0])
        mappable = plt.cm.ScalarMappable(norm, colours)
        beyond = quantity == "gain" and gain["value"].abs().max() > limit
        extend, ticks = "both" if beyond else "neither", MaxNLocator(4, steps=[1, 2, 5, 10], symmetric=True)
        ax.figure.colorbar(mappable, cax=bar, extend=extend, label=label, ticks=ticks)
        bar.spines[:].set_visible(False)
    return ax


def heatmap_size(table: pd.DataFrame) -> tuple[float, float]:
    """Figure size in inches for :func:`transfer_heatmap`."""
    columns, rows = table.loc[table["language"] == MEAN, "target"].nunique(), table["intermediate"].nunique()
    return 2.0 + 0.56 * columns, 1.1 + max(0.27 * rows, 1.4 if rows > 1 else 0.0)


def colour_limit(values: pd.Series) -> float:
    """Where the diverging colours end, the same on both sides of zero: the 95th percentile of sizes, so that
    one extreme target does not bleach the rest; at least one point."""
    sizes = values.abs().dropna()
    return float(max(1.0, np.ceil(sizes.quantile(0.95)))) if len(sizes) else 1.0


def _groups(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Targets by kind, in the order of ``GROUPS``; the averages last."""
    targets = list(table["target"].unique())
    group = {target: GROUPS[TASKS[target].kind] if target in TASKS else "average" for target in targets}
    names = dict.fromkeys([*GROUPS.values(), "average"])
    groups = [(name, [target for target in targets if group[target] == name]) for name in names]
    return [(name, members) for name, members in groups if members]


def _seeds(count: int) -> str:
    return f"{count} seeds" if count > 1 else "one seed: intervals cover test examples alone"


def _title(target: str) -> str:
    return TASKS[target].title if target in TASKS else LABELS[target]


def _cell(ax: Axes, row, x: float, y: float, colours, norm: Normalize, seeds: int) -> None:
    if not np.isfinite(row.value):
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor="white", edgecolor="0.6", hatch="//////", linewidth=0))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        ax.text(x + 0.5, y + 0.5, "missing", ha="center", va="center", fontsize=5.5, color="0.3", bbox=box)
        return
    colour = colours(norm(row.value))
    ax.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
    star = row.quantity == "gain" and bool(row.low > 0 or row.high < 0)
    text = with_interval(row).split()[0] + ("*" if star else "")
    dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5
    few = f"\n{row.seeds} of {seeds} seeds" if row.seeds < seeds else ""
    ax.text(
        x + 0.5, y + 0.5, text + few, ha="center", va="center", fontsize=5 if few else 7,
        color="white" if dark else "black", fontweight="bold" if star else "normal",
    )  # fmt: skip


def by_distance(table: pd.DataFrame, languages: pd.DataFrame) -> list[str]:
    """Language codes of ``table``, nearest to the source first; those of unknown distance last."""
    codes = [code for code in table["language"].unique() if code not in (MEAN, ZERO_SHOT)]
    return list(languages.reindex(codes)["distance"].sort_values(kind="stable", na_position="last").index)


def language_dots(table: pd.DataFrame, ax: Axes, order: list[str]) -> Axes:
    """One value per language with its interval: scores in grey joined by a line, or gains around zero (filled
    where the interval excludes zero). ``table``: rows of one run, target and quantity; ``order``: languages.
    """
    rows = table[table["language"].isin(order)].set_index("language").reindex(order)
    place = np.arange(len(order))
    if (rows["quantity"].dropna() == "gain").all():
        ax.axhline(0, color="0.3", linewidth=0.6)
        colours = np.where(rows["value"] >= 0, GAIN, LOSS)
        faces = np.where(marked(rows), colours, "white")
    else:
        ax.plot(place, rows["value"], color=NEUTRAL, linewidth=0.8, zorder=1)
        colours = faces = np.full(len(order), NEUTRAL)
    ax.vlines(place, rows["low"], rows["high"], colors=colours, linewidth=0.9, zorder=2)
    ax.scatter(place, rows["value"], s=13, facecolors=faces, edgecolors=colours, linewidths=0.8, zorder=3)
    for position in place[rows["value"].isna()]:
        look = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 5.5, "color": "0.4"}
        ax.text(position, 0.5, "missing", transform=ax.get_xaxis_transform(), **look)
    ax.set(xlim=(-0.6, len(order) - 0.4))
    ax.set_xticks(place, order)
    ax.grid(axis="y")
    return ax


def language_breakdown(
    table: pd.DataFrame, languages: pd.DataFrame, target: str, runs: list[str] | None = None
) -> Figure:
    """One target language by language: the score of ``none``, then the gain of each run (all, or ``runs``).

    ``languages``: the source's ``language_table()``. Languages stand nearest first. Gains share one scale;
    the few widest intervals may leave it (a line that reaches the edge).
    """
    table = table[table["target"] == target]
    order = by_distance(table, languages)
    runs = runs or [run for run in table["intermediate"].unique() if run != NONE]
    wanted = [NONE, *runs]
    quantity = np.where(table["intermediate"] == NONE, "score", "gain")
    parts = {run: table[(table["intermediate"] == run) & (table["quantity"] == quantity)] for run in wanted}
    columns = max(1, min(5, 40 // len(order), len(wanted)))
    lines = -(-len(wanted) // columns)
    width = max(7.2, 0.19 * len(order) * columns + 0.5)
    figure, grid = plt.subplots(lines, columns, figsize=(width, 0.7 + 1.25 * lines), squeeze=False)
    limits = gain_limits(pd.concat([parts[run] for run in runs])) if runs else None
    for number, (ax, (run, part)) in enumerate(zip(grid.flat, parts.items(), strict=False)):
        language_dots(part, ax, order)
        ax.set_title(run if run != NONE else "none (score)", loc="left", fontweight="bold", fontsize=7, pad=11)
        ax.annotate(
            f"mean {with_interval(part[part['language'] == MEAN].iloc[0])}", (0, 1), (0, 3), xycoords="axes fraction",
            textcoords="offset points", fontsize=6, color="0.3",
        )  # fmt: skip
        ax.set_ylim(*((0, 100) if run == NONE else limits))
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        upright = len(order) > 8 or max(map(len, order)) > 3
        last_in_column = number + columns >= len(wanted)
        ax.tick_params(axis="x", rotation=90 if upright else 0, labelsize=5.5, labelbottom=last_in_column)
        ax.tick_params(axis="y", labelleft=number % columns == 0 or number == 1)
        if number % columns == 0:
            ax.set_ylabel("score" if run == NONE else "gain")
    for ax in list(grid.flat)[len(wanted) :]:
        ax.remove()
    figure.suptitle(f"{_title(target)} (95% intervals, {_seeds(table['seeds'].max())})", fontsize=9)
    note = "\nfilled: the interval excludes zero" if runs else ""
    figure.supxlabel(_axis_text(order, languages) + note, fontsize=7.5)
    return figure


def gain_limits(gain: pd.DataFrame) -> tuple[float, float]:
    """Zero, all values and nine tenths of the ends of the intervals."""
    gain = gain.dropna(subset="value")
    if gain.empty:
        return -1.0, 1.0
    low = min(-0.5, gain["value"].min(), gain["low"].quantile(0.1))
    high = max(0.5, gain["value"].max(), gain["high"].quantile(0.9))
    edge = 0.08 * (high - low)
    return low - edge, high + edge


def _axis_text(order: list[str], languages: pd.DataFrame) -> str:
    known = languages.reindex(order)["distance"].dropna()
    if len(known) < 2:
        return "language"
    text = f"language, by distance from the source ({known.iloc[0]:.2f} to {known.iloc[-1]:.2f})"
    return text if len(known) == len(order) else f"{text}; unknown last"


def distance_panels(table: pd.DataFrame, languages: pd.DataFrame, rho: pd.DataFrame) -> Figure:
    """Zero-shot score of ``none`` against distance from the source, a panel per target with Spearman's rho.

    ``rho``: as ``results.correlations`` gives it. Up to six families have a marker each.
    """
    rows = table[(table["intermediate"] == NONE) & table["target"].isin(TASKS)]
    rows = rows.join(languages[["distance", "family"]], on="language").query("distance > 0")
    targets = list(rho["target"])
    columns = min(5, len(targets))
    lines = -(-len(targets) // columns)
    size = (max(4, 1.75 * columns), 0.9 + 1.5 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    families = list(rows["family"].unique())
    markers = dict(zip(families, "osD^vP", strict=False)) if len(families) <= 6 else dict.fromkeys(families, "o")
    for ax, target in zip(grid.flat, targets, strict=False):
        part = rows[rows["target"] == target]
        distance_dots(part, ax, markers)
        found = rho[rho["target"] == target].iloc[0]
        text = f"ρ = {found.rho:.2f}".replace("-", "−") if np.isfinite(found.rho) else "ρ: too few"
        ax.set_title(_title(target), loc="left", fontweight="bold", fontsize=7)
        ax.set_title(text, loc="right", fontsize=7)
    for ax in list(grid.flat)[len(targets) :]:
        ax.remove()
    figure.supxlabel("distance from the source language", fontsize=8)
    figure.supylabel("zero-shot score of none", fontsize=8)
    if 1 < len(families) <= 6:
        look = {"linestyle": "", "color": "0.3", "markersize": 4}
        handles = [plt.Line2D([], [], marker=markers[name], label=name, **look) for name in families]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(families))
    return figure


def distance_dots(table: pd.DataFrame, ax: Axes, markers: dict[str, str]) -> Axes:
    """Score against distance with intervals; columns language, family, distance, value, low, high."""
    ax.vlines(table["distance"], table["low"], table["high"], colors="0.7", linewidth=0.7)
    size = 14 if len(table) <= 12 else 7
    for family, part in table.groupby("family", sort=False):
        ax.scatter(part["distance"], part["value"], marker=markers[family], s=size, color="0.3", linewidths=0, zorder=3)
    if len(table) <= 12:  # names of more would overlap; language_breakdown names them all
        for number, row in enumerate(table.dropna(subset="value").sort_values("distance").itertuples()):
            end, side, place = (row.high, 3, "bottom") if number % 2 == 0 else (row.low, -3, "top")
            ax.annotate(
                row.language, (row.distance, end), (0, side), textcoords="offset points", ha="center", va=place,
                fontsize=5.5,
            )  # fmt: skip
    ax.set(ylim=(-13, 113), yticks=range(0, 101, 20))  # room for a name above 100 and below 0
    ax.margins(x=0.12)
    ax.grid(axis="y")
    return ax


def score_dots(table: pd.DataFrame, ax: Axes, row: str, series: str, lines: list[str] | None = None) -> Axes:
    """Values with intervals: a line of the axes per value of the column ``row`` (or those of ``lines``), a
    marker per value of the column ``series``."""
    lines, names = lines or list(table[row].unique()), list(table[series].unique())
    for number, name in enumerate(names):
        part = table[table[series] == name].set_index(row).reindex(lines)
        place = np.arange(len(lines)) + (number - (len(names) - 1) / 2) * 0.7 / max(len(names), 2)
        shade = str(0.15 + 0.45 * number / max(len(names) - 1, 1))
        ax.hlines(place, part["low"], part["high"], colors=shade, linewidth=1)
        label = LABELS.get(name, name).replace("\n", " ")
        ax.scatter(part["value"], place, s=14, color=shade, marker="oD^sv"[number % 5], label=label, zorder=3)
        gaps = part["value"].isna() & part["quantity"].notna()  # a line without a row is none's own gain
        for position in place[gaps]:
            at = ax.get_yaxis_transform()
            ax.text(0.02, position, "missing", transform=at, va="center", fontsize=5.5, color=shade)
    ax.set_yticks(range(len(lines)), [_title(line) if row == "target" else line for line in lines])
    if (table["quantity"] == "gain").any():
        ax.axvline(0, color="0.3", linewidth=0.6)
    ax.set(ylim=(max(len(lines), 1) - 0.5, -0.5))
    ax.grid(axis="x")
    return ax


def macro_panels(table: pd.DataFrame, language: str = MEAN) -> Figure:
    """Averages over targets, with and without retrieval: scores of every run, and gains over ``none``."""
    table = table[table["target"].isin(LABELS) & (table["language"] == language)]
    runs = list(table["intermediate"].unique())
    quantities = [name for name in ("score", "gain") if name in set(table["quantity"])]
    size = (0.8 + 3.2 * len(quantities), 0.9 + 0.24 * len(runs))
    figure, axes = plt.subplots(1, len(quantities), figsize=size, sharey=True, squeeze=False)
    axes = list(axes.flat)
    for ax, quantity in zip(axes, quantities, strict=True):
        score_dots(table[table["quantity"] == quantity], ax, "intermediate", "target", runs)
        ax.set_xlabel({"score": "mean score", "gain": "mean gain over none (points)"}[quantity])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


def layer_panels(layers: dict[str, pd.DataFrame]) -> Figure:
    """Retrieval score of one run by hidden layer, a panel per target: a line per language, their mean in black.

    ``layers``: target, or the name of its tuning, -> its ``layers.parquet`` (language, layer, metric, score); of each
    its main metric.
    """
    size = (0.7 + 2.8 * len(layers), 2.5)
    figure, axes = plt.subplots(1, len(layers), figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax, (name, table) in zip(axes.flat, layers.items(), strict=True):
        target, at, language = name.partition("@")
        main = table[table["metric"] == TASKS[target].metrics[0]]
        curves = main.pivot(index="layer", columns="language", values="score")
        ax.plot(curves.index, curves, color="0.75", linewidth=0.7)
        ax.plot(curves.index, curves.mean(axis=1, skipna=False), color="black", marker="o", markersize=3)
        for language, score in curves.iloc[-1].items():
            ax.annotate(
                language, (curves.index[-1], score), (3, 0), textcoords="offset points", fontsize=5.5, va="center"
            )
        ax.set_title(_title(target) + (f", tuned in {language}" if at else ""), loc="left", fontweight="bold")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(ylim=(0, 100))
        ax.grid(axis="y")
    figure.supxlabel("hidden layer (0: embeddings)", fontsize=8)
    figure.supylabel("score", fontsize=8)
    return figure


def study_panel(table: pd.DataFrame) -> Figure:
    """Scores of ``none`` per target in a study and its controls. ``table``: as ``results.controls`` gives it."""
    targets, studies = table["target"].nunique(), table["study"].nunique()
    figure, ax = plt.subplots(figsize=(5.5, 0.9 + (0.12 + 0.1 * studies) * targets))
    score_dots(table, ax, "target", "study")
    ax.set(xlabel="zero-shot score of none", xlim=(0, 100))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=min(studies, 4))
    return figure


def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write ``name``.svg, .png and, of the table it was drawn from, .csv (numbers to 4 decimals, so that
    a repeat gives the same bytes); returns the path of the PNG."""
    for ending, undated in (("svg", "Date"), ("png", "Software")):
        with whole_file(folder / f"{name}.{ending}") as aside:
            figure.savefig(aside, format=ending, metadata={undated: None})
    write_table(table, folder / f"{name}.csv")
    return folder / f"{name}.png"
