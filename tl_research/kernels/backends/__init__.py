"""Implementations of the kernel sums."""
