"""Which of its ways of waiting for the network gRPC's core uses."""

import os

VARIABLE = "GRPC_EXPERIMENTS"
# Its "event engine" reads in one pool of threads and hands what has come to the thread that waits for completions. Without it that
# thread reads by itself, and none has to be woken in between: a lone prediction takes four fifths of the time.
CHOICE = "-event_engine_listener"


def choose_polling() -> None:
    """To be called before the first server or channel of the process. What the variable says already holds."""
    os.environ.setdefault(VARIABLE, CHOICE)
