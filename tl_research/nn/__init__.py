"""Layers and numerics that nobody registers."""
