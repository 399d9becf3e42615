"""How long a trivial job takes, from its submission to the watched event that says it is completed.

    python benchmarks/jobs.py [--jobs 200] [--in-flight 1 16]

Starts a server of its own (one process, SQLite, default settings) with a runner that does nothing, so that what is measured is
modelwire alone: submit, store, fork a process, run, save, store, push the event.
"""

import argparse
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from modelwire import Client, Config

RUNNER = f"{Path(__file__).parent / 'trivial.py'}:runner"
DATA = {"x": [1.0, 2.0]}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server() -> Iterator[str]:
    """The address of a server that ends with the block."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).parent / "modelwire", "serve", RUNNER]
        options = [f"--grpc-port={port}", f"--http-port={free_port()}", f"--data-dir={folder}", "--log-level=warning"]
        process = subprocess.Popen([*map(str, command), *options], stdout=subprocess.DEVNULL)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def one_job(client: Client, config: Config) -> float:
    """Milliseconds from submit to watched completion."""
    begin = time.perf_counter()
    client.train(config, DATA).wait()
    return 1000 * (time.perf_counter() - begin)


def measure(client: Client, config: Config, jobs: int, in_flight: int) -> str:
    begin = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as threads:
        times = sorted(threads.map(lambda _: one_job(client, config), range(jobs)))
    rate = jobs / (time.perf_counter() - begin)
    return f"| {in_flight} | {statistics.median(times):.1f} | {times[int(0.99 * len(times))]:.1f} | {rate:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="how many jobs to run for each row")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16], help="how many jobs at once")
    arguments = parser.parse_args()
    with server() as target, Client(target, wait_for_ready=True) as client:
        config = client.configs.create("benchmark", {})
        measure(client, config, 10, 1)
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.jobs} jobs a row\n")
        print("| in flight | median ms | p99 ms | jobs/s |\n|---|---|---|---|")
        for in_flight in arguments.in_flight:
            print(measure(client, config, arguments.jobs, in_flight))


if __name__ == "__main__":
    main()
