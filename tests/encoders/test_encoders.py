from dataclasses import dataclass

import pytest
import torch

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec, TextSpec
from tl_research.encoders.base import Encoder
from tl_research.errors import ConfigError
from tl_research.registry import ENCODERS, register_encoder

MATRIX = InputSpec(numeric=7)
TABLE = InputSpec(numeric=3, cardinalities=(4, 6), is_table=True, columns=("a", "b", "c", "d", "e"))


SPECS = {"matrix": MATRIX, "columns": TABLE}
#: Every encoder with each kind of numbers that it takes; images and texts are tested beside this file.
CASES = [(e.name, kind) for e in ENCODERS.entries() for kind in e.target.takes if kind in SPECS and e.target.least == 1]


def make(name: str, spec: InputSpec, **settings):
    entry = ENCODERS.get(name)
    torch.manual_seed(0)
    return entry.target(entry.config(**settings), spec)


def table(rows: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.stack([torch.randint(0, n, (rows,), generator=generator) for n in TABLE.cardinalities], dim=1)
    return {"numeric": torch.randn(rows, 3, generator=generator), "categorical": codes}


def rows_of(kind: str, rows: int) -> Inputs:
    return table(rows) if kind == "columns" else torch.randn(rows, 7, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_encoder_says_its_width_and_its_gradient_reaches_every_parameter(name, kind):
    encoder = make(name, SPECS[kind])
    features = encoder(rows_of(kind, 64))
    assert features.shape == (64, encoder.out_features)
    if features.requires_grad:
        features.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_identity_is_the_matrix_and_a_table_one_hot_with_nothing_for_unseen_codes():
    rows = torch.randn(4, 7)
    assert torch.equal(make("identity", MATRIX)(rows), rows)
    encoder, inputs = make("identity", TABLE), table()
    features = encoder(inputs)
    assert features.shape == (5, encoder.out_features)
    assert torch.equal(features[:, :3], inputs["numeric"])
    first = TABLE.cardinalities[0]
    expected = torch.nn.functional.one_hot(inputs["categorical"][:, 0].long(), first)[:, 1:].float()
    assert torch.equal(features[:, 3 : 2 + first], expected)
    assert not list(encoder.parameters())


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_an_encoder_of_matrices_refuses_a_table_by_name(name):
    with pytest.raises(ConfigError, match=r"encoder\.name.*'tabular'"):
        make(name, TABLE)


def test_linear_is_linear():
    encoder = make("linear", MATRIX, dim=3)
    x, y, zero = torch.randn(4, 7), torch.randn(4, 7), torch.zeros(1, 7)
    torch.testing.assert_close(encoder(x + y), encoder(x) + encoder(y) - encoder(zero))


def test_tabular_is_the_mlp_of_numbers_and_looked_up_embeddings():
    encoder, inputs = make("tabular", TABLE, hidden=[8]), table()
    rows = []
    for number, codes in zip(inputs["numeric"], inputs["categorical"], strict=True):
        parts = [number] + [e.weight[code] for e, code in zip(encoder.embeddings, codes, strict=True)]
        rows.append(encoder.layers(torch.cat(parts)))
    torch.testing.assert_close(encoder(inputs), torch.stack(rows))


def test_an_unseen_category_adds_nothing_and_learns_nothing():
    encoder, inputs = make("tabular", TABLE), table()
    inputs["categorical"] = torch.zeros_like(inputs["categorical"])
    encoder(inputs).square().sum().backward()
    for embedding in encoder.embeddings:
        assert embedding.weight[0].abs().sum() == 0
        assert embedding.weight.grad[0].abs().sum() == 0


def test_tabular_takes_a_plain_matrix():
    assert make("tabular", MATRIX, hidden=[5])(torch.randn(2, 7)).shape == (2, 5)


def test_dropout_and_batch_norm_act_in_training_only():
    encoder, x = make("mlp", MATRIX, dropout=0.5, batch_norm=True), torch.randn(32, 7)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_parameter_belongs_to_exactly_one_block(name, kind):
    settings = {"hidden": [8, 6, 4], "batch_norm": True} if name in ("mlp", "tabular") else {}
    encoder = make(name, SPECS[kind], **settings)
    blocks, block_of = encoder.blocks(), encoder.block_of()
    assert len(set(blocks)) == len(blocks)
    assert list(block_of) == [parameter for parameter, _ in encoder.named_parameters()]
    # each block has parameters, and they lie together, from input to output
    assert list(dict.fromkeys(block_of.values())) == blocks


def test_blocks_of_an_mlp_are_its_linear_layers_with_their_norms():
    encoder = make("tabular", TABLE, hidden=[8, 6], batch_norm=True, dropout=0.1)
    assert encoder.blocks() == ["embeddings", "layers.0", "layers.4"]
    block_of = encoder.block_of()
    assert block_of["layers.1.bias"] == "layers.0"
    assert block_of["layers.5.weight"] == "layers.4"
    assert make("linear", MATRIX).blocks() == ["map"]
    assert make("identity", MATRIX).blocks() == []


@pytest.mark.parametrize("name", ["linear", "mlp", "tabular"])
def test_what_is_refused_and_what_is_hinted_at_follow_from_what_encoders_take(name):
    rows = InputSpec(0, image=(8, 8, 3), text=TextSpec("tfidf", size=5, width=3))
    message = rf"encoder\.name: '{name}' takes .*images and texts; use 'fusion' or 'identity'"
    with pytest.raises(ConfigError, match=message):
        make(name, rows)


def test_a_new_encoder_says_what_it_takes_and_no_other_file_changes(monkeypatch):
    monkeypatch.setattr(ENCODERS, "_entries", {entry.name: entry for entry in ENCODERS.entries()})

    @dataclass
    class PixelsConfig(EncoderConfig):
        name: str = "mean_pixel"

    @register_encoder("mean_pixel", config=PixelsConfig)
    class MeanPixel(Encoder):
        """The mean of each colour."""

        takes = ("image",)
        out_features = 3

        def forward(self, inputs):
            return inputs.float().mean((1, 2))

    images = InputSpec(0, image=(4, 4, 3))
    assert make("mean_pixel", images)(torch.ones(2, 4, 4, 3)).tolist() == [[1.0] * 3] * 2
    message = r"'mean_pixel' takes images, but these rows are named columns; use .*'tabular'"
    with pytest.raises(ConfigError, match=message):
        make("mean_pixel", TABLE)
    message = r"'mlp' takes a matrix of numbers, but these rows are images; use .*'mean_pixel'"
    with pytest.raises(ConfigError, match=message):
        make("mlp", images)
