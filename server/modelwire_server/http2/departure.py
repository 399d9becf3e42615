"""How a peer is brought to connect anew: streams that it opens before it has learned of it are still served (RFC 9113, section 6.8)."""

import asyncio
from typing import Protocol

from .frames import PING, STREAM_BITS, Code, frame, goaway

_LEAVING = b"leaving."
# So long may a peer take to learn that it is to connect anew.
_ROUND_TRIP_SECONDS = 1.0


class Leaving(Protocol):
    """A connection."""

    def say(self, data: bytes) -> None: ...

    def take_no_more(self) -> None: ...


class Departure:
    def __init__(self, connection: Leaving) -> None:
        self._connection: Leaving | None = connection
        self._timer: asyncio.TimerHandle | None = None
        self.has_begun = False

    def begin(self) -> None:
        if self._connection is not None and not self.has_begun:
            self.has_begun = True
            self._connection.say(goaway(STREAM_BITS, Code.NO_ERROR) + frame(PING, 0, 0, _LEAVING))
            self._timer = asyncio.get_running_loop().call_later(_ROUND_TRIP_SECONDS, self._end)

    def heard(self, pong: bytes) -> None:
        """An answer to a PING, which comes after all that the peer had sent before it knew."""
        if pong == _LEAVING:
            self._end()

    def stop(self) -> None:
        self._connection = None  # which knows this one
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        """Once: by the peer's answer, or because there was none."""
        if self._timer is not None and (connection := self._connection) is not None:
            self._timer.cancel()
            self._timer = None
            connection.take_no_more()
