"""How fast rows are fed and how much of a bare PyTorch loop's speed `source_only` keeps.

    python benchmarks/throughput.py [--threads 2] [--repeats 5] [--out benchmarks/results/throughput.csv]

Every figure is the best of several repeats in one process, taken in turn, and the bars are ratios of two such
figures, so that they hold on a machine whose speed drifts. Training is timed from the first batch of an epoch to
its last, with everything on that a run has on: term sums, finiteness checks, step timer, resume checkpoints, and a
logger. The bare loop has the same model, optimiser, batches and gather, and nothing else.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from epoch_clock import EpochClock
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from tl_research.config import compose
from tl_research.data.batch import Samples
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.transforms.spec import InputSpec
from tl_research.methods.build import build_method
from tl_research.outcomes import ClassOutcome
from tl_research.training.callbacks import StepTimerCallback
from tl_research.training.random_state import RandomState
from tl_research.training.resume import ResumeCheckpoint
from tl_research.training.trainer import make_trainer, quiet_lightning

LOADING_BARS = {4096: 20.0, 256: 10.0}
TRAINING_BARS = {(5000, 256): 0.85, (64, 4096): 0.70}


def rows(count: int, features: int) -> Samples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, features, generator=generator)
    label = (inputs[:, 0] > 0).long()
    return Samples(inputs, label, torch.arange(count), torch.zeros(count, dtype=torch.long))


def time_loading(samples: Samples, batch_size: int, repeats: int) -> dict[str, float]:
    """Rows/s of one pass, best of the repeats."""
    ours = PairedLoader({"source": samples}, {"source": batch_size}, seed=0)
    theirs = DataLoader(TensorDataset(*samples[:4]), batch_size=batch_size, shuffle=True)
    best = {"in_memory": 0.0, "DataLoader(TensorDataset)": 0.0}
    for _ in range(repeats):
        for name, loader in (("in_memory", ours), ("DataLoader(TensorDataset)", theirs)):
            begun = perf_counter()
            for _ in loader:
                pass
            best[name] = max(best[name], samples.size / (perf_counter() - begun))
    return best


def configuration(features: int, batch_size: int, epochs: int, folder: str):
    return compose(
        None,
        {
            "data": {"name": "simulated_market", "batch_size": batch_size},
            "encoder": {"name": "mlp"},
            "method": {"name": "source_only"},
            "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
            "output": folder,
        },
    )


def lightning_epochs(samples: Samples, batch_size: int, epochs: int) -> list[float]:
    """Seconds per epoch, through the Trainer."""
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(samples.inputs.shape[1], batch_size, epochs, folder)
        torch.manual_seed(0)
        module = build_method(config, InputSpec(numeric=samples.inputs.shape[1]), ClassOutcome(("no", "yes")))
        clock = EpochClock()
        resume = ResumeCheckpoint(Path(folder), every_n_steps=None, every_seconds=60.0)
        callbacks = [clock, RandomState(), StepTimerCallback(batch_size), resume]
        trainer = make_trainer(config, callbacks, CSVLogger(folder), Path(folder))
        trainer.fit(module, PairedLoader({"source": samples}, {"source": batch_size}, seed=0))
        return clock.seconds


def bare_epochs(samples: Samples, batch_size: int, epochs: int) -> list[float]:
    """Seconds an epoch of the same model and optimiser in a plain loop."""
    config = configuration(samples.inputs.shape[1], batch_size, epochs, "unused")
    torch.manual_seed(0)
    module = build_method(config, InputSpec(numeric=samples.inputs.shape[1]), ClassOutcome(("no", "yes")))
    model = torch.nn.Sequential(module.encoder, module.head)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.optimizer.lr)
    inputs, label = samples.inputs, samples.label
    seconds = []
    for _ in range(epochs):
        begun = perf_counter()
        for index in torch.randperm(samples.size).split(batch_size):
            loss = F.cross_entropy(model(inputs.index_select(0, index)), label.index_select(0, index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(perf_counter() - begun)
    return seconds


def time_training(features: int, batch_size: int, repeats: int, steps: int) -> dict[str, float]:
    """Steps/s, best epoch of the repeats, the two loops in turn."""
    samples = rows(steps * batch_size, features)
    best = {"source_only": 0.0, "bare loop": 0.0}
    for _ in range(repeats):
        for name, function in (("source_only", lightning_epochs), ("bare loop", bare_epochs)):
            # The first epoch pays for warming up.
            fastest = min(function(samples, batch_size, 4)[1:])
            best[name] = max(best[name], steps / fastest)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000, help="that are loaded")
    parser.add_argument("--steps", type=int, default=100, help="of an epoch on 64 features; a fifth of it on 5,000")
    parser.add_argument("--out", help="CSV file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quiet_lightning()
    lines = []
    samples = rows(arguments.rows, 64)
    for batch_size, bar in LOADING_BARS.items():
        figures = time_loading(samples, batch_size, arguments.repeats)
        lines.append(_line("loading, rows/s", 64, batch_size, figures, bar))
    for (features, batch_size), bar in TRAINING_BARS.items():
        steps = arguments.steps if features < 1000 else max(1, arguments.steps // 5)
        figures = time_training(features, batch_size, arguments.repeats, steps)
        lines.append(_line("training, steps/s", features, batch_size, figures, bar))
    print(f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, best of {arguments.repeats}")
    for line in lines:
        print(
            f"{line['what']:18s} d={line['features']:<5} batch={line['batch_size']:<5} {line['ours']:>12.4g} "
            f"against {line['other']:>12.4g}  ratio {line['ratio']:6.2f}  bar {line['bar']}"
            f"  {'met' if line['ratio'] >= line['bar'] else 'NOT MET'}"
        )
    if arguments.out:
        with open(arguments.out, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    return 0 if all(line["ratio"] >= line["bar"] for line in lines) else 1


def _line(what: str, features: int, batch_size: int, figures: dict[str, float], bar: float) -> dict:
    (ours_name, ours), (other_name, other) = figures.items()
    return {
        "what": what,
        "features": features,
        "batch_size": batch_size,
        "ours_name": ours_name,
        "other_name": other_name,
        "ours": ours,
        "other": other,
        "ratio": ours / other,
        "bar": bar,
    }


if __name__ == "__main__":
    sys.exit(main())
