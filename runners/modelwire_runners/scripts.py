"""Runs a script: what it says is heard while it runs, its limits are watched, and nothing that it has started outlives it."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from .context import RunCanceled, RunContext
from .info import RunnerLimits
from .processes import Usage, children, descendants, end_all_but, keeping_orphans, signal_group, usage
from .progress import ProgressFile

# How much of an output is kept: so many bytes of its beginning and of its end.
KEPT_HEAD, KEPT_TAIL = 8 * 1024, 24 * 1024
_TAIL_LINES = 10
_PIPE_SIZE = 64 * 1024
# How often progress and the wish to stop are looked at, and how often limits.
_TICK_SECONDS = 0.05
_WATCH_SECONDS = 0.25
# What the server needs in each of its processes, whatever a runner allows. Its other variables may hold secrets, such as where the
# database is.
_ALWAYS = ("MODELWIRE_FORK_SERVER", "MODELWIRE_JOB_ID", "*_NUM_THREADS", "*_MAX_THREADS", "*_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class ScriptEnd:
    """How a script ended: its exit code, or minus the signal that killed it, and what it wrote, long texts without their middle."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""

    @property
    def signal(self) -> str:
        """The name of the signal that killed it, empty if none did."""
        return _signal_name(-self.exit_code) if self.exit_code < 0 else ""

    @property
    def stderr_tail(self) -> str:
        """The last lines of standard error that say something, as one line."""
        return " | ".join(_telling(self.stderr)[-_TAIL_LINES:])


_UNKNOWN = ScriptEnd(0)


class ScriptError(Exception):
    """A script did not come to a good end. `end` tells how it ended."""

    def __init__(self, message: str, end: ScriptEnd) -> None:
        super().__init__(message)
        self.end = end


class ScriptStopped(ScriptError, RunCanceled):
    """A script was told to stop, and did."""


class ScriptFailed(ScriptError):
    """A script ended with an exit code other than 0, or was killed. `what` is train or predict."""

    def __init__(self, what: str, end: ScriptEnd, hint: str = "") -> None:
        self.what, self.end, self.hint = what, end, hint
        super().__init__(self.explain(), end)

    def explain(self, *more: str) -> str:
        """A sentence of what happened, `more` that is to be known, and the tail of standard error."""
        parts = [f"{self.what} script {_how(self.end.exit_code)}{self.hint}", *more]
        if tail := self.end.stderr_tail:
            parts.append(f"stderr tail: {tail}")
        return "; ".join(parts)


class LimitReached(ScriptError):
    """A script used more than it may, and was ended. `limit` is the name of a field of RunnerLimits."""

    def __init__(self, limit: str, value: int, message: str, end: ScriptEnd = _UNKNOWN) -> None:
        super().__init__(message, end)
        self.limit, self.value = limit, value


@dataclass(frozen=True, slots=True)
class Script:
    """A command for `sh -c`, and where and with what it runs. `progress` is a file outside of the folder. `size` tells how many bytes
    the folder has."""

    command: str
    folder: Path
    progress: Path
    environment: Mapping[str, str]
    limits: RunnerLimits
    size: Callable[[], int] = field(repr=False)


def allowed(environment: Mapping[str, str], patterns: list[str] | None) -> dict[str, str]:
    """What of an environment a job gets (see RunnerLimits)."""
    if patterns is None:
        return dict(environment)
    wanted = (*patterns, *_ALWAYS)
    return {name: value for name, value in environment.items() if any(fnmatchcase(name, pattern) for pattern in wanted)}


def run_script(script: Script, context: RunContext) -> ScriptEnd:
    """Runs a script to its end. Its output appears on our own standard output and error. When the context is canceled its
    process group gets one SIGTERM, to which it may answer in its own time. Raises ScriptStopped, LimitReached, OSError."""
    if context.canceled:
        raise ScriptStopped("the script was not begun", _UNKNOWN)
    residents = children()
    script.progress.touch()
    reached: LimitReached | None = None
    with keeping_orphans(), _started(script) as process:
        running = _Running(script, context, process, residents)
        try:
            running.follow()
        except LimitReached as error:
            reached = error
        finally:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
            end_all_but(residents)
        end = running.end()
    if reached is not None:
        reached.end = end
        raise reached
    if context.canceled:
        raise ScriptStopped("the script was told to stop", end)
    return end


class _Running:
    """A script at work."""

    def __init__(self, script: Script, context: RunContext, process: subprocess.Popen[bytes], residents: set[int]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._context = context
        self._process = process
        self._asked_to_end = False
        self._outputs = [_Output(process.stdout, 1), _Output(process.stderr, 2)]
        self._progress = ProgressFile(script.progress, context)
        self._watch = _Watch(script, residents)

    def follow(self) -> None:
        """Passes on what the script says until it has ended."""
        poll = select.poll()
        for output in self._outputs:
            poll.register(output.pipe, select.POLLIN)
        ended = os.pidfd_open(self._process.pid)
        try:
            poll.register(ended, select.POLLIN)
            while not self._round(poll, ended):
                continue
        finally:
            os.close(ended)

    def end(self) -> ScriptEnd:
        """How it ended; what is still in the pipes is passed on before. To be asked when no process is left."""
        for output in self._outputs:
            while output.pump():
                continue
        self._progress.read(final=True)
        stdout, stderr = (output.text for output in self._outputs)
        return ScriptEnd(self._process.returncode, stdout, stderr)

    def _round(self, poll: select.poll, ended: int) -> bool:
        """Whether the script has ended."""
        ready = {fd for fd, _ in poll.poll(_TICK_SECONDS * 1000)}
        for output in self._outputs:
            if output.pipe in ready and not output.pump():
                poll.unregister(output.pipe)
        self._progress.read()
        self._watch.look()
        if self._context.canceled and not self._asked_to_end:
            # Once: a shell runs its trap anew for each signal, in the midst of it too, and what the trap starts is to do its work.
            signal_group(self._process.pid, signal.SIGTERM)
            self._asked_to_end = True
        return ended in ready


class _Output:
    """One of a script's pipes: passed on to a descriptor of ours, and remembered up to a bound."""

    def __init__(self, pipe: IO[bytes], target: int) -> None:
        self.pipe = pipe.fileno()
        self._target = target
        self._head = b""
        self._tail = b""
        self._left_out = 0

    def pump(self) -> bool:
        """Passes on what is there, waiting for it if need be; False at the end."""
        data = os.read(self.pipe, _PIPE_SIZE)
        with contextlib.suppress(BrokenPipeError):
            _write_all(self._target, data)
        more = KEPT_HEAD - len(self._head)
        self._head += data[:more]
        self._tail += data[max(0, more) :]
        self._left_out += max(0, len(self._tail) - KEPT_TAIL)
        self._tail = self._tail[-KEPT_TAIL:]
        return bool(data)

    @property
    def text(self) -> str:
        parts = [self._head, self._tail]
        if self._left_out:
            parts.insert(1, b"\n[... %d bytes are left out ...]\n" % self._left_out)
        return b"".join(parts).decode(errors="replace")


class _Watch:
    """Looks now and then whether a script keeps its limits."""

    def __init__(self, script: Script, residents: set[int]) -> None:
        self._script = script
        self._residents = residents
        self._next = time.monotonic()

    def look(self) -> None:
        """Raises LimitReached."""
        if time.monotonic() < self._next:
            return
        limits = self._script.limits
        if limits.memory_bytes is not None or limits.cpu_seconds is not None:
            self._check_processes(limits)
        if limits.workspace_bytes is not None:
            check_size(self._script.size(), limits.workspace_bytes)
        # Looking at a large folder takes its time.
        took = time.monotonic() - self._next
        self._next = time.monotonic() + max(_WATCH_SECONDS, 4 * min(took, 1.0))

    def _check_processes(self, limits: RunnerLimits) -> None:
        used = sum((usage(pid) for pid in descendants(self._residents)), Usage())
        if limits.memory_bytes is not None and used.memory > limits.memory_bytes:
            message = f"the script reached its memory limit of {limits.memory_bytes} bytes"
            raise LimitReached("memory_bytes", limits.memory_bytes, message)
        if limits.cpu_seconds is not None and used.cpu > limits.cpu_seconds:
            message = f"the script used more CPU time than its limit of {limits.cpu_seconds} s"
            raise LimitReached("cpu_seconds", limits.cpu_seconds, message)


def check_size(size: int, limit: int | None) -> None:
    """Raises LimitReached if a workspace is larger than it may be."""
    if limit is not None and size > limit:
        raise LimitReached("workspace_bytes", limit, f"the workspace has {size} bytes, more than its limit of {limit}")


@contextlib.contextmanager
def _started(script: Script) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["sh", "-c", script.command]
    if script.limits.memory_bytes is not None:
        # What one process allocates at once must not be found out later.
        kibibytes = max(1, script.limits.memory_bytes // 1024)
        arguments = ["sh", "-c", f'ulimit -d {kibibytes}; exec sh -c "$1"', "sh", script.command]
    with subprocess.Popen(
        arguments,
        cwd=script.folder,
        env=dict(script.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    ) as process:
        yield process


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _how(exit_code: int) -> str:
    """Shells tell that a signal has killed what they ran by exit codes above 128."""
    if exit_code < 0:
        return f"was killed by {_signal_name(-exit_code)}"
    name = _signal_name(exit_code - 128) if 128 < exit_code < 128 + signal.SIGRTMIN else ""
    return f"failed with exit code {exit_code}" + (f" ({name})" if name else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _telling(stderr: str) -> list[str]:
    """Lines without R's farewell: warnings that it had put off until its error, and the news that it has halted."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if lines and lines[-1] == "Execution halted":
        lines.pop()
        error = next((i for i, line in enumerate(lines) if line.startswith("Error")), len(lines))
        for i in range(error + 1, len(lines)):
            if re.match(r"(In addition: )?(Warning messages?:|There were \d+ )", lines[i]):
                return lines[:i]
    return lines
