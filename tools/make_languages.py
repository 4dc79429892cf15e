"""Remake ``lib/xstilts/tables/languages.csv``: names, families, scripts and distances from English.

    python -m venv /some/throwaway && /some/throwaway/bin/pip install urielplus==1.3.2
    /some/throwaway/bin/python tools/make_languages.py

The distance is the mean of four distances of URIEL+ (Khan et al. 2025, arXiv:2409.18472; the database of
lang2vec, Littell et al. 2017, ACL:E17-2002): syntactic, genetic, geographic and featural, each 0 to 1 and
given beside it; phonological distance is given, too, and has no part in the mean (featural holds its features).
A language for which one of them is unknown has no mean. It is done once and the table shipped because urielplus
writes into its own package folder and brings a hundred megabytes.

``cc100_gib``, the text that XLM-R was pretrained on in GiB, is the column "Size (GiB)" of Conneau et al. 2020
(arXiv:1911.02116), appendix A, table 6, read in its transcription at github.com/mayhewsw/multilingual-data-stats
(cc-100/cc-100.csv); rows in Latin transcription and of a second script (Chinese traditional, 16.6; Burmese, 0.4)
are not added. Empty: not in that table.
"""

import csv
import logging
from pathlib import Path

AVERAGED = ("syntactic", "genetic", "geographic", "featural")
KINDS = (*AVERAGED, "phonological")

# our code, ISO 639-3 code under which URIEL+ holds most features, name, family, script, cc100_gib
LANGUAGES = """
af afr Afrikaans|Indo-European|Latin|1.3
am amh Amharic|Afro-Asiatic|Ethiopic|0.8
ar ara Arabic|Afro-Asiatic|Arabic|28
ay ayr Aymara|Aymaran|Latin|
az aze Azerbaijani|Turkic|Latin|6.5
bg bul Bulgarian|Indo-European|Cyrillic|57.5
bn ben Bengali|Indo-European|Bengali|8.4
bzd bzd Bribri|Chibchan|Latin|
cni cni Asháninka|Arawakan|Latin|
de deu German|Indo-European|Latin|66.6
el ell Greek|Indo-European|Greek|46.9
en eng English|Indo-European|Latin|300.8
es spa Spanish|Indo-European|Latin|53.3
et ekk Estonian|Uralic|Latin|6.1
eu eus Basque|Isolate|Latin|2
fa pes Persian|Indo-European|Arabic|111.6
fi fin Finnish|Uralic|Latin|54.3
fr fra French|Indo-European|Latin|56.8
gn gug Guarani|Tupian|Latin|
gu guj Gujarati|Indo-European|Gujarati|1.9
ha hau Hausa|Afro-Asiatic|Latin|0.3
hch hch Wixarika|Uto-Aztecan|Latin|
he heb Hebrew|Afro-Asiatic|Hebrew|31.6
hi hin Hindi|Indo-European|Devanagari|20.2
ht hat Haitian Creole|Creole (French-based)|Latin|
hu hun Hungarian|Uralic|Latin|58.4
id ind Indonesian|Austronesian|Latin|148.3
ig ibo Igbo|Niger-Congo|Latin|
it ita Italian|Indo-European|Latin|30.2
ja jpn Japanese|Japonic|Japanese|69.3
jv jav Javanese|Austronesian|Latin|0.2
ka kat Georgian|Kartvelian|Georgian|9.1
kk kaz Kazakh|Turkic|Cyrillic|6.4
ko kor Korean|Koreanic|Hangul|54.2
lg lug Luganda|Niger-Congo|Latin|
lt lit Lithuanian|Indo-European|Latin|13.7
luo luo Luo|Nilotic|Latin|
lv lav Latvian|Indo-European|Latin|8.8
ml mal Malayalam|Dravidian|Malayalam|7.6
mr mar Marathi|Indo-European|Devanagari|2.8
ms msa Malay|Austronesian|Latin|8.5
my mya Burmese|Sino-Tibetan|Burmese|1.6
nah nhe Nahuatl|Uto-Aztecan|Latin|
nl nld Dutch|Indo-European|Latin|29.3
oto ote Otomi|Oto-Manguean|Latin|
pa pan Punjabi|Indo-European|Gurmukhi|0.8
pcm pcm Nigerian Pidgin|Creole (English-based)|Latin|
pl pol Polish|Indo-European|Latin|44.6
pt por Portuguese|Indo-European|Latin|49.1
qu que Quechua|Quechuan|Latin|
quy quy Ayacucho Quechua|Quechuan|Latin|
ro ron Romanian|Indo-European|Latin|61.4
ru rus Russian|Indo-European|Cyrillic|278
rw kin Kinyarwanda|Niger-Congo|Latin|
shp shp Shipibo-Konibo|Panoan|Latin|
sw swh Swahili|Niger-Congo|Latin|1.6
ta tam Tamil|Dravidian|Tamil|12.2
tar tar Rarámuri|Uto-Aztecan|Latin|
te tel Telugu|Dravidian|Telugu|4.7
th tha Thai|Kra-Dai|Thai|71.7
tl tgl Tagalog|Austronesian|Latin|3.1
tr tur Turkish|Turkic|Latin|20.9
uk ukr Ukrainian|Indo-European|Cyrillic|84.6
ur urd Urdu|Indo-European|Arabic|5.7
vi vie Vietnamese|Austroasiatic|Latin|137.3
wo wol Wolof|Niger-Congo|Latin|
yo yor Yoruba|Niger-Congo|Latin|
zh cmn Chinese|Sino-Tibetan|Han|46.9
zu zul Zulu|Niger-Congo|Latin|
"""


def main() -> None:
    from urielplus import urielplus

    logging.disable()
    uriel = urielplus.URIELPlus()

    def distance(kind: str, iso: str) -> float | None:
        if iso == "eng":
            return 0.0
        try:
            value = float(uriel.new_distance(kind, "eng", iso))
        except (ValueError, SystemExit):  # no features that both languages have
            return None
        return value or None  # exactly 0 from English: one or two shared features, no evidence

    path = Path(__file__).resolve().parents[1] / "lib" / "xstilts" / "tables" / "languages.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["language", "name", "family", "script", "distance", *KINDS, "cc100_gib", "iso639_3"])
        for line in LANGUAGES.strip().splitlines():
            code, iso, rest = line.split(" ", 2)
            values = [distance(kind, iso) for kind in KINDS]
            averaged = values[: len(AVERAGED)]
            mean = "" if None in averaged else f"{sum(averaged) / len(averaged):.4f}"  # type: ignore[arg-type]  # none of them None
            shown = ["" if value is None else f"{value:.4f}" for value in values]
            *names, gib = rest.split("|")
            writer.writerow([code, *names, mean, *shown, gib, iso])


if __name__ == "__main__":
    main()
