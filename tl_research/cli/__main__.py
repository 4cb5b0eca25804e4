"""`python -m tl_research.cli` is the command `tl-research`."""

import sys

from tl_research.cli import main

sys.exit(main())
