"""Where machine-translated training sets lie: the split "mt" of the files source, behind runs named ``task@mt``.

XTREME's translations (bucket xtreme_translations, linked from its README) were not at hand. What is known of
them was seen in others' code that reads them:

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

from ..tasks import Files


def _pairs(folder: str, *released: str) -> Files:
    return Files("translated_pairs", (*released, f"{folder}/translate-train/{{language}}.tsv"))


def _spans(folder: str, *released: str) -> Files:
    return Files("translated_squad", (*released, f"{folder}/translate-train/{{language}}.json"))


def _xtreme(folder: str, theirs: str, name: str) -> tuple[str, str]:
    """In the folder of the task, or in a copy of the bucket."""
    return f"{folder}/translate-train/{name}", f"xtreme_translations/{theirs}/translate-train/{name}"


_TSV = "en-{language}-translated.tsv"
_XNLI_MT = "XNLI-MT-1.0/multinli/multinli.train.{language}.tsv"
_MLQA = "mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"

TRANSLATIONS = {
    "mnli": _pairs("mnli", *_xtreme("xnli", "XNLI", _TSV), _XNLI_MT),
    "anli": _pairs("anli"),
    "qqp": _pairs("qqp"),
    "pawsx": _pairs("pawsx", *_xtreme("pawsx", "PAWSX", _TSV)),
    "squad1": _spans("squad", *_xtreme("squad", "SQuAD", "squad.translate.train.en-{language}.json"), _MLQA),
    "squad2": _spans("squad-v2"),
    "tydiqa": _spans("tydiqa", *_xtreme("tydiqa", "TyDiQA-GoldP", "tydiqa.translate.train.en-{language}.json")),
    "hellaswag": Files("hellaswag", ("hellaswag/translate-train/{language}.jsonl",)),
    "cosmosqa": Files("cosmosqa", ("cosmosqa/translate-train/{language}.csv",)),
    "csqa": Files("commonsenseqa", ("commonsenseqa/translate-train/{language}.jsonl",)),
    "copa": Files("copa", ("copa-en/translate-train/{language}.jsonl", "xcopa/{language}/val.{language}.jsonl")),
}
