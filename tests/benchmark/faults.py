"""Suites whose runs are `tests.benchmark.faulty:run`, and what must hold of them whatever happened."""

import json
from dataclasses import replace
from functools import cache

from omegaconf import OmegaConf

from tests.benchmark import fake
from tl_research.config import compose
from tl_research.runs.record import RECORD_FILE
from tl_research.suites.runner import run_suite


@cache
def base(output):
    config = compose(None, ["data.name=simulated_market", "wandb.mode=disabled", f"output={output}"])
    return OmegaConf.to_container(config)


class FaultySuite(fake.Suite):
    """Cells whose configurations differ in the seed alone; composing each would take longer than its run."""

    def cells(self, output="runs"):
        key = self.seeds, str(output)
        if key not in _CELLS:
            _CELLS[key] = [self._with_configuration(cell, str(output)) for cell in super().cells()]
        return _CELLS[key]

    def _with_configuration(self, cell, output):
        config = OmegaConf.create(base(output) | {"seed": cell.seed})
        return replace(cell, config=config, run_id=f"{cell.label}-{cell.seed}")


_CELLS = {}


def faulty_suite(seeds=3):
    rows = tuple(fake.Row(label, label) for label in ("source_only", "dann"))
    task = fake.Task("old_market->new_market")
    return FaultySuite((task,), rows, seeds=tuple(range(seeds)), rules=("last",))


def start(suite, output, **options):
    return run_suite(suite, output=output, run="tests.benchmark.faulty:run", **options)


TINY = {
    "data": {"name": "simulated_market", "n_source": 300, "n_target": 300},
    "encoder": {"name": "mlp", "hidden": [16], "dropout": 0.2},
    "trainer": {
        "max_epochs": 60, "accelerator": "cpu", "threads": 1,
        "checkpoint_every_seconds": None, "checkpoint_every_n_steps": 5,
    },
    "wandb": {"mode": "disabled"},
}  # fmt: skip


def journal(output) -> list[tuple[str, str]]:
    path = output / "journal"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def finished(output) -> dict[str, bytes]:
    """Content of every record that is ok, by run."""
    found = {}
    for path in output.glob(f"*/{RECORD_FILE}"):
        content = path.read_bytes()
        if json.loads(content)["status"] == "ok":
            found[path.parent.name] = content
    return found


def assert_nothing_ran_twice(output, seen_at):
    """`seen_at`: run -> length of the journal when its record was seen to be ok."""
    lines = journal(output)
    assert not [line for line in lines if line[0] in ("again", "overlap")]
    done = set()
    for number, (word, name) in enumerate(lines):
        if word == "start":
            assert name not in done, f"{name} started again after it was ok"
            assert number < seen_at.get(name, len(lines)), f"{name} started again after its record was seen"
        elif word == "ok":
            done.add(name)
