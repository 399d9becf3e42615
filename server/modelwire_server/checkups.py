"""Finding out now and then whether something works, however many ask and however long it takes."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from .clock import now

# What was found out of so many things is kept.
_MOST_KNOWN = 10_000

# Begins to find out; what comes of it is what is wrong, or nothing.
Test = Callable[[], "asyncio.Future[str]"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out, and when; `trouble` is empty if nothing is wrong."""

    trouble: str
    at: datetime


@dataclass(slots=True)
class _State:
    """What is known of one thing, and the check that goes on."""

    known: Finding | None = None
    known_since: float = 0.0
    check: "asyncio.Future[str] | None" = None
    began: float = 0.0


@dataclass(slots=True, kw_only=True)
class Checkups:
    """Checks things when somebody asks. What was found `holds` for so many seconds; a check that takes longer than `timeout` seconds
    finds trouble. There is at most one check of each thing at a time. `silence` says what is wrong with what does not answer; `on_change`
    is called with what was found anew."""

    silence: str
    holds: float = 10.0
    timeout: float = 30.0
    on_change: Callable[[str, Finding], None] = lambda name, found: None
    _states: dict[str, _State] = field(default_factory=dict, init=False)

    async def of(self, name: str, test: Test, patience: float = math.inf) -> Finding:
        """What is known of a thing, found out now if that was too long ago. After `patience` seconds it is what was known before."""
        state = self._states.get(name) or self._begin(name)
        if state.known is not None and time.monotonic() < state.known_since + self.holds:
            return state.known
        if state.check is None:
            state.check, state.began = test(), time.monotonic()
            state.check.add_done_callback(lambda check: self._finish(name, state, check))
        check, left = state.check, max(0.0, state.began + self.timeout - time.monotonic())
        await asyncio.wait({check}, timeout=min(left, patience))
        if not check.done() and left <= patience:
            self._learn(name, state, f"{self.silence} for {time.monotonic() - state.began:.3g} s")
        return state.known or Finding(f"{self.silence} yet", now())

    def forget(self, name: str) -> None:
        """What was found holds no longer."""
        self._states.pop(name, None)

    def forget_troubles(self) -> None:
        for name in [name for name, state in self._states.items() if state.known and state.known.trouble]:
            self.forget(name)

    async def close(self) -> None:
        """Ends the checks that go on."""
        checks = [state.check for state in self._states.values() if state.check is not None]
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    def _begin(self, name: str) -> _State:
        if len(self._states) >= _MOST_KNOWN:
            self.forget(next(iter(self._states)))
        return self._states.setdefault(name, _State())

    def _finish(self, name: str, state: _State, check: "asyncio.Future[str]") -> None:
        state.check = None
        if not check.cancelled():
            self._learn(name, state, check.result())

    def _learn(self, name: str, state: _State, trouble: str) -> None:
        found = Finding(trouble, now())
        if state.known is None or bool(state.known.trouble) != bool(trouble):
            self.on_change(name, found)
        state.known, state.known_since = found, time.monotonic()
