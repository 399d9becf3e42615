"""The short form of `make chaos`: servers are killed at work, and everything that was promised is kept all the same."""

import random
from pathlib import Path

import pytest
from chaos import runs

pytestmark = pytest.mark.slow

JOBS, KILLS = 40, 3


@pytest.fixture
def seed() -> int:
    return random.randrange(1_000_000)


def test_one_server_on_sqlite_keeps_its_promises_through_kill_9(tmp_path: Path, seed: int) -> None:
    verdict = runs.on_sqlite(tmp_path, jobs=JOBS, kills=KILLS, seed=seed)
    verdict.show()
    assert verdict.is_good, again("sqlite", seed)


def test_two_servers_on_postgresql_keep_their_promises_through_kill_9(tmp_path: Path, postgres_url: str, seed: int) -> None:
    verdict = runs.on_postgresql(tmp_path, postgres_url, jobs=JOBS, kills=KILLS, seed=seed)
    verdict.show()
    assert verdict.is_good, again("postgresql", seed)


def again(run: str, seed: int) -> str:
    return f"run again: make chaos CHAOS='{run} --jobs {JOBS} --kills {KILLS} --seed {seed}'"
