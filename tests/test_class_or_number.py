"""Whether a label is a class or a number is asked of the outcome; outside `outcomes/` five places ask it themselves."""

import ast
from pathlib import Path

import tl_research

PACKAGE = Path(tl_research.__file__).parent
KINDS = {"class", "regression"}
#: Rooms before `outcomes` that know no label: what they call classes are columns, or the rows of one kind of metric.
PASSED_OVER = ("outcomes", "metrics", "kernels")
ALLOWED = {
    ("data/label_kinds.py", "kind_of"),  # raw labels, once for readers, splits and audits
    ("data/readers/labels.py", "decide_label"),  # what the user says of a column
    ("data/catalog/simulated_market.py", "__post_init__"),  # an option that only classes have
    ("data/sampling/labels.py", "known_classes"),  # rows alone, without their outcome
    ("storage/checkpoints.py", "load_model_file"),  # files of before there were outcomes
}


def asks(node: ast.AST) -> bool:
    """Whether an expression asks for the kind of a label, in any of the ways it was asked before."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        words = [side.value for side in sides if isinstance(side, ast.Constant)]
        return not KINDS.isdisjoint(words) or ("classes" in map(name_of, sides) and not {0, 1}.isdisjoint(words))
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        return is_answer(node.test)
    if isinstance(node, ast.BoolOp):
        return any(map(is_answer, node.values))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not) and is_answer(node.operand)
    if isinstance(node, ast.Call):
        of_label = name_of(node.func) == "is_floating_point" and name_of(node.func.value) in ("label", "labels")
        of_file = name_of(node.func) == "get" and any(getattr(word, "value", "") == "label_scale" for word in node.args)
        return of_label or of_file or (name_of(node.func) == "bool" and any(map(is_answer, node.args)))
    return isinstance(node, ast.Attribute) and node.attr in ("regression", "is_regression")


def is_answer(node: ast.AST) -> bool:
    """Whether an expression that stands for true or false is the answer, or names that only classes have."""
    return name_of(node) in ("classes", "regression", "is_regression", "has_classes")


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Name | ast.Attribute):
        return node.id if isinstance(node, ast.Name) else node.attr
    return ""


def askers(source: str) -> set[str]:
    """Functions in which an expression asks."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if any(map(asks, ast.walk(function)))}


def test_five_places_ask():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in PASSED_OVER:
            found |= {(place.as_posix(), name) for name in askers(path.read_text(encoding="utf-8"))}
    assert found == ALLOWED
    assert len(ALLOWED) <= 5


def test_the_ways_of_asking_are_found():
    ways = (
        'x = 1 if task == "regression" else 2', "if self.regression: pass", "x = not classes", "x = a and classes",
        "x = classes == 1", "x = f(regression=self.regression)", 'x = outcome.kind != "class"', "x = bool(classes)",
        "x = rows.label.is_floating_point()", 'x = content.get("label_scale")',
    )  # fmt: skip
    assert [way for way in ways if not askers(f"def function():\n    {way}")] == []
    assert askers("def function():\n    return HEADS[outcome.kind], outcome.names, len(classes)") == set()
