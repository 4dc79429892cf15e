"""One hostile input: what it is, what is done with it, and what must be said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Case(NamedTuple):
    group: str
    name: str
    attempt: Callable[[Path], Any]  # called with an empty folder
    message: str  # regular expression of the one UserError; "" = it must work
