"""The ports of a server, for one process or for several that share them."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import StartError


def no_grpc_port(host: str, port: int) -> StartError:
    return StartError(f"cannot listen on {host}:{port}: is the port in use? --grpc-port chooses another")


def http_listener(host: str, port: int) -> socket.socket:
    """A socket that listens for HTTP. Raises StartError."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}; --http-port chooses another port") from None


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports that are held for several processes.

    `grpc` is bound and does not listen: each process listens for itself, and the kernel shares connections out among them. `http` listens,
    and all processes accept from it, so that a connection is lost with none of them. (gRPC opens its ports itself, so not there.)
    """

    grpc: socket.socket
    http: socket.socket

    @property
    def numbers(self) -> dict[str, int]:
        """The settings that say the same."""
        return {"grpc_port": self.grpc.getsockname()[1], "http_port": self.http.getsockname()[1]}


@contextlib.contextmanager
def open_ports(host: str, grpc_port: int, http_port: int, *, share: bool) -> Iterator[Ports]:
    """Opens both; 0 means a free one. `share` is whether servers besides this one may have the gRPC port, too. Raises StartError."""
    with _reserve(host, grpc_port, share=share) as grpc, http_listener(host, http_port) as http:
        yield Ports(grpc, http)


def _reserve(host: str, port: int, *, share: bool) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if port and not share:
            # A server that lets processes share its port would let this one in as well.
            socket.create_server(address[:2], family=family).close()
        reserved = socket.socket(family)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError:
        raise no_grpc_port(host, port) from None
    return reserved
