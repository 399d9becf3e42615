"""The places at which processes serve."""

import socket
from dataclasses import dataclass, field

from .template import Worker

CALLS = "calls"
JOBS = "jobs"

# A process that served for so long has not ended because of how it starts.
LIVED_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0


@dataclass(slots=True)
class Backoff:
    """How long to wait before a process is replaced: not at all, unless one after the other ends when it has hardly begun."""

    in_a_row: int = 0

    def ended(self, lived: float) -> None:
        """A process has ended that did its work for so many seconds."""
        self.in_a_row = self.in_a_row + 1 if lived < LIVED_SECONDS else 0

    @property
    def pause(self) -> float:
        if self.in_a_row < 2:
            return 0.0
        return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (self.in_a_row - 2))


@dataclass(eq=False, slots=True)
class Seat:
    """A place that is always taken: what is done there, and by which process at the moment. `identity` is how that is called by those
    who look for what it has left behind. `listener` is the socket of the seat: a connection that waits there, waits for the next process
    if this one ends."""

    name: str
    role: str
    identity: str = ""
    worker: Worker | None = None
    listener: socket.socket | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def close(self) -> None:
        """Has those who connect go to other seats."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    @property
    def is_serving(self) -> bool:
        return self.worker is not None and self.worker.is_serving
