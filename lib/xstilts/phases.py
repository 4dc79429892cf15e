"""The three phases as the notebooks call them. Each looks for its own finished, fingerprinted work first."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import pandas as pd
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets

from xstilts.errors import UserError
from xstilts.evaluation.metrics import score, task_metrics
from xstilts.evaluation.prediction import evaluate, predict, prediction_table
from xstilts.evaluation.ranking import rank
from xstilts.evaluation.retrieval import retrieve
from xstilts.features import encode, encode_text, label_names, learnable
from xstilts.io import read_parts, read_record, write_parts, write_record, written_whole
from xstilts.names import NONE
from xstilts.runs import Fingerprints, Run, lacks_encoder, list_runs, remove_encoder, unscored
from xstilts.sources import Source, left_out
from xstilts.study import PhaseSettings, Study
from xstilts.target_runs import TargetRun, evaluation_split, target_runs, training_sets
from xstilts.tasks import RETRIEVAL_KINDS, TRANSLATED, Task
from xstilts.training import dual_encoder as dual
from xstilts.training.batching import TrainingSet
from xstilts.training.callbacks import Saves
from xstilts.training.checkpoints import fetch
from xstilts.training.fine_tuning import HEADS, Development, SharedEncoder, check_precision, fine_tune, save_encoder
from xstilts.training.multi_gpu import launch, launches
from xstilts.training.pretraining import pretrain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

transformers.logging.set_verbosity_error()  # a fresh head is no news here
transformers.logging.disable_progress_bar()


def encoder(study: Study, source: Source, seed: int) -> dict:
    """Phase 1: the encoder of a seed in ``runs/<study>/encoder/seed<k>/checkpoint``; returns its record."""
    run = Run("encoder", seed)
    folder, fingerprints = run.folder(study), Fingerprints(study)
    fingerprint = fingerprints.of(run)
    record = read_record(folder / "training.json")
    if record.get("fingerprint") == fingerprint and not lacks_encoder(run, fingerprints):
        return record
    (folder / "training.json").unlink(missing_ok=True)  # before the checkpoint that it stands for changes
    if study.encoder.checkpoint:
        record = fetch(study, folder / "checkpoint")
    else:
        saves = _saves(study, folder / "trainer", fingerprint)
        threads = torch.get_num_threads()
        place, settings, curves = folder / "checkpoint", study.encoder.pretrain, _curves(study, folder)
        record = pretrain(source.text(seed), place, settings, seed, threads, saves, curves)
    record = {"fingerprint": fingerprint, **record}
    write_record(folder / "training.json", record)
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    return record


def _saves(study: Study, folder: Path, fingerprint: str) -> Saves:
    """Where a training keeps the checkpoint to go on from, if it is killed."""
    return Saves(folder, fingerprint, study.training.save_minutes)


def _curves(study: Study, folder: Path, name: str = "") -> Path | None:
    """Where the event files of a training in this folder go, if the study asks for them."""
    return folder / "tensorboard" / name if study.training.tensorboard else None


def train(study: Study, source: Source, name: str, tuning: str) -> None:
    """What a launched process does: its part of an intermediate run's training, or of one of a bundle's."""
    (run,) = (one for one in list_runs(study) if one.name == name)
    if run.phase == "intermediate":
        intermediate(study, source, run.intermediate, run.seed)
    else:
        (one,) = (one for one in target_runs(study, source, run.bundle) if one.name == tuning)
        _fine_tuned(study, source, run, one, Fingerprints(study))


def encoder_of(study: Study, intermediate: str, seed: int) -> Path:
    """Checkpoint folder that phase 3 starts from."""
    before = Run("encoder", seed) if intermediate == NONE else Run("intermediate", seed, intermediate)
    folder = before.folder(study) / "checkpoint"
    if not folder.is_dir():
        raise UserError(f"{folder}: not there yet; run {before.name} first (make study does)")
    return folder


def intermediate(study: Study, source: Source, name: str, seed: int) -> dict:
    """Phase 2: train one intermediate run, save its encoder, then score its tasks' development sets.

    Returns the record: steps, tokens, loss, selection (where checkpoints are compared), examples and dropped
    rows of each set, and dev, scores in the source language by task and metric.
    """
    run = Run("intermediate", seed, name)
    folder = run.folder(study)
    fingerprints = Fingerprints(study)
    record = read_record(folder / "training.json")
    if record.get("fingerprint") == fingerprints.of(run) and not lacks_encoder(run, fingerprints):
        return record
    parsed = study.intermediate_run(name)
    start = encoder_of(study, NONE, seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(start)
    phase = study.phase("intermediate", name)
    check_precision(phase.precision)
    if launches(study):
        launch(study, run, phase.batch_size)
        return read_record(folder / "training.json")
    sets = []
    for task in map(study.task, parsed.tasks):
        parts = training_sets(name, task, parsed.languages, source)
        sets.append(_training_set(study, source, task, parts, phase.examples, seed, tokenizer))
    development = _development(study, source, sets, phase, tokenizer)
    if parsed.mlm:
        texts = source.text(seed).shuffle(seed, keep_in_memory=True)["text"][: study.training.mix.mlm_documents]
        text = TrainingSet("mlm", "text", encode_text(texts, tokenizer, study.training.max_length.mlm))
        sets = [*sets, text]  # a list of its own: masked LM has no part in choosing a checkpoint
    (folder / "training.json").unlink(missing_ok=True)  # before the checkpoint that it stands for changes
    trainer = folder / "trainer"
    saves, curves, mix = _saves(study, trainer, fingerprints.of(run)), _curves(study, folder), study.training.mix
    model, record = fine_tune(start, sets, tokenizer, phase, mix, seed, trainer, development, saves, curves)
    if not PartialState().is_main_process:
        return record
    save_encoder(model, tokenizer, folder / "checkpoint")
    trained = [item for item in sets if item.kind != "text"]
    dev = {item.name: source.load(study.task(item.name), "dev", study.source_language) for item in trained}
    record = {
        "fingerprint": fingerprints.of(run),
        **record,
        "examples": {item.name: len(item.features) for item in sets},
        "dropped": {item.name: item.dropped for item in trained},
        "dev": {item.name: _dev_scores(study, item, dev[item.name], model, tokenizer) for item in trained},
    }
    write_record(folder / "training.json", record)
    shutil.rmtree(trainer, ignore_errors=True)
    return record


def _training_set(
    study: Study,
    source: Source,
    task: Task,
    asked: list[tuple[str, str]],
    examples: int,
    seed: int,
    tokenizer: "PreTrainedTokenizerBase",
    retrieval: bool = False,
) -> TrainingSet:
    """The training sets ``asked`` for, as (split, language): together at most ``examples`` rows, drawn with the
    seed from those that something can be learned from. ``retrieval``: for a dual encoder."""
    parts, dropped = [], 0
    for number, (split, language) in enumerate(asked):
        part = source.load(task, split, language)
        dropped += left_out(part)
        if split == TRANSLATED:  # other sets were checked when they were read
            whole = len(part)
            part = part.select(learnable(task, part))
            dropped += whole - len(part)
        share = (examples or len(part) * len(asked)) // len(asked)
        parts.append(part.shuffle(seed=seed + number, keep_in_memory=True).select(range(min(share, len(part)))))
    dataset: Dataset = concatenate_datasets(parts)
    if not len(dataset):
        raise UserError(f"{task.name}: no row of its translated training sets can be learned from ({dropped} dropped)")
    if retrieval:
        features = dual.features(task, dataset, tokenizer, study.training.max_length.retrieval)
        return TrainingSet(task.name, "dual", features, (), dropped)
    labels = label_names(task, dataset)
    features = encode(task, dataset, tokenizer, study.training.max_length, labels)
    return TrainingSet(task.name, task.kind, features, tuple(labels), dropped)


def _development(
    study: Study, source: Source, sets: list[TrainingSet], phase: PhaseSettings, tokenizer: "PreTrainedTokenizerBase"
) -> Development | None:
    """What checkpoints are compared by: each task's score, as XTREME averages its metrics, on the first
    ``evaluate_examples`` of its development set in the source language. None where the last one is taken."""
    if not phase.evaluate_every:
        return None
    data = {}
    for item in sets:
        rows = source.load(study.task(item.name), "dev", study.source_language)
        data[item.name] = rows.select(range(min(phase.evaluate_examples or len(rows), len(rows))))

    def scores(model: SharedEncoder) -> dict[str, float]:
        found = {item.name: _dev_scores(study, item, data[item.name], model, tokenizer) for item in sets}
        return {name: mean(found[name][metric] for metric in task_metrics(study.task(name))) for name in found}

    return scores


def _dev_scores(
    study: Study, item: TrainingSet, rows: Dataset, model: SharedEncoder, tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, float]:
    """Metric -> percent on development rows in the source language."""
    task, data = study.task(item.name), {study.source_language: rows}
    found = dict(predict(model.heads[task.name], task, data, tokenizer, study.training.max_length, list(item.labels)))
    return score(evaluate(task, data, found)).iloc[0].to_dict()


def targets(study: Study, source: Source, name: str, bundle: str, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Phase 3: (name, per-language scores) as each target, or further training, of the bundle is done.

    A training set shared by several targets (SQuAD by XQuAD and MLQA) is trained once. Statistics and
    predictions are written for each; one that is there with the right fingerprint is not done again. So is a
    record: that of the training (dropped: its rows beyond use), and left_out, rows beyond use of each scored set.
    """
    run = Run("targets", seed, name, bundle)
    folder = run.folder(study)
    fingerprints = Fingerprints(study)
    waiting = unscored(run, fingerprints)
    if waiting:  # else the encoder may have been removed
        (folder / "stats.parquet").unlink(missing_ok=True)
        start = encoder_of(study, name, seed)
        tokenizer = transformers.AutoTokenizer.from_pretrained(start)
    for tuning in target_runs(study, source, bundle):
        place = folder / tuning.name
        if tuning in waiting:
            (place / "scored.json").unlink(missing_ok=True)  # before the results that it stands for change
            task = tuning.task
            split, languages = evaluation_split(source, task), tuning.languages(study, source)
            trained, record = _model_folder(study, run, tuning), {}
            if not tuning.untrained:
                record = _fine_tuned(study, source, run, tuning, fingerprints)
            parts: Iterator[tuple[pd.DataFrame, ...]]
            if task.kind in RETRIEVAL_KINDS:
                find, encoder = rank if task.kind == "ranking" else retrieve, start if tuning.untrained else trained
                parts = find(task, source, languages, split, encoder, study, tuned=not tuning.untrained)
            else:
                data = {language: source.load(task, split, language) for language in languages}
                record = {**record, "left_out": {language: left_out(rows) for language, rows in data.items()}}
                parts = _scored(study, task, data, trained, tokenizer)
            columns = {name: getattr(tuning, name) for name in ("target", "training_language", "examples")}
            tables = [place / f"{name}.parquet" for name in ("stats", "predictions", "layers")]
            write_parts(((stats.assign(**columns), *others) for stats, *others in parts), tables)
            record = {**record, "fingerprint": fingerprints.tuning(run, tuning), "split": split}
            write_record(place / "scored.json", record)
        yield tuning.name, pd.concat(map(score, read_parts(place / "stats.parquet")))
    _gather(study, run, [folder / tuning.name for tuning in target_runs(study, source, bundle)])
    if study.keep != "all":
        shutil.rmtree(folder / "models", ignore_errors=True)
    if name != NONE:
        remove_encoder(Run("intermediate", seed, name), fingerprints)


def _scored(
    study: Study, task: Task, data: dict[str, Dataset], checkpoint: Path, tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Statistics and predictions of a fine-tuned model, language by language."""
    model = HEADS[task.kind].from_pretrained(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    for language, found in predict(model, task, data, tokenizer, study.training.max_length, labels):
        rows, predictions = {language: data[language]}, {language: found}
        yield evaluate(task, rows, predictions), prediction_table(rows, predictions)


def _model_folder(study: Study, run: Run, tuning: TargetRun) -> Path:
    return run.folder(study) / "models" / tuning.model(study)


def _fine_tuned(study: Study, source: Source, run: Run, tuning: TargetRun, fingerprints: Fingerprints) -> dict:
    """Train the model of a training of phase 3 and return its record. It is saved before anything is scored, and
    found again by the next target with the same training set."""
    folder, fingerprint = _model_folder(study, run, tuning), fingerprints.trained(run, tuning)
    record, task = read_record(folder / "training.json"), study.training_task(tuning.task)
    if record.get("fingerprint") == fingerprint:
        return record
    phase, seed = tuning.phase(study), run.seed
    check_precision(phase.precision)
    retrieval = tuning.task.kind in RETRIEVAL_KINDS
    if launches(study) and not retrieval:  # a dual encoder tells apart what is in a batch: it cannot be parted
        launch(study, run, phase.batch_size, tuning.name)
        return read_record(folder / "training.json")
    start = encoder_of(study, run.intermediate, seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(start)
    sets = tuning.training_sets(study, source)
    item = _training_set(study, source, task, sets, phase.examples, seed, tokenizer, retrieval)
    development = _development(study, source, [item], phase, tokenizer)
    trainer = folder.with_name(f"{folder.name}.trainer")
    saves, mix = _saves(study, trainer, fingerprint), study.training.mix
    curves = _curves(study, run.folder(study), folder.name)
    model, record = fine_tune(start, [item], tokenizer, phase, mix, seed, trainer, development, saves, curves)
    counts = {"examples": {item.name: len(item.features)}, "dropped": {item.name: item.dropped}}
    record = {"fingerprint": fingerprint, **record, **counts}
    if PartialState().is_main_process:
        with written_whole(folder) as aside:
            model.heads[task.name].save_pretrained(aside)
            if retrieval:
                tokenizer.save_pretrained(aside)
            write_record(aside / "training.json", record)
        shutil.rmtree(trainer, ignore_errors=True)
    return record


def _gather(study: Study, run: Run, places: list[Path]) -> None:
    """One ``stats.parquet`` for the run, with the columns that say which run it was."""
    columns = {
        "study": study.shares or study.name,
        "encoder": study.encoder.checkpoint or "pretrained",
        "intermediate": run.intermediate,
        "seed": run.seed,
    }
    parts = ([part.assign(**columns)] for place in places for part in read_parts(place / "stats.parquet"))
    write_parts(parts, [run.folder(study) / "stats.parquet"])
