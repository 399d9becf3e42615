"""The fork server: a process that has imported the runners and forks one child for each job.

It has one thread and knows neither gRPC nor SQL, so that its children start clean. All processes that a job leaves behind end up as its
own children (see `linux.adopt_orphans`) and are killed before the job's end is told. When the server goes, it kills all and goes too.

Messages from the server: `load` (targets, path) once; then `fork` (a number for the job, with descriptors: spec, control,
stdout, stderr) and `signal` (job, signo). To the server: `ready` (runners and their limits in seconds) or `broken` (why, traceback);
then for each job `refused` (why), or `ended` (its exit code, or minus the signal) when none of its processes is left.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from modelwire_runners import BaseModelRunner, load_runner

from .child import Channels, live
from .linux import adopt_orphans, children_of, die_with_parent
from .randomness import ChosenSeeds, Generators
from .wire import Message, receive, receive_with_fds, send

Runners = Mapping[str, BaseModelRunner[Any]]


class ForkServer:
    """Forks, signals and reaps the processes of jobs. Only this process, which reaps them, signals them: so no pid is reused."""

    def __init__(self, link: socket.socket, runners: Runners, seeds: ChosenSeeds) -> None:
        self._link = link
        self._runners = runners
        self._seeds = seeds
        self._jobs: dict[int, int] = {}
        self._ended: list[tuple[int, int]] = []
        self._wakeup, self._wakeup_end = socket.socketpair()

    def serve(self) -> None:
        """Works until the server is gone; then ends all processes."""
        self._watch_signals()
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._wakeup.fileno() in ready:
                    self._on_signals(self._wakeup.recv(4096))
                if self._link.fileno() in ready and not self._on_request():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._kill_everything()

    def _watch_signals(self) -> None:
        self._wakeup.setblocking(False)
        self._wakeup_end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        for signo in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(signo, lambda *_: None)
        # Ctrl-C and a service manager's stop are for the server, which lets jobs end in good order.
        for signo in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signo, signal.SIG_IGN)

    def _on_signals(self, signals: bytes) -> None:
        if signal.SIGHUP in signals:
            raise ConnectionResetError("the server has ended")
        self._reap()

    def _on_request(self) -> bool:
        received = receive_with_fds(self._link)
        if received is None:
            return False
        message, fds = received
        if "fork" in message:
            self._fork(message["fork"], Channels(*fds))
        else:
            self._signal(message["signal"], message["signo"])
        return True

    def _fork(self, job: int, channels: Channels) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            send(self._link, {"refused": job, "why": str(error)})
        else:
            if pid == 0:
                self._become_child(channels, parent)
            self._jobs[pid] = job
        finally:
            for fd in (channels.spec, channels.control, channels.stdout, channels.stderr):
                os.close(fd)

    def _become_child(self, channels: Channels, parent: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        for end in (self._link, self._wakeup, self._wakeup_end):
            end.close()
        live(channels, parent, self._runners, self._seeds)

    def _signal(self, job: int, signo: int) -> None:
        for pid, known in self._jobs.items():
            if known == job:
                _signal_group(pid, signo)

    def _reap(self) -> None:
        """Reaps what has ended. The end of a job is told when all that it left behind is dead too."""
        while self._reap_one():
            pass
        if not self._ended:
            return
        # A running job keeps its descendants, so children that are no jobs are what ended jobs left behind. Each of them sends
        # SIGCHLD when it is dead, which leads here again; by then its own children have become ours.
        left = [pid for pid in children_of(os.getpid()) - self._jobs.keys() if _kill(pid)]
        if not left:
            for job, status in self._ended:
                send(self._link, {"ended": job, "status": status})
            self._ended.clear()

    def _reap_one(self) -> bool:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if dead is None:
            return False
        if dead.si_pid in self._jobs:
            _signal_group(dead.si_pid, signal.SIGKILL)
        pid, status = os.waitpid(dead.si_pid, 0)
        if (job := self._jobs.pop(pid, None)) is not None:
            self._ended.append((job, os.waitstatus_to_exitcode(status)))
        return True

    def _kill_everything(self) -> None:
        for pid in self._jobs:
            _signal_group(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in children_of(os.getpid()):
                    _kill(pid)
                os.wait()


def _signal_group(leader: int, signo: int) -> None:
    """Signals the processes of a job; at its very start it has no group yet."""
    try:
        os.killpg(leader, signo)
    except ProcessLookupError:
        os.kill(leader, signo)


def _kill(child: int) -> bool:
    """Kills a child that is not reaped; False if it has become another user's."""
    try:
        os.kill(child, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _load(targets: Sequence[str]) -> dict[str, BaseModelRunner[Any]]:
    runners = (load_runner(target) for target in targets)
    return {runner.info.id: runner for runner in runners}


def _warm_up() -> None:
    """Runs once what every job runs, so that no job pays for what is done only the first time."""
    pa.Table.from_pandas(pa.table({"warm": [1.0], "up": ["text"]}).to_pandas(use_threads=False), nthreads=1)


def _prepare(request: Message) -> tuple[Runners, ChosenSeeds]:
    sys.path[:] = request["path"]
    _warm_up()
    before = Generators.capture()
    runners = _load(request["load"])
    seeds = ChosenSeeds(before, Generators.capture())
    # What is there now stays as it is: the collector need not touch, and thereby copy, its pages in every child.
    gc.collect()
    gc.freeze()
    return runners, seeds


def _limits(runners: Runners) -> Message:
    return {
        name: {
            "wall_seconds": runner.limits.wall_seconds,
            "cpu_seconds": runner.limits.cpu_seconds,
            "memory_bytes": runner.limits.memory_bytes,
        }
        for name, runner in runners.items()
    }


def main() -> None:
    """`python -m modelwire_server.execution.forkserver SOCKET SERVER_PID`"""
    link, server = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    die_with_parent(server, signal.SIGHUP)
    link.set_inheritable(False)
    adopt_orphans()
    warnings.filterwarnings("ignore", "This process.*is multi-threaded", DeprecationWarning)
    request = receive(link)
    if request is None:
        return
    try:
        runners, seeds = _prepare(request)
    except Exception as error:
        send(link, {"broken": f"{error}", "traceback": "".join(traceback.format_exception(error))[-64 * 1024 :]})
        return
    send(link, {"ready": _limits(runners), "threads": len(list(Path("/proc/self/task").iterdir()))})
    ForkServer(link, runners, seeds).serve()


if __name__ == "__main__":
    main()
