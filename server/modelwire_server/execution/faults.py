"""What can go wrong in a job, as errors of the domain and as messages."""

import asyncio
import os
import signal
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import modelwire_runners
from modelwire_runners.invoke import PredictionError

from .. import errors
from ..errors import InvalidPrediction, MemoryLimit, ModelwireError, RunnerExited, RunnerFailed, RunnerKilled
from .offenders import type_name
from .wire import Message, clip

_MAX_TEXT = 4 * 1024
_MAX_TRACEBACK = 64 * 1024
_OWN_FOLDERS = tuple(f"{Path(str(file)).parent}{os.sep}" for file in (__file__, modelwire_runners.__file__, asyncio.__file__))


def fault_of(error: BaseException, memory_limit: int | None) -> ModelwireError:
    """What an exception in the process of a job means."""
    fault: ModelwireError
    match error:
        case ModelwireError():
            fault = error
        case SystemExit():
            fault = exited(_exit_code(error))
        case MemoryError():
            fault = out_of_memory(memory_limit, str(error))
        case PredictionError():
            fault = InvalidPrediction(clip(str(error), _MAX_TEXT), rule=error.rule)
        case _:
            text = clip(_text_of(error), _MAX_TEXT)
            kind = type_name(type(error))
            fault = RunnerFailed(f"{type(error).__qualname__}: {text}" if text else kind, type=kind, message=text)
    fault.traceback = _traceback_of(error)
    return fault


def exited(code: int, last_words: str = "") -> RunnerExited:
    hint = f"; its last line was: {last_words}" if last_words else ""
    return RunnerExited(f"the runner ended its process with exit code {code}{hint}", exit_code=code)


def killed(signo: int, memory_limit: int | None, cpu_limit: int | None) -> ModelwireError:
    """The error of a process that a signal has ended."""
    name = signal.Signals(signo).name if signo in signal.valid_signals() and signo < signal.SIGRTMIN else f"signal {signo}"
    hint = ""
    if signo == signal.SIGKILL:
        hint = "; the system does this when it is out of memory"
    elif signo == signal.SIGXCPU:
        hint = f"; it used more CPU time than its limit of {cpu_limit} s" if cpu_limit else "; it used too much CPU time"
    elif memory_limit is not None:
        hint = f"; it may have reached its memory limit of {memory_limit} bytes"
    return RunnerKilled(f"the runner's process was killed by {name}{hint}", signal=name)


def out_of_memory(limit: int | None, detail: str) -> MemoryLimit:
    message = "the runner ran out of memory" if limit is None else f"the runner reached its memory limit of {limit} bytes"
    detail = f"{message}: {clip(detail, _MAX_TEXT)}" if detail else message
    return MemoryLimit(detail) if limit is None else MemoryLimit(detail, limit=limit)


def to_message(fault: ModelwireError) -> Message:
    """A fault, small enough for one message."""
    return {
        "error": type(fault).__name__,
        "message": clip(fault.message, _MAX_TEXT),
        "traceback": fault.traceback and clip(fault.traceback, _MAX_TRACEBACK, keep_end=True),
        "metadata": {clip(key, 100): clip(value, _MAX_TEXT) for key, value in fault.metadata.items()},
    }


def from_message(message: Message) -> ModelwireError:
    """The fault again. Unknown kinds, which only a runner that writes to our socket can send, are the runner's failure."""
    kind: Any = getattr(errors, str(message["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, ModelwireError)):
        kind = RunnerFailed
    fault: ModelwireError = kind(str(message["message"]), **message["metadata"])
    fault.traceback = message["traceback"]
    return fault


def _exit_code(error: SystemExit) -> int:
    """As Python's: nothing is 0, a number itself, all else is 1."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _traceback_of(error: BaseException) -> str:
    own = error.__traceback__
    lines = traceback.TracebackException(type(error), error, _runners_part(own) or own, compact=True).format()
    return clip("".join(lines), _MAX_TRACEBACK, keep_end=True)


def _runners_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from where the runner's code begins; None if it never does."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDERS):
        trace = trace.tb_next
    return trace
