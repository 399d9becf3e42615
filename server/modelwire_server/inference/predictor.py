"""Runs the predict function of loaded models inside the serving process."""

import asyncio
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from modelwire_runners import RunContext
from modelwire_runners.frames import TableFrame
from modelwire_runners.invoke import PredictCall, PredictionError, checked, parse, run_predict

from ..errors import InvalidPrediction, MemoryLimit, ModelwireError, Overloaded, RunnerFailed
from .models import LoadedModel
from .scripts import ScriptPredictor, StoredWorkspace

# The engine that every model has: the runner's own functions with the model as it was trained.
RUNNER_ENGINE = "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions, which model and engine computed them, and how long they waited and were computed."""

    table: pa.Table
    model_id: str
    engine: str
    queue_seconds: float
    compute_seconds: float


class Predictor:
    """Predicts in a small pool of threads, on the event loop when the runner's function is async, or in a process when it is a script.

    Takes no more than `max_waiting` predictions at once; the rest is refused, since a queue that only grows helps nobody.
    """

    def __init__(self, *, threads: int, max_waiting: int, scripts: ScriptPredictor) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._max_waiting = max_waiting
        self._scripts = scripts
        self.waiting = 0

    async def predict(
        self,
        model: LoadedModel,
        *,
        config: dict[str, Any],
        historic: pa.Table,
        future: pa.Table,
        geo: dict[str, Any] | None,
        run_info: dict[str, Any],
    ) -> Predicted:
        """The runner's predictions, checked. Raises RunnerFailed, InvalidPrediction, MemoryLimit, Overloaded."""
        began = time.perf_counter()
        table = await self._compute(model, config=config, historic=historic, future=future, geo=geo, run_info=run_info)
        return Predicted(
            table=table,
            model_id=model.artifact_id,
            engine=RUNNER_ENGINE,
            queue_seconds=0.0,
            compute_seconds=time.perf_counter() - began,
        )

    async def _compute(
        self,
        model: LoadedModel,
        *,
        config: dict[str, Any],
        historic: pa.Table,
        future: pa.Table,
        geo: dict[str, Any] | None,
        run_info: dict[str, Any],
    ) -> pa.Table:
        if self.waiting >= self._max_waiting:
            raise Overloaded(f"{self.waiting} predictions are waiting already", limit=self._max_waiting)
        self.waiting += 1
        try:
            arguments = (model.runner, config, model.model, historic, future, geo, RunContext(run_info=run_info))
            if isinstance(model.model, StoredWorkspace):
                return await self._scripts.predict(
                    model.model,
                    runner_id=model.runner.info.id,
                    config=config,
                    historic=historic,
                    future=future,
                    geo=geo,
                    run_info=run_info,
                )
            if inspect.iscoroutinefunction(model.runner.on_predict):
                frames = TableFrame(historic), TableFrame(future)
                call = PredictCall(model.runner)
                result = await call.arun(parse(model.runner, config), model.model, *frames, geo, RunContext(run_info=run_info))
                return checked(model.runner, result, future.num_rows)
            return await asyncio.get_running_loop().run_in_executor(self._threads, run_predict, *arguments)
        except ModelwireError:
            raise
        except PredictionError as error:
            raise InvalidPrediction(str(error), rule=error.rule) from error
        except MemoryError as error:
            raise MemoryLimit("the prediction ran out of memory", limit="process") from error
        except Exception as error:
            kind = type(error).__name__
            raise RunnerFailed(f"the runner raised {kind}: {error}", type=kind, message=error) from error
        finally:
            self.waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
