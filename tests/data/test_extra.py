"""Columns beside inputs and label: from a domain through every loader, hidden or not, into what a loss reads."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tl_research.data.batch import Samples
from tl_research.data.domain import Domain
from tl_research.data.paired import PairedDataModule
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.errors import DataError
from tl_research.methods.base import Encoded
from tl_research.registry import DATASETS


def side(rows: int) -> Samples:
    index = torch.arange(rows)
    extra = {"user": index * 2, "view": torch.stack([index, index + 1], dim=1).float()}
    return Samples(index[:, None].float(), index % 2, index, torch.zeros_like(index), extra)


def assert_fits(rows: Samples) -> None:
    assert torch.equal(rows.extra["user"], rows.index * 2)
    assert torch.equal(rows.extra["view"][:, 1], rows.index + 1.0)


def test_rows_and_map_carry_it():
    rows = side(9).rows(torch.tensor([4, 1, 7]))
    assert_fits(rows)
    assert rows.map(lambda tensor: tensor[:1]).extra["view"].shape == (1, 2)
    encoded = Encoded(torch.zeros(3, 2), torch.zeros(3, 2), *rows[1:])
    assert torch.equal(encoded.map(lambda tensor: tensor[:2]).extra["user"], rows.extra["user"][:2])


def test_it_is_empty_by_default():
    index = torch.arange(3)
    assert Samples(index, index, index, index).rows(index[:2]).extra == {}


class Decoded(Dataset):
    def __len__(self):
        return 21

    def __getitem__(self, row):
        extra = {"user": row * 2, "view": torch.tensor([row, row + 1.0])}
        return Samples(torch.full((3,), float(row)), row % 2, row, 0, extra)


@pytest.mark.parametrize("rows", [side(21), Decoded()])
def test_every_loader_gives_it(rows):
    for batch in PairedLoader({"source": rows}, {"source": 4}, seed=0):
        assert_fits(batch.source)


def domain(name: str, **extra: np.ndarray) -> Domain:
    rows = np.arange(40)
    return Domain(name, rows[:, None].astype(np.float32), rows % 2, ("no", "yes"), extra=extra)


def data_module(monkeypatch, *domains: Domain) -> PairedDataModule:
    entry = DATASETS.get("simulated_market")
    made = dataclasses.replace(entry, target=lambda *_: {d.name: d for d in domains})
    monkeypatch.setattr(DATASETS, "get", lambda name: made)
    config = entry.config(sources=[d.name for d in domains[:-1]], target=domains[-1].name, scale="none", batch_size=8)
    return PairedDataModule(config, seed=0)


def test_a_domain_hands_its_columns_to_the_batch(monkeypatch):
    user = np.arange(40) + 100
    data = data_module(monkeypatch, *(domain(name, user=user) for name in "abc"))
    data.setup()
    for batch in data.train_dataloader():
        for rows in batch[:2]:
            assert torch.equal(rows.extra["user"], rows.inputs[:, 0].long() + 100)


@pytest.mark.parametrize("other", [{}, {"item": np.arange(40)}])
def test_domains_of_other_columns_are_refused(monkeypatch, other):
    data = data_module(monkeypatch, domain("a", user=np.arange(40)), domain("b", **other))
    with pytest.raises(DataError, match="a: has the extra columns"):
        data.setup()


@pytest.mark.parametrize(
    ("column", "message"), [(np.arange(39), "39 values of 'user'"), (np.array(["x"] * 40), "wants numbers")]
)
def test_a_column_that_does_not_fit_is_refused(column, message):
    with pytest.raises(DataError, match=message):
        domain("a", user=column)
