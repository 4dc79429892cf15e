"""No text of a figure shows the empty box of a character that its font lacks."""

import warnings

import pytest
from matplotlib import pyplot as plt

from microworld.grammar import LETTERS
from xstilts import plots

# Own names of languages in every script of XTREME's forty and XTREME-R's fifty
NAMES = """العربية עברית Tiếng Việt മലയാളം தமிழ் తెలుగు Ελληνικά বাংলা हिन्दी मराठी اردو فارسی Български Русский 日本語
ქართული 한국어 ไทย Yorùbá မြန်မာ 中文 Қазақша Türkçe ਪੰਜਾਬੀ ગુજરાતી Lietuvių Українська Azərbaycanca""".split()


@pytest.fixture
def figure():
    figure, ax = plt.subplots()
    yield figure, ax
    plt.close(figure)


def drawn(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph missing from font"
        figure.canvas.draw()


def test_names_in_every_script_are_drawn_or_spelt(figure, capsys):
    figure, ax = figure
    for place, name in enumerate(NAMES):
        ax.text(0.5, place / len(NAMES), name)
    ax.set_xticks(range(len(NAMES)), NAMES)
    absent = plots.make_legible(figure)
    drawn(figure)
    shown = [text.get_text() for text in ax.texts]
    for name, text in zip(NAMES, shown, strict=True):
        assert text == "".join(f"U+{ord(one):04X}" if one in absent else one for one in name)
    assert [label.get_text() for label in ax.get_xticklabels()] == shown
    assert ("no installed font has" in capsys.readouterr().out) == bool(absent)


def test_scripts_of_the_micro_world_come_with_matplotlib(figure, capsys):
    figure, ax = figure
    letters = "".join(sorted({letter for pair in LETTERS.values() for part in pair for letter in part}))
    assert len({plots.unicodedata.name(letter).split()[0] for letter in letters}) > 3
    ax.set_title(letters)
    assert plots.make_legible(figure) == [] and capsys.readouterr().out == ""
    drawn(figure)


def test_what_no_font_has_is_spelt_and_said(figure, capsys, monkeypatch):
    figure, ax = figure
    monkeypatch.setattr(plots, "_others", dict)
    ax.set_xlabel("in ကခ")
    assert plots.make_legible(figure) == ["က", "ခ"]
    drawn(figure)
    assert ax.get_xlabel() == "in U+1000U+1001"
    assert "no installed font has U+1000 MYANMAR LETTER KA, U+1001" in capsys.readouterr().out


def test_another_font_that_has_it_is_taken(figure, monkeypatch):
    figure, ax = figure
    monkeypatch.setattr(plots, "_others", lambda: {"Nothing": frozenset(), "Myanmar": frozenset({0x1000})})
    ax.set_xlabel("က and က")
    assert plots.make_legible(figure) == []
    assert ax.xaxis.label.get_fontfamily() == [plots.DEFAULT, "Myanmar"] and ax.get_xlabel() == "က and က"
