"""Weights of source rows that make the source look like the target."""
