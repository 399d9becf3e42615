"""The HTTP port of a server."""

import asyncio
import socket

import uvicorn

from .ports import http_listener
from .settings import Settings


class HttpServer:
    """The HTTP port: uvicorn inside our own event loop, with our own signal handling."""

    def __init__(self, app: object, settings: Settings, listener: socket.socket | None = None) -> None:
        """Opens the HTTP port of the settings; `listener` is a socket that listens already, if it is given. Raises StartError."""
        self._socket = listener or http_listener(settings.host, settings.http_port)
        # Its connections inherit this; asyncio does it only for sockets that were made by themselves. Without it each answer on a
        # connection that is used again waits 40 ms for the client to acknowledge the headers.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            lifespan="off",
            access_log=False,
            # Calls have been given their time before; what is left are streams that would never end.
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(self._config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        # serve() would install signal handlers of its own; _serve() is the same without.
        self._task = asyncio.create_task(self._server._serve([self._socket]), name="http")

    def leave(self) -> None:
        """Takes no more connections, and has clients close those that there are with the next answer."""
        loop = asyncio.get_running_loop()
        for server in self._server.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
            # What was accepted in this turn of the loop reaches the server in the next. A closed one drops it, without a word.
            loop.call_soon(server.close)
        # uvicorn makes the one list of the other, once a second.
        for headers in (self._config.encoded_headers, self._server.server_state.default_headers):
            headers.append((b"connection", b"close"))

    @property
    def has_connections(self) -> bool:
        return bool(self._server.server_state.connections)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
