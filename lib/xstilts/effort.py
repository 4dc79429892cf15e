"""How much was run: runs, data, steps and the time they took, from the records of finished runs."""

import pandas as pd

from xstilts.io import read_record
from xstilts.runs import list_runs
from xstilts.sources import Source
from xstilts.study import Study
from xstilts.target_runs import target_runs

COUNTS = ["runs", "examples", "steps", "tokens", "hours", "core_hours", "gpu_hours"]


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
        record = read_record(folder / "run.json")
        if not record:
            continue
        for tuning in target_runs(study, source, run.bundle) if run.bundle else []:
            if not tuning.untrained:  # targets that share a training set share its training, too
                trained[tuning.model(study)] = read_record(folder / tuning.name / "scored.json")
        parts = [record.get("training", {}), *trained.values()]
        hours, gpu = record.get("seconds", 0) / 3600, record.get("gpu", "")
        processes = study.training.processes if run.phase in ("intermediate", "targets") else 1
        row = {"phase": run.phase, "runs": 1, "seed": run.seed, "hours": hours, "gpu": gpu}
        row["examples"] = sum(sum(part.get("examples", {}).values()) + part.get("documents", 0) for part in parts)
        row |= {name: sum(part.get(name, 0) for part in parts) for name in ("steps", "tokens")}
        row["core_hours"] = 0 if gpu else hours * processes * record.get("threads", 1)
        row["gpu_hours"] = hours * processes if gpu else 0
        rows.append(row)
    table = pd.DataFrame(rows, columns=["phase", "seed", "gpu", *COUNTS])
    phases = [_total(phase, part) for phase, part in table.groupby("phase", sort=False)]
    return pd.DataFrame([*phases, _total("total", table)])


def _total(name: str, part: pd.DataFrame) -> dict:
    seeds = part.loc[part["seed"] > 0, "seed"].nunique()  # the final notebook has none
    sums = {name: part[name].sum() for name in COUNTS[1:]}  # one by one: counts stay whole numbers
    used = ", ".join(sorted(set(part["gpu"]) - {""}))
    return {"phase": name, "runs": len(part), "seeds": seeds, **sums, "gpu": used}


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`effort` as a person reads it; what no run had (a GPU) is left out."""
    shown = table.copy()
    for name in ("examples", "steps", "tokens"):
        shown[name] = [f"{number:,.0f}" for number in table[name]]
    for name in ("hours", "core_hours", "gpu_hours"):
        shown[name] = [f"{number:,.2f}" for number in table[name]]
    empty = [name for name in ("core_hours", "gpu_hours") if not table[name].any()]
    return shown.drop(columns=[*empty, *(["gpu"] if "gpu_hours" in empty else [])]).set_index("phase")
