"""The one exception for mistakes a person can mend; its message stands alone."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A wrong parameter, file, line or label: names where, what was expected and what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``'; did you mean "mnli"?'`` for a misspelt name, else the whole list of known names."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(known)}"
