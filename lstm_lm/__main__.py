"""``python -m lstm_lm``: the same as the console script ``lstm-lm``."""

import sys

from lstm_lm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
