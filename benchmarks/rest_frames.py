"""Frames in JSON: what the gateway's reading and writing of them costs, next to JSON of protobuf."""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from google.protobuf import json_format

from modelwire.v1 import frame_pb2
from modelwire_runners import RunnerInfo
from modelwire_server.gateway.frames import frame_from_json, frame_to_csv, frame_to_json, records_json
from modelwire_server.gateway.json_text import parse_json
from modelwire_server.sample_data import SampleOrder, generate_sample
from modelwire_server.services.frames import frame_of

LOCATIONS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    table = sample(arguments.rows)
    body = frame_to_json(table)
    print(f"{table.num_rows:,} rows, {table.num_columns} columns, {len(body):,} bytes of JSON; milliseconds\n")
    print("| what | median | best |\n|---|---|---|")
    for name, run in measured(table, body):
        times = timed(run, arguments.repeat)
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} |")


def sample(rows: int) -> pa.Table:
    """Text, integers and floats, a tenth of one column missing."""
    order = SampleOrder(locations=LOCATIONS, periods=rows // LOCATIONS, seed=1)
    table = generate_sample(order, RunnerInfo(id="bench")).frames["data"]
    cases = [None if number % 10 == 0 else int(cases) for number, cases in enumerate(table.column("disease_cases").to_pylist())]
    return table.set_column(2, "disease_cases", pa.array(cases, pa.int64()))


def measured(table: pa.Table, body: bytes) -> list[tuple[str, Callable[[], Any]]]:
    value = parse_json(body)
    with_mixed = {
        **value,
        "data": [[*row[:-1], str(row[-1]) if number % 2 else number] for number, row in enumerate(value["data"])],
    }
    message = frame_of(table, frame_pb2.FRAME_FORM_TABLE).table
    return [
        ("read: text to Arrow", lambda: frame_from_json(parse_json(body))),
        ("of that, the text to Python", lambda: parse_json(body)),
        ("of that, Python to Arrow", lambda: frame_from_json(value)),
        ("Python to Arrow, one column mixed", lambda: frame_from_json(with_mixed)),
        ("JSON of protobuf: text to message", lambda: json_format.Parse(body, frame_pb2.Table())),
        ("write: Arrow to columns and rows", lambda: frame_to_json(table)),
        ("write: Arrow to records", lambda: records_json(table)),
        ("write: Arrow to CSV", lambda: frame_to_csv(table)),
        ("JSON of protobuf: message to text", lambda: json_format.MessageToJson(message)),
    ]


def timed(run: Callable[[], Any], repeat: int) -> list[float]:
    """Milliseconds of each run."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
