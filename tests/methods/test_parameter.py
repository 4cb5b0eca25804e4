"""The methods of the parameter family against each other and against what they freeze."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.contracts.problem import method_config, module_and_batch
from tests.methods.test_base import fit
from tests.methods.test_stages import SHORT, assert_equal, weights
from tl_research.data.batch import Samples
from tl_research.errors import ConfigError
from tl_research.evaluation.choice import ChooseWeights
from tl_research.evaluation.measure import Measured
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.parameter.l2_sp import L2SPConfig
from tl_research.methods.staged import ParameterMethod
from tl_research.methods.step import Step
from tl_research.nn.frozen import FrozenCopy, combined
from tl_research.runs.experiment import run
from tl_research.runs.record import read_record

PLAIN = (*SHORT, "encoder.dropout=0", "encoder.batch_norm=false", "optimizer.weight_decay=0")


def model_of(output, record) -> dict[str, torch.Tensor]:
    return {k: v for k, v in weights(output, record).items() if k.startswith(("encoder.", "head."))}


# Equivalences


def test_l2_sp_of_weight_zero_is_fine_tune(tmp_path):
    words = [*SHORT, "optimizer.weight_decay=0"]
    plain = run(method_config("fine_tune", tmp_path, *words))
    pulled = run(method_config("l2_sp", tmp_path, *words, "method.alpha=0", "method.beta=0"))
    assert_equal(model_of(tmp_path, plain), model_of(tmp_path, pulled))


def test_l2_sp_of_huge_weight_becomes_linear_probe(tmp_path):
    """The distance of the encoder falls as 1 / α, and with it all else. (α of the mean loss, as in the paper.)"""
    words = [*PLAIN, "optimizer.name=sgd", "optimizer.momentum=0", "optimizer.lr=0.01", "optimizer.schedule=constant"]
    probe = model_of(tmp_path, run(method_config("linear_probe", tmp_path, *words)))
    distance = {}
    for alpha in (0.9, 9, 90):
        more = ["method.new_head=true", f"method.alpha={alpha}", "method.beta=0", "method.source_share=0.5"]
        more.append("method.per_label=false")
        pulled = model_of(tmp_path, run(method_config("l2_sp", tmp_path, *words, *more)))
        distance[alpha] = max(float((pulled[name] - value).abs().max()) for name, value in probe.items())
    assert distance[90] < 1e-3
    assert distance[90] < 0.3 * distance[9]
    assert distance[9] < distance[0.9]


def moved_by_a_tenth(labeled: Samples | None = None, **options) -> tuple[AdaptationModule, dict[str, float], float]:
    """`l2_sp` at the start of its target stage, the encoder moved; its terms on a batch of 6; the head's size."""
    module, batch = module_and_batch("l2_sp")
    for name, value in options.items():
        setattr(module.config, name, value)
    module.begin_stage(1, batch.target_labeled if labeled is None else labeled)
    size = sum(float(value.detach().double().square().sum()) for value in module.head.parameters())
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.add_(0.1)
    few = batch._replace(target_labeled=batch.target_labeled.map(lambda tensor: tensor[:6]))
    terms = {key: float(term) for key, term in module.terms(Step(module, few, module.phase(module.epochs - 1))).items()}
    return module, terms, size


@pytest.mark.parametrize("per_label", [True, False])
def test_l2_sp_terms_are_the_squares_of_its_formula(per_label):
    module, terms, size = moved_by_a_tenth(per_label=per_label)
    labels = module_and_batch("l2_sp")[1].target_labeled.size if per_label else 1
    assert labels != 6  # the batch has no part in it
    moved = sum(parameter.numel() * 0.01 for parameter in module.encoder.parameters())
    assert terms["to_source"] == pytest.approx(module.config.alpha / (2 * labels) * moved, rel=1e-4)
    assert terms["head_size"] == pytest.approx(module.config.beta / (2 * labels) * size, rel=1e-5)


def test_l2_sp_holds_many_labels_less_than_few_as_a_prior_does():
    """Each label k times with k times the precision is the same posterior; at the same precision the pull is 1 / k."""
    labeled = module_and_batch("l2_sp")[1].target_labeled
    often = labeled.map(lambda tensor: torch.cat([tensor] * 50))
    _, few, _ = moved_by_a_tenth()
    _, many, _ = moved_by_a_tenth(often)
    _, same, _ = moved_by_a_tenth(often, alpha=50 * L2SPConfig().alpha, beta=50 * L2SPConfig().beta)
    for name, value in few.items():
        assert value > 0
        assert many[name] == pytest.approx(value / 50, rel=1e-5)
        assert same[name] == pytest.approx(value, rel=1e-5)


def test_l2_sp_knows_its_labels_after_a_resume():
    module, batch = module_and_batch("l2_sp")
    module.begin_stage(1, batch.target_labeled)
    other, _ = module_and_batch("l2_sp")
    other.load_state_dict(module.state_dict())
    assert float(other.labels.count) == batch.target_labeled.size


def test_discriminative_lr_of_decay_one_is_fine_tune(tmp_path):
    plain = run(method_config("fine_tune", tmp_path, *SHORT))
    same, other = (
        run(method_config("discriminative_lr", tmp_path, *SHORT, f"method.decay={decay}")) for decay in (1, 0.5)
    )
    assert same.metrics == plain.metrics
    assert_equal(weights(tmp_path, plain), weights(tmp_path, same))
    assert not torch.equal(model_of(tmp_path, other)["encoder.layers.0.weight"],
                           model_of(tmp_path, plain)["encoder.layers.0.weight"])  # fmt: skip


def test_discriminative_lr_falls_by_its_decay_from_block_to_block():
    module = fit("discriminative_lr", "encoder.hidden=[9,7,5]", "encoder.batch_norm=true", "method.decay=0.5")
    groups = module.optimizers().optimizer.param_groups
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    lr = module.optimizer_config.lr
    wanted = {"encoder.layers.0": 8, "encoder.layers.1": 8, "encoder.layers.3": 4, "encoder.layers.6": 2,
              "encoder.layers.7": 2, "head": 1}  # fmt: skip
    for name, divisor in wanted.items():
        for parameter in module.get_submodule(name).parameters():
            assert rate_of[id(parameter)] == pytest.approx(lr / divisor), name
    assert len(rate_of) == len(list(module.parameters()))


def test_wise_ft_at_zero_and_one_is_its_ends(tmp_path):
    tuned = run(method_config("fine_tune", tmp_path, *SHORT))
    # The source stage's own run: without the rows that validate in the transform.
    source = ["trainer.max_epochs=2", "data.setting=few_shot", "data.shots=10", "selection.rule=last"]
    before = run(method_config("source_only", tmp_path, *SHORT, *source))
    for alpha, end in ((0, before), (1, tuned)):
        mixed = run(method_config("wise_ft", tmp_path, *SHORT, f"method.alpha={alpha}"))
        for split in ("source_test", "target_test"):
            for metric in ("accuracy", "log_loss", "auroc"):
                key = f"{split}/{metric}"
                assert mixed.metrics["last"][key] == end.metrics["last"][key], key
        content = weights(tmp_path, mixed)
        chosen = {name[len("chosen.module.") :]: v for name, v in content.items() if name.startswith("chosen.module.")}
        assert_equal(chosen, model_of(tmp_path, end))
        # what is trained is fine_tune, whatever is measured
        assert_equal(model_of(tmp_path, mixed), model_of(tmp_path, tuned))


def test_wise_ft_chooses_by_validation_and_tells_the_curve(tmp_path):
    record = run(method_config("wise_ft", tmp_path, *SHORT))
    facts = record.data["method"]
    curve, last = facts["curve"], record.metrics["last"]
    assert [point["alpha"] for point in curve] == [step / 10 for step in range(11)]
    chosen = next(point for point in curve if point["alpha"] == facts["alpha"]["3"])
    for key in ("target_val/accuracy", "target_test/accuracy", "target_test/log_loss", "source_test/accuracy"):
        assert chosen[key] == last[key]
    score = [(point["target_val/accuracy"], -point["target_val/log_loss"]) for point in curve]
    assert max(score) == score[round(10 * facts["alpha"]["3"])]
    without = run(method_config("wise_ft", tmp_path, *SHORT, "data.shots=4"))
    assert set(without.data["method"]["alpha"].values()) == {0.5}


def test_a_choice_of_weights_sees_validation_labels_alone(monkeypatch):
    seen = []

    def spy(module, splits, outcome, **options):
        seen.append(set(splits))
        return Measured({"target_val/accuracy": 0.5, "target_val/log_loss": 1.0})

    monkeypatch.setattr("tl_research.evaluation.choice.measure", spy)
    assert ChooseWeights({"target_val": None, "target_test": None}, None, "accuracy").score_of(None)() == (0.5, -1.0)
    assert seen == [{"target_val"}]
    assert ChooseWeights({"target_test": None}, None, "accuracy").score_of(None)() is None


# Soups


def test_a_soup_is_the_mean_of_fine_tunes_from_one_start(tmp_path):
    words = ["method.source_share=0.25", "method.lr_factors=[1.0,0.5,2.0]"]
    state = weights(tmp_path, run(method_config("model_soup", tmp_path, *PLAIN, *words)))
    members = [
        {name[len(f"members.{i}.module.") :]: v for name, v in state.items() if name.startswith(f"members.{i}.module.")}
        for i in range(3)
    ]
    for name in members[0]:
        mean = sum(member[name].double() for member in members) / 3
        torch.testing.assert_close(state[f"chosen.module.{name}"].double(), mean, rtol=1e-6, atol=1e-7)
        assert not torch.equal(members[0][name], members[1][name])
    # The first is one epoch of fine-tuning behind the same source stage.
    alone = run(method_config("fine_tune", tmp_path, *PLAIN, "trainer.max_epochs=2"))
    assert_equal(members[0], model_of(tmp_path, alone))


def test_every_member_begins_where_the_target_stage_did(monkeypatch):
    begun = []
    original = ParameterMethod.begin_stage

    def spy(self, stage, labeled):
        original(self, stage, labeled)
        begun.append({k: v.clone() for k, v in self.state_dict().items() if k.startswith(("encoder.", "head."))})

    monkeypatch.setattr(ParameterMethod, "begin_stage", spy)
    words = ("encoder.batch_norm=true", "optimizer.momentum=0.9", "optimizer.name=sgd")
    module = fit("model_soup", *words)
    assert len(begun) == 3
    assert_equal(begun[0], begun[1])
    assert_equal(begun[0], begun[2])
    assert module.lr_factor(0) == 2.0


def test_a_greedy_soup_is_algorithm_1():
    module, _ = module_and_batch("model_soup")
    # score of each soup; members 2 > 0 > 1 alone
    table = {(0,): 0.6, (1,): 0.5, (2,): 0.7, (2, 0): 0.65, (2, 1): 0.7, (1, 2): 0.7}
    module._use = lambda soup: setattr(module, "_soup", tuple(soup))
    assert module._greedy([0, 1, 2], lambda: (table[module._soup], 0.0)) == [2, 1]


def test_greedy_needs_labels_to_validate_on(tmp_path):
    with pytest.raises(ConfigError, match=r"method\.kind: got 'greedy'"):
        method_config("model_soup", tmp_path, "method.kind=greedy", "data.shots=4")
    record = run(method_config("model_soup", tmp_path, *SHORT, "method.kind=greedy"))
    assert len(record.data["method"]["soup"]["3"]) >= 1
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs: got 3, wants 3 epochs of the target stage"):
        method_config("model_soup", tmp_path, *SHORT, "trainer.max_epochs=3")


# Frozen is frozen


class Watch:
    """States at the begin of the target stage and behind each of its epochs."""

    def __init__(self, monkeypatch):
        self.states, self.frozen = [], []
        begin, end = ParameterMethod.begin_stage, ParameterMethod.on_train_epoch_end

        def begun(module, stage, labeled):
            begin(module, stage, labeled)
            self.states.append(copy.deepcopy(module.state_dict()))

        def ended(module):
            end(module)
            if module._stage:
                self.states.append(copy.deepcopy(module.state_dict()))
                frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
                state = module.optimizers().optimizer.state
                stepped = {name for name, p in module.named_parameters() if state.get(p)}
                self.frozen.append((frozen, stepped))

        monkeypatch.setattr(ParameterMethod, "begin_stage", begun)
        monkeypatch.setattr(ParameterMethod, "on_train_epoch_end", ended)


#: Method -> the parameters of each epoch of the target stage that are trained; two blocks with norms, and the head.
ENCODER = ["layers.0.weight", "layers.1.weight", "layers.1.bias", "layers.4.weight", "layers.5.weight", "layers.5.bias"]
HEAD = ["head.weight", "head.bias"]
BLOCKS = [[f"encoder.{name}" for name in ENCODER[:3]], [f"encoder.{name}" for name in ENCODER[3:]]]
TRAINED = {
    ("linear_probe",): [HEAD] * 2,
    ("lp_ft",): [HEAD, HEAD + BLOCKS[0] + BLOCKS[1]],
    ("gradual_unfreezing",): [HEAD, HEAD + BLOCKS[1]],
    ("surgical",): [BLOCKS[0]] * 2,
    ("surgical", "method.block=layers.4"): [BLOCKS[1]] * 2,
    ("surgical", "method.block=layers.4", "method.new_head=true"): [BLOCKS[1] + HEAD] * 2,
    ("surgical", "method.block=head"): [HEAD] * 2,
    ("bitfit",): [[*HEAD, "encoder.layers.1.bias", "encoder.layers.5.bias"]] * 2,
    ("norm_only",): [HEAD + BLOCKS[0][1:] + BLOCKS[1][1:]] * 2,
}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("case", TRAINED, ids=" ".join)
def test_frozen_is_bit_equal_with_running_statistics_and_without_optimizer_state(case, optimizer, monkeypatch):
    watch = Watch(monkeypatch)
    method, *words = case
    fit(method, *SHORT, f"optimizer.name={optimizer}", "optimizer.weight_decay=0.1", *words)
    assert len(watch.frozen) == 2
    for epoch, trained in enumerate(TRAINED[case]):
        before, after = watch.states[epoch], watch.states[epoch + 1]
        frozen, stepped = watch.frozen[epoch]
        parameters = {f"encoder.{name}" for name in ENCODER} | set(HEAD)
        assert parameters - frozen == set(trained)
        assert stepped == set(trained)
        for name in parameters:
            assert torch.equal(before[name], after[name]) == (name not in trained), name
        for norm in ("encoder.layers.1", "encoder.layers.5"):
            moves = {f"{norm}.weight", f"{norm}.bias"} <= set(trained)
            for statistic in ("running_mean", "running_var", "num_batches_tracked"):
                same = torch.equal(before[f"{norm}.{statistic}"], after[f"{norm}.{statistic}"])
                assert same == (not moves), f"{norm}.{statistic}"


def test_the_source_stages_moments_do_not_reach_the_target_stage():
    module = fit("fine_tune", *SHORT)
    steps = {int(state["step"]) for state in module.optimizers().optimizer.state.values()}
    assert steps == {module.total_steps // 2}


def test_a_norm_without_parameters_is_frozen_with_its_block():
    module, batch = module_and_batch("linear_probe")
    module.encoder.layers.append(torch.nn.BatchNorm1d(32, affine=False))
    module.begin_stage(1, batch.target_labeled)
    module._enter(module.phase(module.epochs - 1))
    before = copy.deepcopy(module.encoder.state_dict())
    module.encode(batch.target_labeled)
    assert_equal(before, module.encoder.state_dict())


# Refusals


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("surgical", ["method.block=layers.00"], r"method\.block: got 'layers\.00'; did you mean 'layers\.0'"),
        ("norm_only", ["encoder.batch_norm=false"], r"'mlp' has no norm .*encoder\.batch_norm=true"),
        ("bitfit", ["encoder.name=identity"], r"encoder 'identity' has no bias"),
        ("surgical", ["encoder.name=identity"], r"encoder 'identity' has no block"),
    ],
)
def test_an_encoder_without_the_part_is_refused(method, words, message):
    from tests.contracts.problem import data_of

    config = method_config(method, "unused", *words)
    data = data_of(config, frozenset(("source",)))
    with pytest.raises(ConfigError, match=message):
        build_method(config, data.spec, data.outcome)


def test_wise_ft_has_no_new_head(tmp_path):
    with pytest.raises(ConfigError, match=r"method\.new_head: got True"):
        method_config("wise_ft", tmp_path, "method.new_head=true")


# Parts


def test_a_frozen_copy_is_data_and_stays_in_evaluation_mode():
    original = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    kept = FrozenCopy(original)
    assert not list(kept.parameters())
    assert kept.state_dict().keys() == {f"module.{name}" for name in original.state_dict()}
    kept.train()
    assert not any(part.training for part in kept.modules())
    x = torch.randn(5, 3)
    before = kept(x)
    with torch.no_grad():
        original[0].weight.zero_()
    assert torch.equal(kept(x), before)
    assert torch.equal(kept(x), original.eval()(x)) is False


def test_combined_ends_are_exact_and_the_middle_is_the_mean():
    one, two = ({"w": torch.randn(50), "n": torch.tensor(k)} for k in (3, 7))
    assert_equal(combined([one, two], [1.0, 0.0]), one)
    assert_equal(combined([one, two], [0.0, 1.0]), two)
    mixed = combined([one, two], [0.25, 0.75])
    torch.testing.assert_close(mixed["w"].double(), 0.25 * one["w"].double() + 0.75 * two["w"].double())
    assert int(mixed["n"]) == 7


def test_the_record_counts_what_was_trained(tmp_path):
    record = run(method_config("linear_probe", tmp_path, *SHORT))
    assert read_record(tmp_path / record.run_id).resources["trainable_parameters"] == 2 * 8 + 2
