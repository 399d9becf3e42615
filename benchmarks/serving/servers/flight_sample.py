"""The sample model behind Arrow Flight: DoExchange takes record batches and answers each. `python flight_sample.py <columns> <port>`."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import flight

sys.path.insert(0, str(Path(__file__).parents[1]))

from sample import trained

ANSWER = pa.schema([("prediction", pa.int64())])


class Sample(flight.FlightServerBase):
    def __init__(self, location: str, columns: int) -> None:
        super().__init__(location)
        self.model = trained(columns)

    def do_exchange(self, context, descriptor, reader, writer) -> None:
        writer.begin(ANSWER)
        for chunk in reader:
            columns = [column.to_numpy(zero_copy_only=True) for column in chunk.data.columns]
            found = self.model.predict(np.column_stack(columns))
            writer.write_batch(pa.record_batch([pa.array(found)], schema=ANSWER))


Sample(f"grpc://127.0.0.1:{sys.argv[2]}", int(sys.argv[1])).serve()
