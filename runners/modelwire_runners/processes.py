"""Processes that a script starts: what they use, and how none of them outlives it. On Linux."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes use: bytes of memory that they do not share with files, seconds of CPU time."""

    memory: int = 0
    cpu: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.memory + other.memory, self.cpu + other.cpu)


def children(parent: int | str = "self") -> set[int]:
    """The children of this or another process, ended ones included until they are reaped."""
    try:
        tasks = list(Path(f"/proc/{parent}/task").iterdir())
        return {int(child) for task in tasks for child in _read(task / "children").split()}
    except FileNotFoundError:
        # Not every kernel is built with these files.
        own = os.getpid() if parent == "self" else parent
        return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == own}


def descendants(residents: AbstractSet[int]) -> set[int]:
    """All that descends from this process, but for those children and theirs."""
    found: set[int] = set()
    pending = children() - residents
    while pending:
        found |= pending
        pending = {child for pid in pending for child in children(pid)} - found
    return found


def usage(pid: int) -> Usage:
    """What a process uses, its reaped children's CPU time included; nothing if it is gone."""
    try:
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        resident, shared = _read(Path(f"/proc/{pid}/statm")).split()[1:3]
    except (FileNotFoundError, ProcessLookupError):
        return Usage()
    ticks = sum(int(field) for field in fields[11:15])
    return Usage((int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


@contextlib.contextmanager
def keeping_orphans() -> Iterator[None]:
    """Makes this process the parent of descendants that lose theirs, so that none can run away."""
    before = ctypes.c_int()
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def end_all_but(residents: AbstractSet[int]) -> None:
    """Kills all descendants except those children and theirs; returns when none is left. What a killed one has started becomes
    our own child, and is found in the next round."""
    while found := {pid for pid in children() - residents if _kill(pid)}:
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def signal_group(leader: int, signo: signal.Signals) -> None:
    """Signals a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signo)


def _kill(pid: int) -> bool:
    """False if the process has become another user's."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _parent(entry: Path) -> int:
    try:
        return int(_read(entry / "stat").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
