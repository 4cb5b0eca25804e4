"""Losses that are functions of tensors and know nothing of a run."""
