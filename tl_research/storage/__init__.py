"""Bytes on disk: files written whole, locks, checkpoints."""
