"""The event loop of a process that serves: before it sleeps it looks again for a moment whether there is something to do.

What a caller sends next is often there within a fraction of a millisecond. A thread that sleeps has to be woken for it, on a core that
has cooled down meanwhile, which takes longer than a small prediction; on virtual machines several times as long.

How long it looks is learned as Linux does for idle virtual cores (`halt_poll_ns` of KVM): longer after waits that were short, not at all
after one that was long. So an idle process sleeps.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .cores import roam

T = TypeVar("T")

# For how long is looked when it first seems to be worth it; then twice as long, and so on.
_FIRST = 50e-6


class BusySelector(selectors.DefaultSelector):
    """Waits for input. For up to `most` seconds it does so by looking again and again."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self._most = most
        self._patience = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        began, patience = time.perf_counter(), self._patience
        if timeout is not None:
            patience = min(patience, timeout)
            timeout -= patience
        if patience and (found := self._look(began + patience)):
            return found
        found = super().select(timeout)
        self._learn(time.perf_counter() - began, bool(found))
        return found

    def _look(self, until: float) -> list[tuple[selectors.SelectorKey, int]]:
        while not (found := super().select(0)):
            if time.perf_counter() >= until:
                break
        return found

    def _learn(self, waited: float, came: bool) -> None:
        """What was the end of a wait: input, or only a timer."""
        if waited > self._most:
            self._patience = 0.0
        elif came:
            self._patience = min(self._most, max(_FIRST, 2 * self._patience))


def run(work: Coroutine[Any, Any, T], busy_seconds: float) -> T:
    """asyncio.run() on a loop that looks for so long before it sleeps; 0 is never."""

    def loop() -> asyncio.AbstractEventLoop:
        made = asyncio.SelectorEventLoop(BusySelector(busy_seconds) if busy_seconds else None)
        made.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio", initializer=roam))
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)
