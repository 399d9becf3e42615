"""The health of the server, of its services, runners and predictors, in the words of grpc.health.v1."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as library

from ..interceptors.around import Context
from .readiness import ModelHealth

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
LONGEST_NAME = 200
MOST_WATCHERS = 1000
# Seconds that the first answer to who watches a model waits for whether it works.
PATIENCE = 1.0

# Finds out whether something works.
Probe = Callable[[], Awaitable[bool]]


class Health(library.HealthServicer):  # type: ignore[misc]
    """Nothing is serving until serving() is called, nor after draining(). The name of the whole server is empty.

    What has a probe is probed when somebody asks, and every `probe_seconds` while somebody watches it; so are `models`, which come and
    go."""

    def __init__(
        self,
        names: Iterable[str],
        probes: Mapping[str, Probe] | None = None,
        *,
        models: ModelHealth | None = None,
        probe_seconds: float = 10.0,
    ) -> None:
        super().__init__()
        self._probes, self._models, self._probe_seconds = probes or {}, models, probe_seconds
        self._server_status: dict[str, Any] = dict.fromkeys(("", *names, *self._probes), NOT_SERVING)
        self._watchers = 0

    @property
    def names(self) -> list[str]:
        return list(self._server_status)

    def is_serving(self) -> bool:
        return bool(self._server_status[""] == SERVING)

    async def serving(self) -> None:
        for name in self.names:
            await self.set(name, SERVING)

    async def draining(self) -> None:
        """Tells balancers and watchers to go elsewhere, for good."""
        for name in self._server_watchers:
            if self._is_model(name):
                self._server_status.setdefault(name, NOT_SERVING)
        await self.enter_graceful_shutdown()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        await self._probe(request.service)
        status = self._server_status.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:LONGEST_NAME]!r} here")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: health_pb2.HealthListRequest, context: Context) -> health_pb2.HealthListResponse:
        models = await self._models.all() if self._models is not None and self.is_serving() else {}
        for name, works in models.items():
            await self._learn(name, works)
        others = [name for name in self._server_status if self._is_model(name) and name not in models]
        await asyncio.gather(*map(self._probe, (*self._probes, *others)))
        known = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=known)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Unknown names may be watched, as the protocol says, but neither long ones nor many at once."""
        if len(request.service) > LONGEST_NAME:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a name has at most {LONGEST_NAME} characters")
        if self._watchers >= MOST_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHERS} calls are watching already")
        self._watchers += 1
        probing = asyncio.create_task(self._keep_probing(request.service))
        try:
            if self._is_model(request.service):
                # What comes and goes would be unknown at first.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await self._probe(request.service)
            await super().Watch(request, context)
        finally:
            probing.cancel()
            self._watchers -= 1

    async def _probe(self, name: str) -> None:
        """Finds out how it is, if it can be found out and the server is there for callers."""
        if not self.is_serving():
            return
        works: bool | None = None
        if name in self._probes:
            works = await self._probes[name]()
        elif self._models is not None and self._is_model(name):
            works = await self._models.works(name)
        else:
            return
        await self._learn(name, works)

    async def _learn(self, name: str, works: bool | None) -> None:
        status = UNKNOWN if works is None else SERVING if works else NOT_SERVING
        if status != self._server_status.get(name, UNKNOWN):
            await self.set(name, status)
        # The drain may have begun meanwhile, and whoever watches is to learn of it.
        if status == UNKNOWN and not self._gracefully_shutting_down:
            self._server_status.pop(name, None)

    def _is_model(self, name: str) -> bool:
        return self._models is not None and self._models.covers(name)

    async def _keep_probing(self, name: str) -> None:
        while name in self._probes:
            await self._probe(name)
            await asyncio.sleep(self._probe_seconds)
        while self._models is not None and self._is_model(name):
            await self._probe(name)
            await self._models.news(self._probe_seconds)
