"""Peak memory of evaluation and retrieval does not grow with the number of languages."""

import subprocess
import sys

import pytest

from toy import build_checkpoint

ROWS = 800
PRELUDE = f"""
import json, os, sys, threading, time
from pathlib import Path
import datasets, numpy as np, pandas as pd, torch, transformers
from xstilts.tasks import get
checkpoint, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
codes = [f"q{{chr(97 + place)}}" for place in range(count)]
rng = np.random.default_rng(0)
WORDS = "The Panthers defense gave up just 308 points ranking sixth in the league Verteidigung der gab nur ab".split()
def text(words):
    return " ".join(rng.choice(WORDS, words))
def rows_of(code):
    path = folder / code
    make(code).save_to_disk(path)
    return datasets.load_from_disk(path)
peak, ended = 0, False
def watch():
    global peak
    while not ended:
        with open("/proc/self/status") as lines:
            peak = max(peak, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.005)
def measured(work):
    global ended
    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.05)
    before = peak
    work()
    ended = True
    thread.join()
    print(json.dumps([before, peak]))
ROWS = {ROWS}
"""
EVALUATION = """
from xstilts import evaluation
from xstilts.evaluation import evaluate, predict, prediction_table
from xstilts.study import LengthSettings
def make(code):
    contexts = [text(60) for _ in range(ROWS)]
    return datasets.Dataset.from_dict({
        "id": [f"{code}-{row}" for row in range(ROWS)], "context": contexts, "question": ["who gave up"] * ROWS,
        "answers": [{"text": [c[:5]], "answer_start": [0]} for c in contexts], "is_impossible": [False] * ROWS})
data = {code: rows_of(code) for code in codes}
tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
model = transformers.AutoModelForQuestionAnswering.from_pretrained(checkpoint)
evaluation.BATCH_TOKENS = 1024
real = model.forward
def cheap(input_ids, **_):  # what is measured is what waits, not the model
    scores = torch.zeros(input_ids.shape)
    return transformers.modeling_outputs.QuestionAnsweringModelOutput(start_logits=scores, end_logits=scores)
model.forward = cheap
warm = {"qa": data["qa"].select(range(20))}
task = get("xquad")
predict(model, task, warm, tokenizer, LengthSettings(), [])
def work():
    found = predict(model, task, data, tokenizer, LengthSettings(), [])
    evaluate(task, data, found), prediction_table(data, found)
measured(work)
"""
RETRIEVAL = """
from xstilts import retrieval
from xstilts.retrieval import embed
from xstilts.study import RetrievalSettings
def make(code):
    return datasets.Dataset.from_dict({"text": [f"{code} {row} {text(60)}" for row in range(ROWS)]})
pool = datasets.concatenate_datasets([rows_of(code) for code in codes])
tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
model = transformers.AutoModel.from_pretrained(checkpoint).eval()
retrieval.CHUNK = 256
embed(model, tokenizer, pool["text"][:20], [0, 1, 2], RetrievalSettings(), 128, 1024)
measured(lambda: embed(model, tokenizer, pool["text"], [0, 1, 2], RetrievalSettings(), 128, 1024))
"""


def growth(tmp_path, checkpoint, code: str, languages: int) -> float:
    """MiB of its own that the work needed at its peak."""
    folder = tmp_path / str(languages)
    asked = [sys.executable, "-c", PRELUDE + code, str(checkpoint), str(folder), str(languages)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, peak = map(int, done.stdout.strip().splitlines()[-1].strip("[]").split(","))
    return (peak - before) / 1024


@pytest.mark.parametrize("code", [EVALUATION, RETRIEVAL], ids=["evaluation", "retrieval"])
def test_four_times_the_languages_need_no_more_memory(tmp_path, code):
    checkpoint = build_checkpoint(tmp_path / "checkpoint")
    two, eight = (growth(tmp_path, checkpoint, code, languages) for languages in (2, 8))
    print(f"{two:.1f} MiB for 2 languages, {eight:.1f} for 8")
    assert eight < 1.6 * two + 8
