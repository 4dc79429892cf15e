"""Every task of the study, declared once.

A task says what it is (kind, labels in order, metrics), which set trains it, and where the
original distribution and the hub keep it. Nothing here loads data: :mod:`xstilts.sources` does.
"""

from dataclasses import dataclass, field

from xstilts.errors import UserError, nearest
from xstilts.locations import MANY, MASAKHANER_CODES, TATOEBA_CODES, TYDIQA_NAMES, UDPOS_NAMES, Files, Folder, Hub, hub

KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining", "ranking")
RETRIEVAL_KINDS = ("parallel", "mining", "ranking")  # no head: pooled encoder states

NLI = ("entailment", "neutral", "contradiction")
UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
PARAPHRASE = ("0", "1")
WIKIANN = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


@dataclass(frozen=True)
class Task:
    """One task. ``labels`` is the label order of the head; empty for tasks whose labels come from
    their training data (supertags) or that have none (span, choice, retrieval).

    ``metrics``: the main one first; several are averaged into the XTREME score of the task.
    ``languages``: those of the published set, for completeness checks; a source may hold fewer or more.
    ``trained_on``: the task whose training split trains this one ("" = its own).
    ``independent``: whether its sets in several languages are no translations of each other.
    ``scorer``: "squad" or "mlqa" answer normalisation (span kind only).
    ``choices``: how many each question of the published set has (choice kind only).
    ``files``: split ("train", "dev", "test"; of rankings "pool") -> where the original distribution keeps it.
    ``hub``: split -> where the hub keeps it, the rows of several places one after the other.
    """

    name: str
    kind: str
    title: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    trained_on: str = ""
    scorer: str = "squad"
    files: dict[str, Files] = field(default_factory=dict)
    hub: dict[str, tuple[Hub | Folder, ...]] = field(default_factory=dict)
    citation: str = ""
    independent: bool = False
    choices: int = 0

    @property
    def training_set(self) -> str:
        """Name of the task whose training split trains this one."""
        return self.trained_on or self.name

    @property
    def chance(self) -> float:
        """Accuracy of guessing among labels or choices, in percent; 0 for other kinds, and where it is not known."""
        among = {"classification": len(self.labels), "choice": self.choices}.get(self.kind, 0)
        return 100 / among if among else 0.0


SPLITS = ("train", "dev", "test")
TRANSLATED = "mt"  # a further split: the training set machine-translated out of the source language
POOL = "pool"  # a further split of a ranking task: the candidates, of all languages together
_QA = ("f1", "exact_match")
_RANKED = ("map@20", "recall@1", "recall@5", "recall@10", "recall@20", "cross_map@20", "own@1", "own@20")
_SQUAD_DEV = ("xquad", "xquadr", "lareqa")  # drawn from the articles of the SQuAD development sets


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = _codes("de en es fr ja ko zh")
_UDPOS = _codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = _codes(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl "
    "tr ur vi yo zh"
)
_XQUAD = _codes("ar de el en es hi ru th tr vi zh")
_MLQA = _codes("ar de en es hi vi zh")
_TYDIQA = _codes("ar bn en fi id ko ru sw te")
_BUCC = _codes("de fr ru zh")
_TATOEBA = _codes(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)
_MEWSLIX = _codes("ar de en es fa ja pl ro ta tr uk")
_XCOPA = _codes("et ht id it qu sw ta th tr vi zh")
_MASAKHANER = _codes("am ha ig lg luo pcm rw sw wo yo")
_AMERICASNLI = _codes("ay bzd cni gn hch nah oto quy shp tar")


def _xtreme(task: str, reader: str, split: str, *more: str) -> Files:
    """A set as XTREME's download script lays it out; ``more`` are other layouts of the same set."""
    return Files(reader, (f"{task}/{split}-{{language}}.tsv", *more))


def _squad_json(*paths: str, overlaps: tuple[str, ...] = ()) -> Files:
    return Files("squad", paths, overlaps=overlaps)


_XQUAD_R = ("lareqa/xquad-r/{language}.json",)


def _tydiqa(split: str) -> Files:
    name = f"tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{{language}}.{split}.json"
    return _squad_json(f"tydiqa-goldp/{name}", f"tydiqa/{name}")


_MULTI_NLI = hub("nli", "nyu-mll/multi_nli", "default", train="train", dev="validation_matched")
_SNLI = hub("nli", "stanfordnlp/snli", "plain_text", train="train", dev="validation")
_ANLI = {
    split: tuple(Hub("nli", "facebook/anli", "plain_text", f"{split}_r{number}") for number in (1, 2, 3))
    for split in ("train", "dev")
}
# MultiNLI's training set in the other languages of XNLI, machine-translated by XNLI's authors
_XNLI_TRAIN = Hub("nli", "facebook/xnli", "{language}", "train", languages=tuple(c for c in _XNLI if c != "en"))

_INTERMEDIATE = (
    Task(
        "anli", "classification", "ANLI+", ("accuracy",), NLI,
        files={
            "train": Files("pairs", ("anli/R?/train.jsonl",)),
            "dev": Files("pairs", ("anli/R?/dev.jsonl",)),
        },
        hub={split: (*_ANLI[split], *_MULTI_NLI[split], *_SNLI[split]) for split in ("train", "dev")},
        citation="Nie et al. 2020, arXiv:1910.14599",
    ),
    Task(
        "mnli", "classification", "MNLI", ("accuracy",), NLI,
        files={
            "train": Files("pairs", ("mnli/train.tsv", "multinli_1.0/multinli_1.0_train.jsonl", "xnli/train-en.tsv")),
            "dev": Files("pairs", ("mnli/dev_matched.tsv", "multinli_1.0/multinli_1.0_dev_matched.jsonl")),
        },
        hub=_MULTI_NLI | {"train": (*_MULTI_NLI["train"], _XNLI_TRAIN)},
        citation="Williams et al. 2018, arXiv:1704.05426",
    ),
    Task(
        "qqp", "classification", "QQP", ("accuracy",), PARAPHRASE,
        files={
            "train": Files("pairs", ("qqp/train.tsv", "QQP/train.tsv")),
            "dev": Files("pairs", ("qqp/dev.tsv", "QQP/dev.tsv")),
        },
        hub=hub("qqp", "nyu-mll/glue", "qqp", train="train", dev="validation"),
        citation="Iyer et al. 2017; GLUE form: Wang et al. 2019, arXiv:1804.07461",
    ),
    Task(
        "squad2", "span", "SQuAD v2.0", _QA,
        files={
            "train": _squad_json("squad-v2/train-v2.0.json", "squad/train-v2.0.json"),
            "dev": _squad_json("squad-v2/dev-v2.0.json", "squad/dev-v2.0.json", overlaps=("squad1", *_SQUAD_DEV)),
        },
        hub=hub("squad2", "rajpurkar/squad_v2", "squad_v2", train="train", dev="validation"),
        citation="Rajpurkar et al. 2018, arXiv:1806.03822",
    ),
    Task(
        "squad1", "span", "SQuAD v1.1", _QA,
        files={
            "train": _squad_json("squad/train-v1.1.json"),
            "dev": _squad_json("squad/dev-v1.1.json", overlaps=("squad2", *_SQUAD_DEV)),
        },
        hub=hub("squad", "rajpurkar/squad", "plain_text", train="train", dev="validation"),
        citation="Rajpurkar et al. 2016, arXiv:1606.05250",
    ),
    Task(
        "hellaswag", "choice", "HellaSwag", ("accuracy",),
        files={
            "train": Files("hellaswag", ("hellaswag/hellaswag_train.jsonl",)),
            "dev": Files("hellaswag", ("hellaswag/hellaswag_val.jsonl",)),
        },
        hub=hub("hellaswag", "Rowan/hellaswag", "default", train="train", dev="validation"),
        citation="Zellers et al. 2019, arXiv:1905.07830", choices=4,
    ),
    Task(
        "ccg", "tagging", "CCG", ("accuracy",),
        files={
            "train": Files("tagged", ("ccg/train.tsv",)),
            "dev": Files("tagged", ("ccg/dev.tsv",)),
        },
        hub={split: (Folder("ccgbank"),) for split in SPLITS},  # LDC2005T13: licensed, not on the hub
        citation="Hockenmaier and Steedman 2007, ACL:J07-3004",
    ),
    Task(
        "cosmosqa", "choice", "Cosmos QA", ("accuracy",),
        files={"train": Files("cosmosqa", ("cosmosqa/train.csv",)), "dev": Files("cosmosqa", ("cosmosqa/valid.csv",))},
        hub=hub("cosmosqa", "allenai/cosmos_qa", "default", train="train", dev="validation"),
        citation="Huang et al. 2019, arXiv:1909.00277", choices=4,
    ),
    Task(
        "csqa", "choice", "CommonsenseQA", ("accuracy",),
        files={
            "train": Files("commonsenseqa", ("commonsenseqa/train_rand_split.jsonl",)),
            "dev": Files("commonsenseqa", ("commonsenseqa/dev_rand_split.jsonl",)),
        },
        hub=hub("commonsenseqa", "tau/commonsense_qa", "default", train="train", dev="validation"),
        citation="Talmor et al. 2019, arXiv:1811.00937", choices=5,
    ),
)  # fmt: skip

_TARGETS = (
    Task(
        "xnli", "classification", "XNLI", ("accuracy",), NLI, _XNLI, "mnli",
        files={
            split: Files("pairs", (f"xnli/{split}-{{language}}.tsv",), overlaps=("americasnli",))
            for split in ("dev", "test")
        },
        hub=hub("xnli", "google/xtreme", "XNLI", mixed="language", dev="validation", test="test"),
        citation="Conneau et al. 2018, arXiv:1809.05053",
    ),
    Task(
        "pawsx", "classification", "PAWS-X", ("accuracy",), PARAPHRASE, _PAWSX,
        files={
            "train": _xtreme("pawsx", "pairs", "train", "pawsx-original/{language}/*train.tsv"),
            "dev": _xtreme("pawsx", "pairs", "dev", "pawsx-original/{language}/dev_2k.tsv"),
            "test": _xtreme("pawsx", "pairs", "test", "pawsx-original/{language}/test_2k.tsv"),
        },
        hub=hub("pawsx", "google/xtreme", "PAWS-X.{language}", train="train", dev="validation", test="test"),
        citation="Yang et al. 2019, arXiv:1908.11828",
    ),
    Task(
        "udpos", "tagging", "UDPOS", ("f1", "accuracy"), UPOS, _UDPOS,
        files={
            split: Files(
                "tagged",
                (
                    f"udpos/xtreme-tsv/{split}-{{language}}.tsv",
                    f"udpos/{split}-{{language}}.tsv",
                    f"udpos/conllu/UD_*/{{language}}_*-ud-{split}.conllu",
                ),
            )
            for split in SPLITS
        },
        hub=hub(
            "udpos", "google/xtreme", "udpos.{language}", UDPOS_NAMES, train="train", dev="validation", test="test"
        ),
        citation="Nivre et al. 2020, arXiv:2004.10643", independent=True,  # PUD's alone are parallel, never to English
    ),
    Task(
        "panx", "tagging", "PANX", ("f1",), WIKIANN, _PANX,
        files={split: _xtreme("panx", "tagged", split) for split in SPLITS},
        hub=hub("panx", "google/xtreme", "PAN-X.{language}", train="train", dev="validation", test="test"),
        citation="Pan et al. 2017, ACL:P17-1178; splits: Rahimi et al. 2019, arXiv:1902.00193", independent=True,
    ),
    Task(
        "xquad", "span", "XQuAD", _QA, (), _XQUAD, "squad1",
        files={"test": _squad_json("xquad/xquad.{language}.json", overlaps=("squad1", "squad2", "xquadr", "lareqa"))},
        hub=hub("squad", "google/xtreme", "XQuAD.{language}", test="validation"),
        citation="Artetxe et al. 2020, arXiv:1910.11856",
    ),
    Task(
        "mlqa", "span", "MLQA", _QA, (), _MLQA, "squad1", "mlqa",
        files={  # question and context in the same language: the cross-lingual pairs are no XTREME target
            split: _squad_json(f"mlqa/MLQA_V1/{split}/{split}-context-{{language}}-question-{{language}}.json")
            for split in ("dev", "test")
        },
        hub=hub("squad", "google/xtreme", "MLQA.{language}.{language}", dev="validation", test="test"),
        citation="Lewis et al. 2020, arXiv:1910.07475",
    ),
    Task(
        "tydiqa", "span", "TyDiQA", _QA, (), _TYDIQA,
        files={split: _tydiqa(split) for split in ("train", "dev")},
        hub=hub("squad", "google/xtreme", "tydiqa", TYDIQA_NAMES, mixed="id", train="train", dev="validation"),
        citation="Clark et al. 2020, arXiv:2003.05002", independent=True,
    ),
    Task(
        "bucc", "mining", "BUCC", ("f1",), (), _BUCC,
        files={split: Files("bucc", (f"bucc2018/{{language}}-en.{split}.{{language}}",)) for split in ("dev", "test")},
        hub={split: (Folder("bucc"),) for split in ("dev", "test")},  # the hub has the gold pairs alone
        citation="Zweigenbaum et al. 2018, 11th BUCC workshop; XTREME: arXiv:2003.11080",
    ),
    Task(
        "tatoeba", "parallel", "Tatoeba", ("accuracy", "reverse_accuracy", *_RANKED[1:5]), (), _TATOEBA, "squad1",
        # never XTREME's own copies (de-en.de): the download script sorts their English side, which loses the gold
        files={"test": Files("tatoeba", ("tatoeba/tatoeba.{language}-eng.{language}",), TATOEBA_CODES)},
        hub=hub("tatoeba", "google/xtreme", "tatoeba.{language}", TATOEBA_CODES, test="validation"),
        citation="Artetxe and Schwenk 2019, arXiv:1812.10464",
    ),
    Task(
        "xcopa", "choice", "XCOPA", ("accuracy",), (), _XCOPA, "copa",
        files={
            "dev": Files("copa", ("xcopa/{language}/val.{language}.jsonl",), overlaps=("copa",)),
            "test": Files("copa", ("xcopa/{language}/test.{language}.jsonl",), overlaps=("copa",)),
        },
        hub=hub("copa", "cambridgeltl/xcopa", "{language}", dev="validation", test="test"),
        citation="Ponti et al. 2020, arXiv:2005.00333", choices=2,
    ),
)  # fmt: skip

# Sets that stand in for absent ones, under their own names.
_FURTHER = (
    Task(
        "copa", "choice", "COPA", ("accuracy",),
        files={
            "train": Files("copa", ("copa-en/train.{language}.jsonl",)),
            "dev": Files("copa", ("copa-en/val.{language}.jsonl",), overlaps=("xcopa",)),
            "test": Files("copa", ("copa-en/test.{language}.jsonl",), overlaps=("xcopa",)),
        },
        hub=hub("copa", "aps/super_glue", "copa", train="train", dev="validation"),
        citation="Roemmele et al. 2011, AAAI Spring Symposium", choices=2,
    ),
    Task(
        "socialiqa", "choice", "SocialIQA", ("accuracy",),
        files={
            "train": Files("socialiqa", ("socialiqa/socialIQa_v1.4_trn.jsonl",)),
            "dev": Files("socialiqa", ("socialiqa/socialIQa_v1.4_dev.jsonl",)),
        },
        hub=hub("socialiqa", "allenai/social_i_qa", "default", train="train", dev="validation"),
        citation="Sap et al. 2019, arXiv:1904.09728", choices=3,
    ),
    Task(
        "piqa", "choice", "PIQA", ("accuracy",),
        files={"train": Files("piqa", ("piqa/train.jsonl",)), "dev": Files("piqa", ("piqa/valid.jsonl",))},
        citation="Bisk et al. 2020, arXiv:1911.11641", choices=2,
    ),
    Task(
        "sick", "classification", "SICK", ("accuracy",), NLI,
        files={
            "train": Files("pairs", ("sick/SICK_train.txt",)),
            "dev": Files("pairs", ("sick/SICK_trial.txt",)),
            "test": Files("pairs", ("sick/SICK_test_annotated.txt",)),
        },
        citation="Marelli et al. 2014, ACL:L14-1314",
    ),
    Task(
        "rte", "classification", "RTE", ("accuracy",), ("entailment", "not_entailment"),
        files={"train": Files("pairs", ("rte/train.tsv",)), "dev": Files("pairs", ("rte/dev.tsv",))},
        citation="Dagan et al. 2006 and successors; GLUE form: Wang et al. 2019, arXiv:1804.07461",
    ),
    Task(
        "mrpc", "classification", "MRPC", ("accuracy",), PARAPHRASE,
        files={
            "train": Files("pairs", ("mrpc/msr_paraphrase_train.txt",)),
            "test": Files("pairs", ("mrpc/msr_paraphrase_test.txt",)),
        },
        citation="Dolan and Brockett 2005, ACL:I05-5002",
    ),
    Task(
        "americasnli", "classification", "AmericasNLI", ("accuracy",), NLI,
        _AMERICASNLI, "mnli",
        files={
            "dev": Files("pairs", ("americasnli/dev/{language}.tsv",), {"ay": "aym"}, overlaps=("xnli",)),
            "test": Files("pairs", ("americasnli/test/{language}.tsv",), {"ay": "aym"}, overlaps=("xnli",)),
        },
        citation="Ebrahimi et al. 2022, arXiv:2104.08726",
    ),
    Task(
        "masakhaner", "tagging", "MasakhaNER", ("f1",), (*WIKIANN, "B-DATE", "I-DATE"),
        _MASAKHANER,
        files={
            split: Files("tagged", (f"masakhaner/{{language}}/{split}.txt",), MASAKHANER_CODES) for split in SPLITS
        },
        citation="Adelani et al. 2021, arXiv:2103.11811",
    ),
    Task(
        "xquadr", "span", "XQuAD-R", _QA, (), _XQUAD, "squad1",
        files={"test": Files("xquad_r", _XQUAD_R, overlaps=("squad1", "squad2", "xquad", "lareqa"))},
        citation="Roy et al. 2020, arXiv:2004.05484",
    ),
    Task(
        "lareqa", "ranking", "LAReQA", _RANKED, (), _XQUAD, "squad1",
        files={"test": Files("xquad_r_questions", _XQUAD_R), POOL: Files("xquad_r_sentences", _XQUAD_R)},
        citation="Roy et al. 2020, arXiv:2004.05484; XTREME-R: arXiv:2104.07412",
    ),
    Task(
        "mewslix", "ranking", "Mewsli-X", _RANKED, (), _MEWSLIX,
        files={  # XTREME's script takes the gold from the test set
            "train": Files("mewslix_pairs", ("mewslix/wikipedia_pairs-train.jsonl",)),
            "dev": Files("mewslix_mentions", ("mewslix/wikinews_mentions/dev-{language}.jsonl",)),
            "test": Files("mewslix_mentions", ("mewslix/wikinews_mentions/test-{language}.jsonl",)),
            POOL: Files("mewslix_entities", ("mewslix/candidate_set_entities.jsonl",), language=MANY),
        },
        citation="Ruder et al. 2021, arXiv:2104.07412",
    ),
)  # fmt: skip

TASKS = {task.name: task for task in (*_INTERMEDIATE, *_TARGETS, *_FURTHER)}
INTERMEDIATE = tuple(task.name for task in _INTERMEDIATE)  # the paper's order
TARGETS = tuple(task.name for task in _TARGETS)


def get(name: str) -> Task:
    """The task of that name; UserError with the nearest name for an unknown one."""
    if name not in TASKS:
        raise UserError(f'unknown task "{name}"{nearest(name, TASKS)}')
    return TASKS[name]
