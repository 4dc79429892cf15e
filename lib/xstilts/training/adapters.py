"""LoRA (Hu et al. 2022, arXiv:2106.09685) by peft: low-rank updates of an encoder's frozen matrices."""

import torch
import transformers

from xstilts.errors import nearest, refuse
from xstilts.settings import AdapterSettings


def add_adapter(encoder: transformers.PreTrainedModel, settings: AdapterSettings) -> None:
    """Freeze an encoder and give its linear layers, in place, updates that are trained and are zero at first. A pooler
    is fresh in every training, as the heads are, and trained as a whole. UserError for matrices that it lacks."""
    from peft import LoraConfig, inject_adapter_in_model  # not where no study has an adapter

    names = [name for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear)]
    names = [name for name in names if not name.startswith("pooler")]
    known = {name.rpartition(".")[2] for name in names}
    for matrix in settings.matrices:
        problem = f'training.adapter.matrices: the encoder has no linear layer "{matrix}"'
        refuse(matrix not in known, f"{problem}{nearest(matrix, known)}")
    targets = [name for name in names if name.rpartition(".")[2] in (settings.matrices or known)]
    rank, alpha = settings.rank, settings.alpha or 2 * settings.rank
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=settings.dropout, target_modules=targets)
    inject_adapter_in_model(config, encoder)
    for name, weight in encoder.named_parameters():
        if name.startswith("pooler."):
            weight.requires_grad_(True)


def merge_adapter(encoder: transformers.PreTrainedModel) -> None:
    """Add the updates to the matrices, in place, and leave the plain encoder."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            encoder.set_submodule(name, layer.get_base_layer())
    del encoder.peft_config
