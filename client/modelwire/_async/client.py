"""The client: everything that a server offers, as methods."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from modelwire._async import work
from modelwire._async.artifacts import AsyncArtifact, AsyncArtifacts, AsyncDatasets
from modelwire._async.configs import AsyncConfig, AsyncConfigs
from modelwire._async.connection import AsyncConnection
from modelwire._async.jobs import AsyncJob, AsyncJobs
from modelwire._async.models import AsyncModel, AsyncModels
from modelwire._async.predictors import AsyncPredictors
from modelwire._async.registry import AsyncRegistry
from modelwire._async.runners import AsyncRunners
from modelwire.transport import (
    DEFAULT_TIMEOUT,
    RECONNECT_FOR,
    STALL_TIMEOUT,
    Settings,
    call_metadata,
    find_credentials,
    find_target,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelwire.frames import FrameLike
    from modelwire.payload import GeoLike, RunInfoLike
    from modelwire.records import HealthStatus


class AsyncClient:
    """A client of a modelwire server. Use it as a context manager, or call `close`.

        async with AsyncClient("localhost:50051") as client:
            config = await client.configs.create("v1", {"features": ["rainfall"]})
            job = await client.train(config, data)
            model = await job.wait(progress=True)
            predictions = await model.predict(future)

    It connects when it is used first, and may be used by many tasks at once.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        stall_timeout: float | None = STALL_TIMEOUT,
        reconnect_for: float = RECONNECT_FOR,
        wait_for_ready: bool = False,
        tls: bool = False,
        root_certificates: bytes | str | PathLike[str] | None = None,
        private_key: bytes | str | PathLike[str] | None = None,
        certificate_chain: bytes | str | PathLike[str] | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        target: `host:port`, `dns:///host:port` or `unix:path`. Default: the variable MODELWIRE_TARGET, or localhost:50051.
        timeout: Seconds that a call with one request and one answer may take.
        stall_timeout: Seconds after which an upload, a download or a large prediction that makes no progress is given up.
        reconnect_for: Seconds without any sign of life after which watches and downloads are given up.
        wait_for_ready: Whether calls wait for a server that is not there yet, instead of failing.
        tls: Encrypts, and trusts the roots that the system trusts.
        root_certificates: PEM, or its path: encrypts, and trusts these roots.
        private_key: PEM, or its path: the client's own key, for servers that ask for one.
        certificate_chain: PEM, or its path: the client's own certificate.
        token: Sent with each call as `authorization: Bearer ...`. Use it with TLS.
        metadata: Sent with each call.
        """
        self._use(
            AsyncConnection(
                Settings(
                    target=find_target(target),
                    credentials=find_credentials(tls, root_certificates, private_key, certificate_chain),
                    metadata=call_metadata(metadata, token),
                    timeout=timeout,
                    stall_timeout=stall_timeout,
                    reconnect_for=reconnect_for,
                    wait_for_ready=wait_for_ready,
                )
            )
        )

    def _use(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.runners = AsyncRunners(connection)
        self.configs = AsyncConfigs(connection)
        self.jobs = AsyncJobs(connection)
        self.artifacts = AsyncArtifacts(connection)
        self.models = AsyncModels(connection)
        self.registry = AsyncRegistry(connection)
        self.predictors = AsyncPredictors(connection)
        self.datasets = AsyncDatasets(connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    @property
    def target(self) -> str:
        """Where the server is."""
        return self._connection.settings.target

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection, and all calls on it."""
        await self._connection.close()

    async def health(self, service: str = "") -> HealthStatus:
        """What the server says of itself, or of one of its services (`modelwire.v1.TrainService`). Raises NotFound, Unavailable."""
        return await self._connection.health(service)

    async def train(
        self,
        config: AsyncConfig | str,
        data: FrameLike,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
        tags: Sequence[str] = (),
        model_id: str = "",
        priority: int = 0,
    ) -> AsyncJob[AsyncModel]:
        """Submits a training and answers at once with its job; the job is durable by then.

        Args:
            config: The config to train with, or its id.
            data: A frame of any library and size: pandas, polars, pyarrow, anything with `__arrow_c_stream__`, a dict of columns,
                a list of records.
            geo: A GeoJSON FeatureCollection, or an object with `__geo_interface__`.
            run_info: Horizon and covariates of this run.
            timeout: Seconds of running time after which the server ends the job.
            tags: Tags of the model that will be made.
            model_id: A ULID for the model; without, the server chooses one.
            priority: Jobs with a higher one begin first, from -1000 to 1000.

        Raises NotFound for an unknown config, InvalidArgument for a frame that does not fit, ResourceExhausted.
        """
        return await work.train(
            self._connection,
            config,
            data,
            geo=geo,
            run_info=run_info,
            timeout=timeout,
            tags=tags,
            model_id=model_id,
            priority=priority,
        )

    @overload
    async def predict(
        self,
        model: AsyncModel | str,
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
        model: AsyncModel | str,
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
        model: AsyncModel | str,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> pa.Table: ...
    async def predict(
        self,
        model: AsyncModel | str,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Predicts at once; nothing is stored.

        Args:
            model: A model, its id, or a name: `weather`, `weather/3`, `weather@staging`.
            future: The rows to predict for, a frame as for `train`.
            historic: What is known of the past; without, an empty frame.
            geo: As for `train`.
            run_info: Horizon and covariates of this run.
            timeout: Seconds that the call may take. Default: the client's for small frames, unlimited for large ones.

        Returns a frame of the same library as `future`: pandas (with the index of `future` if the runner gave none), polars, or else
        a pyarrow.Table. Raises NotFound, FailedPrecondition, InvalidArgument, Internal (the runner failed), ResourceExhausted.
        """
        return await work.predict(self._connection, model, future, historic, geo=geo, run_info=run_info, timeout=timeout)

    async def predict_many(
        self,
        model: AsyncModel | str,
        futures: AsyncIterable[FrameLike] | Iterable[FrameLike],
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
        errors: Literal["raise", "return"] = "raise",
        out_of_order: bool = False,
        in_flight: int | None = None,
    ) -> AsyncIterator[Any]:
        """Predicts for many frames over one stream, which is several times faster than as many calls.

        Args:
            model: A model, its id, or a name, as for `predict`.
            futures: The frames, of any size. They are read ahead, in a thread of its own, as far as the server keeps up. May be
                asynchronous where the client is.
            historic: As for `predict`, the same for all frames.
            geo: As for `predict`.
            run_info: As for `predict`.
            errors: What becomes of a prediction that fails: its ModelwireError is raised, which ends the stream, or returned in its place.
            out_of_order: Whether predictions come as they are done, each in a pair with the number of its frame: `(2, prediction)` for
                the third.
            in_flight: So many frames are read before their predictions are taken. Default: what the server takes, some hundreds.

        Yields the predictions, in the order of `futures` unless `out_of_order`.
        """
        predictions = work.predict_many(
            self._connection,
            model,
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
        model: AsyncModel | str,
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
        """Submits a prediction as a job whose result is kept, as an artifact under the model. Arguments as for `predict` and `train`."""
        return await work.submit_prediction(
            self._connection,
            model,
            future,
            historic,
            geo=geo,
            run_info=run_info,
            timeout=timeout,
            tags=tags,
            prediction_id=prediction_id,
            priority=priority,
        )

    def with_options(
        self,
        *,
        timeout: float | None = None,
        wait_for_ready: bool | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncClient:
        """A client that shares this one's connection, with other options; closing either closes both. `metadata` is added."""
        settings = self._connection.settings
        changed = replace(
            settings,
            timeout=settings.timeout if timeout is None else timeout,
            wait_for_ready=settings.wait_for_ready if wait_for_ready is None else wait_for_ready,
            metadata=(*settings.metadata, *call_metadata(metadata, None)),
        )
        client = object.__new__(type(self))
        client._use(self._connection.sharing(changed))
        return client
