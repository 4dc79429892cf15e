"""Where examples come from: the generated micro-world, the original files or the hub, in one schema.

Canonical columns per kind:

    classification  id, text_a, text_b, label (index into the task's labels; -1 = unlabelled)
    choice          id, context, question, choices[list], label
    tagging         id, tokens[list], tags[list of names]
    span            id, context, question, answers{text[list], answer_start[list]}, is_impossible
    parallel        id, query (source language), candidate (foreign); row i's gold is row i
    mining          id, text, side ("foreign" or "source"), gold[list of ids on the other side]
    ranking         id, text, language, keys[list]; a candidate is relevant to the queries that it shares a key with
    text            id, text, language

Beside "train", "dev" and "test" a task may have the split "mt": its training set machine-translated into other
languages. Its rows may be unusable (label -1; an answer that is not at its offset): training drops them.

A ranking task has its queries in "dev" or "test" and in "pool" the candidates, of which those of all languages are
searched together ("mul": a pool that is not parted by language; its rows say which is theirs). Its "train" holds
pairs in the columns of a parallel set.
"""

from xstilts.errors import UserError
from xstilts.io import ROOT
from xstilts.settings import FilesSettings, Study
from xstilts.sources.base import Source, left_out

__all__ = ["Source", "left_out", "open_source"]


def open_source(study: Study) -> Source:
    """The source a study names, with the user's own tasks beside; what it loads is cached in the study's folder."""
    from xstilts.sources.cache import CachedSource
    from xstilts.sources.files import CustomSource, FilesSource

    source: Source
    translated = None
    if study.source == "micro":
        from xstilts.sources.micro import MicroSource

        source = MicroSource(study.micro)
    elif study.source == "hub":
        from xstilts.sources.hub import HubSource

        languages = study.languages or {code for name in study.all_targets for code in study.task(name).languages}
        source = HubSource(study.hub, study.source_language, tuple(sorted(languages)))
        if study.hub.translations:  # released as files, on no hub
            if not (ROOT / study.hub.translations).is_dir():
                raise UserError(f"hub.translations: no folder {(ROOT / study.hub.translations).resolve()}")
            settings = FilesSettings(root=study.hub.translations, limits=study.hub.limits)
            translated = FilesSource(settings, study.source_language)
    else:
        source = FilesSource(study.files, study.source_language)
    return CachedSource(source, study.folder / "data", CustomSource(study.own, study.source_language, ROOT), translated)
