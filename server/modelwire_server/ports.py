"""The ports of a server, for one process or for several that share them."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import StartError

# Connections that wait to be accepted.
_QUEUE = 2048


def no_grpc_port(host: str, port: int) -> StartError:
    return StartError(f"cannot listen on {host}:{port}: is the port in use? --grpc-port chooses another")


def grpc_listeners(host: str, port: int, *, share: bool) -> list[socket.socket]:
    """Sockets that listen for gRPC: one for each address of the host, all with the same port, that of the first if it is 0. `share` is
    whether other sockets may have it, too. Raises StartError."""
    listeners: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            listener = socket.socket(family)
            listeners.append(listener)
            _prepare(listener, share)
            listener.bind((address[0], listeners[0].getsockname()[1] if len(listeners) > 1 else port, *address[2:]))
            listener.listen(_QUEUE)
        if share:
            _fill_below(max(listener.fileno() for listener in listeners))
    except OSError:
        for listener in listeners:
            listener.close()
        raise no_grpc_port(host, port) from None
    return listeners


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _prepare(listener: socket.socket, share: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Its connections inherit it. Without it what is sent in two pieces waits 40 ms for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _fill_below(fd: int) -> None:
    """Leaves no free descriptor below this one. A process that is killed closes them in their order: were a connection before the port,
    who has lost it could connect again with the port that goes next, and lose that too."""
    while (filler := os.open(os.devnull, os.O_RDONLY)) < fd:
        pass
    os.close(filler)


def no_http_port(host: str, port: int, why: str | None = None) -> StartError:
    return StartError(f"cannot listen on {host}:{port}: {why or 'is the port in use?'}; --http-port chooses another port")


def http_listener(host: str, port: int) -> socket.socket:
    """A socket that listens for HTTP. Raises StartError."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise no_http_port(host, port, error.strerror) from None


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports that are held for several processes, bound without listening: the kernel shares connections out among the sockets that listen
    besides. Those for gRPC each process opens itself; those for HTTP are made here."""

    grpc: socket.socket
    http: socket.socket

    @property
    def numbers(self) -> dict[str, int]:
        """The settings that say the same."""
        return {"grpc_port": self.grpc.getsockname()[1], "http_port": self.http.getsockname()[1]}

    def http_listener(self) -> socket.socket:
        """A socket that listens for HTTP, as others may."""
        listener = _shared(self.http.family, self.http.getsockname())
        listener.listen(_QUEUE)
        return listener


@contextlib.contextmanager
def open_ports(host: str, grpc_port: int, http_port: int, *, share: bool) -> Iterator[Ports]:
    """Opens both; 0 means a free one. `share` is whether servers besides this one may have the gRPC port, too. Raises StartError."""
    with _reserve(host, grpc_port, share, no_grpc_port) as grpc, _reserve(host, http_port, False, no_http_port) as http:
        yield Ports(grpc, http)


def _reserve(host: str, port: int, share: bool, error: Callable[[str, int], StartError]) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if port and not share:
            # A server that lets processes share its port would let this one in as well.
            socket.create_server(address[:2], family=family).close()
        return _shared(family, address)
    except OSError:
        raise error(host, port) from None


def _shared(family: int, address: Any) -> socket.socket:
    shared = socket.socket(family)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(address)
    return shared
