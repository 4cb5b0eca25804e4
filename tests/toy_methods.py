"""Methods of three other kinds, in as few lines as such a method needs and by public names only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.pair import config_of, resumed, trained
from tl_research.config import MethodConfig
from tl_research.losses.adversarial import domain_bce
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.objectives import Objective
from tl_research.registry import METHODS, register_method

GAME_WORDS = (
    "encoder={name: mlp, hidden: [8]}",
    "optimizer={name: adam, lr: 0.01, schedule: cosine}",
    "trainer.gradient_clip_val=0.5",
    "method.critic_steps=3",
)


@dataclass
class GameConfig(MethodConfig):
    name: str = "toy_game"
    weight: float = 0.5
    critic_steps: int = 1


class Game(AdaptationModule):
    """A critic tells the domains apart, and the features are trained so that it cannot."""

    def build(self) -> None:
        self.critic = nn.Linear(self.encoder.out_features, 1)
        self.register_buffer("steps", torch.zeros(2, dtype=torch.long))

    def objectives(self) -> list[Objective]:
        return [
            Objective("critic", ("critic",), self.tell_apart, every=self.config.critic_steps),
            Objective("features", ("encoder", "head"), self.fool),
        ]

    def tell_apart(self, step: Step) -> dict[str, Tensor]:
        return {"domain": domain_bce(self.critic(step.source.features), self.critic(step.target.features))}

    def fool(self, step: Step) -> dict[str, Tensor]:
        fooled = -self.config.weight * self.tell_apart(step)["domain"]
        return self.task_losses(step) | {"fooled": fooled}

    def after_step(self, step: Step) -> None:
        self.steps[("critic", "features").index(step.objective)] += 1


@dataclass
class TwoTasksConfig(MethodConfig):
    name: str = "toy_two_tasks"
    surgery: bool = True


class TwoTasks(AdaptationModule):
    """The class, and the sum of a row's inputs; of two gradients that conflict each loses its part along the other."""

    def build(self) -> None:
        self.second = nn.Linear(self.encoder.out_features, 1)

    def objectives(self) -> list[Objective]:
        combine = project_conflicts if self.config.surgery else None
        return [Objective("tasks", ("encoder", "head", "second"), self.both, combine=combine)]

    def both(self, step: Step) -> dict[str, Tensor]:
        predicted = self.second(step.local("source").features).squeeze(1)
        wanted = step.batch.source.inputs.sum(dim=1)
        return self.task_losses(step) | {"second": (predicted - wanted).square().mean()}


def project_conflicts(gradients: dict[str, list[Tensor | None]]) -> list[Tensor | None]:
    """PCGrad (Yu et al. 2020, NeurIPS, algorithm 1) for two tasks, over the parameters that both have."""
    one, other = gradients.values()
    shared = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    product = sum((a * b).sum() for a, b in shared)
    of_one, of_other = (sum(pair[number].square().sum() for pair in shared) for number in (0, 1))
    keep_one, keep_other = 1 - (product / of_one).clamp_max(0), 1 - (product / of_other).clamp_max(0)
    return [
        b if a is None else a if b is None else keep_one * a + keep_other * b for a, b in zip(one, other, strict=True)
    ]


@dataclass
class TwoViewsConfig(MethodConfig):
    name: str = "toy_two_views"
    noise: float = 0.1


class TwoViews(AdaptationModule):
    """A target row and the same row with noise are to have one prediction."""

    def terms(self, step: Step) -> dict[str, Tensor]:
        noisy = step.view("target", lambda inputs: inputs + self.config.noise * torch.randn_like(inputs))
        gap = step.target.logits.softmax(dim=1).detach() - noisy.logits.softmax(dim=1)
        return {"consistency": gap.square().mean()}


TOYS = {
    "toy_game": (Game, GameConfig),
    "toy_two_tasks": (TwoTasks, TwoTasksConfig),
    "toy_two_views": (TwoViews, TwoViewsConfig),
}


@contextmanager
def registered() -> Iterator[None]:
    """The toys are methods while the context lasts: no other test is to meet them."""
    options = {"family": "adversarial", "settings": ("unsupervised", "few_shot"), "paper": "none"}
    for name, (method, config) in TOYS.items():
        register_method(name, config=config, **options)(method)
    try:
        yield
    finally:
        for name in TOYS:
            METHODS._entries.pop(name)


def on_two_processes(output: str) -> dict[str, tuple]:
    """What the pair of processes does: a game of 3:1, and the same killed and resumed."""
    folder = Path(output)
    sgd = ("optimizer={name: sgd, lr: 0.05}", *GAME_WORDS[2:])
    with registered():
        return {
            "game": trained(config_of("toy_game", folder, *sgd)),
            "two views": trained(config_of("toy_two_views", folder, "method.noise=0")),
            "resumed": resumed("toy_game", folder, *GAME_WORDS[2:]),
        }
