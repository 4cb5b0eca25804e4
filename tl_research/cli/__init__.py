"""The command `tl-research`: `main` reads the command line, one file for each group of commands does the work.

Imports of what is heavy are within the functions, so that `--help` is quick.
"""

from tl_research.cli.main import main as main
