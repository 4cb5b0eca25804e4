"""Data sets of interactions, one file each; importing one registers it."""
