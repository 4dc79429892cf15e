"""DataFrame + ax -> ax. Colour-blind safe; every cell and point also says its value, so that nothing
hangs on colour."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .results import MACRO
from .study import NONE
from .tasks import get

STYLE = Path(__file__).with_name("style.mplstyle")
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8c8c8c"  # Okabe and Ito's


def title(target: str) -> str:
    """How a target or macro average is written on an axis."""
    return target if target in MACRO else get(target).title


def _grid(summary: pd.DataFrame, value: str) -> pd.DataFrame:
    """Runs (rows) by targets (columns), both in the order they came."""
    runs, targets = summary["intermediate"].unique(), summary["target"].unique()
    return summary.pivot(index="intermediate", columns="target", values=value).loc[runs, targets]


def transfer_heatmap(summary: pd.DataFrame, fig: Figure) -> Figure:
    """The rows of :func:`xstilts.results.summarise`: score with ``none`` on top, below it the gain of each
    run with its interval; bold where the interval excludes zero, hatched where a run is missing."""
    score, gain = _grid(summary, "score"), _grid(summary, "gain").drop(index=NONE)
    low, high = _grid(summary, "low").drop(index=NONE), _grid(summary, "high").drop(index=NONE)
    bounds = _grid(summary, "score_low").loc[[NONE]], _grid(summary, "score_high").loc[[NONE]]
    fig.set_size_inches(2.6 + 0.92 * gain.shape[1], 2.2 + 0.52 * gain.shape[0])
    top, main = fig.subplots(2, 1, sharex=True, height_ratios=[1, max(1, len(gain))])
    _cells(top, score.loc[[NONE]], *bounds, sns.light_palette("#666666", as_cmap=True), 0, 160, "{:.1f}")
    limit = max(1.0, float(np.nanmax(np.abs(gain.to_numpy()), initial=1.0)))
    _cells(main, gain, low, high, sns.color_palette("vlag_r", as_cmap=True), -limit, limit, "{:+.1f}")
    top.tick_params(axis="x", bottom=False, labelbottom=False, top=True, labeltop=True, length=0)
    top.set_xticks(np.arange(gain.shape[1]) + 0.5, [title(name) for name in gain.columns], rotation=35, ha="left")
    main.tick_params(axis="x", bottom=False, labelbottom=False)
    top.set_yticks([0.5], ["none (score)"])
    main.set_ylabel("intermediate run (gain over none, points)")
    first_macro = sum(name not in MACRO for name in gain.columns)
    for ax in (top, main):
        ax.axvline(first_macro, color="white", linewidth=5)
        ax.set(xlabel="")
    return fig


def _cells(ax: Axes, values, low, high, colours, floor: float, ceiling: float, form: str) -> Axes:
    sns.heatmap(values, ax=ax, cmap=colours, vmin=floor, vmax=ceiling, cbar=False, linewidths=1.5, yticklabels=True)
    ax.set(ylabel="", xlabel="")
    ax.tick_params(axis="y", rotation=0, length=0)
    signed = "+" in form
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value, bottom, ceil = (table.iat[row, column] for table in (values, low, high))
            if np.isnan(value):
                ax.add_patch(plt.Rectangle((column, row), 1, 1, hatch="////", fill=False, edgecolor=GREY, linewidth=0))
                ax.text(column + 0.5, row + 0.5, "missing", ha="center", va="center", fontsize=7)
                continue
            clear = signed and (bottom > 0 or ceil < 0)
            shade = "white" if abs(value) > 0.72 * ceiling else "black"
            weight = "bold" if clear else "normal"
            ax.text(column + 0.5, row + 0.36, form.format(value), ha="center", va="center", color=shade, weight=weight)
            interval = f"{form.format(bottom)} … {form.format(ceil)}"
            ax.text(column + 0.5, row + 0.74, interval, ha="center", va="center", color=shade, fontsize=6)
    return ax


def language_breakdown(rows: pd.DataFrame, target: str, table: pd.DataFrame, ax: Axes) -> Axes:
    """One target: score of ``none`` with its interval, and of the runs with the largest and the smallest
    mean gain, in every language; the other runs as thin grey lines. ``rows`` from
    :func:`xstilts.results.by_language`, languages in the order of ``table`` (nearest first)."""
    here = rows[rows["target"] == target].dropna(subset="score")
    languages = [language for language in table.index if language in set(here["language"])]
    means = here[here["intermediate"] != NONE].groupby("intermediate", sort=False)["gain"].mean()
    shown = {NONE: ("black", "o", 0.0)}
    if len(means):
        shown |= {means.idxmax(): (BLUE, "^", -0.16)}
    if len(means) > 1:
        shown |= {means.idxmin(): (ORANGE, "v", 0.16)}
    places = np.arange(len(languages))
    for run, part in here.groupby("intermediate", sort=False):
        part = part.set_index("language").reindex(languages)
        if run not in shown:
            ax.plot(places, part["score"], color=GREY, linewidth=0.6, alpha=0.5, zorder=1)
            continue
        colour, marker, shift = shown[run]
        error = np.abs(part[["score_low", "score_high"]].to_numpy().T - part["score"].to_numpy()).clip(0)
        label = run if run == NONE else f"{run} ({means[run]:+.1f})"
        ax.errorbar(
            places + shift, part["score"], _within_percent(error, part["score"]), color=colour, marker=marker, label=label,
            markersize=4, linewidth=1.2 if run == NONE else 0, elinewidth=1, capsize=1.5, zorder=3,
        )  # fmt: skip
    names = [f"{table.at[language, 'name']}\n{language}" if len(languages) <= 12 else language for language in languages]
    ax.set_xticks(places, names, fontsize=7 if len(languages) <= 24 else 6)
    ax.set(title=title(target), ylabel="score (%)", xlim=(-0.6, len(languages) - 0.4))
    ax.set_ylim(bottom=0, top=104)
    ax.legend(fontsize=7, loc="lower left", ncols=3, handletextpad=0.3, columnspacing=1.0, framealpha=0.9)
    return ax


def _within_percent(error: np.ndarray, score: pd.Series) -> np.ndarray:
    """Error bars (2, n) that stay within 0 and 100 percent."""
    values = score.to_numpy()
    return np.vstack([np.minimum(error[0], values), np.minimum(error[1], 100 - values)])


def breakdown_grid(rows: pd.DataFrame, table: pd.DataFrame, fig: Figure) -> Figure:
    """:func:`language_breakdown` for every target, two to a row."""
    targets = list(rows["target"].unique())
    lines = -(-len(targets) // 2)
    fig.set_size_inches(12, 2.7 * lines)
    axes = np.atleast_1d(fig.subplots(lines, 2)).flatten()
    for target, ax in zip(targets, axes, strict=False):
        language_breakdown(rows, target, table, ax)
    for ax in axes[len(targets) :]:
        ax.axis("off")
    fig.supxlabel("language, nearest to the source language first", fontsize=9)
    return fig


def control_dots(table: pd.DataFrame, ax: Axes) -> Axes:
    """Zero-shot score of each target (rows of ``table``) under each encoder (columns)."""
    markers = ["o", "s", "D", "^", "v", "P", "X", "*"]
    palette = ["black", ORANGE, BLUE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", GREY]
    for number, name in enumerate(table.columns):
        ax.plot(table[name], range(len(table)), marker=markers[number], color=palette[number], linewidth=0, label=name)
    ax.set_yticks(range(len(table)), [title(target) for target in table.index])
    ax.invert_yaxis()
    ax.set(xlabel="zero-shot score with none (%), mean over languages and seeds", xlim=(0, 100))
    ax.grid(axis="x", color="#dddddd")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def save(fig: Figure, table: pd.DataFrame, folder: Path, name: str) -> None:
    """PNG, SVG and the CSV the figure was drawn from. The SVG holds no date and fixed ids: drawn again
    from the same numbers it is the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    fig.savefig(folder / f"{name}.png")
    with plt.rc_context({"svg.hashsalt": name}):
        fig.savefig(folder / f"{name}.svg", metadata={"Date": None})
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.4f", lineterminator="\n")
