import pytest
import torch
from torch.utils.data import Dataset

from tl_research.data.batch import Samples
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.sampling.uniform import BatchPlan


def side(rows: int, offset: int = 0) -> Samples:
    index = torch.arange(rows)
    inputs = {"number": (index + offset)[:, None].float()}
    return Samples(inputs, index % 2, index, torch.zeros(rows, dtype=torch.long))


def loader(**kwargs) -> PairedLoader:
    sides = {"source": side(103), "target": side(31, 1000)}
    return PairedLoader(sides, {"source": 16, "target": 8}, seed=3, **kwargs)


def rows_of(batches, name: str) -> list[int]:
    return [i for batch in batches for i in getattr(batch, name).index.tolist()]


@pytest.mark.parametrize(("rows", "batch_size"), [(103, 16), (16, 16), (17, 16), (3, 16), (1, 4), (1000, 256)])
def test_one_pass_is_every_row_once_in_nearly_equal_batches(rows, batch_size):
    plan = BatchPlan(rows, batch_size, seed=0, side="source")
    batches = [plan.batch(step) for step in range(plan.batches)]
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_an_epoch_is_one_pass_over_the_larger_side_and_the_smaller_wraps_and_reshuffles():
    epoch = list(loader())
    assert len(epoch) == 7
    assert sorted(rows_of(epoch, "source")) == list(range(103))
    # 31 rows at 8 a batch are 4 batches: a whole pass, and most of another in another order.
    first, second = rows_of(epoch[:4], "target"), rows_of(epoch[4:], "target")
    assert sorted(first) == list(range(31))
    assert len(set(second)) == len(second)
    assert first[: len(second)] != second


def test_both_sides_reshuffle_every_epoch():
    pairs = loader()
    one, two = list(pairs), list(pairs)
    assert rows_of(one, "source") != rows_of(two, "source")
    assert sorted(rows_of(two, "source")) == list(range(103))


def test_sides_of_one_size_are_not_shuffled_alike():
    pairs = PairedLoader({"source": side(64), "target": side(64)}, {"source": 64, "target": 64}, seed=0)
    (batch,) = list(pairs)
    assert batch.source.index.tolist() != batch.target.index.tolist()


def test_order_is_a_function_of_the_seed():
    def order(seed):
        return rows_of(PairedLoader({"source": side(50)}, {"source": 8}, seed=seed), "source")

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("stop", [1, 3, 6, 7, 9, 14])
def test_resumes_mid_epoch_to_the_same_batches(stop):
    whole, broken = loader(), loader()
    expected = [batch for _ in range(3) for batch in whole]
    seen = []
    while len(seen) < stop:
        for batch in broken:
            seen.append(batch)
            if len(seen) == stop:
                state = broken.state_dict()  # taken while the iterator is unfinished, as Lightning does
                break
    resumed = loader()
    resumed.load_state_dict(state)
    while len(seen) < len(expected):
        seen += list(resumed)
    for name in ("source", "target"):
        assert rows_of(seen, name) == rows_of(expected, name)


def test_rows_stay_whole():
    for batch in loader():
        assert torch.equal(batch.source.inputs["number"][:, 0].long(), batch.source.index)
        assert torch.equal(batch.target.inputs["number"][:, 0].long(), batch.target.index + 1000)
        assert torch.equal(batch.source.label, batch.source.index % 2)


@pytest.mark.parametrize(("rows", "world"), [(103, 2), (100, 4), (3, 4), (8, 2)])
def test_ranks_share_every_pass_and_take_equally_many_steps(rows, world):
    parts = []
    for rank in range(world):
        plan = BatchPlan(rows, 16, seed=0, side="source", rank=rank, world_size=world)
        parts.append([plan.batch(step) for step in range(plan.batches)])
    assert len({len(part) for part in parts}) == 1
    drawn = torch.cat([torch.cat(part) for part in parts]).tolist()
    assert set(drawn) == set(range(rows))
    assert len(drawn) - rows < world  # only the fill-up repeats rows


def test_sides_that_are_not_read_still_count_for_the_length():
    pairs = PairedLoader(
        {"source": side(95), "target": side(20), "target_labeled": side(5)},
        {"source": 10, "target": 10, "target_labeled": 10},
        seed=0,
        reads={"target_labeled"},
    )
    epoch = list(pairs)
    assert len(epoch) == 10
    assert epoch[0].source is None
    assert epoch[0].target is None


def test_an_empty_side_is_refused():
    with pytest.raises(ValueError, match="source: there are no rows"):
        PairedLoader({"source": side(0)}, {"source": 4}, seed=0)


class Decoded(Dataset):
    """Rows that a worker decodes one by one, as images are."""

    def __len__(self):
        return 37

    def __getitem__(self, row):
        return Samples(torch.full((3, 2, 2), float(row)), row % 2, row, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_batches_of_the_plan_and_resume(workers):
    def make():
        sides = {"source": Decoded(), "target": side(20)}
        return PairedLoader(sides, {"source": 8, "target": 8}, seed=1, num_workers=workers)

    pairs = make()
    state_before = torch.get_rng_state()
    epoch = list(pairs)
    assert torch.equal(torch.get_rng_state(), state_before)  # workers must not draw from the global generator
    assert sorted(rows_of(epoch, "source")) == list(range(37))
    assert torch.equal(epoch[0].source.inputs[:, 0, 0, 0].long(), epoch[0].source.index)
    resumed = make()
    resumed.load_state_dict({"step": 2})
    assert rows_of(list(resumed), "source") == rows_of(epoch[2:], "source")
