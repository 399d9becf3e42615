"""The predictors of a server, and the threads that they work in."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from modelwire_runners import Predictor, PredictorError

from ..cores import roam, stand_back
from ..errors import Overloaded, PredictorNotFound, StartError
from .readiness import Readiness, ReadinessChecks

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorRules:
    """What holds for each predictor: so many calls at once, so many under way, how its readiness is found out, in seconds, and whether
    it computes only where nobody else wants the core."""

    threads: int = 4
    max_waiting: int = 1000
    check_seconds: float = 10.0
    check_timeout: float = 30.0
    yields: bool = False


DEFAULT_RULES = PredictorRules()


class PredictorDesk:
    """Where predictors are found by their names. Each has threads of its own, so that a slow one takes none from the others."""

    def __init__(self, predictors: Sequence[Predictor] = (), rules: PredictorRules = DEFAULT_RULES) -> None:
        self._benches = {predictor.name: _Bench(predictor, rules) for predictor in predictors}
        self._checks = ReadinessChecks(holds=rules.check_seconds, timeout=rules.check_timeout)

    @property
    def names(self) -> list[str]:
        return list(self._benches)

    def all(self) -> list[Predictor]:
        return [bench.predictor for bench in self._benches.values()]

    def get(self, name: str) -> Predictor:
        """Raises PredictorNotFound."""
        return self._bench(name).predictor

    async def run(self, name: str, act: Callable[[Predictor], T]) -> T:
        """Does something in a thread of the predictor's. Raises PredictorNotFound, Overloaded, and what `act` raises."""
        return await self._bench(name).run(act)

    async def run_all(self, name: str, acts: Sequence[Callable[[Predictor], T]]) -> list[T]:
        """The same for several things, in parallel. Together they count as one that is under way."""
        return await self._bench(name).run_all(acts)

    async def readiness(self, name: str = "", *, patience: float = math.inf) -> list[Readiness]:
        """Whether one predictor works, or each; after `patience` seconds what was known before. Raises PredictorNotFound."""
        wanted = [self.get(name)] if name else self.all()
        return list(await asyncio.gather(*(self._checks.of(one, patience) for one in wanted)))

    async def prove(self) -> None:
        """Has all test themselves, where that was not done when they were made. Raises StartError for what must not be served."""
        try:
            for predictor in self.all():
                await asyncio.to_thread(predictor.self_test)
        except (PredictorError, NotImplementedError) as error:
            raise StartError(str(error)) from error

    def close(self) -> None:
        for bench in self._benches.values():
            bench.close()

    def _bench(self, name: str) -> "_Bench":
        if name not in self._benches:
            known = ", ".join(self._benches) or "none"
            raise PredictorNotFound(f"there is no predictor `{name[:100]}`; this server has: {known}", predictor=name, known=known)
        return self._benches[name]


class _Bench:
    """One predictor with its threads, which are started when they are needed."""

    def __init__(self, predictor: Predictor, rules: PredictorRules) -> None:
        self.predictor = predictor
        self._rules = rules
        first = stand_back if rules.yields else roam
        self._pool = ThreadPoolExecutor(rules.threads, thread_name_prefix=f"predictor {predictor.name}", initializer=first)
        self._room = threading.BoundedSemaphore(rules.max_waiting)

    async def run(self, act: Callable[[Predictor], T]) -> T:
        self._enter()
        # When it is done, not when its caller has left: what has begun goes on in its thread.
        working = self._pool.submit(act, self.predictor)
        working.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(working)

    async def run_all(self, acts: Sequence[Callable[[Predictor], T]]) -> list[T]:
        self._enter()
        working: list[Awaitable[T]] = [asyncio.wrap_future(self._pool.submit(act, self.predictor)) for act in acts]
        try:
            return list(await asyncio.gather(*working))
        finally:
            self._room.release()

    def _enter(self) -> None:
        if not self._room.acquire(blocking=False):
            limit = self._rules.max_waiting
            raise Overloaded(f"{limit} calls of the predictor `{self.predictor.name}` are under way already", limit=limit)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
