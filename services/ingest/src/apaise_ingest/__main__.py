"""`python -m apaise_ingest`."""

import sys

from apaise_ingest import bootstrap
from apaise_kit.runtime.server import run


def main() -> None:
    """Run ingest."""
    sys.exit(run(bootstrap.main()))


if __name__ == "__main__":
    main()
