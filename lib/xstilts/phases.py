"""The three phases of a study: what each trains on, with which settings, and where it leaves its results.

The notebooks show the steps one by one; :func:`encoder`, :func:`intermediate` and :func:`targets` take them all. Each
looks first for finished work with the same fingerprint.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase as Tokenizer

from xstilts.errors import refuse
from xstilts.evaluation.metrics import score, task_metrics
from xstilts.evaluation.prediction import evaluate, predict, prediction_table
from xstilts.evaluation.ranking import rank
from xstilts.evaluation.retrieval import retrieve
from xstilts.features import encode, encode_text, in_no_window, label_names, learnable, with_shuffled_labels
from xstilts.io import digest, read_parts, read_record, write_parts, write_record, written_whole
from xstilts.names import BASELINES, NONE
from xstilts.runs import Fingerprints, Run, lacks_encoder, list_runs, remove_encoder, unscored
from xstilts.settings import PhaseSettings, Study
from xstilts.sources import Source, left_out, open_source
from xstilts.study import load_study
from xstilts.target_runs import TargetRun, evaluation_split, target_runs, training_sets
from xstilts.tasks import RETRIEVAL_KINDS, Task
from xstilts.training import dual_encoder, fine_tuning
from xstilts.training.batching import Batches, TrainingSet
from xstilts.training.callbacks import Saves
from xstilts.training.checkpoints import fetch
from xstilts.training.fine_tuning import HEADS, Development, SharedEncoder, check_precision
from xstilts.training.multi_gpu import exit_code, launch, launches
from xstilts.training.pretraining import pretrain

SHOWN = 20  # development examples whose predictions are kept in the record

transformers.logging.set_verbosity_error()  # a fresh head is no news
transformers.logging.disable_progress_bar()


def encoder(study: Study, source: Source, seed: int) -> dict:
    """Phase 1: the encoder of a seed in ``runs/<study>/encoder/seed<k>/checkpoint``; returns its record."""
    run, fingerprints = Run("encoder", seed), Fingerprints(study)
    folder, fingerprint = run.folder(study), fingerprints.of(run)
    record = read_record(folder / "training.json")
    if record.get("fingerprint") == fingerprint and not lacks_encoder(run, fingerprints):
        return record
    (folder / "training.json").unlink(missing_ok=True)  # before the checkpoint that it stands for changes
    if study.encoder.checkpoint:
        record = fetch(study, folder / "checkpoint")
    else:
        curves = folder / "tensorboard" if study.training.tensorboard else None
        saves = Saves(folder / "trainer", fingerprint, study.training.save_minutes, curves)
        record = pretrain(source.text(seed), folder / "checkpoint", study.encoder.pretrain, seed, saves)
    record = {"fingerprint": fingerprint, **record}
    write_record(folder / "training.json", record)
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    return record


def encoder_of(study: Study, intermediate: str, seed: int) -> Path:
    """Checkpoint folder of the encoder that an intermediate run left, or phase 1 where that is a baseline."""
    run = Run("encoder", seed) if intermediate in BASELINES else Run("intermediate", seed, intermediate)
    folder = run.folder(study) / "checkpoint"
    refuse(not folder.is_dir(), f"{folder}: does not exist yet; run {run.name} first (make study does)")
    return folder


@dataclass(frozen=True)
class Training:
    """One training of phase 2 or 3: what it trains on, with which settings, and where it is kept.

    ``parts``: (task, its training sets as (split, language)). ``retrieval``: a dual encoder, without a head.
    """

    study: Study
    source: Source
    run: Run
    fingerprints: Fingerprints
    parts: tuple[tuple[Task, tuple[tuple[str, str], ...]], ...]
    settings: PhaseSettings
    folder: Path
    fingerprint: str
    target_run: str = ""  # of phase 3
    mlm: bool = False
    shuffled: bool = False  # each label is that of another example
    retrieval: bool = False
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings, by hand

    def changed(self, **settings: Any) -> "Training":
        """The same training with other settings, such as ``learning_rate=3e-4``. It is kept in a folder of its own
        (``runs/<study>/trials``), so that no result of the study is made from it."""
        changes = self.changes | settings
        trial = digest([self.fingerprint, changes])
        valid = PhaseSettings.model_validate(self.settings.model_dump() | settings)
        folder = self.study.folder / "trials" / self.run.name / trial
        return replace(self, settings=valid, folder=folder, fingerprint=trial, changes=changes)

    def finished(self) -> dict | None:
        """Its record, if it was done with these settings, data and code."""
        record = read_record(self.folder / "training.json")
        same = record.get("fingerprint") == self.fingerprint
        return record if same and (self.changes or not lacks_encoder(self.run, self.fingerprints)) else None

    def launched(self) -> dict | None:
        """Train in the several processes that the study asks for (``training.processes``) and return the record; None
        where it asks for one, and in these processes themselves. A dual encoder compares the pairs of a batch, which
        therefore cannot be split."""
        check_precision(self.settings.precision)
        if not launches(self.study) or self.retrieval:
            return None
        refuse(self.changes, "training.processes: changed settings are tried in one process; set it to 1")
        launch(self.study, self.run.name, self.run.folder(self.study), self.settings.batch_size, self.target_run)
        return self.finished()

    def datasets(self, tokenizer: Tokenizer) -> list[TrainingSet]:
        """Encoded training sets, one of each task and, last, the text for masked LM where it is mixed in."""
        sets = [self._training_set(task, parts, tokenizer) for task, parts in self.parts]
        if self.mlm:
            text = self.source.text(self.run.seed).shuffle(self.run.seed, keep_in_memory=True)["text"]
            lengths, documents = self.study.training.max_length, self.study.training.mix.mlm_documents
            sets.append(TrainingSet("mlm", "text", encode_text(text[:documents], tokenizer, lengths.mlm)))
        return sets

    def _training_set(self, task: Task, sets: tuple[tuple[str, str], ...], tokenizer: Tokenizer) -> TrainingSet:
        """At most ``settings.examples`` rows of the sets together, drawn with the seed from those that something can be
        learned from."""
        examples, lengths = self.settings.examples, self.study.training.max_length
        parts, dropped = [], 0
        for number, (split, language) in enumerate(sets):
            part = self.source.load(task, split, language)
            dropped += left_out(part)
            usable = learnable(task, part)
            dropped += len(part) - len(usable)
            part = part if len(usable) == len(part) else part.select(usable)
            share = (examples or len(part) * len(sets)) // len(sets)
            shuffled = part.shuffle(seed=self.run.seed + number, keep_in_memory=True)
            parts.append(shuffled.select(range(min(share, len(part)))))
        dataset: Dataset = concatenate_datasets(parts)
        problem = f"{task.name}: no row of its training sets can be learned from ({dropped} dropped)"
        refuse(not len(dataset), problem)
        if self.retrieval:
            features = dual_encoder.features(task, dataset, tokenizer, lengths.retrieval)
            return TrainingSet(task.name, "dual", features, (), dropped)
        labels = label_names(task, dataset)
        features = encode(task, dataset, tokenizer, lengths, labels)
        rows = in_no_window(dataset, features) if task.kind == "span" else []
        answerable = sum(bool(answers["text"]) for answers in dataset["answers"][:]) if rows else 0
        languages = [language for (_, language), part in zip(sets, parts, strict=True) for _ in range(len(part))]
        lost = Counter(languages[row] for row in rows)
        counts = ", ".join(f"{count} in {language}" for language, count in lost.items())
        problem = f"{task.name}: no window holds the answer of {counts}, more than one in ten of {answerable}"
        refuse(len(rows) > answerable / 10, f"{problem}: raise max_length.span, or choose another encoder")
        if self.shuffled:
            features = with_shuffled_labels(features, self.run.seed)
        return TrainingSet(task.name, task.kind, features, tuple(labels), dropped, lost)

    def fine_tune(
        self, checkpoint: Path, tokenizer: Tokenizer, datasets: list[TrainingSet]
    ) -> tuple[SharedEncoder, dict]:
        """Train fresh heads and the encoder of ``checkpoint``, or go on where a killed training last saved; returns the
        model and its record (steps, tokens, loss, and selection where checkpoints are compared)."""
        (self.folder / "training.json").unlink(missing_ok=True)  # before what it stands for changes
        curves = self._beside("tensorboard") if self.study.training.tensorboard else None
        saves = Saves(self._beside("trainer"), self.fingerprint, self.study.training.save_minutes, curves)
        batches = Batches(datasets, self.settings, self.study.training.mix, self.run.seed)
        development, adapter = self._development(datasets, tokenizer), self.study.training.adapter
        return fine_tuning.fine_tune(checkpoint, batches, tokenizer, saves, development, adapter)

    def _beside(self, name: str) -> Path:
        """Folder of the checkpoints of a training, or of its curves: not in that of a target's model, which takes its
        name when all is written."""
        return self.run.folder(self.study) / name / self.folder.name if self.target_run else self.folder / name

    def save(self, model: SharedEncoder, tokenizer: Tokenizer, datasets: list[TrainingSet], record: dict) -> dict:
        """Save what the next step needs, the encoder of phase 2 or the model of a target, then the record, with scores
        and some predictions on the development sets of phase 2."""
        examples = {item.name: len(item.features) for item in datasets}
        dropped = {item.name: item.dropped for item in datasets if item.kind != "text"}
        lost = {item.name: item.lost for item in datasets if item.lost}
        record = {"fingerprint": self.fingerprint, **record, "examples": examples, "dropped": dropped, "lost": lost}
        if not PartialState().is_main_process:
            return record
        if self.run.phase == "intermediate":
            with written_whole(self.folder / "checkpoint") as aside:
                fine_tuning.save_encoder(model, tokenizer, aside)
            record |= {"dev": {}, "predictions": {}}
            for item in datasets:
                if item.kind != "text":
                    predictions, record["dev"][item.name] = self._score_dev(item, model, tokenizer)
                    record["predictions"][item.name] = [str(value) for value in predictions[:SHOWN]]
            write_record(self.folder / "training.json", record)
        else:
            with written_whole(self.folder) as aside:
                if self.retrieval:
                    fine_tuning.save_encoder(model, tokenizer, aside)
                else:
                    model.heads[datasets[0].name].save_pretrained(aside)
                write_record(aside / "training.json", record)
        shutil.rmtree(self._beside("trainer"), ignore_errors=True)
        return record

    def _development(self, datasets: list[TrainingSet], tokenizer: Tokenizer) -> Development | None:
        """What checkpoints are compared by: each task's score, as XTREME averages its metrics, on the first
        ``evaluate_examples`` of its development set in the source language. None where the last one is taken."""
        if not self.settings.evaluate_every:
            return None

        def scores(model: SharedEncoder) -> dict[str, float]:
            means = {}
            for item in datasets:
                if item.kind != "text":
                    _, values = self._score_dev(item, model, tokenizer, self.settings.evaluate_examples)
                    means[item.name] = mean(values[metric] for metric in task_metrics(self.study.task(item.name)))
            return means

        return scores

    def _score_dev(
        self, item: TrainingSet, model: SharedEncoder, tokenizer: Tokenizer, limit: int = 0
    ) -> tuple[list[Any], dict[str, float]]:
        """Predictions for the development rows in the source language, or the first ``limit`` of them, and metric ->
        percent."""
        task, language, lengths = self.study.task(item.name), self.study.source_language, self.study.training.max_length
        rows = self.source.load(task, "dev", language)
        rows = rows.select(range(min(limit or len(rows), len(rows))))
        head, labels = model.heads[task.name], list(item.labels)
        ((_, predictions),) = predict(head, task, {language: rows}, tokenizer, lengths, labels, self.settings.precision)
        return predictions, score(evaluate(task, rows, predictions, language)).iloc[0].to_dict()


def intermediate_training(study: Study, source: Source, name: str, seed: int) -> Training:
    """The training of an intermediate run in phase 2."""
    run, spec = Run("intermediate", seed, name), study.intermediate_run(name)
    tasks = [study.task(task) for task in spec.tasks]
    parts = tuple((task, tuple(training_sets(name, task, spec.languages, source))) for task in tasks)
    settings, fingerprints = study.phase("intermediate", name), Fingerprints(study)
    folder, fingerprint = run.folder(study), fingerprints.of(run)
    return Training(
        study, source, run, fingerprints, parts, settings, folder, fingerprint, mlm=spec.mlm,
        shuffled=spec.shuffled,
    )  # fmt: skip


def target_training(
    study: Study, source: Source, run: Run, target_run: TargetRun, fingerprints: Fingerprints
) -> Training:
    """The training of a target's model in phase 3, which targets with the same training set share."""
    sets = tuple(target_run.training_sets(study, source))
    parts, settings = ((study.training_task(target_run.task), sets),), target_run.phase(study, run.intermediate)
    folder, fingerprint = run.folder(study) / "models" / target_run.model(study), fingerprints.trained(run, target_run)
    return Training(
        study, source, run, fingerprints, parts, settings, folder, fingerprint, target_run.name,
        retrieval=target_run.retrieval,
    )  # fmt: skip


def load_tokenizer(checkpoint: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder."""
    return transformers.AutoTokenizer.from_pretrained(checkpoint)


def trained(training: Training, intermediate: str) -> dict:
    """The record of a training that starts from the encoder of an intermediate run: found, or trained now."""
    if (record := training.finished()) is not None:
        return record
    checkpoint = encoder_of(training.study, intermediate, training.run.seed)
    record = training.launched()
    if record is None:
        tokenizer = load_tokenizer(checkpoint)
        datasets = training.datasets(tokenizer)
        model, record = training.fine_tune(checkpoint, tokenizer, datasets)
        record = training.save(model, tokenizer, datasets, record)
    return record


def intermediate(study: Study, source: Source, name: str, seed: int) -> dict:
    """Phase 2: train one intermediate run, save its encoder, then score its tasks' development sets.

    Returns the record: steps, tokens, loss, selection (where checkpoints are compared), examples and dropped
    rows of each set, and dev, scores in the source language by task and metric.
    """
    return trained(intermediate_training(study, source, name, seed), NONE)


def train_part(study: Study, source: Source, name: str, target_run: str) -> None:
    """What a launched process does: its part of an intermediate run's training, or of that of a target run."""
    (run,) = (run for run in list_runs(study) if run.name == name)
    if run.phase == "intermediate":
        intermediate(study, source, run.intermediate, run.seed)
    else:
        (part,) = (part for part in target_runs(study, source, run.bundle) if part.name == target_run)
        trained(target_training(study, source, run, part, Fingerprints(study)), run.intermediate)


def targets(study: Study, source: Source, name: str, bundle: str, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Phase 3: (name, per-language scores) as each target run of the bundle is done.

    A training set shared by several targets (SQuAD by XQuAD and MLQA) is trained once. Statistics and
    predictions are written for each; one that is there with the right fingerprint is not done again. So is a
    record: that of the training (dropped: its unusable rows), and left_out, the unusable rows of each scored set.
    """
    run, fingerprints = Run("targets", seed, name, bundle), Fingerprints(study)
    folder, missing = run.folder(study), unscored(run, fingerprints)
    if missing:
        encoder_of(study, name, seed)  # UserError before anything is trained
    for target_run in target_runs(study, source, bundle):
        if target_run in missing:
            record, model = {}, encoder_of(study, name, seed)
            if not target_run.untrained:
                training = target_training(study, source, run, target_run, fingerprints)
                record, model = trained(training, name), training.folder
            score_target(study, source, run, target_run, model, record, fingerprints)
        yield target_run.name, pd.concat(map(score, read_parts(folder / target_run.name / "stats.parquet")))
    gather(study, source, run, fingerprints)


def score_target(
    study: Study, source: Source, run: Run, target_run: TargetRun, model: Path, record: dict, fingerprints: Fingerprints
) -> None:
    """Score a model, a checkpoint folder, in every language of a target run, and write statistics, predictions and,
    last, the record ``scored.json``. What was there of an earlier scoring, and the statistics of the whole bundle, are
    deleted first."""
    task, folder = target_run.task, run.folder(study) / target_run.name
    for path in (folder / "scored.json", run.folder(study) / "stats.parquet"):
        path.unlink(missing_ok=True)
    split, languages = evaluation_split(source, task), target_run.languages(study, source)
    parts: Iterator[tuple[pd.DataFrame, ...]]
    if task.kind in RETRIEVAL_KINDS:
        search = rank if task.kind == "ranking" else retrieve
        parts = search(task, source, languages, split, model, study, tuned=not target_run.untrained)
    else:
        data = {language: source.load(task, split, language) for language in languages}
        record = {**record, "left_out": {language: left_out(rows) for language, rows in data.items()}}
        tokenizer = load_tokenizer(encoder_of(study, run.intermediate, run.seed))
        parts = _scored(study, task, data, model, tokenizer, target_run.phase(study).precision)
    columns = {key: getattr(target_run, key) for key in ("target", "training_language", "examples")}
    tables = [folder / f"{name}.parquet" for name in ("stats", "predictions", "layers")]
    parts = ((stats.assign(cluster=stats.get("cluster", stats["id"])), *others) for stats, *others in parts)
    write_parts(((stats.assign(**columns), *others) for stats, *others in parts), tables)
    record = {**record, "fingerprint": fingerprints.target_run(run, target_run), "split": split}
    write_record(folder / "scored.json", record)


def _scored(
    study: Study, task: Task, data: dict[str, Dataset], checkpoint: Path, tokenizer: Tokenizer, precision: str = "fp32"
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Statistics and predictions of a fine-tuned model, language by language."""
    model = HEADS[task.kind].from_pretrained(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    for language, predictions in predict(model, task, data, tokenizer, study.training.max_length, labels, precision):
        rows = data[language]
        yield evaluate(task, rows, predictions, language), prediction_table(rows, predictions, language)


def gather(study: Study, source: Source, run: Run, fingerprints: Fingerprints) -> None:
    """When all target runs of a bundle are scored: one ``stats.parquet``, with the columns that say which run it was;
    then delete the models, and the encoder of phase 2, that the study does not keep."""
    folder = run.folder(study)
    columns: dict[str, Any] = {"study": study.shares or study.name}
    columns |= {"encoder": study.encoder.checkpoint or "pretrained", "intermediate": run.intermediate, "seed": run.seed}
    tables = [folder / target_run.name / "stats.parquet" for target_run in target_runs(study, source, run.bundle)]
    parts = ([part.assign(**columns)] for table in tables for part in read_parts(table))
    write_parts(parts, [folder / "stats.parquet"])
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    if study.keep != "all":
        shutil.rmtree(folder / "models", ignore_errors=True)
    if run.intermediate not in BASELINES:
        remove_encoder(Run("intermediate", run.seed, run.intermediate), fingerprints)


if __name__ == "__main__":  # a process that multi_gpu.launch started
    path, name, target_run = sys.argv[1:]
    study = load_study(path)
    sys.exit(exit_code(lambda: train_part(study, open_source(study), name, target_run)))
