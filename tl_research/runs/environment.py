"""What a run is carried out with: versions, and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tl_research


@cache
def environment() -> dict[str, Any]:
    """Versions and the commit of the code, as far as they are known."""
    import sklearn

    return {
        "tl_research": tl_research.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "scikit-learn": sklearn.__version__,
        **_commit(),
    }


def _commit() -> dict[str, Any]:
    # Of the package's own checkout, whatever folder the run was started in.
    root = Path(tl_research.__file__).parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        # Results and documents do not change what is computed.
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", "tl_research", "configs", "benchmarks/suites"
        )
        return {"commit": git("rev-parse", "HEAD")[:12], "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
