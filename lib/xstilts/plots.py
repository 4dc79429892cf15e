"""Fonts for the texts of a figure, so that none shows the empty boxes of characters that its font lacks.

Alternative text of figures, computed from the tables they are drawn from.

Figures from the tables of :mod:`xstilts.results`, and how every figure is saved and shown. Axes-level functions
take a table and an ``ax`` and return it; those called panels lay out their own figure.

A figure's label (``set_label``) is its alternative text: what is drawn and its main message, for who cannot see it.

Blue is a gain and orange a loss (told apart by colour-blind readers); the printed sign, or the side of the
zero line, says the same in grayscale. Filled or bold is an interval that excludes zero.


Figures of one target language by language, and of scores against distance, from the tables of
:mod:`xstilts.results`; colours and marks as in :mod:`.drawing`."""

import html
import io
import unicodedata
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, MaxNLocator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xstilts.io import whole_file, write_table
from xstilts.names import NONE
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, ZERO_SHOT, marked
from xstilts.summaries import counted, with_interval
from xstilts.tasks import TASKS

DEFAULT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters


def make_legible(figure: Figure) -> list[str]:
    """Give each text of ``figure`` fonts that have its characters, from those that are installed.

    A character that none has is written as its code point ("U+1000"), and a line printed says which; returns those.
    """
    absent: set[str] = set()
    for axis in (axis for ax in figure.findobj(Axes) for axis in (ax.xaxis, ax.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter):  # it writes the labels again at every drawing
            formatter.seq = [_spelt(text, absent) for text in formatter.seq]
            axis.get_ticklabels()  # there are none before they are asked for
    for text in figure.findobj(Text):
        text.set_text(_spelt(text.get_text(), absent))
        families = _families(text.get_text())
        if families != [DEFAULT]:
            text.set_fontfamily(families)
    if absent:
        named = ", ".join(f"U+{ord(one):04X} {unicodedata.name(one, '')}".strip() for one in sorted(absent)[:5])
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        print(f"no installed font has {named}{more}: shown as code points; install one that does (Noto Sans has most)")
    return sorted(absent)


def _families(text: str) -> list[str]:
    """The default font, and of the others that are installed the first that add to what ``text`` needs."""
    needed, chosen = _needed(text), [DEFAULT]
    for name, characters in _others().items() if needed else ():
        if needed & characters:
            chosen.append(name)
            needed -= characters
        if not needed:
            break
    return chosen


def _spelt(text: str, absent: set[str]) -> str:
    lacking = _needed(text).difference(*_others().values()) if _needed(text) else set()
    absent |= {chr(point) for point in lacking}
    return text.translate({point: f"U+{point:04X}" for point in lacking})


def _needed(text: str) -> set[int]:
    """Code points that the default font lacks; controls and joiners need no picture."""
    return {ord(one) for one in text if unicodedata.category(one) not in ("Cc", "Cf")} - _characters(_default_path())


def _default_path() -> str:
    return font_manager.findfont(DEFAULT)


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@cache
def _others() -> dict[str, frozenset[int]]:
    """Family -> what its upright face of normal weight has; in alphabetical order."""
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname))
    upright = [font for font in fonts if font.style == "normal" and font.weight in (400, "normal", "regular", "book")]
    return {font.name: _characters(font.fname) for font in upright if font.name != DEFAULT}


AVERAGES = {MACRO: "average of all targets", MACRO_TRAINED: "average without retrieval"}


def alternative_text(what: str, table: pd.DataFrame, by: Sequence[str], signed: bool = False, decimals: int = 1) -> str:
    """``what``, then how many values there are, the lowest and the highest, and how many are missing.

    ``table``: a row per value, in the column value; ``by``: columns that say which one a value is. ``signed``: they
    are differences; where they have intervals (low, high), how many lie above and below zero is said, too.
    """
    there = table.dropna(subset="value")
    gaps = len(table) - len(there)
    missing = f"; {gaps} missing" if gaps else ""
    if there.empty:
        return f"{what}: no values{missing}."
    numbers = there["value"].to_numpy()
    ends = [
        f"{_number(numbers[place], signed, decimals)} ({', '.join(_name(there.iloc[place], column) for column in by)})"
        for place in ((numbers.argmin(), numbers.argmax()) if len(there) > 1 else (0,))
    ]
    text = f"{what}: {len(there)} values, from {ends[0]} to {ends[-1]}" if len(there) > 1 else f"{what}: {ends[0]}"
    if signed and {"low", "high"} <= set(there.columns):
        above, below = int((there["low"] > 0).sum()), int((there["high"] < 0).sum())
        text += f"; {_count(int(marked(there).sum()))}, {above} above and {below} below it"
    return f"{text}{missing}."


def curve_text(what: str, x: Sequence[float], y: Sequence[float]) -> str:
    """``what``, then the first and the last point of a curve."""
    at, values = np.asarray(x), np.asarray(y)
    ends = [f"{_number(values[place], False, 2)} at {at[place]:,}" for place in (0, -1)]
    return f"{what}: from {' to '.join(ends)}."


def _count(marks: int) -> str:
    return "1 interval excludes zero" if marks == 1 else f"{marks} intervals exclude zero"


def _number(value: float, signed: bool, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", "−")  # no -0.0


def _name(row: pd.Series, column: str) -> str:
    name = row[column]
    if column in ("target", "part") and name in TASKS:
        return TASKS[name].title
    return AVERAGES.get(name, " ".join(str(name).replace("_", " ").split()))


STYLE = str(Path(__file__).with_name("style.mplstyle"))
GAIN, LOSS, NEUTRAL = "#2166ac", "#b35806", "#6b6b6b"
DIVERGING = LinearSegmentedColormap.from_list("gain", [LOSS, "#f1a340", "#f7f7f7", "#67a9cf", GAIN], 257)
SEQUENTIAL = LinearSegmentedColormap.from_list("score", ["#ffffff", "#8c8c8c"])
GROUPS = {
    "classification": "sentence pairs", "choice": "choice", "tagging": "tagging", "span": "question answering",
    "parallel": "retrieval", "mining": "retrieval", "ranking": "retrieval",
}  # fmt: skip
LABELS = {MACRO: "all\ntargets", MACRO_TRAINED: "without\nretrieval"}
PIXELS = 192  # to the inch: two for each of a page's 96
GAP = 0.18  # between groups of columns and below the row of none, in cells


def transfer_heatmap(table: pd.DataFrame, ax: Axes, language: str = MEAN, column: bool = False) -> Axes:
    """Gain over ``none`` of every intermediate run (rows, in the table's order) on every target (columns, by
    kind, then the averages over targets), above them the score of ``none`` in a scale of its own.

    ``table``: as ``results.estimates`` gives it; ``language``: ``MEAN`` or ``ZERO_SHOT``. Bold with a star:
    the interval excludes zero. Hatched: missing. A cell on fewer seeds than the table's most says so. ``column``: for
    the width of a paper's column or of a telephone, without bars of colours and with a frame for the star.
    """
    table = table[table["language"] == language]
    groups = _groups(table)
    left: dict[str, float] = {}  # target -> left edge of its column
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
        _cell(ax, row, left[row.target], top[row.intermediate], *scales[row.quantity], seeds, column)
    width, height = max(left.values()) + 1, max(top.values()) + 1
    ax.set(xlim=(0, width), ylim=(height, 0))
    names = [title(target).replace("\n", " " if column else "\n") for target in left]
    ax.set_xticks([x + 0.5 for x in left.values()], names, rotation=90 if column else 0)
    ax.set_yticks([y + 0.5 for y in top.values()], ["none (score)" if run == NONE else run for run in top])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    over = "all languages" if language == MEAN else "languages other than the source"
    mark, end = ("framed", "\n") if column else ("bold with *", " ")
    what = f"gain over none in points ({mark}: its 95% interval excludes zero),{end}" if runs else ""
    ax.set_xlabel(f"{what}mean over {over}; {seeds_text(seeds)}", loc="left", fontsize=5 if column else 7, color="0.3")
    if column:
        ax.tick_params(labelsize=5.5, pad=2)
    else:
        _name_groups(ax, [(name, left[targets[0]], left[targets[-1]] + 1) for name, targets in groups])
        beyond = gain["value"].abs().max() > limit
        _bars(ax, {name: scale for name, scale in scales.items() if runs or name == "score"}, beyond)
    base = table[table["intermediate"] == NONE]
    said = [alternative_text(f"Score of none, mean over {over}", base[base["quantity"] == "score"], ["target"])]
    if runs:
        what = f"Heatmap of the gain over none in points, {len(runs)} intermediate runs by {len(left)} columns"
        said.insert(0, alternative_text(what, gain, ["intermediate", "target"], signed=True))
    ax.figure.set_label(" ".join(said))
    return ax


def _name_groups(ax: Axes, groups: list[tuple[str, float, float]]) -> None:
    """Names of groups of columns, each given with its left and right edge, above the titles of the columns."""
    above = ax.secondary_xaxis(1.0)
    names = [name if right - left > 1 else name.replace(" ", "\n") for name, left, right in groups]
    above.set_xticks([(left + right) / 2 for _, left, right in groups], names)
    above.tick_params(length=0, pad=27)  # above two lines of titles
    plt.setp(above.get_xticklabels(), fontstyle="italic", color=NEUTRAL)
    above.spines[:].set_visible(False)


def _bars(ax: Axes, scales: dict, beyond: bool) -> None:
    """A bar of colours for each scale, that of scores above that of gains, ``beyond`` which some gains go."""
    feet = {"score": 0.58, "gain": 0.0} if len(scales) > 1 else {"score": 0.0}
    for quantity, (colours, norm) in scales.items():
        bar = ax.inset_axes([1.02, feet[quantity], 0.018, 0.42 if len(scales) > 1 else 1.0])
        extend = "both" if beyond and quantity == "gain" else "neither"
        ticks = MaxNLocator(4, steps=[1, 2, 5, 10], symmetric=True)
        ax.figure.colorbar(plt.cm.ScalarMappable(norm, colours), cax=bar, extend=extend, label=quantity, ticks=ticks)
        bar.spines[:].set_visible(False)


def heatmap_size(table: pd.DataFrame, column: bool = False) -> tuple[float, float]:
    """Figure size in inches for :func:`transfer_heatmap`."""
    columns, rows = table.loc[table["language"] == MEAN, "target"].nunique(), table["intermediate"].nunique()
    if column:
        return 3.3, 0.8 + 0.155 * rows
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


def seeds_text(count: int) -> str:
    """How many seeds, and what one leaves out."""
    return f"{count} seeds" if count > 1 else "one seed: intervals cover test examples alone"


def title(target: str) -> str:
    """Of a target, or of an average over targets, as figures give it."""
    return TASKS[target].title if target in TASKS else LABELS.get(target, target)


def _cell(ax: Axes, row: Any, x: float, y: float, colours: Any, norm: Normalize, seeds: int, column: bool) -> None:
    if not np.isfinite(row.value):
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor="white", edgecolor="0.6", hatch="//////", linewidth=0))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        text, size = ("–", 5) if column else ("missing", 5.5)
        ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, color="0.3", bbox=box)
        return
    colour = colours(norm(row.value))
    ax.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
    star = row.quantity == "gain" and bool(row.low > 0 or row.high < 0)
    text, few = with_interval(row).split()[0], row.seeds < seeds
    if column:
        text, few = text if len(text) < 5 else f"{row.value:+.0f}".replace("-", "−"), False
    bold = "bold" if star and not column else "normal"
    shade = "white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
    if star and column:  # black on dark cells, too: a white frame would be one with the gap
        ax.add_patch(Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, fill=False, edgecolor="black", linewidth=0.9))
    note = f"\n{row.seeds} of {seeds} seeds" if few else ""
    size = 4.6 if column else 5 if few else 7
    text = f"{text}{'*' if star and not column else ''}{note}"
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, color=shade, fontweight=bold)


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
    ax.set_yticks(range(len(lines)), [title(line) if row == "target" else line for line in lines])
    if (table["quantity"] == "gain").any():
        ax.axvline(0, color="0.3", linewidth=0.6)
    ax.set(ylim=(max(len(lines), 1) - 0.5, -0.5))
    ax.grid(axis="x")
    return ax


def heatmap(
    table: pd.DataFrame, row: str, column: str, panel: str, what: str, note: str = "", text: str = ""
) -> Figure:
    """Differences (column value, with their ends low and high) by the columns ``row`` and ``column`` of ``table``, in
    its order, a panel for each value of the column ``panel``; ``what`` begins the alternative text, ``note`` the line
    below. Bold with a star: the interval excludes zero. Hatched: missing. ``text``: column of what is written into the
    cells of values that are no differences; these are shades of grey."""
    names, rows = list(table[panel].unique()), table[row].unique()
    most = table.groupby(panel)[column].nunique().max()
    shape = (len(names), 1) if most > 12 else (1, len(names))
    size = (1.4 + max(2.2, 0.36 * most) * shape[1], 0.9 + (0.5 + 0.23 * len(rows)) * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    if text:
        table = table.assign(text=table[text])
        colours = {"cmap": SEQUENTIAL, "vmin": table["value"].min(), "vmax": table["value"].max()}
    else:
        numbers = [with_interval(cell).split()[0] for cell in table.assign(quantity="gain").itertuples()]
        numbers = pd.Series(numbers, table.index).where(table["value"].notna(), "")
        table = table.assign(text=numbers + np.where(marked(table), "*", ""))
        colours = {"cmap": DIVERGING, "vmin": -colour_limit(table["value"]), "vmax": colour_limit(table["value"])}
        note = f"{note}\npoints; bold with *: the 95% interval excludes zero"
    for ax, name in zip(axes.flat, names, strict=True):
        part = table[table[panel] == name]
        wide = part.pivot(index=row, columns=column, values=["value", "text"])
        wide = wide.reindex(index=rows).reindex(columns=part[column].unique(), level=1)
        values, texts = wide["value"].astype(float), wide["text"].fillna("")
        look = colours | {"cbar": False, "linewidths": 0.7}
        sns.heatmap(values, annot=texts, fmt="", annot_kws={"fontsize": 5.5}, xticklabels=True, ax=ax, **look)
        ax.patch.set(facecolor="white", edgecolor="0.6", hatch="//////", linewidth=0)
        ax.set(xlabel="", ylabel="")
        ax.set_title(title(name), loc="left", fontweight="bold")
        ax.tick_params(length=0)
        ax.tick_params(axis="y", rotation=0)
        plt.setp([label for label in ax.texts if label.get_text().endswith("*")], fontweight="bold")
    figure.supxlabel(f"{note}; hatched: missing".strip(), fontsize=7)
    figure.set_label(alternative_text(what, table, list(dict.fromkeys([row, column, panel])), signed=not text))
    return figure


def interval_panels(
    table: pd.DataFrame, line: str, series: str, panel: str, what: str, label: str, row: str = "", sharex: bool = True
) -> Figure:
    """Values with intervals: a panel for each value of the column ``panel`` and, above each other, ``row``; in it a
    line for each value of ``line`` and a marker for each of ``series``. ``what`` begins the alternative text, ``label``
    is below the axis. Rows whose column quantity is "gain" are differences: around a line at zero."""
    table = table.assign(**{"": ""})
    panels, rows, lines = (list(table[name].unique()) for name in (panel, row, line))
    size = (1.2 + 1.8 * len(panels), 0.8 + (0.4 + 0.2 * len(lines)) * len(rows))
    figure, grid = plt.subplots(len(rows), len(panels), figsize=size, sharex=sharex, sharey=True, squeeze=False)
    for name, axes in zip(rows, grid, strict=True):
        axes[0].set_ylabel(name, fontsize=7)
        for ax, column in zip(axes, panels, strict=True):
            score_dots(table[(table[row] == name) & (table[panel] == column)], ax, line, series, lines)
            ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for ax, column in zip(grid[0], panels, strict=True):
        ax.set_title(title(column), loc="left", fontweight="bold", fontsize=7)
    _panel_legend(figure, grid)
    figure.supxlabel(f"{label}; 95% intervals", fontsize=8)
    columns = [name for name in dict.fromkeys([line, series, panel, row]) if name]
    figure.set_label(alternative_text(what, table, columns, signed=bool((table["quantity"] == "gain").all())))
    return figure


def curves(
    table: pd.DataFrame, x: str, series: str, panel: str, what: str, label: str, row: str, log: bool = False
) -> Figure:
    """Values against the column ``x``: a panel for each value of the column ``panel`` and, above each other, of
    ``row``; in it a line for each value of ``series``, around it the band of its interval where it has one. ``log``:
    the axis of ``x`` is logarithmic."""
    panels, rows, names = (list(table[name].unique()) for name in (panel, row, series))
    size = (0.9 + 1.8 * len(panels), 0.8 + 1.6 * len(rows))
    figure, grid = plt.subplots(len(rows), len(panels), figsize=size, sharex=True, sharey="row", squeeze=False)
    palette = dict(zip(names, sns.color_palette(["black", LOSS, GAIN, NEUTRAL], len(names)), strict=True))
    for name, axes in zip(rows, grid, strict=True):
        axes[0].set_ylabel(name, fontsize=7)
        for ax, column in zip(axes, panels, strict=True):
            chosen = table[(table[row] == name) & (table[panel] == column)].sort_values(x)
            for key, part in chosen.groupby(series, sort=False):
                ax.fill_between(part[x], part["low"], part["high"], color=palette[key], alpha=0.15, linewidth=0)
                ax.plot(part[x], part["value"], color=palette[key], marker="oD^s"[names.index(key) % 4], markersize=3,
                        label=key)  # fmt: skip
            if (chosen["quantity"] == "gain").any():
                ax.axhline(0, color="0.3", linewidth=0.6)
            if log:
                ax.set_xscale("log")
            else:
                ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(table[x])))
            ax.grid(axis="y")
    for ax, column in zip(grid[0], panels, strict=True):
        ax.set_title(title(column), loc="left", fontweight="bold", fontsize=7)
    _panel_legend(figure, grid)
    figure.supxlabel(label, fontsize=8)
    parts = [table[table[row] == name] for name in rows]
    texts = [
        alternative_text(f"{what}, {name}", part, [series, panel, x], signed=bool((part["quantity"] == "gain").all()))
        for name, part in zip(rows, parts, strict=True)
    ]
    figure.set_label(" ".join(texts))
    return figure


def _panel_legend(figure: Figure, grid: np.ndarray) -> None:
    """One legend above all panels."""
    handles: dict[str, Any] = {}
    for ax in grid.flat:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(5, len(handles)))


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
    what = "Dots with 95% intervals: {} averaged over the targets, with and without retrieval"
    score, gain = (table[table["quantity"] == quantity] for quantity in ("score", "gain"))
    said = [alternative_text(what.format("score of each run"), score, ["intermediate", "target"])]
    if len(gain):
        said.append(alternative_text("Gain over none", gain, ["intermediate", "target"], signed=True))
    figure.set_label(" ".join(said))
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
        ax.set_title(title(target) + (f", tuned in {language}" if at else ""), loc="left", fontweight="bold")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(ylim=(0, 100))
        ax.grid(axis="y")
    figure.supxlabel("hidden layer (0: embeddings)", fontsize=8)
    figure.supylabel("score", fontsize=8)
    ends = pd.concat(
        [table[table["layer"] == table["layer"].max()].assign(target=name) for name, table in layers.items()]
    )
    what = "Lines: retrieval score by hidden layer, one for each language and their mean in black; at the last layer"
    figure.set_label(alternative_text(what, ends.rename(columns={"score": "value"}), ["target", "language", "metric"]))
    return figure


def study_panel(table: pd.DataFrame) -> Figure:
    """Scores of ``none`` per target in a study and its controls. ``table``: as ``results.controls`` gives it."""
    targets, studies = table["target"].nunique(), table["study"].nunique()
    figure, ax = plt.subplots(figsize=(5.5, 0.9 + (0.12 + 0.1 * studies) * targets))
    seeds = table.groupby("study")["seeds"].transform("max")
    named = [f"{name} ({counted(number, 'seed')})" for name, number in zip(table["study"], seeds, strict=True)]
    score_dots(table.assign(study=named), ax, "target", "study")
    ax.set(xlabel="zero-shot score of none", xlim=(0, 100))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=min(studies, 3))
    figure.set_label(alternative_text("Dots with 95% intervals: zero-shot score of none", table, ["study", "target"]))
    return figure


def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name``.svg, .png and, of the table it was drawn from, .csv (numbers to 4 decimals, so that a repeat gives
    the same bytes), each picture with the alternative text in its metadata; then show the figure."""
    make_legible(figure)
    png = _png(figure, name)
    with whole_file(folder / f"{name}.svg") as aside:
        said = {"Title": name, "Description": _alternative(figure), "Date": None}
        figure.savefig(aside, format="svg", metadata=said)
    with whole_file(folder / f"{name}.png") as aside:
        aside.write_bytes(png)
    write_table(table, folder / f"{name}.csv")
    _display(figure, png)


def show(figure: Figure) -> None:
    """Display a figure in a notebook and close it. ValueError where it has no alternative text."""
    make_legible(figure)
    _display(figure, _png(figure, ""))


def _png(figure: Figure, name: str) -> bytes:
    """With 256 colours, a third of the size: pages hold dozens of figures."""
    drawn, written, said = io.BytesIO(), io.BytesIO(), PngInfo()
    for key, text in (("Title", name), ("Description", _alternative(figure))):
        said.add_itxt(key, text)
    figure.savefig(drawn, format="png", dpi=PIXELS)
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.NONE)
    few.save(written, "png", pnginfo=said, optimize=True)
    return written.getvalue()


def _display(figure: Figure, png: bytes) -> None:
    """As HTML: nbconvert drops the alternative text of a picture that is displayed as one."""
    width = int.from_bytes(png[16:20]) * 96 // PIXELS
    source, text = b64encode(png).decode(), html.escape(_alternative(figure))
    style = "max-width: 100%; height: auto"
    display(HTML(f'<img src="data:image/png;base64,{source}" alt="{text}" width="{width}" style="{style}">'))
    plt.close(figure)


def _alternative(figure: Figure) -> str:
    text = figure.get_label()
    if not text:
        raise ValueError("a figure needs alternative text: figure.set_label(alternative_text(…))")
    return text


def by_distance(table: pd.DataFrame, languages: pd.DataFrame) -> list[str]:
    """Language codes of ``table``, nearest to the source first; those of unknown distance last."""
    codes = [code for code in table["language"].unique() if code not in (MEAN, ZERO_SHOT)]
    return list(languages.reindex(codes)["distance"].sort_values(kind="stable", na_position="last").index)


def by_family(table: pd.DataFrame, languages: pd.DataFrame) -> tuple[list[str], list[tuple[str, int]]]:
    """Language codes of ``table``, a family after the other, that with the nearest language first, within each nearest
    first; and (family, how many) in that order. Languages that the source knows nothing of are a family without name.
    """
    order = by_distance(table, languages)
    family = languages["family"].reindex(order).fillna("")
    names = list(dict.fromkeys(family))
    return [code for name in names for code in order if family[code] == name], [
        (name, int((family == name).sum())) for name in names
    ]


def language_dots(table: pd.DataFrame, ax: Axes, order: list[str]) -> Axes:
    """One value per language with its interval: scores in grey, or gains around zero (filled where the interval
    excludes zero). ``table``: rows of one run, target and quantity; ``order``: languages.
    """
    rows = table[table["language"].isin(order)].set_index("language").reindex(order)
    place = np.arange(len(order))
    if (rows["quantity"].dropna() == "gain").all():
        ax.axhline(0, color="0.3", linewidth=0.6)
        colours = np.where(rows["value"] >= 0, GAIN, LOSS)
        faces = np.where(marked(rows), colours, "white")
    else:
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

    ``languages``: the source's ``language_table()``. Languages stand by family, as :func:`by_family` says. Gains
    share one scale; the few widest intervals may leave it (a line that reaches the edge).
    """
    table = table[table["target"] == target]
    order, families = by_family(table, languages)
    runs = runs or [run for run in table["intermediate"].unique() if run != NONE]
    wanted = [NONE, *runs]
    quantity = np.where(table["intermediate"] == NONE, "score", "gain")
    parts = {run: table[(table["intermediate"] == run) & (table["quantity"] == quantity)] for run in wanted}
    columns = max(1, min(5, 40 // len(order), len(wanted)))
    lines = -(-len(wanted) // columns)
    width = max(7.2, 0.19 * len(order) * columns + 0.5)
    height = 0.7 + 1.25 * lines + 0.04 * max(len(name) for name, _ in families) * (len(families) > 1)
    figure, grid = plt.subplots(lines, columns, figsize=(width, height), squeeze=False)
    limits = gain_limits(pd.concat([parts[run] for run in runs])) if runs else None
    for number, (ax, (run, part)) in enumerate(zip(grid.flat, parts.items(), strict=False)):
        language_dots(part, ax, order)
        ax.set_title(run if run != NONE else "none (score)", loc="left", fontweight="bold", fontsize=7, pad=11)
        ax.annotate(
            f"mean {with_interval(part[part['language'] == MEAN].iloc[0])}", (0, 1), (0, 3), xycoords="axes fraction",
            textcoords="offset points", fontsize=6, color="0.3",
        )  # fmt: skip
        ax.set_ylim((-6, 106) if run == NONE else limits)  # a dot at 0 or 100 is whole
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        upright = len(order) > 8 or max(map(len, order)) > 3
        last_in_column = number + columns >= len(wanted)
        ax.tick_params(axis="x", rotation=90 if upright else 0, labelsize=5.5, labelbottom=last_in_column)
        pad = 9 + 4 * max(map(len, order)) if upright else 14
        _part_families(ax, families, pad, named=last_in_column and number % columns == 0)
        ax.tick_params(axis="y", labelleft=number % columns == 0 or number == 1)
        if number % columns == 0:
            ax.set_ylabel("score" if run == NONE else "gain")
    for ax in list(grid.flat)[len(wanted) :]:
        ax.remove()
    figure.suptitle(f"{title(target)} (95% intervals, {seeds_text(table['seeds'].max())})", fontsize=9)
    note = "\nfilled: the interval excludes zero" if runs else ""
    figure.supxlabel(_axis_text(order, languages) + note, fontsize=7.5)
    what = f"Small multiples, a panel per run: {title(target)} language by language"
    single = table[table["language"].isin(order)]
    said = [alternative_text(f"{what}. Score of none", single[single["intermediate"] == NONE], ["language"])]
    if runs:
        gain = single[(single["quantity"] == "gain") & single["intermediate"].isin(runs)]
        said.append(alternative_text("Gain over none", gain, ["intermediate", "language"], signed=True))
    figure.set_label(" ".join(said))
    return figure


def _part_families(ax: Axes, families: list[tuple[str, int]], pad: float, named: bool) -> None:
    """Grey bands that tell neighbouring families apart and, ``pad`` points below the axis, their names."""
    if len(families) < 2:
        return
    ends = np.cumsum([count for _, count in families]) - 0.5
    for number, (_, count) in enumerate(families):
        if number % 2:
            ax.axvspan(ends[number] - count, ends[number], color="0.94", linewidth=0, zorder=0)
    if named:
        below = ax.secondary_xaxis(0)
        below.set_xticks([end - count / 2 for end, (_, count) in zip(ends, families, strict=True)])
        below.set_xticklabels([name for name, _ in families], rotation=90, color=NEUTRAL, fontstyle="italic")
        below.tick_params(length=0, pad=pad, labelsize=5.5)
        below.spines[:].set_visible(False)


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
    text = f"language, by family and distance from the source ({known.min():.2f} to {known.max():.2f})"
    return text if len(known) == len(order) else f"{text}; unknown last"


def distance_points(table: pd.DataFrame, languages: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot scores of ``none`` in languages of known distance, each with its distance and family."""
    rows = table[(table["intermediate"] == NONE) & table["target"].isin(TASKS)]
    rows = rows.join(languages[["distance", "family"]], on="language").query("distance > 0")
    return rows[["target", "language", "family", "distance", "value", "low", "high", "seeds"]]


def distance_panels(rows: pd.DataFrame, rho: pd.DataFrame) -> Figure:
    """Zero-shot score of ``none`` against distance from the source, a panel per target with Spearman's rho.

    ``rows``: of :func:`distance_points`; ``rho``: of ``results.correlations``. Up to six families have a marker each.
    """
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
        ax.set_title(title(target), loc="left", fontweight="bold", fontsize=7)
        ax.set_title(text, loc="right", fontsize=7)
    for ax in list(grid.flat)[len(targets) :]:
        ax.remove()
    figure.supxlabel("distance from the source language", fontsize=8)
    figure.supylabel("zero-shot score of none", fontsize=8)
    if 1 < len(families) <= 6:
        look = {"linestyle": "", "color": "0.3", "markersize": 4}
        handles = [plt.Line2D([], [], marker=markers[name], label=name, **look) for name in families]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(families))
    what = "Zero-shot score of none against distance from the source language, a panel per target. Spearman's rho"
    figure.set_label(alternative_text(what, rho.rename(columns={"rho": "value"}), ["target"], signed=True, decimals=2))
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
