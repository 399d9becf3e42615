import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwire import Client

sys.path.insert(0, str(Path(__file__).parent))

from serving import EXAMPLES, RUNNERS, ServerProcess
from several_workers import workers
from storages import new_storage, on_every_storage

BEHAVIOURS = [f"{RUNNERS / 'behaviours.py'}:{name}" for name in ("runner", "lasting", "persistent", "single", "demanding")]


# What is promised of jobs and errors is promised wherever a server keeps things.
ON_EVERY_STORAGE = ("test_jobs", "test_errors")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.stem in ON_EVERY_STORAGE:
        on_every_storage(metafunc)


@pytest.fixture(scope="session")
def server(storage_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that do it no harm."""
    targets = [f"{EXAMPLES / 'diabetes.py'}:runner", *BEHAVIOURS]
    with (
        new_storage(storage_kind, request) as urls,
        ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data"), **vars(urls)) as server,
    ):
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


@pytest.fixture
def own_server(storage_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for a test that kills it."""
    with new_storage(storage_kind, request) as urls:
        server = ServerProcess(*BEHAVIOURS, data_dir=tmp_path / "data", **vars(urls)).start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for a test that harms it."""
    with workers(tmp_path / "data", max_connection_age=1, worker_timeout=2, drain_seconds=5) as server:
        yield server


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Keeps jobs at work until somebody writes to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
