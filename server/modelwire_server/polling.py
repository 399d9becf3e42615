"""Which of its ways of waiting for the network gRPC's core uses."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

VARIABLE = "GRPC_EXPERIMENTS"
# Its "event engine" reads in one pool of threads and hands what has come to the thread that waits for completions. Without it that
# thread reads by itself, and none has to be woken in between: a lone prediction takes four fifths of the time.
CHOICE = "-event_engine_listener"


def chosen_variables() -> Mapping[str, str]:
    """What the environment of a process that is to serve needs. What the variable says already holds."""
    return {} if VARIABLE in os.environ else {VARIABLE: CHOICE}


@contextmanager
def chosen_polling() -> Iterator[None]:
    """gRPC reads the variable when it is imported, so that is to be done in here. Programs that are started later do not inherit it."""
    chosen = chosen_variables()
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name in chosen:
            del os.environ[name]
