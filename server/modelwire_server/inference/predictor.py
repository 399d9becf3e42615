"""Runs the predict function of loaded models inside the serving process."""

import sys
import time
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import structlog

from modelwire_runners.frames import Frame

from ..compiled.originals import OriginalNeeded
from ..cores import roam, stand_back
from ..deadline import remaining
from ..errors import Overloaded
from .asks import Ask, Predicted
from .core_share import CoreShare
from .lanes import Lane, LaneRules
from .models import RUNNER, LoadedModel
from .orders import WhenSent
from .scripts import ScriptPredictor

log = structlog.get_logger(__name__)

__all__ = ["LaneRules", "Predicted", "Predictor"]

# Threads are started when they are needed; each model has a limit of its own, so this is for very many busy models.
_MODELS_WITH_ALL_THREADS = 16
# So long may one thread's Python go on while the event loop waits for its turn. With Python's own 5 ms, which each step of a call waits
# for, functions that only compute in Python made others wait ten times as long.
_TURN_SECONDS = 0.0005


class Predictor:
    """Hands predictions to the lane of their model; scripts, which are processes, have none."""

    def __init__(self, *, scripts: ScriptPredictor, rules: LaneRules) -> None:
        sys.setswitchinterval(_TURN_SECONDS)
        threads = _MODELS_WITH_ALL_THREADS * rules.threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict", initializer=stand_back if rules.yields else roam)
        self._share = CoreShare(rules.cores)
        self._rules = rules
        self._scripts = scripts
        self._in_scripts = 0

    def lane(self, model: LoadedModel, engine: str = "") -> Lane:
        """Where this engine of the model computes. Raises InvalidField if the model has not got it."""
        chosen = model.chosen(engine)
        lane: Lane | None = model.lanes.get(chosen)
        if lane is None:
            lane = model.lanes[chosen] = Lane(
                model_id=model.artifact_id,
                engine=chosen,
                model=model.of(chosen),
                runner=model.runner,
                config=model.config,
                pool=self._pool,
                share=self._share,
                rules=self._rules,
            )
        return lane

    async def predict(
        self,
        model: LoadedModel,
        *,
        engine: str,
        horizon: int,
        historic: Frame,
        future: Frame,
        geo: dict[str, Any] | None,
        run_info: dict[str, Any],
        group: Hashable | None,
        when_sent: WhenSent | None,
        is_piece: bool = False,
    ) -> Predicted:
        """The runner's predictions, checked. Predictions of one `group`, if it is not None, may share a call. `when_sent` is told what to
        call once the answer has left; `is_piece` as in PredictOrder. Raises RunnerFailed, InvalidPrediction, MemoryLimit, Overloaded,
        DeadlineExceeded, and where the original of a compiled model is needed, ModelNotLoadable, ContentCorrupted, StorageUnavailable."""
        if model.is_workspace:
            config = {**model.config, "prediction_periods": horizon}
            return await self._by_script(model, config, historic.table(), future.table(), geo, run_info)
        if not model.original.is_read and model.chosen(engine) == RUNNER:
            await model.original.read()
        lane, left = self.lane(model, engine), remaining()
        ask = Ask(
            future=future,
            historic=historic,
            horizon=horizon,
            geo=geo,
            run_info=run_info,
            group=group,
            deadline=None if left is None else time.monotonic() + left,
            is_piece=is_piece,
        )
        leave = lane.enter()
        if when_sent is not None:
            when_sent(leave)
        try:
            return await lane.predict(ask)
        except OriginalNeeded:
            if not model.original.is_there_soon:
                log.info("a prediction needs a model as it was trained, which is read now", model=model.artifact_id)
            await model.original.read()
            return await lane.predict(ask)
        finally:
            if when_sent is None:
                leave()

    async def _by_script(
        self,
        model: LoadedModel,
        config: dict[str, Any],
        historic: pa.Table,
        future: pa.Table,
        geo: dict[str, Any] | None,
        run_info: dict[str, Any],
    ) -> Predicted:
        if self._in_scripts >= self._rules.max_waiting:
            raise Overloaded(f"{self._in_scripts} predictions are waiting already", limit=self._rules.max_waiting)
        self._in_scripts += 1
        began = time.perf_counter()
        try:
            table = await self._scripts.predict(
                model.original.get(),
                runner_id=model.runner.info.id,
                config=config,
                historic=historic,
                future=future,
                geo=geo,
                run_info=run_info,
            )
        finally:
            self._in_scripts -= 1
        seconds = time.perf_counter() - began
        return Predicted(
            answer=table, model_id=model.artifact_id, engine=model.chosen(), queue_seconds=0.0, compute_seconds=seconds
        )

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
