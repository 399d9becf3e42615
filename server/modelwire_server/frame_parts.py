"""An answer that is written while it is made: one Arrow IPC stream, part by part."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from .errors import InvalidPrediction
from .frames import MIB

# What a part takes at most, and what a batch may take so that it fits with what Arrow puts around it.
PART_BYTES = MIB
BATCH_BYTES = PART_BYTES * 7 // 8

Part = list[Any]


class FrameParts:
    """Writes tables of the same columns as one stream. A part is a list of buffers that belong one after the other; it ends where a
    record batch ends if that is possible within its size."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = _Sink()
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), schema)

    def add(self, table: pa.Table) -> Iterator[Part]:
        """Raises InvalidPrediction for other columns than those of the first table."""
        same = table if table.schema.equals(self._schema) else self._cast(table)
        rows = max(1, BATCH_BYTES * same.num_rows // max(1, same.nbytes))
        for batch in same.to_batches(max_chunksize=rows):
            self._writer.write_batch(batch)
            if self._sink.size >= PART_BYTES // 8:
                yield from self._sink.take()

    def rest(self) -> Iterator[Part]:
        """What is left, and the end of the stream."""
        self._writer.close()
        yield from self._sink.take()

    def _cast(self, table: pa.Table) -> pa.Table:
        """A column without any value, or of a narrower type, may become what it was in the rows before."""
        try:
            return table.cast(self._schema)
        except (pa.ArrowException, ValueError) as error:
            reason = str(error).partition("\n")[0]
            message = f"the runner returned other columns for later rows than for the first: {reason}"
            raise InvalidPrediction(message, rule="columns") from None


class _Sink:
    """Takes what Arrow writes, which are buffers of the table wherever they can be."""

    closed = False

    def __init__(self) -> None:
        self._buffers: Part = []
        self.size = 0

    def write(self, data: Any) -> int:
        self._buffers.append(data)
        self.size += len(data)
        return len(data)

    def take(self) -> Iterator[Part]:
        taken, size = self._buffers, self.size
        self._buffers, self.size = [], 0
        if size <= PART_BYTES:
            if size:
                yield taken
            return
        whole = memoryview(b"".join(taken))
        for start in range(0, size, PART_BYTES):
            yield [whole[start : start + PART_BYTES]]

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written stays to be taken."""
