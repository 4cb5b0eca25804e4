import sys

from tl_research.cli import main

sys.exit(main())
