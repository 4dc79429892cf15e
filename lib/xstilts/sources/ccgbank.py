"""CCGbank (LDC2005T13): words and their supertags from its AUTO files, or from files of two columns."""

import re
from pathlib import Path

from ..errors import UserError
from .rawfiles import Rows, lines_of

# The field's sections (Clark and Curran 2007, doi:10.1162/coli.2007.33.4.493).
SECTIONS = {"train": range(2, 22), "dev": range(1), "test": range(23, 24)}
LEAF = re.compile(r"<L (\S+) \S+ \S+ (\S+) \S+>")  # category, two tags, word, category with its dependencies


def paths(folder: Path, split: str) -> list[Path]:
    """The AUTO files of a split's sections, else ``<split>.tsv``; [] where the folder holds neither."""
    for root in (folder / "data" / "AUTO", folder / "AUTO"):
        found = [path for section in SECTIONS[split] for path in sorted((root / f"{section:02}").glob("*.auto"))]
        if found:
            return found
    columns = folder / f"{split}.tsv"
    return [columns] if columns.is_file() else []


def auto(path: Path, labels: tuple[str, ...]) -> Rows:
    """One derivation a line, after a line ``ID=wsj_0001.1 PARSER=GOLD …``; its leaves are the words."""
    identity = ""
    for where, line in lines_of(path):
        if line.startswith("ID="):
            identity = line.split()[0].removeprefix("ID=")
            continue
        leaves = LEAF.findall(line)
        if not identity or not leaves or len(leaves) != line.count("(<L "):
            raise UserError(
                f"{where}: expected ID=… and then, on the next line, a derivation with leaves "
                f"(<L category tag tag word category>), found {line[:60]!r}"
            )
        tags, tokens = zip(*leaves, strict=True)
        yield where, {"id": identity, "tokens": list(tokens), "tags": list(tags)}
        identity = ""
