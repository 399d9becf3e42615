"""What callers reach: the gRPC server and the HTTP server, over the same services."""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from .gateway.alone import options_of
from .gateway.http import http_app
from .gateway.inside import InsideCalls, Registered
from .gateway.methods import contract_methods
from .gateway.model_routes import model_routes
from .gateway.open_inference.routes import open_inference_routes
from .gateway.pages import pages
from .gateway.predictor_routes import predictor_routes
from .gateway.readiness import readiness_routes, readiness_summary
from .gateway.system import Check
from .gateway.transcoding import Transcoder
from .http2.server import GrpcServer
from .interceptors.around import Surrounded
from .listening import HttpServer
from .metrics import MetricsText, ServerMetrics
from .ports import grpc_listeners
from .services.health import Health
from .services.registration import Domain, add_services, around_calls, server_rules
from .settings import Settings

# So often must nobody be connected any more, so many seconds apart.
_LOOKS, _LOOK_SECONDS = 3, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Both servers; the ports are open, so that what callers send is kept until start()."""

    server: GrpcServer
    http: HttpServer
    calls: InsideCalls
    health: Health
    grpc_port: int

    async def start(self) -> None:
        await self.server.start()
        await self.http.start()
        await self.health.serving()

    async def leave(self, seconds: float) -> None:
        """Takes no more connections, and waits until the clients of those that there are have connected with another process; but no
        longer than so many seconds."""
        self.server.leave()
        self.http.leave()
        quiet = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # A connection that came in the last moment may not have been seen.
                while quiet < _LOOKS:
                    await asyncio.sleep(_LOOK_SECONDS)
                    quiet = 0 if self.server.has_connections or self.http.has_connections else quiet + 1

    async def stop(self, seconds: float) -> None:
        """Takes no more calls, and gives those under way so much time to end."""
        await asyncio.gather(self.server.stop(seconds), self.calls.drain(seconds))
        await self.http.stop()


async def open_front(
    domain: Domain,
    settings: Settings,
    *,
    metrics: ServerMetrics,
    page: MetricsText | None = None,
    checks: Mapping[str, Check],
    http_socket: socket.socket | None = None,
) -> Front:
    """Opens the ports of the settings for the services of a domain; `http_socket` listens already, if it is given. Calls are counted in
    `metrics`; `page` is what is shown of them, if that is not all. Raises StartError."""
    around = around_calls(settings, metrics)
    surrounded = Surrounded(around)
    services = Registered(surrounded)
    health = await add_services(services, domain, settings=settings, metrics=metrics)
    calls = InsideCalls(services.handlers, around)
    listeners = grpc_listeners(settings.host, settings.grpc_port, share=settings.reuse_port)
    server = GrpcServer(surrounded.find, listeners, server_rules(settings))
    options = options_of(settings)
    app = http_app(
        checks=checks,
        metrics=page or metrics,
        transcoder=Transcoder(calls, contract_methods(), options),
        pages=[
            *pages(calls, extra_fields=settings.rest_extra_fields),
            *open_inference_routes(calls, options),
            *predictor_routes(calls, options),
            *model_routes(calls, options),
            *readiness_routes(calls, options),
        ],
        summary=partial(readiness_summary, calls),
    )
    return Front(server=server, http=HttpServer(app, settings, http_socket), calls=calls, health=health, grpc_port=server.port)
