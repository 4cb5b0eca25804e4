"""What a configuration may ask for in devices, strategy and precision, and why the rest is refused."""

from __future__ import annotations

from tl_research.config.bounds import check, check_choice
from tl_research.config.schema import RunConfig
from tl_research.errors import ConfigError
from tl_research.registry import METHODS

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")
#: Strategies of Lightning that are refused for a reason of their own.
REFUSED = {
    "ddp_spawn": "the processes of a run are started for it already",
    "ddp_fork": "the processes of a run are started for it already",
    "ddp_notebook": "the processes of a run are started for it already",
}


def check_config(config: RunConfig) -> None:
    """Raise `ConfigError` for what no machine can do."""
    name = config.trainer.strategy
    refused = next((why for kind, why in REFUSED.items() if name == kind or name.startswith(f"{kind}_")), None)
    check(refused is None, "trainer.strategy", name, f"auto or ddp: {refused}")
    check_choice("trainer.strategy", name, STRATEGIES)
    if name == "fsdp":
        _check_sharding(config)
    if config.optimizer.name == "lazy_adam":
        _check_sparse(config)


def _check_sparse(config: RunConfig) -> None:
    """Gradients of some rows alone are not averaged over processes, and have no norm to clip."""
    trainer = config.trainer
    for key, is_plain in (
        ("trainer.devices", trainer.devices * trainer.num_nodes == 1),
        ("trainer.gradient_clip_val", trainer.gradient_clip_val is None),
    ):
        if not is_plain:
            raise ConfigError(f"optimizer.name: lazy_adam makes sparse gradients, and goes without {key}; use adam")


def _check_sharding(config: RunConfig) -> None:
    trainer, method = config.trainer, METHODS.get(config.method.name)
    reason = method.target.needs_whole_weights()
    if reason is not None:
        raise ConfigError(f"trainer.strategy: got 'fsdp', wants auto or ddp: method {method.name!r} {reason}")
    wants = "2 or more for trainer.strategy=fsdp: one process has nobody to share with"
    check(trainer.devices * trainer.num_nodes > 1, "trainer.devices", trainer.devices, wants)
    wants = "bf16-mixed or 32-true for trainer.strategy=fsdp: scaled gradients are not tested in parts"
    check(trainer.precision != "16-mixed", "trainer.precision", trainer.precision, wants)
    wants = "False for trainer.strategy=fsdp: what gathers the weights of a block would break its graph"
    check(not trainer.compile, "trainer.compile", trainer.compile, wants)
