# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""Models: predicting with what was trained."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from modelwire._sync import work
from modelwire._sync.artifacts import Artifact, Artifacts
from modelwire.errors import FailedPrecondition
from modelwire.records import MODEL_TYPE, artifact_fields
from modelwire.v1 import artifact_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelwire._sync.connection import Connection
    from modelwire._sync.jobs import Job
    from modelwire.frames import FrameLike
    from modelwire.payload import GeoLike, RunInfoLike


@dataclass(frozen=True, kw_only=True)
class Model(Artifact):
    """A trained model."""

    @overload
    def predict(
        self,
        future: pd.DataFrame,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self,
        future: pl.DataFrame,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pl.DataFrame: ...
    @overload
    def predict(
        self,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pa.Table: ...
    def predict(
        self,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Predicts at once and answers with a frame of the same library as `future`; see Client.predict."""
        return work.predict(self._connection, self, future, historic, geo=geo, run_info=run_info, timeout=timeout)

    def predict_many(
        self,
        futures: Iterable[FrameLike],
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        errors: Literal["raise", "return"] = "raise",
        out_of_order: bool = False,
        in_flight: int | None = None,
    ) -> Iterator[Any]:
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
        with closing(predictions):
            yield from predictions

    def submit_prediction(
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
    ) -> Job[Artifact]:
        """Submits a prediction as a job whose result is kept; see Client.submit_prediction."""
        return work.submit_prediction(
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


class Models:
    """`client.models`: the trained models of the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Model:
        """One model. Raises NotFound, and FailedPrecondition if the artifact is no model."""
        request = artifact_service_pb2.GetArtifactRequest(artifact_id=model_id)
        artifact = (self._connection.call(self._connection.stubs.artifacts.GetArtifact, request)).artifact
        if artifact.data.type != MODEL_TYPE:
            text = f"artifact {model_id} is no trained model but {artifact.data.type}"
            raise FailedPrecondition(text, reason="NOT_A_MODEL", metadata={"artifact": model_id, "type": artifact.data.type})
        return Model(**artifact_fields(artifact), _connection=self._connection)

    def list(self, *, tags: Sequence[str] = (), limit: int | None = None) -> Iterator[Model]:
        """Yields the models that fit, oldest first, at most `limit`."""
        request = artifact_service_pb2.ListArtifactsRequest(type=MODEL_TYPE, tags=tags)
        stub = self._connection.stubs.artifacts
        for artifact in self._connection.pages(stub.ListArtifacts, request, "artifacts", limit):
            yield Model(**artifact_fields(artifact), _connection=self._connection)

    def delete(self, model_id: str) -> None:
        """Deletes one model; its predictions stay. Raises NotFound."""
        Artifacts(self._connection).delete(model_id)
