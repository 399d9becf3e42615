"""Threads in which models compute."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

# How much they stand back, as with `nice`: a model that computes for long beside a fast one takes what cores the others leave.
_NICE = 10


def threads_for_models(count: int, name: str) -> ThreadPoolExecutor:
    """So many at most; the event loop and gRPC's threads get a core before them, so that a call is taken up at once whoever computes."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_stand_back)


def _stand_back() -> None:
    # On Linux a thread has a priority of its own, and threads that libraries start here inherit it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
