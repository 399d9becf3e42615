"""How many cores there are to work on."""

import os


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has where it is pinned to some, as by cpusets and taskset."""
    return len(os.sched_getaffinity(0))
