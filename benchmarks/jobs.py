"""How long a trivial job takes: submit, run in a process of its own, watch to the end, fetch the result.

    python benchmarks/jobs.py [sqlite postgresql] [--jobs 300] [--in-flight 1 16]

Starts a server of its own (one process, default settings) on two cores, with a runner that does nothing; clients and PostgreSQL
have the other cores. So what is measured is modelwire alone: store the frame, accept the job durably, fork a process, run, save,
commit, push the event, send the result. "server CPU" is processor time per job of all processes of the server: it depends less on what
else the machine does.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stage import DATABASES, Server, conditions, cpu_seconds, keep_off_the_server, server_on

from modelwire import Client, Config

DATA = {"x": [1.0, 2.0]}
COLUMNS = ("database", "in flight", "jobs/s", "median ms", "p95 ms", "push median ms", "push p95 ms", "server CPU ms")
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one job: in all, and from the final event's time, which is taken before its commit, to its watcher."""

    total: float
    push: float


def one_job(client: Client, config: Config) -> Times:
    begin = time.perf_counter()
    job = client.train(config, DATA)
    *_, last = job.watch()
    seen = time.time()
    assert job.status == "completed"
    client.artifacts.download(job.artifact_id)
    return Times(1000 * (time.perf_counter() - begin), 1000 * (seen - last.time.timestamp()))


def measure(client: Client, config: Config, server: Server, jobs: int, in_flight: int) -> str:
    begin, cpu_before = time.perf_counter(), cpu_seconds(server)
    with ThreadPoolExecutor(in_flight) as threads:
        times = list(threads.map(lambda _: one_job(client, config), range(jobs)))
    rate = jobs / (time.perf_counter() - begin)
    cpu = 1000 * (cpu_seconds(server) - cpu_before) / jobs
    columns = (*middle_and_tail([t.total for t in times]), *middle_and_tail([t.push for t in times]), cpu)
    return f"{in_flight} | {rate:.1f} | {' | '.join(f'{column:.1f}' for column in columns)} |"


def middle_and_tail(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="*", default=list(DATABASES), metavar="DATABASE", help=" ".join(DATABASES))
    parser.add_argument("--jobs", type=int, default=300, help="how many jobs to run for each row")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16], help="how many jobs at once")
    arguments = parser.parse_args()
    keep_off_the_server()
    print(f"{conditions()}, {arguments.jobs} jobs a row\n\n{HEADER}", flush=True)
    for database in arguments.databases:
        with server_on(database) as server, Client(server.target, wait_for_ready=True) as client:
            config = client.configs.create("benchmark", {})
            measure(client, config, server, 20, 4)
            for in_flight in arguments.in_flight:
                print(f"| {database} | {measure(client, config, server, arguments.jobs, in_flight)}", flush=True)


if __name__ == "__main__":
    main()
