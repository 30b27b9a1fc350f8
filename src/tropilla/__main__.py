"""Let `python -m tropilla` be the same program as `tropilla`."""

import sys

from tropilla.cli import main

if __name__ == "__main__":
    sys.exit(main())
