"""Copies of content on the local disk."""

import hashlib
import os
from pathlib import Path

import pytest

from modelwire_server.artifacts.blobs.cache import Cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def add(cache: Cache, folder: Path, content: bytes) -> str:
    path = folder / "incoming"
    path.write_bytes(content)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert cache.add(path, digest).read_bytes() == content
    return digest


def opened(folder: Path, max_bytes: int, kept_seconds: float = 0) -> Cache:
    cache = Cache(folder, max_bytes, kept_seconds)
    cache.open()
    return cache


def test_what_was_not_used_for_longest_goes_first(folder: Path) -> None:
    cache = opened(folder, 10)
    first, second = add(cache, folder, b"1" * 4), add(cache, folder, b"2" * 4)
    assert cache.find(first)
    third = add(cache, folder, b"3" * 4)
    assert (bool(cache.find(first)), bool(cache.find(second)), bool(cache.find(third))) == (True, False, True)
    assert cache.bytes == 8
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) == 8


def test_what_was_used_a_moment_ago_stays(folder: Path) -> None:
    cache = opened(folder, 10, kept_seconds=60)
    digests = [add(cache, folder, bytes([n]) * 6) for n in range(3)]
    assert all(cache.find(digest) for digest in digests)
    os.utime(cache.find(digests[0]) or "", (0, 0))
    again = opened(folder, 10, kept_seconds=60)
    assert [bool(again.find(digest)) for digest in digests] == [False, True, True]


def test_the_order_outlives_a_process(folder: Path) -> None:
    cache = opened(folder, 100)
    digests = [add(cache, folder, bytes([n]) * 6) for n in range(3)]
    for age, digest in enumerate(digests):
        os.utime(cache.find(digest) or "", (1000 - age, 1000 - age))
    smaller = opened(folder, 12)
    assert [bool(smaller.find(digest)) for digest in digests] == [True, True, False]


def test_equal_content_counts_once(folder: Path) -> None:
    cache = opened(folder, 100)
    digest = add(cache, folder, b"12345678")
    assert add(cache, folder, b"12345678") == digest
    assert cache.bytes == 8
    cache.drop(digest)
    cache.drop(digest)
    assert cache.bytes == 0
    assert cache.find(digest) is None


def test_a_copy_that_somebody_removed_is_none(folder: Path) -> None:
    cache = opened(folder, 100)
    digest = add(cache, folder, b"12345678")
    (cache.find(digest) or Path()).unlink()
    assert cache.find(digest) is None
    assert cache.bytes == 0
