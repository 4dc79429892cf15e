"""Every task of the study, declared once.

A task says what it is (kind, labels in order, metrics), which set trains it, and where the
original distribution and the hub keep it. Nothing here loads data: :mod:`xstilts.sources` does.

Machine-translated training sets are the split "mt", behind runs named ``task@mt``. XTREME's translations (bucket
xtreme_translations, linked from its README) were not at hand. What is known of them was seen in others' code that reads
them:

* XNLI and PAWS-X: ``translate-train/en-<language>-translated.tsv``, no header, no quoting; source text a, source
  text b, translated a, translated b, label; "contradictory" for contradiction (tensorflow_datasets, xtreme_xnli);
  "some rows in the files have been wrongly populated" (tensorflow_datasets, xtreme_pawsx).
* SQuAD v1.1 and TyDiQA-GoldP: SQuAD JSON (FILTER; X-TUNE; tensorflow_datasets, tydi_qa).

Likewise XNLI's own release, XNLI-MT-1.0: header, then translated a, translated b, label; and MLQA's, SQuAD JSON
(datasets, mlqa). How many answers these files have lost is nowhere stated: they are checked, dropped and counted.

COPA's are XCOPA's development sets: its development items, which nothing else is trained on, translated by people; not
its training set, of which there are none.

Any other set is read from ``<folder>/translate-train/<language>.<ending>``, in the format of the released ones
(TSV of pairs, SQuAD JSON) or, for choices, of the task's own training set. Supertags (CCG) do not survive translation.
"""

from dataclasses import dataclass, field

from xstilts.errors import UserError, nearest
from xstilts.locations import CODES, MANY, Files, Folder, Hub, Places, files, hub

KINDS = ("classification", "choice", "tagging", "span", "parallel", "mining", "ranking")
RETRIEVAL_KINDS = ("parallel", "mining", "ranking")  # no head: pooled encoder states

NLI = ("entailment", "neutral", "contradiction")
UPOS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
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
    ``scorer``: "squad" or "mlqa" answer normalisation of spans; of own taggings "words" or "chunks".
    ``choices``: how many each question of the published set has (choice kind only).
    ``files``: split ("train", "dev", "test"; "mt"; of rankings "pool") -> where the original distribution keeps it.
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
    hub: Places = field(default_factory=dict)
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
_UDPOS = _codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = tuple(sorted({*_UDPOS, *_codes("bn jv ka ml ms my sw")}))
_XQUAD = _codes("ar de el en es hi ru th tr vi zh")
_AMERICASNLI = _codes("ay bzd cni gn hch nah oto quy shp tar")


def _translated(reader: str, folder: str, *released: str) -> dict[str, Files]:
    """The training set machine-translated: as it was released, or in the folder of the task."""
    ending = {"translated_pairs": "tsv", "translated_squad": "json"}[reader]
    return files(reader, mt=(*released, f"{folder}/translate-train/{{language}}.{ending}"))


def _bucket(folder: str, theirs: str, name: str) -> tuple[str, str]:
    """A translated set of XTREME's bucket, in the folder of the task or in a copy of the bucket."""
    return f"{folder}/translate-train/{name}", f"xtreme_translations/{theirs}/translate-train/{name}"


_TSV = "en-{language}-translated.tsv"
_XNLI_MT = "XNLI-MT-1.0/multinli/multinli.train.{language}.tsv"
_MLQA_MT = "mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"
_SQUAD_MT = _bucket("squad", "SQuAD", "squad.translate.train.en-{language}.json")
_TYDIQA_MT = _bucket("tydiqa", "TyDiQA-GoldP", "tydiqa.translate.train.en-{language}.json")
_GOLDP = "tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{language}.{split}.json"
_XQUAD_R = "lareqa/xquad-r/{language}.json"

_MULTI_NLI = hub("pairs", "nyu-mll/multi_nli", "default", train="train", dev="validation_matched")
_SNLI = hub("pairs", "stanfordnlp/snli", "plain_text", train="train", dev="validation")
_ANLI = [hub("pairs", "facebook/anli", "plain_text", train=f"train_r{part}", dev=f"dev_r{part}") for part in "123"]
# MultiNLI's training set in the other languages of XNLI, machine-translated by XNLI's authors
_XNLI_TRAIN = Hub("pairs", "facebook/xnli", "{language}", "train", languages=tuple(c for c in _XNLI if c != "en"))

_INTERMEDIATE = (
    # Nie et al. 2020, arXiv:1910.14599
    Task("anli", "classification", "ANLI+", ("accuracy",), NLI,
         files=files("pairs", train="anli/R?/train.jsonl", dev="anli/R?/dev.jsonl")
         | _translated("translated_pairs", "anli"),
         hub={split: tuple(part[split][0] for part in (*_ANLI, _MULTI_NLI, _SNLI)) for split in ("train", "dev")}),
    # Williams et al. 2018, arXiv:1704.05426
    Task("mnli", "classification", "MNLI", ("accuracy",), NLI,
         files=files("pairs", train=("mnli/train.tsv", "multinli_1.0/multinli_1.0_train.jsonl", "xnli/train-en.tsv"),
                     dev=("mnli/dev_matched.tsv", "multinli_1.0/multinli_1.0_dev_matched.jsonl"))
         | _translated("translated_pairs", "mnli", *_bucket("xnli", "XNLI", _TSV), _XNLI_MT),
         hub=_MULTI_NLI | {"train": (*_MULTI_NLI["train"], _XNLI_TRAIN)}),
    # Iyer et al. 2017; GLUE form: Wang et al. 2019, arXiv:1804.07461
    Task("qqp", "classification", "QQP", ("accuracy",), PARAPHRASE,
         files=files("pairs", train=("qqp/train.tsv", "QQP/train.tsv"), dev=("qqp/dev.tsv", "QQP/dev.tsv"))
         | _translated("translated_pairs", "qqp"),
         hub=hub("pairs", "nyu-mll/glue", "qqp", train="train", dev="validation")),
    # Rajpurkar et al. 2018, arXiv:1806.03822
    Task("squad2", "span", "SQuAD v2.0", _QA,
         files=files("squad", train=("squad-v2/train-v2.0.json", "squad/train-v2.0.json"))
         | files("squad", overlaps=("squad1", *_SQUAD_DEV), dev=("squad-v2/dev-v2.0.json", "squad/dev-v2.0.json"))
         | _translated("translated_squad", "squad-v2"),
         hub=hub("squad2", "rajpurkar/squad_v2", "squad_v2", train="train", dev="validation")),
    # Rajpurkar et al. 2016, arXiv:1606.05250
    Task("squad1", "span", "SQuAD v1.1", _QA,
         files=files("squad", train="squad/train-v1.1.json")
         | files("squad", overlaps=("squad2", *_SQUAD_DEV), dev="squad/dev-v1.1.json")
         | _translated("translated_squad", "squad", *_SQUAD_MT, _MLQA_MT),
         hub=hub("squad", "rajpurkar/squad", "plain_text", train="train", dev="validation")),
    # Zellers et al. 2019, arXiv:1905.07830
    Task("hellaswag", "choice", "HellaSwag", ("accuracy",),
         files=files("hellaswag", train="hellaswag/hellaswag_train.jsonl", dev="hellaswag/hellaswag_val.jsonl",
                     mt="hellaswag/translate-train/{language}.jsonl"),
         hub=hub("hellaswag", "Rowan/hellaswag", "default", train="train", dev="validation"), choices=4),
    # Hockenmaier and Steedman 2007, ACL:J07-3004
    Task("ccg", "tagging", "CCG", ("accuracy",),
         files=files("tagged", train="ccg/train.tsv", dev="ccg/dev.tsv"),
         hub={split: (Folder("ccgbank"),) for split in SPLITS}),  # LDC2005T13: licensed, not on the hub
    # Huang et al. 2019, arXiv:1909.00277
    Task("cosmosqa", "choice", "Cosmos QA", ("accuracy",),
         files=files("cosmosqa", train="cosmosqa/train.csv", dev="cosmosqa/valid.csv",
                     mt="cosmosqa/translate-train/{language}.csv"),
         hub=hub("cosmosqa", "allenai/cosmos_qa", "default", train="train", dev="validation"), choices=4),
    # Talmor et al. 2019, arXiv:1811.00937
    Task("csqa", "choice", "CommonsenseQA", ("accuracy",),
         files=files("commonsenseqa", train="commonsenseqa/train_rand_split.jsonl",
                     dev="commonsenseqa/dev_rand_split.jsonl", mt="commonsenseqa/translate-train/{language}.jsonl"),
         hub=hub("commonsenseqa", "tau/commonsense_qa", "default", train="train", dev="validation"), choices=5),
)  # fmt: skip

_TARGETS = (
    # Conneau et al. 2018, arXiv:1809.05053
    Task("xnli", "classification", "XNLI", ("accuracy",), NLI, _XNLI, "mnli",
         files=files("pairs", overlaps=("americasnli",), dev_test="xnli/{split}-{language}.tsv"),
         hub=hub("pairs", "google/xtreme", "XNLI", mixed="language", dev="validation", test="test")),
    # Yang et al. 2019, arXiv:1908.11828
    Task("pawsx", "classification", "PAWS-X", ("accuracy",), PARAPHRASE, _codes("de en es fr ja ko zh"),
         files=files("pairs", train=("pawsx/train-{language}.tsv", "pawsx-original/{language}/*train.tsv"),
                     dev_test=("pawsx/{split}-{language}.tsv", "pawsx-original/{language}/{split}_2k.tsv"))
         | _translated("translated_pairs", "pawsx", *_bucket("pawsx", "PAWSX", _TSV)),
         hub=hub("pairs", "google/xtreme", "PAWS-X.{language}", train="train", dev="validation", test="test")),
    # Nivre et al. 2020, arXiv:2004.10643
    Task("udpos", "tagging", "UDPOS", ("f1", "accuracy"), UPOS, _UDPOS,
         files=files("tagged", train_dev_test=("udpos/xtreme-tsv/{split}-{language}.tsv",
                     "udpos/{split}-{language}.tsv", "udpos/conllu/UD_*/{language}_*-ud-{split}.conllu")),
         hub=hub("tagged", "google/xtreme", "udpos.{language}", CODES["udpos"],
                 train="train", dev="validation", test="test"),
         independent=True),  # PUD's alone are parallel, never to English
    # Pan et al. 2017, ACL:P17-1178; splits: Rahimi et al. 2019, arXiv:1902.00193
    Task("panx", "tagging", "PANX", ("f1",), WIKIANN, _PANX,
         files=files("tagged", train_dev_test="panx/{split}-{language}.tsv"),
         hub=hub("tagged", "google/xtreme", "PAN-X.{language}", train="train", dev="validation", test="test"),
         independent=True),
    # Artetxe et al. 2020, arXiv:1910.11856
    Task("xquad", "span", "XQuAD", _QA, (), _XQUAD, "squad1",
         files=files("squad", overlaps=("squad1", "squad2", "xquadr", "lareqa"), test="xquad/xquad.{language}.json"),
         hub=hub("squad", "google/xtreme", "XQuAD.{language}", test="validation")),
    # Lewis et al. 2020, arXiv:1910.07475
    Task("mlqa", "span", "MLQA", _QA, (), _codes("ar de en es hi vi zh"), "squad1", "mlqa",
         # question and context in the same language: the cross-lingual pairs are no XTREME target
         files=files("squad", dev_test="mlqa/MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"),
         hub=hub("squad", "google/xtreme", "MLQA.{language}.{language}", dev="validation", test="test")),
    # Clark et al. 2020, arXiv:2003.05002
    Task("tydiqa", "span", "TyDiQA", _QA, (), _codes("ar bn en fi id ko ru sw te"),
         files=files("squad", train_dev=(f"tydiqa-goldp/{_GOLDP}", f"tydiqa/{_GOLDP}"))
         | _translated("translated_squad", "tydiqa", *_TYDIQA_MT),
         hub=hub("squad", "google/xtreme", "tydiqa", CODES["tydiqa"], mixed="id", train="train", dev="validation"),
         independent=True),
    # Zweigenbaum et al. 2018, 11th BUCC workshop; XTREME: arXiv:2003.11080
    Task("bucc", "mining", "BUCC", ("f1",), (), _codes("de fr ru zh"),
         files=files("bucc", dev_test="bucc2018/{language}-en.{split}.{language}"),
         hub={split: (Folder("bucc"),) for split in ("dev", "test")}),  # the hub has the gold pairs alone
    # Artetxe and Schwenk 2019, arXiv:1812.10464
    Task("tatoeba", "parallel", "Tatoeba", ("accuracy", "reverse_accuracy", *_RANKED[1:5]), (), (*CODES["tatoeba"],),
         "squad1",
         # never XTREME's own copies (de-en.de): the download script sorts their English side, which loses the gold
         files=files("tatoeba", CODES["tatoeba"], test="tatoeba/tatoeba.{language}-eng.{language}"),
         hub=hub("tatoeba", "google/xtreme", "tatoeba.{language}", CODES["tatoeba"], test="validation")),
    # Ponti et al. 2020, arXiv:2005.00333
    Task("xcopa", "choice", "XCOPA", ("accuracy",), (), _codes("et ht id it qu sw ta th tr vi zh"), "copa",
         files=files("copa", overlaps=("copa",), dev="xcopa/{language}/val.{language}.jsonl",
                     test="xcopa/{language}/test.{language}.jsonl"),
         hub=hub("copa", "cambridgeltl/xcopa", "{language}", dev="validation", test="test"), choices=2),
)  # fmt: skip

# Sets that stand in for absent ones, under their own names.
_FURTHER = (
    # Roemmele et al. 2011, AAAI Spring Symposium
    Task("copa", "choice", "COPA", ("accuracy",),
         files=files("copa", train="copa-en/train.{language}.jsonl",
                     mt=("copa-en/translate-train/{language}.jsonl", "xcopa/{language}/val.{language}.jsonl"))
         | files("copa", overlaps=("xcopa",), dev="copa-en/val.{language}.jsonl", test="copa-en/test.{language}.jsonl"),
         hub=hub("copa", "aps/super_glue", "copa", train="train", dev="validation"), choices=2),
    # Sap et al. 2019, arXiv:1904.09728
    Task("socialiqa", "choice", "SocialIQA", ("accuracy",),
         files=files("socialiqa", train="socialiqa/socialIQa_v1.4_trn.jsonl", dev="socialiqa/socialIQa_v1.4_dev.jsonl"),
         hub=hub("socialiqa", "allenai/social_i_qa", "default", train="train", dev="validation"), choices=3),
    # Bisk et al. 2020, arXiv:1911.11641
    Task("piqa", "choice", "PIQA", ("accuracy",), files=files("piqa", train="piqa/train.jsonl", dev="piqa/valid.jsonl"),
         choices=2),
    # Marelli et al. 2014, ACL:L14-1314
    Task("sick", "classification", "SICK", ("accuracy",), NLI,
         files=files("pairs", train="sick/SICK_train.txt", dev="sick/SICK_trial.txt",
                     test="sick/SICK_test_annotated.txt")),
    # Dagan et al. 2006 and successors; GLUE form: Wang et al. 2019, arXiv:1804.07461
    Task("rte", "classification", "RTE", ("accuracy",), ("entailment", "not_entailment"),
         files=files("pairs", train="rte/train.tsv", dev="rte/dev.tsv")),
    # Dolan and Brockett 2005, ACL:I05-5002
    Task("mrpc", "classification", "MRPC", ("accuracy",), PARAPHRASE,
         files=files("pairs", train="mrpc/msr_paraphrase_train.txt", test="mrpc/msr_paraphrase_test.txt")),
    # Ebrahimi et al. 2022, arXiv:2104.08726
    Task("americasnli", "classification", "AmericasNLI", ("accuracy",), NLI, _AMERICASNLI, "mnli",
         files=files("pairs", {"ay": "aym"}, overlaps=("xnli",), dev_test="americasnli/{split}/{language}.tsv")),
    # Adelani et al. 2021, arXiv:2103.11811
    Task("masakhaner", "tagging", "MasakhaNER", ("f1",), (*WIKIANN, "B-DATE", "I-DATE"),
         _codes("am ha ig lg luo pcm rw sw wo yo"),
         files=files("tagged", CODES["masakhaner"], train_dev_test="masakhaner/{language}/{split}.txt")),
    # Roy et al. 2020, arXiv:2004.05484
    Task("xquadr", "span", "XQuAD-R", _QA, (), _XQUAD, "squad1",
         files=files("xquad_r", overlaps=("squad1", "squad2", "xquad", "lareqa"), test=_XQUAD_R)),
    # Roy et al. 2020, arXiv:2004.05484; XTREME-R: arXiv:2104.07412
    Task("lareqa", "ranking", "LAReQA", _RANKED, (), _XQUAD, "squad1",
         files=files("xquad_r_questions", test=_XQUAD_R) | files("xquad_r_sentences", pool=_XQUAD_R)),
    # Ruder et al. 2021, arXiv:2104.07412
    Task("mewslix", "ranking", "Mewsli-X", _RANKED, (), _codes("ar de en es fa ja pl ro ta tr uk"),
         files=files("mewslix_pairs", train="mewslix/wikipedia_pairs-train.jsonl")
         # XTREME's script takes the gold from the test set
         | files("mewslix_mentions", dev_test="mewslix/wikinews_mentions/{split}-{language}.jsonl")
         | files("mewslix_entities", language=MANY, pool="mewslix/candidate_set_entities.jsonl")),
)  # fmt: skip

TASKS = {task.name: task for task in (*_INTERMEDIATE, *_TARGETS, *_FURTHER)}
INTERMEDIATE = tuple(task.name for task in _INTERMEDIATE)  # the paper's order
TARGETS = tuple(task.name for task in _TARGETS)


def get(name: str) -> Task:
    """The task of that name; UserError with the nearest name for an unknown one."""
    if name not in TASKS:
        raise UserError(f'unknown task "{name}"{nearest(name, TASKS)}')
    return TASKS[name]
