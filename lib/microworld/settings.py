"""What may be set about the generated world."""

from pydantic import BaseModel, ConfigDict, Field

LANGUAGE_CODES = ("qaa", "qab", "qac", "qad", "qae", "qaf", "qag", "qah")  # the source language first


class Sizes(BaseModel):
    """Examples per set; of a mining set: sentences per side; of a parallel set: pairs;
    of a ranking: queries."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    train: int = Field(6000, ge=1)
    dev: int = Field(200, ge=1)
    test: int = Field(400, ge=1)


class MicroSettings(BaseModel):
    """The generated world. Everything it yields is a function of these fields and of the code."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    languages: tuple[str, ...] = Field(LANGUAGE_CODES, description="source language first")
    world_seed: int = Field(0, description="words of the languages, facts of the world, examples of every set")
    classification: Sizes = Sizes()
    choice: Sizes = Sizes()
    tagging: Sizes = Sizes()
    span: Sizes = Sizes()
    parallel: Sizes = Sizes()
    mining: Sizes = Sizes()
    ranking: Sizes = Sizes()
    documents: int = Field(60_000, ge=1, description="documents of the pretraining text, all languages together")
    source_share: float = Field(2.0, gt=0, description="source-language documents per document of another language")
    sharpness: float = Field(0.75, ge=0, le=1, description="how often the text follows the world's habits")
    order_freedom: float = Field(0.25, ge=0, le=1, description="share of clauses in an order not the language's own")
    code_mixing: float = Field(
        0.2, ge=0, le=1, description="share of foreign documents with some words in source form (mild supervision)"
    )
