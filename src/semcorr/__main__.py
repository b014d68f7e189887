"""``python -m semcorr`` is the command ``semcorr``."""

import sys

from semcorr.cli import main

if __name__ == "__main__":
    sys.exit(main())
