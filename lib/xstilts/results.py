"""From per-example statistics to scores, gains and intervals.

A gain is the score with an intermediate run minus the score with ``none``: same encoder, target,
language and seed. Its interval covers two sources of chance. *Examples*: test examples are drawn anew,
the same ones for both runs, for every seed and, where a test set is parallel, for every language.
*Seeds* (each with its own pretraining, intermediate and target training): drawn anew, with their
deviations from the mean widened so that for few seeds the interval is Student's rather than the
bootstrap's, which is too narrow. One seed gives an interval over examples alone.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as distributions

from .runs import list_runs, read_record
from .study import NONE, Study
from .tasks import RETRIEVAL_KINDS, get

DRAWS = 1000
LEVEL = 0.95
MACRO = ("all targets", "without retrieval")
KEYS = ["study", "encoder", "intermediate", "target", "training_language", "language", "seed", "metric"]


def load_stats(study: Study) -> pd.DataFrame:
    """Statistics of every finished target run of a study (KEYS, id, numerator, denominator)."""
    folders = [run.folder(study) for run in list_runs(study) if run.phase == "targets"]
    parts = [
        pd.read_parquet(folder / "stats.parquet").astype({key: "category" for key in (*KEYS, "id")})
        for folder in folders
        if (folder / "run.json").is_file()
    ]
    if not parts:
        return pd.DataFrame(columns=[*KEYS, "id", "numerator", "denominator"])
    table = pd.concat(parts, ignore_index=True)
    return table.astype({key: "category" for key in (*KEYS, "id")})


def scores(stats: pd.DataFrame) -> pd.DataFrame:
    """The tidy table: KEYS, value (percent), n (examples)."""
    groups = stats.groupby(KEYS, observed=True, sort=False)
    sums = groups[["numerator", "denominator"]].sum()
    sums["value"] = 100 * sums["numerator"] / sums["denominator"]
    return sums.assign(n=groups.size())[["value", "n"]].reset_index()


def missing(study: Study, stats: pd.DataFrame) -> list[str]:
    """Target runs of the study that are not finished, by name."""
    done = set(zip(stats["intermediate"], stats["target"], stats["seed"], strict=True)) if len(stats) else set()
    return [
        f"{run}/{target}/seed{seed}"
        for run in study.intermediate
        for target in study.targets
        for seed in study.seed_numbers
        if (run, target, seed) not in done
    ]


@dataclass(frozen=True)
class Sample:
    """Scores of one target in percent, mean over its metrics: ``point`` (runs, seeds, languages) and
    ``draws`` (draws, runs, seeds, languages), the same with examples drawn anew. NaN where a run is missing."""

    target: str
    runs: list[str]
    languages: list[str]
    point: np.ndarray
    draws: np.ndarray

    def over(self, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(point, draws) averaged over languages; NaN unless all of them are there."""
        columns = [self.languages.index(language) for language in languages]
        return self.point[..., columns].mean(-1), self.draws[..., columns].mean(-1)


def resample(study: Study, stats: pd.DataFrame, languages: list[str], draws: int = DRAWS, seed: int = 0) -> dict[str, Sample]:
    """Target -> Sample; languages in the given order (those the target has)."""
    rng = np.random.default_rng(seed)
    by_target = dict(tuple(stats.groupby("target", observed=True)))
    return {
        target: _resample_target(study, by_target[target], target, languages, draws, rng)
        for target in study.targets
        if target in by_target
    }


def _resample_target(
    study: Study, stats: pd.DataFrame, target: str, languages: list[str], draws: int, rng: np.random.Generator
) -> Sample:
    runs, seeds = list(study.intermediate), list(study.seed_numbers)
    metrics = list(dict.fromkeys(get(target).metrics))
    scored = stats["language"].unique()
    here = [language for language in languages if language in scored]
    columns = pd.MultiIndex.from_product([["numerator", "denominator"], runs, seeds])
    point = np.zeros((len(runs), len(seeds), len(here)))
    drawn = np.zeros((draws, len(runs), len(seeds), len(here)))
    weights: dict[tuple, np.ndarray] = {}
    for place, language in enumerate(here):
        for metric in metrics:
            chosen = stats[(stats["language"] == language) & (stats["metric"] == metric)]
            table = chosen.pivot(index="id", columns=["intermediate", "seed"], values=["numerator", "denominator"])
            table = table.reindex(columns=columns).sort_index()
            ids = tuple(table.index)  # equal in every language of a parallel test set: drawn together
            if ids not in weights:
                weights[ids] = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=draws).astype(float)
            both = table.to_numpy(dtype=float)
            width = len(runs) * len(seeds)
            sums, totals = both.sum(0), weights[ids] @ both
            with np.errstate(invalid="ignore", divide="ignore"):
                point[..., place] += (100 * sums[:width] / sums[width:]).reshape(len(runs), len(seeds)) / len(metrics)
                ratio = 100 * totals[:, :width] / totals[:, width:]
            drawn[..., place] += ratio.reshape(draws, len(runs), len(seeds)) / len(metrics)
    return Sample(target, runs, here, point, drawn)


def interval(point: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the mean over seeds at LEVEL; ``point`` (…, seeds), ``draws`` (draws, …, seeds).

    Seeds are drawn with replacement; their deviation from the mean over all of them is widened by
    sqrt(n/(n-1)), the bias of the bootstrap's variance, and by Student's quantile over the normal one.
    """
    count = point.shape[-1]
    centre = draws.mean(-1)
    if count > 1:
        picks = rng.integers(count, size=(len(draws), count))
        shape = (len(draws), *(1,) * (draws.ndim - 2), count)
        deviation = np.take_along_axis(draws, np.broadcast_to(picks.reshape(shape), draws.shape), -1).mean(-1) - centre
        tail = (1 + LEVEL) / 2
        student = distributions.t.ppf(tail, count - 1) / distributions.norm.ppf(tail)
        centre = centre + deviation * np.sqrt(count / (count - 1)) * student
    low, high = np.quantile(centre, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def summarise(samples: dict[str, Sample], source_language: str, zero_shot: bool = False) -> pd.DataFrame:
    """One row per run and target, then per run and macro average (MACRO): intermediate, target, score,
    score_low, score_high, gain, low, high, seeds, languages. Means over all languages of a target as
    XTREME takes them, or over all but the source language (``zero_shot``).

    A macro average needs every target of the study; NaN where anything is missing.
    """
    rng = np.random.default_rng(1)
    means, sizes = {}, {}
    for target, sample in samples.items():
        kept = [language for language in sample.languages if not (zero_shot and language == source_language)]
        means[target], sizes[target] = sample.over(kept), len(kept)
    trained = [target for target in means if get(target).kind not in RETRIEVAL_KINDS]
    for name, members in zip(MACRO, (list(means), trained), strict=True):
        if members:
            means[name] = tuple(np.mean([means[target][part] for target in members], axis=0) for part in (0, 1))
            sizes[name] = sum(sizes[target] for target in members)
    runs = next(iter(samples.values())).runs
    return pd.concat([_rows(runs, name, *pair, sizes[name], rng) for name, pair in means.items()], ignore_index=True)


def by_language(samples: dict[str, Sample]) -> pd.DataFrame:
    """One row per run, target and language, with the columns of :func:`summarise` and ``language``."""
    rng = np.random.default_rng(2)
    tables = []
    for target, sample in samples.items():
        for place, language in enumerate(sample.languages):
            rows = _rows(sample.runs, target, sample.point[..., place], sample.draws[..., place], 1, rng)
            tables.append(rows.assign(language=language))
    return pd.concat(tables, ignore_index=True)


def _rows(runs: list[str], name: str, point: np.ndarray, draws: np.ndarray, languages: int, rng) -> pd.DataFrame:
    """``point`` (runs, seeds), ``draws`` (draws, runs, seeds) -> one row per run."""
    base = runs.index(NONE)
    gain, gain_draws = point - point[[base]], draws - draws[:, [base]]
    score_low, score_high = interval(point, draws, rng)
    low, high = interval(gain, gain_draws, rng)
    return pd.DataFrame(
        {
            "intermediate": runs, "target": name, "score": point.mean(-1), "score_low": score_low,
            "score_high": score_high, "gain": gain.mean(-1), "low": low, "high": high,
            "seeds": point.shape[-1], "languages": languages,
        }
    )  # fmt: skip


def distance_correlation(samples: dict[str, Sample], distances: pd.Series, source_language: str) -> pd.DataFrame:
    """Spearman's rank correlation of the zero-shot score with the distance from the source language,
    with ``none``, mean over seeds: target, rho, p (two-sided, exact permutation would be finer), languages."""
    rows = []
    for target, sample in samples.items():
        kept = [
            language
            for language in sample.languages
            if language != source_language and pd.notna(distances.get(language, np.nan))
        ]
        if len(kept) < 3:
            continue
        point = sample.point[sample.runs.index(NONE)].mean(0)
        found = distributions.spearmanr(
            [distances[language] for language in kept], [point[sample.languages.index(language)] for language in kept]
        )
        rows.append({"target": target, "rho": found.statistic, "p": found.pvalue, "languages": len(kept)})
    return pd.DataFrame(rows, columns=["target", "rho", "p", "languages"])


def answer(summary: pd.DataFrame) -> str:
    """The study's answer in words, from the rows of :func:`summarise`."""
    seeds = int(summary["seeds"].max())
    over = f"{LEVEL:.0%} intervals over examples and {seeds} seeds" if seeds > 1 else "intervals over examples of 1 seed"
    macro = summary[(summary["target"] == MACRO[0]) & (summary["intermediate"] != NONE)].dropna(subset="gain")
    lines = [f"*Gains over `none` in points; {over}.*", ""]
    if len(macro):
        clear = macro[(macro["low"] > 0) | (macro["high"] < 0)].sort_values("gain", ascending=False)
        lines.append(
            "**Mean over all targets.** "
            + ("; ".join(_phrase(row) for row in clear.itertuples()) if len(clear) else "No evidence that any run helps or hurts")
            + ("." if len(clear) == len(macro) or not len(clear) else f"; no evidence for the other {len(macro) - len(clear)} runs.")
        )
    cells = summary[~summary["target"].isin(MACRO) & (summary["intermediate"] != NONE)].dropna(subset="gain")
    for target, rows in cells.groupby("target", sort=False):
        helped, hurt = rows[rows["low"] > 0], rows[rows["high"] < 0]
        parts = []
        if len(helped):
            parts.append(f"helped by {len(helped)} of {len(rows)} runs, most by {_phrase(_top(helped, 'idxmax'))}")
        if len(hurt):
            parts.append(f"hurt by {len(hurt)}, most by {_phrase(_top(hurt, 'idxmin'))}")
        lines.append(f"\n**{get(target).title}**: " + ("; ".join(parts) if parts else "no evidence of help or harm from any run") + ".")
    return "\n".join(lines)


def _top(rows: pd.DataFrame, pick: str):
    return next(rows.loc[[getattr(rows["gain"], pick)()]].itertuples())


def _phrase(row) -> str:
    return f"`{row.intermediate}` {row.gain:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"


def work_done(study: Study) -> pd.DataFrame:
    """Per phase: runs finished, hours of wall time, training steps and tokens."""
    rows = []
    for run in list_runs(study):
        record = read_record(run.folder(study) / "run.json")
        if record:
            training = record["training"]
            rows.append((run.phase, 1, record["seconds"] / 3600, training.get("tokens", 0)))
    table = pd.DataFrame(rows, columns=["phase", "runs", "hours", "tokens in pretraining or phase 2"])
    return table.groupby("phase", sort=False).sum()


def control_scores(study: Study, controls: list[Study], source_language: str) -> pd.DataFrame:
    """Zero-shot score with ``none`` (mean over metrics, languages but the source, seeds) of a study and of
    its controls: target (rows) by study (columns). Studies not run are left out."""
    columns = {}
    for one in (study, *controls):
        stats = load_stats(one)
        stats = stats[(stats["intermediate"] == NONE) & (stats["language"] != source_language)]
        if len(stats):
            table = scores(stats)
            columns[one.title or one.name] = table.groupby("target", observed=True)["value"].mean()
    return pd.DataFrame(columns).reindex(study.targets)


