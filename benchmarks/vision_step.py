"""Step time of a timm network over uint8 images through our fit, against a bare PyTorch loop of the same step.

    python benchmarks/vision_step.py [--model resnet18] [--size 32] [--batch-size 64] [--threads 2] [--repeats 5]
                                     [--steps 20] [--out benchmarks/results/vision_step.csv]

Ours is `source_only` with encoder `vision`, with everything on that a run has on (term sums, finiteness checks, step
timer, resume checkpoints, a logger), timed from before the first batch of an epoch to after its last. The bare loop is
timm's own network with a linear layer, Adam, and the same gather and normalisation written out. Both take their epochs
in turn in one process, and the best epoch of each counts. Augmentation is off, since the bare loop has none; its share
is printed beside that of the loader, both of them of our step.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import timm
import torch
import torch.nn.functional as F
from epoch_clock import EpochClock
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from tl_research.config import compose
from tl_research.data.batch import Samples
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.vision import augment
from tl_research.methods.build import build_method
from tl_research.outcomes import ClassOutcome
from tl_research.training.callbacks import StepTimerCallback
from tl_research.training.random_state import RandomState
from tl_research.training.resume import ResumeCheckpoint
from tl_research.training.trainer import make_trainer, quiet_lightning

BAR = 1.10  # our step, in steps of the bare loop
CLASSES = 12


def images(count: int, size: int) -> Samples:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    label = torch.randint(0, CLASSES, (count,), generator=generator)
    return Samples(pixels, label, torch.arange(count), torch.zeros(count, dtype=torch.long))


def our_epochs(samples: Samples, model: str, batch_size: int, epochs: int) -> list[float]:
    """Seconds per epoch, through the Trainer."""
    with tempfile.TemporaryDirectory() as folder:
        config = compose(
            None,
            {
                "data": {"name": "fashion_products", "sources": ["men"], "target": "women", "batch_size": batch_size},
                "encoder": {"name": "vision", "model": model},
                "method": {"name": "source_only"},
                "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
                "output": folder,
            },
        )
        torch.manual_seed(0)
        module = build_method(
            config, InputSpec(numeric=0, image=tuple(samples.inputs.shape[1:])), ClassOutcome(map(str, range(CLASSES)))
        )
        clock = EpochClock()
        resume = ResumeCheckpoint(Path(folder), every_n_steps=None, every_seconds=60.0)
        callbacks = [clock, RandomState(), StepTimerCallback(batch_size), resume]
        trainer = make_trainer(config, callbacks, CSVLogger(folder), Path(folder))
        trainer.fit(module, PairedLoader({"source": samples}, {"source": batch_size}, seed=0))
        return clock.seconds


def bare_epochs(samples: Samples, model: str, batch_size: int, epochs: int) -> list[float]:
    """Seconds an epoch of timm's network in a plain loop."""
    torch.manual_seed(0)
    body = timm.create_model(model, num_classes=0)
    head = nn.Linear(body.num_features, CLASSES)
    mean, std = (255 * torch.tensor(body.pretrained_cfg[name])[:, None, None] for name in ("mean", "std"))
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-3)
    pixels, label = samples.inputs, samples.label
    seconds = []
    for _ in range(epochs):
        begun = perf_counter()
        for index in torch.randperm(samples.size).split(batch_size):
            x = (pixels.index_select(0, index).permute(0, 3, 1, 2).float() - mean) / std
            loss = F.cross_entropy(head(body(x)), label.index_select(0, index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(perf_counter() - begun)
    return seconds


def loader_seconds(samples: Samples, batch_size: int, repeats: int) -> float:
    """Seconds per batch of the loader alone, best of the repeats."""
    loader = PairedLoader({"source": samples}, {"source": batch_size}, seed=0)
    return min(_seconds(lambda: [None for _ in loader]) for _ in range(repeats)) / len(loader)


def augmentation_seconds(samples: Samples, batch_size: int, repeats: int) -> float:
    """Seconds per batch of shifting and mirroring alone."""
    batch = samples.inputs[:batch_size]
    return min(_seconds(lambda: augment(batch, crop=2, flip=True)) for _ in range(4 * repeats))


def _seconds(work) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--out", help="CSV file to write")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    quiet_lightning()
    samples = images(arguments.steps * arguments.batch_size, arguments.size)
    best = {"fit": float("inf"), "bare loop": float("inf")}
    for _ in range(arguments.repeats):
        for name, function in (("fit", our_epochs), ("bare loop", bare_epochs)):
            # The first epoch pays for warming up.
            fastest = min(function(samples, arguments.model, arguments.batch_size, 3)[1:])
            best[name] = min(best[name], fastest / arguments.steps)
    loading = loader_seconds(samples, arguments.batch_size, arguments.repeats)
    augmenting = augmentation_seconds(samples, arguments.batch_size, arguments.repeats)
    line = {
        "model": arguments.model,
        "size": arguments.size,
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "fit_ms": 1e3 * best["fit"],
        "bare_ms": 1e3 * best["bare loop"],
        "ratio": best["fit"] / best["bare loop"],
        "bar": BAR,
        "loader_ms": 1e3 * loading,
        "loader_share": loading / best["fit"],
        "augmentation_ms": 1e3 * augmenting,
        "augmentation_share": augmenting / best["fit"],
    }
    met = line["ratio"] <= BAR
    print(f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, best of {arguments.repeats}")
    print(
        f"{line['model']} at {line['size']} px, batch {line['batch_size']}: step {line['fit_ms']:.2f} ms, bare loop "
        f"{line['bare_ms']:.2f} ms, ratio {line['ratio']:.3f}, bar {BAR}  {'met' if met else 'NOT MET'}"
    )
    print(
        f"of the step: loader {line['loader_ms']:.3f} ms ({line['loader_share']:.2%}), augmentation, where it is on, "
        f"{line['augmentation_ms']:.3f} ms ({line['augmentation_share']:.2%})"
    )
    if arguments.out:
        with open(arguments.out, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(line))
            writer.writeheader()
            writer.writerow(line)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
