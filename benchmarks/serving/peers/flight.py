"""pyarrow's Flight server, asked by DoExchange: a stream for each row, or rows on streams that stay open."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from .. import wire
from ..peer import SERVERS, Peer, Place, Question
from ..work import Mode, Work
from .modelwire import frame

EXCHANGE = "/arrow.flight.protocol.FlightService/DoExchange"
# FlightData.data_header, data_body and flight_descriptor.
HEADER, BODY, DESCRIPTOR = 2, 1000, 1
COMMAND = wire.field(1, 2) + wire.field(2, "predict")


class Flight(Peer):
    name = "Flight"
    settings = "pyarrow, one process"

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "flight_sample.py"), str(place.columns), str(place.port)]

    def subjects(self, place: Place, question: Question) -> Mapping[str, Work]:
        return {
            "Flight, call": exchange(place, question, "exchange"),
            "Flight, stream": exchange(place, question, "stream", "-greeting=1"),
        }

    def version(self) -> str:
        return str(pa.__version__)


def exchange(place: Place, question: Question, mode: Mode, *options: str) -> Work:
    schema, *_ = flight_data(frame(question.rows))
    asked = [(list(flight_data(frame(row)))[1], expected) for row, expected in question.single()]
    return Work(
        mode=mode,
        target=place.address,
        method=EXCHANGE,
        preamble=[wire.field(DESCRIPTOR, COMMAND) + schema],
        messages=[message for message, _ in asked],
        expected=[expected for _, expected in asked],
        read=classes,
        options=options,
    )


def flight_data(table: pa.Table, rows: int | None = None) -> Iterator[bytes]:
    """The messages of an Arrow stream, as Flight sends them: the schema first, then record batches of so many rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    for message in pa.ipc.MessageReader.open_stream(sink.getvalue()):
        body = message.body.to_pybytes() if message.body is not None else b""
        yield wire.field(HEADER, message.metadata.to_pybytes()) + (wire.field(BODY, body) if body else b"")


def classes(answer: bytes) -> list[int]:
    """Those of a record batch of one column without nulls; its values end the body, padded."""
    fields = wire.parse(answer)
    (header,), (body,) = fields[HEADER], fields[BODY]
    assert isinstance(header, bytes)
    assert isinstance(body, bytes)
    schema = pa.schema([("prediction", pa.int64())])
    batch = pa.ipc.read_record_batch(encapsulated(header, body), schema)
    found: list[int] = np.asarray(batch.column(0)).tolist()
    return found


def encapsulated(header: bytes, body: bytes) -> pa.Buffer:
    """A message as it stands in an Arrow stream."""
    padded = header + bytes(-len(header) % 8)
    return pa.py_buffer(b"\xff\xff\xff\xff" + len(padded).to_bytes(4, "little") + padded + body)
