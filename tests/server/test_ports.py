"""The ports of a server with several processes."""

import socket

import pytest
from free_ports import free_port

from modelwire_server.errors import StartError
from modelwire_server.ports import open_ports


def listener(port: int) -> socket.socket:
    """As each process of a server has one."""
    shared = socket.socket()
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(("127.0.0.1", port))
    shared.listen()
    return shared


def test_free_ports_are_kept_for_all_processes() -> None:
    with open_ports("127.0.0.1", 0, 0, share=False) as ports:
        grpc, http = ports.numbers["grpc_port"], ports.numbers["http_port"]
        # Nobody listens yet: who connects is refused, not left waiting.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", grpc))
        with listener(grpc), listener(grpc), socket.create_connection(("127.0.0.1", grpc)):
            pass
        with ports.http_listener(), ports.http_listener(), socket.create_connection(("127.0.0.1", http)):
            pass


def test_a_port_of_another_server_is_refused_even_if_that_shares_it() -> None:
    port = free_port()
    with listener(port):
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: is the port in use"):
            open_ports("127.0.0.1", port, 0, share=False).__enter__()
        with open_ports("127.0.0.1", port, 0, share=True) as ports:
            assert ports.numbers["grpc_port"] == port


def test_every_address_can_be_listened_on() -> None:
    with (
        open_ports("0.0.0.0", 0, 0, share=False) as ports,  # noqa: S104
        listener(ports.numbers["grpc_port"]) as one,
        socket.create_connection(one.getsockname()),
    ):
        pass


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(StartError, match="cannot listen on nowhere"):
        open_ports("nowhere.invalid", 0, 0, share=False).__enter__()
