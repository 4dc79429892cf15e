"""What a report shows of a study: every run, how it stands, what it is about, and which runs it belongs to."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..parameters import read
from ..running.execution import GAPS
from ..running.following import standing
from ..runs import Fingerprints, Run, list_runs
from ..sources import Source
from ..sources.own_rows import declare
from ..study import NONE, ROOT, Study, load_study
from ..tasks import TASKS
from ..tunings import evaluation_languages, training_sets, tunings
from ..writing import read_record

# how a run may stand, in the order they are listed in, and what it means
STATES = {
    "done": "finished",
    "gaps": "executed before all that it shows was there",
    "stale": "finished, but its settings, data or code have changed since",
    "running": "at work now",
    "failed": "ended with an error",
    "missing": "not run yet",
}


@dataclass(frozen=True)
class Page:
    """One run. ``tasks`` and ``languages``: what it trains on (phase 2) or scores (phase 3); ``why``: the cause of a
    failure, or what is missing; ``seconds``: wall time, None where it did not finish."""

    study: Study
    run: Run
    status: str
    why: str
    seconds: float | None
    tasks: tuple[str, ...]
    languages: tuple[str, ...]

    @property
    def name(self) -> str:
        """As messages name the run; a final notebook, of which studies that share runs have one each, by its study."""
        return f"answers/{self.study.name}" if self.run.final else self.run.name

    @property
    def path(self) -> str:
        """Of its page below the report's folder; "" where there is nothing to show."""
        return "" if self.status == "missing" else f"{self.name}.html"

    @property
    def notebook(self) -> Path:
        return self.run.folder(self.study) / "notebook.ipynb"

    @property
    def log(self) -> Path:
        return self.run.folder(self.study) / "log.txt"


def survey(study: Study) -> tuple[list[Page], str]:
    """Every run of the study and, where others keep their runs beside it, of those; and, where the data that results
    depend on cannot be read here, why: results are then shown as done, whether or not they are stale."""
    pages: dict[str, Page] = {}
    unknown = ""
    for one in [study, *sharing(study)]:
        declare(one.own, ROOT, one.source_language)  # those read since may have own tasks of the same names
        try:
            fingerprints = Fingerprints(one)
            fingerprints.of(Run(one.question))
        except UserError as error:  # the data are elsewhere: runs were copied from another machine
            fingerprints, unknown = None, str(error)
        for run in list_runs(one):
            page = _page(one, run, fingerprints)
            pages.setdefault(page.name, page)
    declare(study.own, ROOT, study.source_language)
    return list(pages.values()), unknown


def sharing(study: Study) -> list[Study]:
    """The studies that keep their runs in the folder of this one and have been run."""
    found = []
    for path in sorted((ROOT / study.runs).glob("*/study.yaml")):
        try:
            other = load_study(path) if read(path).get("shares") == study.name else None
        except UserError:  # of an earlier version
            continue
        if other and other.folder == study.folder:
            found.append(other)
    return found


def _page(study: Study, run: Run, fingerprints: Fingerprints | None) -> Page:
    seen = standing(study, run, fingerprints)
    status = seen.state if seen.state != "left" else "gaps" if seen.said else "missing"
    folder = run.folder(study)
    seconds = (read_record(folder / "run.json") or read_record(folder / GAPS)).get("seconds")
    tasks, languages = _about(study, run, fingerprints.source) if fingerprints else ((), ())
    why = "" if status == "running" else seen.said
    return Page(study, run, status, why, seconds, tasks, languages)


def _about(study: Study, run: Run, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if run.phase == "encoder":
        return (), tuple(source.language_table().index)
    if run.phase == "intermediate":
        parsed = study.intermediate_run(run.intermediate)
        sets = [training_sets(run.intermediate, TASKS[task], parsed.languages, source) for task in parsed.tasks]
        return parsed.tasks, tuple(dict.fromkeys(language for one in sets for _, language in one))
    if run.phase == "targets":
        trained = tunings(study, source, run.bundle)
        languages = (language for tuning in trained for language in tuning.languages(study, source))
        return tuple(dict.fromkeys(tuning.target for tuning in trained)), tuple(dict.fromkeys(languages))
    scored = (code for name in study.all_targets for code in evaluation_languages(study, source, TASKS[name]))
    return study.all_targets, tuple(dict.fromkeys(scored))


def related(page: Page, pages: list[Page]) -> dict[str, list[Page]]:
    """The runs before and after a run, and the same run with other seeds; kinds without any left out."""
    run = page.run

    def those(phase: str, **same: object) -> list[Page]:
        runs = ((other, other.run) for other in pages if other.run.phase == phase)
        return [other for other, one in runs if all(getattr(one, key) == value for key, value in same.items())]

    same = {"seed": run.seed, "intermediate": run.intermediate}
    if run.phase == "intermediate":
        before, after = those("encoder", seed=run.seed), those("targets", **same)
    elif run.phase == "targets":
        before = those("intermediate", **same) or those("encoder", seed=run.seed)
        after = [other for other in pages if other.run.final]
    else:
        before = []
        after = those("intermediate", seed=run.seed) + those("targets", seed=run.seed, intermediate=NONE)
        after = after if run.phase == "encoder" else []
    seeds = [] if run.final else those(run.phase, intermediate=run.intermediate, bundle=run.bundle)
    kinds = {"Starts from": before, "Leads to": after, "Other seeds": [other for other in seeds if other != page]}
    return {kind: found for kind, found in kinds.items() if found}
