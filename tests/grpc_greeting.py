"""Whether a gRPC server is there, asked without a channel of gRPC: that would wait longer and longer between its attempts, and the thread
by which it tells of them does not always survive that the channel is closed."""

import contextlib
import socket
import time

# How HTTP/2 begins: the preface, and SETTINGS without any.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def answers(port: int, *, seconds: float) -> bool:
    """Whether a server on this port of this machine greets back within so many seconds."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=left) as connection:
            connection.sendall(_GREETING)
            if connection.recv(1):
                return True
        time.sleep(0.02)
    return False
