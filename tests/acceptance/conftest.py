import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwire import Client

sys.path.insert(0, str(Path(__file__).parent))

from serving import EXAMPLES, RUNNERS, ServerProcess

BEHAVIOURS = [f"{RUNNERS / 'behaviours.py'}:{name}" for name in ("runner", "lasting", "demanding")]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that do it no harm."""
    targets = [f"{EXAMPLES / 'diabetes.py'}:runner", *BEHAVIOURS]
    with ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for a test that kills it."""
    server = ServerProcess(*BEHAVIOURS, data_dir=tmp_path / "data").start()
    try:
        yield server
    finally:
        server.stop()
