"""Commands that compute nothing start without torch: placeholders stand for it while the package is read.

`tl-research methods`, `datasets`, `encoders`, `data` and `check` need names and configurations of every part. The files
of the parts import torch and Lightning, which cost seconds and most of a gigabyte. Here modules take their place whose
attributes are empty classes. A class of the package can inherit from one, and a module or a class body can call one.
A function that uses one wants to compute: it gets `NeedsLibrary`, and the command begins anew with the libraries. So
a command may be slow, but says nothing else than it would with them.

`compare` needs torch, but trains nothing: it does without Lightning, which imports torch's compiler, and without
torchmetrics, which imports torchvision and transformers for metrics of images and texts.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import os
import sys
from abc import ABCMeta
from types import ModuleType
from typing import Any, NoReturn

from tl_research.registry.plugins import PLUGIN_VARIABLE

#: What only computing needs.
LIBRARIES = frozenset(
    ("einops", "lightning", "peft", "timm", "torch", "torchmetrics", "torchvision", "transformers", "triton")
)
#: What only training needs.
OF_TRAINING = frozenset(("lightning", "torchmetrics"))
#: In the environment: no placeholders.
VARIABLE = "TL_RESEARCH_ALL_LIBRARIES"


class NeedsLibrary(BaseException):
    """A command needs a library for which a placeholder stands."""


def install(libraries: frozenset[str] = LIBRARIES) -> None:
    """Put placeholders in the place of libraries, for the rest of this process.

    Not beside plugins, whose files may do anything when they are imported, and not where one is imported already.
    """
    if not (libraries & sys.modules.keys() or os.environ.get(PLUGIN_VARIABLE) or os.environ.get(VARIABLE)):
        sys.meta_path.insert(0, _Finder(libraries))


def start_over() -> NoReturn:
    """Run the command of this process anew, with the libraries; nothing may have been printed."""
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {VARIABLE: "1"})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, libraries: frozenset[str]):
        self._libraries = libraries

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        is_one = name.partition(".")[0] in self._libraries
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_one else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse_use(f"{self.__name__}.{name}")
        return _made(f"{self.__name__}.{name}")


class _Placeholder(ABCMeta):
    """Class of the placeholders, and of the classes that inherit from one; what it overrides is for the first alone."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or not _is_placeholder(cls):
            raise AttributeError(f"{cls.__name__} has no attribute {name!r}")
        _refuse_use(cls.__name__)
        return _made(f"{cls.__name__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        _refuse_use(cls.__name__, is_call=True)
        return _made(f"{cls.__name__}()") if _is_placeholder(cls) else super().__call__(*args, **kwargs)

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __instancecheck__(cls, instance: Any) -> bool:
        if _is_placeholder(cls):
            _refuse_use(cls.__name__)
        return super().__instancecheck__(instance)


def _made(name: str) -> _Placeholder:
    return _Placeholder(name, (), {"is_placeholder": True})


def _is_placeholder(cls: type) -> bool:
    return "is_placeholder" in vars(cls)


def _refuse_use(name: str, *, is_call: bool = False) -> None:
    """Raise `NeedsLibrary` where the caller of the caller is a function: only definitions may use a placeholder.

    Other libraries may look something up: SciPy asks whether its arrays are tensors, and is right that they are none.
    """
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back  # `from torch import nn` asks for it in the importer's name
    is_ours = frame.f_globals.get("__name__", "").startswith("tl_research")
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED and (is_call or is_ours):
        raise NeedsLibrary(name)
