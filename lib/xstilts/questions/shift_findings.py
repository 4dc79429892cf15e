"""The answer on domain shift in words, computed from the estimates of :mod:`.shift` alone."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from ..findings import covers, where, with_interval
from ..results import ZERO_SHOT, marked
from ..study import NONE, Study
from ..tasks import get
from .shift import AGAINST, APART, DROP, FARTHER, IN, LESS, MORE, NEARER, OUT, SOURCE, UNTRAINED, WORST

SIDES = {IN: "in-domain", OUT: "out-of-domain", DROP: "the drop"}


def answer(
    table: pd.DataFrame, made: pd.DataFrame, measured: pd.DataFrame, rho: pd.DataFrame, unit: str, study: Study
) -> str:
    """Markdown. ``table``: estimates of the runs; ``made``: those of the crossed design, empty where the shift is
    not made; ``measured``, ``rho``: of :func:`~.shift.measure` and :func:`~.shift.by_distance`; ``unit``: of the
    pretraining text."""
    home = study.training_task(get(study.targets[0])).name
    seeds, codes = int(table["seeds"].max()), table.loc[table["group"] == ZERO_SHOT, "languages"].max()
    lines = [
        f"{where(study, seeds)}: {len(study.intermediate) - 1} intermediate runs, {codes} languages other than the "
        f"source, {covers(study, seeds)}. {_halves(table, unit)} The lowest of several scores varies downwards: the "
        "interval of a worst language leans that way.",
        "",
        _short(made if len(made) else table),
        "",
        _distances(measured),
    ]
    for examples in numbers(table):
        lines += ["", f"**Tuned on {amount(examples)}:**", ""]
        here = (made if len(made) else table).query("examples == @examples")
        lines += [*(_made(here) if len(made) else _runs(here, home)), *_languages(here)]
        lines += [_along(rho[rho["examples"] == examples].iloc[0])]
    lines += ["", _chance(made if len(made) else table)]
    gaps = table[(table["seeds"] == 0) & (table["quantity"] == "score")]
    absent = [f"`{name}`" for name in dict.fromkeys(run_name(row.side, row.trained_in) for row in gaps.itertuples())]
    return "\n".join(lines + (["", f"Missing: {', '.join(absent)}."] if absent else []))


def numbers(table: pd.DataFrame) -> list[int]:
    """Numbers of training examples, the whole set (0) last."""
    return sorted(table["examples"].unique(), key=lambda number: number or float("inf"))


def amount(examples: int) -> str:
    """A number of training examples as a person reads it; 0 is all."""
    return f"{examples:,} examples" if examples else "the whole training set"


def run_name(side: str, trained_in: str) -> str:
    """As runs are written: ``piqa@qab``, ``piqa=50``."""
    language, _, examples = trained_in.partition("=")
    named = side if language in (SOURCE, NONE) else f"{side}@{language}"
    return f"{named}={examples}" if examples else named


def _short(table: pd.DataFrame) -> str:
    """The question's answer: phase 2 in another language, in the poorer or farther half."""
    rows = table[(table["quantity"] == AGAINST) & table["group"].isin([LESS, FARTHER]) & (table["side"] != DROP)]
    parts = []
    for examples in numbers(rows):
        for side in rows["side"].unique():
            verdict = _verdict(rows[(rows["examples"] == examples) & (rows["side"] == side)], _language)
            parts.append(f"- {_named(side)}, tuned on {amount(examples)}: {verdict};")
    if not parts:
        return "No run of phase 2 is in another language than the source: the question has no answer here."
    head = f"**In short**, in the {rows['group'].iloc[0]}, phase 2 in another language against the source language is"
    return "\n".join([head, "", *parts])


def _named(side: str) -> str:
    return SIDES.get(side, f"`{side}`")


def _language(row: Any) -> str:
    return f"in `{row.trained_in}`"


def _halves(table: pd.DataFrame, unit: str) -> str:
    if LESS in set(table["group"]):
        return f"Low- and high-resource half: the languages with less and with more pretraining text ({unit})."
    return (
        "All languages but the source have as much pretraining text: there is no low- and high-resource half, and the "
        "halves farther from and nearer to the source are told apart in their place."
    )


def _distances(measured: pd.DataFrame) -> str:
    parts = [
        f"`{row.task}` to {row.against} {row.characters:.2f} [{row.characters_low:.2f}, {row.characters_high:.2f}] "
        f"(error {row.characters_error:.1%}, {row.covered:.0%} of the words known)"
        for row in measured.itertuples()
    ]
    return (
        "Shift measured in the source language, proxy A-distance (0 to 2) with the error of the domain classifier: "
        f"{'; '.join(parts)}."
    )


def _one(table: pd.DataFrame, side: str, language: str, quantity: str, group: str) -> Any:
    found = table[
        (table["side"] == side) & (table["trained_in"] == language) & (table["quantity"] == quantity)
        & (table["group"] == group)
    ]  # fmt: skip
    return next(found.itertuples(), None)


def _signed(row: Any) -> str:
    return with_interval(row._replace(quantity="gain"))


def _verdict(rows: pd.DataFrame, name: Callable[[Any], str]) -> str:
    """Which of ``rows`` are above and below zero; the others have no evidence."""
    parts = []
    for word, part in (("higher", rows[rows["low"] > 0]), ("lower", rows[rows["high"] < 0])):
        if len(part):
            parts.append(f"{word} {', '.join(f'{name(row)} {_signed(row)}' for row in part.itertuples())}")
    rest, gaps = rows[~marked(rows) & rows["value"].notna()], rows[rows["value"].isna()]
    if len(rest):
        parts.append(
            f"no evidence of a difference {', '.join(f'{name(row)} {_signed(row)}' for row in rest.itertuples())}"
        )
    if len(gaps):
        parts.append(f"missing {', '.join(map(name, gaps.itertuples()))}")
    return "; ".join(parts)


def _made(made: pd.DataFrame) -> list[str]:
    none = _one(made, NONE, NONE, "score", ZERO_SHOT)
    lines = [f"- without phase 2 {with_interval(none)} on average over the languages other than the source;"]
    for language in [name for name in made["trained_in"].unique() if name != NONE]:
        sides = [with_interval(_one(made, side, language, "score", ZERO_SHOT)) for side in (IN, OUT)]
        drop = _one(made, DROP, language, DROP, ZERO_SHOT)
        sure = "" if drop.low > 0 or drop.high < 0 or not drop.seeds else " (no evidence of a drop)"
        worst = [with_interval(_one(made, side, language, "score", WORST)) for side in (IN, OUT)]
        lines.append(
            f"- phase 2 in `{language}`: in-domain {sides[0]}, out-of-domain {sides[1]}, drop {_signed(drop)}{sure}; "
            f"worst language {worst[0]} and {worst[1]};"
        )
    return lines


def _runs(table: pd.DataFrame, home: str) -> list[str]:
    none, worst = (_one(table, NONE, NONE, "score", group) for group in (ZERO_SHOT, WORST))
    away = table[table["group"] == ZERO_SHOT]
    lines = [
        f"- without phase 2 {with_interval(none)} on average over the languages other than the source, worst language "
        f"{with_interval(worst)};",
        f"- gain over that: {_verdict(away[away['quantity'] == 'gain'], _run)};",
    ]
    lowest = table[(table["group"] == WORST) & (table["side"] != NONE)]
    lines.append(f"- worst language: {', '.join(f'{_run(row)} {with_interval(row)}' for row in lowest.itertuples())};")
    drop = away[away["quantity"] == DROP]
    if len(drop):
        lines.append(
            f"- the drop, phase 2 in the target's own domain (`{home}`) minus another: {_verdict(drop, _run)};"
        )
    return lines


def _run(row: Any) -> str:
    if row.side in SIDES:
        return _language(row) if row.side == DROP else f"{row.side} {_language(row)}"
    return f"`{run_name(row.side, row.trained_in)}`"


def _languages(table: pd.DataFrame) -> list[str]:
    """Non-source against source phase 2 in the other groups, its drop in the poorer half, and the halves against each
    other: an effect in one of them alone is no difference between them."""
    lines, against = [], table[table["quantity"] == AGAINST]
    for group in (LESS, MORE, FARTHER, NEARER, UNTRAINED, *APART):
        rows = against[against["group"] == group]
        if group in (LESS, FARTHER):  # the sides are said in short
            rows = rows[rows["side"] == DROP]
        elif group in APART:
            rows = rows[rows["side"] != DROP]  # of differences between differences between differences no more
        for side in rows["side"].unique():
            verdict = _verdict(rows[rows["side"] == side], _language)
            lines.append(f"- {group}, {_named(side)}, phase 2 in another language than the source: {verdict};")
    halves = table[table["group"].isin(APART)]
    for group in halves["group"].unique():
        scores = halves[(halves["group"] == group) & (halves["quantity"] == "score")]
        lines.append(f"- {group}, accuracy: {_verdict(scores, _run)};")
        drop = halves[(halves["group"] == group) & (halves["quantity"] == DROP)]
        if len(drop):
            lines.append(f"- {group}, the drop: {_verdict(drop, _run)};")
    return lines


def _chance(table: pd.DataFrame) -> str:
    grouped = ~table["group"].str.fullmatch("[a-z]{2,3}")  # a code is one language
    rows = table[table["quantity"].isin(["gain", DROP, AGAINST]) & grouped].dropna(subset="value")
    return (
        f"Of the {len(rows)} intervals of gains, drops and differences in groups {int(marked(rows).sum())} "
        f"exclude zero; if there were no effect at all, about {0.05 * len(rows):.0f} would by chance."
    )


def _along(found: Any) -> str:
    if found.rho != found.rho:
        why = "too few domains" if found.domains < 3 else "a domain is missing or all are as far"
        return f"- gain against measured distance: not known, {why}."
    text = f"ρ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
    text += f" over {found.domains:.0f} points at {found.distances:.0f} distances, taken as given"
    sure = "falls" if found.high < 0 else "rises" if found.low > 0 else "no evidence that it falls or rises"
    return f"- gain against measured distance: {sure} (Spearman's {text})."
