"""A Ray of our own, in a process of its own: `python -m apaise_train.adapters.local_ray`.

Ray starts its daemons by forking. Done inside a process that serves gRPC, the forked child can crash in gRPC's fork
handlers; so a clean process does it, tells the address on its first line, and stops Ray when its stdin closes, which
happens when whoever started it ends in any way.
"""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> None:
    """Start Ray, say where, wait."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with contextlib.redirect_stdout(sys.stderr):
        import ray

        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        address = ray.get_runtime_context().gcs_address
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
