"""Checkpoint in -> fresh heads on one shared encoder -> Trainer -> checkpoint out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer, TrainingArguments

from .features import IGNORED, Feature, collate, mask_tokens, size
from .runs import written_whole
from .study import MixSettings, PhaseSettings

HEADS = {
    "classification": transformers.AutoModelForSequenceClassification,
    "choice": transformers.AutoModelForMultipleChoice,
    "tagging": transformers.AutoModelForTokenClassification,
    "span": transformers.AutoModelForQuestionAnswering,
    "text": transformers.AutoModelForMaskedLM,
}
POOL = 50  # batches sorted by length together: long enough to waste no padding, short enough to stay random


@dataclass(frozen=True)
class TrainingSet:
    """Features of one task; ``kind`` is the task's or "text" (masked LM), ``labels`` in head order."""

    name: str
    kind: str
    features: list[Feature]
    labels: tuple[str, ...] = ()


class SharedEncoder(torch.nn.Module):
    """One encoder under one fresh head per task; a batch names its task."""

    def __init__(self, checkpoint: Path | str, sets: list[TrainingSet], freeze_embeddings: bool):
        super().__init__()
        self.heads = torch.nn.ModuleDict()
        self.kinds = {item.name: item.kind for item in sets}
        for item in sets:
            # said for every head: a checkpoint's configuration may remember another head's labels
            names = dict(enumerate(item.labels)) or {0: "start", 1: "end"}
            options = {"id2label": names, "label2id": {label: index for index, label in names.items()}}
            self.heads[item.name] = HEADS[item.kind].from_pretrained(checkpoint, **options)
        # some heads read the encoder's pooler (BERT's of pairs, XLM-R's of choices), and only theirs is built with one
        pooled = [item.name for item in sets if getattr(self.heads[item.name].base_model, "pooler", None) is not None]
        owner = (pooled or [sets[0].name])[0]
        self.encoder = self.heads[owner].base_model
        for item in sets:
            head = self.heads[item.name]
            setattr(head, head.base_model_prefix, self.encoder)
            head.tie_weights()
        if freeze_embeddings:
            self.encoder.embeddings.requires_grad_(False)

    def forward(self, task: str, **inputs):
        head = self.heads[task]
        return self._masked_lm(head, **inputs) if self.kinds[task] == "text" else head(**inputs)

    def _masked_lm(self, head, labels, **inputs):
        """Loss at masked positions only: a 250k vocabulary's logits for every position would not fit."""
        hidden = self.encoder(**inputs).last_hidden_state
        masked = labels != IGNORED
        decoder = next(child for name, child in head.named_children() if name != head.base_model_prefix)
        return {"loss": torch.nn.functional.cross_entropy(decoder(hidden[masked]), labels[masked])}


class Examples(Dataset):
    """All sets as one; an item is asked for by (set, row, step)."""

    def __init__(self, sets: list[TrainingSet]):
        self.sets = sets

    def __len__(self) -> int:
        return sum(len(item.features) for item in self.sets)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, int, Feature]:
        number, row, step = key
        return number, step, self.sets[number].features[row]


class Batches(Sampler):
    """Homogeneous-task batches of like length, in an order fixed by the seed.

    Tasks are drawn in proportion to min(examples, cap)^(1/temperature) (Raffel et al. 2020); masked-LM
    text, where present, takes its stated share of the steps at even intervals.
    """

    def __init__(self, sets: list[TrainingSet], phase: PhaseSettings, mix: MixSettings, steps: int, seed: int):
        self.sets, self.batch_size, self.steps = sets, phase.batch_size, steps
        self.seed = seed
        self.tasks = [number for number, item in enumerate(sets) if item.kind != "text"]
        self.text = next((number for number, item in enumerate(sets) if item.kind == "text"), None)
        weights = np.array([min(len(sets[number].features), mix.cap) ** (1 / mix.temperature) for number in self.tasks])
        self.shares = weights / weights.sum()
        self.mlm_share = mix.mlm_share

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        rng = np.random.default_rng(self.seed)
        streams = [
            self._stream(item, np.random.default_rng((self.seed, number))) for number, item in enumerate(self.sets)
        ]
        for step in range(self.steps):
            due = self.text is not None and int((step + 1) * self.mlm_share) > int(step * self.mlm_share)
            number = self.text if due else int(rng.choice(self.tasks, p=self.shares))
            yield [(number, row, step) for row in next(streams[number])]

    def _stream(self, item: TrainingSet, rng: np.random.Generator) -> Iterator[list[int]]:
        sizes = [size(feature) for feature in item.features]
        while True:
            order = rng.permutation(len(sizes)).tolist()
            for start in range(0, len(order), POOL * self.batch_size):
                pool = sorted(order[start : start + POOL * self.batch_size], key=lambda row: sizes[row])
                batches = [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
                yield from (batches[i] for i in rng.permutation(len(batches)))


class MixtureTrainer(Trainer):
    """transformers' Trainer with our batches."""

    def __init__(self, batches: Batches, tokenizer, mlm_probability: float, **options):
        super().__init__(train_dataset=Examples(batches.sets), **options)
        self.batches, self.tokenizer, self.mlm_probability = batches, tokenizer, mlm_probability
        self.model_accepts_loss_kwargs = False  # heads average their loss over the batch themselves
        self.tokens = 0

    def get_train_dataloader(self) -> DataLoader:
        return self.accelerator.prepare(
            DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self._collate)
        )

    def _collate(self, items: list[tuple[int, int, Feature]]) -> dict:
        number, step, _ = items[0]
        batch = collate([feature for _, _, feature in items], self.tokenizer.pad_token_id)
        self.tokens += int(batch["attention_mask"].sum())
        chosen = self.batches.sets[number]
        if chosen.kind == "text":  # seeded by the step, so that a resumed run masks the same tokens
            generator = torch.Generator().manual_seed(self.batches.seed * 1_000_003 + step)
            batch = mask_tokens(batch, self.tokenizer, self.mlm_probability, generator)
        return {"task": chosen.name, **batch}


def fine_tune(
    checkpoint: Path | str,
    sets: list[TrainingSet],
    tokenizer,
    phase: PhaseSettings,
    mix: MixSettings,
    seed: int,
    folder: Path,
) -> tuple[SharedEncoder, dict]:
    """Train fresh heads and the encoder of ``checkpoint`` on ``sets``; Trainer's files go to ``folder``.

    Returns the model and a record: steps, tokens seen, and the loss every tenth of the way.
    """
    transformers.set_seed(seed)
    model = SharedEncoder(checkpoint, sets, phase.freeze_embeddings)
    examples = sum(min(len(item.features), mix.cap) for item in sets if item.kind != "text")
    steps = phase.steps or math.ceil(phase.epochs * examples / phase.batch_size)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=phase.batch_size,
        learning_rate=phase.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(steps * phase.warmup),
        weight_decay=phase.weight_decay,
        optim="adamw_torch_fused",
        logging_steps=max(1, steps // 10),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )
    trainer = MixtureTrainer(
        Batches(sets, phase, mix, steps, seed), tokenizer, mix.mlm_probability, model=model, args=arguments
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    trainer.train()
    losses = [{"step": entry["step"], "loss": entry["loss"]} for entry in trainer.state.log_history if "loss" in entry]
    return model, {"steps": steps, "tokens": trainer.tokens, "loss": losses}


def save_encoder(model: SharedEncoder, tokenizer, folder: Path) -> None:
    """The bare encoder as a plain checkpoint folder. The pooler belongs to the heads and stays behind."""
    state = {name: tensor for name, tensor in model.encoder.state_dict().items() if not name.startswith("pooler.")}
    with written_whole(folder) as aside:
        model.encoder.save_pretrained(aside, state_dict=state)
        tokenizer.save_pretrained(aside)
