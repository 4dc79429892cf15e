"""The one exception for mistakes a person can mend; its message stands alone."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

MARK = "xstilts: "  # begins the line that says what went wrong, of a failed run's log the last
DIVERGENCE_HINT = "lower the learning rate, warm up longer, or train in fp32 or bf16 (training: in the study's file)"
LONGEST = 2000  # characters of a message; what it quotes from a file may be a whole document


class UserError(Exception):
    """A wrong parameter, file, line or label: names where, what was expected and what to do. One line, whatever
    it quotes."""

    def __init__(self, message: str = ""):
        line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", message)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[3 - LONGEST // 2 :]}")


@contextmanager
def located(origin: object) -> Iterator[None]:
    """UserErrors raised inside begin with ``origin``: a file, a line, a key path."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None


def refuse(condition: object, message: str) -> None:
    """UserError with this message where the condition holds."""
    if condition:
        raise UserError(message)


def nearest(name: str, known: Iterable[str]) -> str:
    """``'; did you mean "mnli"?'`` for a misspelt name, else the whole list of known names."""
    known = sorted(map(str, known))
    close = get_close_matches(str(name), known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(known)}"
