"""What a study may set about the generated world and about pretraining.

Only pydantic is imported: a study is validated before anything heavy is loaded.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LANGUAGE_CODES = ("qaa", "qab", "qac", "qad", "qae", "qaf", "qag", "qah")  # the source language first


class Sizes(BaseModel):
    """Examples per set; of a mining set: sentences per side; of a parallel set: pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    train: int = Field(6000, ge=1)
    dev: int = Field(200, ge=1)
    test: int = Field(400, ge=1)


class MicroSettings(BaseModel):
    """The generated world. Everything it yields is a function of these fields and of the code."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    languages: tuple[str, ...] = Field(LANGUAGE_CODES, description="source language first")
    world_seed: int = Field(0, description="words of the languages, facts of the world, examples of every set")
    classification: Sizes = Sizes()
    choice: Sizes = Sizes()
    tagging: Sizes = Sizes()
    span: Sizes = Sizes()
    parallel: Sizes = Sizes()
    mining: Sizes = Sizes()
    documents: int = Field(60_000, ge=1, description="documents of the pretraining text, all languages together")
    source_share: float = Field(2.0, gt=0, description="source-language documents per document of another language")
    sharpness: float = Field(0.75, ge=0, le=1, description="how often the text follows the world's habits")
    order_freedom: float = Field(0.25, ge=0, le=1, description="share of clauses in an order not the language's own")
    code_mixing: float = Field(
        0.2, ge=0, le=1, description="share of foreign documents with some words in source form (mild supervision)"
    )


class PretrainSettings(BaseModel):
    """A small XLM-R pretrained from scratch. The budget is in steps: alignment comes after an early
    plateau, and a budget in seconds would make results depend on the machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tokenizer: Literal["word", "unigram"] = Field("word", description="word: micro-world; unigram: real text")
    vocab_size: int = Field(8000, ge=300, description="unigram only; the word tokenizer takes every word it sees")
    steps: int = Field(6000, ge=0, description="0 gives the untrained control encoder")
    batch_tokens: int = Field(1024, ge=16)
    learning_rate: float = Field(5e-3, gt=0, description="1e-2 collapses")
    warmup_steps: int = Field(100, ge=0)
    mask_share: float = Field(0.3, gt=0, lt=1)
    layers: int = Field(3, ge=1)
    width: int = Field(64, ge=4)
    heads: int = Field(4, ge=1)
    feed_forward: int = Field(256, ge=4)
    positions: int = Field(160, ge=8, description="longest input, special tokens included")
    initializer_range: float = Field(0.05, gt=0)
    log_every: int = Field(500, ge=1)
