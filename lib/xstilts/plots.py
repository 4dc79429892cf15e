"""Figures from tidy tables, how they are saved and shown, their fonts and their alternative text.

Every figure function takes a table with the columns value, low and high, returns a figure at the width of a column or
a page, and sets its alternative text (``figure.set_label``), which is computed from the table. Where a column quantity
says "gain", a value is a difference: blue is a gain and orange a loss (told apart by colour-blind readers); the sign
or the side of the zero line says the same in grayscale. Bold or filled: the interval excludes zero.
"""

import html
import io
import unicodedata
from base64 import b64encode
from collections.abc import Mapping, Sequence
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
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, MaxNLocator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xstilts.io import whole_file, write_table
from xstilts.names import NONE
from xstilts.results import MACRO, MACRO_TRAINED, MEAN, ZERO_SHOT, marked
from xstilts.summaries import with_interval
from xstilts.tasks import TASKS, Task

DEFAULT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters
STYLE = str(Path(__file__).with_name("style.mplstyle"))
styled = plt.style.context(STYLE)  # as a decorator: no figure depends on what a notebook has set
GAIN, LOSS, NEUTRAL = "#2166ac", "#b35806", "#6b6b6b"
DIVERGING = LinearSegmentedColormap.from_list("gain", [LOSS, "#f1a340", "#f7f7f7", "#67a9cf", GAIN], 257)
SEQUENTIAL = LinearSegmentedColormap.from_list("score", ["#ffffff", "#8c8c8c"])
GROUPS = {
    "classification": "sentence pairs", "choice": "choice", "tagging": "tagging", "span": "question answering",
    "parallel": "retrieval", "mining": "retrieval", "ranking": "retrieval",
}  # fmt: skip
LABELS = {MACRO: "all targets", MACRO_TRAINED: "without retrieval"}
AVERAGES = {MACRO: "average of all targets", MACRO_TRAINED: "average without retrieval"}
MARKERS = "oD^svP"
PIXELS = 192  # to the inch: two for each of a page's 96
PANELS = 5  # side by side


@styled
def heatmap(
    table: pd.DataFrame, row: str, column: str, panel: str, what: str, note: str = "", text: str = ""
) -> Figure:
    """Values by the columns ``row`` and ``column`` of ``table``, in its order, a panel for each value of ``panel``.

    ``what`` begins the alternative text, ``note`` the line below. Values are differences, bold with a star where the
    interval excludes zero; rows whose column quantity is "score" are shades of grey. ``text``: column of what is
    written into the cells of values that are no differences. Hatched: missing.
    """
    if table.empty:
        return _empty(what)
    table = table.reset_index(drop=True)
    names, rows = list(table[panel].unique()), table[row].unique()
    most = table.groupby(panel)[column].nunique().max()
    shape = (len(names), 1) if most > 12 else (1, len(names))
    size = (1.4 + max(2.2, 0.36 * most) * shape[1], 0.9 + (0.5 + 0.23 * len(rows)) * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    score = pd.Series(bool(text), table.index) | (table.get("quantity", pd.Series("", table.index)) == "score")
    gain = table[~score]
    if text:
        table = table.assign(text=table[text])
        grey = {"cmap": SEQUENTIAL, "vmin": table["value"].min(), "vmax": table["value"].max()}
    else:
        table = table.assign(text=_cell_texts(table, score))
        grey = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": 100}
        note = f"{note}\npoints; bold with *: the 95% interval excludes zero"
    limit = colour_limit(gain["value"])
    scales = {True: grey, False: {"cmap": DIVERGING, "vmin": -limit, "vmax": limit}}
    for ax, name in zip(axes.flat, names, strict=True):
        cells = table[table[panel] == name]
        for is_score, part in cells.groupby(score[cells.index]):
            wide = part.pivot(index=row, columns=column, values=["value", "text"])
            wide = wide.reindex(index=rows).reindex(
                columns=pd.MultiIndex.from_product([["value", "text"], cells[column].unique()])
            )
            values, texts = wide["value"].astype(float), wide["text"].astype(object).fillna("")
            look = scales[is_score] | {"cbar": False, "linewidths": 0.7, "annot_kws": {"fontsize": 5.5}}
            sns.heatmap(values, annot=texts, fmt="", xticklabels=True, yticklabels=True, ax=ax, **look)
        ax.patch.set(facecolor="white", edgecolor="0.6", hatch="//////", linewidth=0)
        ax.set(xlabel="", ylabel="")
        ax.set_title(title(name), loc="left", fontweight="bold")
        ax.tick_params(length=0)
        ax.tick_params(axis="y", rotation=0)
        plt.setp([label for label in ax.texts if "*" in label.get_text()], fontweight="bold")
    figure.supxlabel(f"{note}; hatched: missing".strip(), fontsize=7)
    columns = list(dict.fromkeys([row, column, panel]))
    signed = gain if not text else table
    texts = [alternative_text(what, signed, columns, signed=not text)]
    if len(gain) < len(table) and not text:
        texts.append(alternative_text("Scores in grey", table[score], columns))
    figure.set_label(" ".join(texts))
    return figure


def _cell_texts(table: pd.DataFrame, score: pd.Series) -> pd.Series:
    """What a cell of a heatmap says: the value, its star, and of how many seeds where others have more."""
    quantity = np.where(score, "score", "gain")
    texts = pd.Series([with_interval(cell).split()[0] for cell in table.assign(quantity=quantity).itertuples()])
    texts = texts.set_axis(table.index) + np.where(marked(table) & ~score, "*", "")
    if "seeds" in table:
        fewer = table["seeds"] < table["seeds"].max()
        texts += np.where(fewer, "\n" + table["seeds"].astype(str) + f" of {table['seeds'].max()} seeds", "")
    return texts.where(table["value"].notna(), "")


def transfer_heatmap(table: pd.DataFrame, language: str = MEAN, tasks: Mapping[str, Task] = TASKS) -> Figure:
    """The score of ``none`` and, below it, the gain of every intermediate run on every target (by kind, the averages
    over targets last), from the rows of ``results.estimates`` in ``language`` (``MEAN`` or ``ZERO_SHOT``)."""
    over = {MEAN: "mean over all languages", ZERO_SHOT: "mean over the languages other than the source"}[language]
    rows = table[(table["language"] == language) & (table["intermediate"].eq(NONE) == table["quantity"].eq("score"))]
    order = {name: number for number, name in enumerate([*GROUPS, "", MACRO, MACRO_TRAINED])}  # "": not among ``tasks``
    kinds = {name: tasks[name].kind if name in tasks else "" for name in rows["target"].unique()}
    keys = {name: order.get(name, order[kind]) for name, kind in kinds.items()}
    rows = rows.sort_values("target", key=lambda names: names.map(keys), kind="stable")
    rows = rows.assign(
        run=rows["intermediate"].replace(NONE, "none (score)"),
        column=[title(target, tasks) for target in rows["target"]],
        panel="Gain over none",
    )
    what = f"Heatmap of the gain over none in points by intermediate run and target, {over}"
    return heatmap(rows, "run", "column", "panel", what, f"{over}; {seeds_text(rows['seeds'].max())}")


def language_heatmap(
    table: pd.DataFrame, languages: pd.DataFrame, target: str, tasks: Mapping[str, Task] = TASKS
) -> Figure:
    """One target language by language: the score of ``none``, and the gain of every intermediate run.

    ``languages``: the source's ``language_table()``. Languages stand by family, that with the nearest language first,
    within each nearest first.
    """
    rows = table[(table["target"] == target) & (table["intermediate"].eq(NONE) == table["quantity"].eq("score"))]
    order = by_distance(rows, languages)
    families = languages["family"].reindex(order).fillna("")
    order = [code for family in families.unique() for code in order if families[code] == family]
    keys = {code: number for number, code in enumerate(order)}
    rows = rows[rows["language"].isin(order)]
    rows = rows.sort_values("language", key=lambda codes: codes.map(keys), kind="stable")
    prefix = families + " " if families.nunique() > 1 else families.map(lambda _: "")
    rows = rows.assign(
        name=rows["language"].map(prefix) + rows["language"],
        run=rows["intermediate"].replace(NONE, "none (score)"),
        target=title(target, tasks),
    )
    note = f"languages by family and distance from the source; {seeds_text(rows['seeds'].max())}"
    return heatmap(rows, "name", "run", "target", f"{title(target, tasks)}, gain over none by language and run", note)


def by_distance(table: pd.DataFrame, languages: pd.DataFrame) -> list[str]:
    """Language codes of ``table``, nearest to the source first; those of unknown distance last."""
    codes = [code for code in table["language"].unique() if code not in (MEAN, ZERO_SHOT)]
    return list(languages.reindex(codes)["distance"].sort_values(kind="stable", na_position="last").index)


def colour_limit(values: pd.Series) -> float:
    """Where the diverging colours end, the same on both sides of zero: the 95th percentile of sizes, so that
    one extreme target does not bleach the rest; at least one point."""
    sizes = values.abs().dropna()
    return float(max(1.0, np.ceil(sizes.quantile(0.95)))) if len(sizes) else 1.0


def seeds_text(count: int) -> str:
    """How many seeds, and what a single seed leaves out."""
    return f"{count} seeds" if count > 1 else "one seed: intervals cover test examples alone"


def title(target: str, tasks: Mapping[str, Task] = TASKS) -> str:
    """Of a target, or of an average over targets, as figures give it. ``tasks``: of the study, own ones among them."""
    return tasks[target].title if target in tasks else LABELS.get(target, target)


@styled
def interval_panels(
    table: pd.DataFrame, line: str, series: str, panel: str, what: str, label: str, row: str = "", sharex: bool = True
) -> Figure:
    """Values with intervals: a panel for each value of the column ``panel`` and, above each other, ``row``; in it a
    line for each value of ``line`` and a marker for each of ``series``. ``what`` begins the alternative text, ``label``
    is below the axis. Rows whose column quantity is "gain" are differences: around a line at zero."""
    if table.empty:
        return _empty(what)
    table = table.assign(**{"": ""})
    lines = list(table[line].unique())
    facets = _facets(table, panel, row, 0.4 + 0.2 * len(lines), sharex=sharex, sharey=True)
    for ax, part in facets:
        _intervals(part, ax, line, series, lines)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    columns = [name for name in dict.fromkeys([line, series, panel, row]) if name]
    signed = bool((table["quantity"] == "gain").all())
    return _finished(facets, f"{label}; 95% intervals", alternative_text(what, table, columns, signed=signed))


def _intervals(table: pd.DataFrame, ax: Axes, line: str, series: str, lines: list[str]) -> None:
    """A line of the axes for each of ``lines``, a marker with its interval for each value of ``series``; differences
    whose interval spans zero are hollow."""
    names = list(table[series].unique())
    for number, name in enumerate(names):
        part = table[table[series] == name].set_index(line).reindex(lines)
        position = np.arange(len(lines)) + (number - (len(names) - 1) / 2) * 0.7 / max(len(names), 2)
        shade = str(0.15 + 0.45 * number / max(len(names) - 1, 1))
        filled = (part["quantity"] != "gain") | marked(part)
        ax.hlines(position, part["low"], part["high"], colors=shade, linewidth=1)
        look = {"s": 14, "edgecolors": shade, "linewidths": 0.8, "marker": MARKERS[number % len(MARKERS)], "zorder": 3}
        ax.scatter(part["value"], position, facecolors=np.where(filled, shade, "white"), **look)
        ax.scatter([], [], label=LABELS.get(name, name), facecolors=shade, **look)
        missing = part["value"].isna() & part["quantity"].notna()  # a line without a row has nothing to show
        for height in position[missing]:
            ax.text(0.02, height, "missing", transform=ax.get_yaxis_transform(), va="center", fontsize=5.5, color=shade)
    ax.set_yticks(range(len(lines)), [title(name) if line == "target" else name for name in lines])
    if (table["quantity"] == "gain").any():
        ax.axvline(0, color="0.3", linewidth=0.6)
    ax.set(ylim=(max(len(lines), 1) - 0.5, -0.5))
    ax.grid(axis="x")


@styled
def curves(
    table: pd.DataFrame,
    x: str,
    series: str,
    panel: str,
    what: str,
    label: str,
    row: str,
    log: bool = False,
    mean: bool = False,
) -> Figure:
    """Values against the column ``x``: a panel for each value of the column ``panel`` and, above each other, of
    ``row``; in it a line for each value of ``series``, around it the band of its interval where it has one. ``log``:
    the axis of ``x`` is logarithmic. ``mean``: the lines are grey, and their mean is black."""
    if table.empty:
        return _empty(what)
    names = list(table[series].unique())
    palette = dict(zip(names, sns.color_palette(["black", LOSS, GAIN, NEUTRAL], len(names)), strict=True))
    facets = _facets(table, panel, row, 1.6, sharex=True, sharey="row")
    for ax, rows in facets:
        for number, (name, part) in enumerate(rows.sort_values(x).groupby(series, sort=False)):
            if mean:
                ax.plot(part[x], part["value"], color="0.75", linewidth=0.7)
                ax.annotate(name, part[[x, "value"]].iloc[-1], (3, 0), textcoords="offset points", fontsize=5.5)
                continue
            ax.fill_between(part[x], part["low"], part["high"], color=palette[name], alpha=0.15, linewidth=0)
            look = {"color": palette[name], "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
            ax.plot(part[x], part["value"], label=name, **look)
        if mean:
            ax.plot(rows.groupby(x)["value"].mean(), color="black", marker="o", markersize=3)
        if (rows["quantity"] == "gain").any():
            ax.axhline(0, color="0.3", linewidth=0.6)
        if log:
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(table[x])))
        ax.grid(axis="y")
    texts = []
    for name, part in table.groupby(row, sort=False):
        signed = bool((part["quantity"] == "gain").all())
        texts.append(alternative_text(f"{what}, {name}", part, [series, panel, x], signed=signed))
    return _finished(facets, label, " ".join(texts))


def _empty(what: str) -> Figure:
    """The figure of a table without rows, as of a study with no other run than ``none``."""
    figure, ax = plt.subplots(figsize=(3.3, 0.6))
    ax.set_axis_off()
    ax.text(0.5, 0.5, "nothing to compare", ha="center", va="center")
    figure.set_label(f"{what}: no values.")
    return figure


def _facets(table: pd.DataFrame, panel: str, row: str, height: float, **share: Any) -> list[tuple[Axes, pd.DataFrame]]:
    """Axes and the rows of ``table`` that belong into them: a panel for each value of ``panel`` (across, its title) and
    ``row`` (down, the name of the y axis), each ``height`` inches high."""
    panels, rows = list(table[panel].unique()), list(table[row].unique())
    size = (1.2 + 1.8 * len(panels), 0.8 + height * len(rows))
    _, grid = plt.subplots(len(rows), len(panels), figsize=size, squeeze=False, **share)
    facets = []
    for name, axes in zip(rows, grid, strict=True):
        axes[0].set_ylabel(name, fontsize=7)
        for ax, value in zip(axes, panels, strict=True):
            facets.append((ax, table[(table[row] == name) & (table[panel] == value)]))
    for ax, value in zip(grid[0], panels, strict=True):
        ax.set_title(title(value), loc="left", fontweight="bold", fontsize=7)
    return facets


def _finished(facets: list[tuple[Axes, pd.DataFrame]], label: str, text: str) -> Figure:
    """The figure of these axes with one legend above, ``label`` below and its alternative text."""
    handles: dict[str, Any] = {}
    for ax, _ in facets:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    figure = facets[0][0].figure
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(5, len(handles)))
    figure.supxlabel(label, fontsize=8)
    figure.set_label(text)
    return figure


@styled
def training_curve(record: dict, title: str) -> Figure:
    """Training loss by step and, where checkpoints were compared, the development score on a second axis.
    ``record``: of a training, with loss ([{step, loss}]) and perhaps selection (best_step, curve)."""
    loss = pd.DataFrame(record["loss"])
    figure, ax = plt.subplots(figsize=(6, 2.8))
    ax.plot(loss["step"], loss["loss"])
    ax.set(xlabel="step", ylabel="training loss (nats)", title=title)
    if selection := record.get("selection"):
        scores, right = pd.DataFrame(selection["curve"]), ax.twinx()
        right.plot(scores["step"], scores["score"], color="C1", marker=".")
        right.axvline(selection["best_step"], color="C1", linewidth=0.7)
        right.set(ylabel="development score (orange)")
    figure.set_label(curve_text(f"Line: training loss by step, {title}", loss["step"].tolist(), loss["loss"].tolist()))
    return figure


def layer_panels(layers: dict[str, pd.DataFrame]) -> Figure:
    """Retrieval score of one run by hidden layer, a panel per target: a line per language, their mean in black.

    ``layers``: target, or the name of its target run, -> its ``layers.parquet`` (language, layer, metric, score); of
    each its main metric.
    """
    parts = []
    for name, table in layers.items():
        target, _, language = name.partition("@")
        panel = title(target) + (f", tuned in {language}" if language else "")
        parts.append(table[table["metric"] == TASKS[target].metrics[0]].assign(panel=panel))
    table = pd.concat(parts).rename(columns={"score": "value"}).assign(quantity="score", row="score")
    what = "Lines: retrieval score by hidden layer, one for each language and their mean in black"
    return curves(table, "layer", "language", "panel", what, "hidden layer (0: embeddings)", "row", mean=True)


@styled
def distance_panels(points: pd.DataFrame, rho: pd.DataFrame, tasks: Mapping[str, Task] = TASKS) -> Figure:
    """Zero-shot score of ``none`` against distance from the source, a panel per target with Spearman's rho.

    ``points``: of :func:`distance_points`; ``rho``: of ``results.correlations``. Up to six families have a marker each.
    """
    targets = list(rho["target"])
    columns = min(PANELS, len(targets))
    lines = -(-len(targets) // columns)
    size = (max(4, 1.75 * columns), 0.9 + 1.5 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    families = list(points["family"].unique())
    style = {"style": "family", "style_order": families, "markers": list(MARKERS[: len(families)])}
    style = style if 1 < len(families) <= len(MARKERS) else {}
    facets = []
    for ax, row in zip(grid.flat, rho.itertuples(), strict=False):
        part = points[points["target"] == row.target]
        facets.append((ax, part))
        ax.vlines(part["distance"], part["low"], part["high"], colors="0.7", linewidth=0.7)
        sns.scatterplot(part, x="distance", y="value", color="0.3", s=14, zorder=3, ax=ax, **style)
        if ax.get_legend():
            ax.get_legend().remove()
        if len(part) <= 12:  # names of more would overlap; language_heatmap names them all
            for number, point in enumerate(part.dropna(subset="value").sort_values("distance").itertuples()):
                end, offset, align = (point.high, 2, "bottom") if number % 2 == 0 else (point.low, -2, "top")
                look = {"textcoords": "offset points", "ha": "center", "va": align, "fontsize": 5.5}
                ax.annotate(point.language, (point.distance, end), (0, offset), **look)
        text = f"ρ = {row.rho:.2f}".replace("-", "−") if np.isfinite(row.rho) else "ρ: too few"
        ax.set_title(title(row.target, tasks), loc="left", fontweight="bold", fontsize=7)
        ax.set_title(text, loc="right", fontsize=7)
        ax.set(ylim=(-13, 113), yticks=range(0, 101, 20), xlabel="", ylabel="")
        ax.margins(x=0.12)
        ax.grid(axis="y")
    for ax in list(grid.flat)[len(targets) :]:
        ax.remove()
    figure.supylabel("zero-shot score of none", fontsize=8)
    what = "Zero-shot score of none against distance from the source language, a panel per target. Spearman's rho"
    text = alternative_text(what, rho.rename(columns={"rho": "value"}), ["target"], signed=True, decimals=2)
    return _finished(facets, "distance from the source language", text)


def distance_points(table: pd.DataFrame, languages: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot scores of ``none`` in languages of known distance, each with its distance and family."""
    rows = table[(table["intermediate"] == NONE) & ~table["target"].isin(LABELS)]
    rows = rows.join(languages[["distance", "family"]], on="language").query("distance > 0")
    return rows[["target", "language", "family", "distance", "value", "low", "high", "seeds"]]


def alternative_text(what: str, table: pd.DataFrame, by: Sequence[str], signed: bool = False, decimals: int = 1) -> str:
    """``what``, then how many values there are, the lowest and the highest, and how many are missing.

    ``table``: a row per value, in the column value; ``by``: columns that say which one a value is. ``signed``: they
    are differences; where they have intervals (low, high), how many lie above and below zero is said, too.
    """
    known = table.dropna(subset="value")
    gaps = len(table) - len(known)
    missing = f"; {gaps} missing" if gaps else ""
    if known.empty:
        return f"{what}: no values{missing}."
    ends = []
    for row in (known.loc[known["value"] == end].iloc[0] for end in (known["value"].min(), known["value"].max())):
        names = ", ".join(_name(row, column) for column in by)
        ends.append(f"{_number(row['value'], signed, decimals)} ({names})")
    text = f"{what}: {len(known)} values, from {ends[0]} to {ends[1]}" if len(known) > 1 else f"{what}: {ends[0]}"
    if signed and {"low", "high"} <= set(known.columns):
        above, below = int((known["low"] > 0).sum()), int((known["high"] < 0).sum())
        text += f"; {_count(above + below)}, {above} above and {below} below it"
    return f"{text}{missing}."


def curve_text(what: str, x: Sequence[float], y: Sequence[float]) -> str:
    """``what``, then the first and the last point of a curve."""
    first, last = (f"{_number(y[index], False, 2)} at {x[index]:,}" for index in (0, -1))
    return f"{what}: from {first} to {last}."


def _count(marks: int) -> str:
    return "1 interval excludes zero" if marks == 1 else f"{marks} intervals exclude zero"


def _number(value: float, signed: bool, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", "−")  # no -0.0


def _name(row: pd.Series, column: str) -> str:
    name = row[column]
    if column in ("target", "part") and name in TASKS:
        return TASKS[name].title
    return AVERAGES.get(name, " ".join(str(name).replace("_", " ").split()))


@styled
def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name``.svg, .png and, of the table it was drawn from, .csv (numbers to 4 decimals, so that a repeat gives
    the same bytes), each picture with the alternative text in its metadata; then show the figure."""
    make_legible(figure)
    png = _png(figure, name)
    with whole_file(folder / f"{name}.svg") as aside:
        metadata = {"Title": name, "Description": _alternative(figure), "Date": None}
        figure.savefig(aside, format="svg", metadata=metadata)
    with whole_file(folder / f"{name}.png") as aside:
        aside.write_bytes(png)
    write_table(table, folder / f"{name}.csv")
    _display(figure, png)


@styled
def show(figure: Figure) -> None:
    """Display a figure in a notebook and close it. ValueError where it has no alternative text."""
    make_legible(figure)
    _display(figure, _png(figure, ""))


def _png(figure: Figure, name: str) -> bytes:
    """With 256 colours, a third of the size: pages hold dozens of figures."""
    drawn = io.BytesIO()
    written = io.BytesIO()
    metadata = PngInfo()
    for key, text in (("Title", name), ("Description", _alternative(figure))):
        metadata.add_itxt(key, text)
    figure.savefig(drawn, format="png", dpi=PIXELS)
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.NONE)
    few.save(written, "png", pnginfo=metadata, optimize=True)
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


def make_legible(figure: Figure) -> list[str]:
    """Give each text of ``figure`` fonts that have its characters, from those that are installed.

    A character that none has is written as its code point ("U+1000"), and a line printed says which; returns those.
    """
    absent: set[str] = set()
    for axis in (axis for ax in figure.findobj(Axes) for axis in (ax.xaxis, ax.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter):  # it writes the labels again at every drawing
            formatter.seq = [_spelt(text, absent) for text in formatter.seq]
            axis.get_ticklabels()  # creates them
    for text in figure.findobj(Text):
        text.set_text(_spelt(text.get_text(), absent))
        families = _families(text.get_text())
        if families != [DEFAULT]:
            text.set_fontfamily(families)
    if absent:
        names = [f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip() for letter in sorted(absent)]
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        print(f"no installed font has {', '.join(names[:5])}{more}: shown as code points; Noto Sans has most")
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
    printed = {ord(letter) for letter in text if unicodedata.category(letter) not in ("Cc", "Cf")}
    return printed - _characters(font_manager.findfont(DEFAULT))


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@cache
def _others() -> dict[str, frozenset[int]]:
    """Family -> what its upright face of normal weight has; in alphabetical order."""
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname))
    upright = [font for font in fonts if font.style == "normal" and font.weight in (400, "normal", "regular", "book")]
    return {font.name: _characters(font.fname) for font in upright if font.name != DEFAULT}
