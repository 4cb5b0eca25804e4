"""Hooks that are almost called by their names: nobody would call them, and nothing would say so."""

from __future__ import annotations

from difflib import get_close_matches

#: What a method may override (CONTRIBUTING.md lists them with what they see).
HOOKS = (
    "after_step", "averaged_over", "build", "check_config", "choose_weights", "couples_ranks", "discrepancy",
    "draws_batches", "enter_later_stage", "enter_target_stage", "fit_rows", "forward", "forward_source", "learnt_facts",
    "make_adapter", "make_alignment", "make_head", "make_target_parts", "needs_target_val", "needs_whole_weights",
    "objectives", "of_target",
    "parameter_groups", "phase", "prepare", "reads", "row_losses", "source_weights", "stage_of", "target_frozen",
    "target_groups", "target_phase", "task_loss", "taught", "terms", "trainable", "watched_blocks", "weight_curve",
)  # fmt: skip
#: How alike two names are (`difflib`) of which one is taken for the other misspelt: `term` and `terms` are 0.89.
ALIKE = 0.85


def refuse_misspelt_hooks(method: type) -> None:
    """Raise `ValueError` where a class defines a public name that is almost a hook of its bases, and none itself.

    A helper that is meant to be called so begins with an underscore.
    """
    bases = method.__mro__[1:]
    hooks = [hook for hook in HOOKS if any(hook in vars(base) for base in bases)]
    for name in vars(method):
        if name.startswith("_") or any(name in vars(base) for base in bases):
            continue
        for hook in get_close_matches(name, hooks, n=1, cutoff=ALIKE):
            raise ValueError(
                f"{method.__name__}.{name}: nothing calls it; is the hook {hook} meant? a helper of this name begins "
                "with _ (CONTRIBUTING.md)"
            )
