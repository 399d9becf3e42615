import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# Parallel runs set it for their own terminal; programs that tests start would take it for theirs.
os.environ.pop("COLUMNS", None)

from objectstore import ObjectStoreServer, object_store_server
from postgres import PostgresServer, postgres_server, program
from storages import SQLITE_AND_FILES


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run."""
    if program("initdb") is None and "CI" not in os.environ:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database, as an SQLAlchemy URL."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStoreServer]:
    """An S3-compatible server for the whole run."""
    with object_store_server() as server:
        yield server


@pytest.fixture
def object_store_url(object_store: ObjectStoreServer) -> str:
    """A place in a fresh bucket, as `blobs_url` takes it."""
    return object_store.url(f"{object_store.new_bucket()}/content")


@pytest.fixture(scope="session")
def storage_kind(request: pytest.FixtureRequest) -> str:
    """What the servers of a test keep everything in; see storages.on_every_storage()."""
    kind: str = getattr(request, "param", SQLITE_AND_FILES)
    return kind
