"""How many calls may wait for their first turn on the event loop."""

import time
from collections.abc import Callable

# A round goes from the first call that waits until none does. Longer ones are taken for a burst, until they have taken so long in all.
_ROUND_SECONDS = 0.03
_BURST_SECONDS = 0.1
# However slow the methods are: who has no more than that under way is not refused.
_FEWEST = 64
_LESS, _MORE = 0.75, 1.25


class Admission:
    """Up to `most`; fewer and fewer where one round after the other is too long, and most of its callers have as many calls under way as
    they may.

    These have more to ask: what they may not send before they have heard of others grows old with them, where nobody sees it. So as many
    are refused as it takes to read all that they have. Who has fewer under way waits for answers, and not for leave to ask.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = self.limit = most
        self._clock = clock
        self.waiting = 0
        # Calls that were let in and have not all arrived, of late: since when, and in which such time.
        self._arriving, self._since, self._time = 0, 0.0, 0
        # Of the round: when it began, how many calls it has, and how many came from callers who may have no more.
        self._began, self._calls, self._crowd = 0.0, 0, 0
        # When a round was last too long, or took all that it could, and what those took that were too long.
        self._pressed, self._long = 0.0, 0.0

    def crowded(self, calls: int) -> None:
        """So many calls came, or were refused, from a caller who may have no more under way."""
        self._crowd += calls

    @property
    def has_room(self) -> bool:
        """Those that arrive are to come to their turn, too; but callers who never send the rest keep no others out."""
        if self.waiting + self._arriving < self.limit:
            return True
        if self._arriving and self._clock() - self._since > _BURST_SECONDS:
            self._arriving, self._time = 0, self._time + 1
        return self.waiting + self._arriving < self.limit

    def expect(self) -> int:
        """A call is let in; what is returned is to be told when it has arrived, or will not."""
        if not self._arriving:
            self._since = self._clock()
        self._arriving += 1
        return self._time

    def arrived(self, expected: int) -> None:
        if expected == self._time:
            self._arriving -= 1

    def scheduled(self) -> None:
        """A call waits for its first turn."""
        if not self.waiting:
            self._begin_round(self._clock())
        self.waiting += 1
        self._calls += 1

    def begun(self) -> None:
        """It had it."""
        self.waiting -= 1
        if not self.waiting:
            self._end_round(self._clock())

    def _begin_round(self, now: float) -> None:
        self._began, self._calls, self._crowd = now, 0, 0
        if now - self._pressed > _BURST_SECONDS:
            self.limit, self._long = self._most, 0.0

    def _end_round(self, now: float) -> None:
        took = now - self._began
        if took > _ROUND_SECONDS and 2 * self._crowd > self._calls:
            if self._long > _BURST_SECONDS:
                self.limit = min(self._most, max(_FEWEST, int(self._calls * _LESS)))
            self._pressed = now
            self._long += took
        elif self._calls >= self.limit:
            self._pressed = now
            self.limit = min(self._most, int(self.limit * _MORE))
