"""A runner that does what its config tells it to: every way in which a job can go right or wrong."""

import ctypes
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelwire_runners import BaseConfig, FunctionalModelRunner, RetryPolicy, RunContext, RunnerInfo, RunnerLimits


class Config(BaseConfig):
    behaviour: str = "mean"
    marker: str = ""
    gate: str = ""
    lines: int = 0


def spin_in_c() -> None:
    """Holds the interpreter inside one C call for longer than any test waits."""
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000_000_000)


def wait_for(path: str) -> None:
    """Blocks on a fifo until a test opens it for writing."""
    with Path(path).open() as gate:
        gate.read()


def keep_to_oneself(path: str) -> None:
    """Fails if another job does the same at the same time."""
    with Path(path).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        threading.Event().wait(0.1)


def fail_twice(attempts: Path) -> None:
    with attempts.open("a") as file:
        file.write("!")
    if attempts.stat().st_size < 3:
        raise ConnectionError("the data are elsewhere")


def stubborn_grandchild(config: Config) -> None:
    code = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    Path(config.marker).write_text(f"{os.getpid()} {child.pid}")


def train(config: Config, data: pa.Table, context: RunContext) -> Any:
    match config.behaviour:
        case "unpicklable":
            return {"lock": threading.Lock()}
        case "memory":
            return bytearray(64 << 30)
        case "chatty":
            for number in range(config.lines):
                print(f"line {number}")
                context.progress((number + 1) / config.lines)
    end_badly(config)
    take_time(config, context)
    return {"rows": data.num_rows, "bytes": data.nbytes, "columns": data.column_names, "behaviour": config.behaviour}


def end_badly(config: Config) -> None:
    match config.behaviour:
        case "raise":
            raise ValueError("the data are not good enough")
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "third_time_lucky":
            fail_twice(Path(config.marker))


def take_time(config: Config, context: RunContext) -> None:
    match config.behaviour:
        case "spin":
            stubborn_grandchild(config)
            context.progress(0.5, "about to spin")
            spin_in_c()
        case "gate":
            context.progress(0.25, "waiting")
            wait_for(config.gate)
        case "alone":
            keep_to_oneself(config.marker)


def predict(config: Config, model: Any, historic: pa.Table, future: pa.Table) -> pa.Table:
    match model["behaviour"]:
        case "short":
            return future.slice(1)
        case "predict_raises":
            raise RuntimeError("no answer today")
    return future


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="behaviours", display_name="Behaviours"),
    limits=RunnerLimits(memory_bytes=32 << 30),
)

lasting = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="lasting", display_name="Runs again when its worker is lost"),
    retry=RetryPolicy(max_attempts=3, backoff_seconds=0),
)

persistent = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="persistent", display_name="Tries again"),
    retry=RetryPolicy(max_attempts=3, reasons=("RUNNER_FAILED",), backoff_seconds=0.05),
)

single = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="single", display_name="One at a time"),
    max_concurrency=1,
    max_pending=4,
)

demanding = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    config_schema=Config,
    info=RunnerInfo(id="demanding", display_name="Needs a column", required_covariates=["rainfall"]),
)
