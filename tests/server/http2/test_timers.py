"""Timers that share one of the event loop's."""

import asyncio
import time

from structlog.testing import capture_logs

from modelwire_server.http2.timers import Timers


def test_each_comes_when_it_is_due_or_not_at_all() -> None:
    async def main() -> None:
        timers, came, all_came = Timers(), [], asyncio.Event()
        began = time.monotonic()

        def note(name: float) -> None:
            came.append((name, time.monotonic() - began))
            if name == 0.09:
                all_came.set()

        made = {
            seconds: timers.call_later(seconds, lambda seconds=seconds: note(seconds))
            for seconds in (0.09, 0.001, 0.05, 0.051, 0.02)
        }
        made[0.05].cancel()
        made[0.05].cancel()
        await all_came.wait()
        assert [name for name, _ in came] == [0.001, 0.02, 0.051, 0.09]
        assert all(when >= name for name, when in came)
        assert not timers._due

    asyncio.run(main())


def test_one_that_comes_may_cancel_another_and_make_new_ones_and_fail() -> None:
    async def main() -> None:
        timers, came, again = Timers(), [], asyncio.Event()

        def first() -> None:
            came.append("one of two")
            for timer in both:
                timer.cancel()
            timers.call_later(0, again.set)
            raise ValueError("told to fail")

        both = [timers.call_later(0.005, first) for _ in range(2)]
        with capture_logs() as logs:
            await asyncio.wait_for(again.wait(), 5)
        assert [log["event"] for log in logs] == ["what was due failed"]
        assert came == ["one of two"]

    asyncio.run(main())
