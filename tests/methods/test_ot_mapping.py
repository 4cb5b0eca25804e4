"""`ot_mapping` through whole runs."""

from tests.contracts.problem import method_config
from tl_research.runs.experiment import run

SMALL = ("data.n_source=300", "data.n_target=300", "trainer.threads=1", "method.regularization=0.3")


def test_the_group_lasso_is_a_solver_of_the_method(tmp_path):
    """Without weight it is the entropic run; with weight each target row's mass is of one class more."""
    entropic = run(method_config("ot_mapping", tmp_path, *SMALL))
    plain, grouped = (
        run(method_config("ot_mapping", tmp_path, *SMALL, "method.solver=group_lasso", f"method.class_weight={weight}"))
        for weight in (0.0, 1.0)
    )
    assert plain.metrics["last"] == entropic.metrics["last"]
    facts = [record.data["method"]["alignment"] for record in (plain, grouped)]
    assert [fact["path"] for fact in facts] == ["group_lasso", "group_lasso"]
    assert facts[1]["class_purity"] > facts[0]["class_purity"] + 2e-4
    assert facts[1]["converged"] == 1
    assert grouped.metrics["last"]["target_test/auroc"] >= entropic.metrics["last"]["target_test/auroc"] - 0.01
