"""How many calls may wait for their first turn on the event loop, and when they have it."""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

# So many begin in one turn of the event loop. Then it is looked whether there is anything to be read, as what must be refused is to hear of
# it soon, and cannot before it is read.
_AT_ONCE = 64
# Where most callers have as many calls under way as they may, this share of the most may wait, and no more than begin in this time; but
# always so many.
_OF_A_CROWD, _WAIT_SECONDS, _FEWEST = 0.25, 0.1, 64
# What is over after that long was a burst.
_BURST_SECONDS = 0.1


class Waiting(Protocol):
    """A call."""

    def take_turn(self) -> bool:
        """Has its method begin in the next turn of the event loop; False if it is not to, as the call has ended."""


class Admission:
    """Lets up to `most` calls wait; fewer where most of their callers have as many under way as they may.

    These have more to ask: what they may not send before they have heard of others grows old with them, where nobody sees it. Who has
    fewer under way waits for answers, and not for leave to ask.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = self._limit = most
        self._clock = clock
        self._queue: deque[Waiting] = deque()
        # Calls that were let in and have not all arrived, of late: since when, and in which such time.
        self._arriving, self._since, self._time = 0, 0.0, 0
        # Of those that begin in one turn: since when, how many they are, and how many have not begun yet.
        self._began, self._calls, self._left = 0.0, 0, 0
        # How many calls came meanwhile from callers who may have no more, and when that were too many.
        self._crowd, self._pressed = 0, 0.0

    def crowded(self, calls: int) -> None:
        """So many calls came, or were refused, from a caller who may have no more under way."""
        self._crowd += calls

    @property
    def has_room(self) -> bool:
        """Those that arrive are to come to their turn, too; but callers who never send the rest keep no others out."""
        if self._has_room:
            return True
        if self._arriving and self._clock() - self._since > _BURST_SECONDS:
            self._arriving, self._time = 0, self._time + 1
        return self._has_room

    @property
    def _has_room(self) -> bool:
        return len(self._queue) + self._left + self._arriving < self._limit

    def expect(self) -> int:
        """A call is let in; what is returned is to be told when it has arrived, or will not."""
        if not self._arriving:
            self._since = self._clock()
        self._arriving += 1
        return self._time

    def arrived(self, expected: int) -> None:
        if expected == self._time:
            self._arriving -= 1

    def schedule(self, call: Waiting) -> None:
        """The call is there; it begins when those before it have."""
        if not self._left:
            self._began, self._calls, self._crowd = self._clock(), 0, 0
        self._queue.append(call)
        if self._calls < _AT_ONCE:
            self._let_begin()

    def begun(self) -> None:
        """A call that had its turn has begun."""
        self._left -= 1
        if self._left:
            return
        now = self._clock()
        self._judge(now)
        self._began, self._calls, self._crowd = now, 0, 0
        self._let_begin()

    def _let_begin(self) -> None:
        while self._queue and self._calls < _AT_ONCE:
            if self._queue.popleft().take_turn():
                self._calls += 1
                self._left += 1

    def _judge(self, now: float) -> None:
        took = now - self._began
        if self._calls == _AT_ONCE and 2 * self._crowd > self._calls:
            most = _OF_A_CROWD * self._most
            self._limit = int(max(_FEWEST, min(most, _WAIT_SECONDS * self._calls / took if took else most)))
            self._pressed = now
        elif now - self._pressed > _BURST_SECONDS:
            self._limit = self._most
