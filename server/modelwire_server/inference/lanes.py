"""Where the predictions of one engine of one model are computed, one call after the other.

Which way a prediction goes is learned from the calls before it:

- A model whose rows are independent and whose calls take less than two milliseconds is called on the event loop: handing over to a
  thread takes up to as long, where cores are slow or shared with others.
- Where calls take long enough for it to matter, predictions of a runner whose rows are independent share calls. A prediction that comes
  alone does not wait for others. While others are under way it waits for a moment (`wait`), in which those come whose last answers
  have just left.
- Slower models are called in threads, so many at a time per model, so that no model takes the threads of another. What comes meanwhile
  waits in line, and shares calls if it may.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseModelRunner, RunContext
from modelwire_runners.invoke import ParsedConfig, PredictCall, PredictionError, answer_of
from modelwire_runners.numbers import Columns

from ..compiled.originals import OriginalNeeded
from ..compiled.stand_ins import fallbacks
from ..errors import InvalidPrediction, MemoryLimit, ModelwireError, Overloaded, RunnerFailed
from .asks import Ask, Predicted, WaitingLine, joined, split
from .core_share import CoreShare
from .costs import CallCost
from .crowds import Crowd
from .loading import RUNNER

# Calls that take less are made on the event loop.
FAST = 0.002
# Of a frame that arrives meanwhile only what takes less than this: what a thread computes does not keep it from being read.
FAST_PIECE = 0.0003
# One call of so many seconds is enough to leave it.
MUCH_TOO_SLOW = 5 * FAST
# Below this, sharing a call with one or two others takes longer than making one.
TRIVIAL = 60e-6
# Calls that take so long, and keep a core busy for such a part of it, leave a core to the event loop.
LONG = 0.02
BUSY = 0.2
# The weight of one call in that part; what was before it fades.
_WEIGHT = 0.25
# Calls whose thread has a core for such a part of their time do nothing else than compute.
COMPUTES = 0.5
# So much of the time that a caller has left may be spent in the line, as far as can be told.
PATIENCE = 0.6
# So many configs, which differ in their horizon, are kept parsed.
_MOST_CONFIGS = 16

Outcome = Predicted | ModelwireError | OriginalNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRules:
    """What holds for each lane. `wait` is in seconds; `threads` is how many calls of one model run at once, and `yields` whether these
    compute only where nobody else wants the core. `cores` are those of one process."""

    wait: float = 0.001
    max_rows: int = 1024
    max_waiting: int = 1000
    threads: int = 4
    yields: bool = False
    cores: int = 1


class Lane:
    """Computes predictions with one engine of one model."""

    def __init__(
        self,
        *,
        model_id: str,
        engine: str,
        model: Any,
        runner: BaseModelRunner[Any],
        config: dict[str, Any],
        pool: Executor,
        share: CoreShare,
        rules: LaneRules,
    ) -> None:
        self._model_id, self._engine, self._model = model_id, engine, model
        self._runner, self._config = runner, config
        self._pool, self._share, self._rules = pool, share, rules
        self._configs: dict[int, ParsedConfig] = {}
        self.call = PredictCall(runner)
        # Calls that others share are longer, and what waits meanwhile shares the next.
        self._slots = max(1, rules.threads // 2) if runner.independent_rows else rules.threads
        self._cost = CallCost(MUCH_TOO_SLOW)
        self._line = WaitingLine(rules.max_rows)
        self._running = 0
        # For which part of their time calls have had a core of late, with those beside them, and whether they keep one busy for long.
        self._busy: float | None = None
        self._keeps_core = False
        self._timer: asyncio.TimerHandle | None = None
        self._open = 0
        self._crowd = Crowd()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def enter(self) -> Callable[..., None]:
        """Counts a caller in. To be called when its answer has left: until then it cannot ask again, so others are others."""
        self._open += 1
        return self._leave

    def _leave(self, *_: object) -> None:
        self._open -= 1

    async def predict(self, ask: Ask) -> Predicted:
        """Raises RunnerFailed, InvalidPrediction, MemoryLimit, Overloaded, DeadlineExceeded, OriginalNeeded."""
        if self.call.is_async:
            return await self._await_runner(ask)
        seconds = self._seconds_inline(ask.future.num_rows, is_piece=ask.is_piece)
        if seconds is not None and not self._line and (ask.group is None or self._crowd.is_too_small(_least(seconds), self._open)):
            return self._compute_now(ask)
        self._admit(ask)
        ask.outcome = asyncio.get_running_loop().create_future()
        self._line.add(ask)
        self._go_on()
        return await ask.outcome

    def _seconds_inline(self, rows: int, *, is_piece: bool) -> float | None:
        """How long a call on the event loop would take, if there may be one. A function that is fast now and waits for something at the
        next call would hold everybody up: whoever says that rows are independent says that it only computes."""
        if not (self.call.is_plain and self._runner.independent_rows) or self._running:
            return None
        seconds = self._cost.of(rows)
        return seconds if seconds is not None and seconds < (FAST_PIECE if is_piece else FAST) else None

    def _admit(self, ask: Ask) -> None:
        """Refuses what could not be answered in time, and what is too much."""
        waiting, seconds = len(self._line), self._seconds_in_line(ask)
        too_late = ask.deadline is not None and seconds > PATIENCE * (ask.deadline - time.monotonic())
        if too_late or waiting >= self._rules.max_waiting:
            error = Overloaded(f"{waiting} predictions are waiting for the model already", limit=self._rules.max_waiting)
            error.retry_after = timedelta(seconds=min(10.0, max(0.05, seconds)))
            raise error

    def _seconds_in_line(self, ask: Ask) -> float:
        """How long it will take until the ask is answered if it joins the line; 0 if there is no telling."""
        rows, asks = self._line.rows + ask.future.num_rows, len(self._line) + 1
        calls = max(1, -(-rows // self._rules.max_rows)) if ask.group is not None else asks
        seconds = self._cost.of(rows // calls) or 0.0
        ahead = calls - 1 + (self._running + 1) / 2 if self._running >= self._slots else 0
        return seconds * (ahead / self._slots + 1)

    def _go_on(self) -> None:
        """Begins what is next, or waits for a moment for others to share the call."""
        if self._rules.wait <= 0 or self._next_inline() is None or self._crowd.is_complete(len(self._line)):
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._rules.wait, self._time_is_up)

    def _next_inline(self) -> float | None:
        return self._seconds_inline(self._line.most_next, is_piece=self._line.next_is_piece)

    def _time_is_up(self) -> None:
        self._crowd.met(len(self._line), _least(self._next_inline() or FAST))
        self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next_inline() is None:
            self._fill_threads()
            return
        if self._line and (asks := self._line.take()):
            self._share.predicted_on_loop()
            outcomes, seconds = self._compute(asks)
            self._cost.observe(_rows(asks), seconds)
            _tell(asks, outcomes)
        if self._line:
            asyncio.get_running_loop().call_soon(self._begin)

    def _fill_threads(self) -> None:
        while self._line and self._running < self._slots:
            turn = self._share.begin(self._go_on_in_threads) if self._keeps_core else None
            if self._keeps_core and turn is None:
                return
            self._compute_in_thread(self._line.take(), turn)

    def _go_on_in_threads(self) -> None:
        """What waits may have become fast meanwhile, or gone."""
        if self._line:
            self._begin()

    def _compute_in_thread(self, asks: Sequence[Ask], turn: int | None) -> None:
        if asks:
            self._running += 1
            done = asyncio.get_running_loop().run_in_executor(self._pool, self._timed, asks)
            done.add_done_callback(partial(self._finish, asks, turn, self._running))
        elif turn is not None:
            self._share.end(turn)

    def _timed(self, asks: Sequence[Ask]) -> tuple[list[Outcome], float, float]:
        """_compute(), with the seconds in which this thread had a core."""
        busy = time.thread_time()
        outcomes, seconds = self._compute(asks)
        return outcomes, seconds, time.thread_time() - busy

    def _finish(
        self, asks: Sequence[Ask], turn: int | None, beside: int, done: "asyncio.Future[tuple[list[Outcome], float, float]]"
    ) -> None:
        beside = max(beside, self._running)
        self._running -= 1
        if done.cancelled():  # the server ends
            for ask in asks:
                assert ask.outcome is not None
                ask.outcome.cancel()
            return
        if turn is not None:
            self._share.end(turn)
        outcomes, seconds, busy = done.result()
        self._keeps_core = seconds > LONG and self._busy_of_late(busy / seconds, beside) > BUSY
        # A short call that only computes would not wait for other threads on the event loop.
        only_computes = seconds < MUCH_TOO_SLOW and busy > COMPUTES * seconds
        self._cost.observe(_rows(asks), busy if only_computes else seconds)
        _tell(asks, outcomes)
        if self._line:
            self._begin()

    def _busy_of_late(self, part: float, beside: int) -> float:
        """Takes note of a call. So many beside each other that compute have that part of a core each, and of the interpreter's lock; and
        one call that others kept from the cores says little of the next."""
        part = min(1.0, part * beside)
        self._busy = part if self._busy is None else self._busy + (part - self._busy) * _WEIGHT
        return self._busy

    def _compute_now(self, ask: Ask) -> Predicted:
        """_compute() for one ask that need not wait, on the event loop."""
        began, fallen_back = time.perf_counter(), fallbacks.count
        self._share.predicted_on_loop()
        try:
            answer = self._called(ask, ask.future, self._parsed(ask.horizon).unchanged())
        except (Exception, SystemExit) as error:
            self._cost.observe(ask.future.num_rows, time.perf_counter() - began)
            raise _as_ours(error) from error
        seconds = time.perf_counter() - began
        self._cost.observe(ask.future.num_rows, seconds)
        engine = self._engine if fallbacks.count == fallen_back else RUNNER
        return self._predicted(answer, engine, began - ask.since, seconds)

    def _compute(self, asks: Sequence[Ask]) -> tuple[list[Outcome], float]:
        """The outcome of each ask, and how long the call took. Asks that cannot be answered together are answered one by one."""
        began, first, fallen_back = time.perf_counter(), asks[0], fallbacks.count
        future = first.future if len(asks) == 1 else joined([ask.future for ask in asks])
        try:
            answer = self._called(first, future, self._parsed(first.horizon).copy())
        except (Exception, SystemExit) as error:
            if len(asks) > 1:
                alone = [self._compute([ask]) for ask in asks]
                return [outcome for outcomes, _ in alone for outcome in outcomes], sum(seconds for _, seconds in alone)
            return [_as_ours(error)], time.perf_counter() - began
        except OriginalNeeded as needed:
            return [needed] * len(asks), time.perf_counter() - began
        seconds = time.perf_counter() - began
        answers = split(answer, [ask.future.num_rows for ask in asks]) if len(asks) > 1 else (answer,)
        engine = self._engine if fallbacks.count == fallen_back else RUNNER
        return [
            self._predicted(answer, engine, began - ask.since, seconds) for ask, answer in zip(asks, answers, strict=True)
        ], seconds

    def _called(self, ask: Ask, future: Any, config: Any) -> Columns | pa.Table:
        context = RunContext(run_info=ask.run_info) if self.call.wants_context else None
        result = self.call.run(config, self._model, ask.historic, future, ask.geo, context)
        return answer_of(self._runner, result, future.num_rows)

    async def _await_runner(self, ask: Ask) -> Predicted:
        """For functions that want an event loop: as many at a time as there are callers."""
        if self._open > self._rules.max_waiting:
            raise Overloaded(f"{self._open} predictions are under way already", limit=self._rules.max_waiting)
        began, context, fallen_back = time.perf_counter(), RunContext(run_info=ask.run_info), fallbacks.count
        try:
            result = await self.call.arun(self._parsed(ask.horizon).copy(), self._model, ask.historic, ask.future, ask.geo, context)
            answer = answer_of(self._runner, result, ask.future.num_rows)
        except Exception as error:
            raise _as_ours(error) from error
        engine = self._engine if fallbacks.count == fallen_back else RUNNER
        return self._predicted(answer, engine, began - ask.since, time.perf_counter() - began)

    def _predicted(self, answer: Columns | pa.Table, engine: str, queue_seconds: float, compute_seconds: float) -> Predicted:
        return Predicted(
            answer=answer,
            model_id=self._model_id,
            engine=engine,
            queue_seconds=queue_seconds,
            compute_seconds=compute_seconds,
        )

    def _parsed(self, horizon: int) -> ParsedConfig:
        parsed = self._configs.get(horizon)
        if parsed is None:
            if len(self._configs) >= _MOST_CONFIGS:
                self._configs.clear()
            parsed = self._configs[horizon] = ParsedConfig(self._runner, {**self._config, "prediction_periods": horizon})
        return parsed


def _least(seconds: float) -> int:
    """How many must share a call that takes so long for it to be worth it: the call saved, or at least the caches that stay warm while
    one answer after the other is written."""
    return 2 if seconds >= TRIVIAL else 4


def _rows(asks: Sequence[Ask]) -> int:
    return sum(ask.future.num_rows for ask in asks)


def _tell(asks: Sequence[Ask], outcomes: Sequence[Outcome]) -> None:
    for ask, outcome in zip(asks, outcomes, strict=True):
        assert ask.outcome is not None
        if ask.outcome.done():  # the caller has left
            continue
        if isinstance(outcome, Predicted):
            ask.outcome.set_result(outcome)
        else:
            ask.outcome.set_exception(outcome)


def _as_ours(error: BaseException) -> ModelwireError:
    """What a runner raised, as callers are told of it."""
    if isinstance(error, ModelwireError):
        return error
    if isinstance(error, PredictionError):
        ours: ModelwireError = InvalidPrediction(str(error), rule=error.rule)
    elif isinstance(error, MemoryError):
        ours = MemoryLimit("the prediction ran out of memory", limit="process")
    else:
        kind = type(error).__name__
        ours = RunnerFailed(f"the runner raised {kind}: {error}", type=kind, message=error)
    ours.__cause__ = error
    return ours
