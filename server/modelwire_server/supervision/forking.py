"""The template: a process that has imported everything and forks those that serve, so that each is there in a moment.

It has one thread, and no gRPC object: neither would survive a fork. When its supervisor goes, the kernel ends it, and with it all that
it has forked.

Messages from the supervisor: `fork` (a number, and what the process is to be, with the end of its line and what else it gets), `kill`
(a number). To the supervisor: `ended` (a number, and the exit code, or minus the signal).
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from ..execution.linux import die_with_parent, flush_c_streams
from ..execution.randomness import ChosenSeeds
from ..execution.wire import Message, receive_with_fds, send

# Is what the order says, with its line to the supervisor and other descriptors, for as long as it takes; returns the exit code.
Life = Callable[[Message, socket.socket, Sequence[int]], int]


class Template:
    """Forks and reaps. Only this process, which reaps them, signals those that it has forked: so no pid is reused."""

    def __init__(self, link: socket.socket, seeds: ChosenSeeds, life: Life) -> None:
        self._link = link
        self._seeds = seeds
        self._life = life
        self._processes: dict[int, int] = {}
        self._wakeup, self._wakeup_end = socket.socketpair()

    def serve(self) -> None:
        """Works until the supervisor is gone."""
        self._watch_signals()
        # What is there now stays as it is: the collector need not touch, and thereby copy, its pages in every process.
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._wakeup.fileno() in ready:
                    self._wakeup.recv(4096)
                    self._reap()
                if self._link.fileno() in ready and not self._on_order():
                    return

    def _watch_signals(self) -> None:
        self._wakeup.setblocking(False)
        self._wakeup_end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_order(self) -> bool:
        received = receive_with_fds(self._link)
        if received is None:
            return False
        order, fds = received
        if "fork" in order:
            self._fork(order, socket.socket(fileno=fds[0]), fds[1:])
            for fd in fds[1:]:
                os.close(fd)
        elif (pid := self._processes.get(order["kill"])) is not None:
            os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, order: Message, line: socket.socket, fds: Sequence[int]) -> None:
        parent = os.getpid()
        with line:
            try:
                pid = os.fork()
            except OSError as error:
                print(f"cannot fork: {error}", file=sys.stderr)  # noqa: T201 - there is no log in this process
                send(self._link, {"ended": order["fork"], "status": error.errno or 1})
                return
            if pid == 0:
                self._live(order, line, fds, parent)
            self._processes[order["fork"]] = pid

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for number in [number for number, known in self._processes.items() if known == pid]:
                    del self._processes[number]
                    send(self._link, {"ended": number, "status": os.waitstatus_to_exitcode(status)})

    def _live(self, order: Message, line: socket.socket, fds: Sequence[int], parent: int) -> NoReturn:
        """What happens in a forked process, from the fork to its end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(parent, signal.SIGKILL)
            for end in (self._link, self._wakeup, self._wakeup_end):
                end.close()
            self._seeds.apply()
            code = self._life(order, line, fds)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
                flush_c_streams()
            os._exit(code)
