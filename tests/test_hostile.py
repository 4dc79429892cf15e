"""Every hostile input gives the message it must give, in one line and before any training, or works."""

from collections import Counter

import pytest

import hostile_checkpoints
import hostile_data
import hostile_files
import hostile_parameters
from hostile_case import one_line
from xstilts.errors import UserError

CASES = [*hostile_files.CASES, *hostile_data.CASES, *hostile_parameters.CASES, *hostile_checkpoints.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_hostile(case, tmp_path):
    if not case.message:
        case.attempt(tmp_path)
        return
    with pytest.raises(UserError, match=case.message) as raised:
        case.attempt(tmp_path)
    one_line(str(raised.value))
    assert raised.value.__suppress_context__ or raised.value.__context__ is None, "no second error is shown with it"
    assert not list(tmp_path.rglob("checkpoint")), "before any training"


def test_no_row_stands_twice():
    assert not [row for row, count in Counter((case.group, case.name) for case in CASES).items() if count > 1]
