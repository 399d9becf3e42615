"""The ports of a server."""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import uvicorn

from .ports import http_listener, no_grpc_port
from .settings import Settings


def bind(server: grpc.aio.Server, settings: Settings) -> int:
    """Opens the gRPC port and returns its number. Raises StartError."""
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    except RuntimeError:
        raise no_grpc_port(settings.host, settings.grpc_port) from None
    if settings.reuse_port:
        _fill_below(max(_sockets_at(port)))
    return port


def _fill_below(fd: int) -> None:
    """Leaves no free descriptor below this one. A process that is killed closes them in their order: were a connection before the port,
    who has lost it could connect again with the port that goes next, and lose that too."""
    while (filler := os.open(os.devnull, os.O_RDONLY)) < fd:
        pass
    os.close(filler)


def stop_listening(port: int) -> None:
    """Has this process take no more connections on a port of gRPC's. A server of gRPC can only be stopped as a whole, which fails the
    calls that arrive in that moment; so the connections have to be gone before."""
    for fd in _sockets_at(port):
        with _borrowed(fd) as link:
            if link.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                link.shutdown(socket.SHUT_RDWR)


def has_connections(port: int) -> bool:
    """Whether anybody is connected with this process on a port."""
    return any(_is_connected(fd) for fd in _sockets_at(port))


def _sockets_at(port: int) -> Iterator[int]:
    """Descriptors of this process that are sockets of the port."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with _borrowed(fd) as link:
                    if link.family in (socket.AF_INET, socket.AF_INET6) and link.getsockname()[1] == port:
                        yield fd
        except OSError:
            # Closed meanwhile.
            continue


def _is_connected(fd: int) -> bool:
    try:
        with _borrowed(fd) as link:
            link.getpeername()
    except OSError:
        return False
    return True


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """Somebody else's descriptor as a socket."""
    link = socket.socket(fileno=fd)
    try:
        yield link
    finally:
        link.detach()


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
        for server in self._server.servers:
            server.close()
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
