"""Whether there are others to share a call with, and how many of them to wait for.

gRPC takes calls up one at a time. While the event loop computes one prediction, the next one is not even taken up, whoever asks: many
callers look like one caller who is quick. So now and then one prediction waits for a moment to see whether others come. Where they do,
all wait until nobody came; where they do not, it is tried again ever more rarely. How many are waited for is found out in the same way:
one or a few more each time, as long as they come before the moment is over.
"""

# Occasions between attempts: at first, and at most.
_LOOK, _GROW = (8, 1024), (1, 16)


class Crowd:
    """`size` is how many are waited for."""

    def __init__(self) -> None:
        self.size = 2
        self._is_there = False
        self._has_grown = False
        self._look = _Rarely(*_LOOK)
        self._grow = _Rarely(*_GROW)

    def is_alone(self, under_way: int) -> bool:
        """Whether a prediction had better be computed at once. `under_way` are those that are not answered, with this one."""
        if self._is_there or under_way > 1:
            return False
        return not self._look.is_time()

    def gathered(self) -> None:
        """Takes note that as many have come as were waited for."""
        self._is_there = True
        self._look.worked()
        if self._has_grown:
            self._grow.worked()
        self._has_grown = self._grow.is_time()
        if self._has_grown:
            self.size += max(1, self.size // 2)

    def met(self, number: int) -> None:
        """Takes note of how many have come while one has waited as long as it may."""
        self._is_there = number > 1
        if self._is_there:
            self._look.worked()
        else:
            self._look.failed()
        if number < self.size:
            self.size = max(2, number, self.size - 1 - self.size // 4)
            self._has_grown = False
            self._grow.failed()


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
