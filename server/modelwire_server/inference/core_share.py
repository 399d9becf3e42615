"""How many threads compute at once, over all models.

All cores are theirs, but one is left to the event loop while it predicts as well. Linux gives threads turns of milliseconds, and a
prediction of microseconds had to wait for several of them.
"""

import asyncio
import time
from collections.abc import Callable
from itertools import count

# For so long after a prediction on the event loop others are expected there.
_EXPECTED_SECONDS = 1.0
# A thread that has computed for so long is not waited for any more: it may never end.
_LONGEST_SECONDS = 2.0


class CoreShare:
    """Which threads may begin to compute. `cores` are those of this process."""

    def __init__(self, cores: int) -> None:
        self._most_beside = max(1, cores - 1)
        self._begun: dict[int, float] = {}
        self._numbers = count()
        self._expected_until = float("-inf")
        self._held_up: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def predicted_on_loop(self) -> None:
        self._expected_until = time.perf_counter() + _EXPECTED_SECONDS

    def begin(self, go_on: Callable[[], None]) -> int | None:
        """A number for end() if a thread may compute now. If not, `go_on` is called when it may be tried again, first come first."""
        now = time.perf_counter()
        if now < self._expected_until and self._computing(now) >= self._most_beside:
            self._held_up[go_on] = None
            self._timer = self._timer or asyncio.get_running_loop().call_later(_EXPECTED_SECONDS, self._try_again)
            return None
        number = next(self._numbers)
        self._begun[number] = now
        return number

    def end(self, number: int) -> None:
        """A thread computes no more."""
        del self._begun[number]
        self._try_again()

    def _computing(self, now: float) -> int:
        return sum(now - begun < _LONGEST_SECONDS for begun in self._begun.values())

    def _try_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held_up, self._held_up = self._held_up, {}
        for go_on in held_up:
            go_on()
