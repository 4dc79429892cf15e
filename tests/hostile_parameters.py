"""Hostile parameter files, names and folders: what a study must not be."""

from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from hostile_files import Case
from xstilts.io import ROOT
from xstilts.names import parse_run
from xstilts.settings import Study
from xstilts.study import load_study
from xstilts.validation import check_folders

FILES = {"source": "files", "source_language": "en", "languages": []}
MICRO = yaml.safe_load((ROOT / "params" / "micro.yaml").read_text(encoding="utf-8"))
TRAINING = MICRO["training"]


def study(changes: dict[str, Any] | str | bytes, folder: Path) -> Study:
    """The default study with changed keys, or whatever the file is to hold."""
    path = folder / "study.yaml"
    if isinstance(changes, dict):
        changes = yaml.safe_dump(MICRO | changes)
    path.write_bytes(changes if isinstance(changes, bytes) else changes.encode())
    return load_study(path)


OVERLONG = "characters; its name is a folder's: 200 at most"
RUNS = {  # message -> names of intermediate runs
    'did you mean "mnli"': ["mnlli"],
    "expected task": [  # a Cyrillic letter and digits of another script among them
        "MNLI", "../mnli", "mnli=0", "mnli=1e3", "", "mnli/../..", "/mnli", "mnli\0", "mnli\n", "mnli@../de", "mnli ",
        "..", "mnli@de,../..", "mnl\u0456", "mnli=\uff11\uff10\uff10", "mnli=" + "9" * 10,
    ],
    "are of a task": ["mlm", "shuffled", "mlm+shuffled"],
    '"none" stands alone': ["none=100", "none+mlm", "none@de", "none+shuffled"],
    'unknown task "mlm"': ["mlm+mnli"],
    'unknown task "steps"': ["mnli+steps", "none+steps=100"],
    'unknown task "shuffled"': ["shuffled+mnli"],
    "twice": ["mnli+mnli", "mnli@de,de"],
    "already holds": ["mnli@all,de", "multi+mnli"],
    "already holds every translated language": ["mnli@mt,de"],
    "nothing trains on it": ["tatoeba"],
    f"5005 {OVERLONG}": ["mnli=" + "9" * 5000],
    f"304 {OVERLONG}": ["mnli@" + ",".join(["de"] * 100)],
}  # fmt: skip


def target(**fields: Any) -> dict[str, Any]:
    return {"training": {"target": {"steps": 5} | fields}}


def overrides(**fields: Any) -> dict[str, Any]:
    return {"training": {**TRAINING, "overrides": fields}}


def further(name: str = "direct", languages: str = "all", **fields: Any) -> dict[str, Any]:
    return {"further": {name: {"targets": ["xnli"], "training_languages": [languages]} | fields}}


KEYS = [  # keys of the default study that are changed, message
    ({"tagets": ["xnli"]}, 'tagets: unknown key; did you mean "targets"'),
    (target(lerning_rate=1e-5), 'training.target.lerning_rate: unknown key; did you mean "learning_rate"'),
    ({"intermediate": ["none", "mnlli"]}, 'intermediate.1: .*unknown task "mnlli"; did you mean "mnli"'),
    ({"intermediate": ["mnli"]}, 'add "none"'),
    ({"intermediate": ["none", "mnli@qxx"]}, 'intermediate.1: unknown language "qxx"'),
    ({"targets": ["xnli", "xqad"]}, 'targets.1: unknown task "xqad"; did you mean "xquad"'),
    ({"targets": ["xnli", "xnli"]}, "a name stands twice"),
    ({"languages": ["qaa", "qaz"]}, 'languages: unknown language "qaz"'),
    ({"training_sets": {"xnli": "squad1"}}, '"squad1" is a span task, xnli needs a classification one'),
    ({"training_sets": {"xnli": "rte"}}, 'the labels of "rte" are'),
    ({"training_sets": {"mnli": "sick"}}, "training_sets.mnli: not a target"),
    ({"training": {"target": {"steps": 5}, "intermediate": {"steps": 5, "epochs": 2}}}, "either steps or epochs"),
    ({"training": {"adapter": {"alpha": 8}}}, "training.adapter.rank: is missing"),
    ({"training": {"adapter": {"rnak": 8}}}, 'training.adapter.rnak: unknown key; did you mean "rank"'),
    (overrides(mnlli={}), 'training.overrides.mnlli: .*did you mean "mnli"'),
    (overrides(mnli={"learning_rate": 0}), "training.overrides.mnli.learning_rate: .*greater than 0"),
    (overrides(mnli={"patiense": 1}), 'training.overrides.mnli.patiense: unknown key; did you mean "patience"'),
    (overrides(mnli={"steps": 5, "epochs": 1}), "training.overrides.mnli: set either steps or epochs"),
    (overrides(mnli={"steps": True}), "training.overrides.mnli.steps: expected a whole number, found True"),
    (overrides(**{"target/xnli": {}}), "overrides.target/xnli: xnli is trained on mnli: name that set"),
    (overrides(**{"targt/mnli": {}}), 'overrides.targt/mnli: unknown phase "targt"; did you mean "target"'),
    (overrides(**{"target/+mlm": {}}), r'overrides.target/\+mlm: unknown name "target/\+mlm"; known: \+mlm'),
    (target(patience=3), "training.target: patience .* need evaluate_every"),
    (target(precision="fp8"), "target.precision: .*'bf16'.*found 'fp8'"),
    # names that leave the folder of the study
    *(({"name": name}, "name: .*pattern") for name in ("../elsewhere", "..", "/etc", "a" * 101, "", "a\0b", "a\n")),
    *(({"shares": name}, "shares: .*pattern") for name in ("../../elsewhere", "/etc")),
    *(({key: ""}, f"{key}: .*at least 1 character") for key in ("runs", "figures")),
    ({"runs": "a\0b"}, "runs: holds the control character"),
    ({"runs": "a" * 300}, "runs: 300 characters, too long for a name or a path"),
    ({"figures": "a/" * 3000}, "figures: 6000 characters, too long"),
    (further("../direct"), "further.../direct.*pattern"),
    ({"further": further("a", bundle="each")["further"] | further("a-xnli")["further"]},
     "further.a: another bundle gives its jobs"),
    (further(languages="../x"), 'unknown language "../x"'),
    ({**FILES, "languages": ["../../etc"]}, 'languages: "../../etc" is no language code; expected one such as en'),
    ({**FILES, **further(languages="../x")}, 'further.direct.training_languages: "../x" is no language code'),
    (further(examples=[10, 10]), "further.direct.examples: something stands twice"),
    (further(examples=[10**300]), "further.direct.examples.0: .*less than 1000000000"),
    ({"retrieval": {"pooling": "cls", "special_tokens": False}}, "special_tokens: false leaves nothing to pool"),
    ({"retrieval": {"layer": 4}}, r"retrieval.layer: 4, and the encoder has 3 layers: 0 \(embeddings\) to 3"),
    # wrong types
    ({"seeds": 10**9}, "seeds: .*less than or equal to 1000"),
    ({"targets": "xnli"}, "targets: .*found 'xnli'"),
    ({"languages": [False]}, r"languages.0: .*found False; put it in quotes"),
    ({"targets": {"xnli": 1, "xquad": {"a": [1] * 40}}}, "targets: expected a list, found the keys xnli, xquad$"),
    ({"retrieval": {"layers": {"a": 1}}}, "retrieval.layers: expected a list or expected 'all', found the keys a$"),
    ({"training": []}, "training: expected keys and values, found a list"),
    ({"based_on": ["micro"]}, r"based_on: \['micro'\]: expected the name of a study"),
    (target(learning_rate=float("inf")), "target.learning_rate: expected a finite number, found inf"),
    ({"training": {**TRAINING, "max_length": {**TRAINING["max_length"], "span": 159}}},
     "max_length.span: 159 tokens, and an encoder of encoder.pretrain.positions: 160 takes 158 at most"),
]  # fmt: skip
TEXTS = [  # what the file holds, message
    ("", "expected keys and values"),
    ("name: [", r"study.yaml:1: not readable as YAML"),
    ("name: a\nseeds: 1\nname: b\n", r'study.yaml:3: .*duplicate key "name"'),
    ("based_on: micro\nname: a\nseeds: 003\n", ""),  # three, in YAML 1.2
    ("name: a\nseeds: 1:30\n", "study.yaml: .*seeds: expected a whole number, found '1:30'"),  # no number in base 60
    ("name: 2020-01-01\n", "study.yaml: not readable as YAML: 2020-01-01: a date to YAML; put it in quotes"),
    ("no: 1\n", "study.yaml: .*no: unknown key"),
    ("? [a]\n: 1\n", "study.yaml: not readable as YAML: keys must be str"),
    ("based_on: micro\nname: a\nmicro: &a {world_seed: 1}\nfiles: *a\n", "files.world_seed: unknown key"),
    ("a0: &a0 [1, 1]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
     r"study.yaml:2: .*an alias \(\*\) inside an anchor"),
    ("a: &a [*a]\n", r"study.yaml:1: .*an alias \(\*\) inside an anchor"),
    ("a: *b\n", r"study.yaml:1: .*undefined alias"),
    ("a: " + "[" * 500 + "]" * 500, r"study.yaml: not readable as YAML: nested too deeply"),
    ("name: !!python/object/apply:os.system ['touch ran']\n", r"study.yaml:1: .*could not determine a constructor"),
    ("seeds: " + "1" * 5000, r"study.yaml: not readable as YAML: Exceeds the limit"),
    ("name: a\n---\nname: b\n", r"study.yaml:2: .*but found another document"),
    ("name: a\x00b\n", r"study.yaml:1: a NUL byte"),
    ("name: a\x07b\n", r"study.yaml: not readable as YAML: .*special characters"),
    ('title: "\\ud800"\n', "study.yaml: not readable as YAML: .*surrogates not allowed"),
    ("name: ä\n".encode("latin-1"), r"study.yaml:1: not UTF-8 .*save the file as UTF-8"),
    ("based_on: micro\nname: a\nseeds: no\n", r"study.yaml: seeds: expected a whole number, found 'no'"),
    ("based_on: micro\nname: a\nlanguages: [no]\n", 'study.yaml: languages: unknown language "no"'),
    ("\ufeffbased_on: micro\r\nname: windows\r\n", ""),  # a byte-order mark and CRLF
    ("based_on: micro\nname: quoted\nintermediate: [none, 'mnli=010']\n", "intermediate.1: .*expected task"),
]  # fmt: skip
NAMES = {"mikro": 'no study "mikro": .*did you mean "micro"', "a" * 5000: "no study", "a\0b": "no study"}  # of studies


def unwritable(number: int, reason: str, folder: Path) -> None:
    changed = study({"runs": str(folder / "runs"), "figures": str(folder / "figures")}, folder)
    with mock.patch("tempfile.TemporaryFile", side_effect=OSError(number, reason)):
        check_folders(changed)


def runs_is_a_file(folder: Path) -> None:
    (folder / "runs").touch()
    check_folders(study({"runs": str(folder / "runs")}, folder))


CASES = [
    *(Case("run name", f"{name[:20]!r}, {len(name)} long", lambda _, name=name: parse_run(name), message)
      for message, names in RUNS.items() for name in names),
    *(Case("parameters", f"{number}, {str(changes)[:50]}", partial(study, changes), message)
      for number, (changes, message) in enumerate([*KEYS, *TEXTS])),
    *(Case("study name", f"{name[:20]!r}", lambda _, name=name: load_study(name), NAMES[name]) for name in NAMES),
    Case("folder", "runs/ read-only", partial(unwritable, 30, "Read-only file system"),
         "study.yaml: runs: .*cannot be written .Read-only file system.; expected a folder with space to write"),
    Case("folder", "runs/ full", partial(unwritable, 28, "No space left on device"),
         "study.yaml: runs: .*cannot be written .No space left on device.; .*free some, or name another folder"),
    Case("folder", "runs/ is a file", runs_is_a_file, "study.yaml: runs: .*cannot be written .(Not a dir|File exists)"),
]  # fmt: skip
