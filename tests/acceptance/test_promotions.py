"""Predictions go on by name while the name is moved: none fails, none is of two versions, none is of the old one afterwards."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from serving import RUNNERS, ServerProcess
from storages import POSTGRESQL_AND_FILES, StorageUrls, new_storage

from modelwire import AsyncClient, Client
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc
from modelwire_server.frames import write_frame

# 200 take a minute for each kind of server.
MOVES = int(os.environ.get("PROMOTIONS", "50"))
CALLERS = 64
CONNECTIONS = 8
TARGET = f"{RUNNERS / 'constants.py'}:runner"


REQUEST = predict_service_pb2.PredictRequest(
    model="weather@production", future=frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1.0, 2.0, 3.0]})))
)


@contextmanager
def two_workers(request: pytest.FixtureRequest, folder: Path) -> Iterator[list[ServerProcess]]:
    with ServerProcess(TARGET, data_dir=folder, workers=2) as server:
        yield [server]


@contextmanager
def two_servers(request: pytest.FixtureRequest, folder: Path) -> Iterator[list[ServerProcess]]:
    with new_storage(POSTGRESQL_AND_FILES, request) as urls, ExitStack() as stack:
        shared = StorageUrls(urls.database_url, str(folder / "content"))
        servers = [ServerProcess(TARGET, data_dir=folder / name, **vars(shared)) for name in ("first", "second")]
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor() as threads:
            list(threads.map(ServerProcess.start, servers))
        yield servers


@dataclass
class Watched:
    """The versions that the alias is pointed to, one after the other: how many moves have begun, and how many are done."""

    targets: list[int] = field(default_factory=lambda: [1])
    begun: int = 0
    done: int = 0
    answers: int = 0
    memory_at_half: int = 0

    def allowed(self, done_before: int) -> set[int]:
        return set(self.targets[done_before : self.begun + 1])


def check(answer: predict_service_pb2.PredictResponse, allowed: set[int]) -> None:
    (values,) = pa.ipc.open_stream(answer.predictions.arrow).read_all().to_pydict().values()
    assert set(values) == {float(values[0])}
    version = int(values[0])
    assert answer.model_version == f"weather/{version}"
    assert version in allowed, f"{version} answered when only {allowed} could"


async def call_for_ever(stub: Any, watched: Watched) -> None:
    while True:
        done = watched.done
        answer = await stub.Predict(REQUEST, timeout=30)
        check(answer, watched.allowed(done))
        watched.answers += 1


async def move(clients: Sequence[AsyncClient], servers: Sequence[ServerProcess], watched: Watched) -> None:
    for number in range(1, MOVES + 1):
        if number == MOVES // 2:
            watched.memory_at_half = memory(servers)
        version = 2 if number % 2 else 1
        watched.targets.append(version)
        watched.begun = number
        client = clients[number % len(clients)]
        if number % 10:
            await client.registry.promote("weather", version)
        else:
            await client.registry.rollback("weather")
        watched.done = number


@asynccontextmanager
async def callers(targets: Sequence[str], watched: Watched) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Callers over several connections, so that each worker has some."""
    async with AsyncExitStack() as stack:
        stubs = []
        for index in range(CONNECTIONS):
            channel = grpc.aio.insecure_channel(targets[index % len(targets)], options=[("grpc.use_local_subchannel_pool", 1)])
            await stack.enter_async_context(channel)
            stubs.append(predict_service_pb2_grpc.PredictServiceStub(channel))
        tasks = [asyncio.create_task(call_for_ever(stubs[index % CONNECTIONS], watched)) for index in range(CALLERS)]
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def predict_while_it_moves(servers: Sequence[ServerProcess]) -> Watched:
    watched, targets = Watched(), [server.target for server in servers]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(target)) for target in targets]
        async with callers(targets, watched) as tasks:
            moving = asyncio.create_task(move(clients, servers, watched))
            done, _ = await asyncio.wait([moving, *tasks], return_when=asyncio.FIRST_COMPLETED, timeout=300)
            for task in done:
                await task
            assert moving.done(), "moving the alias takes too long"
    return watched


def memory(servers: Sequence[ServerProcess]) -> int:
    """Bytes of all processes of the servers."""
    processes = [one for server in servers for one in (server.process, *server.process.children(recursive=True))]
    return sum(process.memory_info().rss for process in processes if process.is_running())


@pytest.mark.parametrize("serving", [two_workers, two_servers], ids=["two workers", "two servers"])
def test_predictions_by_name_go_on_while_the_alias_moves(serving: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with serving(request, tmp_path) as servers, Client(servers[0].target) as client:
        for value in (1.0, 2.0):
            config = client.configs.create(f"value {value}", {"value": value})
            model = client.train(config, {"x": [1.0]}).wait()
            client.registry.register("weather", model, alias="production" if value == 1.0 else "")
        watched = asyncio.run(predict_while_it_moves(servers))
        grown = memory(servers) - watched.memory_at_half
        print(f"{watched.answers:,} answers during {MOVES} moves; memory grew by {grown / 2**20:.1f} MiB in the second half")
        assert watched.answers > CALLERS * 10
        assert grown < 32 * 2**20
