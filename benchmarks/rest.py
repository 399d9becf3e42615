"""REST next to gRPC: a prediction of one row, a frame of a million rows, and the submission of a training in JSON."""

import http.client
import json
import random
import statistics
import time
from collections.abc import Callable

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from stage import Server, conditions, keep_off_the_server, server_on

from modelwire import Client

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
ROUNDS = 5
# As large as a training of weekly cases is.
TRAINING_ROWS = 11_000
MANY_ROWS = 1_000_000

# Called once, returns nothing; what it takes is measured.
Act = Callable[[], None]


def main() -> None:
    keep_off_the_server()
    table = Table("what", "calls", "median ms", "best ms", "p99 ms", title=conditions())
    with server_on("sqlite") as server, Client(server.target, wait_for_ready=True) as client:
        config = client.configs.create("bench", {}).id
        model = client.train(config, {"x": [1.0]}).wait().id
        measure(table, one_row(server, client, model), calls=400)
        measure(table, many_rows(server, client, model), calls=3)
        measure(table, training(server, client, config), calls=8, between=lambda: until_idle(client))
    Console().print(table)


def measure(table: Table, acts: dict[str, Act], calls: int, between: Act = lambda: None) -> None:
    """Runs rounds of each in turn, so that whatever else the machine does meets them all; `between` is not measured."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for act in acts.values():
        act()
    for _ in range(ROUNDS):
        for name, act in acts.items():
            for _ in range(calls):
                between()
                times[name].append(seconds(act))
    for name, taken in times.items():
        last = statistics.quantiles(taken, n=100)[-1]
        table.add_row(name, str(len(taken)), *(f"{1000 * value:.2f}" for value in (statistics.median(taken), min(taken), last)))


def seconds(act: Act) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def until_idle(client: Client) -> None:
    """Waits for the jobs that were submitted, which would take their time from the next submission."""
    for status in ("pending", "running"):
        for job in client.jobs.list(status=status):
            job.wait()


def one_row(server: Server, client: Client, model: str) -> dict[str, Act]:
    frame = pa.table({name: [1.5] for name in "abcd"})
    body = json.dumps({"model": model, "future": {"columns": list("abcd"), "data": [[1.5] * 4]}}).encode()
    handle = client.models.get(model)
    return {
        "one row, gRPC": lambda: ignore(handle.predict(frame)),
        "one row, REST with Arrow": posting(server, f"$predict-now?model={model}", stream_of(frame), ARROW),
        "one row, REST with JSON": posting(server, "$predict-now", body, JSON),
    }


def many_rows(server: Server, client: Client, model: str) -> dict[str, Act]:
    numbers = random.Random(0)
    frame = pa.table({name: [numbers.random() for _ in range(MANY_ROWS)] for name in "abcdefgh"})
    handle = client.models.get(model)
    return {
        "a million rows, gRPC": lambda: ignore(handle.predict(frame)),
        "a million rows, REST with Arrow": posting(server, f"$predict-now?model={model}", stream_of(frame), ARROW),
    }


def training(server: Server, client: Client, config: str) -> dict[str, Act]:
    numbers = random.Random(0)
    columns = ["time_period", "location", "rainfall", "mean_temperature", "disease_cases"]
    rows = [
        [f"{2000 + n // 12 % 20}-{1 + n % 12:02}", f"district {n % 40}", numbers.random(), 20 + 10 * numbers.random(), n % 97]
        for n in range(TRAINING_ROWS)
    ]
    frame = pa.table({name: [row[n] for row in rows] for n, name in enumerate(columns)})
    body = json.dumps({"config_id": config, "data": {"columns": columns, "data": rows}}).encode()
    return {
        "submit 11,000 rows, gRPC": lambda: ignore(client.train(config, frame)),
        "submit 11,000 rows, REST with Arrow": posting(server, f"$train?config_id={config}", stream_of(frame), ARROW),
        "submit 11,000 rows, REST with JSON": posting(server, "$train", body, JSON),
    }


def posting(server: Server, operation: str, body: bytes, kind: str) -> Act:
    """Posts on a connection that stays open, and reads the whole answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port)

    def post() -> None:
        connection.request("POST", f"/api/v1/ml/{operation}", body, {"Content-Type": kind, "Accept": f"{kind}, {JSON}"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 202):
            raise RuntimeError(content.decode())

    return post


def stream_of(frame: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, frame.schema) as writer:
        writer.write_table(frame, max_chunksize=1 << 16)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def ignore(_: object) -> None:
    """For what is done only for the time that it takes."""


if __name__ == "__main__":
    main()
