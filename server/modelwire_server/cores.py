"""How many cores there are to work on, and which threads keep to one of them."""

import math
import os
from contextlib import suppress
from pathlib import Path

# Microseconds of processor time in a period, and the period: how containers are limited (cgroup v2).
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Those that this process was given, before any of its threads was kept to one.
_GIVEN = frozenset(os.sched_getaffinity(0))


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has where it is pinned to some, as by cpusets and taskset, and in
    containers that are given only so much of their time."""
    granted = granted_cores(_QUOTA)
    return len(_GIVEN) if granted is None else min(len(_GIVEN), granted)


def granted_cores(file: Path) -> int | None:
    """How many cores a file like cpu.max grants, rounded up; None if it says nothing of the kind."""
    try:
        quota, period = file.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def own_core(number: int, processes: int) -> int | None:
    """The core of one of so many processes, which count from 1, if there is one for each. Where only some of the time of many cores is
    granted, others may be busy on any of them."""
    if processes != len(_GIVEN) or processes != available_cores():
        return None
    return sorted(_GIVEN)[number - 1]


def keep_to(core: int) -> None:
    """Has this thread, and those that it starts from now on, run on this core only. Threads that wake each other all the time, as those
    of an event loop and of gRPC do, then need not wait for another core to wake up, and find their data in its caches."""
    with suppress(OSError):  # not everywhere may a process choose
        os.sched_setaffinity(0, {core})


def roam() -> None:
    """Has this thread run on any core: for what computes for long, whatever the thread that started it keeps to."""
    with suppress(OSError):
        os.sched_setaffinity(0, _GIVEN)


def stand_back() -> None:
    """Has this thread run on any core, and only where no other thread wants it. There is no way back."""
    roam()
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
