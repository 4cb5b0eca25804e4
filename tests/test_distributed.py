"""Row gathering, by two real gloo processes compared with one process."""

import gc

import pytest
import torch
import torch.distributed as dist

from tests.two_ranks import run_two_ranks
from tl_research.kernels import mmd2
from tl_research.losses.coral import coral
from tl_research.parallel.ranks import gather_rows, is_distributed, rank, world_size

COUNTS = {"source": (3, 6), "target": (5, 2)}


def encoder():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()


def global_batch():
    generator = torch.Generator().manual_seed(1)
    sides = (torch.randn(sum(COUNTS[side]), 4, generator=generator, dtype=torch.float64) for side in COUNTS)
    source, target = sides
    return source, target + 1


def loss_of(source, target):
    return mmd2(source, target, bandwidths=(0.5, 1.0, 2.0)) + 10 * coral(source, target)


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def local_rows(rows, side):
    first = sum(COUNTS[side][: rank()])
    return rows[first : first + COUNTS[side][rank()]]


def work(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2)
    found = {"identity": (world_size(), rank(), is_distributed())}
    source, target = global_batch()
    source, target = local_rows(source, "source"), local_rows(target, "target")
    for name, gather in (("gathered", gather_rows), ("detached", gather_but_keep_local_gradient)):
        found[name] = loss_and_gradient(source, target, gather)

    for dtype in (torch.int64, torch.bool, torch.uint8, torch.bfloat16, torch.float32):
        whole = (torch.arange(18).reshape(9, 2) % 5).to(dtype)
        found[dtype] = torch.equal(gather_rows(local_rows(whole, "source")), whole)
    found["one dimension"] = gather_rows(torch.full((2 + process,), process))
    found["no rows here"] = gather_rows(torch.full((3 * process, 2), 7.0))
    found["no rows anywhere"] = gather_rows(torch.zeros(0, 2)).shape

    # ranks that make different losses: a row gets the sum of what each sends back
    x = torch.full((1 + process, 2), float(process), requires_grad=True)
    (gather_rows(x).sum() * (10 if process else 1)).backward()
    found["sum over ranks"] = x.grad

    empty = torch.zeros(2 * process, 2, requires_grad=True)
    gather_rows(empty).square().sum().backward()
    found["gradient of no rows"] = empty.grad.shape
    torch.save(found, f"{folder}/{process}.pt")
    # Neither leaves while the other still needs it, nor ends with a model that holds the group: either may abort.
    dist.barrier()
    gc.collect()
    dist.destroy_process_group()


def loss_and_gradient(source, target, gather):
    model = torch.nn.parallel.DistributedDataParallel(encoder())
    loss = loss_of(gather(model(source)), gather(model.module(target)))
    loss.backward()
    return {"loss": loss.detach(), "gradient": gradient(model.module)}


def gather_but_keep_local_gradient(tensor):
    """The usual mistake: rows of other ranks are constants here, and nobody adds what this rank owes them."""
    counts = next(counts for counts in COUNTS.values() if counts[rank()] == tensor.shape[0])
    parts = list(gather_rows(tensor.detach()).split(counts))
    parts[rank()] = tensor
    return torch.cat(parts)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks(work, str(folder))
    return [torch.load(folder / f"{process}.pt", weights_only=True) for process in range(2)]


@pytest.fixture(scope="module")
def one_process():
    model = encoder()
    source, target = global_batch()
    loss = loss_of(model(source), model(target))
    loss.backward()
    return {"loss": loss.detach(), "gradient": gradient(model)}


def test_identity(two_processes):
    assert [found["identity"] for found in two_processes] == [(2, 0, True), (2, 1, True)]


def test_value_and_gradient_are_those_of_one_process(two_processes, one_process):
    for found in two_processes:
        torch.testing.assert_close(found["gathered"]["loss"], one_process["loss"], rtol=1e-9, atol=0)
        torch.testing.assert_close(found["gathered"]["gradient"], one_process["gradient"], rtol=1e-6, atol=1e-9)


def test_a_detached_gather_would_give_half(two_processes, one_process):
    for found in two_processes:
        torch.testing.assert_close(found["detached"]["loss"], one_process["loss"], rtol=1e-9, atol=0)
        expected = one_process["gradient"] / 2
        torch.testing.assert_close(found["detached"]["gradient"], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.bfloat16, torch.float32])
def test_rows_of_any_dtype_come_in_order_of_rank(two_processes, dtype):
    assert all(found[dtype] for found in two_processes)


def test_uneven_and_empty_parts(two_processes):
    for found in two_processes:
        assert found["one dimension"].tolist() == [0, 0, 1, 1, 1]
        assert torch.equal(found["no rows here"], torch.full((3, 2), 7.0))
        assert found["no rows anywhere"] == (0, 2)
    assert [found["gradient of no rows"] for found in two_processes] == [(0, 2), (2, 2)]


def test_gradient_is_the_sum_over_ranks(two_processes):
    for process, found in enumerate(two_processes):
        assert torch.equal(found["sum over ranks"], torch.full((1 + process, 2), 11.0))


def test_one_process_gets_its_own_tensor_back():
    tensor = torch.ones(3, 2)
    assert gather_rows(tensor) is tensor
    assert (world_size(), rank(), is_distributed()) == (1, 0, False)
    with pytest.raises(ValueError, match="scalar"):
        gather_rows(torch.tensor(1.0))
