"""Ports for servers that tests start."""

import random
import socket

# Below those that the system gives to whoever connects, so that nobody gets the port between the look and the start.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """One on which nobody listens. Tests that run side by side hardly ever get the same: it is any of thousands."""
    while True:
        port = random.SystemRandom().choice(_PORTS)  # hypothesis begins the usual one anew, the same for all
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
