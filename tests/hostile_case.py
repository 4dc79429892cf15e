"""One hostile input: what it is, what is done with it, and what must be said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

from xstilts.errors import LONGEST


class Case(NamedTuple):
    group: str
    name: str
    attempt: Callable[[Path], Any]  # called with an empty folder
    message: str  # regular expression of the one UserError; "" = it must work


def one_line(message: str) -> None:
    """What a terminal shows as one line, and no more of it than a person reads."""
    assert not {category(character) for character in message} & {"Cc", "Cs", "Zl", "Zp"} and len(message) <= LONGEST
