"""`FittedRecommending`: a recommender of the room `recommenders` as a method, fitted once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig
from tl_research.encoders.base import require_trained
from tl_research.errors import ConfigError, keys_of
from tl_research.interactions.training import Training
from tl_research.methods.recommending import Recommending
from tl_research.nn.fitted import Fitted
from tl_research.recommenders.base import Recommender
from tl_research.recommenders.packing import as_tensors, from_tensors
from tl_research.registry import register_method


@dataclass
class FittedRecommendingConfig(MethodConfig):
    """Group `method` of recommenders in closed form; further fields are the recommender's options."""


class FittedState(Fitted):
    """Holds a recommender, and what it has fitted in buffers, so that a state dict has it."""

    def take(self, recommender: Recommender) -> None:
        """Keep a fitted recommender."""
        self.keep(**as_tensors(recommender))
        self._made: Recommender | None = recommender

    @property
    def recommender(self) -> Recommender:
        """The recommender, made of the buffers where they were loaded."""
        if getattr(self, "_made", None) is None:
            self._made = from_tensors(dict(self.named_buffers()))
        return self._made


class FittedRecommending(Recommending):
    """Fits a `Recommender` to the logs of all domains; the engine `fit` carries it out, on the CPU."""

    engine = "fit"
    ranks_sources = False
    #: What is fitted; made from the options of the group `method`.
    recommender_class: ClassVar[type[Recommender]]

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        require_trained(config, f"method {config.method.name!r} is fitted to its features")
        for key, given in (("method.weighting", config.method.weighting), ("data.sampler", config.data.sampler)):
            if given is not None:
                raise ConfigError(f"{key}: method {config.method.name!r} is fitted to all rows at once; leave it out")

    def build(self) -> None:
        self.fitted = FittedState()

    def learn(self, training: Training) -> None:
        common = {item.name for item in dataclasses.fields(FittedRecommendingConfig)}
        options = {
            item.name: getattr(self.config, item.name)
            for item in dataclasses.fields(self.config)
            if item.name not in common
        }
        with keys_of("method"):
            try:
                self.fitted.take(type(self).recommender_class(**options).fit(training, seed=self.seed))
            except ValueError as error:
                raise ConfigError(str(error)) from None

    def score_catalogue(self, users: Tensor) -> Tensor:
        return torch.from_numpy(self.fitted.recommender.score(users.cpu().numpy())).to(users.device)


def register_recommender(name: str, recommender: type[Recommender], *, config: type, paper: str) -> None:
    """Register the method that fits a recommender, under its name.

    Args:
        name: of the method.
        recommender: what is fitted.
        config: dataclass of the group `method`, a subclass of `FittedRecommendingConfig`: its fields are the
            recommender's options.
        paper: citation.
    """
    made = {"recommender_class": recommender, "__doc__": recommender.__doc__, "__module__": config.__module__}
    method = type(f"{recommender.__name__}Method", (FittedRecommending,), made)
    register_method(
        name,
        config=config,
        family="relation",
        settings=("supervised",),
        targets=("preference",),
        encoder="codes",
        paper=paper,
        no_gain="held against the other recommenders on planted tasks (tests/recommenders)",
    )(method)
