"""Modules from outside the package: the files that `TL_RESEARCH_PLUGINS` names."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from tl_research.errors import ConfigError, UserError

PLUGIN_VARIABLE = "TL_RESEARCH_PLUGINS"
_imported: set[Path] = set()


def import_plugins() -> None:
    """Import the files of `TL_RESEARCH_PLUGINS` that are new since the last call."""
    for part in filter(None, os.environ.get(PLUGIN_VARIABLE, "").split(os.pathsep)):
        path = Path(part)
        if not path.exists():
            raise ConfigError(f"{PLUGIN_VARIABLE}: {part} does not exist")
        if not path.is_dir() and path.suffix != ".py":
            raise ConfigError(f"{PLUGIN_VARIABLE}: {part}: wants a Python file (.py), or a folder of them")
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            file = file.resolve()
            if file not in _imported:
                _imported.add(file)
                _import_plugin(file)


def _import_plugin(file: Path) -> None:
    name = f"tl_research_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{PLUGIN_VARIABLE}: {file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        # Ctrl-C, and a signal that ends the process by a SystemExit of its own kind, are not the plugin's.
        is_signal = isinstance(error, SystemExit) and type(error) is not SystemExit
        if is_signal or isinstance(error, KeyboardInterrupt):
            raise
        # Whoever asks again is told again.
        _imported.discard(file)
        sys.modules.pop(name, None)
        said = " ".join(str(getattr(error, "msg", None) or error).split())
        kind = "" if isinstance(error, UserError | ValueError) else f"{type(error).__name__}: "
        raise ConfigError(f"{PLUGIN_VARIABLE}: {file}{_line_of(error, file)}: {kind}{said}") from error


def _line_of(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""
