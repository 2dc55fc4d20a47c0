"""`python -m apaise_train`."""

import sys

from apaise_kit.runtime.server import run
from apaise_train import bootstrap


def main() -> None:
    """Run train."""
    sys.exit(run(bootstrap.main()))


if __name__ == "__main__":
    main()
