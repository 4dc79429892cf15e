"""From per-example statistics to scores, gains over ``none`` with intervals, and gaps.

:mod:`xstilts.inference` says how intervals are made. Stars are given to differences that Benjamini and Hochberg keep
at 5% within a figure; averages over targets are a family of their own. Intervals are not adjusted.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as distributions

from xstilts.errors import UserError
from xstilts.evaluation.metrics import task_metrics
from xstilts.inference import (
    ENDS,
    Combination,
    Scores,
    difference,
    discoveries,
    from_statistics,
    mean,
    mean_score,
    residual_variance,
    seeds_needed,
)  # fmt: skip
from xstilts.io import read_record
from xstilts.names import NONE, STEPS, compared
from xstilts.runs import finished_controls, finished_target_runs, list_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.target_runs import evaluation_languages, target_runs
from xstilts.tasks import RETRIEVAL_KINDS, TASKS, Task

MEAN, ZERO_SHOT = "mean", "zero-shot"  # in the column language: over all languages; over all but the source
# in the column target: averages over targets, the last over those that the run and ``none`` learned with every seed
MACRO, MACRO_TRAINED, MACRO_LEARNED = AVERAGES = "macro", "macro without retrieval", "macro of learned targets"
KEYS = ["study", "encoder", "intermediate", "target", "training_language", "examples", "language", "seed"]
SAME_AMOUNT = 1.1  # amounts of pretraining text within this factor of each other are no contrast
FEWEST = 5  # languages, or domains, that a correlation is over
Names = Collection[str] | None  # None: all


def read_stats(
    study: Study, bundles: Sequence[str] = (), runs: Names = None, targets: Names = None, seeds: Sequence[int] = ()
) -> pd.DataFrame:
    """Per-example statistics of the study's finished target runs, of its own bundles or of further ones.

    Columns: ``KEYS``, metric, id, numerator, denominator. ``runs``, ``targets``, ``seeds`` keep those only.
    UserError where nothing is finished.
    """
    tables = []
    for run in finished_target_runs(study, bundles or list(study.bundles())):
        if (runs is None or run.intermediate in runs) and (not seeds or run.seed in seeds):
            chosen = None if targets is None else [("target", "in", list(targets))]
            tables.append(pd.read_parquet(run.folder(study) / "stats.parquet", filters=chosen))
    if not tables:
        raise UserError(f"{study.folder}: no finished target run; run the study first (make study)")
    return pd.concat(tables, ignore_index=True)


def read_layers(study: Study, source: Source, bundles: Sequence[str]) -> pd.DataFrame:
    """Scores of the finished retrieval targets of these bundles by hidden layer, as far as a study keeps them.

    Columns: language, layer, metric, score (percent), intermediate, seed, target, main (whether it is the layer that
    the target is scored at), training_language, examples.
    """
    columns = "language layer metric score intermediate seed target main training_language examples".split()
    tables = [pd.DataFrame(columns=columns)]
    for run in finished_target_runs(study, bundles):
        for tuning in target_runs(study, source, run.bundle):
            path = run.folder(study) / tuning.name / "layers.parquet"
            if path.is_file():
                table = pd.read_parquet(path)
                main = table["layer"] == table["layer"].iloc[0]  # it comes first
                values = run.intermediate, run.seed, tuning.target, main, tuning.training_language, tuning.examples
                tables.append(table.assign(**dict(zip(columns[4:], values, strict=True))))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def scores(stats: pd.DataFrame) -> pd.DataFrame:
    """The tidy table: ``KEYS``, metric, value (percent), n (examples); one row per score."""
    grouped = stats.groupby([*KEYS, "metric"], sort=False, observed=True)
    sums = grouped.agg(numerator=("numerator", "sum"), denominator=("denominator", "sum"), n=("id", "size"))
    sums["value"] = 100 * sums["numerator"] / sums["denominator"].where(sums["denominator"] > 0, 1)  # 0/0 is 0
    return sums.reset_index()[[*KEYS, "metric", "value", "n"]]


def task_scores(table: pd.DataFrame, tasks: Mapping[str, Task] = TASKS) -> pd.DataFrame:
    """One value per ``KEYS`` from :func:`scores`: the mean of the task's metrics, NaN where one is absent."""
    parts = []
    for target, part in table.groupby("target", sort=False):
        wide = part.pivot(index=KEYS, columns="metric", values="value")
        value = wide.reindex(columns=list(task_metrics(tasks[target]))).mean(axis=1, skipna=False)
        parts.append(value.rename("value").reset_index())
    return pd.concat(parts, ignore_index=True)


def expected(study: Study, source: Source) -> pd.DataFrame:
    """What a finished study has: one row per intermediate, target, language and seed."""
    rows: list[tuple] = []
    for run, target in product(study.intermediate, study.targets):
        rows += product([run], [target], evaluation_languages(study, source, study.task(target)), study.seed_numbers)
    return pd.DataFrame(rows, columns=["intermediate", "target", "language", "seed"])


def missing(wanted: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`expected` without a value in ``table`` (of :func:`task_scores`)."""
    values = wanted.merge(table, on=list(wanted.columns), how="left")["value"]
    return wanted[values.isna().to_numpy()].reset_index(drop=True)


def learned(scores: Scores, wanted: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Whether a target was learned, by run and seed: the score in the source language (without it, the mean over
    languages) lies above chance, one-sided 95% over test examples. Development scores of phase 3 are not kept.

    Chance: of guessing a label or a choice; of parallel sentences, of guessing a row; 0 in other tasks. Columns:
    intermediate, target, seed, learned.
    """
    rows = []
    for (run, target), part in wanted.groupby(["intermediate", "target"], sort=False):
        codes = part["language"].unique().tolist()
        codes = [source_language] if source_language in codes else codes
        chance = scores.tasks[target].chance
        if scores.tasks[target].kind == "parallel" and (target, codes[0]) in scores.positions:
            chance = 100 / min(len(scores.positions[target, code]) for code in codes)
        bounds = scores.lower_bounds(mean_score(run, target, codes))
        rows += [(run, target, *pair) for pair in zip(scores.seeds, bounds > chance, bounds, strict=True)]
    table = pd.DataFrame(rows, columns=["intermediate", "target", "seed", "learned", "bound"])
    return table.dropna(subset="bound").drop(columns="bound").reset_index(drop=True)


def estimates(
    scores: Scores, wanted: pd.DataFrame, source_language: str, runs: Mapping[str, list[str]] | None = None
) -> pd.DataFrame:
    """Every score and gain with its interval, one row each.

    ``runs``: name -> the runs whose mean it is, instead of every run by its own name.
    Columns: intermediate, target (a task, or one of ``AVERAGES``), language (a code, ``MEAN`` or ``ZERO_SHOT``),
    quantity ("score" or "gain"), value, low, high, seeds (how many it rests on), languages and targets (how many it
    averages); p and significant (:func:`starred`) of gains; learned, the share of the run's seeds that learned the
    target; lowest and highest, of an average, when one target is left out; matched, the gain over ``none+steps``, and
    budget, whether a significant gain is not shown to exceed what as many more steps on the target give. An average
    with a part missing in every seed is empty (NaN, 0 seeds).
    """
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    runs = runs or {run: [run] for run in wanted["intermediate"].unique()}
    named = wanted[wanted["intermediate"].isin([NONE, *(run for members in runs.values() for run in members)])]
    share = learned(scores, named, source_language).groupby(["intermediate", "target"])["learned"].mean().to_dict()
    trained = [target for target in languages if scores.tasks[target].kind not in RETRIEVAL_KINDS]
    groups: dict[tuple[str, str], list[str]] = {}  # (target, language) -> languages
    for target, codes in languages.items():
        away = [code for code in codes if code != source_language]
        named_groups = {code: [code] for code in codes} | {MEAN: codes, ZERO_SHOT: away}
        groups |= {(target, name): group for name, group in named_groups.items() if group}

    def row(name: str, target: str, language: str, targets: list[str]) -> list[tuple]:
        """Of the mean over ``targets`` the score and, of other runs than ``none``, the gain."""
        parts = [(part, groups[part, language]) for part in targets if (part, language) in groups]
        number = (len({code for _, group in parts for code in group}), len(parts))
        ours = [mean([mean_score(run, *part) for run in runs[name]]) for part in parts]
        gains, over_steps = (
            [difference(own, mean_score(base, *part)) for own, part in zip(ours, parts, strict=True)]
            for base in (NONE, STEPS)
        )
        shares = [share.get((run, target), np.nan) for run in runs[name]] if target not in AVERAGES else [np.nan]
        rows = []
        for quantity, combinations in {"score": ours, "gain": gains}.items():
            if quantity == "score" or name != NONE:
                value, low, high, seeds, p = scores.estimate(mean(combinations))
                if quantity == "score":
                    low, high, p = *np.clip([low, high], 0, 100), np.nan  # what a score can be
                ends = left_out(scores, combinations) if target in AVERAGES else (np.nan, np.nan)
                measures = (value, low, high, seeds, *number, p, float(np.mean(shares)), *ends)
                matched = scores.estimate(mean(over_steps)) if quantity == "gain" else [np.nan] * 2
                rows.append((name, target, language, quantity, *measures, *matched[:2]))
        return rows

    rows = [cell for target, language in groups for name in runs for cell in row(name, target, language, [target])]
    averages = {MACRO: {name: list(languages) for name in runs}}
    if 0 < len(trained) < len(languages):
        averages[MACRO_TRAINED] = {name: trained for name in runs}
    known = {name: [target for target in languages if all(share.get((run, target), 0) == 1 for run in [NONE, *members])]
             for name, members in runs.items()}  # fmt: skip
    if any(len(targets) < len(languages) for targets in known.values()) and known.get(NONE, True):
        averages[MACRO_LEARNED] = known
    for (macro, by_run), language in product(averages.items(), (MEAN, ZERO_SHOT)):
        for name, targets in by_run.items():
            if any((target, language) in groups for target in targets):
                rows += row(name, macro, language, targets)
    columns = "intermediate target language quantity value low high seeds languages targets p learned lowest highest"
    table = starred(pd.DataFrame(rows, columns=[*columns.split(), "matched", "bound"]))
    helping = table["significant"] & (table["value"] > 0) & table["intermediate"].isin(compared(runs))
    return table.assign(budget=helping & (table["bound"] <= 0)).drop(columns="bound")


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`estimates` that answers are of: means over the zero-shot languages; over all languages where a
    study has no other than the source."""
    return table[table["language"] == (ZERO_SHOT if (table["language"] == ZERO_SHOT).any() else MEAN)]


def left_out(scores: Scores, combinations: list[Combination]) -> tuple[float, float]:
    """Lowest and highest value of their mean when one of the combinations is left out."""
    values = np.array([scores.of(part) for part in combinations])
    values = values[:, np.isfinite(values).all(axis=0)]
    if len(values) < 2 or not values.shape[1]:
        return np.nan, np.nan
    rest = ((values.sum(axis=0) - values) / (len(values) - 1)).mean(axis=1)
    return round(float(rest.min()), 9), round(float(rest.max()), 9)


def starred(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` of :func:`estimates` with the column significant. Families are what figures show: the averages over
    targets; the targets, in the mean over languages; the languages of a target."""
    single = ~table["target"].isin(AVERAGES) & ~table["language"].isin([MEAN, ZERO_SHOT])
    over = np.where(table["target"].isin(AVERAGES), "averages", "")
    return significant(table, [single, over, table["language"].where(~single, table["target"])])


def significant(table: pd.DataFrame, families: Sequence = ()) -> pd.DataFrame:
    """``table`` with the column significant: whether a row is among the discoveries (:func:`inference.discoveries`) by
    its column p. ``families``: columns, or arrays, that say which rows are one family; () is the whole table."""
    keys = [pd.Series(table[key] if isinstance(key, str) else key).to_numpy() for key in families]
    grouped = table["p"].groupby(keys or np.zeros(len(table)), group_keys=False, sort=False)
    stars = np.zeros(len(table), bool)
    for rows in grouped.indices.values():
        stars[rows] = discoveries(table["p"].iloc[rows])
    return table.assign(significant=stars)


def correlations(scores: Scores, wanted: pd.DataFrame, distance: pd.Series) -> pd.DataFrame:
    """Spearman's rho of the zero-shot score of ``none`` with distance from the source, per target.

    ``distance``: indexed by language; languages without one, and the source (distance 0), are left out.
    Columns: target, rho, low, high (over examples and seeds, for these languages), languages, p (of permutations of
    the languages) and significant. NaN below ``FEWEST`` languages or where a score is missing.
    """
    rows = []
    for target, part in wanted.groupby("target", sort=False):
        codes = [code for code in part["language"].unique() if distance.get(code, 0) > 0]
        drawn = scores.draws([mean_score(NONE, target, [code]) for code in codes])
        rows.append((target, *rank_correlation(distance[codes], drawn), len(codes)))
    table = pd.DataFrame(rows, columns=["target", "rho", "low", "high", "p", "languages"])
    return significant(table)[["target", "rho", "low", "high", "languages", "p", "significant"]]


def rank_correlation(values: pd.Series, draws: np.ndarray) -> tuple[float, float, float, float]:
    """(rho, low, high, p): Spearman's of ``values`` with as many quantities, of :meth:`Scores.draws`; p that values are
    assigned to quantities at random. NaN for fewer than ``FEWEST``, where one is missing or all are equal."""
    if len(draws) < FEWEST or not np.isfinite(draws).all() or not np.ptp(values) or not np.ptp(draws[:, 0]):
        return np.nan, np.nan, np.nan, np.nan
    x = values.to_numpy(float)
    drawn = distributions.spearmanrho(x[:, None], draws, axis=0).statistic
    p = permutation_p(draws[:, 0], lambda orders, axis: distributions.spearmanrho(x, orders, axis=axis).statistic)
    return float(drawn[0]), *np.quantile(drawn[1:], ENDS), p


def permutation_p(values: np.ndarray, statistic: Any) -> float:
    """Two-sided p of a statistic of ``values`` (along an axis) when they are put into another order."""
    ways = {"permutation_type": "pairings", "n_resamples": 9999, "rng": np.random.default_rng(0), "vectorized": True}
    return float(distributions.permutation_test((values,), statistic, **ways).pvalue)


def marked(table: pd.DataFrame) -> pd.Series:
    """Which differences of ``table`` are starred: those in the column significant or, without it, those whose interval
    excludes zero."""
    if "significant" in table:
        return table["significant"].astype(bool)
    return (table["low"] > 0) | (table["high"] < 0)


def seed_scores(table: pd.DataFrame, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """What ``scores.csv`` holds: intermediate, target, language, seed, metric, value (percent) and learned, of the run
    with that seed on that target; in the four questions, without ``known``, training_language and examples instead of
    learned. ``table``, ``known``: of :func:`scores` and :func:`learned`."""
    if known is None:
        return table[[*KEYS[2:], "metric", "value"]]
    table = table[["intermediate", "target", "language", "seed", "metric", "value"]]
    return table.merge(known, on=["intermediate", "target", "seed"])


def power(study: Study) -> pd.DataFrame:
    """How many seeds the study needs to detect gains of 2 and of 5 points with 80%, by target and on average over the
    targets (``MACRO``), from the seed variance of its finished runs or, without two seeds of two runs, of the
    ``scores.csv`` committed with its figures. Means over the zero-shot languages. Empty without either.

    Columns: target, sd (of a run's score from seed to seed, in points, beyond what a seed does to all runs), 2, 5.
    """
    committed, table = study.figures_folder / "scores.csv", None
    if finished_target_runs(study, list(study.bundles())):
        table = scores(read_stats(study))
    if table is None or table["seed"].nunique() < 2 or table["intermediate"].nunique() < 2:
        table = pd.read_csv(committed, keep_default_na=False) if committed.is_file() else None
    columns = ["target", "sd", 2, 5]
    if table is None:
        return pd.DataFrame(columns=columns)
    table = table.assign(**{key: 0 for key in KEYS if key not in table})
    table = task_scores(table[table["target"].isin(study.targets)], study.tasks)
    away = table[table["language"] != study.source_language]
    means = (away if len(away) else table).groupby(["target", "intermediate", "seed"])["value"].mean()
    wide = {target: part.unstack("seed").droplevel("target").dropna() for target, part in means.groupby(level="target")}
    shared = set.intersection(*(set(part.index) for part in wide.values()))
    wide[MACRO] = sum(part.loc[sorted(shared)] for part in wide.values()) / len(wide)
    runs, rows = max(len(study.intermediate), 2), []
    for target in [*study.targets, MACRO]:
        if target in wide and min(wide[target].shape) > 1:
            variance = residual_variance(wide[target].to_numpy())
            needed = [seeds_needed(variance, effect, runs) for effect in (2, 5)]
            rows.append((target, np.sqrt(variance), *needed))
    return pd.DataFrame(rows, columns=columns)


def pretraining_text(study: Study, source: Source) -> tuple[pd.Series, str]:
    """How much text of each language the encoder was pretrained on, and in which unit: documents of the study's own
    text, or GiB of CC-100, on which XLM-R was (0 for languages that are not in it)."""
    if study.encoder.checkpoint and study.source != "micro":
        return source.language_table()["cc100_gib"].fillna(0.0), "GiB of CC-100"
    return pd.Series(source.text(1)["language"][:]).value_counts(), "documents"


def controls(study: Study, wanted: pd.DataFrame) -> pd.DataFrame:
    """Scores of ``none`` in this study and in its controls, for the targets that each has.

    Columns as :func:`estimates`, and study. Only this study's rows where no control has run, and none where ``none``
    has not.
    """
    tables = []
    seeds = sorted({run.seed for run in finished_target_runs(study, list(study.bundles())) if run.intermediate == NONE})
    for other, other_seeds in [(study, seeds), *finished_controls(study)] if seeds else []:
        if other_seeds:
            stats = read_stats(other, runs=[NONE], targets=study.targets, seeds=other_seeds)
            shared = wanted["seed"].isin(stats["seed"]) & wanted["target"].isin(stats["target"])
            rows = wanted[(wanted["intermediate"] == NONE) & shared]
            table = estimates(from_statistics(stats, tasks=study.tasks), rows, study.source_language)
            tables.append(table.assign(study=other.name))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["language", "quantity"])


def rank_runs(scores: Scores, wanted: pd.DataFrame, table: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Runs, ``none`` among them but no control, best first: on each target the one with the highest score (mean over
    the zero-shot languages, or over all where a target has no other) has rank 1; ties share the mean of their ranks.

    ``wanted``, ``table``: as :func:`expected` and :func:`estimates` give them. Columns: intermediate; rank,
    the mean over targets; low, high, its percentile interval over the draws of examples and seeds (noise draws
    ranks towards the middle: an interval may end before the rank of an outlier); best, on how many targets the run is
    first; gain, gain_low, gain_high, the mean over targets; seeds; targets. Runs that lack a target are not ranked:
    their rank is NaN, and they come last.
    """
    runs = [NONE, *compared(wanted["intermediate"].unique())]
    codes = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    codes = {target: [code for code in part if code != source_language] or part for target, part in codes.items()}
    cells = [[mean_score(run, *part) for part in codes.items()] for run in runs]
    seeds = np.array([[np.isfinite(scores.of(cell)).sum() for cell in row] for row in cells])
    whole = seeds.min(axis=1) > 0
    drawn = scores.draws([cell for row, complete in zip(cells, whole, strict=True) if complete for cell in row])
    drawn = drawn.reshape(int(whole.sum()), len(codes), drawn.shape[1])
    ranks = np.full((len(runs), *drawn.shape[1:]), np.nan)
    ranks[whole] = distributions.rankdata(-drawn, axis=0) if whole.any() else 0
    average = ranks.mean(axis=1)
    low, high = np.quantile(average[:, 1:], ENDS, axis=1)
    best = (ranks[:, :, 0] == 1).sum(axis=1)
    columns = {"intermediate": runs, "rank": average[:, 0], "low": low, "high": high, "best": best}
    macro = headline(table[(table["target"] == MACRO) & (table["quantity"] == "gain")])
    gains = macro.set_index("intermediate").reindex(runs)[["value", "low", "high"]].to_numpy()
    columns |= dict(zip(("gain", "gain_low", "gain_high"), gains.T, strict=True))
    columns |= {"seeds": seeds.min(axis=1), "targets": len(codes)}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def effort(study: Study, source: Source) -> pd.DataFrame:
    """A row per phase and the total of them.

    Columns: phase; runs and seeds that are finished; examples in the training sets (documents in pretraining), steps,
    and tokens seen in training; hours, wall time added up over runs; core_hours, that times the threads of a run's
    processes, and gpu_hours, times its processes, each of the runs without and with a GPU; gpu, its name.
    A training that was interrupted counts the time since it went on. Energy is not measured.
    """
    rows = []
    for run in list_runs(study):
        folder, trained = run.folder(study), {}
        if not (record := read_record(folder / "run.json")):
            continue
        for training in target_runs(study, source, run.bundle) if run.bundle else []:
            if not training.untrained:  # targets that share a training set share its training, too
                trained[training.model(study)] = read_record(folder / training.name / "scored.json")
        parts = [record.get("training", {}), *trained.values()]
        hours, gpu = record.get("seconds", 0) / 3600, record.get("gpu", "")
        processes = study.training.processes if run.phase in ("intermediate", "targets") else 1
        row = {"phase": run.phase, "seed": run.seed, "hours": hours, "gpu": gpu}
        row["examples"] = sum(sum(part.get("examples", {}).values()) + part.get("documents", 0) for part in parts)
        row |= {name: sum(part.get(name, 0) for part in parts) for name in ("steps", "tokens")}
        row["core_hours"] = 0 if gpu else hours * processes * record.get("threads", 1)
        row["gpu_hours"] = hours * processes if gpu else 0
        rows.append(row)
    amounts = ["examples", "steps", "tokens", "hours", "core_hours", "gpu_hours"]
    table, totals = pd.DataFrame(rows, columns=["phase", "seed", "gpu", *amounts]), []
    for phase, part in [*table.groupby("phase", sort=False), ("total", table)]:
        counts = {"phase": phase, "runs": len(part), "seeds": part.loc[part["seed"] > 0, "seed"].nunique()}
        sums = {name: part[name].sum() for name in amounts}  # one by one: counts stay whole numbers
        totals.append({**counts, **sums, "gpu": ", ".join(sorted(set(part["gpu"]) - {""}))})
    return pd.DataFrame(totals)
