"""News of jobs: what was just stored comes without a look into the database, and nothing is missed."""

import asyncio

from modelwire_server.clock import now
from modelwire_server.jobs.hub import JobHub
from modelwire_server.jobs.model import Event, EventKind


def event(sequence: int) -> Event:
    return Event("J", sequence, EventKind.LOG, {"text": str(sequence)}, now())


def test_what_is_told_follows_what_is_known() -> None:
    hub = JobHub()
    with hub.subscribe("J") as news:
        assert news.take(after=0) == []  # nothing is known of what came before
        told = [event(4), event(5)]
        hub.tell("J", told[:1])
        hub.tell("J", told[1:])
        assert news.take(after=3) == told


def test_a_watcher_waits_until_it_is_told() -> None:
    async def main() -> None:
        hub = JobHub()
        with hub.subscribe("J") as news:
            news.take(after=0)
            assert not await news.comes(within=0.01)
            hub.tell("J", [event(1)])
            assert await news.comes(within=5)
            assert news.take(after=0)
            assert not await news.comes(within=0.01)

    asyncio.run(main())


def test_what_a_watcher_has_read_already_does_not_come_again() -> None:
    hub = JobHub()
    with hub.subscribe("J") as news:
        news.take(after=0)
        hub.tell("J", [event(4), event(5), event(6)])
        assert [event.sequence for event in news.take(after=5)] == [6]


def test_after_a_gap_the_database_is_asked() -> None:
    hub = JobHub()
    with hub.subscribe("J") as news:
        news.take(after=0)
        hub.tell("J", [event(5)])
        assert news.take(after=3) == []


def test_after_news_of_unknown_origin_the_database_is_asked() -> None:
    hub = JobHub()
    with hub.subscribe("J") as news:
        news.take(after=0)
        hub.tell("J", [event(4)])
        hub.notify("J")
        assert news.take(after=3) == []


def test_a_slow_watcher_asks_the_database() -> None:
    hub = JobHub()
    with hub.subscribe("J") as news:
        news.take(after=0)
        for sequence in range(1, 2000):
            hub.tell("J", [event(sequence)])
        assert news.take(after=0) == []
