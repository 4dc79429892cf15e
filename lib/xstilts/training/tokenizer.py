"""The tokenizer of an encoder that a study pretrains, and the encoder's configuration: what a plan needs of phase 1."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import chain, count

import datasets
import numpy as np
import tokenizers
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from xstilts.errors import refuse
from xstilts.settings import PretrainSettings

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


def new_config(vocabulary: int, settings: PretrainSettings) -> transformers.XLMRobertaConfig:
    """Of an XLM-RoBERTa of the size asked for: no dropout, tied embeddings."""
    return transformers.XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=settings.width, num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads, intermediate_size=settings.feed_forward,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=settings.initializer_range,
        max_position_embeddings=settings.positions, type_vocab_size=1, layer_norm_eps=1e-5,
        bos_token_id=0, pad_token_id=PAD, eos_token_id=2,
    )  # fmt: skip
