"""``python -m hybridnn``; see ``hybridnn.cli``."""
import sys

from hybridnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
