"""The storages that a server can be given: which database, and where content goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

SQLITE_AND_FILES, POSTGRESQL_AND_FILES, POSTGRESQL_AND_OBJECTS = "sqlite+files", "postgresql+files", "postgresql+objects"
EVERY_STORAGE = (SQLITE_AND_FILES, POSTGRESQL_AND_FILES, POSTGRESQL_AND_OBJECTS)


@dataclass(frozen=True)
class StorageUrls:
    """As the settings of a server take them; empty for what lies in its data folder."""

    database_url: str = ""
    blobs_url: str = ""


@contextmanager
def new_storage(kind: str, request: pytest.FixtureRequest) -> Iterator[StorageUrls]:
    """A fresh storage of a kind, on the servers of the whole run."""
    if kind == SQLITE_AND_FILES:
        yield StorageUrls()
        return
    with request.getfixturevalue("postgres").database() as database_url:
        objects = request.getfixturevalue("object_store") if kind == POSTGRESQL_AND_OBJECTS else None
        yield StorageUrls(database_url, objects.url(f"{objects.new_bucket()}/content") if objects else "")


def on_every_storage(metafunc: pytest.Metafunc) -> None:
    """Runs a test, if it needs storage at all, once for each kind; one kind after the other."""
    if "storage_kind" in metafunc.fixturenames:
        metafunc.parametrize("storage_kind", EVERY_STORAGE, indirect=True, scope="session")
