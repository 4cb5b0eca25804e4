"""The small problem that every registered method is put to: a new market that measures the same visits otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from tl_research.config import compose
from tl_research.data.batch import PairedBatch
from tl_research.data.fitted import FittedData
from tl_research.data.new_rows import schema_of_transform
from tl_research.data.paired import PairedDataModule
from tl_research.data.target_alone import TargetAlone
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.finished_run import SourceFree
from tl_research.methods.fitted import FittedMethod
from tl_research.methods.objectives import training_only
from tl_research.methods.staged import ParameterMethod
from tl_research.methods.step import Phase, Step
from tl_research.registry import METHODS, SOURCE_FREE, TARGETS
from tl_research.runs.experiment import run
from tl_research.runs.record import Record

SHOTS = 10
#: Methods that learn a class or a number; those that learn preferences have contracts of their own.
LABELLED = [entry.name for entry in METHODS.entries() if set(entry.targets) & set(TARGETS)]
#: Enough shift for a source model to lose, little enough for alignment to undo.
PROBLEM = {
    "data": {
        "name": "simulated_market",
        "measurement_shift": 0.6,
        "n_source": 1500,
        "n_target": 1500,
        "batch_size": 64,
    },
    "encoder": {"name": "mlp", "hidden": [32]},
    "optimizer": {"lr": 3e-3},
    "trainer": {"max_epochs": 20, "accelerator": "cpu", "checkpoint_every_seconds": None},
    "wandb": {"mode": "disabled"},
}


def method_config(method: str, output, *overrides: str, seed: int = 0) -> DictConfig:
    """The problem's configuration, in the method's natural setting."""
    setting = METHODS.get(method).settings[0]
    problem = {group: keys for group, keys in PROBLEM.items() if group != "encoder" or not brings_its_encoder(method)}
    words = [
        *METHODS.get(method).problem,
        f"data.setting={setting}",
        f"method.name={method}",
        f"seed={seed}",
        f"output={output}",
    ]
    if setting == "few_shot":
        words.append(shots_of(method))
    return compose(problem, [*words, *overrides])


def learns_numbers_only(method: str) -> bool:
    return METHODS.get(method).targets == ("regression",)


def shots_of(method: str) -> str:
    """Labels a class, or in all where there are none."""
    own = [override for override in METHODS.get(method).problem if override.startswith("data.shots=")]
    return own[0] if own else f"data.shots={5 * SHOTS if learns_numbers_only(method) else SHOTS}"


def brings_its_encoder(method: str) -> bool:
    return METHODS.get(method).encoder is not None


def module_and_batch(method: str, seed: int = 0) -> tuple[AdaptationModule, PairedBatch]:
    """An untrained method and the first batch that its loader gives."""
    config = method_config(method, "unused", seed=seed)
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(seed)
    module = build_method(config, data.spec, data.outcome)
    if module.row_weights is not None or type(module).prepare is not AdaptationModule.prepare:
        module.prepare(data.sides.get("source"), data.sides["target"], data.sides.get("target_labeled"))
    return module, next(iter(data.train_dataloader()))


def total_loss(module: AdaptationModule, batch: PairedBatch, phase: Phase) -> torch.Tensor:
    """The sum of all objectives' terms in a phase."""
    enter(module, batch, phase)
    losses = [objective.terms for objective in module.objectives()]
    return sum(sum(terms(Step(module, batch, phase)).values()) for terms in losses)


def enter(module: AdaptationModule, batch: PairedBatch, phase: Phase) -> None:
    if isinstance(module, ParameterMethod) and not phase.source and not int(module.stage):
        module.begin_stage(1, batch.target_labeled)
    module._enter(phase)


def add_gradients(module: AdaptationModule, batch: PairedBatch, phase: Phase) -> None:
    """As a step of each objective would have them: of its own parts alone."""
    if not module.is_game:
        total_loss(module, batch, phase).backward()
        return
    enter(module, batch, phase)
    for objective in module.objectives():
        with training_only(module, objective.parameters(module)):
            sum(objective.terms(Step(module, batch, phase, objective=objective.name)).values()).backward()


def made_sure(module: AdaptationModule) -> AdaptationModule:
    """The module with logits 20 times as large, so that its predictions reach thresholds as a trained model's do."""
    with torch.no_grad():
        for parameter in module.head.parameters():
            parameter.mul_(20)
    return module


def data_of(config: DictConfig, reads) -> PairedDataModule:
    group, options = OmegaConf.to_object(config.data), {"seed": config.seed, "reads": reads}
    if config.data.setting == SOURCE_FREE:
        data = TargetAlone(group, fitted=_fitted(config), **options)
    else:
        data = PairedDataModule(group, **options)
    data.setup()
    return data


def _fitted(config: DictConfig) -> FittedData:
    """What the source run of the same task would hand over."""
    source = dataclasses.replace(OmegaConf.to_object(config.data), setting="unsupervised")
    data = PairedDataModule(source, seed=config.seed)
    data.setup()
    return FittedData(data.transform, data.outcome, schema_of_transform(data.transform, data.outcome.kind))


@cache
def trained(method: str, seed: int, output: str, *overrides: str) -> Record:
    """The record of a whole run, of which tests read the last epoch; repeated calls train once."""
    return run(method_config(method, output, "selection.every=1000", *overrides, seed=seed))


def is_closed_form(method: str) -> bool:
    """Whether it is fitted in `prepare` and takes no gradient step, with its default head."""
    target = METHODS.get(method).target
    return issubclass(target, FittedMethod) or target.engine == "fit"


def is_source_free(method: str) -> bool:
    """Whether it begins with a finished run and reads no source row."""
    return issubclass(METHODS.get(method).target, SourceFree)


def trained_parameters(module: AdaptationModule) -> set[str]:
    """Names of the parameters that some phase trains."""
    names = {name for name, _ in module.named_parameters()}
    phases = [module.phase(epoch) for epoch in range(module.epochs)]
    held = set.intersection(*({name for name in names if name.startswith(phase.frozen)} for phase in phases))
    return {name for name in names - held if not isinstance(module, SourceFree) or module.trainable(name)}


def is_game(method: str) -> bool:
    """Whether its losses are objectives of its own."""
    return METHODS.get(method).target.objectives is not AdaptationModule.objectives


def baseline_of(method: str) -> tuple[str, ...]:
    """What it must beat, a method and its options: the same training without what makes the method."""
    entry = METHODS.get(method)
    if entry.over:
        return entry.over
    if is_closed_form(method):
        return ("shallow",)
    if entry.settings[0] in ("unsupervised", SOURCE_FREE):
        return ("source_only",)
    return ("fine_tune",) if adds_to_fine_tuning(method) else ("target_only",)


def adds_to_fine_tuning(method: str) -> bool:
    """Whether it has a term beside the task loss of the labelled target rows."""
    target = METHODS.get(method).target
    return issubclass(target, ParameterMethod) and target.terms is not AdaptationModule.terms


def acts_on_the_loss(method: str) -> bool:
    """Whether it has terms or weights of the source rows, which `switched_off` takes away."""
    target, weighting = METHODS.get(method).target, METHODS.get(method).weighting
    weighs = weighting is not None or target.source_weights is not AdaptationModule.source_weights
    return weighs or bool(adapting([method])) or adds_to_fine_tuning(method)


def lives_by_its_source(method: str) -> bool:
    """Whether all that it claims is that the source stage is worth something: it is measured over `target_only`."""
    return baseline_of(method) == ("target_only",) and issubclass(METHODS.get(method).target, ParameterMethod)


@contextmanager
def switched_off(method: str) -> Iterator[None]:
    """The method's terms count 0 and every source row counts the same; all else of it is as it was."""
    target = METHODS.get(method).target

    def times_zero(hook: Callable) -> Callable:
        return lambda self, step: {name: 0.0 * term for name, term in hook(self, step).items()}

    with pytest.MonkeyPatch.context() as patched:
        if target.source_weights is not AdaptationModule.source_weights:
            # What moves the weights has nothing to move them by.
            patched.setattr(target, "after_step", lambda self, step: None)
        patched.setattr(target, "source_weights", lambda self, step: None)
        if target.terms is not AdaptationModule.terms:
            patched.setattr(target, "terms", times_zero(target.terms))
        yield


def adapting(names: list[str]) -> list[str]:
    """The methods that have terms of source and target rows."""
    targets = {name: METHODS.get(name).target for name in names}
    with_terms = [
        name for name, kind in targets.items() if kind.terms is not AdaptationModule.terms and "target" in kind.reads
    ]
    return [name for name in with_terms if not adds_to_fine_tuning(name)]
