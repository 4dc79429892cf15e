"""Published numbers beside ours, as a sentence, a table and a figure, each with its sources.

In the figure diamonds are published and dots ours, so that they are told apart in grayscale.
"""

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures import alt
from ..figures.drawing import NEUTRAL
from ..findings import with_interval
from ..results import MACRO_TRAINED, MEAN
from ..tasks import TASKS, get
from .comparison import ALONE, COMPARED, LEFT_OUT, MEMBERS


def summary(compared: pd.DataFrame, checkpoint: str = "") -> str:
    """How many published numbers are compared, and why the others are not."""
    counts = compared["status"].value_counts()
    out = compared[compared["status"] == LEFT_OUT]
    if len(out) == len(compared):
        reasons = "; ".join(out["why"].value_counts().index[:3])
        return f"No published number has the task, split, metric and language of one of ours ({reasons})."
    left = []
    for target, part in out.groupby("target", sort=False):
        reasons = part["why"].value_counts().index  # the most frequent first
        left.append(f"{len(part)} of {target} ({'; '.join(reasons[:2])}{'; …' if len(reasons) > 2 else ''})")
    return (
        f"{counts.get(COMPARED, 0)} published numbers are compared with ours, {counts.get(ALONE, 0)} stand beside "
        f"them without a difference. Ours are of {checkpoint or 'an encoder pretrained here'}.\n"
        f"Left out: {', '.join(left) or 'none'}."
    )


def readable(part: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``comparison.shown`` as a person reads them; a dagger marks a number that was not checked."""
    rows = []
    for row in part.rename(columns={"kind": "quantity"}).itertuples():
        difference, ours = row.why, "–"
        if row.status == COMPARED:
            difference, ours = f"{row.difference:+.1f}", with_interval(row._replace(value=row.ours))
        elif np.isfinite(row.low):
            ours = f"{row.low:.1f} to {row.high:.1f} over our runs"
        rows.append(
            {
                "target": title(row.target),
                "language": row.language,
                "run": row.intermediate,
                "what": f"{row.quantity}, {row.metric}, {row.split}",
                "published": printed(row.value) + dagger(row.provenance),
                "ours": ours,
                "difference": difference,
                "system": row.system,
                "protocol": row.note,
                "source": row.source + (" († recalled, not checked)" if dagger(row.provenance) else ""),
            }
        )
    table = pd.DataFrame(rows)
    numbers = [name for name in ("published", "ours", "difference") if len(table)]
    table[numbers] = table[numbers].replace("-(?=[0-9])", "−", regex=True)
    return table


def title(target: str) -> str:
    """A target as a person reads it."""
    if target in TASKS:
        return get(target).title
    return f"mean of {len(MEMBERS[target])} targets" + (", no retrieval" if target == MACRO_TRAINED else "")


def printed(value: float) -> str:
    """A published number as it stood: one decimal, or two where it has them."""
    return f"{value:.2f}".removesuffix("0")


def dagger(provenance: str) -> str:
    """The mark of a number that nobody checked."""
    return "†" if provenance == "recalled" else ""


def published_panel(table: pd.DataFrame) -> Figure:
    """Published numbers beside ours with intervals, the difference at the right, the sources below.

    ``table``: rows of ``comparison.shown``. A panel per target for averages over languages; per target, run and
    system for single languages. A grey bar spans our runs where it is not known which the published one is.
    """
    sources = {source: f"[{number}]" for number, source in enumerate(table["source"].unique(), 1)}
    notes = [f"{mark} {source}" for source, mark in sources.items()]
    notes += ["† recalled, not checked"] if (table["provenance"] == "recalled").any() else []
    notes = [line for note in notes for line in textwrap.wrap(note, 105)]
    panels = _panels(table.assign(mark=table["source"].map(sources)))
    heights = [len(part) + 0.6 for part in panels.values()]
    size = (5.5, 0.55 + 0.17 * sum(heights) + 0.24 * len(panels) + 0.11 * len(notes))
    figure, grid = plt.subplots(len(panels), 1, figsize=size, squeeze=False, height_ratios=heights)
    axes = dict(zip(panels, grid.flat, strict=True))
    for name, ax in axes.items():
        published_dots(panels[name], ax)
        ax.set_title(name, loc="left", fontweight="bold", fontsize=7)
    grid[0, 0].set_title("ours − published", loc="right", fontsize=6, x=1.12)
    for kind, label in (("score", "score"), ("gain", "gain over none (points)")):  # one scale each
        alike = [ax for name, ax in axes.items() if (panels[name]["kind"] == kind).all()]
        if alike:
            low, high = min(ax.get_xlim()[0] for ax in alike), max(ax.get_xlim()[1] for ax in alike)
            limits = (max(low, -3), min(high, 103)) if kind == "score" else (min(low, -0.5), max(high, 0.5))
            plt.setp(alike, xlim=limits)
            alike[-1].set_xlabel(label)
        for ax in alike[:-1]:
            ax.tick_params(labelbottom=False)
    entries: dict[str, Any] = {}
    for ax in grid.flat:
        handles, names = ax.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=len(entries))
    figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=6, color="0.3")
    what = "Published numbers as diamonds beside ours as dots with 95% intervals. Published"
    said = [alt.values(what, table, ["target", "intermediate", "language", "system"])]
    if table["difference"].notna().any():
        differences = table.dropna(subset="difference")[["target", "intermediate", "difference"]]
        differences = differences.rename(columns={"difference": "value"})
        said.append(alt.values("Ours minus published", differences, ["target", "intermediate"], signed=True))
    figure.set_label(" ".join(said))
    return figure


def _panels(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Title -> rows, each with the column line."""
    titles, lines = [], []
    for row in table.itertuples():
        name = title(row.target) + ", gain" * (row.kind == "gain")
        published, mean = f"{row.system} {row.mark}", row.language == MEAN
        titles.append(name if mean else f"{name}, {row.intermediate}: {published}")
        lines.append((f"{row.intermediate} · {published}" if mean else row.language) + dagger(row.provenance))
    return dict(list(table.assign(line=lines).groupby(np.array(titles), sort=False)))


def published_dots(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line per row of ``table``: value (published), ours, low, high, difference; named by the column line."""
    place, known = np.arange(len(table)), table["ours"].notna().to_numpy()
    if table.loc[~known, "low"].notna().any():
        part = table[~known]
        ax.hlines(place[~known], part["low"], part["high"], color="0.82", linewidth=5, label="range of our runs")
    if known.any():
        part = table[known]
        ax.hlines(place[known], part["low"], part["high"], color=NEUTRAL, linewidth=1)
        ax.scatter(part["ours"], place[known], s=16, color=NEUTRAL, label="ours", zorder=2)
    look = {"marker": "D", "s": 18, "facecolors": "none", "edgecolors": "black", "linewidths": 0.9}
    ax.scatter(table["value"], place, label="published", zorder=3, **look)
    for position, difference in zip(place, table["difference"], strict=True):
        text = f"{difference:+.1f}".replace("-", "−") if np.isfinite(difference) else "–"
        ax.text(1.01, position, text, transform=ax.get_yaxis_transform(), va="center", fontsize=6)
    ax.set_yticks(place, table["line"], fontsize=6)
    ax.set(ylim=(len(table) - 0.5, -0.5))
    ax.tick_params(axis="y", length=0)
    ax.grid()
    return ax
