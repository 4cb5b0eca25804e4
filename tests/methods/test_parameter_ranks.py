"""Terms of the target stage that couple rows: two gloo processes have the gradient of one with the whole batch."""

import pytest
import torch
import torch.distributed as dist

from tests.contracts.problem import module_and_batch
from tests.two_ranks import run_two_ranks
from tl_research.methods.step import Step

METHODS = ("bss", "relational_distillation", "bi_tuning")
#: Rows of rank 0; rank 1 has the rest.
FIRST = 7


def begun(method: str):
    module, batch = module_and_batch(method)
    module.begin_stage(1, batch.target_labeled)
    module._enter(module.phase(module.epochs - 1))
    with torch.no_grad():  # away from the source, where distillation has no gradient
        for parameter in module.encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return module, batch


def gradients(module, batch, part: slice) -> dict[str, torch.Tensor]:
    batch = batch._replace(target_labeled=batch.target_labeled.map(lambda tensor: tensor[part]))
    for _ in range(2):  # the second step has a queue
        module.zero_grad()
        terms = module.loss_terms(step := Step(module, batch, module.phase(module.epochs - 1)))
        sum(term for name, term in terms.items() if name != "target_task").backward()
        with torch.no_grad():
            module.after_step(step)
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in module.named_parameters()
    }


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    made = {method: begun(method) for method in METHODS}  # before there are ranks: the whole batch
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {}
    for method in METHODS:
        found[method] = gradients(*made[method], slice(0, FIRST) if rank == 0 else slice(FIRST, None))
        for gradient in found[method].values():
            dist.all_reduce(gradient)
            gradient /= 2
        found[method] |= {f"state {name}": value for name, value in made[method][0].named_buffers()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one_and_keep_one_state(tmp_path):
    run_two_ranks(_rank, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for method in METHODS:
        module, batch = begun(method)
        expected = gradients(module, batch, slice(None))
        assert max(gradient.abs().max() for gradient in expected.values()) > 1e-6
        for name, gradient in expected.items():
            torch.testing.assert_close(ranks[0][method][name], gradient, rtol=1e-3, atol=1e-6, msg=f"{method} {name}")
        for name, value in module.named_buffers():
            torch.testing.assert_close(ranks[0][method][f"state {name}"], value, rtol=1e-4, atol=1e-6, msg=name)
            assert torch.equal(ranks[0][method][f"state {name}"], ranks[1][method][f"state {name}"]), name
