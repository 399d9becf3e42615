"""How many streams a peer may have open at a time."""

# Of what it may have open.
_NEAR = 0.9


class StreamLimit:
    """`most` at first, for streams that are answered and done with; as many as stay open may come on top of that, up to `most_open`."""

    def __init__(self, most: int, most_open: int) -> None:
        self._most, self._most_open = most, most_open
        # What the peer is told.
        self.announced = most
        # Methods that run for the peer, some perhaps for streams that it has given up, and those of them that stream.
        self.running = self._staying = 0

    def has_room(self, open_streams: int) -> bool:
        # Methods whose streams were given up need a moment to end.
        return open_streams < self.announced and self.running < 2 * self.announced

    def is_near(self, open_streams: int) -> bool:
        """Whether the peer has as many streams open as it may; answers may be on their way."""
        return open_streams >= _NEAR * self.announced

    def begins(self, *, stays: bool) -> bool:
        """A method runs for the peer. What it keeps open is not to keep it from asking anything else; returns whether it is to be told."""
        self.running += 1
        self._staying += stays
        if self._staying <= self.announced - self._most or self.announced >= self._most_open:
            return False
        self.announced = min(self.announced + self._most, self._most_open)
        return True

    def ends(self, *, stays: bool) -> None:
        self.running -= 1
        self._staying -= stays
