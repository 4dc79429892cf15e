"""Canonical columns -> token features, one function per kind.

A feature is a dict of plain lists (``input_ids`` and labels) with ``example``, the row it came from, and
``token_type_ids`` where the tokenizer tells first texts from second ones (BERT's does).
Pairs are cut, choices at their start, taggings are split into windows of whole words, passages into overlapping
windows: no tag and no answer is lost to a length limit.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from xstilts.errors import refuse
from xstilts.settings import LengthSettings
from xstilts.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

IGNORED = -100  # torch's ignore_index: no loss at this position
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # what a model reads; the rest of a batch is gold
MAX_QUESTION = 64  # tokens (official BERT/jiant scripts' max_query_length)

# tokens of a query and of a candidate, by the kind of the training set: train_lareqa.sh and train_mewslix.sh
PAIR_LENGTHS = {"span": (96, 256), "ranking": (64, 64)}

PROBE = "The 3 cats, Äpfel кошки القط बिल्ली แมว 猫と 고양이"  # words in several scripts

COLUMNS_READ = {  # by what says whether a row can be learned from
    "classification": ("text_a", "text_b", "label"),
    "choice": ("context", "question", "choices", "label"),
    "tagging": ("tokens",),
    "span": ("context", "question", "answers", "is_impossible"),
}
Feature = dict[str, Any]


def label_names(task: Task, dataset: Dataset) -> list[str]:
    """Labels in the order of the head: the task's own, else (supertags) those of the training data, sorted."""
    if task.kind == "tagging" and not task.labels:
        return sorted({tag for tags in dataset["tags"][:] for tag in tags})
    return list(task.labels)


def learnable(task: Task, dataset: Dataset) -> list[int]:
    """Rows to train on: those with a label and without an empty text (nothing but white space: either text of a pair,
    what a choice follows, a choice, a passage, a question, all words of a sentence), for spans those whose answers
    stand at their offsets or that have none to be found. Machine translation loses some."""
    if task.kind not in COLUMNS_READ:
        return list(range(len(dataset)))
    columns = [dataset[name][:] for name in COLUMNS_READ[task.kind]]
    if task.kind == "classification":
        pairs = any(map(str.strip, columns[1]))  # else one text is what is classified
        usable = [a.strip() and (b.strip() or not pairs) and label >= 0 for a, b, label in zip(*columns, strict=True)]
    elif task.kind == "choice":
        rows = zip(*columns, strict=True)
        usable = [(a + b).strip() and all(map(str.strip, choices)) and label >= 0 for a, b, choices, label in rows]
    elif task.kind == "tagging":
        usable = ["".join(words).strip() for words in columns[0]]
    else:
        usable = [
            a.strip() and b.strip() and (none or _has_answer(a, c)) for a, b, c, none in zip(*columns, strict=True)
        ]
    return [index for index, row in enumerate(usable) if row]


def _has_answer(context: str, answers: dict) -> bool:
    spans = list(zip(answers["text"], answers["answer_start"], strict=True))
    return bool(spans) and all(text.strip() and start >= 0 and context.startswith(text, start) for text, start in spans)


def encode(
    task: Task, dataset: Dataset, tokenizer: "Tokenizer", lengths: LengthSettings, labels: Sequence[str] = ()
) -> list[Feature]:
    """Features of ``dataset`` for the head of ``task.kind``; ``labels`` as from :func:`label_names`."""
    if task.kind == "classification":
        return _pairs(dataset, tokenizer, lengths.classification)
    if task.kind == "choice":
        return _choices(dataset, tokenizer, lengths.choice)
    if task.kind == "tagging":
        return _words(dataset, tokenizer, lengths.tagging, labels)
    if task.kind == "span":
        return _windows(dataset, tokenizer, lengths.span, lengths.stride)
    raise ValueError(f"{task.kind}: no features, the encoder reads the text itself")


def _pairs(dataset: Dataset, tokenizer: "Tokenizer", max_length: int) -> list[Feature]:
    second = dataset["text_b"][:]  # empty throughout: one text is what is classified
    batch = tokenizer(dataset["text_a"][:], second if any(second) else None, truncation=True, max_length=max_length)
    labels = enumerate(dataset["label"][:])
    return [{**_inputs(batch, index), "labels": label, "example": index} for index, label in labels]


def _inputs(batch: Any, rows: int | slice) -> Feature:
    """``input_ids`` (and ``token_type_ids``) of one row of a tokenized batch, or of several as lists of lists."""
    return {key: batch[key][rows] for key in ("input_ids", "token_type_ids") if key in batch}


def _choices(dataset: Dataset, tokenizer: "Tokenizer", max_length: int) -> list[Feature]:
    """``input_ids`` is a list per choice: context and question, then the choice. What is too long is cut at its start
    (so does jiant): the question stands at the end."""
    choices = dataset["choices"][:]
    rows = zip(dataset["context"][:], dataset["question"][:], choices, strict=True)
    prompts = [f"{context} {question}".strip() for context, question, options in rows for _ in options]
    side, tokenizer.truncation_side = tokenizer.truncation_side, "left"
    try:
        batch = tokenizer(prompts, list(chain.from_iterable(choices)), truncation=True, max_length=max_length)
    finally:
        tokenizer.truncation_side = side
        tokenizer.backend_tokenizer.no_truncation()  # what is set is saved with an encoder and read again
    ends = accumulate(map(len, choices))
    return [
        {**_inputs(batch, slice(end - len(options), end)), "labels": label, "example": index}
        for index, (options, end, label) in enumerate(zip(choices, ends, dataset["label"][:], strict=True))
    ]


def _words(dataset: Dataset, tokenizer: "Tokenizer", max_length: int, labels: Sequence[str]) -> list[Feature]:
    """First sub-token of each word carries its label; long sentences split between words, never cut.

    Also ``word_starts``, ``first_word``: positions of the first sub-tokens, and the sentence's word
    that the first of them belongs to. A tag unknown to the head (zero-shot data may hold one) is
    ignored in the loss and counts as wrong in the score.
    """
    label_ids = {label: index for index, label in enumerate(labels)}
    # some "words" of real treebanks are white space or control characters that a tokenizer drops
    words = sorted({word for row in dataset["tokens"][:] for word in row})
    word_tokens = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []  # it takes no empty list
    blank = {word for word, ids in zip(words, word_tokens, strict=True) if not ids}
    # a blank before each word but the first, as in running text: byte-level tokenizers read it, others pass over it
    sentences = [
        [tokenizer.unk_token if word in blank else " " * (number > 0) + word for number, word in enumerate(row)]
        for row in dataset["tokens"][:]
    ]
    room = max_length - tokenizer.num_special_tokens_to_add()
    tokenized = tokenizer(sentences, is_split_into_words=True, add_special_tokens=False)
    pieces = []  # (sentence, first word, words)
    for index, words in enumerate(sentences):
        widths = Counter(tokenized.word_ids(index)) if len(tokenized["input_ids"][index]) > room else Counter()
        start = used = 0
        for position in range(len(words)):
            if used and used + widths[position] > room:
                pieces.append((index, start, words[start:position]))
                start, used = position, 0
            used += widths[position]
        pieces.append((index, start, words[start:]))
    texts = [words for _, _, words in pieces]
    batch = tokenizer(texts, is_split_into_words=True, truncation=True, max_length=max_length)
    tags, features = dataset["tags"][:], []
    for piece, (index, first, _) in enumerate(pieces):
        word_ids = batch.word_ids(piece)
        neighbours = enumerate(pairwise([None, *word_ids]))
        starts = [position for position, (before, word) in neighbours if word not in (None, before)]
        targets = [IGNORED] * len(word_ids)
        for position in starts:
            targets[position] = label_ids.get(tags[index][first + word_ids[position]], IGNORED)
        inputs = {"input_ids": batch["input_ids"][piece], "labels": targets, "example": index}
        features.append({**inputs, "word_starts": starts, "first_word": first})
    return features


def _windows(dataset: Dataset, tokenizer: "Tokenizer", max_length: int, stride: int) -> list[Feature]:
    """Question and a window of the passage, each ``stride`` tokens after the one before it, as the official SQuAD
    scripts and jiant count (a tokenizer's ``stride`` is what two windows share). ``start_positions``/``end_positions``
    (inclusive) are those of the first gold answer, 0 (<s>) where the window does not hold it; ``offsets`` gives each
    passage token's characters, None for other tokens."""
    questions, contexts = _shortened(dataset["question"][:], tokenizer), dataset["context"][:]
    widths = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    rooms = [max_length - width - tokenizer.num_special_tokens_to_add(pair=True) for width in widths]
    problem = f"max_length.span: {max_length} tokens leave no room for a passage beside {max(widths)} of question"
    refuse(min(rooms) < 2, problem)
    all_answers, features = dataset["answers"][:], []
    for room in sorted(set(rooms)):  # what windows share depends on the question's length
        rows = [row for row, available in enumerate(rooms) if available == room]
        texts = [questions[row] for row in rows], [contexts[row] for row in rows]
        cut: dict[str, Any] = {"truncation": "only_second", "max_length": max_length, "stride": max(0, room - stride)}
        batch = tokenizer(*texts, return_overflowing_tokens=True, return_offsets_mapping=True, **cut)
        for window, sample in enumerate(batch["overflow_to_sample_mapping"]):
            index = rows[sample]
            spans = zip(batch["offset_mapping"][window], batch.sequence_ids(window), strict=True)
            offsets = _completed([tuple(span) if part == 1 else None for span, part in spans], contexts[index])
            start, end = _answer_tokens(all_answers[index], contexts[index], offsets)
            positions = {"start_positions": start, "end_positions": end}
            features.append({**_inputs(batch, window), **positions, "example": index, "offsets": offsets})
    return sorted(features, key=lambda feature: feature["example"])


def _completed(offsets: list, context: str) -> list:
    """Offsets with the letters and marks between a token and the next that belong to neither: a normaliser that
    composes (accents, the parts of a Korean syllable) or strips leaves them out; here the token before has them."""
    completed, following = list(offsets), 0
    for position in reversed([position for position, span in enumerate(offsets) if span]):
        start, end = offsets[position]
        if following:
            while start < end < following and unicodedata.category(context[end])[0] in "LM":
                end += 1
        else:  # behind a window a mark may be of the next one's first token, but for one that is composed with this
            while start < end < len(context) and _width(context[start : end + 1]) <= _width(context[start:end]):
                end += 1
        completed[position] = start, end
        following = start if start < end else following
    return completed


def _width(text: str) -> int:
    return len(unicodedata.normalize("NFKC", text))


def in_no_window(dataset: Dataset, features: Sequence[Feature]) -> list[int]:
    """Rows of a span set whose answer no window of ``features`` holds: they would be trained on as unanswerable."""
    placed = {feature["example"] for feature in features if feature["end_positions"]}
    return [row for row, answers in enumerate(dataset["answers"][:]) if answers["text"] and row not in placed]


def check_offsets(tokenizer: "Tokenizer") -> None:
    """UserError where the offsets of a tokenizer leave out characters of a text, so that answers have no tokens."""
    spans = tokenizer(PROBE, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    covered = {position for start, end in _completed(spans, PROBE) for position in range(start, end)}
    absent = "".join(sign for position, sign in enumerate(PROBE) if position not in covered and not sign.isspace())
    problem = f'the offsets of its tokens leave out "{absent}" of "{PROBE}", so that answers could not be placed'
    refuse(absent, f"{problem}; choose another encoder, or mend its post-processor (trim_offsets: false)")


def _shortened(questions: list[str], tokenizer: "Tokenizer") -> list[str]:
    """Questions cut to MAX_QUESTION tokens, by characters so that nothing is re-tokenised differently."""
    offsets = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    rows = zip(questions, offsets, strict=True)
    return [text if len(spans) <= MAX_QUESTION else text[: spans[MAX_QUESTION - 1][1]] for text, spans in rows]


def _answer_tokens(answers: dict, context: str, offsets: list) -> tuple[int, int]:
    if not answers["text"]:
        return 0, 0
    start, text = answers["answer_start"][0], answers["text"][0]
    first, last = start + len(text) - len(text.lstrip()), start + len(text.rstrip())  # no token begins with a blank
    covering = [
        position
        for position, span in enumerate(offsets)
        if span is not None and span[0] < last and span[1] > first and context[span[0] : span[1]].strip()
    ]
    if not covering:
        return 0, 0
    # a normaliser may drop signs, such as those of direction, at the edges of an answer
    outside = context[first : offsets[covering[0]][0]] + context[offsets[covering[-1]][1] : last]
    if any(unicodedata.category(sign)[0] not in "CM" for sign in outside):
        return 0, 0
    return covering[0], covering[-1]


def with_shuffled_labels(features: Sequence[Feature], seed: int) -> list[Feature]:
    """The features of a training set, each label that of another: labels of examples, or tags of words, in random
    order; of windows which have an answer, and its length, while its position is drawn from the passage."""
    rng = random.Random(seed)
    if "offsets" in features[0]:
        spans = [(feature["start_positions"], feature["end_positions"]) for feature in features]
        lengths = [end - start if end else -1 for start, end in spans]
        rng.shuffle(lengths)
        positions = [_drawn(rng, feature, length) for feature, length in zip(features, lengths, strict=True)]
        keys = ("start_positions", "end_positions")
        return [feature | dict(zip(keys, pair, strict=True)) for feature, pair in zip(features, positions, strict=True)]
    tags = isinstance(features[0]["labels"], list)
    rows = [feature["labels"] if tags else [feature["labels"]] for feature in features]
    labels = [label for row in rows for label in row if label != IGNORED]
    rng.shuffle(labels)
    order = iter(labels)
    rows = [[label if label == IGNORED else next(order) for label in row] for row in rows]
    return [feature | {"labels": row if tags else row[0]} for feature, row in zip(features, rows, strict=True)]


def _drawn(rng: random.Random, feature: Feature, length: int) -> tuple[int, int]:
    """First and last token of a random span of the passage; (0, 0) for a negative ``length``."""
    passage = [position for position, span in enumerate(feature["offsets"]) if span]
    if length < 0:
        return 0, 0
    start = rng.randrange(max(1, len(passage) - length))
    return passage[start], passage[min(start + length, len(passage) - 1)]


def encode_text(texts: Iterable[str], tokenizer: "Tokenizer", max_length: int) -> list[Feature]:
    """Features for masked LM; masks are drawn when a batch is made."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    return [{"input_ids": row, "example": index} for index, row in enumerate(ids)]


def token_table(task: Task, feature: Feature, tokenizer: "Tokenizer", labels: Sequence[str] = ()) -> pd.DataFrame:
    """The tokens of an encoded example (of choices: of the first) for a reader: token, id, the text that it stands for
    and, of taggings and spans, label."""
    ids = token_rows(feature["input_ids"])[0]
    texts = [tokenizer.decode([token_id]) for token_id in ids]
    table = pd.DataFrame({"token": tokenizer.convert_ids_to_tokens(ids), "id": ids, "text": texts})
    if task.kind == "tagging":
        table["label"] = ["" if label == IGNORED else labels[label] for label in feature["labels"]]
    elif task.kind == "span":
        answer = range(feature["start_positions"], feature["end_positions"] + 1)
        table["label"] = ["answer" if position in answer else "" for position in table.index]
    return table


def token_rows(values: list) -> list[list[int]]:
    """The rows of tokens of a feature: one, or of choices one each."""
    return values if isinstance(values[0], list) else [values]


def size(feature: Feature) -> tuple[int, int]:
    """(number of choices or 1, longest row in tokens): features of like size share a batch."""
    rows = token_rows(feature["input_ids"])
    return len(rows), max(map(len, rows))


def collate(features: Sequence[Feature], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad to the longest row. ``input_ids``, ``attention_mask`` and, where the features have them,
    ``token_type_ids`` are (batch, length), for choices (batch, choices, length); labels as the head wants them."""
    counts = {size(feature)[0] for feature in features}
    problem = "choice examples of one task differ in their number of choices; expected the same for all"
    refuse(len(counts) > 1, problem)
    shape = (len(features), *(counts if isinstance(features[0]["input_ids"][0], list) else ()), -1)

    def padded(rows: Iterable[list[int]], filling: int) -> torch.Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filling)

    ids = [row for feature in features for row in token_rows(feature["input_ids"])]
    batch = {"input_ids": padded(ids, pad_token_id), "attention_mask": padded([[1] * len(row) for row in ids], 0)}
    if "token_type_ids" in features[0]:
        types = [row for feature in features for row in token_rows(feature["token_type_ids"])]
        batch["token_type_ids"] = padded(types, 0)
    batch = {key: rows.view(shape) for key, rows in batch.items()}
    for key in ("labels", "start_positions", "end_positions"):
        if key in features[0]:
            values = [feature[key] for feature in features]
            batch[key] = padded(values, IGNORED) if isinstance(values[0], list) else torch.tensor(values)
    return batch


def mask_tokens(
    batch: dict[str, torch.Tensor],
    tokenizer: "Tokenizer",
    vocabulary: torch.Tensor,
    probability: float,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Add masked-LM ``labels``: ``probability`` of the non-special positions, of which 80 % become
    <mask>, 10 % a random token of the ``vocabulary``, 10 % stay (Devlin et al. 2019)."""
    ids = batch["input_ids"].clone()
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    draw = torch.rand(ids.shape, generator=generator)
    chosen = (draw < probability) & ~special
    if not chosen.any():  # a batch without a masked position has no loss
        first = (~special).nonzero()[0]
        chosen[tuple(first)] = True
    labels = torch.where(chosen, ids, torch.tensor(IGNORED))
    action = torch.rand(ids.shape, generator=generator)
    random_ids = vocabulary[torch.randint(len(vocabulary), ids.shape, generator=generator)]
    ids[chosen & (action < 0.8)] = tokenizer.mask_token_id
    swap = chosen & (action >= 0.8) & (action < 0.9)
    ids[swap] = random_ids[swap]
    return {**batch, "input_ids": ids, "labels": labels}
