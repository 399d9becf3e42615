"""Runners that behave in every way that runners do. What a training does is said by `do` in its config."""

import asyncio
import ctypes
import functools
import hashlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from modelwire_runners import FunctionalModelRunner, RunContext, RunnerInfo, RunnerLimits

MIB = 1 << 20


class NoPickle:
    def __reduce__(self) -> str:
        raise TypeError("never")


class BadOnLoad:
    def __reduce__(self) -> Any:
        return (int, ("not a number",))


class Estimator:
    def __init__(self) -> None:
        self.steps = [("scale", 1.0), ("lock", threading.Lock())]


def mark(context: RunContext, name: str, text: str = "") -> None:
    """Tells the test that something is so."""
    place = Path(context.run_info["marks"]) / name
    place.with_suffix(".new").write_text(text)
    place.with_suffix(".new").rename(place)


def stubborn_child(context: RunContext, *, escape: bool, by_exec: bool = True) -> None:
    """Leaves a process behind that ignores SIGTERM, in a session of its own if asked; tells its pid."""
    if by_exec:
        code = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=escape)
        assert process.stdout is not None
        process.stdout.readline()
        pid = process.pid
    else:
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork():
                os._exit(0)
            os.write(write, str(os.getpid()).encode())
            signal.pause()
        os.wait()
        pid = int(os.read(read, 100))
    mark(context, "grandchild", str(pid))


def loop_in_c(context: RunContext) -> None:
    mark(context, "pid", str(os.getpid()))
    hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 2_000_000_000)


def everything_reported(context: RunContext) -> None:
    print("from print")
    os.write(1, b"from write\n")
    print("to stderr", file=sys.stderr)
    subprocess.run(["/bin/sh", "-c", "echo from a subprocess; echo its stderr >&2"], check=True)
    logging.getLogger("zoo").info("from logging %s", 1)
    context.log("from the context", level="WARNING")
    for step in range(3):
        context.metric("loss", 1.0 / (step + 1), step=step)
        context.progress((step + 1) / 3, f"step {step}")
    sys.stdout.write("no newline at the end")


def cooperate(context: RunContext) -> str:
    mark(context, "pid", str(os.getpid()))
    while not context.canceled:
        time.sleep(0.005)
    mark(context, "ended", "in good order")
    return "stopped early"


def canceled_by_check(context: RunContext) -> None:
    mark(context, "pid", str(os.getpid()))
    while True:
        context.check()
        time.sleep(0.005)


def eat_memory() -> int:
    return len(np.ones(4 << 30, dtype=np.uint8))


def many_lines(count: int) -> None:
    for number in range(count):
        print(f"line {number}")


def lines_to_the_end(context: RunContext) -> None:
    os.write(2, b"".join(b"line %d\n" % number for number in range(2000)))
    os.write(2, b"the last words")
    os._exit(5)


def numpy_segfault() -> None:
    ctypes.string_at(0)


def train(config: Any, data: pd.DataFrame, geo: Any = None, context: RunContext | None = None) -> Any:
    assert context is not None
    work = ACTS[config.do]
    return work(config, data, geo, context)


def act(function: Any) -> Any:
    return lambda config, data, geo, context: function(context)


def fail(*_: Any) -> None:
    raise ValueError("no such luck: é\ud800\0")


def fail_deep(*_: Any) -> None:
    text = "x" * 1000
    for _i in range(300):
        text = text + "y" * 1000
    raise LookupError(text)


def with_grandchild(then: Any, **how: Any) -> Any:
    def work(config: Any, data: Any, geo: Any, context: RunContext) -> Any:
        stubborn_child(context, **how)
        return then(context)

    return work


async def fail_later(config: Any, data: Any, geo: Any = None) -> None:
    await asyncio.sleep(0)
    raise KeyError("late")


ACTS: dict[str, Any] = {
    "return": lambda config, data, geo, context: config.value,
    "facts": lambda config, data, geo, context: {
        "data": data.to_dict("list"),
        "geo": geo,
        "run_info": context.run_info,
        "job_id": context.job_id,
        "environment": os.environ.get("MODELWIRE_JOB_ID"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "folder": str(context.folder),
        "remaining": context.remaining(),
        "pid": os.getpid(),
        "session": os.getsid(0),
        "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE),
        "stdin": sys.stdin.read(),
        "modules": [name for name in ("grpc", "sqlalchemy") if name in sys.modules],
        "numpy": float(np.random.random()),
    },
    "fail": fail,
    "fail_deep": fail_deep,
    "raise_memory": lambda *_: bytearray(1 << 60),
    "exit": lambda *_: sys.exit(3),
    "exit_with_text": lambda *_: sys.exit("that is all"),
    "_exit": act(lines_to_the_end),
    "kill": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda *_: numpy_segfault(),
    "spin": lambda *_: [None for _ in iter(int, 1)],
    "eat_memory": lambda *_: eat_memory(),
    "unpicklable": lambda *_: {"name": "m", "parts": [1, {"lock": threading.Lock()}]},
    "unpicklable_object": lambda *_: Estimator(),
    "unpicklable_closure": lambda *_: functools.partial(lambda lock, x: (lock, x), threading.Lock()),
    "unpicklable_class": lambda *_: NoPickle(),
    "bad_on_load": lambda *_: BadOnLoad(),
    "report": act(everything_reported),
    "printf": lambda *_: ctypes.CDLL(None).printf(b"from C"),
    "cooperate": act(cooperate),
    "check": act(canceled_by_check),
    "loop_in_c": act(loop_in_c),
    "regex": lambda config, data, geo, context: (mark(context, "pid"), re.match("(a+)+$", "a" * 60 + "b")),
    "grandchild": with_grandchild(loop_in_c, escape=False),
    "escapee": with_grandchild(loop_in_c, escape=True),
    "forked_escapee": with_grandchild(loop_in_c, escape=True, by_exec=False),
    "leave_grandchild": with_grandchild(lambda context: "done", escape=False),
    "leave_escapee": with_grandchild(lambda context: "done", escape=True),
    "leave_forked_escapee": with_grandchild(lambda context: "done", escape=True, by_exec=False),
    "many_lines": lambda config, *_: many_lines(config.value),
    "many_records": lambda config, *_: [logging.getLogger("zoo").info("record %d", n) for n in range(config.value)],
    "long_line": lambda *_: print("x" * 100_000 + "\nafter"),
    "endless_line": lambda *_: [os.write(1, b"y" * 65536) for _ in range(200)],
    "carriage_returns": lambda *_: print("\r".join(f"{n} %" for n in range(101)) + "\r"),
    "binary": lambda *_: os.write(1, b"\xff\xfe\0bytes\n"),
    "big": lambda config, *_: np.zeros(config.value * MIB, dtype=np.uint8),
    "background_thread": lambda *_: threading.Thread(target=time.sleep, args=(1000,)).start(),
}


def predict(config: Any, model: Any, historic: pa.Table, future: pa.Table, geo: Any = None) -> Any:
    """Gives back what the config says."""
    do = getattr(config, "do", "rows")
    if do == "too_few":
        return future.slice(1)
    if do == "no_frame":
        return object()
    if do == "columns":
        return pa.table([future.column(0), future.column(0)], names=["a", "a"])
    return pa.table({"sample_0": future.column(0), "model": pa.array([str(model)] * future.num_rows)})


def zoo(name: str, **limits: Any) -> FunctionalModelRunner:
    return FunctionalModelRunner(on_train=train, on_predict=predict, info=RunnerInfo(id=name), limits=RunnerLimits(**limits))


runner = zoo("zoo")
later = FunctionalModelRunner(on_train=fail_later, on_predict=predict, info=RunnerInfo(id="later"))
short_of_memory = zoo("short-of-memory", memory_bytes=512 * MIB)
short_of_cpu = zoo("short-of-cpu", cpu_seconds=1)
short_of_time = zoo("short-of-time", wall_seconds=0.3)
