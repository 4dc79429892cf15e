"""A pretrained encoder from a folder or the hub: checked, then copied to where phase 1 leaves its encoder.

Weights are read from safetensors alone and no code of a repository is run: a pickle or a model's own
Python files could do anything.
"""

import hashlib
import json
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import UserError, located, nearest, refuse
from xstilts.io import ROOT, written_whole
from xstilts.settings import Study
from xstilts.training import packaged
from xstilts.validation import check_lengths, input_kinds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # the last two: converted as they load
RESAVE = "load them and save them again with save_pretrained"  # what to do with pickles that are trusted
NO_WEIGHTS = (
    "the hub has no model.safetensors of it at this revision, and no other weights are read; if a pull request adds "
    "them (its page, Community), name it: revision: refs/pr/<number>; or, where its own are trusted, "
    f"{RESAVE} and name that folder"
)
# what a configuration may remember of another head; each is set back to what its architecture starts with
HEAD = (
    *("problem_type", "classifier_dropout", "classifier_pooling", "cls_dropout", "pooler_dropout"),
    *("seq_classif_dropout", "qa_dropout"),
)
SAMPLE = 2**20  # bytes hashed at either end of a file: gigabytes would be read before every run


def locate(study: Study) -> Path | str:
    """The folder that ``encoder.checkpoint`` names (relative to the project), else its name on the hub, or of a
    packaged one that is yet to be built.

    UserError for a path where no folder is and for a folder that holds no checkpoint; nothing is loaded.
    """
    name, key = study.encoder.checkpoint, _key(study)
    folder = ROOT / Path(name).expanduser()
    if name.startswith(packaged.PREFIX):
        refuse(name != packaged.NAME, f"{key}: no packages hold it{nearest(name, [packaged.NAME])}")
        folder = packaged.checkpoint_folder(study)
        if not packaged.is_built(folder):
            return name
    if not folder.is_dir():
        path = Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
        example = "FacebookAI/xlm-roberta-large"
        refuse(path, f"{key}: no folder {folder}; name one, or a checkpoint on the hub such as {example}")
        return name
    revision = study.encoder.revision
    refuse(revision, f"{study.path}: encoder.revision: a folder has no revisions ({folder}); leave it out")
    expected = "a checkpoint as save_pretrained writes it: config.json, model.safetensors, tokenizer.json"
    refuse(not (folder / "config.json").is_file(), f"{key}: no config.json in {folder}; expected {expected}")
    pickles = sorted(name for name in _parts(folder) if Path(name).suffix in PICKLES)
    if pickles or not list(folder.glob("*.safetensors")):
        pickles = pickles or sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        content = f"only {', '.join(pickles)}, which can run code as it is loaded" if pickles else "no weights"
        raise UserError(
            f"{key}: {folder} holds {content}; expected model.safetensors: where the weights are trusted, {RESAVE}"
        )
    tokenizer = any(list(folder.glob(pattern)) for pattern in TOKENIZERS)
    refuse(not tokenizer, f"{key}: no tokenizer in {folder}; expected tokenizer.json (or {TOKENIZERS[1]}, …)")
    return folder


def _parts(folder: Path) -> set[str]:
    """Files that the index of weights in several files names; none of weights in one."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return set()
    try:
        return set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{index}: not an index of weights; fetch the checkpoint anew") from None


def identity(study: Study) -> list:
    """What tells a checkpoint folder from another: names, sizes and hashes of both ends of its files. The hub's
    are known by name and revision, packaged ones by name and code."""
    location = locate(study)
    if study.encoder.checkpoint == packaged.NAME:
        return []
    identities = []
    for path in sorted(location.iterdir()) if isinstance(location, Path) else []:
        if path.is_file():
            with path.open("rb") as file:
                ends = file.read(SAMPLE)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - SAMPLE))
                identities.append((path.name, size, hashlib.sha256(ends + file.read()).hexdigest()))
    return identities


def fetch(study: Study, folder: Path) -> dict:
    """Copy the study's checkpoint to ``folder`` as it is, in fp32 (in the half precision that some are stored in, small
    steps of training are lost); returns the record of phase 1.

    UserError for one that is no masked LM of a known architecture in safetensors, lacks weights or its tokenizer,
    or does not fit the study's layers and lengths.
    """
    import transformers

    if study.encoder.checkpoint == packaged.NAME:
        packaged.build(packaged.checkpoint_folder(study))
    location = locate(study)
    options = {"revision": study.encoder.revision or "main", "trust_remote_code": False}
    checked = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # in _check_weights
    weights: dict[str, Any] = {"use_safetensors": True, "dtype": "float32", **checked}
    depth = layers = study.encoder.layers
    try:
        if layers:
            depth = transformers.AutoConfig.from_pretrained(location, **options).num_hidden_layers
            weights["num_hidden_layers"] = min(layers, depth)
        model, loaded = transformers.AutoModelForMaskedLM.from_pretrained(location, **weights, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
    except Exception as error:  # damaged files end in errors of every sort
        if isinstance(location, str) and "safetensors" in str(error):
            raise UserError(f"{_key(study)}: {NO_WEIGHTS}") from None
        reason = textwrap.shorten(str(error), 300, placeholder=" …")  # the first words say what is wrong
        raise UserError(f"{_key(study)}: not a masked-LM checkpoint that loads: {reason}") from None
    refuse(layers > depth, f"{study.path}: encoder.layers: {layers}, and the checkpoint has {depth}")
    with located(_key(study)):
        _check_heads(study, model.config)
        _check_weights(study, model, loaded)
        _check_tokenizer(study, model, tokenizer)
    with located(study.path):
        if "retrieval" in input_kinds(study):
            study.retrieval.indices(model.config.num_hidden_layers)
        check_lengths(study, _positions(model), study.encoder.checkpoint)
    defaults = type(model.config)()
    model.config.update({name: getattr(defaults, name) for name in HEAD if hasattr(model.config, name)})
    if study.encoder.shuffled:
        _shuffle_embeddings(model, tokenizer)
    with written_whole(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    record = study.encoder.model_dump(include={"checkpoint", "revision", "layers", "shuffled"})
    return {**record, "steps": 0, "tokens": 0, "loss": []}


def _shuffle_embeddings(model: Any, tokenizer: "Tokenizer") -> None:
    """Give each token but the special ones the embedding of another: what the encoder knows of words is gone, its sizes
    and the statistics of its weights are not. The same order for every study and seed."""
    import torch

    weights = model.get_input_embeddings().weight.data
    tokens = torch.tensor(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)))
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))
    weights[tokens] = weights[tokens[order]]


def _check_heads(study: Study, config: Any) -> None:
    """Some architectures lack the head of a kind of task in transformers (EuroBERT's, GTE's and NomicBERT's: choices
    and spans); an encoder with a decoder has states of another text."""
    from xstilts.training.fine_tuning import HEADS

    refuse(config.is_encoder_decoder, f"{config.model_type}: has a decoder, too; choose an encoder alone")
    for kind in sorted(input_kinds(study) & HEADS.keys()):
        problem = f"{config.model_type}: transformers has no head for {kind} on it; leave out the tasks of this kind"
        refuse(type(config) not in HEADS[kind]._model_mapping, f"{problem}, or choose another encoder")


def _check_weights(study: Study, model: Any, loaded: dict) -> None:
    """Every weight of the encoder must come from the checkpoint: the library fills in what is missing at random. So
    must the head's where a run needs it; some checkpoints that were pretrained otherwise (mDeBERTa-v3) have none."""
    import torch

    for name, shape, expected in sorted(loaded["mismatched_keys"]):
        shapes = f"{name} has the shape {tuple(shape)}, its config.json asks for {tuple(expected)}"
        advice = "expected the two of one checkpoint: fetch it anew"
        raise UserError(f"not a masked-LM checkpoint that loads: {shapes}; {advice}")
    encoder = f"{model.base_model_prefix}."
    needed = ("",) if any(study.intermediate_run(name).mlm for name in study.intermediate) else (encoder,)
    missing = sorted(name for name in loaded["missing_keys"] if name.startswith(needed))
    if missing:
        head = "" if missing[0].startswith(encoder) else " (of the masked-LM head, which +mlm needs)"
        problem = f"its weights lack {len(missing)} that the model has, among them {missing[0]}{head}"
        raise UserError(f"{problem}; fetch it anew, or choose another encoder")
    broken = [name for name, weights in model.named_parameters() if not torch.isfinite(weights).all()]
    refuse(broken, f"{''.join(broken[:1])} holds NaN or infinite weights; choose another checkpoint")
    refuse(model.config.num_hidden_layers < 1, "config.json: num_hidden_layers: expected 1 or more")


def _check_tokenizer(study: Study, model: Any, tokenizer: "Tokenizer") -> None:
    from xstilts.features import check_offsets

    made_up = len(tokenizer) <= len(tokenizer.all_special_tokens)  # by transformers, where files are missing
    refuse(made_up, "no tokenizer there; expected tokenizer.json beside the weights")
    why = "has no fast version, and only that says which word and characters a token stands for"
    refuse(not tokenizer.is_fast, f"its tokenizer ({type(tokenizer).__name__}) {why}; choose another encoder")
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    counts = f"its tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size} embeddings"
    problem = f'{counts}, and "{token}" has the number {highest}; expected those of one checkpoint'
    refuse(highest >= model.config.vocab_size, problem)
    refuse(tokenizer.pad_token is None, "its tokenizer has no token for padding; choose another encoder")
    check_offsets(tokenizer)
    unmasked = "mlm" in input_kinds(study) and tokenizer.mask_token is None
    refuse(unmasked, "its tokenizer has no mask token, which +mlm needs; choose another encoder")


def _positions(model: Any) -> int:
    """Longest input in tokens, 0 where positions are relative alone. RoBERTa's count from after the padding's."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return 0
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)


def _key(study: Study) -> str:
    return f'{study.path}: encoder.checkpoint "{study.encoder.checkpoint}"'
