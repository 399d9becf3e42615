"""Following what happens over broken connections."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from modelwire._seams import asynchronous as seam
from modelwire.backoff import Backoff
from modelwire.errors import DeadlineExceeded, ModelwireError, Unavailable
from modelwire.statuses import connection_broke

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from modelwire._async.connection import AsyncConnection

HEARTBEAT = 15.0
# A connection over which this many heartbeats did not come is given up.
MISSED_HEARTBEATS = 3

EventT = TypeVar("EventT")


class AsyncWatch(Generic[EventT]):
    """The events after a sequence: each once, in order, whatever becomes of the connection."""

    def __init__(
        self,
        connection: AsyncConnection,
        method: Any,
        request: Any,
        *,
        read: Callable[[Any], tuple[int, EventT | None]],
        is_last: Callable[[EventT], bool] | None = None,
        idle: float,
        reconnect_for: float | None = None,
        deadline: float | None = None,
    ) -> None:
        """`read` gives the sequence of an answer, and its event unless that is a heartbeat; `request` says in `after_sequence` where to
        begin. `is_last` tells whether an event is the last; without it there is none, and a stream that ends has broken. A connection
        is given up when nothing came for `idle` seconds. `deadline` is a time of time.monotonic(); the other times are seconds."""
        self._connection = connection
        self._method = method
        self._request = request
        self._read = read
        self._is_last = is_last
        self._idle = idle
        self._backoff = Backoff(connection.settings.reconnect_for if reconnect_for is None else reconnect_for)
        self._deadline = deadline

    async def events(self) -> AsyncGenerator[EventT, None]:
        """Yields until the last event. Raises DeadlineExceeded at the deadline, Unavailable when reconnecting does not help."""
        while True:
            try:
                async with aclosing(self._connected()) as events:
                    async for event in events:
                        yield event
                        if self._is_last is not None and self._is_last(event):
                            return
                if self._is_last is not None:
                    return
                raise Unavailable(f"{self._connection.settings.target} ended the stream")
            except ModelwireError as error:
                delay = self._delay_after(error)
            await seam.sleep(delay)

    async def _connected(self) -> AsyncGenerator[EventT, None]:
        """The events that come over one connection."""
        answers = self._connection.receive(self._method, self._request, idle=self._idle, timeout=self._time_left())
        async with aclosing(answers):
            async for answer in answers:
                self._backoff.reset()
                sequence, event = self._read(answer)
                if sequence <= self._request.after_sequence:
                    continue
                self._request.after_sequence = sequence
                if event is not None:
                    yield event

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _delay_after(self, error: ModelwireError) -> float:
        """Seconds to wait before the next connection; raises the error if there should be none."""
        left = self._time_left()
        if left is not None and left <= 0.0:
            raise DeadlineExceeded("the time to wait is over") from None
        if not connection_broke(error):
            raise error from None
        delay = self._backoff.next(error)
        return delay if left is None else min(delay, left)
