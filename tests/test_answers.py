"""The committed answers, recomputed from the tables that are committed beside them."""

from pathlib import Path

import pandas as pd
import pytest

from xstilts import summaries
from xstilts.io import ROOT
from xstilts.questions import distance, domain_shift, retrieval, source_language
from xstilts.settings import Study
from xstilts.sources import open_source
from xstilts.study import load_study


def read(folder: Path, *names: str) -> pd.DataFrame:
    tables = [pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in names]
    return pd.concat(tables, ignore_index=True)


def transfer(study: Study, folder: Path) -> tuple[list[str], pd.DataFrame, int]:
    table = read(folder, "heatmap-zero-shot", "heatmap-mean", "macro").drop_duplicates()
    sentences = summaries.transfer_sentences(table, read(folder, "correlations"), study)
    return sentences, summaries.transfer_verdicts(table, study), table["seeds"].max()


def of_distance(study: Study, folder: Path) -> tuple[list[str], pd.DataFrame, int]:
    table, worth = read(folder, "slopes"), read(folder, "examples-worth")
    measures = table["part"].isin(distance.METRICS)
    parts = [part for part in table["part"].unique() if part in {*worth["target"], distance.ALL_TARGETS}]
    slopes = table[table["part"].isin(parts)]
    verdicts = distance.verdicts(slopes, table[measures])
    return distance.sentences(slopes, worth), verdicts, slopes["seeds"].max()


def of_languages(study: Study, folder: Path) -> tuple[list[str], pd.DataFrame, int]:
    plan, seen = source_language.design(study, open_source(study)), read(folder, "seen")
    tables = {"comparisons": "phase2-exact_match", "sources": "sources-exact_match"}
    tables = {name: read(folder, file) for name, file in tables.items()}
    tables["seen"] = seen[seen["metric"] == "exact_match"]
    seeds = tables["comparisons"]["seeds"].max()
    return source_language.sentences(tables, plan), source_language.verdicts(tables, plan), seeds


def of_domains(study: Study, folder: Path) -> tuple[list[str], pd.DataFrame, int]:
    table, rho = read(folder, "made"), read(folder, "correlations")
    return domain_shift.sentences(table, rho), domain_shift.verdicts(table), table["seeds"].max()


def of_retrieval(study: Study, folder: Path) -> tuple[list[str], pd.DataFrame, int]:
    table, layers = read(folder, "gains", "bias").drop_duplicates(), read(folder, "layers-gain")
    return retrieval.sentences(table, layers), retrieval.verdicts(table), table["seeds"].max()


ANSWERS = {"micro": transfer, "distance": of_distance, "source-language": of_languages, "domain-shift": of_domains}
ANSWERS["retrieval"] = of_retrieval


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_numbers_of_its_tables(name):
    study, folder = load_study(name), ROOT / "figures" / name
    sentences, table, seeds = ANSWERS[name](study, folder)
    answer = (folder / "answer.md").read_text(encoding="utf-8")
    assert answer == summaries.question_answer(study, seeds, sentences, table) + "\n"
