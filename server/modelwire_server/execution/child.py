"""What happens in the process of a job, from the fork to its end."""

import atexit
import contextlib
import faulthandler
import io
import logging
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelwire_runners import BaseModelRunner, RunContext, RunnerLimits, ShellModelRunner
from modelwire_runners.invoke import run_predict, run_train
from modelwire_runners.scripts import allowed

from ..artifacts.model import ARROW_STREAM, PICKLE, Blob, Origin
from ..errors import RunnerFailed
from ..jobs.model import JobKind
from .content import load_imported, load_model, read_frame, read_json, save_model, save_predictions, warm_up
from .faults import fault_of, to_message
from .interface import JobSpec
from .linux import adopt_orphans, die_with_parent, flush_c_streams
from .observations import observed
from .offenders import type_name
from .output import MAX_LINE
from .randomness import ChosenSeeds
from .scripted import ScriptedWork
from .specs import read_spec
from .trained import as_trained, look_at
from .wire import clip, receive_with_fds, send

Runner = BaseModelRunner[Any]

_OUR_FAULT = 70
_MOMENT_MILLISECONDS = 40
# Between the signal that says that the CPU time is used up and the one that cannot be caught.
_CPU_GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Channels:
    """Descriptors that a job is given: its spec, its control socket, and the pipes of its output."""

    spec: int
    control: int
    stdout: int
    stderr: int


class Control:
    """The job's side of its control socket: reports go out; that its other direction is shut is the sign to stop."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLRDHUP)

    def report(self, kind: str, data: dict[str, Any]) -> None:
        """Sends what the work has to tell. Waits while the server has no time to listen."""
        self.send({"kind": kind, "data": {k: clip(v, MAX_LINE) if isinstance(v, str) else v for k, v in data.items()}})

    def stage(self, name: str) -> None:
        self.report("stage", {"stage": name})

    def send(self, message: dict[str, Any]) -> None:
        # When the server is gone, this process is about to be killed: nothing to be said any more.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(self._socket, message)

    def is_canceled(self) -> bool:
        return bool(self._poll.poll(0))


class RecordsToControl(logging.Handler):
    """Sends records of `logging` as log lines."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            data = {"source": "logging", "text": text, "level": record.levelname, "logger": record.name}
            self._control.report("log", data)
        except Exception:
            self.handleError(record)


def live(link: socket.socket, parent: int, runners: Mapping[str, Runner], seeds: ChosenSeeds) -> NoReturn:
    """Waits for a job to come over the link, does it and ends the process."""
    code = _OUR_FAULT
    try:
        die_with_parent(parent, signal.SIGKILL)
        _leave_the_parent()
        seeds.apply()
        # A forked process is slow the first time that it touches its memory; so it does before there is a job, if there is time.
        if not _comes_soon(link):
            with contextlib.suppress(Exception):
                warm_up()
        channels = _next_job(link)
        _take_output(channels)
        code = _do(read_spec(channels.spec), Control(channels.control), runners)
        # Runs what the job registered; what was registered before the fork is not the job's.
        atexit._run_exitfuncs()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
            flush_c_streams()
        os._exit(code)


def _leave_the_parent() -> None:
    """Makes this process its own session that cannot lose descendants, with nothing of its parent's habits."""
    os.setsid()
    adopt_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for signo in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()


def _comes_soon(link: socket.socket) -> bool:
    """Whether the next job is there within the moment in which it comes on a busy server."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(_MOMENT_MILLISECONDS))


def _next_job(link: socket.socket) -> Channels:
    with link:
        received = receive_with_fds(link)
    if received is None:
        os._exit(0)
    return Channels(*received[1])


def _take_output(channels: Channels) -> None:
    """Puts the job's pipes in the place of standard output and error."""
    for fd, target, stream in ((channels.stdout, 1, sys.stdout), (channels.stderr, 2, sys.stderr)):
        # Before the pipe is in its place: what was a file until now cannot be reconfigured once it is a pipe.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        os.dup2(fd, target)
        os.close(fd)
    # Tells in the job's log where the runner was when C code crashed.
    faulthandler.enable()


def _do(spec: JobSpec, control: Control, runners: Mapping[str, Runner]) -> int:
    """Does the work and sends the result or the error; returns the exit code."""
    limits = RunnerLimits()
    try:
        control.stage("starting")
        os.environ["MODELWIRE_JOB_ID"] = spec.job_id
        _route_logging(control)
        runner = _runner_of(spec, runners)
        limits = runner.limits
        _keep_environment(limits.environment)
        if not isinstance(runner, ShellModelRunner):
            # A script has its own process, in which they are watched.
            _limit(limits)
        with observed(spec.folder):
            message = _work(spec, runner, control)
        control.send(message)
    except BaseException as error:
        # What is left to do needs memory too.
        _lift_memory_limit()
        if isinstance(error, SystemExit) and isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201 - as Python does
        control.send(to_message(fault_of(error, limits.memory_bytes)))
        return 1
    return 0


def _runner_of(spec: JobSpec, runners: Mapping[str, Runner]) -> Runner:
    if spec.runner_id not in runners:
        raise RunnerFailed(f"the runner {spec.runner_id} is not loaded in the fork server", type="LookupError")
    return runners[spec.runner_id]


def _work(spec: JobSpec, runner: Runner, control: Control) -> dict[str, Any]:
    """Reads, runs, writes; returns the message that tells of the result."""
    folder = spec.folder / "work"
    folder.mkdir(parents=True, exist_ok=True)
    context = RunContext.ending_in(
        spec.timeout,
        job_id=spec.job_id,
        run_info=spec.run_info,
        folder=folder,
        report=control.report,
        is_canceled=control.is_canceled,
    )
    if isinstance(runner, ShellModelRunner):
        scripted = ScriptedWork(spec, runner, control.stage, context)
        return scripted.train() if spec.kind is JobKind.TRAIN else scripted.predict()
    work = _train if spec.kind is JobKind.TRAIN else _predict
    return work(spec, runner, control, context)


def _train(spec: JobSpec, runner: Runner, control: Control, context: RunContext) -> dict[str, Any]:
    control.stage("loading")
    data = read_frame(spec.frames["data"])
    geo = read_json(spec.geo) if spec.geo else None
    control.stage("training")
    model = run_train(runner, spec.config, data, geo, context)
    known = look_at(spec, runner, model, data, context, control.stage)
    control.stage("saving")
    path = spec.folder / "model.pickle"
    blob = save_model(model, path)
    return {**_result(path, blob, PICKLE, {"model_type": type_name(type(model)), **known.metadata}), "parts": known.parts}


def _predict(spec: JobSpec, runner: Runner, control: Control, context: RunContext) -> dict[str, Any]:
    control.stage("loading")
    historic, future = read_frame(spec.frames["historic"]), read_frame(spec.frames["future"])
    geo = read_json(spec.geo) if spec.geo else None
    model = _model_of(spec, runner)
    future = as_trained(spec, future)
    control.stage("predicting")
    table = run_predict(runner, spec.config, model, historic, future, geo, context)
    control.stage("saving")
    path = spec.folder / "predictions.arrow"
    return _result(path, save_predictions(table, path), ARROW_STREAM, {"rows": table.num_rows})


def _model_of(spec: JobSpec, runner: Runner) -> Any:
    assert spec.model is not None
    assert spec.model_blob is not None
    if spec.model_origin is Origin.TRAINED:
        return load_model(spec.model, spec.model_blob)
    return load_imported(spec.model, spec.model_blob, spec.model_type, spec.model_origin, runner, spec.config)


def _result(path: Path, blob: Blob, content_type: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return {"file": path.name, "digest": blob.digest, "size": blob.size, "content_type": content_type, "metadata": metadata}


def _route_logging(control: Control) -> None:
    """Sends log records to the server. Handlers of the runner's own that write to the console would tell them twice."""
    root = logging.getLogger()
    consoles = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    for handler in consoles:
        root.removeHandler(handler)
    if not consoles and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    root.addHandler(RecordsToControl(control))


def _keep_environment(patterns: list[str] | None) -> None:
    for name in os.environ.keys() - allowed(os.environ, patterns).keys():
        del os.environ[name]


def _limit(limits: RunnerLimits) -> None:
    if limits.cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + _CPU_GRACE_SECONDS))
    if limits.memory_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + limits.memory_bytes, hard))


def _lift_memory_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _address_space() -> int:
    """Bytes of address space in use: what the imported libraries have reserved does not count against the runner's limit."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
