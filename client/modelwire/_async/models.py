"""Models: predicting with what was trained."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from modelwire._async import work
from modelwire._async.artifacts import AsyncArtifact, AsyncArtifacts
from modelwire.errors import FailedPrecondition
from modelwire.records import MODEL_TYPE, artifact_fields
from modelwire.v1 import artifact_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelwire._async.connection import AsyncConnection
    from modelwire._async.jobs import AsyncJob
    from modelwire.frames import FrameLike
    from modelwire.payload import GeoLike, RunInfoLike


@dataclass(frozen=True, kw_only=True)
class AsyncModel(AsyncArtifact):
    """A trained model."""

    @overload
    async def predict(
        self,
        future: pd.DataFrame,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pd.DataFrame: ...
    @overload
    async def predict(
        self,
        future: pl.DataFrame,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pl.DataFrame: ...
    @overload
    async def predict(
        self,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pa.Table: ...
    async def predict(
        self,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Predicts at once and answers with a frame of the same library as `future`; see Client.predict."""
        return await work.predict(self._connection, self, future, historic, geo=geo, run_info=run_info, timeout=timeout)

    async def predict_many(
        self,
        futures: AsyncIterable[FrameLike] | Iterable[FrameLike],
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        errors: Literal["raise", "return"] = "raise",
        out_of_order: bool = False,
        in_flight: int | None = None,
    ) -> AsyncIterator[Any]:
        """Predicts for many frames over one stream; see Client.predict_many."""
        predictions = work.predict_many(
            self._connection,
            self,
            futures,
            historic,
            geo=geo,
            run_info=run_info,
            errors=errors,
            out_of_order=out_of_order,
            in_flight=in_flight,
        )
        async with aclosing(predictions):
            async for prediction in predictions:
                yield prediction

    async def submit_prediction(
        self,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
        tags: Sequence[str] = (),
        prediction_id: str = "",
        priority: int = 0,
    ) -> AsyncJob[AsyncArtifact]:
        """Submits a prediction as a job whose result is kept; see Client.submit_prediction."""
        return await work.submit_prediction(
            self._connection,
            self,
            future,
            historic,
            geo=geo,
            run_info=run_info,
            timeout=timeout,
            tags=tags,
            prediction_id=prediction_id,
            priority=priority,
        )


class AsyncModels:
    """`client.models`: the trained models of the server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, model_id: str) -> AsyncModel:
        """One model. Raises NotFound, and FailedPrecondition if the artifact is no model."""
        request = artifact_service_pb2.GetArtifactRequest(artifact_id=model_id)
        artifact = (await self._connection.call(self._connection.stubs.artifacts.GetArtifact, request)).artifact
        if artifact.data.type != MODEL_TYPE:
            text = f"artifact {model_id} is no trained model but {artifact.data.type}"
            raise FailedPrecondition(text, reason="NOT_A_MODEL", metadata={"artifact": model_id, "type": artifact.data.type})
        return AsyncModel(**artifact_fields(artifact), _connection=self._connection)

    async def list(self, *, tags: Sequence[str] = (), limit: int | None = None) -> AsyncIterator[AsyncModel]:
        """Yields the models that fit, oldest first, at most `limit`."""
        request = artifact_service_pb2.ListArtifactsRequest(type=MODEL_TYPE, tags=tags)
        stub = self._connection.stubs.artifacts
        async for artifact in self._connection.pages(stub.ListArtifacts, request, "artifacts", limit):
            yield AsyncModel(**artifact_fields(artifact), _connection=self._connection)

    async def delete(self, model_id: str) -> None:
        """Deletes one model; its predictions stay. Raises NotFound."""
        await AsyncArtifacts(self._connection).delete(model_id)
