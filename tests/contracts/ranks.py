"""The gradient of the adaptation terms on one process, and on two that share its batch unevenly."""

from __future__ import annotations

import torch
import torch.distributed as dist

from tests.contracts.problem import made_sure, module_and_batch
from tests.two_ranks import run_two_ranks
from tl_research.data.batch import PairedBatch, Samples
from tl_research.methods.base import AdaptationModule
from tl_research.methods.objectives import training_only
from tl_research.methods.step import Step
from tl_research.registry import METHODS

#: Rows of rank 0; rank 1 has the rest.
FIRST = 23


def _adaptation_gradients(made, part: slice) -> dict[str, torch.Tensor]:
    module, batch = made
    AdaptationModule.progress = 0.5
    if METHODS.get(module.config.name).no_null:
        made_sure(module)
    batch = PairedBatch(*(rows and _of_rank(rows, part) for rows in batch))
    phase, found = module.phase(module.epochs - 1), {}
    module._enter(phase)
    for objective in module.objectives():
        trained = objective.parameters(module) if module.is_game else list(module.parameters())
        module.zero_grad()
        with training_only(module, trained):
            terms = objective.terms(Step(module, batch, phase, objective=objective.name))
            # Means over a rank's own rows weigh by rank, not by row.
            own = [term for name, term in terms.items() if not name.endswith("_task")]
            if own:
                sum(own).backward()
        found |= {
            f"{objective.name} {name}".strip(): torch.zeros_like(parameter)
            if parameter.grad is None
            else parameter.grad
            for name, parameter in module.named_parameters()
        }
    return found


def _of_rank(rows: Samples, part: slice) -> Samples:
    # Of a side of few rows, a third is rank 0's.
    first = min(FIRST, -(-rows.size // 3))
    part = slice(part.start and first, part.stop and first)
    return rows.map(lambda tensor: tensor[part])


def gradients_on_one(method: str) -> dict[str, torch.Tensor]:
    """Gradients of one process that holds the whole batch."""
    kept = AdaptationModule.progress
    try:
        return _adaptation_gradients(module_and_batch(method), slice(None))
    finally:
        AdaptationModule.progress = kept


def gradients_on_ranks(methods: list[str], folder) -> dict[str, dict[str, torch.Tensor]]:
    """Gradients of two gloo processes, averaged over ranks as DDP averages them."""
    run_two_ranks(_rank, methods, str(folder))
    return torch.load(folder / "gradients.pt", weights_only=True)


def _rank(rank: int, methods: list[str], folder: str) -> None:
    torch.set_num_threads(1)
    # Before there are ranks, so that every process holds the whole batch.
    made = {method: module_and_batch(method) for method in methods}
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    part = slice(0, FIRST) if rank == 0 else slice(FIRST, None)
    averaged = {}
    for method in methods:
        gradients = _adaptation_gradients(made[method], part)
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= 2
        averaged[method] = gradients
    if rank == 0:
        torch.save(averaged, f"{folder}/gradients.pt")
    dist.barrier()
    dist.destroy_process_group()
