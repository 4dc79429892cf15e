"""What a final notebook says before the study it shows is finished."""

import re

from IPython import get_ipython
from IPython.display import Markdown

from xstilts.results import finished
from xstilts.runs import list_runs
from xstilts.study import load_study

PARAMETERS = re.compile(r"study\s*=\s*[\"']")  # the cell that names the study


def note(study: str) -> Markdown | None:
    """What of a study is missing and the command that completes it; None where it is whole.

    Of a study without anything to show, the cells below are left out, until the one that names it is run again.
    """
    loaded = load_study(study)
    bundles = list(loaded.bundles())
    wanted = [run for run in list_runs(loaded) if run.phase == "targets"]
    there = finished(loaded, [*bundles, *loaded.further])
    missing = [run.name for run in wanted if run not in there]
    if not missing:
        return None
    done = {run.bundle for run in there}
    begun = any(done & set(loaded.parts(name)) for name in bundles)
    begun = begun and all(done & set(loaded.parts(name)) for name in loaded.further)
    command = f"make study STUDY={loaded.given}"
    if begun:
        some = ", ".join(f"`{name}`" for name in missing[:5]) + (", …" if len(missing) > 5 else "")
        return Markdown(
            f"**{len(there)} of {len(wanted)} target runs are there.** The others are shown as missing ({some}): "
            f"`{command}` makes them, or `3-targets.ipynb` one at a time."
        )
    _leave_out_cells_below()
    before = (
        "" if loaded.further or loaded.shares else ", or `1-encoder`, `2-intermediate` and `3-targets` run in order,"
    )
    return Markdown(
        f"**Nothing to show yet.** `{command}` in the project's folder{before} makes what this notebook reads; then "
        "run all cells again. The cells below did nothing."
    )


def _leave_out_cells_below() -> None:
    shell = get_ipython()
    if shell is None:  # the cells are executed by something else than a kernel
        return
    transforms = shell.input_transformers_cleanup

    def left_out(lines: list[str]) -> list[str]:
        if not any(map(PARAMETERS.match, lines)):
            return []
        transforms.remove(left_out)
        return lines

    transforms.insert(0, left_out)
