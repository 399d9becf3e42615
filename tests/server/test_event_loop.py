"""The event loop that looks for a moment before it sleeps."""

import asyncio
import socket
import threading
import time

import pytest

from modelwire_server import event_loop, settings
from modelwire_server.event_loop import BusySelector
from modelwire_server.settings import BRIEF_BUSY_WAIT, BUSY_WAIT

READ = 1


@pytest.mark.parametrize("busy", [0.0, BUSY_WAIT])
def test_it_runs_what_asyncio_runs(busy: float) -> None:
    async def work() -> list[str]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.setblocking(False)
        loop, heard = asyncio.get_running_loop(), []
        for number in range(100):
            await loop.sock_sendall(theirs, f"{number}\n".encode())
            heard.append((await reader.readline()).decode().strip())
        await asyncio.sleep(0.01)
        writer.close()
        theirs.close()
        return heard

    assert event_loop.run(work(), busy) == [str(number) for number in range(100)]


def test_nothing_is_missed_and_no_timeout_either() -> None:
    with BusySelector(0.001) as selector:
        ours, theirs = socket.socketpair()
        selector.register(ours, READ)
        for _ in range(50):
            assert selector.select(0) == []
            began = time.perf_counter()
            assert selector.select(0.002) == []
            assert time.perf_counter() - began >= 0.002
            theirs.send(b"x")
            ((key, _),) = selector.select(None)
            assert key.fileobj is ours
            ours.recv(1)
        ours.close()
        theirs.close()


def test_whoever_is_not_asked_again_sleeps() -> None:
    """Processor time of a loop that was busy and then has nothing to do."""
    with BusySelector(0.001) as selector:
        ours, theirs = socket.socketpair()
        selector.register(ours, READ)
        for _ in range(200):  # what comes at once makes it patient
            threading.Timer(0.0001, theirs.send, [b"x"]).start()
            assert selector.select(1)
            ours.recv(1)
        began = time.thread_time()
        for _ in range(20):
            assert selector.select(0.01) == []
        assert time.thread_time() - began < 0.05
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("cores", "given", "seconds"),
    [
        (1, {}, 0),
        (2, {}, BUSY_WAIT),
        (2, {"workers": 2}, BRIEF_BUSY_WAIT),
        (4, {"workers": 2}, BUSY_WAIT),
        (4, {"workers": 3}, BRIEF_BUSY_WAIT),
        (4, {"workers": 5}, 0),
        (1, {"workers": 4, "busy_wait": 0.001}, 0.001),
        (4, {"busy_wait": 0.0}, 0),
    ],
)
def test_it_looks_for_longer_where_grpc_has_a_core_of_its_own(
    monkeypatch: pytest.MonkeyPatch, cores: int, given: dict[str, float], seconds: float
) -> None:
    monkeypatch.setattr(settings, "available_cores", lambda: cores)
    assert settings.Settings.load(**given).busy_seconds == seconds
