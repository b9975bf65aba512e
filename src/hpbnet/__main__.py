"""`python -m hpbnet`: the same as the `hpbnet` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
