"""Whether there are others to share a call with, and how many of them to wait for.

While the event loop computes one prediction, the next one is not even taken up, whoever asks: many callers look like one caller who is
quick. So now and then one prediction waits for a moment to see how many come. Where enough come, all wait until nobody did; where they
do not, it is tried again ever more rarely. How many are waited for is found out in the same way: one or a few more each time, as long
as they come before the moment is over.
"""

# Occasions between attempts: at first, and at most.
_LOOK, _GROW = (8, 1024), (1, 16)


class Crowd:
    """How many callers share calls."""

    def __init__(self) -> None:
        self._size = 1
        self._is_looking = False
        self._has_grown = False
        self._look = _Rarely(*_LOOK)
        self._grow = _Rarely(*_GROW)

    def is_too_small(self, least: int, under_way: int) -> bool:
        """Whether a prediction had better be computed at once, where sharing a call is worth it for so many. `under_way` are those that
        are not answered, with this one."""
        if max(self._size, under_way) >= least:
            return False
        self._is_looking = self._look.is_time()
        return not self._is_looking

    def is_complete(self, number: int) -> bool:
        """Whether so many are all that are waited for."""
        if self._is_looking or number < max(2, self._size):
            return False
        self._gathered(number)
        return True

    def met(self, number: int, least: int) -> None:
        """Takes note of how many have come while one has waited as long as it may."""
        if number < least:
            self._look.failed()
        else:
            self._look.worked()
        if self._is_looking or number == 1:
            self._size = number
        elif number < self._size:
            self._size = max(number, self._size - 1 - self._size // 4)
            self._has_grown = False
            self._grow.failed()
        self._is_looking = False

    def _gathered(self, number: int) -> None:
        if self._has_grown:
            self._grow.worked()
        self._has_grown = self._grow.is_time()
        self._size = number + max(1, number // 2) if self._has_grown else number


class _Rarely:
    """When to try something: each time it was in vain, only after twice as many occasions."""

    def __init__(self, soon: int, seldom: int) -> None:
        self._soon = self._pause = self._left = soon
        self._seldom = seldom

    def is_time(self) -> bool:
        self._left -= 1
        return self._left <= 0

    def worked(self) -> None:
        self._pause = self._left = self._soon

    def failed(self) -> None:
        self._pause = self._left = min(2 * self._pause, self._seldom)
