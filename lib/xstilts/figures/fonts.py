"""Fonts for the texts of a figure, so that none shows the empty boxes of characters that its font lacks."""

import unicodedata
from functools import cache

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

DEFAULT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters


def make_legible(figure: Figure) -> list[str]:
    """Give each text of ``figure`` fonts that have its characters, from those that are installed.

    A character that none has is written as its code point ("U+1000"), and a line printed says which; returns those.
    """
    absent: set[str] = set()
    for axis in (axis for ax in figure.findobj(Axes) for axis in (ax.xaxis, ax.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter):  # it writes the labels again at every drawing
            formatter.seq = [_spelt(text, absent) for text in formatter.seq]
            axis.get_ticklabels()  # there are none before they are asked for
    for text in figure.findobj(Text):
        text.set_text(_spelt(text.get_text(), absent))
        families = _families(text.get_text())
        if families != [DEFAULT]:
            text.set_fontfamily(families)
    if absent:
        named = ", ".join(f"U+{ord(one):04X} {unicodedata.name(one, '')}".strip() for one in sorted(absent)[:5])
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        print(f"no installed font has {named}{more}: shown as code points; install one that does (Noto Sans has most)")
    return sorted(absent)


def _families(text: str) -> list[str]:
    """The default font, and of the others that are installed the first that add to what ``text`` needs."""
    needed, chosen = _needed(text), [DEFAULT]
    for name, characters in _others().items() if needed else ():
        if needed & characters:
            chosen.append(name)
            needed -= characters
        if not needed:
            break
    return chosen


def _spelt(text: str, absent: set[str]) -> str:
    lacking = _needed(text).difference(*_others().values()) if _needed(text) else set()
    absent |= {chr(point) for point in lacking}
    return text.translate({point: f"U+{point:04X}" for point in lacking})


def _needed(text: str) -> set[int]:
    """Code points that the default font lacks; controls and joiners need no picture."""
    return {ord(one) for one in text if unicodedata.category(one) not in ("Cc", "Cf")} - _characters(_default_path())


def _default_path() -> str:
    return font_manager.findfont(DEFAULT)


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@cache
def _others() -> dict[str, frozenset[int]]:
    """Family -> what its upright face of normal weight has; in alphabetical order."""
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname))
    upright = [font for font in fonts if font.style == "normal" and font.weight in (400, "normal", "regular", "book")]
    return {font.name: _characters(font.fname) for font in upright if font.name != DEFAULT}
