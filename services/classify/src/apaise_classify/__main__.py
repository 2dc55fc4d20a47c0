"""`python -m apaise_classify`."""

import os
import sys

from apaise_classify import bootstrap
from apaise_kit.runtime.server import run


def main() -> None:
    """Run classify."""
    # Ray and Serve print as they please: everything that is not ours to say goes to stderr, native code included.
    os.dup2(2, 1)
    sys.exit(run(bootstrap.main()))


if __name__ == "__main__":
    main()
