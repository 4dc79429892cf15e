"""Figures from tidy tables, how they are saved and shown, their fonts and their alternative text.

Every figure function takes a table with the columns value, low and high, returns a figure at the width of a column or
a page, and sets its alternative text (``figure.set_label``), which is computed from the table. Where a column quantity
says "gain", a value is a difference: blue is a gain and orange a loss (told apart by colour-blind readers); the sign
or the side of the zero line says the same in grayscale. Bold or filled: significant (the column of that name, among
the figure's differences at a false discovery rate of 5%), or, without that column, that the interval excludes zero.
"""

import html
import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame
from PIL import Image, PngImagePlugin

from xstilts.io import whole_file, write_table
from xstilts.names import NONE
from xstilts.results import MACRO, MACRO_LEARNED, MACRO_TRAINED, MEAN, ZERO_SHOT, marked
from xstilts.tasks import KINDS, TASKS, Task

# DejaVu Sans comes with matplotlib: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters. Letters that it
# lacks are taken from Noto Sans, where that is installed
FONTS = ["DejaVu Sans", *sorted({font.name for font in fontManager.ttflist if font.name.startswith("Noto Sans")})]
STYLE = [str(Path(__file__).with_name("style.mplstyle")), {"font.family": FONTS}]
styled = plt.style.context(STYLE)  # as a decorator: no figure depends on what a notebook has set
GAIN, LOSS, NEUTRAL = "#2166ac", "#b35806", "#6b6b6b"
DIVERGING = LinearSegmentedColormap.from_list("gain", [LOSS, "#f1a340", "#f7f7f7", "#67a9cf", GAIN], 257)
SEQUENTIAL = LinearSegmentedColormap.from_list("score", ["#ffffff", "#8c8c8c"])
LABELS = {MACRO: "all targets", MACRO_TRAINED: "without retrieval", MACRO_LEARNED: "learned targets"}
STARRED = "significant at a false discovery rate of 5%"
MARKERS = "oD^svP"
PIXELS = 192  # to the inch: two for each of a page's 96


@styled
def heatmap(table: DataFrame, row: str, column: str, panel: str, what: str, note: str = "", text: str = "") -> Figure:
    """Values by the columns ``row`` and ``column`` of ``table``, in its order, a panel for each value of ``panel``.

    ``what`` begins the alternative text, ``note`` the line below. Values are differences, bold with a star where they
    are significant, in brackets where the column learned says that not every seed learned the target; rows whose column
    quantity is "score" are shades of grey. ``text``: column of what is written into the cells of values that are no
    differences. Hatched: missing.
    """
    if table.empty:
        return _empty(what)
    table = table.reset_index(drop=True)
    grey = pd.Series(bool(text), table.index) | (table.get("quantity") == "score")
    table["text"] = table[text] if text else _cell_texts(table, grey)
    limit = colour_limit(table.loc[~grey, "value"])
    lowest, highest = (table["value"].min(), table["value"].max()) if text else (0, 100)
    shades = {"cmap": SEQUENTIAL, "vmin": lowest, "vmax": highest}
    colours = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit}
    rows, most = table[row].unique(), table.groupby(panel)[column].nunique().max()
    down, across = (table[panel].nunique(), 1) if most > 12 else (1, table[panel].nunique())
    size = (1.4 + max(2.2, 0.36 * most) * across, 0.9 + (0.5 + 0.23 * len(rows)) * down)
    figure, axes = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False)
    look = {"cbar": False, "linewidths": 0.7, "annot_kws": {"fontsize": 5.5}, "xticklabels": True, "yticklabels": True}
    for ax, (name, cells) in zip(axes.flat, table.groupby(panel, sort=False), strict=True):
        columns = cells[column].unique()
        for is_grey, part in cells.groupby(grey[cells.index]):
            wide = part.pivot(index=row, columns=column, values=["value", "text"]).reindex(index=rows)
            values, texts = (wide[key].reindex(columns=columns) for key in ("value", "text"))
            scale = shades if is_grey else colours
            sns.heatmap(values.astype(float), annot=texts.astype(object).fillna(""), fmt="", ax=ax, **look, **scale)
        ax.patch.set(facecolor="white", edgecolor="0.6", hatch="//////", linewidth=0)
        ax.set(xlabel="", ylabel="")
        ax.set_title(title(name), loc="left", fontweight="bold")
        ax.tick_params(length=0)
        ax.tick_params(axis="y", rotation=0)
        plt.setp([label for label in ax.texts if "*" in label.get_text()], fontweight="bold")
    stars = (
        "" if text else f"\npoints; bold with *: {STARRED if 'significant' in table else 'the interval excludes zero'}"
    )
    brackets = "; in brackets: not learned with every seed" if table["text"].str.contains(r"\(").any() else ""
    budget = "; †: not shown to exceed as many more steps" if table["text"].str.contains("†").any() else ""
    figure.supxlabel(f"{note}{stars}{brackets}{budget}; hatched: missing".strip(), fontsize=7)
    by = list(dict.fromkeys([row, column, panel]))
    described = alternative_text(what, table if text else table[~grey], by, signed=not text)
    if grey.any() and not text:
        described += " " + alternative_text("Scores in grey", table[grey], by)
    figure.set_label(described)
    return figure


def _cell_texts(table: DataFrame, grey: pd.Series) -> pd.Series:
    """What a cell of a heatmap says: the value, its star, and of how many seeds where others have more."""
    texts = [_number(value, not is_grey) for value, is_grey in zip(table["value"], grey, strict=True)]
    texts = pd.Series(texts, table.index) + np.where(marked(table) & ~grey, "*", "")
    if "learned" in table:
        texts = texts.where(~(table["learned"] < 1), "(" + texts + ")")
    if "budget" in table:
        texts += np.where(table["budget"].eq(True), "†", "")
    if "seeds" in table:
        fewer = table["seeds"] < table["seeds"].max()
        texts += np.where(fewer, "\n" + table["seeds"].astype(str) + f" of {table['seeds'].max()} seeds", "")
    return texts.where(table["value"].notna(), "")


def transfer_heatmap(table: DataFrame, language: str = MEAN, tasks: Mapping[str, Task] = TASKS) -> Figure:
    """The score of ``none`` and, below it, the gain of every intermediate run on every target (by kind, the averages
    over targets last), from the rows of ``results.estimates`` in ``language`` (``MEAN`` or ``ZERO_SHOT``)."""
    over = {MEAN: "mean over all languages", ZERO_SHOT: "mean over the languages other than the source"}[language]
    rows = _score_and_gains(table[table["language"] == language]).set_index("target", drop=False)
    # "": not among ``tasks``
    kinds = {name: tasks[name].kind if name in tasks else "" for name in rows.index} | {name: name for name in LABELS}
    rows = rows.loc[sorted(rows.index.unique(), key=lambda name: [*KINDS, "", *LABELS].index(kinds[name]))]
    rows = rows.assign(column=[title(target, tasks) for target in rows.index], panel="Gain over none")
    what = f"Heatmap of the gain over none in points by intermediate run and target, {over}"
    return heatmap(rows, "run", "column", "panel", what, f"{over}; {seeds_text(rows['seeds'].max())}")


def language_heatmap(table: DataFrame, languages: DataFrame, target: str, tasks: Mapping[str, Task] = TASKS) -> Figure:
    """One target language by language: the score of ``none``, and the gain of every intermediate run.

    ``languages``: the source's ``language_table()``. Languages stand by family, that with the nearest language first,
    within each nearest first.
    """
    rows = _score_and_gains(table[table["target"] == target])
    families = languages["family"].reindex(by_distance(rows, languages)).fillna("")
    names = pd.concat([part + " " + part.index for _, part in families.groupby(families, sort=False)])
    if families.nunique() == 1:
        names = names.index.to_series()
    rows = rows.set_index("language").loc[names.index]
    rows = rows.assign(name=names[rows.index], target=title(target, tasks))
    note = f"languages by family and distance from the source; {seeds_text(rows['seeds'].max())}"
    return heatmap(rows, "name", "run", "target", f"{title(target, tasks)}, gain over none by language and run", note)


def _score_and_gains(table: DataFrame) -> DataFrame:
    """Of ``none`` the scores, of the other runs the gains; with the column run."""
    rows = table[table["intermediate"].eq(NONE) == table["quantity"].eq("score")]
    return rows.assign(run=rows["intermediate"].replace(NONE, "none (score)"))


def by_distance(table: DataFrame, languages: DataFrame) -> list[str]:
    """Language codes of ``table``, nearest to the source first; those of unknown distance last."""
    codes = [code for code in table["language"].unique() if code not in (MEAN, ZERO_SHOT)]
    return list(languages.reindex(codes)["distance"].sort_values(kind="stable", na_position="last").index)


def colour_limit(values: pd.Series) -> float:
    """Where the diverging colours end, the same on both sides of zero: the 95th percentile of sizes, so that
    one extreme target does not bleach the rest; at least one point."""
    return float(np.fmax(1.0, np.ceil(values.abs().quantile(0.95))))


def seeds_text(count: int) -> str:
    """How many seeds, and what a single seed leaves out."""
    return f"{count} seeds" if count > 1 else "one seed: intervals cover test examples alone"


def title(target: str, tasks: Mapping[str, Task] = TASKS) -> str:
    """Of a target, or of an average over targets, as figures give it. ``tasks``: of the study, own ones among them."""
    return tasks[target].title if target in tasks else LABELS.get(target, target)


@styled
def interval_panels(
    table: DataFrame, line: str, series: str, panel: str, what: str, label: str, row: str = "", sharex: bool = True
) -> Figure:
    """Values with intervals: a panel for each value of the column ``panel`` and, above each other, ``row``; in it a
    line for each value of ``line`` and a marker for each of ``series``. ``what`` begins the alternative text, ``label``
    is below the axis. Rows whose column quantity is "gain" are differences: around a line at zero, hollow where the
    interval spans it."""
    if table.empty:
        return _empty(what)
    table = table.assign(**{"": ""})
    lines = list(table[line].unique())
    facets = _facets(table, panel, row, 0.4 + 0.2 * len(lines), sharex=sharex, sharey=True)
    for ax, rows in facets:
        names = list(rows[series].unique())
        for number, name in enumerate(names):
            part = rows[rows[series] == name].set_index(line).reindex(lines)
            position = np.arange(len(lines)) + (number - (len(names) - 1) / 2) * 0.7 / max(len(names), 2)
            shade = str(0.15 + 0.45 * number / max(len(names) - 1, 1))
            faces = np.where((part["quantity"] != "gain") | marked(part), shade, "white")
            look = {"s": 14, "edgecolors": shade, "linewidths": 0.8, "marker": MARKERS[number % len(MARKERS)]}
            ax.hlines(position, part["low"], part["high"], colors=shade, linewidth=1)
            ax.scatter(part["value"], position, facecolors=faces, zorder=3, **look)
            ax.scatter([], [], label=LABELS.get(name, name), facecolors=shade, **look)
            for height in position[part["value"].isna() & part["quantity"].notna()]:  # other lines have no row
                look = {"va": "center", "fontsize": 5.5, "color": shade}
                ax.text(0.02, height, "missing", transform=ax.get_yaxis_transform(), **look)
        ax.set_yticks(range(len(lines)), [title(name) if line == "target" else name for name in lines])
        if (rows["quantity"] == "gain").any():
            ax.axvline(0, color="0.3", linewidth=0.6)
        ax.set(ylim=(len(lines) - 0.5, -0.5))
        ax.grid(axis="x")
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    by = [name for name in dict.fromkeys([line, series, panel, row]) if name]
    return _finished(facets, f"{label}; 95% intervals", alternative_text(what, table, by))


@styled
def curves(
    table: DataFrame, x: str, series: str, panel: str, what: str, label: str, row: str, log: bool = False
) -> Figure:
    """Values against the column ``x``: a panel for each value of the column ``panel`` and, above each other, of
    ``row``; in it a line for each value of ``series``, around it the band of its interval where it has one. ``log``:
    the axis of ``x`` is logarithmic."""
    if table.empty:
        return _empty(what)
    names = list(table[series].unique())
    palette = dict(zip(names, sns.color_palette(["black", LOSS, GAIN, NEUTRAL], len(names)), strict=True))
    facets = _facets(table, panel, row, 1.6, sharex=True, sharey="row")
    for ax, rows in facets:
        for number, (name, part) in enumerate(rows.sort_values(x).groupby(series, sort=False)):
            ax.fill_between(part[x], part["low"], part["high"], color=palette[name], alpha=0.15, linewidth=0)
            look = {"color": palette[name], "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
            ax.plot(part[x], part["value"], label=name, **look)
        if (rows["quantity"] == "gain").any():
            ax.axhline(0, color="0.3", linewidth=0.6)
        if log:
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(table[x])))
        ax.grid(axis="y")
    parts = table.groupby(row, sort=False)
    texts = [alternative_text(f"{what}, {name}", part, [series, panel, x]) for name, part in parts]
    return _finished(facets, label, " ".join(texts))


def _empty(what: str) -> Figure:
    """The figure of a table without rows, as of a study with no other run than ``none``."""
    figure, ax = plt.subplots(figsize=(3.3, 0.6))
    ax.set_axis_off()
    ax.text(0.5, 0.5, "nothing to compare", ha="center", va="center")
    figure.set_label(f"{what}: no values.")
    return figure


def _facets(table: DataFrame, panel: str, row: str, height: float, **share: Any) -> list[tuple[Axes, DataFrame]]:
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


def _finished(facets: list[tuple[Axes, DataFrame]], label: str, text: str) -> Figure:
    """The figure of these axes with one legend above, ``label`` below and its alternative text."""
    handles: dict[str, Any] = {}
    for ax, _ in facets:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
        if ax.get_legend():  # seaborn's own
            ax.get_legend().remove()
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
    loss = DataFrame(record["loss"])
    figure, ax = plt.subplots(figsize=(6, 2.8))
    ax.plot(loss["step"], loss["loss"])
    ax.set(xlabel="step", ylabel="training loss (nats)", title=title)
    if selection := record.get("selection"):
        scores, right = DataFrame(selection["curve"]), ax.twinx()
        right.plot(scores["step"], scores["score"], color="C1", marker=".")
        right.axvline(selection["best_step"], color="C1", linewidth=0.7)
        right.set(ylabel="development score (orange)")
    first, last = (f"{row.loss:.2f} at {row.step:,}" for row in loss.iloc[[0, -1]].itertuples())
    figure.set_label(f"Line: training loss by step, {title}: from {first} to {last}.")
    return figure


@styled
def layer_panels(layers: dict[str, DataFrame]) -> Figure:
    """Retrieval score of one run by hidden layer, a panel per target: a grey line per language, their mean in black.

    ``layers``: target, or the name of its target run, -> its ``layers.parquet`` (language, layer, metric, score); of
    each its main metric.
    """
    parts = []
    for name, table in layers.items():
        target, _, language = name.partition("@")
        panel = title(target) + (f", tuned in {language}" if language else "")
        parts.append(table[table["metric"] == TASKS[target].metrics[0]].assign(panel=panel))
    table = pd.concat(parts).rename(columns={"score": "value"}).assign(row="score")
    facets = _facets(table, "panel", "row", 1.6, sharex=True, sharey=True)
    for ax, rows in facets:
        for language, part in rows.sort_values("layer").groupby("language", sort=False):
            ax.plot(part["layer"], part["value"], color="0.75", linewidth=0.7)
            ax.annotate(language, part[["layer", "value"]].iloc[-1], (3, 0), textcoords="offset points", fontsize=5.5)
        ax.plot(rows.groupby("layer")["value"].mean(), color="black", marker="o", markersize=3)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.grid(axis="y")
    what = "Lines: retrieval score by hidden layer, one for each language and their mean in black"
    text = alternative_text(what, table, ["language", "panel", "layer"])
    return _finished(facets, "hidden layer (0: embeddings)", text)


@styled
def distance_panels(points: DataFrame, rho: DataFrame, tasks: Mapping[str, Task] = TASKS) -> Figure:
    """Zero-shot score of ``none`` against distance from the source, a panel per target with Spearman's rho.

    ``points``: of :func:`distance_points`; ``rho``: of ``results.correlations``. Up to six families have a marker each.
    """
    across = min(5, len(rho))  # panels side by side
    down = -(-len(rho) // across)
    size = (max(4, 1.75 * across), 0.9 + 1.5 * down)
    figure, grid = plt.subplots(down, across, figsize=size, squeeze=False, sharex=True, sharey=True)
    families = list(points["family"].unique())
    style = {"style": "family", "style_order": families, "markers": list(MARKERS[: len(families)])}
    style = style if 1 < len(families) <= len(MARKERS) else {}
    facets = []
    for ax, row in zip(grid.flat, rho.itertuples(), strict=False):
        part = points[points["target"] == row.target]
        facets.append((ax, part))
        ax.vlines(part["distance"], part["low"], part["high"], colors="0.7", linewidth=0.7)
        sns.scatterplot(part, x="distance", y="value", color="0.3", s=14, zorder=3, ax=ax, **style)
        if len(part) <= 12:  # names of more would overlap; language_heatmap names them all
            for number, point in enumerate(part.dropna(subset="value").sort_values("distance").itertuples()):
                end, offset, align = (point.high, 2, "bottom") if number % 2 == 0 else (point.low, -2, "top")
                look = {"textcoords": "offset points", "ha": "center", "va": align, "fontsize": 5.5}
                ax.annotate(point.language, (point.distance, end), (0, offset), **look)
        text = f"ρ = {_number(row.rho, False, 2)}" if np.isfinite(row.rho) else "ρ: too few"
        ax.set_title(title(row.target, tasks), loc="left", fontweight="bold", fontsize=7)
        ax.set_title(text, loc="right", fontsize=7)
        ax.set(ylim=(-13, 113), yticks=range(0, 101, 20), xlabel="", ylabel="")
        ax.margins(x=0.12)
        ax.grid(axis="y")
    for ax in grid.flat[len(rho) :]:
        ax.remove()
    figure.supylabel("zero-shot score of none", fontsize=8)
    what = "Zero-shot score of none against distance from the source language, a panel per target. Spearman's rho"
    text = alternative_text(what, rho.rename(columns={"rho": "value"}), ["target"], signed=True, decimals=2)
    return _finished(facets, "distance from the source language", text)


def distance_points(table: DataFrame, languages: DataFrame) -> DataFrame:
    """Zero-shot scores of ``none`` in languages of known distance, each with its distance and family."""
    rows = table[(table["intermediate"] == NONE) & ~table["target"].isin(LABELS)]
    rows = rows.join(languages[["distance", "family"]], on="language").query("distance > 0")
    return rows[["target", "language", "family", "distance", "value", "low", "high", "seeds"]]


def alternative_text(what: str, table: DataFrame, by: Sequence[str], signed: bool = False, decimals: int = 1) -> str:
    """``what``, then how many values there are, the lowest and the highest, and how many are missing.

    ``table``: a row per value, in the column value; ``by``: columns that say which one a value is. ``signed``: they
    are differences, as where the column quantity is "gain" throughout; where they have intervals (low, high), how many
    lie above and below zero is said, too.
    """
    signed = bool(signed or np.all(table.get("quantity") == "gain"))
    known = table.dropna(subset="value")
    missing = f"; {len(table) - len(known)} missing" if len(known) < len(table) else ""
    if known.empty:
        return f"{what}: no values{missing}."
    ends = []
    for row in (known.iloc[known["value"].argmin()], known.iloc[known["value"].argmax()]):
        names = [title(row[column]) if column in ("target", "part") else str(row[column]) for column in by]
        names = [" ".join(name.replace("_", " ").split()) for name in names]
        ends.append(f"{_number(row['value'], signed, decimals)} ({', '.join(names)})")
    text = f"{what}: {len(known)} values, from {ends[0]} to {ends[1]}" if len(known) > 1 else f"{what}: {ends[0]}"
    if signed and {"low", "high"} <= set(known.columns):
        above, below = (int((marked(known) & (known["value"] * sign > 0)).sum()) for sign in (1, -1))
        count = "1 interval excludes" if above + below == 1 else f"{above + below} intervals exclude"
        count = f"{count} zero" if "significant" not in known else f"{above + below} significant"
        text += f"; {count}, {above} above and {below} below it"
    return f"{text}{missing}."


def _number(value: float, signed: bool, decimals: int = 1) -> str:
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", "−")  # no -0.0


def save(figure: Figure, table: DataFrame, folder: Path, name: str) -> None:
    """Show the figure and write ``name``.svg, .png and, of the table it was drawn from, .csv (numbers to 4 decimals, so
    that a repeat gives the same bytes), each picture with the alternative text in its metadata."""
    png = show(figure, name)
    with whole_file(folder / f"{name}.png") as aside:
        aside.write_bytes(png)
    with plt.style.context(STYLE), whole_file(folder / f"{name}.svg") as aside:
        figure.savefig(aside, format="svg", metadata={"Title": name, "Description": figure.get_label(), "Date": None})
    write_table(table, folder / f"{name}.csv")


@styled
def show(figure: Figure, name: str = "") -> bytes:
    """Display a figure in a notebook and close it; returns the picture as PNG. ValueError where it has no alternative
    text."""
    text = figure.get_label()
    if not text:
        raise ValueError("a figure needs alternative text: figure.set_label(alternative_text(…))")
    drawn, written, metadata = io.BytesIO(), io.BytesIO(), PngImagePlugin.PngInfo()
    metadata.add_itxt("Title", name)
    metadata.add_itxt("Description", text)
    figure.savefig(drawn, format="png", dpi=PIXELS)
    with Image.open(drawn) as picture:  # with 256 colours, a third of the size: pages hold dozens of figures
        few = picture.convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.NONE)
    few.save(written, "png", pnginfo=metadata, optimize=True)
    png, width = written.getvalue(), few.width * 96 // PIXELS
    look = f'alt="{html.escape(text)}" width="{width}" style="max-width: 100%; height: auto"'
    # as HTML: nbconvert drops the alternative text of a picture that is displayed as one
    display(HTML(f'<img src="data:image/png;base64,{b64encode(png).decode()}" {look}>'))
    plt.close(figure)
    return png
