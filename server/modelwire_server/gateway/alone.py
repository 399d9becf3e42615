"""The gateway in a process of its own, in front of a server elsewhere."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelwire.transport import channel_options

from ..listening import HttpServer
from ..logs import configure_logs
from ..metrics import ServerMetrics
from ..settings import Settings
from .exchange import Options
from .http import http_app
from .methods import contract_methods
from .model_routes import model_routes
from .open_inference.routes import open_inference_routes
from .pages import pages
from .predictor_routes import predictor_routes
from .readiness import readiness_routes, readiness_summary
from .remote import RemoteCalls
from .system import Unwell
from .transcoding import Transcoder

log = structlog.get_logger(__name__)


def options_of(settings: Settings) -> Options:
    """What the settings say of the gateway."""
    return Options(
        extra_fields=settings.rest_extra_fields,
        info_profile=settings.rest_info_profile,
        max_body_bytes=settings.max_http_body_bytes,
        max_tensor_bytes=settings.max_predict_bytes,
        forwarded_headers=tuple(name.lower() for name in settings.forwarded_headers),
    )


@asynccontextmanager
async def forwarding(
    target: str, settings: Settings, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[HttpServer]:
    """Listens on the HTTP port and calls the server at `target`, which need not be there yet. Raises StartError."""
    channel = (
        grpc.aio.secure_channel(target, credentials, options=channel_options())
        if credentials
        else grpc.aio.insecure_channel(target, options=channel_options())
    )
    async with channel:
        calls = RemoteCalls(channel)
        options = options_of(settings)
        transcoder = Transcoder(calls, contract_methods(), options)
        checks = {"server": lambda: check_server(channel)}
        http = HttpServer(
            http_app(
                checks=checks,
                metrics=ServerMetrics(),
                transcoder=transcoder,
                pages=[
                    *pages(calls, extra_fields=settings.rest_extra_fields),
                    *open_inference_routes(calls, options),
                    *predictor_routes(calls, options),
                    *model_routes(calls, options),
                    *readiness_routes(calls, options),
                ],
                summary=partial(readiness_summary, calls),
            ),
            settings,
        )
        await http.start()
        try:
            yield http
        finally:
            await http.stop()


async def check_server(channel: grpc.aio.Channel) -> None:
    """Raises Unwell unless the server says that it is serving."""
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    except grpc.aio.AioRpcError as error:
        raise Unwell(error.code().name) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Unwell(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def forward_until_signal(
    target: str, settings: Settings, credentials: grpc.ChannelCredentials | None, announce: Callable[[int], None]
) -> None:
    """Runs until SIGTERM or SIGINT. `announce` is told the HTTP port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with forwarding(target, settings, credentials) as http:
        log.info("forwarding", target=target, host=settings.host, http_port=http.port)
        announce(http.port)
        await stop.wait()


def forward(target: str, settings: Settings, credentials: grpc.ChannelCredentials | None, announce: Callable[[int], None]) -> None:
    """Runs a gateway in this process until it is told to stop. Raises StartError."""
    configure_logs(settings.log_level, settings.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward_until_signal(target, settings, credentials, announce))
