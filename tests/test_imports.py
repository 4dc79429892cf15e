"""Imports flow one way: from the layers of the command line and the questions down to names and files."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIB = Path(__file__).parents[1] / "lib"

# From the bottom to the top; a module imports from its own layer and from those before it. A package stands for its
# modules.
LAYERS = (
    ("microworld",),
    ("errors", "io", "progress"),
    ("locations", "tasks", "names"),
    ("readers", "settings", "study", "validation"),
    ("sources", "target_runs"),
    ("features",),
    ("training",),
    ("evaluation",),
    ("runs", "preflight", "inference"),
    ("phases", "results"),
    ("plots", "summaries", "examples", "published", "findings", "site"),
    ("questions", "custom_task", "submission", "plan", "speed"),
    ("warm", "workflow", "status", "report"),
    ("__main__",),
)


def module_name(path: Path) -> str:
    parts = path.relative_to(LIB).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(LIB.rglob("*.py"))}


def imports(code: str) -> set[str]:
    """Modules of this project that code imports, also in its functions and for its annotations alone."""
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"from {node.module} import: a relative import; expected an absolute one"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                modules.add(name if name in MODULES else node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name for name in modules if name in MODULES} - {"xstilts"}


IMPORTS = {name: imports(path.read_text(encoding="utf-8")) - {name} for name, path in MODULES.items()}


def layer(module: str) -> int:
    package, _, rest = module.partition(".")
    part = package if package == "microworld" else rest.partition(".")[0]
    (number,) = [number for number, names in enumerate(LAYERS) if part in names]
    return number


def test_no_module_imports_from_a_higher_layer():
    pairs = [(module, imported) for module in IMPORTS if module != "xstilts" for imported in sorted(IMPORTS[module])]
    assert not [f"{module} imports {imported}" for module, imported in pairs if layer(imported) > layer(module)]


@pytest.mark.parametrize("depth", [1, 9], ids=["packages", "modules"])
def test_no_cycle(depth):
    graph: dict[str, set[str]] = {}
    for module, imported in IMPORTS.items():
        name, *others = (".".join(path.split(".")[: depth + 1]) for path in (module, *imported))
        graph.setdefault(name, set()).update({*others} - {name})
    TopologicalSorter(graph).prepare()  # CycleError names one
