"""Relation: knowledge moves along shared users and shared items."""
