"""How many cores there are to work on."""

import math
import os
from pathlib import Path

# Microseconds of processor time in a period, and the period: how containers are limited (cgroup v2).
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has where it is pinned to some, as by cpusets and taskset, and in
    containers that are given only so much of their time."""
    pinned = len(os.sched_getaffinity(0))
    granted = granted_cores(_QUOTA)
    return pinned if granted is None else min(pinned, granted)


def granted_cores(file: Path) -> int | None:
    """How many cores a file like cpu.max grants, rounded up; None if it says nothing of the kind."""
    try:
        quota, period = file.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
