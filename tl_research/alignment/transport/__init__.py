"""Optimal transport between two weighted clouds of rows: pure functions, one solver per file."""
