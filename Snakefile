"""Which notebook runs need which: the only place that knows the order.

`python -m xstilts study` calls this after it has deleted the run.json of every stale run; a
run.json, written last, is the proof that a run succeeded. Executed notebooks and logs stay when a
run fails: they are the evidence.
"""

import sys
from pathlib import Path
from urllib.parse import unquote

from xstilts.io import literal
from xstilts.names import BASELINES
from xstilts.status import GAPS
from xstilts.runs import Run, list_runs
from xstilts.study import load_study

FILE = unquote(config["study"])
STUDY = load_study(FILE)
PYTHON = sys.executable
FOLDER = Path(literal(STUDY.folder))
PROCESSES = STUDY.training.processes  # of one thread and, where a profile says so, one GPU each
FINAL = Run(STUDY.question)
ANSWER = Path(literal(FINAL.folder(STUDY) / "run.json"))


def done(run):
    # ancient: whether a run is stale is decided by the fingerprint in run.json, never by dates
    return ancient(literal(run.folder(STUDY) / "run.json"))


def before_target(wildcards):
    seed = int(wildcards.seed)
    if wildcards.run in BASELINES:
        return done(Run("encoder", seed))
    return done(Run("intermediate", seed, wildcards.run))


rule all:
    input:
        str(ANSWER),


rule encoder:
    output:
        str(FOLDER / "encoder/seed{seed}/run.json"),
    log:
        str(FOLDER / "encoder/seed{seed}/log.txt"),
    threads: 1 # one thread a run: two encoders at once are done sooner than one after the other with two
    priority: 3
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m xstilts run {FILE:q} encoder/seed{wildcards.seed} >{log:q} 2>&1"


rule intermediate:
    input:
        lambda wildcards: done(Run("encoder", int(wildcards.seed))),
    output:
        str(FOLDER / "intermediate/{run}/seed{seed}/run.json"),
    log:
        str(FOLDER / "intermediate/{run}/seed{seed}/log.txt"),
    threads: PROCESSES
    priority: 2
    shell:
        "OMP_NUM_THREADS=1 {PYTHON:q} -m xstilts run {FILE:q} "
        "intermediate/{wildcards.run:q}/seed{wildcards.seed} >{log:q} 2>&1"


rule targets:
    input:
        before_target,
    output:
        str(FOLDER / "targets/{run}/{bundle}/seed{seed}/run.json"),
    log:
        str(FOLDER / "targets/{run}/{bundle}/seed{seed}/log.txt"),
    threads: PROCESSES
    # long jobs first; but where encoders go once they are scored, few should be there at a time
    priority: 4 if STUDY.keep == "pretrained" else 1
    shell:
        "OMP_NUM_THREADS=1 {PYTHON:q} -m xstilts run {FILE:q} "
        "targets/{wildcards.run:q}/{wildcards.bundle}/seed{wildcards.seed} >{log:q} 2>&1"


rule answer:
    input:
        [done(run) for run in list_runs(STUDY) if run.phase == "targets"],
    output:
        str(ANSWER),
    log:
        str(ANSWER.with_name("log.txt")),
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m xstilts run {FILE:q} {FINAL.name} >{log:q} 2>&1"


rule answer_with_gaps:
    # asked for when runs failed: the final notebook on what is done. No proof: it is executed again once they are
    output:
        str(ANSWER.with_name(GAPS)),
    log:
        str(ANSWER.with_name("log.txt")),
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m xstilts run {FILE:q} {FINAL.name} >{log:q} 2>&1"
