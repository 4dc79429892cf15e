"""Figures of one target language by language, and of scores against distance, from the tables of
:mod:`xstilts.results`; colours and marks as in :mod:`.drawing`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..findings import with_interval
from ..results import MEAN, ZERO_SHOT, marked
from ..study import NONE
from ..tasks import TASKS
from . import alt
from .drawing import GAIN, LOSS, NEUTRAL, seeds_text, title


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
    said = [alt.values(f"{what}. Score of none", single[single["intermediate"] == NONE], ["language"])]
    if runs:
        gain = single[(single["quantity"] == "gain") & single["intermediate"].isin(runs)]
        said.append(alt.values("Gain over none", gain, ["intermediate", "language"], signed=True))
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
    figure.set_label(alt.values(what, rho.rename(columns={"rho": "value"}), ["target"], signed=True, decimals=2))
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
