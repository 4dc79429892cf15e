#!/usr/bin/env python3
"""Hash the results of studies, to show that a change of the code changed none of them.

    python tools/hashes.py runs/tour runs/micro > before.txt     # then change the code and run the studies again
    python tools/hashes.py runs/tour runs/micro > after.txt
    diff before.txt after.txt

One line per weights file, table of statistics or predictions, and generated or parsed dataset, sorted. Tables and
datasets are hashed by content (schema and values), not by the bytes of their files. The folder of a dataset is named by
a hash of the code that made it, so datasets are listed by their content alone.
"""

import hashlib
import sys
from pathlib import Path

import datasets
import pyarrow
from pyarrow import parquet

TABLES = ("stats.parquet", "predictions.parquet", "layers.parquet")


def table_hash(table: pyarrow.Table) -> str:
    """Hash of the columns of a table, whatever its chunks and metadata."""
    table = table.replace_schema_metadata(None).combine_chunks()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:24]


def result_hashes(folder: Path) -> list[str]:
    """Lines "hash path" for the results below the runs folder of one study."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.name in TABLES:
            lines.append(f"{table_hash(parquet.read_table(path))} {path}")
        elif path.suffix == ".safetensors":
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()[:24]} {path}")
    contents = {
        table_hash(datasets.load_from_disk(path.parent).data.table) for path in folder.glob("data/*/state.json")
    }
    return lines + [f"{content} {folder}/data" for content in sorted(contents)]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print("\n".join(result_hashes(Path(argument))))
