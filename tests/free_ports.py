"""Ports for servers that tests start."""

import os
import random
import socket

# Below those that the system gives to whoever connects, so that nobody gets the port between the look and the start.
_PORTS = range(20_000, 32_000)


def _own_ports() -> list[int]:
    """Those of this process, of all in which the tests of a run are made, in any order."""
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(_PORTS[place :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))])
    random.SystemRandom().shuffle(ports)  # hypothesis begins the usual one anew, the same for all
    return ports


_left = _own_ports()


def free_port() -> int:
    """One on which nobody listens, and that no other test gets: its server may be seconds in starting, or be started again."""
    while True:
        port = _left.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
