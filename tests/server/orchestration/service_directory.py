"""A real orchestrator on loopback, and a service for it to know."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TTL = 30


@asynccontextmanager
async def listening(app: Starlette) -> AsyncIterator[str]:
    """Serves an app on loopback; the URL."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        task = asyncio.create_task(server._serve([port]))
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@dataclass(kw_only=True)
class Watched:
    """Something that happens elsewhere, and can be waited for."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(true)


@dataclass
class ServiceDirectory(Watched):
    """Knows services until it is told to forget, or they leave. `heard` is all that came, in order; `refuse` is a status to answer with."""

    key: str = ""
    ttl: float = TTL
    services: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    documents: list[Any] = field(default_factory=list)
    refuse: int = 0

    def count(self, method: str) -> int:
        return sum(one == method for one, _ in self.heard)

    @property
    def app(self) -> Starlette:
        place = "/v2/services"
        return Starlette(
            routes=[
                Route(f"{place}/$register", self._hear(self._register), methods=["POST"]),
                Route(place + "/{id}/$ping", self._hear(self._ping), methods=["PUT"]),
                Route(place + "/{id}", self._hear(self._leave), methods=["DELETE"]),
            ]
        )

    def _hear(self, answer: Any) -> Any:
        async def heard(request: Request) -> Response:
            async with self.changed:
                self.heard.append((request.method, request.url.path))
                self.changed.notify_all()
                if self.refuse:
                    return JSONResponse({"detail": "told to refuse"}, status_code=self.refuse)
                if self.key and request.headers.get("x-service-key") != self.key:
                    return JSONResponse({"detail": "Invalid service key"}, status_code=401)
                return await answer(request)

        return heard

    async def _register(self, request: Request) -> Response:
        document = await request.json()
        self.documents.append(document)
        self.services[document["id"]] = document
        ping_url = str(request.base_url.replace(path=f"/v2/services/{document['id']}/$ping"))
        return JSONResponse(
            {
                "id": document["id"],
                "status": "registered",
                "service_url": document["url"],
                "message": "Service registered",
                "ttl_seconds": self.ttl,
                "ping_url": ping_url,
            }
        )

    async def _ping(self, request: Request) -> Response:
        assert await request.body() == b""
        known = request.path_params["id"] in self.services
        return JSONResponse({"detail": "pong" if known else "not found"}, status_code=200 if known else 404)

    async def _leave(self, request: Request) -> Response:
        known = self.services.pop(request.path_params["id"], None)
        return JSONResponse({}, status_code=200 if known else 404)


@dataclass
class SmallService(Watched):
    """A service whose info is known, once it is well. `looks` is how often somebody asked whether it is."""

    well: bool = True
    looks: int = 0
    info: dict[str, Any] = field(default_factory=lambda: {"id": "disease", "display_name": "Disease"})

    @property
    def app(self) -> Starlette:
        async def health(request: Request) -> Response:
            async with self.changed:
                self.looks += 1
                self.changed.notify_all()
            return JSONResponse({}, status_code=200 if self.well else 503)

        async def info(request: Request) -> Response:
            return JSONResponse(self.info)

        return Starlette(routes=[Route("/health", health), Route("/api/v1/info", info)])
