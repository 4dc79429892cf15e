"""Phase 1: a small XLM-RoBERTa pretrained from scratch by masked language modelling.

The loop is our own: logits are computed for masked positions only and batches are rectangular without
padding, neither of which ``transformers.Trainer`` does, and at this size both count (a third of the time).
The result is a plain Hugging Face checkpoint folder.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from transformers import XLMRobertaForMaskedLM

from xstilts.io import written_whole
from xstilts.progress import Progress
from xstilts.settings import PretrainSettings
from xstilts.training.callbacks import Saves, check_loss
from xstilts.training.tokenizer import MASK, SPECIAL, encode, new_config, train_tokenizer


def batches(rows: list[np.ndarray], budget: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """For ever: arrays (n, length) of documents of one exact length, about ``budget`` tokens each,
    every document once per epoch, in random order."""
    lengths = sorted({len(row) for row in rows})
    stacks = [np.stack([row for row in rows if len(row) == length]) for length in lengths]
    while True:
        plan = []
        for length, stack in zip(lengths, stacks, strict=True):
            order, size = rng.permutation(len(stack)), max(1, budget // length)
            plan += [(stack, order[i : i + size]) for i in range(0, len(order), size)]
        for i in rng.permutation(len(plan)):
            stack, members = plan[i]
            yield stack[members]


def mask_weights(rows: list[np.ndarray], vocabulary: int, share: float) -> np.ndarray:
    """Probability that a token of each type is masked: falls with the square root of its frequency, at
    most 2.5 times the mean, so that function words do not use up the signal; special tokens never."""
    counts = np.bincount(np.concatenate(rows), minlength=vocabulary).astype(float)
    counts[list(range(len(SPECIAL)))] = 0
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0)
    for _ in range(5):  # capping lowers the mean; a few rounds settle it
        mean = (weights * counts).sum() / max(counts.sum(), 1)
        weights = np.minimum(weights, 2.5 * mean)
    return np.minimum(share * weights / max((weights * counts).sum() / max(counts.sum(), 1), 1e-12), 0.9)


def mask(
    batch: np.ndarray, weights: np.ndarray, vocabulary: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, chosen): 80 % of the chosen positions masked, 10 % another token, 10 % as they were."""
    chosen = rng.random(batch.shape) < weights[batch]
    fate = rng.random(batch.shape)
    inputs = np.where(chosen & (fate < 0.8), MASK, batch)
    random_tokens = rng.integers(len(SPECIAL), vocabulary, batch.shape)
    return np.where(chosen & (fate >= 0.9), random_tokens, inputs), chosen


def train(
    model: XLMRobertaForMaskedLM, rows: list[np.ndarray], settings: PretrainSettings, seed: int, saves: Saves
) -> dict:
    """Masked language modelling for ``settings.steps`` steps, from the last checkpoint among ``saves`` where there
    is one; returns tokens and loss history."""
    vocabulary, rng = model.config.vocab_size, np.random.default_rng(seed)
    weights = mask_weights(rows, vocabulary, settings.mask_share)
    options: dict[str, Any] = {"lr": settings.learning_rate, "betas": (0.9, 0.98), "weight_decay": 0.01, "fused": True}
    optimizer = torch.optim.AdamW(model.parameters(), **options)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, settings.warmup_steps, settings.steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    model.train()
    tokens, losses, history = 0, [], []
    stream = batches(rows, settings.batch_tokens, rng)
    step = resumed = 0
    if last := saves.last():
        state = torch.load(last / "state.pt", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        resumed, tokens, losses, history = (state[name] for name in ("step", "tokens", "losses", "history"))
    writer = saves.writer(last)
    with saves, Progress("pretraining", settings.steps, "steps") as bar:
        bar.start(resumed)
        while step < settings.steps:
            batch = next(stream)
            inputs, chosen = mask(batch, weights, vocabulary, rng)
            if not chosen.any():
                continue
            step += 1
            if step <= resumed:  # drawn again: the stream and its random numbers are where they were, in a few seconds
                continue
            hidden = model.roberta(torch.from_numpy(inputs)).last_hidden_state
            masked = torch.from_numpy(chosen)
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[masked]), torch.from_numpy(batch)[masked])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += batch.size
            losses.append(loss.detach())
            bar.to(step)
            if step % settings.log_every == 0 or step == settings.steps:
                mean = torch.stack(losses).mean().item()
                check_loss(mean, step, settings.learning_rate)
                history.append({"step": step, "loss": mean})
                bar.to(step, f"loss {mean:.3f}")
                if writer:
                    writer.add_scalar("train/loss", mean, step)
                    writer.flush()
                losses = []
            if saves.due():
                state = {"step": step, "tokens": tokens, "losses": losses, "history": history}
                state |= {name: part.state_dict() for name, part in parts.items()}
                saves.checkpoint(step).mkdir(parents=True)
                torch.save(state, saves.checkpoint(step) / "state.pt")
                saves.complete(step)
                if saves.stop:
                    raise saves.stopped(step)
    return {"tokens": tokens, "loss": history} | ({"resumed": resumed} if resumed else {})


def pretrain(texts: datasets.Dataset, folder: Path, settings: PretrainSettings, seed: int, saves: Saves) -> dict:
    """Write a pretrained encoder to ``folder`` (whole or not at all) and return how it came to be:
    steps, tokens, vocabulary, parameters, seconds and the loss history. ``texts`` has the column text. A training that
    was killed goes on from the last checkpoint among ``saves``.

    With ``steps: 0`` the encoder is left as initialised: the untrained control. The same seed and number
    of threads give the same weights.
    """
    started = time.perf_counter()
    tokenizer = train_tokenizer(texts, settings)
    transformers.set_seed(seed)
    model = XLMRobertaForMaskedLM(new_config(len(tokenizer), settings))
    result = {"tokens": 0, "loss": []}
    if settings.steps:
        result = train(model, encode(texts, tokenizer), settings, seed, saves)
    with written_whole(folder) as aside:
        model.eval().save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    return {
        "steps": settings.steps, **result, "documents": len(texts), "vocabulary": len(tokenizer),
        "parameters": model.num_parameters(), "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
