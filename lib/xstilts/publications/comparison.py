"""Published numbers beside ours: only where task, split, metric and language agree.

"Agree" is meant strictly. The set that is scored must be the whole published one (``sources/hub_sizes.csv`` has
the sizes), in the same languages; the target must be trained on its own training set; an average must be over the
same targets. Encoders may differ, and both are named. A difference is given only where, besides, a run of ours
is the published one and, for retrieval, layer and pooling are the same.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats as distributions

from ..places import Hub
from ..results import MACRO, MACRO_TRAINED, MEAN
from ..sources.hub_files import SIZES
from ..study import MULTI, NONE, Study, parse_run
from ..tasks import RETRIEVAL_KINDS, TARGETS, TASKS, Task, get
from ..tunings import evaluation_split
from .published import AVERAGES, BEST, COLUMNS, UNSTATED, metric_of

XTREME = {target for target in TARGETS if target != "xcopa"}  # the nine that the paper averages
MEMBERS = {MACRO: XTREME, MACRO_TRAINED: {name for name in XTREME if get(name).kind not in RETRIEVAL_KINDS}}
COMPARED, ALONE, LEFT_OUT = "compared", "alone", "left out"
SAME = ["system", "target", "language", "languages", "split", "metric", "layer", "pooling"]  # score and its baseline
OPEN = {BEST: "run chosen per target", UNSTATED: "run not stated"}
# 22,458 there. The range is that of all languages: RemBERT (arXiv:2010.12821), table 11
LARGER_ON_THE_HUB = {("udpos", "test", "de"): (47, 20_436)}
CELLS = 5  # the fewest gains that are ranked


@cache
def set_sizes() -> dict[tuple[str, str, str], tuple[int, int]]:
    """(target, split, language or "all") -> fewest and most examples (BUCC: gold pairs) of the published set."""
    sizes = {}
    for task in map(get, TARGETS):
        for split, language in product({"dev", "test"} & set(task.hub), task.languages):
            place = task.hub[split][0]
            if task.kind == "mining":  # its sentences are not on the hub
                place = Hub("", "google/xtreme", "bucc18.{language}", {"dev": "validation"}.get(split, split))
            key = (place.repo, place.config_of(language), place.split)
            known, whole = SIZES.get((*key, language)), SIZES.get((*key, ""))
            if known or whole:
                count = known or whole
                sizes[task.name, split, "all" if place.mixed and not known else language] = (count, count)
    return sizes | LARGER_ON_THE_HUB


@dataclass(frozen=True)
class Setting:
    """What decides whether a study's scores are on a published set and by a published protocol.

    ``splits``: target -> the split it is scored on; ``examples``: (target, language) -> how many (BUCC: gold
    pairs); ``training``: target -> in what its training set is not the published one; ``runs``: the same of
    intermediate runs; ``retrieval``: layer and pooling, None where states are changed after pooling.
    """

    constructed: bool = False
    splits: dict[str, str] | None = None
    examples: dict[tuple[str, str], int] | None = None
    training: dict[str, str] | None = None
    runs: dict[str, str] | None = None
    retrieval: tuple[int, str] | None = None


def setting(study: Study, source, stats: pd.DataFrame) -> Setting:
    """The setting of a study; ``stats``: its statistics, as ``results.read_stats`` gives them."""
    if study.source == "micro":
        return Setting(constructed=True)
    tasks = [get(target) for target in study.targets]
    splits = {task.name: evaluation_split(source, task) for task in tasks}
    examples = stats.groupby(["target", "language"], observed=True)["id"].nunique().to_dict()
    training, runs = {}, {}
    for task in tasks:
        if task.kind == "mining":
            for name, code in [key for key in examples if key[0] == task.name]:
                examples[name, code] = _gold_pairs(source.load(task, splits[name], code))
        if task.kind in RETRIEVAL_KINDS:
            continue
        trained = study.training_task(task).name
        if trained != task.training_set:
            training[task.name] = f"trained on {trained}, not {task.training_set}"
        elif study.phase("target", trained).examples or _cut(study, trained):
            training[task.name] = f"trained on part of {trained}"
    for name in study.intermediate:
        without = study.absent if name.startswith(MULTI) else ()
        cut = [task for task in parse_run(name).tasks if task in without or _cut(study, task)]
        if cut or study.phase("intermediate", name).examples:
            runs[name] = f"{name} trained on part of {', '.join(cut) or 'its sets'}"
    how = study.retrieval
    known = None if how.centre or not how.special_tokens else (how.layer, how.pooling)
    return Setting(False, splits, examples, training, runs, known)


def _cut(study: Study, task: str) -> bool:
    """Whether a study takes less, or other rows, than the training file of a task holds."""
    settings = getattr(study, study.source)
    return bool(settings.limits.train) or task in getattr(settings, "splits", {})


def _gold_pairs(data) -> int:
    return sum(len(gold) for gold, side in zip(data["gold"][:], data["side"][:], strict=True) if side == "foreign")


def compare(rows: pd.DataFrame, table: pd.DataFrame, setting: Setting, any_split: bool = False) -> pd.DataFrame:
    """Published ``rows`` beside the estimates ``table`` (of ``results.estimates``), one row per published number.

    Added columns: status ("compared"; "alone": the same set, but the run or the retrieval protocol is not known to
    be one of ours; "left out"), why, ours, low, high, seeds and difference (ours minus published). Where only the
    run is not known, low and high are the lowest and highest of our runs. ``any_split`` lets a development set
    stand for a test set and the reverse: for ranks of gains, not for differences.
    """
    here, empty = dict(list(table.groupby(["target", "language", "quantity"]))), table[:0]
    found = []
    for row in rows.itertuples(index=False):
        why, status = _set_differs(row, setting, any_split), LEFT_OUT
        cell = dict.fromkeys(("ours", "low", "high", "difference"), np.nan) | {"seeds": 0}
        if not why:
            why, status = _protocol_differs(row, setting), ALONE
        values = here.get((row.target, row.language, row.kind), empty)
        if status == ALONE and why:  # of 36 languages by another protocol, the mean says enough
            status = ALONE if row.language == MEAN else LEFT_OUT
        elif not why and row.intermediate in OPEN:
            cell |= {"low": values["value"].min(), "high": values["value"].max()}
            why = OPEN[row.intermediate]
        elif not why and row.intermediate in setting.runs:
            status, why = LEFT_OUT, setting.runs[row.intermediate]
        elif not why:
            estimate = values[values["intermediate"] == row.intermediate].dropna(subset="value")
            status, why = (COMPARED, "") if len(estimate) else (LEFT_OUT, f"no score of ours with {row.intermediate}")
            for one in estimate.itertuples():
                cell = {"ours": one.value, "low": one.low, "high": one.high, "seeds": one.seeds}
                cell["difference"] = one.value - row.value
        found.append({**row._asdict(), "status": status, "why": why, **cell})
    return pd.DataFrame(found)


def _set_differs(row, setting: Setting, any_split: bool) -> str:
    """Why a number is on another set than ours, or ""."""
    if setting.constructed:
        return "constructed languages"
    if row.target in MEMBERS and MEMBERS[row.target] != _averaged(setting, row.target):
        return "averages other targets"
    for target in MEMBERS.get(row.target, (row.target,)):
        task = get(target)
        if target not in setting.splits:
            return "not a target here"
        if target in setting.training:
            return setting.training[target]
        split = _only_split(task) or setting.splits[target]
        if not any_split and split != (_only_split(task) or row.split):
            return f"{target} on {row.split}, ours on {split}"
        if row.target == target and row.metric != metric_of(task):
            return f"{row.metric}, ours is {metric_of(task)}"
        languages = task.languages if row.language == MEAN else (row.language,)
        here = {code for name, code in setting.examples if name == target}
        if not here.issuperset(languages) or (row.language == MEAN and here != set(languages)):
            return "other languages" if row.language == MEAN else "language not here"
        differs = _size_differs(target, split, languages, setting.examples)
        if differs:
            return differs
    return ""


def _averaged(setting: Setting, average: str) -> set[str]:
    """Targets that an average of ours is over."""
    return {t for t in setting.splits if average == MACRO or get(t).kind not in RETRIEVAL_KINDS}


def _only_split(task: Task) -> str:
    """The split of a task with a single evaluation set, which goes as "dev" and as "test" in print."""
    splits = [split for split in ("dev", "test") if split in task.files]
    return splits[0] if len(splits) == 1 else ""


def _size_differs(target: str, split: str, languages, examples: dict[tuple[str, str], int]) -> str:
    sizes, total = set_sizes(), set_sizes().get((target, split, "all"))
    if total:
        here = sum(count for (name, _), count in examples.items() if name == target)
        return "" if total[0] <= here <= total[1] else f"{target}: {here:,} of {total[1]:,} examples"
    for code in languages:
        least, most = sizes.get((target, split, code), (0, 0))
        if not most:
            return f"size of {target} {split} in {code} not known"
        if not least <= examples[target, code] <= most:
            return f"{target} in {code}: {examples[target, code]:,} examples, published {most:,}"
    return ""


def _protocol_differs(row, setting: Setting) -> str:
    """Why a number on the same set was had in another way, or ""."""
    retrieves = row.target == MACRO or (row.target in TASKS and get(row.target).kind in RETRIEVAL_KINDS)
    if row.language == MEAN and row.target in TASKS and row.languages != len(get(row.target).languages):
        return f"mean of {row.languages:.0f} languages"
    if retrieves and not (np.isfinite(row.layer) and row.pooling):
        return "retrieval protocol not known"
    if retrieves and (row.layer, row.pooling) != setting.retrieval:
        return f"retrieval from layer {row.layer:.0f}, {row.pooling}"
    return ""


def shown(compared: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`compare` that a table or figure may hold: scores, then gains; averages over languages first."""
    place = {target: number for number, target in enumerate([*TASKS, *AVERAGES])}
    keys = {
        "gain": compared["kind"] == "gain",
        "single": compared["language"] != MEAN,
        "place": compared["target"].map(place),
        "tuned": compared["intermediate"] != NONE,
    }
    ordered = compared.assign(**keys).sort_values([*keys, "language"], kind="stable").drop(columns=list(keys))
    return ordered[ordered["status"] != LEFT_OUT].reset_index(drop=True)


def with_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows``, and the gains that follow from scores whose table has a row of ``none`` from the same source."""
    score, same = rows[rows["kind"] == "score"], [*SAME, "source"]
    base = score.loc[score["intermediate"] == NONE, [*same, "value", "provenance"]]
    paired = score[score["intermediate"] != NONE].merge(base, on=same, suffixes=("", "_none"))
    checked = (paired["provenance"] != "recalled") & (paired["provenance_none"] != "recalled")
    provenance = np.where(checked, "derived", "recalled")
    paired = paired.assign(kind="gain", value=paired["value"] - paired["value_none"], provenance=provenance)
    both = pd.concat([rows, paired[list(COLUMNS)]], ignore_index=True)
    return both.drop_duplicates(["intermediate", "kind", *SAME], ignore_index=True)


def agreement(
    rows: pd.DataFrame, table: pd.DataFrame, setting: Setting, rng: np.random.Generator, resamples: int = 1000
) -> pd.DataFrame:
    """How far the gains of a published table agree with ours in sign and in rank, over all targets and for each.

    Gains in the mean over languages, of the same task, metric and languages; the split may be the other one
    (same_split counts those on ours). Columns: system, target ("all" or one), gains (how many), same_split,
    equal_signs (share), tau (Kendall's tau-b), low, high (95%, gains drawn with replacement and taken as given),
    source. Nothing for tables with fewer than ``CELLS`` such gains.
    """
    gains = with_gains(rows).query("kind == 'gain' and language == @MEAN and target in @TASKS")
    found = compare(gains, table, setting, any_split=True) if len(gains) else pd.DataFrame(columns=["status"])
    found = found[found["status"] == COMPARED]
    parts = []
    for system, part in found.groupby("system", sort=False) if len(found) else ():
        for target, cells in [("all", part), *part.groupby("target", sort=False)]:
            if len(cells) >= CELLS:
                on_ours = sum(not _set_differs(row, setting, False) for row in cells.itertuples())
                signs = (np.sign(cells["ours"]) == np.sign(cells["value"])).mean()
                tau = kendall(cells["ours"].to_numpy(), cells["value"].to_numpy(), rng, resamples)
                recalled = int((cells["provenance"] == "recalled").sum())
                sources = "; ".join(cells["source"].unique()) + f" († {recalled} recalled)" * (recalled > 0)
                parts.append((system, target, len(cells), on_ours, signs, *tau, sources))
    head = ["system", "target", "gains", "same_split", "equal_signs", "tau", "low", "high", "source"]
    return pd.DataFrame(parts, columns=head)


def kendall(ours: np.ndarray, published: np.ndarray, rng: np.random.Generator, resamples: int) -> tuple[float, ...]:
    """(tau-b, low, high): percentile bootstrap of pairs; a resample without spread counts as 0."""

    def tau(one, other) -> float:
        return np.nan_to_num(distributions.kendalltau(one, other, method="asymptotic").statistic)

    interval = distributions.bootstrap(
        (ours, published), tau, paired=True, vectorized=False, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return float(tau(ours, published)), float(interval.low), float(interval.high)
