"""Parquet files of hub repositories: in a mirror, in the hub's cache, or fetched from the hub."""

import csv
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as parquet
from datasets import ClassLabel, Features
from huggingface_hub.errors import LocalEntryNotFoundError

from ..errors import UserError
from ..places import REVISIONS, Hub
from ..study import ROOT

huggingface_hub.utils.disable_progress_bars()

# How repositories lay out a configuration: as uploaded, as the hub's own conversion does, and as uploaded by
# those that have one configuration alone.
LAYOUTS = ("{config}/{split}-*.parquet", "{config}/{split}/*.parquet")
SINGLE = "data/{split}-*.parquet"


def _sizes() -> dict[tuple[str, str, str, str], int]:
    """(repo, config, split, language or "") -> rows. From the ``dataset_infos.json`` of each repository; of
    XNLI's languages, of facebook/xnli's; of TyDiQA's English part, from the table of XTREME (RemBERT,
    arXiv:2010.12821, table 11). ``bucc18.*``, gold pairs without their sentences, is read by nothing."""
    with (Path(__file__).parent / "hub_sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["repo"], row["config"], row["split"], row["language"]): int(row["rows"]) for row in rows}


SIZES = _sizes()


def published(place: Hub, language: str) -> bool:
    """Whether the configuration of a language has the split at all (udpos.Thai has no training set)."""
    return (place.repo, place.config_of(language), place.split, "") in SIZES


def name_of(place: Hub, language: str) -> str:
    """Repository, configuration and split, as messages name a place."""
    return f"{place.repo} {place.config_of(language)} {place.split}"


class Repositories:
    """Where the files of a place are. With a mirror neither the network nor the cache is used; without one the
    cache comes first, so that what was fetched once needs no network again."""

    def __init__(self, mirror: str = ""):
        self.mirror = (ROOT / mirror).resolve() if mirror else None
        if self.mirror and not self.mirror.is_dir():
            raise UserError(f"hub.mirror: no folder {self.mirror}; name the one that holds google/xtreme/, …")

    def files(self, place: Hub, language: str) -> list[Path]:
        """The files of a place's split, sorted; fetched where they are neither in a mirror nor in the cache."""
        patterns = _patterns(place, language)
        folder = self.mirror / place.repo if self.mirror else self._cached(place.repo, patterns)
        folder = folder or self._download(place.repo, patterns)
        for pattern in patterns:
            found = sorted(folder.glob(pattern))
            if found:
                return found
        raise UserError(
            f"{name_of(place, language)}: no such file in {folder} (looked for {' or '.join(patterns)}); "
            "complete it, or leave out what needs it"
        )

    def at_hand(self, place: Hub, language: str) -> bool:
        """Whether the files of a place's split are in the mirror or the cache; asks no network."""
        patterns = _patterns(place, language)
        folder = self.mirror / place.repo if self.mirror else self._cached(place.repo, patterns)
        return folder is not None and any(map(any, map(folder.glob, patterns)))

    def absent(self, wanted: list[tuple[Hub, str]]) -> dict[str, list[str]]:
        """Repositories that lack some of ``wanted`` (place, language) here -> patterns of what is wanted of them.
        UserError where one of them cannot be reached; with a mirror, where it lacks a file."""
        if self.mirror:
            for place, language in wanted:
                self.files(place, language)
            return {}
        patterns: dict[str, list[str]] = {}
        for place, language in wanted:
            patterns.setdefault(place.repo, []).extend(_patterns(place, language))
        cached = {repo: self._cached(repo, patterns[repo]) for repo in patterns}
        lacking = {
            place.repo
            for place, language in wanted
            if not (folder := cached[place.repo]) or not any(map(any, map(folder.glob, _patterns(place, language))))
        }
        for repo in sorted(lacking):
            with _reached(repo, lacking):
                huggingface_hub.HfApi().dataset_info(repo, revision=REVISIONS[repo])
        return {repo: patterns[repo] for repo in sorted(lacking)}

    def fetch(self, absent: dict[str, list[str]]) -> None:
        for repo, patterns in absent.items():
            print(f"fetching {repo} (revision {REVISIONS[repo]}) from the hub", flush=True)
            self._download(repo, patterns)

    def _cached(self, repo: str, patterns: list[str]) -> Path | None:
        try:
            return self._snapshot(repo, patterns, local_files_only=True)
        except LocalEntryNotFoundError:
            return None

    def _download(self, repo: str, patterns: list[str]) -> Path:
        with _reached(repo, {repo}):
            return self._snapshot(repo, patterns)

    def _snapshot(self, repo: str, patterns: list[str], **options: Any) -> Path:
        folder = huggingface_hub.snapshot_download(
            repo, repo_type="dataset", revision=REVISIONS[repo], allow_patterns=patterns, **options
        )
        return Path(folder)


@contextmanager
def _reached(repo: str, lacking: set[str]) -> Iterator[None]:
    """The hub's many errors as one message: what could not be reached, and the ways out."""
    try:
        yield
    except Exception as error:  # no network, a proxy, no such revision, …: the ways out are the same
        others = ", ".join(sorted(lacking - {repo}))
        instead = f"name a folder with the repositories as on the hub (<folder>/{repo}/…) under hub.mirror"
        raise unreachable(f"{repo} (revision {REVISIONS[repo]})", error, instead, others) from None


def unreachable(what: str, error: Exception, instead: str, others: str = "") -> UserError:
    """That ``what`` is neither on the hub, as far as its client's ``error`` tells, nor in its cache, nor are
    ``others``; and the ways out, of which ``instead`` does without the hub."""
    reason = " ".join(str(error).split())
    return UserError(
        f"{what} could not be reached on the hub, and the cache {huggingface_hub.constants.HF_HUB_CACHE} does not hold "
        f"it{f', nor {others}' if others else ''}. Three ways out: connect to the network; or fill the cache with the "
        f"same command on a machine that is connected, and copy it here; or {instead}. (The hub's client says: "
        f"{reason})"
    )


def _patterns(place: Hub, language: str) -> list[str]:
    layouts = (*LAYOUTS, SINGLE) if place.config == "default" else LAYOUTS
    return [layout.format(config=place.config_of(language), split=place.split) for layout in layouts]


def records(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The rows of parquet files, with the names of class labels (None for -1) where the files state them."""
    for path in paths:
        try:
            yield from _records(path)
        except (OSError, ValueError, TypeError, LookupError) as error:  # pyarrow's own are some of these
            reason = textwrap.shorten(str(error), 200, placeholder=" …")
            raise UserError(
                f"{path}: not a parquet file that can be read ({reason}); delete it and fetch or copy it again"
            ) from None


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with parquet.ParquetFile(path) as file:
        labels = _class_labels(Features.from_arrow_schema(file.schema_arrow))
        for batch in file.iter_batches(1000):
            for record in batch.to_pylist():
                for column, names in labels.items():
                    record[column] = _names(record[column], names)
                yield record


def _class_labels(features: Features) -> dict[str, list[str]]:
    """Column -> names of its class labels, for columns of labels and of lists of labels."""
    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: feature.names for column, feature in inner.items() if isinstance(feature, ClassLabel)}


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return None if value is None or value < 0 else names[value]
