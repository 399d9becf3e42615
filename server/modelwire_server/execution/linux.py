"""What is asked of the Linux kernel about processes and has no function in the standard library."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = "/proc"
# A flag in /proc/PID/stat.
_PF_EXITING = 0x4
# How long to wait for processes that are ending; some other process may hang in that state.
_ENDING_SECONDS = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A line of the process table. A process that is ending has lost its memory already, and is gone in a moment."""

    pid: int
    parent: int
    is_dead: bool
    is_ending: bool


def die_with_parent(parent: int, signo: signal.Signals) -> None:
    """Has this process get the signal when the thread that started it ends. Ends the process at once if that has happened."""
    _prctl(_PR_SET_PDEATHSIG, signo)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Makes this process the parent of all descendants that lose theirs, so that none can run away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def flush_c_streams() -> None:
    """Writes out what C code has printed and the C library still holds."""
    _libc.fflush(None)


def processes() -> Iterator[ProcessEntry]:
    """The process table. Processes that end meanwhile may be missing."""
    for name in _names(_PROC):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # The name of the program stands in parentheses and may itself hold any character.
                fields = _read(f"{_PROC}/{name}/stat").rpartition(b")")[2].split()
                is_dead = fields[0] in (b"Z", b"X")
                is_ending = not is_dead and bool(int(fields[6]) & _PF_EXITING)
                yield ProcessEntry(int(name), int(fields[1]), is_dead, is_ending)


def children_of(parent: int) -> set[int]:
    """The children of a process, ended ones included until they are reaped."""
    try:
        tasks = [f"{_PROC}/{parent}/task/{thread}/children" for thread in _names(f"{_PROC}/{parent}/task")]
        return {int(child) for task in tasks for child in _read(task).split()}
    except OSError:
        # Not every kernel is built with these files.
        return {process.pid for process in processes() if process.parent == parent}


def kill_marked(mark: bytes) -> None:
    """Kills every process that was started with the mark, `NAME=value`, in its environment, or descends by fork from one that was;
    returns when none is left."""
    while _kill_once(mark):
        time.sleep(0.005)
    # What is ending cannot be recognised any more.
    until = time.monotonic() + _ENDING_SECONDS
    while any(process.is_ending for process in processes()) and time.monotonic() < until:
        time.sleep(0.005)


def _kill_once(mark: bytes) -> int:
    marked = [process.pid for process in processes() if not process.is_dead and _carries(process.pid, mark)]
    return sum(_kill_marked_one(pid, mark) for pid in marked)


def _kill_marked_one(pid: int, mark: bytes) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # The pid may have been reused since; the handle is of one process for ever, so what is true now is true of that one.
        if not _carries(pid, mark):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in _read(f"{_PROC}/{pid}/environ").split(b"\0")
    except OSError:
        return False


def _names(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(handle, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
