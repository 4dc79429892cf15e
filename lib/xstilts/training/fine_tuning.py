"""Checkpoint in -> fresh heads on one shared encoder -> Trainer -> checkpoint out."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.integrations import TensorBoardCallback

from xstilts.errors import refuse
from xstilts.features import IGNORED, Feature, collate, mask_tokens
from xstilts.progress import Progress
from xstilts.settings import AdapterSettings
from xstilts.training.adapters import add_adapter, merge_adapter
from xstilts.training.batching import Batches, Examples, TrainingSet, part
from xstilts.training.callbacks import WEIGHTS, Monitor, Saves
from xstilts.training.dual_encoder import DualEncoder

HEADS = {
    "classification": transformers.AutoModelForSequenceClassification,
    "choice": transformers.AutoModelForMultipleChoice,
    "tagging": transformers.AutoModelForTokenClassification,
    "span": transformers.AutoModelForQuestionAnswering,
    "text": transformers.AutoModelForMaskedLM,
    "dual": DualEncoder,
}


class TrainedRows(torch.nn.Module):
    """Word embeddings of which only the rows ``ids`` are trained, those of the tokens in the training data.

    The others get no gradient; with them in the optimizer most of the time and memory of a step goes to a large
    vocabulary (of XLM-R Large 256 of 560 million parameters), for no other result but their weight decay. A masked-LM
    head chooses among the same rows. In evaluation mode all rows are read.
    """

    def __init__(self, embedding: torch.nn.Embedding, ids: torch.Tensor):
        super().__init__()
        self.padding_idx = embedding.padding_idx
        self.weight = torch.nn.Parameter(embedding.weight.detach()[ids])
        self.embedding = (embedding,)  # no module of this one: what an output layer may be tied to
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("table", embedding.weight.detach(), persistent=False)
        rows = torch.zeros(len(self.table), dtype=torch.long).index_copy_(0, ids, torch.arange(len(ids)))
        self.register_buffer("rows", rows, persistent=False)  # of each token id

    def train(self, mode: bool = True) -> "TrainedRows":
        if not mode:
            self.table[self.ids] = self.weight.detach()
        return super().train(mode)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return torch.nn.functional.embedding(ids, self.table)
        padding = None if self.padding_idx is None else int(self.rows[self.padding_idx])
        return torch.nn.functional.embedding(self.rows[ids], self.weight, padding)

    def whole(self) -> torch.nn.Embedding:
        """The embeddings as a plain module, the trained rows in their places."""
        return torch.nn.Embedding.from_pretrained(self.eval().table, freeze=False, padding_idx=self.padding_idx)


class SharedEncoder(torch.nn.Module):
    """One encoder under one fresh head per task; a batch names its task."""

    def __init__(self, checkpoint: Path | str, sets: list[TrainingSet], freeze_embeddings: bool):
        super().__init__()
        self.heads = torch.nn.ModuleDict()
        self.kinds = {item.name: item.kind for item in sets}
        self.encoder: Any = None
        for item in sets:
            # said for every head: a checkpoint's configuration may remember another head's labels
            names = dict(enumerate(item.labels)) or {0: "start", 1: "end"}
            options = {"id2label": names, "label2id": {label: index for index, label in names.items()}}
            self.heads[item.name] = HEADS[item.kind].from_pretrained(checkpoint, **options)
            base = self.heads[item.name].base_model
            # some heads read the encoder's pooler (BERT's of pairs, XLM-R's of choices); only theirs is built with one
            if item is sets[0] or (
                getattr(base, "pooler", None) is not None and getattr(self.encoder, "pooler", None) is None
            ):
                self.encoder = base
            for head in self.heads.values():  # at once: ten encoders as large as XLM-R need not fit in memory
                setattr(head, head.base_model_prefix, self.encoder)
                head.tie_weights()
        if freeze_embeddings:
            self.encoder.embeddings.requires_grad_(False)

    def train(self, mode: bool = True) -> "SharedEncoder":
        """Trainer asks for it at every step: modules are visited only where one of them is in the other mode."""
        modules = (self, self.encoder, *self.heads.values())  # of these scoring puts some into evaluation mode
        return self if all(module.training == mode for module in modules) else super().train(mode)

    def save_trained(self, path: Path) -> None:
        """Write the weights that are trained, each once, to a safetensors file."""
        trained = {name: weight for name, weight in self.named_parameters() if weight.requires_grad}
        safetensors.torch.save_file(trained, path)

    def load_trained(self, path: Path) -> None:
        """Read what :meth:`save_trained` wrote; the other weights stay."""
        self.load_state_dict(safetensors.torch.load_file(path), strict=False)

    def forward(self, task: str, **inputs: Any) -> Any:
        head = self.heads[task]
        return self._masked_lm(head, **inputs) if self.kinds[task] == "text" else head(**inputs)

    def _masked_lm(self, head: Any, labels: torch.Tensor, **inputs: Any) -> dict[str, torch.Tensor]:
        """The loss with logits at masked positions and of trained rows only: those of a 250k vocabulary for every
        position would not fit. Whatever modules the head consists of, it is given the encoder's states at these
        positions alone, and its output layer none of them."""
        masked, states = labels != IGNORED, []
        decoder, rows = head.get_output_embeddings(), self.encoder.get_input_embeddings()

        def gather(encoder: Any, arguments: Any, output: Any) -> Any:
            return type(output)(last_hidden_state=output.last_hidden_state[masked][None])

        def take(decoder: Any, arguments: Any) -> torch.Tensor:
            states.append(arguments[0][0])
            return arguments[0][:, :0]

        with self.encoder.register_forward_hook(gather), decoder.register_forward_pre_hook(take):
            head(**inputs)
        weight, bias, gold = decoder.weight, decoder.bias, labels[masked]
        if isinstance(rows, TrainedRows):
            is_tied = weight is rows.embedding[0].weight
            weight, gold = rows.weight if is_tied else weight[rows.ids], rows.rows[gold]
            bias = bias if bias is None else bias[rows.ids]
        logits = torch.nn.functional.linear(states[0], weight, bias)
        return {"loss": torch.nn.functional.cross_entropy(logits.float(), gold)}


# Scores of a model on the development set of each task, in percent, by the task's name.
Development = Callable[[SharedEncoder], dict[str, float]]


class MixtureTrainer(Trainer):
    """transformers' Trainer with our batches, and with our scores where checkpoints are compared.

    In several processes each takes its part of every batch and weighs its loss by what the part holds, so that
    the mean of the gradients is that of the whole batch; the first scores and writes.
    """

    args: Any  # Trainer's own
    control: Any

    def __init__(self, batches: Batches, tokenizer: Tokenizer, vocabulary: torch.Tensor, saves: Saves, **options: Any):
        super().__init__(train_dataset=Examples(batches.sets), **options)
        self.batches, self.tokenizer, self.vocabulary = batches, tokenizer, vocabulary
        self.saves, self.saved_step = saves, 0
        self.model_accepts_loss_kwargs = False  # heads average their loss over the batch themselves

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self._collate)
        # accelerate would give every process batches of its own; ours part each
        return loader if self.args.world_size > 1 else self.accelerator.prepare(loader)

    def _collate(self, items: list[tuple[int, int, Feature]]) -> dict:
        number, batch_number, _ = items[0]
        batch = collate([feature for _, _, feature in items], self.tokenizer.pad_token_id)
        chosen = self.batches.sets[number]
        if chosen.kind == "text":  # seeded by the batch's number, so that every run masks the same tokens
            generator = torch.Generator().manual_seed(self.batches.seed * 1_000_003 + batch_number)
            batch = mask_tokens(batch, self.tokenizer, self.vocabulary, self.batches.mix.mlm_probability, generator)
        if self.args.world_size > 1:
            batch = part(batch, self.args.process_index, self.args.world_size)
        return {"task": chosen.name, **batch}

    def compute_loss(self, model: Any, inputs: dict, **options: Any) -> torch.Tensor:
        weight = inputs.pop("weight", 1)
        return super().compute_loss(model, inputs, **options) * weight

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """``eval_score``, the mean over tasks of their scores, is what checkpoints are compared by."""
        (scores,) = broadcast_object_list([self.eval_dataset(self.model) if self.args.should_save else None])
        metrics = {f"eval_{task}": value for task, value in scores.items()}
        metrics["eval_score"] = sum(scores.values()) / len(scores)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: str, _internal_call: bool = False) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        if self.args.should_save:
            self.model.save_trained(Path(output_dir) / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.model.load_trained(Path(resume_from_checkpoint) / WEIGHTS)

    def _save_rng_state(self, output_dir: str) -> None:
        """Trainer's, and what it does not save: the sum of the losses since the last one that was logged."""
        super()._save_rng_state(output_dir)
        torch.save(self._tr_loss, Path(output_dir) / f"loss_{self.args.process_index}.pt")

    def _load_rng_state(self, checkpoint: str) -> None:
        super()._load_rng_state(checkpoint)
        losses = Path(checkpoint) / f"loss_{self.args.process_index}.pt"
        self._tr_loss = torch.load(losses, "cpu", weights_only=True).to(self.args.device)
        self._globalstep_last_logged -= self._globalstep_last_logged % self.args.logging_steps

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        super()._save_checkpoint(*arguments, **options)
        self.saved_step = self.state.global_step
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.saves.complete(self.saved_step, self.state.best_global_step)
        self.accelerator.wait_for_everyone()

    def _maybe_log_save_evaluate(self, *arguments: Any, **options: Any) -> None:
        """Trainer's, at the end of every step; then, all of it being done, a checkpoint where one is due."""
        super()._maybe_log_save_evaluate(*arguments, **options)
        step = self.state.global_step
        if self.control.should_training_stop and step < self.batches.steps:
            return  # after an early end there is no next step to resume at
        flags = torch.tensor([self.saves.due(), self.saves.stop], dtype=torch.int32, device=self.args.device)
        due, stop = self.accelerator.reduce(flags).tolist()
        if due and step != self.saved_step:
            self._save_checkpoint(self.model, None)
        if stop:
            raise self.saves.stopped(step)


def check_precision(precision: str) -> None:
    """UserError where this machine cannot train in ``precision``; to be asked before anything is read."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    needed = {"fp32": "", "fp16": "a GPU", "bf16": "a GPU that computes in it (NVIDIA Ampere or later)"}[precision]
    supported = gpu and (precision != "bf16" or torch.cuda.is_bf16_supported(including_emulation=False))
    problem = f"training: precision {precision} needs {needed}, and this machine has {gpu or 'none'}"
    advice = "set precision: fp32 in the study's file or run it on another machine"
    refuse(needed and not supported, f"{problem}; {advice}")


def fine_tune(
    checkpoint: Path | str, batches: Batches, tokenizer: Tokenizer, saves: Saves,
    development: Development | None = None, adapter: AdapterSettings | None = None,
) -> tuple[SharedEncoder, dict]:  # fmt: skip
    """Train fresh heads and the encoder of ``checkpoint`` on the sets of ``batches`` and with their settings and seed,
    from the last checkpoint among ``saves`` where there is one.

    With ``evaluate_every`` the model is given to ``development`` every so many steps and after the
    last one; the weights of the step with the highest mean score are returned, the first of equals, and
    training ends after ``patience`` evaluations without a higher one.

    With an ``adapter`` the encoder learns low-rank updates, which are merged into its weights at the end.

    Returns the model and a record: steps taken, tokens seen, the loss every tenth of the way and, where a
    checkpoint was chosen, ``selection`` (best_step, best_score, curve).
    """
    sets, phase, steps, seed = batches.sets, batches.phase, batches.steps, batches.seed
    transformers.set_seed(seed)
    model = SharedEncoder(checkpoint, sets, phase.freeze_embeddings)
    vocabulary = torch.tensor(batches.vocabulary(tokenizer))
    if adapter:
        add_adapter(model.encoder, adapter)
    elif not phase.freeze_embeddings:
        model.encoder.set_input_embeddings(TrainedRows(model.encoder.get_input_embeddings(), vocabulary))
    choose = bool(phase.evaluate_every)
    arguments = TrainingArguments(
        output_dir=str(saves.folder), max_steps=steps, seed=seed, report_to="none", disable_tqdm=True,
        per_device_train_batch_size=phase.batch_size, gradient_accumulation_steps=phase.accumulate,
        learning_rate=phase.learning_rate, lr_scheduler_type="linear", warmup_steps=math.ceil(steps * phase.warmup),
        optim="adamw_torch_fused", adam_epsilon=phase.adam_epsilon, max_grad_norm=phase.max_grad_norm,
        weight_decay=phase.weight_decay,  # Trainer spares biases and layer norms
        bf16=phase.precision == "bf16", fp16=phase.precision == "fp16",
        logging_steps=max(1, steps // 10), logging_nan_inf_filter=False,  # Monitor looks at them
        eval_strategy="steps" if choose else "no", eval_steps=phase.evaluate_every or None,
        save_strategy="best" if choose else "no", metric_for_best_model="score",
        restore_callback_states_from_checkpoint=True, dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=True,  # every batch is of one task: the other heads are idle
        ddp_broadcast_buffers=False,  # equal in all processes, and as large as the embeddings
        ddp_timeout=24 * 3600,  # seconds that others wait while the first process scores
    )  # fmt: skip
    (last,) = broadcast_object_list([saves.last() if arguments.should_save else None])
    # One GPU a run, and runs side by side: DataParallel would part a batch, and a part may hold no masked token.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    trainer = MixtureTrainer(
        batches, tokenizer, vocabulary, saves, model=model, args=arguments, eval_dataset=development
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    if arguments.should_save and (writer := saves.writer(last)):
        trainer.add_callback(TensorBoardCallback(writer))
    if choose and phase.patience:
        trainer.add_callback(EarlyStoppingCallback(phase.patience))
    if arguments.process_index:  # dropout of its own; the first draws what it draws alone
        torch.manual_seed(seed * 1_000_003 + arguments.process_index)
    names = " + ".join(item.name for item in sets) if len(sets) < 4 else f"{len(sets)} sets"
    with saves, Progress(f"training {names}", steps, "steps") as bar:
        trainer.add_callback(Monitor(bar))
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    state, history = trainer.state, trainer.state.log_history
    losses = [{"step": entry["step"], "loss": entry["loss"]} for entry in history if "loss" in entry]
    record = {"steps": state.global_step, "tokens": batches.tokens(state.global_step), "loss": losses}
    if last:
        record["resumed"] = trainer._initial_global_step
    if choose:
        model.load_trained(saves.checkpoint(state.best_global_step) / WEIGHTS)
        curve = [
            {"step": entry["step"], **{key.removeprefix("eval_"): entry[key] for key in entry if key[:5] == "eval_"}}
            for entry in history
            if "eval_score" in entry
        ]
        record["selection"] = {"best_step": state.best_global_step, "best_score": state.best_metric, "curve": curve}
    if adapter:
        merge_adapter(model.encoder)
    elif isinstance(embedding := model.encoder.get_input_embeddings(), TrainedRows):
        model.encoder.set_input_embeddings(embedding.whole())
    return model, record


def save_encoder(model: SharedEncoder, tokenizer: Tokenizer, folder: Path) -> None:
    """The bare encoder as a plain checkpoint folder. The pooler belongs to the heads and stays behind."""
    state = {name: tensor for name, tensor in model.encoder.state_dict().items() if not name.startswith("pooler.")}
    model.encoder.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
