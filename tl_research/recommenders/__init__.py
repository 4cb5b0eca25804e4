"""Recommenders that are fitted in closed form: one class per method."""
