"""A frame of 1.5 GB trains with stock settings on both sides, and the server hardly notices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from serving import ServerProcess

from modelwire import Client
from modelwire.events import LogEvent

BATCHES, ROWS, COLUMNS = 150, 125_000, 10
TOTAL = BATCHES * ROWS * COLUMNS * 8
MIB = 1 << 20


class Frame:
    """1.5 GB that are made while they are read, so that the test itself needs no such memory."""

    schema = pa.schema([(f"c{i}", pa.float64()) for i in range(COLUMNS)])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        for number in range(BATCHES):
            column = pa.array(np.full(ROWS, float(number)))
            yield pa.record_batch([column] * COLUMNS, schema=self.schema)


def peak_memory(process: psutil.Process) -> int:
    """The highest resident memory that the process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_of_the_server_stays_flat(own_server: ServerProcess) -> None:
    with Client(own_server.target) as client:
        config = client.configs.create("big", {"behaviour": "mean"}, runner="behaviours")
        client.train(config, {"x": [1.0]}).wait(timeout=30)
        idle = own_server.process.memory_info().rss
        job = client.train(config, Frame())
        model = job.wait(timeout=300)
        assert not [event for event in job.watch() if isinstance(event, LogEvent)]
        assert model.predict({"x": [1.0]}).num_rows == 1
    above = peak_memory(own_server.process) - idle
    print(f"\n{TOTAL / 1e9:.1f} GB trained on; the server's peak memory is {above / MIB:.0f} MiB above idle ({idle / MIB:.0f} MiB)")
    assert above < 300 * MIB
