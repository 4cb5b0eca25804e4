"""A method added as one file gets every contract test and a row in a table, with no other edit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

GOOD = '''
"""Equal feature means, in one file."""

from dataclasses import dataclass

from tl_research.config import MethodConfig, at_least
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class MeanConfig(MethodConfig):
    name: str = "throw_away"
    weight: float = at_least(0.0, default=1.0)


@register_method("throw_away", config=MeanConfig, family="feature", settings=("unsupervised",), paper="none",
                 null=0.0, gain=0.02)
class Mean(AdaptationModule):
    """Equal feature means: CE(source) + weight * ||mean f_S - mean f_T||^2."""

    def terms(self, step):
        gap = step.source.features.mean(0) - step.target.features.mean(0)
        return {"mean_gap": self.config.weight * GAP}
'''
WORKS = GOOD.replace("GAP", "gap.square().sum()")
DOES_NOT_TRAIN = GOOD.replace("GAP", "gap.detach().square().sum()")

SUITE = """
name: one_row
common:
  data: {name: simulated_market, n_source: 200, n_target: 200}
  trainer: {max_epochs: 2}
  wandb: {mode: disabled}
tasks: [old_market->new_market]
methods: [source_only, throw_away]
seeds: 2
"""


def call(plugin: Path, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"TL_RESEARCH_PLUGINS": str(plugin), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )


def contract_tests(plugin: Path, *names: str) -> subprocess.CompletedProcess:
    """The contracts of these names, all of them where none is given."""
    of_names = f"throw_away and ({' or '.join(names)})" if names else "throw_away"
    return call(
        plugin, "pytest", "tests/contracts/test_methods.py", "-k", of_names, "-p", "no:cacheprovider", "-p",
        "no:xdist", "-rA", "--no-header",
    )  # fmt: skip


def test_a_trained_method_costs_at_most_30_lines():
    assert len(WORKS.strip().splitlines()) <= 30


@pytest.mark.slow
def test_a_method_in_one_file_passes_every_contract_and_gets_a_row(tmp_path):
    plugin = tmp_path / "mean.py"
    plugin.write_text(WORKS)
    result = contract_tests(plugin)
    assert result.returncode == 0, result.stdout[-3000:]
    passed = {line.split("::")[1].split("[")[0] for line in result.stdout.splitlines() if line.startswith("PASSED")}
    assert len(passed) >= 10, passed

    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE)
    result = call(plugin, "tl_research.cli", "benchmark", str(suite), "--output", str(tmp_path / "runs"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert any("throw_away" in line and "±" in line for line in result.stdout.splitlines()), result.stdout


@pytest.mark.slow
def test_a_method_that_does_not_train_fails_them(tmp_path):
    plugin = tmp_path / "mean.py"
    plugin.write_text(DOES_NOT_TRAIN)
    reaches = "test_the_adaptation_terms_reach_the_encoder_from_both_sides"
    gains = "test_beats_its_baseline_by_the_stated_margin"
    result = contract_tests(plugin, reaches, gains)
    failed = {line.split("::")[1].split("[")[0] for line in result.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {reaches, gains}, result.stdout[-3000:]
