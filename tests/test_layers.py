"""The rooms of the package stand in layers: each imports only those before it, and no two modules import each other."""

import ast
from pathlib import Path

import networkx
import pytest

import tl_research

PACKAGE = Path(tl_research.__file__).parent
#: A room imports from itself and from rooms of the lines before its own. The order is docs/house.md's.
LAYERS = """
errors
storage nn registry
losses metrics
config outcomes
parallel
kernels adapters heads
alignment data
interactions
recommenders
encoders weighting evaluation
portfolio
methods
training
runs
suites
report
answer
recommend
cli
"""
RANK = {room: rank for rank, line in enumerate(LAYERS.split("\n")) for room in line.split()}
#: These import within functions: the command line, to start quickly; the others, what needs an optional library or
#: takes long to import and is seldom used.
LAZY = ("cli.", "answer.answer", "evaluation.validators.features", "suites.worker", "kernels.backends.triton")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> list[tuple[str, bool]]:
    """Modules of the package that `module` imports, and whether within a function; not those for type checkers."""
    tree = ast.parse(MODULES[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tl_research":
            inner = node.module.removeprefix("tl_research").lstrip(".")
            names = [f"{inner}.{alias.name}".lstrip(".") for alias in node.names]
            names = [name if name in MODULES else inner for name in names]
        elif isinstance(node, ast.Import):
            names = [alias.name.removeprefix("tl_research.") for alias in node.names if "tl_research." in alias.name]
        found += [(name, node not in tree.body) for name in names if name]
    return found


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("module", sorted(filter(None, MODULES)))
def test_a_room_imports_only_rooms_before_it(module):
    above = {room(name) for name, _ in imports(module)} - {room(module)}
    assert not [name for name in above if RANK[name] >= RANK[room(module)]]


def test_no_module_imports_itself_in_a_circle():
    graph = networkx.DiGraph((module, name) for module in MODULES for name, _ in imports(module))
    assert not [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1]


def test_imports_within_functions_are_few_and_known():
    lazy = {module for module in MODULES for _, is_inner in imports(module) if is_inner}
    assert not [module for module in lazy if module and not module.startswith(LAZY)]


def test_the_page_of_the_house_has_the_same_order():
    block = (PACKAGE.parent / "docs" / "house.md").read_text(encoding="utf-8").split("```")[1]
    assert [line[:38].split() for line in block.strip().split("\n")] == [
        row.split() for row in LAYERS.split("\n") if row
    ]


def test_the_root_holds_rooms_and_little_else():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py"}
