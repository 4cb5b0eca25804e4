"""Classifiers that are fitted in closed form, or by a solver, on a matrix of features."""
