"""What the commands of `tl-research` do; `cli.py` reads the command line.

Imports of what is heavy are within the functions, so that `--help` is quick.
"""
