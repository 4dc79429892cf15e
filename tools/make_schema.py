#!/usr/bin/env python3
"""Remake ``params/study.schema.json``, by which editors complete and check a study's file.

The schema is that of :class:`xstilts.study.Study`, with ``based_on``; no key is required, as a study may be based on
another.
"""

import json

from xstilts.io import ROOT
from xstilts.study import Study

PATH = ROOT / "params" / "study.schema.json"


def study_schema() -> dict:
    """JSON Schema of the files in params/."""
    schema = Study.model_json_schema()
    schema["title"] = "A study of xstilts"
    schema["properties"]["based_on"] = {
        "type": "string",
        "description": "name of the study that this one changes; lists are replaced whole, sections key by key",
    }
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("required", None)
    return schema


if __name__ == "__main__":
    PATH.write_text(json.dumps(study_schema(), indent=1) + "\n", encoding="utf-8")
