"""Intervals: scores of every run and seed with the influence of every test example, and what is computed of them.

A score is a ratio of sums, 100 N / D. Every quantity of a study is a *combination* of scores, {cell: weight}: a gain is
+1 times that of a run and -1 times that of ``none``, an average has 1/n for each of n languages. Targets and languages
are taken as given. Two things were drawn at random, test examples and seeds, and they are crossed: every seed is
scored on the same examples. The variance of a combination, a mean over S seeds, is

    examples + seeds / S - interaction

* examples: the sum of squared influences (infinitesimal jackknife, or delta method), 100 (n_i - d_i N / D) / D for
  example i. Examples of a cluster (the questions on a passage, the hypotheses of a premise) are added up first, so
  clusters are drawn as a whole (C / (C - 1) of C clusters; Cameron and Miller 2015, doi:10.3368/jhr.50.2.317).
  Runs, seeds and the languages of a parallel set share clusters: a gain is a paired comparison.
* seeds: the variance of the per-seed values. A combination of runs on one measure (a target in one language, or an
  average) takes it from the two-way table of runs and seeds: what a seed does to all runs alike, as its encoder does,
  cancels out of a gain, and the variance of the rest is moderated (Smyth 2004, doi:10.2202/1544-6115.1027): that of
  the combination itself, with S - 1 degrees of freedom, is shrunk towards that pooled over the runs, which counts as
  ``prior`` degrees of freedom. They follow from how much runs differ in variance beyond chance, in all targets of the
  study together; the degrees of freedom of the sum are at most those of the pooled variance. Any other combination has
  its own variance, unshrunk.
* interaction: of examples with seeds, which both of the others contain (Owen 2007, arXiv:0712.1111). Where seeds do not
  vary by more than that, the first part is all, as it is with one seed, whose interval covers the draw of test examples
  alone.

The quantile is Student's, with Satterthwaite's degrees of freedom. Where a part has a single one (two seeds and
nothing to pool) an interval is at least as wide as that of the parts' own quantiles, squared and added (Graybill and
Wang 1980, doi:10.1080/01621459.1980.10477565), divided by the root of two. What intervals cover is simulated by
``tools/coverage.py`` and stated in ``docs/scores.md``. There is no Monte Carlo noise but in what is no linear
combination (ranks, correlations, crossings): :meth:`Scores.draws`.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse, special, stats
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from xstilts.errors import UserError
from xstilts.evaluation.metrics import task_metrics
from xstilts.tasks import TASKS, Task

LEVEL = 0.95  # of every interval
ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]  # quantiles
FALSE_DISCOVERIES = 0.05  # the share of starred differences that may be none
DRAWS = 10_000  # of what is no linear combination

Cell = tuple[str, str, str]  # run, target, language
Combination = dict[Cell, float]
Measure = tuple[tuple[tuple[str, str], float], ...]  # (target, language), weight


class Estimate(NamedTuple):
    """A quantity in points: NaN, and 0 seeds, where no seed has all of it. ``p``: two-sided, that it is zero; NaN with
    one seed, which says nothing of others."""

    value: float
    low: float
    high: float
    seeds: int
    p: float


MISSING = Estimate(np.nan, np.nan, np.nan, 0, np.nan)


def mean_score(run: str, target: str, languages: Collection[str]) -> Combination:
    """The unweighted mean of a run's scores over languages."""
    return {(run, target, language): 1 / len(languages) for language in languages}


def weighted(*parts: tuple[float, Combination]) -> Combination:
    """The sum of combinations, each times a number; a score that cancels out stays, with weight 0: it must be known."""
    total: Combination = {}
    for weight, combination in parts:
        for cell, value in combination.items():
            total[cell] = total.get(cell, 0.0) + weight * value
    return total


def mean(combinations: Collection[Combination]) -> Combination:
    return weighted(*[(1 / len(combinations), part) for part in combinations])


def difference(first: Combination, second: Combination) -> Combination:
    return weighted((1, first), (-1, second))


@dataclass
class Scores:
    """Scores of every run, target and language, and of every seed, with the influence of test examples on them.

    ``values[cell]``: percent, [seeds], NaN where missing; ``influence[cell]``: [seeds, clusters of the language];
    ``positions[target, language]``: which of the target's clusters these are. Without influence the seeds alone count.
    """

    values: dict[Cell, np.ndarray]
    seeds: list[int]
    influence: dict[Cell, np.ndarray] = field(default_factory=dict)
    positions: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)

    def __post_init__(self) -> None:
        self.runs = list(dict.fromkeys(run for run, _, _ in self.values))
        self._tables: dict[Hashable, tuple[np.ndarray, list[str]]] = {}
        self.prior = self._prior()

    def of(self, combination: Combination) -> np.ndarray:
        """Its value with each seed, [seeds]; NaN where one of its scores is missing."""
        absent = np.full(len(self.seeds), np.nan)
        values = [weight * self.values.get(cell, absent) for cell, weight in combination.items()]
        return np.sum(values, axis=0) if values else absent

    def estimate(self, combination: Combination) -> Estimate:
        """Value, interval, seeds and p of a combination."""
        by_seed = self.of(combination)
        complete = np.isfinite(by_seed)
        if not complete.any():
            return MISSING
        value, error, freedom = self._error(combination, by_seed, complete)
        half = stats.t.ppf(ENDS[1], freedom) * error
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * stats.t.sf(np.abs(value) / error, freedom) if error > 0 else float(value == 0)
        seeds = int(complete.sum())
        # what is zero is zero, not the rest of a rounding
        value, low, high = (round(float(bound), 9) + 0.0 for bound in (value, value - half, value + half))
        return Estimate(value, low, high, seeds, float(p) if seeds > 1 else np.nan)

    def _error(self, combination: Combination, by_seed: np.ndarray, complete: np.ndarray) -> tuple[float, float, float]:
        """(value, standard error, degrees of freedom)."""
        count, value = int(complete.sum()), round(float(by_seed[complete].mean()), 9)
        examples = interaction = freedom = 0.0
        for (influence,), clusters in self._influences([combination], complete):
            middle = influence.mean(axis=0)
            factor = clusters / (clusters - 1) if clusters > 1 else np.nan
            examples += factor * (middle**2).sum()
            interaction += factor * ((influence - middle) ** 2).sum() / (count * max(count - 1, 1))
            freedom += clusters - 1
        seeds = self._seed_covariances([combination], complete) if count > 1 else []
        if not seeds and not freedom:
            return value, np.nan, 1
        parts = [(float(variance[0, 0]) / count, df) for variance, df in seeds]
        total, freedom = examples, freedom or 1
        if (more := sum(variance for variance, _ in parts) - interaction) > 1e-18:
            total += more
            freedom = total**2 / sum(variance**2 / df for variance, df in [(examples, freedom), *parts])
        if any(
            df < 2 for _, df in parts
        ):  # Satterthwaite's alone cover 86 of 100 gains, with two runs and large seed variance
            widest = sum(stats.t.ppf(ENDS[1], df) ** 2 * variance for variance, df in parts)
            widest += stats.norm.ppf(ENDS[1]) ** 2 * (examples - interaction)
            total = max(total, widest / 2 / stats.t.ppf(ENDS[1], freedom) ** 2)
        return value, np.sqrt(total) if total > 1e-18 else 0.0, freedom

    def _influences(
        self, combinations: Sequence[Combination], complete: np.ndarray
    ) -> Iterable[tuple[np.ndarray, int]]:
        """Target by target the influence of clusters, [combinations, seeds, clusters], and how many there are."""
        for target in dict.fromkeys(cell[1] for part in combinations for cell in part if cell in self.influence):
            positions = {cell: self.positions[target, cell[2]] for part in combinations for cell in part
                         if cell[1] == target and cell in self.influence}  # fmt: skip
            clusters = np.unique(np.concatenate(list(positions.values())))
            total = np.zeros((len(combinations), int(complete.sum()), 1 + clusters[-1]))
            for influence, combination in zip(total, combinations, strict=True):
                for cell in filter(positions.__contains__, combination):
                    influence[:, positions[cell]] += combination[cell] * self.influence[cell][complete]
            yield total, len(clusters)

    def _table(self, measure: Measure, complete: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Values of a measure, [runs, seeds], of the runs that have it with every one of these seeds, and their names;
        no runs where the combination is of several measures."""
        key = measure, complete.tobytes()
        if key not in self._tables:
            rows = {run: self.of({(run, *part): weight for part, weight in measure})[complete] for run in self.runs}
            rows = {run: row for run, row in rows.items() if np.isfinite(row).all()}
            self._tables[key] = np.array(list(rows.values())), list(rows)
        return self._tables[key]

    def _prior(self) -> float:
        """Degrees of freedom that the pooled variance counts as: from the dispersion of the logarithms of the runs'
        variances, beyond that of chance, mean over the targets; infinite where there is none."""
        excess = []
        scored = dict.fromkeys((target, language) for _, target, language in self.values)
        for target in dict.fromkeys(target for target, _ in scored):
            measure = tuple((part, 1.0) for part in scored if part[0] == target)
            table, runs = self._table(measure, np.ones(len(self.seeds), bool))
            if len(runs) > 2 and len(self.seeds) > 1:
                variance = (table - table.mean(axis=0)).var(axis=1, ddof=1)
                if (middle := np.median(variance)) > 1e-12:
                    logs = np.log(np.maximum(variance, 1e-5 * middle))
                    excess.append(logs.var(ddof=1) - special.polygamma(1, (len(self.seeds) - 1) / 2))
        more = float(np.mean(excess)) if excess else 0.0
        return 2 * brentq(lambda x: special.polygamma(1, x) - more, 1e-3, 1e6) if more > 1e-5 else np.inf

    def lower_bounds(self, combination: Combination) -> np.ndarray:
        """One-sided 95% bound of each seed's value, over test examples, [seeds]."""
        by_seed = self.of(combination)
        complete = np.isfinite(by_seed)
        variance, freedom = np.zeros(int(complete.sum())), 0
        for (influence,), clusters in self._influences([combination], complete):
            variance += (influence**2).sum(axis=1) * clusters / max(clusters - 1, 1)
            freedom += clusters - 1
        bounds = by_seed.copy()
        bounds[complete] -= stats.t.ppf(LEVEL, max(freedom, 1)) * np.sqrt(variance)
        return bounds

    # --- what is no linear combination -------------------------------------------------------------------------

    def draws(self, combinations: Sequence[Combination]) -> np.ndarray:
        """[combinations, 1 + DRAWS]: values, then draws about them with the covariances of test examples (normal) and
        of seeds (Student's). The same on every call. NaN where a value, or with one seed and no examples its variance,
        is missing."""
        estimates = [self.estimate(part) for part in combinations]
        value = np.array([part.value for part in estimates])
        drawn = np.repeat(value[:, None], 1 + DRAWS, axis=1)
        known = np.array([np.isfinite(part.low) for part in estimates], bool)
        drawn[~known, 1:] = np.nan
        rng = np.random.default_rng(0)
        for covariance, freedom in self.covariances(list(compress(combinations, known))) if known.any() else ():
            sizes, vectors = np.linalg.eigh(covariance)
            normal = rng.standard_normal((len(sizes), DRAWS))
            if np.isfinite(freedom):
                normal *= np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
            drawn[known, 1:] += vectors * np.sqrt(np.where(sizes > 1e-15, sizes, 0)) @ normal
        return drawn

    def covariances(self, combinations: Sequence[Combination]) -> list[tuple[np.ndarray, float]]:
        """Independent parts of the covariance of combinations, each with its degrees of freedom: of test examples
        (less what the others have of it), then of seeds; of those seeds that all of them have."""
        by_seed = np.array([self.of(part) for part in combinations])
        complete = np.isfinite(by_seed).all(axis=0)
        count = int(complete.sum())
        if not count:
            rows = zip(combinations, by_seed, strict=True)
            return [(np.diag([self._error(part, row, np.isfinite(row))[1] ** 2 for part, row in rows]), np.inf)]
        examples = np.zeros((len(combinations),) * 2)
        for whole, _ in self._influences(combinations, complete):
            middle = whole.mean(axis=1)
            examples += middle @ middle.T
            rest = (whole - middle[:, None]).reshape(len(whole), -1)
            examples -= rest @ rest.T / (count * max(count - 1, 1))
        seeds = self._seed_covariances(combinations, complete) if count > 1 else []
        return [(examples, np.inf), *((covariance / count, freedom) for covariance, freedom in seeds)]

    def _seed_covariances(
        self, combinations: Sequence[Combination], complete: np.ndarray
    ) -> list[tuple[np.ndarray, float]]:
        """Independent parts of the covariance of the per-seed values, each with its degrees of freedom."""
        own = float(complete.sum()) - 1
        pairs = [factorised(part) for part in combinations]
        tables = [self._table(measure, complete) for measure, _ in pairs]
        runs = [run for run in self.runs if all(run in names for _, names in tables)]
        if len(runs) < 2:
            by_seed = np.array([self.of(part)[complete] for part in combinations])
            return [(np.cov(by_seed).reshape(len(by_seed), -1), own)]
        values = np.array([table[[names.index(run) for run in runs]] for table, names in tables])  # measure, run, seed
        weight = np.array([[weights.get(run, 0.0) for run in runs] for _, weights in pairs])
        alike, sums = values.mean(axis=1), weight.sum(axis=1)  # what a seed does to all runs; how much of it counts
        rest = values - alike[:, None]
        rest -= rest.mean(axis=2, keepdims=True)
        flat, most = rest.reshape(len(rest), -1), (len(runs) - 1.0) * own
        pooled = flat @ flat.T / most * (weight @ weight.T - np.outer(sums, sums) / len(runs))
        single = np.einsum("kr,krs->ks", weight, rest)
        share = 1.0 if np.isinf(self.prior) else self.prior / (self.prior + own)
        shrunk = share * pooled + (1 - share) * (single @ single.T / own)
        parts = [(shrunk, min(self.prior + own, most))]
        if np.abs(sums).max() > 1e-9:
            parts.append((np.outer(sums, sums) * np.cov(alike).reshape(len(alike), -1), own))
        return parts


def factorised(combination: Combination) -> tuple[Measure, dict[str, float]]:
    """(measure, weight of each run) of a combination of runs on one measure; the measure is () for any other."""
    known = {cell: weight for cell, weight in combination.items() if abs(weight) > 1e-12}
    runs = list(dict.fromkeys(run for run, *_ in known))
    parts = sorted({cell[1:] for cell in known})
    table = np.array([[known.get((run, *part), 0.0) for part in parts] for run in runs])
    if not known or len(known) < table.size:
        return (), {}
    measure = table[0] / np.abs(table[0]).sum()
    weights = table[:, 0] / measure[0]
    if np.abs(table - np.outer(weights, measure)).max() > 1e-9:
        return (), {}
    return tuple(zip(parts, measure.round(12).tolist(), strict=True)), dict(zip(runs, weights, strict=True))


def from_statistics(table: pd.DataFrame, metric: str = "", tasks: Mapping[str, Task] = TASKS) -> Scores:
    """Scores and influences of per-example statistics (``results.read_stats``) of one encoder and training language.

    ``metric`` scores by that one alone, else by the mean of the task's (of ``tasks``: name -> Task). Clusters are those
    of the column cluster, across languages; without it each example is its own. UserError where runs or seeds were
    scored on different examples: they cannot be paired.
    """
    seeds = sorted(table["seed"].unique().tolist())
    scores: dict[str, dict] = {"values": {}, "influence": {}, "positions": {}}
    for target, part in table.groupby("target", sort=True, observed=True):
        metrics = [metric] if metric else list(task_metrics(tasks[target]))
        part = part[part["metric"].isin(metrics)]
        runs = sorted(part["intermediate"].unique().tolist())
        shape = (len(runs), len(seeds), len(metrics))
        keys = [("intermediate", runs), ("seed", seeds), ("metric", metrics)]
        column = np.ravel_multi_index([pd.Index(names).get_indexer(part[name]) for name, names in keys], shape)
        example, ids = pd.factorize(part["id"])
        cluster = cluster_numbers(part, example, ids)
        for language, rows in part.groupby("language", sort=True, observed=True).indices.items():
            numbers, position = np.unique(example[rows], return_inverse=True)
            if len(rows) != len(numbers) * len(np.unique(column[rows])):
                raise UserError(
                    f"{target}, {language}: runs or seeds were scored on different examples and cannot be compared; "
                    "delete their folders under runs/ and run the study again"
                )
            sums = np.zeros((2, len(numbers), int(np.prod(shape))))
            for number, name in enumerate(("numerator", "denominator")):
                sums[number, position, column[rows]] = part[name].to_numpy(float)[rows]
            numerator, denominator = sums
            scored = np.bincount(column[rows], minlength=sums.shape[2]) > 0
            whole = denominator.sum(axis=0)
            share = numerator.sum(axis=0) / np.where(whole > 0, whole, 1)  # 0/0 is 0, as for the scorers
            influence = 100 * (numerator - share * denominator) / np.where(whole > 0, whole, 1)
            value = 100 * np.where(scored, share, np.nan).reshape(shape).mean(axis=-1)
            places, group = np.unique(cluster[numbers], return_inverse=True)
            together = sparse.csr_array((np.ones(len(group)), (group, np.arange(len(group)))))
            influence = (together @ influence).reshape(-1, *shape).mean(axis=-1)
            scores["positions"][target, language] = places
            for number, run in enumerate(runs):
                scores["values"][run, target, language] = value[number]
                scores["influence"][run, target, language] = np.ascontiguousarray(influence[:, number].T)
    return Scores(**scores, seeds=seeds, tasks=tasks)


def cluster_numbers(part: pd.DataFrame, example: np.ndarray, ids: pd.Index) -> np.ndarray:
    """Number of the cluster of each of ``ids``. The column cluster names an example of the cluster; as that may differ
    from language to language, clusters are what such names connect."""
    if "cluster" not in part:
        return np.arange(len(ids))
    heads = ids.get_indexer(part["cluster"].fillna(part["id"]))
    heads = np.where(heads < 0, example, heads)
    edges = sparse.coo_array((np.ones(len(heads)), (example, heads)), shape=(len(ids),) * 2)
    return connected_components(edges, directed=False)[1]


def discoveries(p: pd.Series) -> np.ndarray:
    """Which of a family of differences are starred: those that Benjamini and Hochberg (1995) keep, so that of all that
    are starred about ``FALSE_DISCOVERIES`` are none. Without p (one seed, or missing) a difference has no star."""
    known = p.notna().to_numpy()
    stars = np.zeros(len(p), bool)
    if known.any():
        stars[known] = stats.false_discovery_control(p[known]) <= FALSE_DISCOVERIES
    return stars


def seeds_needed(variance: float, effect: float, runs: int, power: float = 0.8, most: int = 1000) -> int:
    """Fewest seeds, two at least, that show a gain of ``effect`` points with that power, two-sided at 5%, where a run's
    value varies by ``variance`` from seed to seed and is pooled over ``runs``; test examples are left aside. ``most``
    where it takes more."""
    for seeds in range(2, most):
        freedom = (runs - 1) * (seeds - 1)
        shift, bound = effect / np.sqrt(max(2 * variance, 1e-12) / seeds), stats.t.ppf(ENDS[1], freedom)
        if shift > 50 or stats.nct.sf(bound, freedom, shift) >= power:
            return seeds
    return most


def residual_variance(table: np.ndarray) -> float:
    """Of runs and seeds, [runs, seeds]: what neither explains, the variance of a run's value from seed to seed."""
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return float((rest**2).sum() / ((len(table) - 1) * (table.shape[1] - 1)))
