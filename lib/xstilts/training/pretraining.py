"""Phase 1: a small XLM-RoBERTa pretrained from scratch by masked language modelling.

The loop is our own: logits are computed for masked positions only and batches are rectangular without
padding, neither of which ``transformers.Trainer`` does, and at this size both count (a third of the time).
The result is a plain Hugging Face checkpoint folder.
"""

import json
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import XLMRobertaForMaskedLM

from xstilts.errors import refuse
from xstilts.io import written_whole
from xstilts.progress import Progress
from xstilts.settings import PretrainSettings
from xstilts.training.callbacks import Saves, check_loss

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # in the order of XLM-R, mask excepted
PAD, UNK, MASK = 1, 3, 4
# A word; a suffix with its hyphen; a number; a single sign.
WORD_PIECES = Regex(r"-?[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{N}]")
CHUNK = 20_000  # documents tokenized at a time
STEP = 1e-4  # between the scores that the unigram trainer gives to characters it only has to have
COVERAGE = 0.9995  # of the text's characters get pieces, as in XLM-R's SentencePiece; the rarest are left to bytes


def train_tokenizer(texts: datasets.Dataset, settings: PretrainSettings) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer from the column ``text``. ``word``: every word and suffix of the text is a token;
    ``unigram``: sub-words with byte fall-back, so that no character of real text is lost. UserError where
    ``vocab_size`` has no room for the characters of the text."""
    batches: Iterable[list[str]] = (texts[i : i + CHUNK]["text"] for i in range(0, len(texts), CHUNK))
    if settings.tokenizer == "word":
        tokenizer = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
        splits = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(WORD_PIECES, "isolated")]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
        trainer = trainers.WordLevelTrainer(special_tokens=list(SPECIAL), vocab_size=1_000_000, show_progress=False)
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        batches = _without_rare(batches, settings.vocab_size)
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=settings.vocab_size - 256, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
        )
    tokenizer.train_from_iterator(batches, trainer)
    if settings.tokenizer == "unigram":
        _add_bytes(tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=settings.positions - 2, bos_token="<s>", eos_token="</s>",
        cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def _without_rare(batches: Iterable[list[str]], vocabulary: int) -> list[list[str]]:
    """The texts, normalised, with their rarest characters blanked out. UserError where a vocabulary of this size has no
    room for the others."""
    batches = [[unicodedata.normalize("NFKC", text) for text in batch] for batch in batches]
    counts = Counter(chain.from_iterable(chain.from_iterable(batches)))
    ranked = counts.most_common()
    covered = np.cumsum([count for _, count in ranked])
    frequent = int(np.searchsorted(covered, COVERAGE * covered[-1])) + 1
    characters = min(frequent, len(ranked))
    least = characters + 256 + len(SPECIAL)
    needed = f"the {characters} characters of the text, 256 bytes and {len(SPECIAL)} special tokens"
    problem = f"encoder.pretrain.vocab_size: {vocabulary} has no room for {needed}; make it {least} at least"
    refuse(least > vocabulary, f"{problem}, better some thousands more")
    rare = str.maketrans(dict.fromkeys((character for character, _ in ranked[frequent:]), " "))
    return [[text.translate(rare) for text in batch] for batch in batches]


def check_vocabulary(texts: datasets.Dataset, settings: PretrainSettings) -> None:
    """UserError where :func:`train_tokenizer` would end in one for the size of the vocabulary."""
    if settings.tokenizer == "unigram":
        _without_rare([texts["text"][:]], settings.vocab_size)


def _add_bytes(tokenizer: tokenizers.Tokenizer) -> None:
    """Give a trained unigram model its 256 bytes (which its trainer cannot), less likely than any piece."""
    pieces = _settled([tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]])
    lowest = min(score for _, score in pieces)
    pieces += [(f"<0x{byte:02X}>", lowest - 10) for byte in range(256)]
    tokenizer.model = models.Unigram(pieces, unk_id=UNK, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The pieces as every process has them. The trainer adds up in a new order each time: scores differ in their last
    digits, equal pieces change places, and characters that are there because they must be get the lowest scores, a
    step apart, in any order (here all get the lowest)."""
    special, pieces = pieces[: len(SPECIAL)], [(piece, round(score, 6)) for piece, score in pieces[len(SPECIAL) :]]
    lowest = min(score for _, score in pieces)
    steps = {piece: round((score - lowest) / STEP, 2) for piece, score in pieces if len(piece) == 1}
    last = next(step for step in count() if step not in steps.values())
    scores = dict(pieces) | {piece: lowest for piece, step in steps.items() if step < last and step % 1 == 0}
    return special + sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def encode(texts: datasets.Dataset, tokenizer: transformers.PreTrainedTokenizerFast) -> list[np.ndarray]:
    """Token ids of every document with <s> and </s>; one longer than the model's inputs becomes several
    rows: nothing is dropped."""
    room = tokenizer.model_max_length - 2
    rows = []
    for start in range(0, len(texts), CHUNK):
        batch = tokenizer(texts[start : start + CHUNK]["text"], add_special_tokens=False, verbose=False)
        for ids in batch["input_ids"]:
            rows += [np.array([0, *ids[cut : cut + room], 2]) for cut in range(0, len(ids), room)]
    return rows


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


def new_model(vocabulary: int, settings: PretrainSettings) -> XLMRobertaForMaskedLM:
    """An untrained XLM-RoBERTa of the size asked for: no dropout, tied embeddings."""
    config = transformers.XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=settings.width, num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads, intermediate_size=settings.feed_forward,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=settings.initializer_range,
        max_position_embeddings=settings.positions, type_vocab_size=1, layer_norm_eps=1e-5,
        bos_token_id=0, pad_token_id=PAD, eos_token_id=2,
    )  # fmt: skip
    return XLMRobertaForMaskedLM(config)


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
    model = new_model(len(tokenizer), settings)
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
