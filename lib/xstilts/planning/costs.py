"""What a pass through the encoder costs: FLOPs and bytes from its shape and the tokens.

The rule. A forward pass takes 2 FLOPs per token and per parameter other than embeddings, a backward pass
twice as many: 6 N per token of training (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). Attention
over a row of T tokens adds, in training, 12 * layers * width * T per token, a third of it forward
(Chowdhery et al. 2022, arXiv:2204.02311, appendix B). Frozen embeddings change nothing here, DeBERTa's
relative positions are left out, and so is padding.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import transformers

from ..errors import UserError
from ..study import EncoderSettings

BYTES = 4  # per parameter: checkpoints are written in float32
TOKENIZER_BYTES = 40  # per vocabulary entry, roughly: XLM-R's tokenizer.json has 9 MB for 250,002


@dataclass(frozen=True)
class Amount:
    """What goes through the encoder: ``examples`` of a set, ``features`` made of them (windows of a
    passage), ``rows`` (each choice is one), ``tokens``, and ``squares``, the sum of squared row lengths."""

    examples: float = 0
    features: float = 0
    rows: float = 0
    tokens: float = 0
    squares: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*(one + two for one, two in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def __mul__(self, times: float) -> "Amount":
        return Amount(*(value * times for value in asdict(self).values()))


@dataclass(frozen=True)
class Shape:
    """An encoder's sizes, in the words of config.json: hidden_size, num_hidden_layers, …"""

    width: int
    layers: int
    feed_forward: int
    heads: int
    vocabulary: int
    positions: int
    types: int = 1

    @property
    def body(self) -> int:
        """Parameters other than embeddings: attention, feed-forward and two layer norms per layer."""
        attention = 4 * (self.width**2 + self.width)
        feed_forward = 2 * self.width * self.feed_forward + self.feed_forward + self.width
        return self.layers * (attention + feed_forward + 4 * self.width)

    @property
    def parameters(self) -> int:
        """All parameters of the encoder without its pooler."""
        return self.body + (self.vocabulary + self.positions + self.types + 2) * self.width

    def forward(self, amount: Amount) -> float:
        """FLOPs of one forward pass."""
        return 2 * self.body * amount.tokens + 4 * self.layers * self.width * amount.squares

    def head(self, kind: str, amount: Amount, labels: int = 2, masked: float = 0) -> float:
        """FLOPs of a head's forward pass; ``masked``: share of the tokens whose vocabulary logits the
        masked-LM head ("text") computes."""
        if kind in ("classification", "choice"):  # a dense layer and the output, at <s>
            return 2 * self.width * (self.width + (labels if kind == "classification" else 1)) * amount.rows
        if kind == "text":
            return 2 * self.width * (self.width + self.vocabulary) * masked * amount.tokens
        return 2 * self.width * labels * amount.tokens  # span: start and end

    def training(self, kind: str, amount: Amount, labels: int = 2, masked: float = 0) -> float:
        """FLOPs of training on ``amount``: forward, and backward at twice that."""
        return 3 * (self.forward(amount) + self.head(kind, amount, labels, masked))

    @property
    def checkpoint_bytes(self) -> int:
        """An encoder on disk, or with a small head a target's model."""
        return BYTES * self.parameters + TOKENIZER_BYTES * self.vocabulary

    @property
    def training_bytes(self) -> int:
        """The most that a training has on disk: what it goes on from when it is killed, weights and AdamW's two
        moments, and its best weights so far; of both the old stays until the new is whole."""
        return 2 * (3 + 1) * BYTES * self.parameters


# Of the checkpoints named most often, from their config.json: a plan needs no network.
SHAPES = {
    "FacebookAI/xlm-roberta-base": Shape(768, 12, 3072, 12, 250_002, 514),
    "FacebookAI/xlm-roberta-large": Shape(1024, 24, 4096, 16, 250_002, 514),
    "google-bert/bert-base-multilingual-cased": Shape(768, 12, 3072, 12, 119_547, 512, 2),
    "microsoft/mdeberta-v3-base": Shape(768, 12, 3072, 12, 251_000, 512, 0),
}
SHAPES |= {name.split("/")[1]: shape for name, shape in SHAPES.items()}


def shape_of(settings: EncoderSettings, vocabulary: int, made: Path) -> Shape:
    """The shape of a study's encoder: of ``made``, its checkpoint folder, where that is there; else of the
    checkpoint it names; else of the one it will pretrain, with so large a ``vocabulary``.

    Raises UserError for a checkpoint whose config.json is neither here, nor known, nor to be had.
    """
    name, own = settings.checkpoint, settings.pretrain
    if (made / "config.json").is_file():
        return _from_config(json.loads((made / "config.json").read_text(encoding="utf-8")), made)
    if not name:
        return Shape(own.width, own.layers, own.feed_forward, own.heads, vocabulary, own.positions)
    if name in SHAPES:
        return SHAPES[name]
    try:
        config = transformers.AutoConfig.from_pretrained(name, revision=settings.revision or None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'encoder.checkpoint "{name}": no config.json to be had ({reason}); name a folder that holds one, or '
            f"one of those whose shape is known without a network: {', '.join(n for n in SHAPES if '/' in n)}"
        ) from None
    return _from_config(config.to_dict(), name)


def _from_config(config: dict, where: Path | str) -> Shape:
    keys = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size",
            "max_position_embeddings")  # fmt: skip
    missing = [key for key in keys if key not in config]
    if missing:
        raise UserError(f"{where}: its config.json lacks {', '.join(missing)}, which the cost is computed from")
    return Shape(*(config[key] for key in keys), types=config.get("type_vocab_size", 1))  # type: ignore[misc]  # six keys
