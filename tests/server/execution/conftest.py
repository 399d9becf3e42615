import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwire_server.execution.local import LocalExecutor

sys.path.insert(0, str(Path(__file__).parent))

from job_bench import TARGETS, Bench


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalExecutor, asyncio.Runner]]:
    """One fork server for a module: it takes seconds to start."""
    with asyncio.Runner() as loop:
        executor = LocalExecutor(TARGETS, grace=0.5)
        loop.run(executor.start())
        yield executor, loop
        loop.run(executor.close())


@pytest.fixture
def bench(shared: tuple[LocalExecutor, asyncio.Runner], tmp_path: Path) -> Bench:
    executor, loop = shared
    (tmp_path / "marks").mkdir()
    return Bench(tmp_path, executor, loop)
