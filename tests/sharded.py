"""What the tests of FSDP do in one pair of gloo processes, which goes through many runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from tests.encoders import test_encoders, test_modal_encoders
from tests.pair import config_of, every_method, resumed, tiny, trained, whole
from tl_research.data.batch import row_count
from tl_research.data.transforms.spec import InputSpec, TextSpec
from tl_research.encoders.base import Encoder
from tl_research.errors import ConfigError
from tl_research.methods.adversarial.dann import DANN
from tl_research.parallel import ranks
from tl_research.parallel.sharding import shard
from tl_research.runs import experiment
from tl_research.training.engines import Engine

FSDP = "trainer.strategy=fsdp"
TWO_BLOCKS = ("encoder.hidden=[32,16]", "optimizer.name=adam")
#: Runs of dann that are repeated by one process; the rate is high, for clipped steps are small.
SETTINGS = {
    "clipped": ("trainer.gradient_clip_val=0.05", "optimizer.lr=1"),
    "accumulated": ("trainer.accumulate_grad_batches=2", "method.name=source_only"),
    "bf16": ("trainer.precision=bf16-mixed",),
}


def everything(output: str, methods: list[str]) -> dict:
    """All that the pair does for the tests: one start pays for it."""
    folder = Path(output)
    of_methods = every_method(output, methods, FSDP)
    start = f"method.start={folder / of_methods['source_only'][2].run_id}"
    return {
        "methods": of_methods,
        "start": (start, trained(config_of("fine_tune", folder, FSDP, start))),
        "settings": {name: trained(config_of("dann", folder, FSDP, *words)) for name, words in SETTINGS.items()},
        "with batch norm": {strategy: batch_norm(folder, strategy) for strategy in ("fsdp", "ddp")},
        "parts": parts(folder),
        "tiny": tiny("dann", folder, FSDP),
        "resumed": {
            "dann": resumed("dann", folder, FSDP, "encoder.batch_norm=true", *TWO_BLOCKS[:1]),
            "fine_tune": resumed("fine_tune", folder, FSDP, "method.new_head=true"),
        },
        "encoders": {name: encoder_gradients(*case) for name, case in encoders(folder).items()},
        "loose": loose(),
    }


def batch_norm(folder: Path, strategy: str):
    """A run, and for every step of it whether it began with the same running statistics on both ranks."""
    words = (f"trainer.strategy={strategy}", "encoder.batch_norm=true", "selection.rule=last", *TWO_BLOCKS)
    same, training_step = [], DANN.training_step

    def look(self, batch, batch_idx):
        means = [value for name, value in self.named_buffers() if name.endswith("running_mean")]
        same.append(all(torch.equal(*ranks.gather_rows(mean[None])) for mean in means))
        return training_step(self, batch, batch_idx)

    DANN.training_step = look
    try:
        return *trained(config_of("dann", folder, *words)), same
    finally:
        del DANN.training_step


def parts(folder: Path) -> dict[str, dict]:
    """Share of this rank, in elements: of weights within and between steps, of gradients and of moments."""
    found: dict[str, dict] = {}
    terms, carry_out = DANN.terms, Engine.run

    def look_within(self, step):
        found["within a step"] = _shares(self.named_parameters())
        return terms(self, step)

    def look_at_gradients(self, optimizer):
        found["gradients"] = _shares((name, p.grad) for name, p in self.named_parameters())

    def run_and_look(engine, module):
        carry_out(engine, module)
        found["after the run"] = _shares(module.named_parameters())
        (optimizer,) = engine.trainer.optimizers
        for moment in ("exp_avg", "exp_avg_sq"):
            found[moment] = _shares((name, optimizer.state[p][moment]) for name, p in module.named_parameters())

    DANN.terms, Engine.run = look_within, run_and_look
    DANN.on_before_optimizer_step = look_at_gradients
    try:
        experiment.run(config_of("dann", folder / "parts", FSDP, *TWO_BLOCKS))
    finally:
        DANN.terms, Engine.run = terms, carry_out
        del DANN.on_before_optimizer_step
    return found


def _shares(tensors) -> dict[str, tuple[int, int]]:
    return {name: (t.to_local().numel() if isinstance(t, DTensor) else t.numel(), t.numel()) for name, t in tensors}


def encoders(folder: Path) -> dict[str, tuple[Encoder, object]]:
    """Name -> every kind of encoder that has parameters, and rows for it."""
    cases = {}
    for name, kind in test_encoders.CASES:
        encoder = test_encoders.make(name, test_encoders.SPECS[kind])
        if any(True for _ in encoder.parameters()):
            cases[name] = encoder, test_encoders.rows_of(kind, 12)
    for case in test_modal_encoders.CASES:
        encoder, rows = test_modal_encoders.make_case(case)
        cases[case] = encoder, rows()
    with contextlib.suppress(ImportError):
        cases["text_hf"] = tiny_bert(folder / f"bert{ranks.rank()}"), test_modal_encoders.words()
    return dict(sorted(cases.items()))


def tiny_bert(folder: Path) -> Encoder:
    from transformers import BertConfig

    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 12}
    BertConfig(**sizes, num_hidden_layers=2, num_attention_heads=2).save_pretrained(folder)
    spec = InputSpec(0, text=TextSpec("pretrained", size=50, width=9), modalities=("text",))
    return test_encoders.make("text_hf", spec, path=str(folder), random_weights=True)


def encoder_gradients(encoder: Encoder, rows) -> dict:
    """Gradient of a loss of all rows and features, by one process alone and sharded over the ranks' halves.

    In evaluation mode, where there is neither dropout nor a statistic of a rank's own rows.
    """
    encoder.eval()
    towards = torch.randn(encoder.out_features, generator=torch.Generator().manual_seed(5))
    count = row_count(rows)

    def loss(of) -> torch.Tensor:
        return (encoder(of) * towards).square().sum() / count

    loss(rows).backward()
    alone = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    features = encoder(rows).detach()
    encoder.zero_grad()
    shard(nn.ModuleDict({"encoder": encoder}), init_device_mesh("cpu", (2,)))
    first = ranks.rank() * count // 2
    quarters = [_rows(rows, first + start, first + start + count // 4) for start in (0, count // 4)]
    # Two calls before one backward, as with a source and a target.
    (2 * (loss(quarters[0]) + loss(quarters[1]))).backward()
    with torch.no_grad():
        measured = encoder(rows)
    together = {name: whole(p.grad) for name, p in encoder.named_parameters() if p.grad is not None}
    groups = sum(isinstance(part, FSDPModule) for part in encoder.modules())
    return {"alone": (features, alone), "together": (measured, together), "groups": groups}


def _rows(rows, first: int, last: int):
    if isinstance(rows, dict):
        return {name: tensor[first:last] for name, tensor in rows.items()}
    return rows[first:last]


def loose() -> str:
    """What is said of a parameter that no part's forward would gather."""
    module = nn.Sequential(nn.Linear(2, 2))
    module.scale = nn.Parameter(torch.ones(()))
    try:
        shard(module, init_device_mesh("cpu", (2,)))
    except ConfigError as error:
        return str(error)
    return ""
