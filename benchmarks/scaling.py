"""What more devices, less precision and compilation bring: rows/s, communication share and peak memory of a fit.

    python benchmarks/scaling.py [--steps 50] [--repeats 3] [--batch-size 256] [--model resnet50] [--size 224]
                                 [--vision-batch 64] [--vision-device cuda] [--fresh]
                                 [--out benchmarks/results/scaling.csv]

`scaling`: `dann` and `dan` on rows of 64 numbers with 1 and 2 processes on the CPU, one thread each, and with 1, 2, 4,
... GPUs where there are any. Weak: every process has the batch; strong: they share it. A row is one of the larger side.
The communication share is 1 - t' / t, t a step's time and t' that of the same processes on the same rows, at the same
time, when nothing is gathered or averaged.

`vision`: a step of `dann` and of `dan` on images with timm's network, 2 x `--vision-batch` rows, beside a plain PyTorch
loop of the same step. Both take their epochs in turn in one process and the best of each counts; the bar is 95 % of
the loop's samples/s. Where there is no GPU these rows say "not measured".

Lines in the CSV are not measured again, on a GPU those of the same card and versions; `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, pairwise, product
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import lightning as L
import torch
import torch.nn.functional as F
from card import identity, is_here
from cells import Table
from torch import nn

from tl_research.config import compose
from tl_research.data.batch import Samples
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.transforms.spec import InputSpec
from tl_research.evaluation.throughput import peak_memory_mb, reset_peak_memory
from tl_research.kernels import bandwidth_ladder, mean_squared_distance, mmd2
from tl_research.losses.adversarial import domain_bce, ganin_ramp, reverse_gradient
from tl_research.methods.build import build_method
from tl_research.outcomes import ClassOutcome
from tl_research.parallel import launch, ranks
from tl_research.parallel.strategies import FollowingDDP
from tl_research.training.callbacks import StepTimerCallback
from tl_research.training.random_state import RandomState
from tl_research.training.resume import ResumeCheckpoint
from tl_research.training.trainer import make_trainer, quiet_lightning

Measure = Callable[[], dict]
METHODS = ("dann", "dan")
BAR = 0.95
FEATURES, CLASSES = 64, 12
VARIANTS = {"fp32": ("32-true", False), "bf16": ("bf16-mixed", False), "bf16 compile": ("bf16-mixed", True)}
FIELDS = (
    "what", "method", "device", "processes", "mode", "batch_size", "variant", "rows_per_s", "step_ms",
    "communication_share", "peak_memory_mb", "loop_rows_per_s", "loop_peak_memory_mb", "ratio", "bar", "torch", "card",
    "triton",
)  # fmt: skip
KEY = ("what", "method", "device", "processes", "mode", "batch_size", "variant")


class Clock(L.Callback):
    """Seconds of each epoch's steps, the device's work included."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer, module):
        _wait(trainer.strategy.root_device)
        self._begun = perf_counter()

    def on_train_epoch_end(self, trainer, module):
        _wait(trainer.strategy.root_device)
        self.seconds.append(perf_counter() - self._begun)


def fit_seconds(config, spec: InputSpec, sides: dict[str, Samples], epochs_kept: int) -> tuple[float, float]:
    """Best seconds per epoch through the Trainer with all that a run has on, the first epoch left out, and peak MB."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        module = build_method(config, spec, ClassOutcome(map(str, range(CLASSES))))
        clock = Clock()
        resume = ResumeCheckpoint(Path(folder), every_n_steps=None, every_seconds=60.0)
        callbacks = [clock, RandomState(), StepTimerCallback(config.data.batch_size), resume]
        trainer = make_trainer(config, callbacks, None, Path(folder))
        device = trainer.strategy.root_device
        if config.trainer.compile:
            module.encoder.compile()
            module.head.compile()
        loader = PairedLoader(
            {side: samples.map(lambda tensor: tensor.to(device)) for side, samples in sides.items()},
            dict.fromkeys(sides, config.data.batch_size),
            seed=0,
            rank=launch.process_rank(),
            world_size=launch.processes(config),
        )
        reset_peak_memory(device)
        trainer.fit(module, loader)
        return min(clock.seconds[-epochs_kept:]), peak_memory_mb(device)


# Rows of numbers, 1 .. k processes


def tabular(rows: int) -> dict[str, Samples]:
    generator = torch.Generator().manual_seed(0)

    def side(domain: int) -> Samples:
        inputs = torch.randn(rows, FEATURES, generator=generator) + 0.3 * domain
        label = torch.randint(0, CLASSES, (rows,), generator=generator)
        return Samples(inputs, label if domain == 0 else torch.full_like(label, -1), torch.arange(rows),
                       torch.full((rows,), domain))  # fmt: skip

    return {"source": side(0), "target": side(1)}


def scaled(method: str, accelerator: str, processes: int, batch: int, steps: int, repeats: int) -> dict[str, float]:
    """In each process: rows/s of all and the share of a step that is communication; None for one process."""
    quiet_lightning()
    if accelerator == "cpu":
        torch.set_num_threads(1)
    overrides = {
        "data": {"name": "simulated_market", "batch_size": batch},
        "encoder": {"name": "mlp"},
        "method": {"name": method},
        "trainer": {"max_epochs": 1 + repeats, "accelerator": accelerator, "devices": processes},
    }
    config = compose(None, overrides)
    sides = tabular(steps * batch * processes)
    spec = InputSpec(numeric=FEATURES)
    seconds, _ = fit_seconds(config, spec, sides, repeats)
    share = None
    if processes > 1:
        share = 1 - _without_communication(lambda: fit_seconds(config, spec, sides, repeats)[0]) / seconds
    return {"rows_per_s": steps * batch * processes / seconds, "step_ms": 1e3 * seconds / steps, "share": share}


def _without_communication(work):
    kept = ranks.dist, FollowingDDP.configure_ddp

    def unwrapped(self):
        self.model, self._trained = self.lightning_module, []

    ranks.dist = SimpleNamespace(is_available=lambda: False)
    FollowingDDP.configure_ddp = unwrapped
    follow, FollowingDDP.follow = FollowingDDP.follow, lambda self: None
    try:
        return work()
    finally:
        (ranks.dist, FollowingDDP.configure_ddp), FollowingDDP.follow = kept, follow


def scaling_rows(arguments) -> Iterator[tuple[dict, Measure | None]]:
    """Lines to be, and how each is measured; None where there is no such device."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {
        "cpu": arguments.processes,
        "gpu": [2**power for power in range(int(math.log2(gpus)) + 1)] if gpus else [1, 2],
    }
    for method, device in product(arguments.methods, arguments.devices):
        for number in counts[device]:
            for mode in ("weak", "strong") if number > 1 else ("weak",):
                batch = arguments.batch_size // (number if mode == "strong" else 1)
                line = {"what": "scaling", "method": method, "device": device, "processes": number, "mode": mode,
                        "batch_size": batch}  # fmt: skip
                words = (method, device, number, batch, arguments.steps, arguments.repeats)
                yield line, None if device == "gpu" and not gpus else partial(measured_scaling, words)


def measured_scaling(words: tuple) -> dict:
    # In new processes throughout, so that one and several are started alike.
    found = launch.on_every_device(scaled, words, devices=words[2])
    share = "" if found["share"] is None else found["share"]
    return {"rows_per_s": found["rows_per_s"], "step_ms": found["step_ms"], "communication_share": share}


# Images, beside a plain loop


def images(rows: int, size: int) -> dict[str, Samples]:
    generator = torch.Generator().manual_seed(0)

    def side(domain: int) -> Samples:
        pixels = torch.randint(0, 256, (rows, size, size, 3), dtype=torch.uint8, generator=generator)
        label = torch.randint(0, CLASSES, (rows,), generator=generator) if domain == 0 else torch.full((rows,), -1)
        return Samples(pixels, label, torch.arange(rows), torch.full((rows,), domain))

    return {"source": side(0), "target": side(1)}


def vision_config(method: str, arguments, precision: str, compile: bool, epochs: int):
    accelerator = "cpu" if arguments.vision_device == "cpu" else "gpu"
    return compose(
        None,
        {
            "data": {
                "name": "fashion_products",
                "sources": ["men"],
                "target": "women",
                "batch_size": arguments.vision_batch,
            },
            "encoder": {"name": "vision", "model": arguments.model},
            "method": {"name": method},
            "trainer": {"max_epochs": epochs, "accelerator": accelerator, "precision": precision, "compile": compile},
        },
    )


def loop_seconds(config, sides: dict[str, Samples], device: str, epochs_kept: int) -> tuple[float, float]:
    """Best seconds per epoch of the same step written out, and peak MB."""
    import timm

    torch.manual_seed(0)
    method, batch, steps = config.method, config.data.batch_size, sides["source"].size // config.data.batch_size
    body = timm.create_model(config.encoder.model, num_classes=0).to(device)
    head = nn.Linear(body.num_features, CLASSES).to(device)
    parts = [body, head]
    if method.name == "dann":
        widths = [body.num_features, *method.hidden]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        discriminator = nn.Sequential(*layers, nn.Linear(widths[-1], 1)).to(device)
        parts.append(discriminator)
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], lr=config.optimizer.lr)
    if config.trainer.compile:
        body.compile()
        head.compile()
    mean, std = (255 * torch.tensor(body.pretrained_cfg[key], device=device)[:, None, None] for key in ("mean", "std"))
    data = {side: samples.map(lambda tensor: tensor.to(device)) for side, samples in sides.items()}
    mixed = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed")
    reset_peak_memory(device)
    seconds, total = [], steps * (1 + epochs_kept)
    for epoch in range(1 + epochs_kept):
        _wait(device)
        begun = perf_counter()
        orders = [torch.randperm(samples.size).to(device).split(batch) for samples in data.values()]
        for step, (index, other) in enumerate(zip(*orders)):
            with mixed:
                rows = (data["source"].inputs[index], data["target"].inputs[other])
                f_s, f_t = (body((x.permute(0, 3, 1, 2).float() - mean) / std) for x in rows)
                logits = head(f_s)
            f_s, f_t = f_s.float(), f_t.float()
            loss = F.cross_entropy(logits.float(), data["source"].label[index])
            if method.name == "dann":
                scale = ganin_ramp((epoch * steps + step) / total)
                d_s, d_t = (discriminator(reverse_gradient(f, scale))[:, 0] for f in (f_s, f_t))
                loss = loss + domain_bce(d_s, d_t)
            else:
                mean_squared = mean_squared_distance(torch.cat([f_s, f_t]).detach())
                bandwidths = bandwidth_ladder(f_s, f_t, count=method.bandwidths, mean_squared=mean_squared)
                loss = loss + method.weight * mmd2(f_s, f_t, bandwidths=bandwidths) / method.bandwidths
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _wait(device)
        seconds.append(perf_counter() - begun)
    return min(seconds[1:]), peak_memory_mb(device)


def vision_rows(arguments) -> Iterator[tuple[dict, Measure | None]]:
    """As `scaling_rows`."""
    here = is_here(arguments.vision_device)
    sides = images(arguments.vision_steps * arguments.vision_batch, arguments.size) if here else {}
    for variant, method in product(arguments.variants, arguments.methods):
        line = {"what": f"vision {arguments.model} {arguments.size} px", "method": method, "processes": 1,
                "device": arguments.vision_device, "batch_size": arguments.vision_batch, "variant": variant,
                "bar": BAR}  # fmt: skip
        yield line, partial(measured_vision, arguments, method, variant, sides) if here else None


def measured_vision(arguments, method: str, variant: str, sides: dict[str, Samples]) -> dict:
    precision, compile = VARIANTS[variant]
    config = vision_config(method, arguments, precision, compile, 1 + arguments.repeats)
    spec = InputSpec(numeric=0, image=(arguments.size, arguments.size, 3))
    ours, theirs = [], []
    for _ in range(arguments.turns):
        ours.append(fit_seconds(config, spec, sides, arguments.repeats))
        theirs.append(loop_seconds(config, sides, arguments.vision_device, arguments.repeats))
    steps = arguments.vision_steps
    rows = 2 * steps * arguments.vision_batch
    (fit, memory), (loop, loop_memory) = min(ours), min(theirs)
    return {
        "rows_per_s": rows / fit, "step_ms": 1e3 * fit / steps, "peak_memory_mb": memory,
        "loop_rows_per_s": rows / loop, "loop_peak_memory_mb": loop_memory, "ratio": loop / fit,
    }  # fmt: skip


def completed(line: dict, measure: Measure | None, table: Table | None) -> dict:
    """A line with its figures: from the CSV where they are, else measured, and written down at once."""
    key = {name: line.get(name, "") for name in KEY}
    device = "cpu" if line["device"] == "cpu" else "cuda"
    # a GPU's figures are of its own versions; those of a CPU are of one machine, which the page names
    own = identity(device) if measure and device == "cuda" else {}
    known = table.find(**key, **own) if table else None
    if known and known["rows_per_s"][:1].isdigit():
        return {name: value for name, value in known.items() if value}
    line |= {"torch": torch.__version__} | (identity(device) if measure else {})
    line |= figures_of(measure)
    if table:
        if known:
            table.lines.remove(known)
        table.remove(**key, rows_per_s="not measured")
        table.add(line)
    return line


def figures_of(measure: Measure | None) -> dict:
    if measure is None:
        return {"rows_per_s": "not measured"}
    try:
        return measure()
    except Exception as error:  # the lines after it are wanted all the same
        traceback.print_exc()
        return {"rows_per_s": f"failed: {type(error).__name__}"}


def _wait(device) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=("scaling", "vision"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS], default=[*VARIANTS], metavar="NAME")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="on the CPU")
    parser.add_argument("--devices", nargs="+", choices=("cpu", "gpu"), default=["cpu", "gpu"], help="of `scaling`")
    parser.add_argument("--steps", type=int, default=50, help="of an epoch")
    parser.add_argument("--repeats", type=int, default=3, help="epochs, of which the best counts")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--vision-batch", type=int, default=64, help="rows per side")
    parser.add_argument("--vision-steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--vision-device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try it out")
    parser.add_argument("--turns", type=int, default=2, help="of fit and loop, on images")
    parser.add_argument("--fresh", action="store_true", help="do not continue the CSV")
    parser.add_argument("--out", type=Path, help="CSV file; lines in it are not measured again")
    arguments = parser.parse_args(words)
    quiet_lightning()
    table = Table(arguments.out, list(FIELDS), list(KEY), arguments.fresh) if arguments.out else None
    jobs = [] if arguments.only == "vision" else [scaling_rows(arguments)]
    jobs += [] if arguments.only == "scaling" else [vision_rows(arguments)]
    lines = []
    for line, measure in chain.from_iterable(jobs):
        line = completed(line, measure, table)
        print("  ".join(f"{key} {_short(line[key])}" for key in FIELDS if line.get(key, "") != ""), flush=True)
        lines.append(line)
    if any(str(line["rows_per_s"]).startswith("failed") for line in lines):
        return 2
    return 0 if all(float(line["ratio"]) >= BAR for line in lines if line.get("ratio")) else 1


def _short(value) -> str:
    """Four digits of a figure, also of one from the CSV."""
    if isinstance(value, str) and value.replace(".", "", 1).isdigit() and "." in value:
        value = float(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
