"""The toys train through the ordinary command, with no other edit than their file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"


def train(toy: str, folder: Path, *words: str) -> dict:
    """Carry out a run in which the toy is a plugin, and return its record."""
    environment = os.environ | {"TL_RESEARCH_PLUGINS": str(TOYS / f"{toy}.py"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tl_research.cli", "fit", *words, f"output={folder}", "wandb.mode=disabled"]
    done = subprocess.run(command, cwd=TOYS.parents[1], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (record,) = folder.glob("*/result.json")
    return json.loads(record.read_text())


@pytest.mark.parametrize("toy", [path.stem for path in TOYS.glob("[a-z]*.py")])
def test_a_toy_is_short_and_uses_public_names_only(toy):
    text = (TOYS / f"{toy}.py").read_text()
    assert len(text.splitlines()) <= 40
    assert not [word for word in text.replace("(", " ").replace(".", " ").split() if word[:1] == "_"]


def test_a_prototypical_network_learns_from_episodes(tmp_path):
    digits = ("data.name=digits", "data.sources=[upright]", "data.target=shifted", "method.name=toy_prototypes")
    record = train("episodes", tmp_path, *digits, "data.sampler.queries=5", "optimizer.lr=0.01")
    assert record["config"]["data"]["sampler"]["name"] == "episodes"
    assert record["metrics"]["last"]["source_test/accuracy"] > 0.8


def test_a_ranking_loss_reads_users_and_items_from_the_batch(tmp_path):
    shop = ("data.name=toy_clicks", "data.sources=[shop]", "data.target=app", "trainer.max_epochs=10")
    pairs = train("users", tmp_path / "pairs", *shop, "method.name=toy_pairs", "data.sampler=by_user")
    assert pairs["metrics"]["last"]["train/source_task"] < 0.2  # ln 2 for scores that say nothing
    assert pairs["metrics"]["last"]["target_test/auroc"] > 0.7
