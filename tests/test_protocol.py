"""params/xtreme.yaml against the hyperparameters that were collected from the authors' later code."""

import csv

import pytest

from xstilts.evaluation.prediction import MAX_ANSWER
from xstilts.features import MAX_QUESTION
from xstilts.io import ROOT
from xstilts.study import load_study
from xstilts.tasks import RETRIEVAL_KINDS, get

GIVEN = ROOT / ".." / "shared" / "published" / "hyperparameters.csv"


@pytest.mark.skipif(not GIVEN.is_file(), reason="the collected figures are not here")
def test_the_papers_study_is_trained_as_the_authors_code_says():
    with open(GIVEN, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["where"].startswith("jiant")]
    given = {(row["where"], row["task"], row["parameter"]): row["value"] for row in rows}
    study, target = load_study("xtreme"), "jiant target"
    trained = [name for name in study.targets if get(name).kind not in RETRIEVAL_KINDS]
    assert len(trained) == 7
    for name in trained:
        phase = study.phase("target", study.training_task(get(name)).name)
        batch = f"{phase.batch_size}x{phase.accumulate}={phase.batch_size * phase.accumulate}"
        assert batch == given[target, name, "train_batch_size x grad_accum"]
        assert phase.epochs == float(given[target, name, "epochs"])
    longest = study.training.max_length
    for phase in (study.phase("target", "mnli"), study.phase("intermediate", "mnli")):
        ours = {
            ("all", "learning_rate"): phase.learning_rate, ("all", "warmup_steps_proportion"): phase.warmup,
            ("all", "eval_every_steps"): phase.evaluate_every,
            ("all", "no_improvements_for_n_evals (patience)"): phase.patience,
            ("all", "eval_subset_num (early-stopping dev examples)"): phase.evaluate_examples,
            ("all", "mlm_probability"): study.training.mix.mlm_probability,
            ("xnli/pawsx/udpos/panx/mnli", "max_seq_length"): longest.classification,
            ("xquad/mlqa/tydiqa/squad_v1", "max_seq_length"): longest.span,
            ("bucc2018/tatoeba", "max_seq_length"): longest.retrieval,
        }  # fmt: skip
        assert ours == {key: float(given[target, *key]) for key in ours}
        assert given[target, "all", "optimizer"] == (
            f"AdamW lr-linear-decay, eps {phase.adam_epsilon:.0e}, weight_decay {phase.weight_decay} (none on "
            f"bias/LayerNorm), max_grad_norm {phase.max_grad_norm}"
        ).replace("e-08", "e-8")
    before, simple = study.phase("intermediate", "mnli"), "jiant simple API"
    assert before.epochs == float(given[simple, "intermediate", "num_train_epochs"])
    assert before.batch_size * before.accumulate == float(given[simple, "intermediate", "train_batch_size"])
    assert longest.tagging == longest.classification
    spans = given[target, "all", "doc_stride/max_query/n_best/max_answer"].split("/")
    assert [int(spans[index]) for index in (0, 1, 3)] == [longest.stride, MAX_QUESTION, MAX_ANSWER]
    assert f"hidden_states[{study.retrieval.layer}]" in given[target, "all", "retrieval_layer"]
    assert study.retrieval.special_tokens
    assert given[target, "all", "retrieval pooler"].startswith(study.retrieval.pooling)
