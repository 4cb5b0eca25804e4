"""The entities of `relational_prior` are the domains of the run."""

import numpy as np
import pandas as pd
import pytest

from tl_research.config import compose
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

FAST = ["trainer.accelerator=cpu", "trainer.checkpoint_every_seconds=null", "wandb.mode=disabled"]


@pytest.fixture
def shops(tmp_path, monkeypatch):
    """Four shops whose levels differ: one pooled model of the old ones says little of any."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, slope in {"a": 1.0, "b": 2.0, "c": 3.0, "new": 2.5}.items():
        x = random.normal(size=(300, 2))
        y = slope * x[:, 0] - x[:, 1] + 0.3 * random.normal(size=300)
        pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "price": y, "bought": np.where(y > 0, "yes", "no")}).to_csv(
            f"{name}.csv", index=False
        )
    pd.concat([pd.read_csv(f"{name}.csv") for name in "abc"]).to_csv("all.csv", index=False)
    return tmp_path


def fitted(label, *sources, shots=10):
    left_out = "bought" if label == "price" else "price"
    words = [
        f"data.sources=[{','.join(f'{name}.csv' for name in sources)}]",
        "data.target=new.csv",
        f"data.label={label}",
        f"data.drop=[{left_out}]",
        "data.setting=few_shot",
        f"data.shots={shots}",
        *FAST,
    ]
    return run(compose({"data": {"name": "files"}, "method": {"name": "relational_prior"}}, words))


@pytest.mark.parametrize("label", ["price", "bought"])
def test_each_source_domain_is_an_entity(label, shops):
    several, whole, turned = fitted(label, "a", "b", "c"), fitted(label, "all"), fitted(label, "c", "a", "b")
    facts = [record.data["method"] for record in (several, whole, turned)]
    assert [found["entities"] for found in facts] == [4, 2, 4]
    assert facts[0]["spread"] != pytest.approx(facts[1]["spread"], rel=0.05)
    assert facts[2]["spread"] == pytest.approx(facts[0]["spread"], rel=1e-4)
    rows = pd.read_csv("new.csv").drop(columns=["price", "bought"])
    one, other = (Predictor.load(shops / "runs" / record.run_id) for record in (several, turned))
    if label == "price":
        np.testing.assert_allclose(one.values(rows), other.values(rows), atol=1e-3)
        assert several.metrics["last"]["target_test/r2"] > 0.95
    else:
        np.testing.assert_allclose(one.probabilities(rows), other.probabilities(rows), atol=1e-3)
        assert several.metrics["last"]["target_test/accuracy"] > 0.85
