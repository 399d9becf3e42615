"""The ports of a server."""

import asyncio
import socket

import grpc
import uvicorn

from .errors import StartError
from .settings import Settings


def bind(server: grpc.aio.Server, settings: Settings) -> int:
    """Opens the gRPC port and returns its number. Raises StartError."""
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise StartError(f"cannot listen on {address}: is the port in use? --grpc-port chooses another") from None


def http_listener(host: str, port: int) -> socket.socket:
    """A socket that listens for HTTP. Raises StartError."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}; --http-port chooses another port") from None


class HttpServer:
    """The HTTP port: uvicorn inside our own event loop, with our own signal handling."""

    def __init__(self, app: object, settings: Settings, listener: socket.socket | None = None) -> None:
        """Opens the HTTP port of the settings; `listener` is a socket that listens already, if it is given. Raises StartError."""
        self._socket = listener or http_listener(settings.host, settings.http_port)
        # Its connections inherit this; asyncio does it only for sockets that were made by themselves. Without it each answer on a
        # connection that is used again waits 40 ms for the client to acknowledge the headers.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            lifespan="off",
            access_log=False,
            # Calls have been given their time before; what is left are streams that would never end.
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        # serve() would install signal handlers of its own; _serve() is the same without.
        self._task = asyncio.create_task(self._server._serve([self._socket]), name="http")

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
