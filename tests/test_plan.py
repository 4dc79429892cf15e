"""A plan says what a study that is really run then records, and its FLOPs are those of a hand and of torch."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
import yaml
from torch.utils.flop_counter import FlopCounterMode

from xstilts import phases, plan
from xstilts.__main__ import main
from xstilts.errors import UserError
from xstilts.io import read_record
from xstilts.plan import Amount, Encoder, peak_flops, read_config
from xstilts.runs import Run
from xstilts.settings import AdapterSettings, EncoderSettings
from xstilts.sources import open_source
from xstilts.sources.cache import CachedSource
from xstilts.sources.micro import MicroSource
from xstilts.study import load_study
from xstilts.target_runs import TargetRun
from xstilts.tasks import get
from xstilts.training.adapters import add_adapter

STATED = ("H100", "at a rate as stated")
KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining")
STUDY = {
    "name": "tiny",
    "intermediate": ["none", "mnli", "hellaswag+mlm", "mnli+squad1@qab", "ccg"],
    "targets": ["xnli", "udpos", "xquad", "mlqa", "bucc", "tatoeba"],
    "keep": "all",
    "micro": {"documents": 1500, "languages": ["qaa", "qab", "qac"]}
    | {kind: {"train": 200, "dev": 30, "test": 30} for kind in KINDS},
    "encoder": {"pretrain": {"steps": 40, "layers": 1}},
    "training": {
        "intermediate": {"epochs": 2, "batch_size": 20, "learning_rate": 0.001},
        "target": {"steps": 12, "batch_size": 16, "accumulate": 2, "learning_rate": 0.001},
        "overrides": {"udpos": {"steps": 0, "epochs": 1, "examples": 90}, "hellaswag+mlm": {"steps": 25}},
        "max_length": dict.fromkeys((*KINDS[:4], "retrieval", "mlm"), 158) | {"stride": 64},
        "mix": {"mlm_documents": 100, "cap": 200},
    },
}


def write(folder, **changes):
    path = folder / "tiny.yaml"
    folders = {"runs": str(folder / "runs"), "figures": str(folder / "figures")}
    path.write_text(yaml.safe_dump(STUDY | folders | changes))
    return path


def table_of(study, source=None):
    return plan.cost_table(plan.Samples(study, source)).set_index("run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(the study, its plan's table before anything was run, the records of what then ran)."""
    study = load_study(write(tmp_path_factory.mktemp("plan")))
    before = table_of(study)
    source, records = open_source(study), {}
    records["encoder/seed1"] = phases.encoder(study, source, 1)
    for name in STUDY["intermediate"][1:]:
        records[f"intermediate/{name}/seed1"] = phases.intermediate(study, source, name, 1)
    list(phases.targets(study, source, "none", "all", 1))
    folder = Run("targets", 1, "none", "all").folder(study)
    models = [read_record(path) for path in folder.glob("models/*/training.json")]
    records["targets/none/all/seed1"] = {key: sum(model[key] for model in models) for key in ("steps", "tokens")}
    return study, before, records


def test_steps_and_tokens_are_those_that_training_then_records(trained):
    study, before, records = trained
    after = table_of(study)
    for name, record in records.items():
        for table in (before, after):  # with a tokenizer of a sample, and with the encoder's own
            assert table.loc[name, "steps"] == record["steps"], name
            assert table.loc[name, "training_tokens"] == pytest.approx(record["tokens"], rel=0.04), name
        examples = sum(record.get("examples", {}).values())
        assert not examples or after.loc[name, "examples"] == pytest.approx(examples), name
    # two whole epochs of sets that the samples cover: nothing is left to estimate but which documents are drawn
    for name, error in (("intermediate/mnli/seed1", 1e-9), ("intermediate/hellaswag+mlm/seed1", 0.005)):
        assert after.loc[name, "training_tokens"] == pytest.approx(records[name]["tokens"], rel=error)
    assert set(before["state"]) == {"missing"}


def test_scored_tokens_are_those_of_every_language(trained):
    study, _, _ = trained
    samples, source = plan.Samples(study), open_source(study)
    tokenizer = samples.tokenizer
    sets = [source.load(get("xnli"), "test", language) for language in study.micro.languages]
    pairs = [len(ids) for rows in sets for ids in tokenizer(rows["text_a"][:], rows["text_b"][:])["input_ids"]]
    amount = samples.evaluation(TargetRun(get("xnli")))
    assert amount.tokens == pytest.approx(sum(pairs))
    assert amount.squares == pytest.approx(sum(length**2 for length in pairs))
    assert samples.evaluation(TargetRun(get("bucc"))).examples == 2 * (30 + 30) * 2  # sides, dev and test, languages


def test_a_set_without_a_development_set_is_planned(tmp_path):
    tuned = {"targets": ["mewslix"], "training_languages": ["source"]}
    study = load_study(write(tmp_path, further={"tuned": tuned}))
    table = table_of(study)
    rows = table[table["bundle"] == "tuned"]
    assert (rows["training_tokens"] > 0).all() and (rows["scoring_tokens"] > 0).all() and len(rows) == 1


def test_report_says_what_is_done_and_fits_the_page(trained, tmp_path, capsys, monkeypatch):
    study, _, _ = trained
    csv = tmp_path / "plan.csv"
    monkeypatch.setattr("sys.argv", ["xstilts", "plan", study.path, "--gpu", "A100-40GB", "--csv", str(csv)])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("Already done: 0 of 10 runs") for line in lines)
    assert sum(line.startswith("  all ") for line in lines) == 1  # five bundles of equal cost
    table = pd.read_csv(csv, keep_default_na=False)
    flops = table["flops"].sum()
    assert len(table) == 11 and table["hours"].sum() == pytest.approx(flops / (0.4 * 19.5e12 * 3600), abs=1e-5)
    total = next(line for line in lines if line.startswith("  total"))
    assert total.endswith("0/10") and f"{flops:.1e}" in total


def test_a_done_run_is_counted_and_not_left_to_pay(trained, monkeypatch):
    monkeypatch.setattr(plan, "state", lambda study, run, fingerprints: "done" if run.phase == "encoder" else "stale")
    samples = plan.Samples(trained[0])
    table = plan.cost_table(samples).assign(hours=2.0)
    table["scoring_flops"] = table["flops"] / 4
    text = " ".join(plan.report(samples, table, *STATED, bf16=0.25).split())
    assert "Already done: 1 of 10 runs; stale, to be done again: 9. Left: 18 of 20 H100-hours." in text
    assert "Scoring takes 5.00 of them, in the precision of training. With PRECISION=bf16: 5.00 hours in all." in text


@pytest.mark.parametrize("keep", ["all", "pretrained"])
def test_disk_is_what_stays(trained, keep):
    study = trained[0]
    table = table_of(study.model_copy(update={"keep": keep})).groupby("phase")[["disk", "temporary"]].first()
    encoder = (Run("encoder", 1).folder(study) / "checkpoint" / "model.safetensors").stat().st_size
    assert table.loc["encoder", "disk"] == pytest.approx(encoder, rel=0.15)  # with a tokenizer, without the LM head
    assert (table.loc["intermediate", "disk"] > 0) == (keep == "all")
    models = table.loc["targets"]["disk" if keep == "all" else "temporary"]
    assert models == pytest.approx(3 * encoder, rel=0.15)  # of mnli, udpos and squad1


class Paper(MicroSource):
    """Sets as large as MNLI's (nyu-mll/multi_nli) and not on this machine."""

    def known_size(self, task, split, language):
        return {"train": 392_702, "dev": 9_815, "test": 5_010}[split]

    def at_hand(self, *arguments):
        return False


def test_xlmr_large_on_mnli_by_hand(tmp_path):
    path = write(
        tmp_path, intermediate=["none", "mnli"], targets=["xnli"],
        encoder={"checkpoint": "FacebookAI/xlm-roberta-large"},
        training={"intermediate": {"epochs": 3, "batch_size": 32}, "mix": {"cap": 1_000_000}},
    )  # fmt: skip
    study = load_study(path)
    samples = plan.Samples(study, CachedSource(Paper(study.micro), tmp_path / "data"))
    row = plan.cost_table(samples).set_index("run").loc["intermediate/mnli/seed1"]
    # N: 24 layers of 4 * (1024^2 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024
    assert samples.encoder.body == 302_309_376
    assert row["steps"] == 36_816  # 3 * 392,702 / 32 = 36,815.8
    assert row["training_tokens"] == 54_192_876  # 3 * 392,702 rows of 46 tokens (lengths.csv)
    assert row["scoring_tokens"] == 451_490  # 9,815 rows
    training = 6 * 302_309_376 * 54_192_876  # 9.83e16
    attention = 12 * 24 * 1024 * 54_192_876 * 46 * 1.1  # 8.09e14
    head = 6 * 1024 * (1024 + 3) * 1_178_106  # 7.43e12
    scoring = 2 * 302_309_376 * 451_490 + 4 * 24 * 1024 * 451_490 * 46 * 1.1 + 2 * 1024 * 1027 * 9_815
    assert row["flops"] == pytest.approx(training + attention + head + scoring, rel=1e-12)
    assert row["flops"] == pytest.approx(9.939e16, rel=1e-3) and row["scoring_flops"] == pytest.approx(scoring)
    assert "mnli" in samples.tasks["assumed"] and not samples.tasks["measured"]


def test_sets_that_are_on_no_hub_have_their_published_sizes():
    """BUCC and CCGbank of the paper's study, whose files are not here."""
    samples = plan.Samples(load_study("xtreme"))
    table = plan.cost_table(samples)
    rows, out = table.set_index("run"), table["state"] == "left out"
    sentences = 72_947 + 59_566 + 118_225 + 22_213 + 813_206 + 641_684 + 1_019_254 + 183_497  # both sides, dev and test
    bucc = rows.loc["targets/mnli/bucc/seed1"]
    assert bucc["scoring_tokens"] == 32 * sentences and bucc["training_tokens"] == 0  # lengths.csv
    expected = Amount(tokens=32 * sentences, squares=32**2 * 1.1 * sentences)
    assert bucc["flops"] == pytest.approx(samples.encoder.forward(expected))
    ccg = rows.loc["intermediate/ccg/seed1"]
    assert ccg["examples"] == 38_015 and ccg["steps"] == 3_564 and ccg["training_tokens"] == 3 * 38_015 * 26
    assert set(table.loc[out, "intermediate"]) == {"ccg"} and out.sum() == 1 + 9
    assert table["intermediate"].unique()[1:].tolist() == [*samples.study.intermediate[1:], "none"]
    table["hours"] = table["flops"] / 1e15
    lines = plan.report(samples, table, *STATED).splitlines()
    text = " ".join(lines)
    assert {line[:10].strip(" *") for line in lines if " * " in line[:14]} == {"ccg", "bucc", "left out"}
    assert "* Estimated for bucc, ccg: not on the hub and not here" in text
    assert f"Left: {table.loc[~out, 'hours'].sum():,.0f} of {table.loc[~out, 'hours'].sum():,.0f} H100-hours" in text


def test_what_is_not_known_is_not_nothing(tmp_path):
    """A target without its files on the files source, whose sets are of any size."""
    encoder = {"checkpoint": "FacebookAI/xlm-roberta-base"}
    path = write(tmp_path, source="files", source_language="en", files={"root": str(tmp_path)}, micro={},
                 intermediate=["none"], targets=["bucc"], bundle="each", encoder=encoder)  # fmt: skip
    samples = plan.Samples(load_study(path))
    lines = plan.report(samples, plan.cost_table(samples).assign(hours=0.0), *STATED).splitlines()
    assert next(line.split() for line in lines if line.startswith("  bucc")) == ["bucc", *"–––––––", "0/1"]
    assert "Not known, and in no total: bucc, whose data is not here." in lines


def config(layers=3, **sizes):
    return transformers.XLMRobertaConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=160, type_vocab_size=1, **sizes,
    )  # fmt: skip


@pytest.mark.parametrize("length", [16, 64])
def test_flops_are_those_that_torch_counts(length):
    settings = config(num_labels=3, attn_implementation="eager")
    model, encoder = transformers.XLMRobertaForSequenceClassification(settings), Encoder(settings)
    assert (encoder.parameters, encoder.body, encoder.trained) == plan._sizes(settings)
    assert encoder.parameters == sum(weight.numel() for weight in model.roberta.parameters())
    ids, amount = torch.randint(5, 500, (4, length)), Amount(4, 4, 4, 4 * length, 4 * length**2)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(ids)
    with FlopCounterMode(display=False) as training:
        model(ids, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    expected = encoder.forward(amount, "classification", 3)
    assert expected == pytest.approx(forward.get_total_flops(), rel=0.02)  # biases and norms are in N
    assert 3 * expected == pytest.approx(training.get_total_flops(), rel=0.02)
    masked = transformers.XLMRobertaForMaskedLM(settings).lm_head
    with FlopCounterMode(display=False) as logits, torch.no_grad():
        masked(torch.zeros(length, 64))  # a quarter of the tokens
    assert encoder.forward(amount, "text", masked=0.25) - encoder.forward(amount) == logits.get_total_flops()


def test_flops_of_an_adapter_are_those_that_torch_counts():
    settings, adapter = config(layers=12, attn_implementation="eager", num_labels=3), AdapterSettings(rank=4)
    model, encoder = transformers.XLMRobertaForSequenceClassification(settings), Encoder(settings, adapter)
    add_adapter(model.roberta, adapter)
    assert encoder.trained == sum(weight.numel() for weight in model.roberta.parameters() if weight.requires_grad)
    assert encoder.training_bytes == 32 * encoder.trained < Encoder(settings).training_bytes / 10
    with FlopCounterMode(display=False) as training:
        model(torch.randint(5, 500, (4, 64)), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    flops = encoder.training(Amount(4, 4, 4, 4 * 64, 4 * 64**2), "classification", 3)["flops"]
    assert flops == pytest.approx(training.get_total_flops(), rel=0.03)
    large = read_config(EncoderSettings(checkpoint="FacebookAI/xlm-roberta-large"), 0, Path("absent"))
    # as docs/reproduce.md says: 4 of 1024 by 1024, 2 of 1024 by 4096, in 24 layers
    assert Encoder(large, AdapterSettings(rank=16)).trained == 24 * 16 * (4 * 2048 + 2 * 5120) == 7_077_888


def test_encoders_that_are_known_without_a_network(tmp_path):
    """Layers of 12 * width^2 + 13 * width parameters each; of mDeBERTa as its model card has them, 86 M and 190 M."""
    for name, table in pd.read_csv(plan.ENCODERS, index_col="checkpoint").iterrows():
        encoder = Encoder(read_config(EncoderSettings(checkpoint=str(name)), 0, tmp_path))
        width, layers = table["hidden_size"], table["num_hidden_layers"]
        assert encoder.body == layers * (12 * width**2 + 13 * width), name
    assert round(encoder.body / 1e6) == 85 and round((encoder.parameters - encoder.body) / 1e6) == 193


def test_the_encoder_is_the_checkpoint_that_exists(trained, tmp_path, monkeypatch):
    checkpoint = Run("encoder", 1).folder(trained[0]) / "checkpoint"
    settings = EncoderSettings(checkpoint="xlm-roberta-base")
    assert read_config(settings, 0, checkpoint).hidden_size == 64
    assert read_config(settings, 0, tmp_path).num_hidden_layers == 12
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    study = load_study(write(tmp_path, encoder={"checkpoint": "~/checkpoint"}))
    assert plan.Samples(study).encoder.config.intermediate_size == 256
    with pytest.raises(UserError, match=r'encoder\.checkpoint "nobody/nothing".*FacebookAI/xlm-roberta-base'):
        read_config(EncoderSettings(checkpoint="nobody/nothing"), 0, tmp_path)
    with pytest.raises(UserError, match='"mnli@all=2": 2 examples of 3 languages together'):
        table_of(load_study(write(tmp_path, intermediate=["none", "mnli@all=2"])))


def test_every_gpu_has_a_peak_and_its_source():
    table = pd.read_csv(plan.GPUS, index_col="gpu")
    assert table["source"].str.contains("NVIDIA").all() and (table["fp16"] > table["fp32"]).all()
    assert peak_flops("H100", "bf16")[0] == 989.5e12
    for gpu, message in (("H10", 'unknown GPU "H10"; did you mean "H100"'), ("V100", "V100 has no bf16; it has fp32")):
        with pytest.raises(UserError, match=message):
            peak_flops(gpu, "bf16")
