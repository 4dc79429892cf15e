"""Every hostile input gives the message it must give, in one line and before any training, or works."""

import pytest

import hostile_checkpoints
import hostile_data
import hostile_files
import hostile_parameters
from xstilts.errors import UserError

CASES = [*hostile_files.CASES, *hostile_data.CASES, *hostile_parameters.CASES, *hostile_checkpoints.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_hostile(case, tmp_path):
    if not case.message:
        case.attempt(tmp_path)
        return
    with pytest.raises(UserError, match=case.message) as raised:
        case.attempt(tmp_path)
    hostile_files.one_line(str(raised.value))
    assert raised.value.__suppress_context__ or raised.value.__context__ is None, "no second error is shown with it"
    assert not list(tmp_path.rglob("checkpoint")), "before any training"
