"""Random encoders of the common families with their own tokenizer classes, as a person's checkpoint folder."""

import json
from pathlib import Path

import torch
import transformers

from toy import SIZES, TEXT, build_tokenizer

FAMILIES = ("bert", "deberta", "roberta", "xlmr")
JAPANESE = "パンサーズの守備は308失点しか許さず、リーグ6位だった。"


def tokenizer_of(family: str, text=(*TEXT, JAPANESE)) -> transformers.PreTrainedTokenizerBase:
    """mBERT's kind (word pieces, segment ids), mDeBERTa-v3's and XLM-R's (unigram), RoBERTa's (bytes)."""
    if family == "bert":
        pieces = [piece for piece in build_tokenizer("wordpiece", text).get_vocab() if not piece.startswith("<")]
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocabulary = {piece: index for index, piece in enumerate([*special, *sorted(pieces)])}
        return transformers.BertTokenizer(vocab=vocabulary, do_lower_case=False)
    if family == "roberta":
        core = build_tokenizer("bytelevel", text)
        merges = json.loads(core.backend_tokenizer.to_str())["model"]["merges"]
        return transformers.RobertaTokenizer(vocab=core.get_vocab(), merges=[tuple(pair) for pair in merges])
    core = json.loads(build_tokenizer("unigram", text).backend_tokenizer.to_str())
    pieces = [tuple(piece) for piece in core["model"]["vocab"][5:]]
    if family == "deberta":
        special = [(name, 0.0) for name in ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")]
        return transformers.DebertaV2Tokenizer(vocab=[*special, *pieces])
    special = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    return transformers.XLMRobertaTokenizer(vocab=[*special, *pieces, ("<mask>", 0.0)])


def build_encoder(family: str, folder: Path) -> Path:
    """A random masked LM of the family with its tokenizer, as save_pretrained writes them."""
    tokenizer = tokenizer_of(family)
    shared = SIZES | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    configs = {
        "bert": lambda: transformers.BertConfig(**shared, max_position_embeddings=512),
        "deberta": lambda: transformers.DebertaV2Config(  # as microsoft/mdeberta-v3-base but for its sizes
            **shared, max_position_embeddings=512, type_vocab_size=0, relative_attention=True, position_buckets=256,
            norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
            pooler_hidden_size=32,
        ),
        "roberta": lambda: transformers.RobertaConfig(**shared, max_position_embeddings=514, type_vocab_size=1),
        "xlmr": lambda: transformers.XLMRobertaConfig(**shared, max_position_embeddings=514, type_vocab_size=1),
    }  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForMaskedLM.from_config(configs[family]()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
