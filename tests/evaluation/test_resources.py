import pytest
import torch
from torch import nn

from tests.contracts.problem import method_config, module_and_batch
from tl_research.evaluation.resources import TIMED_ROWS, predict_cost, size_mb
from tl_research.runs.experiment import run
from tl_research.storage.names import MODEL_FILE


def test_operations_of_a_network_are_its_matrix_products():
    """Two for each multiply-add: 2 (10·32 + 32·2) for an mlp of one hidden layer."""
    module, batch = module_and_batch("source_only")
    cost = predict_cost(module, batch.source.inputs)
    assert cost["flops_per_row"] == 2 * (10 * 32 + 32 * 2)
    assert 0 < cost["predict_ms_p50"] <= cost["predict_ms_p95"]
    one = predict_cost(module, batch.source.inputs[:1])
    assert one["flops_per_row"] == cost["flops_per_row"]


def test_convolutions_are_counted_and_named_inputs_are_cut():
    class Picture(nn.Module):
        device = torch.device("cpu")

        def __init__(self):
            super().__init__()
            self.convolve = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.rows = []

        def forward(self, inputs):
            self.rows.append(len(inputs["image"]))
            out = self.convolve(inputs["image"])
            return out, out.mean(dim=(2, 3))

    module = Picture()
    cost = predict_cost(module, {"image": torch.randn(5, 3, 8, 8), "other": torch.zeros(5)})
    assert cost["flops_per_row"] == 2 * 8 * 8 * 4 * 3 * 9
    assert module.rows[0] == 5
    assert set(module.rows[1:]) == {1}
    assert len(module.rows) <= 1 + 10 + TIMED_ROWS


def test_nothing_is_left_changed():
    module, batch = module_and_batch("dann")
    module.train()
    module.encoder.eval()  # as a phase that freezes the encoder does
    modes = [part.training for part in module.modules()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    called = []
    compiled = module.encoder._compiled_call_impl = lambda *_: called.append(1)
    generator = torch.get_rng_state()
    predict_cost(module, batch.source.inputs)
    assert module.encoder._compiled_call_impl is compiled
    assert not called
    assert torch.equal(torch.get_rng_state(), generator)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("method", ["source_only", "boosting_transfer"])
def test_a_record_says_what_predicting_costs(method, tmp_path):
    record = run(method_config(method, tmp_path, "trainer.max_epochs=1", "data.n_source=100", "data.n_target=100"))
    found = record.resources
    assert {"flops_per_row", "predict_ms_p50", "predict_ms_p95", "size_mb"} <= set(found)
    file = tmp_path / record.run_id / MODEL_FILE
    assert found["size_mb"] == size_mb(file) == file.stat().st_size / 1e6
    assert found["flops_per_row"] == (2 * (10 * 32 + 32 * 2) if method == "source_only" else 0), (
        "trees have no products"
    )


def test_a_sum_of_embeddings_counts_as_the_product_that_it_is():
    class Text(nn.Module):
        device = torch.device("cpu")

        def __init__(self):
            super().__init__()
            self.bag = nn.EmbeddingBag(9, 5, mode="sum")

        def forward(self, index):
            return self.bag(index, per_sample_weights=torch.ones(index.shape))

    for wants_gradient in (True, False):
        assert (
            predict_cost(Text().requires_grad_(wants_gradient), torch.zeros(4, 7, dtype=torch.long))["flops_per_row"]
            == 2 * 7 * 5
        )
