"""What every test shares: one thread, no tracker, and the shared data folder as the mirror where there is one."""

import gc
import os
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("TL_RESEARCH_MIRROR", str(SHARED))

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--all", action="store_true", help="put every method, not one per group, to the contracts that train"
    )


def pytest_configure(config):
    if config.getoption("--all"):
        os.environ["TL_RESEARCH_ALL_METHODS"] = "1"


def pytest_collection_finish(session):
    # Every run collects its garbage; what was imported is none, and looking through it takes a quarter of a second.
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config):
    gc.unfreeze()


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of the real data files; the test is skipped where there is none."""
    where = os.environ.get("TL_RESEARCH_MIRROR", "")
    if not Path(where).is_dir() or not where:
        pytest.skip("the real data files are not here (TL_RESEARCH_MIRROR)")
    return Path(where)
