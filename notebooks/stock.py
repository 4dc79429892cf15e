"""What 10-speed.ipynb compares with: transformers' Trainer as its example scripts use it, and XTREME's retrieval.

The same rows as ours in the columns of their kind, the same checkpoint, precision, threads and examples per batch; all
else is what the scripts do unless told otherwise. Written anew after them:

* ``run_xnli``, ``run_ner``, ``run_qa``, ``run_swag``, ``run_mlm`` of transformers' ``examples/pytorch``: padded to the
  maximum length, or (``pad=False``) to the longest row of a batch by transformers' collators; one pass per language;
* ``evaluate_retrieval`` and ``utils_retrieve`` of XTREME's ``third_party``: batches of 100 in the order of the file,
  exact search by faiss, margins one at a time.

    python stock.py <study> <target> <checkpoint>

trains and scores one target of a study without further tables, as one call of such a script would.
"""

import sys
import tempfile
import time
from itertools import chain

import datasets
import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

try:
    import faiss
except ImportError:  # what it would do is then not measured
    faiss = None

HEADS = {
    "classification": transformers.AutoModelForSequenceClassification,
    "tagging": transformers.AutoModelForTokenClassification,
    "span": transformers.AutoModelForQuestionAnswering,
    "choice": transformers.AutoModelForMultipleChoice,
    "text": transformers.AutoModelForMaskedLM,
}
COLLATORS = {  # of batches that are padded to their longest row
    "classification": transformers.DataCollatorWithPadding,
    "tagging": transformers.DataCollatorForTokenClassification,
    "span": transformers.DataCollatorWithPadding,
    "choice": transformers.DataCollatorForMultipleChoice,
}
N_BEST, MAX_ANSWER = 20, 30  # run_qa's


def quiet():
    """No reports of fresh heads, no bars."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def encode(kind, rows, tokenizer, lengths, labels=(), pad=True):
    """Rows as features, a dataset; ``lengths``: LengthSettings, whose ``stride`` is what two windows share here."""
    options = {"truncation": True, "max_length": getattr(lengths, kind), "padding": "max_length" if pad else False}
    ids = {label: index for index, label in enumerate(labels)}

    def pairs(batch):
        return {**tokenizer(batch["text_a"], batch["text_b"], **options), "labels": batch["label"]}

    def words(batch):
        encoded, encoded_tags = tokenizer(batch["tokens"], is_split_into_words=True, **options), []
        for number, tags in enumerate(batch["tags"]):
            word_ids = encoded.word_ids(number)
            first = [word is not None and (not at or word_ids[at - 1] != word) for at, word in enumerate(word_ids)]
            row = [ids.get(tags[word], -100) if new else -100 for word, new in zip(word_ids, first, strict=True)]
            encoded_tags.append(row)
        return {**encoded, "labels": encoded_tags}

    def choices(batch):
        counts = [len(options) for options in batch["choices"]]
        prompts = [[f"{context} {question}".strip()] * count for context, question, count in
                   zip(batch["context"], batch["question"], counts, strict=True)]  # fmt: skip
        flat = tokenizer(list(chain(*prompts)), list(chain(*batch["choices"])), **options)
        ends = np.cumsum(counts)
        rows = {key: [flat[key][end - count : end] for end, count in zip(ends, counts, strict=True)] for key in flat}
        return {**rows, "labels": batch["label"]}

    def windows(batch):
        cut = {"stride": lengths.stride, "return_overflowing_tokens": True, "return_offsets_mapping": True}
        encoded = tokenizer(batch["question"], batch["context"], **options | cut | {"truncation": "only_second"})
        rows, starts, ends = encoded.pop("overflow_to_sample_mapping"), [], []
        for window, row in enumerate(rows):
            answer, offsets = batch["answers"][row], encoded["offset_mapping"][window]
            offsets = [span if part == 1 else None for span, part in zip(offsets, encoded.sequence_ids(window))]  # noqa: B905
            first = answer["answer_start"][0] if answer["text"] else -1
            inside = [at for at, span in enumerate(offsets) if span and first >= 0
                      and span[0] < first + len(answer["text"][0]) and span[1] > first]  # fmt: skip
            starts.append(inside[0] if inside else 0)
            ends.append(inside[-1] if inside else 0)
            encoded["offset_mapping"][window] = offsets
        return {**encoded, "example": [batch["number"][row] for row in rows],
                "start_positions": starts, "end_positions": ends}  # fmt: skip

    function = {"classification": pairs, "tagging": words, "choice": choices, "span": windows}[kind]
    rows = rows.add_column("number", range(len(rows)))
    return rows.map(function, batched=True, remove_columns=rows.column_names, load_from_cache_file=False)


def trainer(
    kind, checkpoint, tokenizer, labels=(), encoded=None, pad=True, batch=16, steps=1, precision="fp32", frozen=False
):
    """A Trainer with a fresh head on the checkpoint; ``frozen``: its embeddings are not trained."""
    names = {"num_labels": len(labels)} if kind in ("classification", "tagging") else {}
    model = HEADS[kind].from_pretrained(checkpoint, **names)
    model.base_model.embeddings.requires_grad_(not frozen)
    arguments = TrainingArguments(
        tempfile.mkdtemp(prefix="stock-"), per_device_train_batch_size=batch, per_device_eval_batch_size=batch,
        max_steps=steps, bf16=precision == "bf16", fp16=precision == "fp16", save_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    made = Trainer(model, arguments, _collator(kind, tokenizer, pad), encoded, processing_class=tokenizer)
    made.remove_callback(transformers.trainer_callback.PrinterCallback)
    return made


def _collator(kind, tokenizer, pad):
    if kind == "text":
        return transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    return transformers.default_data_collator if pad else COLLATORS[kind](tokenizer)


def score(kind, made, data, tokenizer, lengths, labels=(), pad=True):
    """Language -> predictions of a Trainer's model, language by language as one run of a script each."""
    predictions, made.data_collator = {}, _collator(kind, tokenizer, pad)
    for language, rows in data.items():
        encoded = encode(kind, rows, tokenizer, lengths, labels, pad)
        output = made.predict(encoded)
        if kind == "span":
            predictions[language] = _answers(rows, encoded, *output.predictions[:2])
        else:
            predictions[language] = _labels(kind, output, labels)
    return predictions


def _labels(kind, output, labels):
    best = output.predictions.argmax(-1)
    if kind != "tagging":
        return best.tolist()
    return [[labels[tag] for tag, gold in zip(row, own, strict=True) if gold != -100]
            for row, own in zip(best, output.label_ids, strict=True)]  # fmt: skip


def _answers(rows, encoded, start, end):
    """The best of the 20 best starts with the 20 best ends of every window."""
    best = {}
    for window, feature in enumerate(encoded):
        offsets, number = feature["offset_mapping"], feature["example"]
        for first in np.argsort(start[window])[: -N_BEST - 1 : -1].tolist():
            for last in np.argsort(end[window])[: -N_BEST - 1 : -1].tolist():
                if max(first, last) >= len(offsets) or not offsets[first] or not offsets[last]:
                    continue
                if first <= last < first + MAX_ANSWER:
                    value = (start[window][first] + end[window][last], offsets[first][0], offsets[last][1])
                    best[number] = max(best.get(number, value), value)
    contexts = rows["context"][:]
    return [contexts[number][slice(*best[number][1:])] if number in best else "" for number in range(len(contexts))]


@torch.no_grad()
def embed(model, tokenizer, texts, max_length, layer=-1, batch=100):
    """Mean over all tokens of the states of ``layer``: (texts, width), float32."""
    tokens, parts = [tokenizer.tokenize(text)[: max_length - 2] for text in texts], []
    for number in range(0, len(tokens), batch):
        rows = [tokenizer.convert_tokens_to_ids([tokenizer.cls_token, *row, tokenizer.sep_token])
                for row in tokens[number : number + batch]]  # fmt: skip
        longest = max(map(len, rows))
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        ids, mask = ids.to(model.device), mask.to(model.device)
        state = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer]
        parts.append(((state * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)).float().cpu().numpy())
    return np.concatenate(parts)


def search(queries, candidates):
    """Row of the nearest candidate of each query by faiss's exact search, as XTREME's Tatoeba; both are normalised."""
    faiss.normalize_L2(queries)
    faiss.normalize_L2(candidates)
    index = faiss.IndexFlatL2(queries.shape[1])
    index.add(candidates)
    return index.search(queries, 1)[1][:, 0]


def retrieve(checkpoint, languages, max_length):
    """Tatoeba: the script is called once for each of ``languages``, language -> rows with query and candidate; language
    -> accuracy."""
    accuracy = {}
    for language, rows in languages.items():
        tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        sides = [embed(model, tokenizer, rows[side][:], max_length) for side in ("query", "candidate")]
        accuracy[language] = float((search(*sides) == np.arange(len(rows))).mean())
    return accuracy


def mine(x, y, neighbours=4):
    """Pairs (margin, row of x, row of y) by ratio margins, best first, and the seconds that faiss searched; vectors of
    length 1."""
    began = time.perf_counter()
    similar = []
    for queries, candidates in ((x, y), (y, x)):
        index = faiss.IndexFlatIP(x.shape[1])
        index.add(candidates)
        similar.append(index.search(queries, neighbours))
    seconds = time.perf_counter() - began
    means, best = [values.mean(axis=1) for values, _ in similar], []
    for (_, rows), own, other, side, across in zip(similar, means, means[::-1], (x, y), (y, x), strict=True):
        margins = np.zeros(rows.shape)
        for i in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                k = rows[i, j]
                margins[i, j] = side[i].dot(across[k]) / ((own[i] + other[k]) / 2)
        best.append((margins.max(axis=1), rows[np.arange(len(rows)), margins.argmax(axis=1)]))
    pairs = np.stack([np.concatenate([np.arange(len(x)), best[1][1]]),
                      np.concatenate([best[0][1], np.arange(len(y))])], axis=1)  # fmt: skip
    margins, mined, used = np.concatenate([best[0][0], best[1][0]]), [], (set(), set())
    for number in np.argsort(-margins):
        left, right = pairs[number]
        if left not in used[0] and right not in used[1]:
            used[0].add(left)
            used[1].add(right)
            if margins[number] > 0:
                mined.append((float(margins[number]), int(left), int(right)))
    return mined, seconds


def main(path, name, checkpoint):
    """Train and score one target of a study."""
    from xstilts.features import label_names
    from xstilts.sources import open_source
    from xstilts.study import load_study
    from xstilts.target_runs import evaluation_split, target_runs

    study = load_study(path)
    source, lengths = open_source(study), study.training.max_length
    (target,) = (target for target in target_runs(study, source, "all") if target.name == name)
    task, languages = target.task, target.languages(study, source)
    data = {language: source.load(task, evaluation_split(source, task), language) for language in languages}
    if target.untrained:
        print(retrieve(checkpoint, data, lengths.retrieval))
        return
    phase, trained = target.phase(study), study.training_task(task)
    rows = source.load(trained, *target.training_sets(study, source)[0])
    labels, tokenizer = label_names(trained, rows), AutoTokenizer.from_pretrained(checkpoint)
    encoded = encode(task.kind, rows, tokenizer, lengths, labels)
    options = {"batch": phase.batch_size, "steps": phase.steps, "frozen": phase.freeze_embeddings}
    made = trainer(task.kind, checkpoint, tokenizer, labels, encoded, **options)
    made.train()
    predictions = score(task.kind, made, data, tokenizer, lengths, labels)
    print({language: len(values) for language, values in predictions.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
