"""From per-example statistics to scores, gains over ``none`` with intervals, and gaps.

How the intervals are made. A score is a ratio of sums, so a resample of the test set is a set of weights.
Two things were drawn at random, test examples and seeds, and they are crossed: every seed is scored on the
same examples. The interval adds the two deviations:

* examples: Poisson(1) weights per example id (the Poisson bootstrap; ids of a parallel test set carry one
  weight in all languages, so languages that share examples move together), the same in every run and seed,
  so that a gain is a paired comparison;
* seeds: the per-seed values resampled with replacement. Resampling n values gives a spread too small by
  sqrt((n-1)/n) and normal rather than Student tails, so the deviation is widened by
  sqrt(n/(n-1)) * t/z (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, "expanded percentile").
  With one seed there is no such part and the interval covers the examples alone.

Adding them, instead of resampling both at once, counts the examples-by-seeds interaction twice rather than
three times (Owen 2007, arXiv:0712.1111): slightly wide, never narrow. Languages and targets are taken as given.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats as distributions

from xstilts.errors import UserError
from xstilts.evaluation.metrics import task_metrics
from xstilts.io import read_record
from xstilts.names import NONE
from xstilts.runs import finished_controls, finished_target_runs, list_runs
from xstilts.settings import Study
from xstilts.sources import Source
from xstilts.target_runs import evaluation_languages, target_runs
from xstilts.tasks import RETRIEVAL_KINDS, TASKS, Task

MEAN, ZERO_SHOT = "mean", "zero-shot"  # in the column language: over all languages; over all but the source
MACRO, MACRO_TRAINED = "macro", "macro without retrieval"  # in the column target: over targets
KEYS = ["study", "encoder", "intermediate", "target", "training_language", "examples", "language", "seed"]
SAME_AMOUNT = 1.1  # amounts of pretraining text within this factor of each other are no contrast
LEVEL = 0.95  # of every interval
ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]  # quantiles
Names = Collection[str] | None  # None: all
CHUNK = 4096  # example ids weighted at once: bounds memory at real test-set sizes


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


@dataclass
class Replicates:
    """Scores and their deviations on resampled examples.

    ``score[intermediate, target, language]``: percent, shape [seeds], NaN where missing;
    ``deviation[...]``: score on a resample minus score, shape [seeds, resamples].
    """

    score: dict[tuple[str, str, str], np.ndarray]
    deviation: dict[tuple[str, str, str], np.ndarray]
    seeds: list[int]
    resamples: int
    rng: np.random.Generator
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    _draws: dict[int, np.ndarray] = field(default_factory=dict)

    def of(self, run: str, target: str, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Unweighted mean over ``languages``: ([seeds], [seeds, resamples]); NaN in seeds that lack one."""
        absent = np.full(len(self.seeds), np.nan), np.full((len(self.seeds), self.resamples), np.nan)
        keys = [(run, target, language) for language in languages]
        return mean_of([(self.score.get(key, absent[0]), self.deviation.get(key, absent[1])) for key in keys])

    def deviations(self, score: np.ndarray, deviation: np.ndarray) -> tuple[float, np.ndarray, int]:
        """Mean over the seeds with a score, its deviations on resamples [resamples], number of seeds."""
        complete = np.isfinite(score)
        count = int(complete.sum())
        if not count:
            return np.nan, np.full(self.resamples, np.nan), 0
        value, spread = score[complete].mean(), deviation[complete].mean(axis=0)
        if count > 1:
            if count not in self._draws:
                self._draws[count] = self.rng.multinomial(count, np.full(count, 1 / count), self.resamples) / count
            spread = spread + self._draws[count] @ (score[complete] - value) * widening(count)
        return value, spread, count

    def draws(self, score: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, int]:
        """([1 + resamples], seeds): the mean over the seeds with a score, then what it is on each resample."""
        value, spread, count = self.deviations(score, deviation)
        return np.append(value, value + spread), count

    def interval(self, score: np.ndarray, deviation: np.ndarray) -> tuple[float, float, float, int]:
        """(value, low, high, seeds): NaN and 0 seeds where no seed is complete."""
        value, spread, count = self.deviations(score, deviation)
        low, high = value + np.quantile(spread, ENDS)
        return value, low, high, count


def interval_of(draws: np.ndarray) -> tuple[float, float, float]:
    """(value, low, high), 95%, of draws as :meth:`Replicates.draws` gives them, some undefined or infinite."""
    defined = draws[1:][~np.isnan(draws[1:])]
    if not len(defined):
        return draws[0], np.nan, np.nan
    # an end is a resample, not a point between two, of which one may be infinite
    return (draws[0], *np.quantile(defined, (0.025, 0.975), method="inverted_cdf"))


def widening(seeds: int) -> float:
    """Factor on deviations of the mean of ``seeds`` resampled values; see the module's docstring."""
    student, normal = distributions.t.ppf(ENDS[1], seeds - 1), distributions.norm.ppf(ENDS[1])
    return float(np.sqrt(seeds / (seeds - 1)) * student / normal)


def mean_of(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of scores [seeds] and their deviations [seeds, resamples], as :meth:`Replicates.of` gives them."""
    scores, deviations = zip(*parts, strict=True)
    return sum(scores) / len(parts), sum(deviations) / len(parts)  # type: ignore[return-value]  # of arrays


def resample(
    stats: pd.DataFrame, rng: np.random.Generator, resamples: int = 1000, metric: str = "", tasks: Mapping = TASKS
) -> Replicates:
    """Bootstrap the examples of every target once, jointly over runs, seeds and languages.

    ``stats`` of one encoder and one training language; ``metric`` scores by that one alone, else by the mean of the
    task's (of ``tasks``: name -> Task). UserError where runs or seeds were scored on different examples: they cannot
    be paired.
    """
    seeds = sorted(stats["seed"].unique().tolist())
    replicates = Replicates({}, {}, seeds, resamples, rng, tasks)
    for target, part in stats.groupby("target", sort=True, observed=True):
        metrics = [metric] if metric else list(task_metrics(tasks[target]))
        part = part[part["metric"].isin(metrics)]
        runs = sorted(part["intermediate"].unique().tolist())
        shape = (len(runs), len(seeds), len(metrics))
        parts = [("intermediate", runs), ("seed", seeds), ("metric", metrics)]
        column = np.ravel_multi_index([pd.Index(names).get_indexer(part[name]) for name, names in parts], shape)
        for language, scored, (numerator, denominator) in _resampled_sums(part, column, shape, rng, resamples):
            with np.errstate(invalid="ignore"):
                values = 100 * numerator / denominator
            values[0, scored] = np.nan_to_num(values[0, scored])  # 0/0 is 0, as for the scorers; NaN without data
            values = values.reshape(-1, *shape).mean(axis=-1)
            score, deviation = values[0], np.nan_to_num(values[1:] - values[0]).astype(np.float32)
            for number, run in enumerate(runs):
                replicates.score[run, target, language] = score[number]
                replicates.deviation[run, target, language] = np.ascontiguousarray(deviation[:, number].T)
    return replicates


def _resampled_sums(
    part: pd.DataFrame, column: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, resamples: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Per language: (language, which columns have data, sums [numerator or denominator, 1 + resamples, columns]);
    row 0 is the data as they are. ``column`` says which run, seed and metric a row of ``part`` belongs to."""
    example, ids = pd.factorize(part["id"])
    tables, columns = {}, int(np.prod(shape))
    for language, rows in part.groupby("language", sort=True, observed=True).indices.items():
        numbers, position = np.unique(example[rows], return_inverse=True)
        if len(rows) != len(numbers) * len(np.unique(column[rows])):
            raise UserError(
                f"{part['target'].iloc[0]}, {language}: runs or seeds were scored on different examples and cannot "
                "be compared; delete their folders under runs/ and run the study again"
            )
        values = np.zeros((2, len(numbers), columns), np.float32)
        for number, name in enumerate(("numerator", "denominator")):
            values[number, position, column[rows]] = part[name].to_numpy()[rows]
        sums = np.zeros((2, 1 + resamples, columns))
        sums[:, 0] = values.sum(axis=1, dtype=float)
        tables[language] = (numbers, values, sums, np.bincount(column[rows], minlength=columns) > 0)
    for start in range(0, len(ids), CHUNK):
        weights = rng.poisson(1.0, (resamples, min(CHUNK, len(ids) - start))).astype(np.float32)
        for numbers, values, sums, _ in tables.values():
            first, last = np.searchsorted(numbers, [start, start + CHUNK])
            if first < last:
                sums[:, 1:] += weights[:, numbers[first:last] - start] @ values[:, first:last]
    for language, (_, _, sums, scored) in tables.items():
        yield language, scored, sums


def estimates(
    replicates: Replicates, wanted: pd.DataFrame, source_language: str, runs: Mapping[str, list[str]] | None = None
) -> pd.DataFrame:
    """Every score and gain with its interval, one row each.

    ``runs``: name -> the runs whose mean it is, instead of every run by its own name.
    Columns: intermediate, target (a task, ``MACRO`` or ``MACRO_TRAINED``), language (a code, ``MEAN`` or
    ``ZERO_SHOT``), quantity ("score" or "gain"), value, low, high, seeds (how many it rests on), languages
    and targets (how many it averages). An average with a part missing in every seed is empty (NaN, 0 seeds).
    """
    languages = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    trained = [target for target in languages if replicates.tasks[target].kind not in RETRIEVAL_KINDS]
    macros = {MACRO: list(languages)} | ({MACRO_TRAINED: trained} if 0 < len(trained) < len(languages) else {})
    cells: dict[tuple[str, str], list[tuple[str, list[str]]]] = {}  # (target, language) -> what is averaged
    for target, codes in languages.items():
        groups = {code: [code] for code in codes} | {MEAN: codes}
        groups[ZERO_SHOT] = [code for code in codes if code != source_language]
        cells |= {(target, name): [(target, group)] for name, group in groups.items() if group}
    for macro, name in product(macros, (MEAN, ZERO_SHOT)):
        if averaged := [part for target in macros[macro] for part in cells.get((target, name), [])]:
            cells[macro, name] = averaged
    runs = runs or {run: [run] for run in wanted["intermediate"].unique()}
    rows = []
    for (target, language), parts in cells.items():
        number = (len({code for _, group in parts for code in group}), len(parts))
        base = mean_of([replicates.of(NONE, *part) for part in parts])
        for name, members in runs.items():
            means = [mean_of([replicates.of(run, *part) for part in parts]) for run in members]
            value, low, high, seeds = replicates.interval(*mean_of(means))
            bounds = np.clip([low, high], 0, 100)  # what a score can be
            rows.append((name, target, language, "score", value, *bounds, seeds, *number))
            if name != NONE:
                gain = mean_of([(score - base[0], deviation - base[1]) for score, deviation in means])
                rows.append((name, target, language, "gain", *replicates.interval(*gain), *number))
    columns = "intermediate target language quantity value low high seeds languages targets".split()
    return pd.DataFrame(rows, columns=columns)


def correlations(replicates: Replicates, wanted: pd.DataFrame, distance: pd.Series) -> pd.DataFrame:
    """Spearman's rho of the zero-shot score of ``none`` with distance from the source, per target.

    ``distance``: indexed by language; languages without one, and the source (distance 0), are left out.
    Columns: target, rho, low, high (over examples and seeds, for these languages), languages. NaN below
    three languages or where a score is missing.
    """
    rows = []
    for target, part in wanted.groupby("target", sort=False):
        codes = [code for code in part["language"].unique() if distance.get(code, 0) > 0]
        cells = [replicates.draws(*replicates.of(NONE, target, [code]))[0] for code in codes]
        rows.append((target, *rank_correlation(distance[codes], cells), len(codes)))
    return pd.DataFrame(rows, columns=["target", "rho", "low", "high", "languages"])


def rank_correlation(values: pd.Series, draws: list[np.ndarray]) -> tuple[float, float, float]:
    """(rho, low, high): Spearman's of ``values`` with as many quantities, each as :meth:`Replicates.draws` gives it.
    NaN for fewer than three or where one is missing."""
    if len(draws) < 3 or not np.isfinite(draws).all() or not np.ptp(values):
        return np.nan, np.nan, np.nan
    fixed, ranks = distributions.rankdata(values), distributions.rankdata(draws, axis=0)
    rho = [np.corrcoef(fixed, column)[0, 1] if np.ptp(column) else 0.0 for column in ranks.T]
    low, high = np.quantile(rho[1:], ENDS)
    return rho[0], low, high


def marked(table: pd.DataFrame) -> pd.Series:
    """Whether each interval of ``table`` excludes zero."""
    return (table["low"] > 0) | (table["high"] < 0)


def pretraining_text(study: Study, source: Source) -> tuple[pd.Series, str]:
    """How much text of each language the encoder was pretrained on, and in which unit: documents of the study's own
    text, or GiB of CC-100, on which XLM-R was (0 for languages that are not in it)."""
    if study.encoder.checkpoint and study.source != "micro":
        return source.language_table()["cc100_gib"].fillna(0.0), "GiB of CC-100"
    return pd.Series(source.text(1)["language"][:]).value_counts(), "documents"


def controls(study: Study, wanted: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
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
            replicates = resample(stats, rng, tasks=study.tasks)
            rows = wanted[(wanted["intermediate"] == NONE) & shared]
            tables.append(estimates(replicates, rows, study.source_language).assign(study=other.name))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["language", "quantity"])


def rank_runs(replicates: Replicates, wanted: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Runs, ``none`` among them, best first: on each target the one with the highest score (mean over languages) has
    rank 1; ties share the mean of their ranks.

    ``wanted``, ``table``: as :func:`expected` and :func:`estimates` give them. Columns: intermediate; rank,
    the mean over targets; low, high, its percentile interval over the resamples of examples and seeds (noise draws
    ranks towards the middle: an interval may end before the rank of an outlier); best, on how many targets the run is
    first; gain, gain_low, gain_high, the mean over targets; seeds; targets. Runs that lack a target are not ranked:
    their rank is NaN, and they come last.
    """
    runs = list(wanted["intermediate"].unique())
    codes = {target: part["language"].unique().tolist() for target, part in wanted.groupby("target", sort=False)}
    drawn = [[replicates.draws(*replicates.of(run, *part)) for part in codes.items()] for run in runs]
    scores = np.array([[draws for draws, _ in row] for row in drawn])
    seeds = np.array([[count for _, count in row] for row in drawn])
    whole = seeds.min(axis=1) > 0
    ranks = np.full(scores.shape, np.nan)
    ranks[whole] = distributions.rankdata(-scores[whole], axis=0) if whole.any() else 0
    mean = ranks.mean(axis=1)
    low, high = np.quantile(mean[:, 1:], ENDS, axis=1)
    best = (ranks[:, :, 0] == 1).sum(axis=1)
    columns = {"intermediate": runs, "rank": mean[:, 0], "low": low, "high": high, "best": best}
    macro = table[(table["target"] == MACRO) & (table["language"] == MEAN) & (table["quantity"] == "gain")]
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
