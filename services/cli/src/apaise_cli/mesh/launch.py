"""`python -m apaise_cli.mesh.launch HOME NAME`: what the supervisor runs for each process.

It clears away what a killed predecessor left behind, prepares, then becomes the process itself (exec): the supervisor's
child is the real thing, with nothing in between.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apaise_cli.home import Home
from apaise_cli.mesh import engines, postgres, sweep


def main() -> None:
    """Become the process named on the command line. Returns only by raising."""
    home, name = Home(Path(sys.argv[1])), sys.argv[2]
    # Ray's daemons outlive a killed head for some seconds and hold its ports; PostgreSQL's backends hold its memory.
    sweep.end(sweep.find(home, name), patience=0.5 if name == "ray" else 5.0)
    argv, environment = engines.command(home, name), engines.environment(home, name)
    if name == "postgres":
        postgres.make_socket_folder(home)
        postgres.clear_stale(home)
        _become_system_user()
    os.execve(argv[0], argv, environment)


def _become_system_user() -> None:
    user = postgres.system_user()
    if user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


if __name__ == "__main__":
    main()
