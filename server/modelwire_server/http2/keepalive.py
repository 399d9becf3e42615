"""Whether the peer of a connection is still there, and whether it asks too often whether we are."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from .frames import Code, ConnectionFault


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveRules:
    """After so many quiet seconds the peer is asked, and has so long to say something. It may ask every `min_interval` seconds where
    nothing else is sent to it, more often now and then."""

    seconds: float = 60.0
    timeout: float = 20.0
    min_interval: float = 10.0
    max_strikes: int = 2


class Asking(Protocol):
    """A connection."""

    def ask_whether_alive(self) -> None: ...

    def abort(self) -> None: ...


class Keepalive:
    def __init__(self, rules: KeepaliveRules, connection: Asking) -> None:
        self._rules = rules
        self._connection: Asking | None = connection
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._has_asked = False
        self._last_ping = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        # Pings that came too early since something was sent.
        self.strikes = 0

    def start(self) -> None:
        self._timer = self._loop.call_later(self._rules.seconds, self._look)

    def stop(self) -> None:
        self._connection = None  # which knows this one
        if self._timer is not None:
            self._timer.cancel()

    def heard(self) -> None:
        self._heard = self._loop.time()
        self._has_asked = False

    def pinged(self) -> None:
        """Raises ConnectionFault."""
        now = self._loop.time()
        if now - self._last_ping < self._rules.min_interval:
            self.strikes += 1
        self._last_ping = now
        if self.strikes > self._rules.max_strikes:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too_many_pings")

    def _look(self) -> None:
        if self._connection is None:
            return
        if self._has_asked:
            self._connection.abort()
            return
        wait = self._heard + self._rules.seconds - self._loop.time()
        if wait <= 0:
            self._has_asked = True
            self._connection.ask_whether_alive()
            wait = self._rules.timeout
        self._timer = self._loop.call_later(wait, self._look)
