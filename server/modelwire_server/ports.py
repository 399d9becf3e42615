"""The ports of a server, for one process or for several that share them."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import StartError

# Connections that wait to be accepted.
_QUEUE = 2048


def no_grpc_port(host: str, port: int) -> StartError:
    return StartError(f"cannot listen on {host}:{port}: is the port in use? --grpc-port chooses another")


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
