"""`python -m genus` is the genus command."""

import sys

from genus.cli import main

if __name__ == "__main__":
    sys.exit(main())
