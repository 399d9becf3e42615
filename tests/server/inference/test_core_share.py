"""Threads that compute leave a core to the event loop while it predicts."""

import asyncio
from collections.abc import Callable

import pytest

from modelwire_server.inference import core_share
from modelwire_server.inference.core_share import CoreShare


def nothing() -> None:
    """Whoever is not held up is not told."""
    raise AssertionError


def test_all_cores_are_for_threads_while_the_event_loop_does_not_predict() -> None:
    share = CoreShare(2)
    assert [share.begin(nothing) for _ in range(10)] == list(range(10))


def test_one_core_is_left_while_it_does() -> None:
    async def scenario() -> None:
        share = CoreShare(3)
        told = asyncio.Event()
        share.predicted_on_loop()
        first, second = share.begin(nothing), share.begin(nothing)
        assert first is not None
        assert second is not None
        assert share.begin(told.set) is None
        assert not told.is_set()
        share.end(first)
        assert told.is_set()
        assert share.begin(nothing) is not None

    asyncio.run(scenario())


def test_one_thread_computes_on_a_single_core() -> None:
    share = CoreShare(1)
    share.predicted_on_loop()
    assert share.begin(nothing) is not None


def test_who_waits_longest_is_first_and_others_keep_their_place() -> None:
    async def scenario() -> None:
        share, begun = CoreShare(2), []

        def lane(name: str) -> Callable[[], None]:
            def go_on() -> None:
                if (number := share.begin(go_on)) is not None:
                    begun.append((name, number))

            return go_on

        lanes = {name: lane(name) for name in "abc"}
        share.predicted_on_loop()
        for name in "abcb":
            lanes[name]()
        assert begun == [("a", 0)]
        share.end(0)
        lanes["a"]()
        share.end(1)
        share.end(2)
        assert begun == [("a", 0), ("b", 1), ("c", 2), ("a", 3)]

    asyncio.run(scenario())


def test_a_thread_that_never_ends_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_share, "_LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(core_share, "_EXPECTED_SECONDS", 0.1)

    async def scenario() -> None:
        share = CoreShare(2)
        told = asyncio.Event()
        share.predicted_on_loop()
        assert share.begin(nothing) is not None
        assert share.begin(told.set) is None
        async with asyncio.timeout(10):
            await told.wait()
        share.predicted_on_loop()
        assert share.begin(nothing) is not None

    asyncio.run(scenario())
