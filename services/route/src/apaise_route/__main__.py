"""`python -m apaise_route`."""

import sys

from apaise_kit.runtime.server import run
from apaise_route import bootstrap


def main() -> None:
    """Run route."""
    sys.exit(run(bootstrap.main()))


if __name__ == "__main__":
    main()
