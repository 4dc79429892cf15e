"""Toy tokenizers and checkpoints, trained on the spot, for tests that need no world."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from xstilts.settings import MixSettings
from xstilts.training.batching import Batches
from xstilts.training.callbacks import Saves
from xstilts.training.fine_tuning import fine_tune

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1,
}  # fmt: skip
TEXT = [
    "The Panthers defense gave up just 308 points, ranking sixth in the league.",
    "卡罗来纳黑豹队的防守只丢了 308分,在联赛中排名第六。",
    "ทีมแพนเธอร์สเสียแต้มเพียง 308 แต้ม",
    "Die Verteidigung der Panthers gab nur 308 Punkte ab.",
]


def build_tokenizer(family: str, text=TEXT) -> PreTrainedTokenizerFast:
    """A tokenizer of one family: "unigram", "wordpiece" or "bytelevel"."""
    special = list(SPECIAL.values())
    if family == "unigram":
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>")
    elif family == "wordpiece":
        core = Tokenizer(models.WordPiece(unk_token="<unk>"))
        core.normalizer = normalizers.BertNormalizer(lowercase=False)
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    else:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    core.train_from_iterator(text, trainer)
    ids = [(name, core.token_to_id(name)) for name in ("<s>", "</s>")]
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=ids
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL)


def build_checkpoint(folder: Path, text=TEXT) -> Path:
    """A random two-layer XLM-R with a word-piece tokenizer, as a checkpoint folder."""
    tokenizer = build_tokenizer("wordpiece", text)
    torch.manual_seed(0)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = SIZES | {"vocab_size": len(tokenizer), "max_position_embeddings": 514, "type_vocab_size": 1}
    config = XLMRobertaConfig(**sizes, **ids)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tune(
    checkpoint: Path, sets: list, tokenizer, folder: Path, phase, development=None, seed=1, adapter=None, **saves: Any
) -> tuple[torch.nn.Module, dict]:
    """Fine-tune, with checkpoints every 15 minutes."""
    saves = Saves(folder, **({"fingerprint": "a", "minutes": 15} | saves))
    return fine_tune(checkpoint, Batches(sets, phase, MixSettings(), seed), tokenizer, saves, development, adapter)


def placeholder(folder: Path) -> Path:
    """What looks like a checkpoint, for studies whose encoder nothing loads."""
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


def joined(tables: Iterable[tuple[pd.DataFrame, ...]]) -> list[pd.DataFrame]:
    """What retrieval yields language by language, as whole tables."""
    return [pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True)]
