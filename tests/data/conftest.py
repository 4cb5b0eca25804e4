"""Real files, where this checkout has them beside it, and a folder of its own for what a test fetches."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def mirror_folder():
    """Folder of real files; skips where there is none."""
    folder = Path(os.environ.get("TL_RESEARCH_MIRROR") or BESIDE)
    if not folder.is_dir():
        pytest.skip("no real files: set TL_RESEARCH_MIRROR to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def _fetched(tmp_path_factory):
    return tmp_path_factory.mktemp("fetched")


@pytest.fixture
def real_data(mirror_folder, _fetched, monkeypatch):
    """The data root, with the mirror set; files fetched by one test serve the next."""
    monkeypatch.setenv("TL_RESEARCH_MIRROR", str(mirror_folder))
    monkeypatch.setenv("TL_RESEARCH_DATA", str(_fetched))
    return _fetched


@pytest.fixture
def no_mirror(monkeypatch, tmp_path):
    """An empty data root and no mirror: nothing can be fetched."""
    monkeypatch.delenv("TL_RESEARCH_MIRROR", raising=False)
    monkeypatch.setenv("TL_RESEARCH_DATA", str(tmp_path / "root"))
    return tmp_path / "root"
