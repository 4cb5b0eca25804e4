"""What methods of several sources share: their number and names, a head and a discriminator for each, their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.data.batch import Inputs, Samples
from tl_research.errors import ConfigError
from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.several_sources import log_mixture, shares_of_sources
from tl_research.methods.base import AdaptationModule, full_precision
from tl_research.methods.reversal import make_discriminator
from tl_research.methods.step import Encoded
from tl_research.nn.mlp import mlp_layers

#: Share of the newest step in the weights that move with the steps.
NEWEST = 0.05


class SeveralSources(AdaptationModule):
    """A method that treats each source domain by itself, and gives each a weight.

    Every batch has equally many rows of each source unless `data.sampler` says otherwise. A source without a row in a
    batch has terms of 0 there. `source_weight` (S,) is what the record tells, under the names of the sources.
    """

    sampler: ClassVar[str | None] = "per_domain"
    source_weight: Tensor

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        if len(config.data.sources) < 2:
            raise ConfigError(
                f"data.sources: got one domain, and method {config.method.name!r} wants two or more; dann and dan "
                "take one"
            )

    @property
    def sources(self) -> int:
        """Number of source domains."""
        return len(self.source_names)

    def build(self) -> None:
        self.register_buffer("source_weight", torch.full((self.sources,), 1 / max(1, self.sources)))

    def learnt_facts(self) -> dict[str, Any]:
        return {"source_weights": dict(zip(self.source_names, self.source_weight.tolist(), strict=True))}

    def shares(self, rows: Encoded) -> Tensor:
        """Return the share (S, n) of each source row in the mean over the rows of its source."""
        return shares_of_sources(rows.domain, self.sources).to(rows.features.dtype)

    def move_weights(self, weights: Tensor) -> None:
        """Move `source_weight` a step towards the mean of the weights (batches, S) of an optimiser step."""
        self.source_weight.lerp_(weights.mean(dim=0), NEWEST)


class SourceHeads(nn.Module):
    """A branch for each source on one encoder: an extractor of hidden layers, which may be none, and a classifier.

    Args:
        make_head: makes a classifier for a width.
        width: of the encoder's features.
        sources: number of branches.
        hidden: widths of each extractor's layers.
    """

    def __init__(self, make_head: Callable[[int], nn.Module], width: int, sources: int, hidden: list[int]):
        super().__init__()
        options: dict[str, Any] = {"activation": "relu", "dropout": 0.0, "batch_norm": False}
        self.extractors = nn.ModuleList(mlp_layers(width, hidden, **options)[0] for _ in range(sources))
        self.classifiers = nn.ModuleList(make_head(hidden[-1] if hidden else width) for _ in range(sources))

    def forward(self, features: Tensor, *, each: bool = False) -> Tensor | tuple[list[Tensor], Tensor]:
        """Return the log of the branches' mean probabilities (n, C).

        Args:
            features: (n, width).
            each: return the branches' features, S times (n, ...), and their logits (S, n, C) instead.
        """
        own = [extract(features) for extract in self.extractors]
        logits = torch.stack([classify(rows) for classify, rows in zip(self.classifiers, own, strict=True)])
        if each:
            return own, logits
        return log_mixture(logits, logits.new_full((len(logits),), 1 / len(logits)))


class SourceHeadsMethod(SeveralSources):
    """A method with a head for each source, whose weighted mean of probabilities predicts.

    A source row is trained by the head of its own source; a labelled target row by the mean.
    """

    def build(self) -> None:
        super().build()
        hidden = list(getattr(self.config, "hidden_of_source", []))
        self.head = SourceHeads(self.outcome.head, self.encoder.out_features, self.sources, hidden)

    def mixture_weights(self, features: Tensor) -> Tensor:
        """Return the weight of each head, (S,) or for each row (S, n). By default `source_weight`."""
        return self.source_weight

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features = self.encoder(inputs)
        _, logits = self.head(features, each=True)
        return features, log_mixture(logits, self.mixture_weights(features))

    def encode(self, samples: Samples, *, is_source: bool = False) -> Encoded:
        if not is_source:
            return super().encode(samples)
        features = self.encoder(samples.inputs)
        _, logits = self.head(features, each=True)
        own = logits[samples.domain, torch.arange(samples.size, device=logits.device)]
        return Encoded(full_precision(features), full_precision(own), *samples[1:])


class SourceDiscriminators(nn.Module):
    """A discriminator of the target against each source.

    Args:
        width: of the features.
        sources: how many.
        hidden: widths of each one's hidden layers.
    """

    def __init__(self, width: int, sources: int, hidden: list[int]):
        super().__init__()
        self.of_source = nn.ModuleList(make_discriminator(width, hidden) for _ in range(sources))

    def forward(self, features: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return the logits (S, n) of the target against each source.

        Args:
            features: (n, width).
            scale: (S,) factor of the reversed gradient that each sends back; None: the gradient is as it is.
        """
        rows = [features] * len(self.of_source) if scale is None else [reverse_gradient(features, s) for s in scale]
        return torch.stack([tell(own).squeeze(1) for tell, own in zip(self.of_source, rows, strict=True)])


def domain_bces(source_logit: Tensor, target_logit: Tensor, shares: Tensor) -> Tensor:
    """Return `domain_bce` (S,) of each source against the target; 0 for a source without a row.

    Args:
        source_logit: (S, n), of all sources' rows.
        target_logit: (S, m).
        shares: (S, n) of `shares_of_sources`.
    """
    losses = [
        domain_bce(source, target, source_weight=own * len(own))
        for source, target, own in zip(source_logit, target_logit, shares, strict=True)
    ]
    return torch.stack(losses) * (shares.sum(dim=1) > 0)
