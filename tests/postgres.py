"""A PostgreSQL server of the tests' own, on a free loopback port, in a folder that is thrown away."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from free_ports import free_port

_PROGRAMS = Path("/usr/lib/postgresql")


class PostgresServer:
    """A running server. Nothing is synced to disk: what is tested is not PostgreSQL's own durability."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database, dropped in the end whoever is still connected."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
            try:
                yield self.url(name)
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs; Debian keeps them off the PATH."""
    if found := shutil.which(name):
        return found
    installed = sorted(_PROGRAMS.glob(f"*/bin/{name}"))
    return str(installed[-1]) if installed else None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Starts a server and ends it. PostgreSQL refuses to run as root; so root runs it as the user `postgres`."""
    user = "postgres" if os.geteuid() == 0 else None
    # Not below pytest's own folder, which other users cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="modelwire-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        initdb = [str(program("initdb")), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*initdb, str(data)], check=True, capture_output=True, user=user, cwd=folder)
        port = free_port()
        options = {
            "fsync": "off",
            "max_connections": "200",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(folder),
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [str(program("postgres")), "-D", str(data), "-p", str(port), *settings]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder) as process,
        ):
            try:
                wait_until_ready(process, port, folder / "log")
                yield PostgresServer(port)
            finally:
                # "Fast" shutdown: connections are ended, not waited for.
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ready = [str(program("pg_isready")), "--quiet", "--host=127.0.0.1", f"--port={port}", "--timeout=1"]
    for _ in range(100):
        if subprocess.run(ready, check=False).returncode == 0:
            return
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}")
