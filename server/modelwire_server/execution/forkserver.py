"""The fork server: a process that has imported the runners and forks one child for each job.

One forked process always waits for the next job, so that a job starts at once. The fork server has one thread and knows neither
gRPC nor SQL, so that its children start clean. All processes that a job leaves behind end up as its own children (see
`linux.adopt_orphans`) and are killed before the job's end is told. When the server goes, it kills all and goes too.

Messages from the server: `load` (targets, path, private, compile) once; then `start` (a number for the job, with descriptors: spec,
control, stdout, stderr) and `signal` (job, signo). To the server: `ready` (runners and their limits) or `broken` (why, traceback);
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwire_runners import BaseModelRunner, ShellModelRunner, load_served
from modelwire_runners.predictor import self_tests_later

from ..compiled import conversion
from ..formats.library import LIBRARY_RUNNER
from .child import live
from .content import warm_up
from .linux import adopt_orphans, children_of, die_with_parent, flush_c_streams
from .randomness import ChosenSeeds, Generators
from .wire import Message, clip, receive, receive_with_fds, send, socket_pair

Runners = Mapping[str, BaseModelRunner[Any]]


@dataclass(frozen=True, slots=True)
class Spare:
    """A forked process that waits for its job."""

    pid: int
    link: socket.socket


class ForkServer:
    """Forks, signals and reaps the processes of jobs. Only this process, which reaps them, signals them: so no pid is reused."""

    def __init__(self, link: socket.socket, runners: Runners, seeds: ChosenSeeds) -> None:
        self._link = link
        self._runners = runners
        self._seeds = seeds
        # Processes that the runners' modules have started.
        self._residents = children_of(os.getpid())
        self._jobs: dict[int, int] = {}
        self._spare: Spare | None = None
        self._may_spare = True
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
                # The next process is forked when there is nothing else to do.
                if self._spare is None and self._may_spare and not poll.poll(0):
                    self._keep_spare()
                ready = {fd for fd, _ in poll.poll()}
                if self._wakeup.fileno() in ready:
                    self._on_signals(self._wakeup.recv(4096))
                if self._link.fileno() in ready and not self._on_request():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            # Those that are killed now make themselves heard when the socket may be closed already.
            signal.set_wakeup_fd(-1)
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
        if "start" in message:
            self._start(message["start"], fds)
        else:
            self._signal(message["signal"], message["signo"])
        return True

    def _start(self, job: int, fds: Sequence[int]) -> None:
        """Hands the job to the process that waits for one."""
        try:
            spare = self._spare or self._fork()
            self._spare = None
            with spare.link:
                send(spare.link, {"job": job}, fds)
            self._jobs[spare.pid] = job
            self._may_spare = True
        except OSError as error:
            send(self._link, {"refused": job, "why": str(error)})
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self) -> Spare:
        parent, (ours, theirs) = os.getpid(), socket_pair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for end in (ours, self._link, self._wakeup, self._wakeup_end):
                end.close()
            live(theirs, parent, self._runners, self._seeds)
        theirs.close()
        return Spare(pid, ours)

    def _keep_spare(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = self._fork()

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
        known = self._residents | self._jobs.keys() | ({self._spare.pid} if self._spare else set())
        left = [pid for pid in children_of(os.getpid()) - known if _kill(pid)]
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
        if self._spare and pid == self._spare.pid:
            # It should have waited. Jobs get on without one until it is known that forked processes live.
            self._spare.link.close()
            self._spare, self._may_spare = None, False
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
    """The runners, and the built-in one. Predictors among them are imported, not called."""
    with self_tests_later():
        served = [LIBRARY_RUNNER, *(one for target in targets for one in load_served(target))]
    return {one.info.id: one for one in served if isinstance(one, BaseModelRunner)}


def _preload(request: Message, runners: Runners) -> None:
    """Imports what compiles models, so that no job has to; the server need not wait for it."""
    if request["compile"] and any(runner.independent_rows and runner.compile for runner in runners.values()):
        # What is wrong with it is told by the first job that needs it.
        with contextlib.suppress(Exception):
            conversion.preload()


def _freeze() -> None:
    """What is there now stays as it is: the collector need not touch, and thereby copy, its pages in every child."""
    gc.collect()
    gc.freeze()


def _prepare(request: Message) -> tuple[Runners, ChosenSeeds]:
    sys.path[:] = request["path"]
    warm_up()
    before = Generators.capture()
    runners = _load(request["load"])
    for runner in runners.values():
        if isinstance(runner, ShellModelRunner):
            runner.prepare([Path(path) for path in request["private"]])
    seeds = ChosenSeeds(before, Generators.capture())
    # What importing has printed is not a job's.
    sys.stdout.flush()
    flush_c_streams()
    return runners, seeds


def _limits(runners: Runners) -> Message:
    return {
        name: {
            "wall_seconds": runner.limits.wall_seconds,
            "cpu_seconds": runner.limits.cpu_seconds,
            "memory_bytes": runner.limits.memory_bytes,
            "output_bytes": runner.limits.output_bytes,
        }
        for name, runner in runners.items()
    }


def _other_threads() -> list[str]:
    """Names of threads that would not survive a fork. That of jemalloc, pyarrow's allocator, is prepared for it."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if int(task.name) != os.getpid()]
    return sorted(name for task in tasks if (name := (task / "comm").read_text().strip()) != "jemalloc_bg_thd")


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
        told = clip("".join(traceback.format_exception(error)), 65536, keep_end=True)
        # The server imports the runners too, and may have given up over the same error.
        with contextlib.suppress(BrokenPipeError):
            send(link, {"broken": clip(str(error), 4096), "traceback": told})
        return
    with contextlib.suppress(BrokenPipeError):
        send(link, {"ready": _limits(runners), "threads": _other_threads()})
    _preload(request, runners)
    _freeze()
    ForkServer(link, runners, seeds).serve()


if __name__ == "__main__":
    main()
