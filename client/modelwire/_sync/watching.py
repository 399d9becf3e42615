# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""Following a job over broken connections."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from modelwire._seams import blocking as seam
from modelwire.backoff import Backoff
from modelwire.errors import DeadlineExceeded, ModelwireError
from modelwire.events import Event, StateEvent, event_of
from modelwire.statuses import connection_broke
from modelwire.v1 import job_service_pb2

if TYPE_CHECKING:
    from collections.abc import Generator

    from modelwire._sync.connection import Connection

HEARTBEAT = 15.0
# A connection over which this many heartbeats did not come is given up.
MISSED_HEARTBEATS = 3


class Watch:
    """The events of a job after a sequence: each once, in order, whatever becomes of the connection."""

    def __init__(
        self,
        connection: Connection,
        job_id: str,
        *,
        after: int = 0,
        heartbeat: float = HEARTBEAT,
        reconnect_for: float | None = None,
        deadline: float | None = None,
        cancel_on_disconnect: bool = False,
    ) -> None:
        """`deadline` is a time of time.monotonic(); the other times are seconds."""
        self._connection = connection
        self._request = job_service_pb2.WatchJobRequest(
            job_id=job_id, after_sequence=after, cancel_on_disconnect=cancel_on_disconnect
        )
        self._request.heartbeat_interval.FromNanoseconds(int(heartbeat * 1e9))
        self._idle = heartbeat * MISSED_HEARTBEATS
        self._backoff = Backoff(connection.settings.reconnect_for if reconnect_for is None else reconnect_for)
        self._deadline = deadline

    def events(self) -> Generator[Event, None]:
        """Yields until the job has ended. Raises DeadlineExceeded at the deadline, Unavailable when reconnecting does not help."""
        while True:
            try:
                with closing(self._connected()) as events:
                    for event in events:
                        yield event
                        if isinstance(event, StateEvent) and event.status.is_final:
                            return
                return
            except ModelwireError as error:
                delay = self._delay_after(error)
            seam.sleep(delay)

    def _connected(self) -> Generator[Event, None]:
        """The events that come over one connection."""
        watch = self._connection.stubs.jobs.WatchJob
        answers = self._connection.receive(watch, self._request, idle=self._idle, timeout=self._time_left())
        with closing(answers):
            for answer in answers:
                self._backoff.reset()
                event = event_of(answer.event)
                if event is None or event.sequence <= self._request.after_sequence:
                    continue
                self._request.after_sequence = event.sequence
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
