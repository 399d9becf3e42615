"""Timers of which there are very many, and most are canceled: deadlines of calls.

The event loop keeps its timers in order, and those that are canceled among them until their time has come: with thousands of calls a
second, each with a deadline, that takes as long as the calls. Here all that are due within a hundredth of a second share one.
"""

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_TICK = 0.01


class Timer:
    """What is to be called, unless it is canceled before."""

    __slots__ = ("_others", "act")

    def __init__(self, others: "dict[Timer, None]", act: Callable[[], None]) -> None:
        self._others = others
        self.act = act

    def cancel(self) -> None:
        self._others.pop(self, None)


class Timers:
    """Those of one event loop; each comes up to a hundredth of a second late."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, dict[Timer, None]] = {}

    def call_later(self, seconds: float, act: Callable[[], None]) -> Timer:
        tick = int((self._loop.time() + seconds) / _TICK) + 1
        timers = self._due.get(tick)
        if timers is None:
            timers = self._due[tick] = {}
            self._loop.call_at(tick * _TICK, self._come, tick)
        timer = Timer(timers, act)
        timers[timer] = None
        return timer

    def _come(self, tick: int) -> None:
        timers = self._due.pop(tick)
        while timers:
            timer, _ = timers.popitem()
            try:
                timer.act()
            except Exception:  # the others come all the same
                log.exception("what was due failed")
