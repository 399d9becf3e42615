"""Whether predictors work: found out by having them predict and score, never by asking what they were."""

import asyncio
import contextlib
import math
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from modelwire_runners import Predictor

from ..clock import now

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found out about a predictor; `message` says why it is not ready."""

    predictor: str
    ready: bool
    message: str
    checked_at: datetime


@dataclass(slots=True)
class _State:
    """What is known of one predictor, and the check that goes on."""

    known: Readiness | None = None
    known_since: float = 0.0
    check: "asyncio.Future[str] | None" = None
    began: float = 0.0


@dataclass(slots=True, kw_only=True)
class ReadinessChecks:
    """Checks predictors when somebody asks. What was found `holds` for so many seconds; a check that takes longer than `timeout` seconds
    finds that the predictor is not ready. Each check has a thread of its own, and there is at most one of each predictor at a time."""

    holds: float = 10.0
    timeout: float = 30.0
    _states: dict[str, _State] = field(default_factory=dict, init=False)

    async def of(self, predictor: Predictor, patience: float = math.inf) -> Readiness:
        """Whether the predictor works. After `patience` seconds it is what was known before."""
        state = self._states.setdefault(predictor.name, _State())
        if state.known is not None and time.monotonic() < state.known_since + self.holds:
            return state.known
        if state.check is None:
            state.check, state.began = _tested(predictor), time.monotonic()
            state.check.add_done_callback(lambda check: self._finish(predictor, state, check))
        check, left = state.check, max(0.0, state.began + self.timeout - time.monotonic())
        await asyncio.wait({check}, timeout=min(left, patience))
        if not check.done() and left <= patience:
            self._learn(predictor, state, f"it has not answered its test inputs for {time.monotonic() - state.began:.3g} s")
        return state.known or Readiness(predictor.name, False, "it has not answered its test inputs yet", now())

    def _finish(self, predictor: Predictor, state: _State, check: "asyncio.Future[str]") -> None:
        state.check = None
        if not check.cancelled():
            self._learn(predictor, state, check.result())

    def _learn(self, predictor: Predictor, state: _State, trouble: str) -> None:
        found = Readiness(predictor.name, not trouble, trouble, now())
        if state.known is None or state.known.ready != found.ready:
            (log.info if found.ready else log.warning)(
                "predictor checked", predictor=predictor.name, ready=found.ready, why=trouble
            )
        state.known, state.known_since = found, time.monotonic()


def _tested(predictor: Predictor) -> "asyncio.Future[str]":
    """What is wrong with the predictor, as its self-test finds; empty if nothing is. In a thread that nobody waits for at the end: a
    model that hangs must not keep the server from ending."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[str] = loop.create_future()

    def tell(trouble: str) -> None:
        if not outcome.done():
            outcome.set_result(trouble)

    def test() -> None:
        trouble = _trouble(predictor)
        # The server may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, trouble)

    threading.Thread(target=test, name=f"check {predictor.name}", daemon=True).start()
    return outcome


def _trouble(predictor: Predictor) -> str:
    try:
        predictor.self_test()
    except BaseException as error:
        return str(error) or type(error).__name__
    return ""
