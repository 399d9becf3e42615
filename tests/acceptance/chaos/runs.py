"""The constellations that have to hold."""

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from serving import RUNNERS, ServerProcess

from .storm import Service, Storm
from .verdict import Verdict, judge

TARGETS = [f"{RUNNERS / 'turbulent.py'}:{name}" for name in ("runner", "fragile", "scripts")]
# Short, so that some of the servers that are away lose their jobs to others.
LEASE_SECONDS = 2.0


def on_sqlite(folder: Path, *, jobs: int, kills: int, seed: int) -> Verdict:
    """One server with its database and content in its folder."""
    mark = uuid.uuid4().hex
    server = new_server(folder / "data", mark)
    return run([server], "SQLite, one server", folder / "data" / "blobs", mark, jobs=jobs, kills=kills, seed=seed, longest=1.0)


def on_postgresql(folder: Path, url: str, *, jobs: int, kills: int, seed: int) -> Verdict:
    """Two servers with one database and one folder for content."""
    mark, blobs = uuid.uuid4().hex, folder / "blobs"
    servers = [new_server(folder / name, mark, database_url=url, blobs_url=blobs) for name in ("first", "second")]
    longest = 2 * LEASE_SECONDS
    return run(servers, "PostgreSQL, two servers", blobs, mark, jobs=jobs, kills=kills, seed=seed, longest=longest)


def new_server(folder: Path, mark: str, **settings: object) -> ServerProcess:
    return ServerProcess(
        *TARGETS, data_dir=folder, lease_seconds=LEASE_SECONDS, chaos_mark=mark, max_jobs=4, log_format="json", **settings
    )


def run(
    servers: Sequence[ServerProcess], name: str, blobs: Path, mark: str, *, jobs: int, kills: int, seed: int, longest: float
) -> Verdict:
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        storm = Storm(Service(servers), jobs=jobs, kills=kills, seed=seed, longest=longest)
        storm.rage()
        title = f"{name}: {jobs} jobs, {len(storm.strikes)} blows ({kills} kills), {storm.seconds:.0f} s, seed {seed}"
        return judge(storm, title, blobs=blobs, mark=mark)
