"""Figures of the question of distance, from the tables of distances.py; each function lays out its own figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures import alt
from ..figures.drawing import GAIN, LOSS, SEQUENTIAL, score_dots
from ..findings import with_interval
from ..results import marked
from ..settings import DIRECT
from ..study import NONE
from ..tasks import TASKS
from .distances import COMPARED, INTERMEDIATE
from .learning_curves import MEDIAN

METRICS = {"accuracy": "retrieval accuracy", "cka": "linear CKA", "cosine_margin": "cosine margin"}
TITLES = METRICS | {COMPARED: "mean of the targets"}
LOOKS = {INTERMEDIATE: {"color": GAIN, "marker": "o"}, DIRECT: {"color": LOSS, "marker": "s", "mfc": "white"}}
NAMES = {INTERMEDIATE: "mean of the intermediate runs", DIRECT: "direct tuning (whole set)"}
COLUMNS = 8  # languages side by side


def title(part: str) -> str:
    """A target's, metric's or kind's name as a figure gives it."""
    return TASKS[part].title if part in TASKS else TITLES.get(part, part)


def gain_panels(gains: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """Gain over ``none`` against distance, a panel per part: the mean of the intermediate runs, and direct tuning
    where there is any, with 95% intervals (the widest may leave the panel) and Theil-Sen lines, whose slopes stand
    below with their intervals. Languages are named where they are few. ``gains``: ``distances.gain_table``;
    ``slopes``: ``distances.against_distance``."""
    gains = gains[gains["series"].isin(LOOKS)]
    parts = list(gains["part"].unique())
    columns = min(4, len(parts))
    lines = -(-len(parts) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(2.1 * columns, 0.75 + 2.05 * lines), squeeze=False)
    for ax, part in zip(grid.flat, parts, strict=False):
        here = gains[gains["part"] == part]
        for number, (series, shown) in enumerate(here.groupby("series", sort=False)):
            look = LOOKS[series]
            shift = (0.004 if series == DIRECT else -0.004) * (2 if here["series"].nunique() > 1 else 0)
            ax.vlines(shown["distance"] + shift, shown["low"], shown["high"], colors=look["color"], linewidth=0.6)
            ax.plot(
                shown["distance"] + shift, shown["value"], linestyle="", markersize=3.5, label=NAMES[series], **look
            )
            if len(slope := slopes[(slopes[["part", "series", "quantity"]] == [part, series, "slope"]).all(axis=1)]):
                _line(ax, shown, slope["value"].iloc[0], look["color"], "--" if series == DIRECT else "-")
                _name_slope(ax, slope, look["color"], number)
        ax.axhline(0, color="0.3", linewidth=0.6)
        named = here["language"].nunique() <= 12
        above = f"alignment: {title(part)}" if part in METRICS else title(part)
        ax.set_title(above, loc="left", fontweight="bold", fontsize=7, pad=17 if named else 6)
        ax.margins(x=0.06)
        ax.set_ylim(*_limits(here))
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y")
        if named:
            _name_languages(ax, here.drop_duplicates("language"))
    for ax in list(grid.flat)[len(parts) :]:
        ax.remove()
    figure.supxlabel("distance from the source language (0 to 1)", fontsize=8)
    figure.supylabel("gain over none (points)", fontsize=8)
    handles = {name: handle for ax in figure.axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2)
    what = "Gain over none in points against distance from the source language, a panel per target or measure"
    figure.set_label(alt.values(what, gains, ["part", "series", "language"], signed=True))
    return figure


def _line(ax: Axes, shown: pd.DataFrame, slope: float, colour: str, style: str) -> None:
    ends = np.array([shown["distance"].min(), shown["distance"].max()])
    level = (shown["value"] - slope * shown["distance"]).median()  # scipy's intercept, "separate"
    ax.plot(ends, level + slope * ends, color=colour, linestyle=style, linewidth=0.9)


def _name_slope(ax: Axes, slope: pd.DataFrame, colour: str, number: int) -> None:
    """The slope, a table's one row, with its interval in the ``number``-th line below the panel, bold where the
    interval excludes zero."""
    text = with_interval(next(slope.assign(quantity="gain").itertuples()))
    weight = "bold" if marked(slope).all() else "normal"
    ax.annotate(
        f"slope {text}", (0, 0), (0, -20 - 8 * number), xycoords="axes fraction", textcoords="offset points", va="top",
        fontsize=6, color=colour, weight=weight,
    )  # fmt: skip


def _name_languages(ax: Axes, rows: pd.DataFrame) -> None:
    """Codes above the panel, in two lines, so that near neighbours do not touch."""
    for number, row in enumerate(rows.sort_values("distance").itertuples()):
        ax.annotate(
            row.language, (row.distance, 1), (0, 2 + 6 * (number % 2)), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=5, color="0.3",
        )  # fmt: skip


def slope_panels(slopes: pd.DataFrame) -> Figure:
    """Slopes over distance with 95% intervals: a panel per part, a line per series. ``slopes``: as
    ``distances.against_distance`` gives it."""
    slopes = slopes[slopes["quantity"] == "slope"].assign(quantity="gain")
    parts, lines = list(slopes["part"].unique()), list(slopes["series"].unique())
    size = (1.1 + 1.35 * len(parts), 0.85 + 0.2 * len(lines))
    figure, axes = plt.subplots(1, len(parts), figsize=size, sharey=True, squeeze=False)
    for ax, part in zip(axes.flat, parts, strict=True):
        score_dots(slopes[slopes["part"] == part], ax, "series", "part", lines)
        ax.set_xlim(*_limits(slopes[slopes["part"] == part]))
        ax.set_title(title(part), loc="left", fontweight="bold", fontsize=7)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.flat[0].set_yticks(range(len(lines)), [NAMES.get(line, line) for line in lines])
    figure.supxlabel(
        "slope of the gain over distance (points from distance 0 to 1; a line that reaches the edge goes on beyond it)",
        fontsize=7.5,
    )
    what = "Dots with 95% intervals: slope of the gain over distance, in points from distance 0 to 1"
    figure.set_label(alt.values(what, slopes, ["part", "series"], signed=True))
    return figure


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Of an axis that holds every value, zero and most of the intervals."""
    low = min(0, rows["value"].min(), rows["low"].quantile(0.2))
    high = max(0, rows["value"].max(), rows["high"].quantile(0.8))
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge


def shown_languages(codes: list[str]) -> list[str]:
    """At most ``COLUMNS`` of them, first and last among them, the rest evenly spaced."""
    places = np.linspace(0, len(codes) - 1, min(COLUMNS, len(codes))).round().astype(int)
    return [codes[place] for place in places]


def curve_panels(curves: pd.DataFrame, levels: pd.DataFrame, codes: list[str]) -> Figure:
    """Learning curves of direct tuning by language (columns, ``codes``) and target (rows), and of zero-shot transfer
    from as many source-language examples, with 95% bands (the widest leave the panel); level lines: zero-shot ``none``
    and each intermediate run on whole sets.

    ``curves``: ``learning_curves.learning_curves``; ``levels``: ``results.estimates``, of these targets.
    """
    targets, codes = list(curves["target"].unique()), shown_languages(codes)
    size = (0.7 + 1.05 * len(codes), 0.8 + 1.25 * len(targets))
    figure, grid = plt.subplots(len(targets), len(codes), figsize=size, squeeze=False, sharex=True, sharey="row")
    looks = {
        DIRECT: (LOSS, "-", "s", "direct tuning"),
        "source": ("0.35", "--", "", "none, as many of the source language"),
    }
    for line, target in zip(grid, targets, strict=True):
        for ax, code in zip(line, codes, strict=True):
            here = levels[(levels["target"] == target) & (levels["language"] == code) & (levels["quantity"] == "score")]
            for row in here.itertuples():
                if row.intermediate == NONE:
                    ax.axhline(
                        row.value, color="black", linestyle=":", linewidth=1.1, zorder=2, label="none, zero-shot"
                    )
                else:
                    ax.axhline(
                        row.value, color=GAIN, linewidth=0.5, alpha=0.6, zorder=1, label="intermediate runs, zero-shot"
                    )
            for series, (colour, style, marker, name) in looks.items():
                part = curves[(curves[["target", "language", "series"]] == [target, code, series]).all(axis=1)]
                ax.plot(
                    part["examples"], part["value"], color=colour, linestyle=style, marker=marker, ms=2.5, label=name
                )
                ax.fill_between(part["examples"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
            ax.set_xscale("log")
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.grid(axis="y")
        shown = pd.concat([curves, levels[levels["quantity"] == "score"]])
        shown = shown.loc[(shown["target"] == target) & shown["language"].isin(codes), "value"]
        edge = 0.06 * (shown.max() - shown.min()) or 1.0
        line[0].set(ylabel=title(target), ylim=(shown.min() - edge, shown.max() + edge))
    for ax, code in zip(grid[0], codes, strict=True):
        ax.set_title(code, fontsize=7)
    figure.supxlabel("training examples, in the language itself (zero-shot: in the source language)", fontsize=8)
    figure.supylabel("score", fontsize=8)
    handles = {name: handle for ax in grid.flat for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    what = "Learning curves of direct tuning by language and target, with zero-shot scores as level lines. Scores"
    shown = curves[curves["language"].isin(codes)]
    shown = shown.assign(examples=[f"{number:,} examples" for number in shown["examples"]])
    figure.set_label(alt.values(what, shown, ["target", "language", "series", "examples"]))
    return figure


def worth_text(examples: float, smallest: int, largest: int) -> str:
    """A number of examples as a person reads it: "35", "<10", ">3,000"; "" where there is none."""
    if np.isnan(examples):
        return ""
    if examples in (0, np.inf):
        return f"<{smallest:,}" if examples == 0 else f">{largest:,}"
    return f"{float(f'{examples:.2g}'):,.0f}"


def worth_heatmap(worth: pd.DataFrame, codes: list[str]) -> Figure:
    """How many examples of the language itself give the zero-shot score of each run: rows are runs, columns the
    languages ``codes`` and their median, a panel per target. ``worth``: as ``learning_curves.worth`` gives it."""
    codes = [*codes, MEDIAN]
    targets, runs = list(worth["target"].unique()), list(worth["run"].unique())
    size = (1.1 + 0.33 * max(4, len(codes)) * len(targets), 0.8 + 0.2 * len(runs))
    figure, axes = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    for ax, target in zip(axes.flat, targets, strict=True):
        here = worth[worth["target"] == target].set_index(["run", "language"])
        shade = np.log10(here["examples"].clip(here["smallest"] / 2, here["largest"] * 2)).unstack()
        ends = np.log10([here["smallest"].min() / 2, here["largest"].max() * 2])
        ax.imshow(shade.reindex(index=runs, columns=codes), cmap=SEQUENTIAL, vmin=ends[0], vmax=ends[1], aspect="auto")
        for (run, code), row in here.iterrows():
            text = worth_text(row["examples"], int(row["smallest"]), int(row["largest"]))
            if code in codes:
                ax.text(codes.index(code), runs.index(run), text, ha="center", va="center", fontsize=5)
        ax.set_xticks(range(len(codes)), codes, rotation=90 if len(codes) > 8 else 0, fontsize=5.5)
        ax.set_yticks(range(len(runs)), [NAMES.get(run, run) for run in runs])
        ax.axvline(len(codes) - 1.5, color="white", linewidth=2)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(title(target), loc="left", fontweight="bold", fontsize=7)
    figure.supxlabel(
        "examples of the language itself whose direct tuning equals the run's zero-shot score", fontsize=7.5
    )
    what = "Heatmap: examples of the language itself whose direct tuning equals a run's zero-shot score, if reached"
    reached = worth[np.isfinite(worth["examples"]) & (worth["examples"] > 0) & worth["language"].isin(codes)]
    figure.set_label(
        alt.values(what, reached.rename(columns={"examples": "value"}), ["target", "run", "language"], decimals=0)
    )
    return figure


def alignment_panels(layers: pd.DataFrame, gains: pd.DataFrame, averaged: list[str], codes: list[str]) -> Figure:
    """Retrieval accuracy, CKA and cosine margin by hidden layer, before phase 2 (``none``) and after: a column per
    language; thin lines are runs, the thick one their mean, with the interval of its difference from ``none``.
    ``layers``: ``distances.read_layers``, mean over seeds; ``gains``: ``distances.layer_gains``."""
    codes = shown_languages(codes)
    metrics = [metric for metric in METRICS if metric in set(layers["metric"])]
    mean = layers.pivot_table("score", "layer", ["metric", "language", "intermediate"])
    size = (0.7 + 1.05 * len(codes), 0.8 + 1.1 * len(metrics))
    figure, grid = plt.subplots(len(metrics), len(codes), figsize=size, squeeze=False, sharex=True, sharey="row")
    for line, metric in zip(grid, metrics, strict=True):
        for ax, code in zip(line, codes, strict=True):
            here = mean[metric, code]
            after = here[[run for run in averaged if run in here]]
            ax.plot(after.index, after, color=GAIN, linewidth=0.4, alpha=0.5)
            ax.plot(after.index, after.mean(axis=1), color=GAIN, marker="o", ms=2.5, label=NAMES[INTERMEDIATE])
            if NONE in here:
                change = gains[(gains["metric"] == metric) & (gains["language"] == code)].set_index("layer")
                base = here[NONE].reindex(change.index)
                ax.vlines(base.index, base + change["low"], base + change["high"], colors=GAIN, linewidth=0.9)
                ax.plot(here.index, here[NONE], color="black", linestyle="--", marker="x", ms=3, label="none")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            ax.grid(axis="y")
        line[0].set_ylabel(title(metric))
    for ax, code in zip(grid[0], codes, strict=True):
        ax.set_title(code, fontsize=7)
    figure.supxlabel("hidden layer (0: embeddings)", fontsize=8)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    what = "Alignment by hidden layer, before phase 2 (none) and after it, by measure and language; at the last layer"
    last = layers[(layers["layer"] == layers["layer"].max()) & layers["language"].isin(codes)]
    last = last[last["metric"].isin(metrics)]
    figure.set_label(alt.values(what, last.rename(columns={"score": "value"}), ["metric", "intermediate", "language"]))
    return figure


def robustness_panels(table: pd.DataFrame) -> Figure:
    """Change of the worst language and of the standard deviation over languages, and the share of languages that
    lose. ``table``: as ``robustness.robustness`` gives it, without ``none``."""
    table = table[table["series"] != NONE].assign(quantity="gain", what="")
    lines = list(table["series"])
    figure, axes = plt.subplots(1, 3, figsize=(7, 0.85 + 0.2 * len(lines)), sharey=True)
    named = {"worst": "worst language:\nchange (points)", "sd": "standard deviation over\nlanguages: change (points)"}
    for ax, (name, label) in zip(axes, named.items(), strict=False):
        columns = {f"{name}_gain": "value", f"{name}_low": "low", f"{name}_high": "high"}
        score_dots(table.rename(columns=columns), ax, "series", "what", lines)
        ax.set_xlim(*_limits(table.rename(columns=columns)))
        ax.set_xlabel(label)
    place = np.arange(len(lines))
    axes[2].barh(place, table["lose"], height=0.6, color="0.8", label="lose")
    axes[2].barh(place, table["lose_clearly"], height=0.6, color="0.35", label="interval below zero")
    axes[2].set(xlim=(0, 100), xlabel="cells (target × language)\nthat lose (%)")
    axes[2].grid(axis="x")
    axes[0].set_yticks(place, [NAMES.get(line, line) for line in lines])
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    what = "Dots with 95% intervals and bars: robustness over languages by run. Change of the worst language's score"
    worst = {"worst_gain": "value", "worst_low": "low", "worst_high": "high"}
    said = [alt.values(what, table.rename(columns=worst), ["series"], signed=True)]
    said.append(alt.values("Percent of cells that lose", table.rename(columns={"lose": "value"}), ["series"]))
    figure.set_label(" ".join(said))
    return figure
