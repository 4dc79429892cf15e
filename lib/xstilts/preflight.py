"""Which data and which encoder the runs of a study load; whether it is all there, and fit to be scored on."""

import unicodedata
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from xstilts.errors import located, nearest, refuse
from xstilts.io import ROOT
from xstilts.readers import custom
from xstilts.settings import Study
from xstilts.sources import Source, open_source
from xstilts.sources.base import texts_of
from xstilts.target_runs import evaluation_languages, evaluation_split, pool_languages, target_runs, training_sets
from xstilts.tasks import POOL, RETRIEVAL_KINDS, TRANSLATED, Task
from xstilts.training import packaged
from xstilts.training.checkpoints import NO_WEIGHTS, locate

ENCODER = ("*.json", "*.safetensors", "*.model", "*.txt")  # what a checkpoint is loaded from


def check_data(study: Study) -> list[str]:
    """Fetch what must be fetched and read what has not been read yet, as the runs will; returns the lines of
    :func:`unscored_languages`, :func:`repeated_rows` and :func:`xstilts.readers.custom.rare_tags`.
    UserError where a run or target has no data, where a file is malformed, a language of the study is in none of its
    targets, or the encoder cannot be had."""
    source = open_source(study)
    sets = _needed(study, source)
    text = not study.encoder.checkpoint or any(study.intermediate_run(name).mlm for name in study.intermediate)
    source.check(sets, text)
    if study.encoder.checkpoint:
        _fetch_encoder(study)
    scored: set[str] = set()
    for task in map(study.task, study.all_targets):
        restriction = f" in {', '.join(study.languages)}" if study.languages else ""
        absent = f'no data with gold labels for "{task.name}"{restriction}: add its files or leave it out'
        refuse(not evaluation_languages(study, source, task), f"{study.path}: targets: {absent}")
        scored.update(source.languages(task, evaluation_split(source, task)))
    for language in study.languages:
        hint = nearest(language, scored)
        refuse(language not in scored, f'{study.path}: languages: "{language}" is in no target\'s data{hint}')
    for task, split, languages in sets:
        known, kind = source.languages(task, split), split
        if split == TRANSLATED:  # where a task has no training set of its own in a language
            known, kind = [*source.languages(task, "train"), *known], "train"
        absent = ", ".join(language for language in languages if language not in known)
        if absent and not known:  # the source says what it looked for
            with located(study.path):
                source.load(task, split, languages[0])
        known_sets = ", ".join(known) or "none"
        refuse(absent, f'{study.path}: no {kind} set of "{task.name}" in {absent}; there is: {known_sets}')
    generated = study.source == "micro"  # right by construction
    for task, split, languages in sets:
        for language in languages if task.name in study.own or not generated else ():
            source.load(task, split, language)
    if text and not generated:
        documents = source.text(1)
        if not study.encoder.checkpoint and not (study.folder / "encoder" / "seed1" / "run.json").is_file():
            from xstilts.training.tokenizer import check_vocabulary  # takes a second to import

            with located(study.path):
                check_vocabulary(documents, study.encoder.pretrain)
    rare = [custom.rare_tags(name, own, ROOT) for name, own in study.own.items() if own.kind == "tagging"]
    return [*unscored_languages(study, source), *repeated_rows(study, source), *chain.from_iterable(rare)]


def _fetch_encoder(study: Study) -> None:
    """Have a packaged checkpoint built and one that is on the hub in its cache: jobs may run where no network is."""
    if study.encoder.checkpoint == packaged.NAME:
        with located(study.path):
            packaged.build(packaged.checkpoint_folder(study))
    name, revision = locate(study), study.encoder.revision or "main"
    if isinstance(name, Path):
        return
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    from xstilts.sources.hub import unreachable

    options: dict[str, Any] = {"revision": revision, "allow_patterns": [*ENCODER], "ignore_patterns": ["*/*"]}
    with suppress(LocalEntryNotFoundError):
        snapshot = huggingface_hub.snapshot_download(name, local_files_only=True, **options)
        if any(Path(snapshot).glob("*.safetensors")):
            return
    try:
        huggingface_hub.HfApi().model_info(name, revision=revision)
        print(f"fetching {name} (revision {revision}) from the hub", flush=True)
        snapshot = huggingface_hub.snapshot_download(name, **options)
    except Exception as error:  # no network, no such name, no such revision, …: the ways out are the same
        cached = partial(huggingface_hub.try_to_load_from_cache, name, revision=revision)
        if any(isinstance(cached(f"model.safetensors{end}"), str) for end in ("", ".index.json")):
            return  # put there by transformers, which takes but what it needs
        what = f'{study.path}: encoder.checkpoint "{name}" (revision {revision})'
        raise unreachable(what, error, "name a folder that holds the checkpoint") from None
    absent = not any(Path(snapshot).glob("*.safetensors"))
    refuse(absent, f'{study.path}: encoder.checkpoint "{name}" (revision {revision}): {NO_WEIGHTS}')


def _needed(study: Study, source: Source) -> list[tuple[Task, str, list[str]]]:
    """Every (task, split, languages) that the runs of a study load."""
    own, sets = [study.source_language], []
    for name in study.intermediate:
        run = study.intermediate_run(name)
        for task in [] if name in study.left_out else map(study.task, run.tasks):
            trained = training_sets(name, task, run.languages, source)
            check_share(study, name, trained, study.phase("intermediate", name).examples)
            sets += [(task, split, [language]) for split, language in trained]
            sets.append((task, "dev", own))
    for task in map(study.task, study.all_targets):
        splits = ["dev", "test"] if task.kind == "mining" else [evaluation_split(source, task)]
        sets += [(task, split, evaluation_languages(study, source, task)) for split in splits]
        sets += [(task, POOL, codes)] if (codes := pool_languages(study, source, task)) else []
    bundles = [*study.bundles(), *study.further]
    for target_run in [run for bundle in bundles for run in target_runs(study, source, bundle)]:
        training_task = study.training_task(target_run.task)
        if not target_run.untrained:
            parts = target_run.training_sets(study, source)
            check_share(study, target_run.name, parts, target_run.phase(study).examples)
            sets += [(training_task, split, [language]) for split, language in parts]
            if target_run.phase(study).evaluate_every:
                sets.append((training_task, "dev", own))
    return sets


def check_share(study: Study, name: str, sets: list[tuple[str, str]], examples: int) -> None:
    """UserError where a run or tuning ``name`` has fewer ``examples`` (0: all) than (split, language) sets to share."""
    fewer = f"{examples} examples of {len(sets)} languages together, fewer than one of each"
    refuse(0 < examples < len(sets), f'{study.path}: "{name}": {fewer}; expected {len(sets)} or more, or 0 for all')


def unscored_languages(study: Study, source: Source) -> list[str]:
    """A line per target on the languages that it has a development set in, but no test set, which is scored."""
    lines = []
    for task in map(study.task, study.all_targets):
        scored = source.languages(task, "test")
        absent = [code for code in source.languages(task, "dev") if code not in scored]
        if names := ", ".join(code for code in absent if not study.languages or code in study.languages):
            remedy = f"files: {{splits: {{{task.name}: {{test: dev, dev: test}}}}}} scores the development set instead"
            problem = f"{names} have a development set only and are left out"
            if scored:
                lines.append(f"{task.name} is scored on its test set, in {', '.join(scored)}: {problem}; {remedy}")
    return lines


def repeated_rows(study: Study, source: Source) -> list[str]:
    """How many rows of each development and scored set are rows of the training or development set too, a line each:
    of the user's own tasks, and of the targets of a files source. UserError where all rows of a user's set are.

    Rows are the same where all their texts are, up to compatibility forms of Unicode (NFKC), case and white space.
    """
    named, lines = [*study.own, *(study.all_targets if study.source == "files" else ())], []
    needed = [(task.name, split, code) for task, split, codes in _needed(study, source) for code in codes]
    for task in [task for task in map(study.task, dict.fromkeys(named)) if task.kind not in RETRIEVAL_KINDS]:
        trained, split = study.training_task(task).name, evaluation_split(source, task)
        sets = {key: "training" for key in needed if key[0] == trained and key[1] in ("train", TRANSLATED)}
        dev = (trained, "dev", study.source_language)
        sets |= {dev: "development"} if split == "test" and (dev in needed or task.name in study.own) else {}
        sets |= {(task.name, split, code): "" for code in evaluation_languages(study, source, task)}
        known: dict[str, str] = {}  # a row without what does not count -> the part that has it first
        exact: set[str] = set()
        for key, part in sets.items():
            texts = texts_of(source.load(study.task(key[0]), *key[1:]))
            rows = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]
            repeated = Counter(known[row] for row in rows if row in known and part != "training")
            if repeated:
                count, same = repeated.total(), sum(text in exact for text in texts)
                line = f"{task.name}: {count} of {len(rows)} {key[1]} rows in {key[2]} are in "
                line += " and ".join(f"{name} ({number})" for name, number in repeated.items())
                line += f" too, {same} to the letter"
                nothing = count == len(rows) and task.name in study.own
                refuse(nothing, f"{study.path}: {line}: nothing is left to score; name a file of other rows")
                lines.append(f"{line}: leave them out")
            if part:
                known = dict.fromkeys(rows, part) | known
                exact.update(texts)
    return lines
