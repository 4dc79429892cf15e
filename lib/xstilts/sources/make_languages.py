"""Remake ``lib/xstilts/languages.csv``: names, families, scripts and distances from English.

    python -m venv /some/throwaway && /some/throwaway/bin/pip install urielplus==1.3.2
    /some/throwaway/bin/python lib/xstilts/sources/make_languages.py

The distance is the mean of four distances of URIEL+ (Khan et al. 2025, arXiv:2409.18472; the database of
lang2vec, Littell et al. 2017, ACL:E17-2002): syntactic, genetic, geographic and featural, each 0 to 1 and
given beside it. A language for which one of them is unknown has no mean. It is done once and the table
shipped because urielplus writes into its own package folder and brings a hundred megabytes.
"""

import csv
import logging
from pathlib import Path

KINDS = ("syntactic", "genetic", "geographic", "featural")

# our code, ISO 639-3 code under which URIEL+ holds most features, name, family, script
LANGUAGES = """
af afr Afrikaans|Indo-European|Latin
am amh Amharic|Afro-Asiatic|Ethiopic
ar ara Arabic|Afro-Asiatic|Arabic
ay ayr Aymara|Aymaran|Latin
az aze Azerbaijani|Turkic|Latin
bg bul Bulgarian|Indo-European|Cyrillic
bn ben Bengali|Indo-European|Bengali
bzd bzd Bribri|Chibchan|Latin
cni cni Asháninka|Arawakan|Latin
de deu German|Indo-European|Latin
el ell Greek|Indo-European|Greek
en eng English|Indo-European|Latin
es spa Spanish|Indo-European|Latin
et ekk Estonian|Uralic|Latin
eu eus Basque|Isolate|Latin
fa pes Persian|Indo-European|Arabic
fi fin Finnish|Uralic|Latin
fr fra French|Indo-European|Latin
gn gug Guarani|Tupian|Latin
gu guj Gujarati|Indo-European|Gujarati
ha hau Hausa|Afro-Asiatic|Latin
hch hch Wixarika|Uto-Aztecan|Latin
he heb Hebrew|Afro-Asiatic|Hebrew
hi hin Hindi|Indo-European|Devanagari
ht hat Haitian Creole|Creole (French-based)|Latin
hu hun Hungarian|Uralic|Latin
id ind Indonesian|Austronesian|Latin
ig ibo Igbo|Niger-Congo|Latin
it ita Italian|Indo-European|Latin
ja jpn Japanese|Japonic|Japanese
jv jav Javanese|Austronesian|Latin
ka kat Georgian|Kartvelian|Georgian
kk kaz Kazakh|Turkic|Cyrillic
ko kor Korean|Koreanic|Hangul
lg lug Luganda|Niger-Congo|Latin
lt lit Lithuanian|Indo-European|Latin
luo luo Luo|Nilotic|Latin
lv lav Latvian|Indo-European|Latin
ml mal Malayalam|Dravidian|Malayalam
mr mar Marathi|Indo-European|Devanagari
ms msa Malay|Austronesian|Latin
my mya Burmese|Sino-Tibetan|Burmese
nah nhe Nahuatl|Uto-Aztecan|Latin
nl nld Dutch|Indo-European|Latin
oto ote Otomi|Oto-Manguean|Latin
pa pan Punjabi|Indo-European|Gurmukhi
pcm pcm Nigerian Pidgin|Creole (English-based)|Latin
pl pol Polish|Indo-European|Latin
pt por Portuguese|Indo-European|Latin
qu que Quechua|Quechuan|Latin
quy quy Ayacucho Quechua|Quechuan|Latin
ro ron Romanian|Indo-European|Latin
ru rus Russian|Indo-European|Cyrillic
rw kin Kinyarwanda|Niger-Congo|Latin
shp shp Shipibo-Konibo|Panoan|Latin
sw swh Swahili|Niger-Congo|Latin
ta tam Tamil|Dravidian|Tamil
tar tar Rarámuri|Uto-Aztecan|Latin
te tel Telugu|Dravidian|Telugu
th tha Thai|Kra-Dai|Thai
tl tgl Tagalog|Austronesian|Latin
tr tur Turkish|Turkic|Latin
uk ukr Ukrainian|Indo-European|Cyrillic
ur urd Urdu|Indo-European|Arabic
vi vie Vietnamese|Austroasiatic|Latin
wo wol Wolof|Niger-Congo|Latin
yo yor Yoruba|Niger-Congo|Latin
zh cmn Chinese|Sino-Tibetan|Han
zu zul Zulu|Niger-Congo|Latin
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

    path = Path(__file__).resolve().parents[1] / "languages.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["language", "name", "family", "script", "distance", *KINDS, "iso639_3"])
        for line in LANGUAGES.strip().splitlines():
            code, iso, rest = line.split(" ", 2)
            values = [distance(kind, iso) for kind in KINDS]
            mean = "" if None in values else f"{sum(values) / len(values):.4f}"
            shown = ["" if value is None else f"{value:.4f}" for value in values]
            writer.writerow([code, *rest.split("|"), mean, *shown, iso])


if __name__ == "__main__":
    main()
