"""What ruff cannot see of docstrings: those that are inherited, and arguments that share a line."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cached_property

import tl_research

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(tl_research.__path__, "tl_research.")
    if not module.name.endswith(".__main__")
]
DEFINITIONS = (type(lambda: 0), property, cached_property, classmethod, staticmethod)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def test_every_public_method_says_what_it_does_or_inherits_it():
    silent = []
    for module in MODULES:
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and is_public(name):
                own = [member for member, value in vars(kind).items() if isinstance(value, DEFINITIONS)]
                silent += [f"{name}.{member}" for member in own if is_public(member) and not described(kind, member)]
    assert silent == []


def described(kind: type, member: str) -> bool:
    # As an attribute of the class, where `getdoc` follows the inheritance of properties too.
    value = vars(kind)[member]
    return bool(inspect.getdoc(value if isinstance(value, cached_property) else getattr(kind, member)))


def test_a_section_of_arguments_names_each_of_them():
    silent = []
    for module in MODULES:
        tree = ast.parse(inspect.getsource(module))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        silent += [f"{module.__name__}.{node.name}: {name}" for node in functions for name in unnamed(node)]
    assert silent == []


def unnamed(node: ast.FunctionDef) -> list[str]:
    text = ast.get_docstring(node) or ""
    # What a registered part is called with stands where parts of its kind are registered.
    is_part = any(ast.unparse(decorator).startswith("register_") for decorator in node.decorator_list)
    if "Args:" not in text or is_part:
        return []
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
    return [name for name in names if not re.search(rf"\b{name}\b", text)]
