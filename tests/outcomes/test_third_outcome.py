"""A third kind of outcome, of public names only: what several tasks will need, trained by a method that knows none."""

from __future__ import annotations

import torch

from tl_research.config import compose
from tl_research.data.batch import Samples
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.transforms.spec import InputSpec
from tl_research.evaluation.evaluator import Evaluator
from tl_research.evaluation.selection import select
from tl_research.methods.build import build_method
from tl_research.outcomes import ClassOutcome, NumberOutcome, Outcome
from tl_research.training.trainer import make_trainer

BOUGHT, AMOUNT = ClassOutcome(("no", "yes")), NumberOutcome(mean=20.0, std=5.0)


class Purchase(Outcome):
    """Whether a visitor buys and for how much: labels (n, 2), the amount nan where there is none; outputs (n, 3)."""

    kind, main, width = "purchase", "accuracy", 3

    def scaled(self, label):
        return torch.stack([label[:, 0], AMOUNT.scaled(label[:, 1])], dim=1)

    def row_losses(self, outputs, label):
        amount = AMOUNT.row_losses(outputs[:, 2:], label[:, 1].nan_to_num())
        return BOUGHT.row_losses(outputs[:, :2], label[:, 0].long()) + amount * ~label[:, 1].isnan()

    def metrics(self, outputs, label):
        has = ~label[:, 1].isnan()
        return BOUGHT.metrics(outputs[:, :2], label[:, 0].long()) | AMOUNT.metrics(outputs[has, 2:], label[has, 1])

    def columns(self, outputs):
        return BOUGHT.columns(outputs[:, :2]) | {"amount": AMOUNT.values(outputs[:, 2:]).numpy()}

    def state_dict(self):
        return {"kind": self.kind}


def test_two_tasks_are_trained_measured_and_selected(tmp_path):
    torch.manual_seed(0)
    x, outcome = torch.randn(600, 4), Purchase()
    bought = (x[:, 0] > 0).double()
    label = torch.stack([bought, torch.where(bought > 0, 20 + 5 * x[:, 1].double(), torch.nan)], dim=1)
    side = Samples(x, outcome.scaled(label).float(), torch.arange(600), torch.arange(600) % 2)
    options = ["method.name=source_only", "trainer.max_epochs=8", "trainer.accelerator=cpu", "optimizer.lr=0.01"]
    config = compose(None, options)
    module = build_method(config, InputSpec(numeric=4), outcome)
    splits = {"source_val": side._replace(label=label), "target_test": side._replace(label=label)}
    evaluator = Evaluator(splits, side, side, outcome=outcome, seed=0, domains=["old", "new"])
    loader = PairedLoader({"source": side}, {"source": 32}, seed=0)
    make_trainer(config, [evaluator], None, tmp_path).fit(module, loader)
    chosen = select(evaluator.history, "rmse")
    assert set(chosen) == {"last", "source_val", "dev", "iwcv", "oracle"}  # `im` and `snd` are of classes
    figures = chosen["source_val"]
    assert figures["target_test/accuracy"] > 0.95
    assert figures["target_test/r2"] > 0.9
    assert figures["source_val/r2@worst"] <= figures["source_val/r2@mean"]
    assert outcome.columns(torch.zeros(2, 3)).keys() == {"prediction", "p_no", "p_yes", "amount"}
    assert not outcome.known(outcome.hide(label)).any()
