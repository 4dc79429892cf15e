"""How much text of each language an encoder was pretrained on."""

import pandas as pd

from ..sources import Source
from ..study import Study

EQUAL = 1.1  # amounts of text within this factor of each other are no contrast


def resources(study: Study, source: Source) -> tuple[pd.Series, str]:
    """How much text of each language the encoder was pretrained on, and in which unit: documents of the study's own
    text, or GiB of CC-100, on which XLM-R was (0 for languages that are not in it)."""
    if study.encoder.checkpoint and study.source != "micro":
        return source.language_table()["cc100_gib"].fillna(0.0), "GiB of CC-100"
    return pd.Series(source.text(1)["language"][:]).value_counts(), "documents"
