"""Whether predictors work: found out by having them predict and score, never by asking what they were."""

import asyncio
import contextlib
import math
import threading
from dataclasses import dataclass
from datetime import datetime

import structlog

from modelwire_runners import Predictor

from ..checkups import Checkups, Finding

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found out about a predictor; `message` says why it is not ready."""

    predictor: str
    ready: bool
    message: str
    checked_at: datetime


class ReadinessChecks:
    """Checks predictors when somebody asks. What was found `holds` for so many seconds; a check that takes longer than `timeout` seconds
    finds that the predictor is not ready. Each check has a thread of its own, and there is at most one of each predictor at a time."""

    def __init__(self, *, holds: float = 10.0, timeout: float = 30.0) -> None:
        self._checkups = Checkups(silence="it has not answered its test inputs", holds=holds, timeout=timeout, on_change=_tell)

    async def of(self, predictor: Predictor, patience: float = math.inf) -> Readiness:
        """Whether the predictor works. After `patience` seconds it is what was known before."""
        found = await self._checkups.of(predictor.name, lambda: _tested(predictor), patience)
        return Readiness(predictor.name, not found.trouble, found.trouble, found.at)


def _tell(name: str, found: Finding) -> None:
    tell = log.warning if found.trouble else log.info
    tell("predictor checked", predictor=name, ready=not found.trouble, why=found.trouble)


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
