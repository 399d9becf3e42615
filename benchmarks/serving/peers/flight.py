"""pyarrow's Flight server, asked by DoExchange: a stream for each row, rows on streams that stay open, a large frame."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from .. import wire
from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Mode, Work
from .modelwire import frame

EXCHANGE = "/arrow.flight.protocol.FlightService/DoExchange"
# FlightData.data_header, data_body and flight_descriptor.
HEADER, BODY, DESCRIPTOR = 2, 1000, 1
ANSWER = pa.schema([("prediction", pa.int64())])
COMMAND = wire.field(1, 2) + wire.field(2, "predict")


class Flight(Peer):
    name = "Flight"
    settings = "pyarrow, one process; a call is a DoExchange"
    batches: ClassVar[dict[str, int | None]] = {
        "batches of 4,096 rows": 4_096,
        "batches of 16,384 rows": 16_384,
        "batches of 65,536 rows": 65_536,
        "one batch": None,
    }
    forms = tuple(batches)

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "flight_sample.py"), str(place.columns), str(place.port)]

    def calls(self, place: Place, question: Question) -> Works:
        return {"Flight": exchange(place, question, "exchange")}

    def streams(self, place: Place, question: Question) -> Works:
        return {"Flight": exchange(place, question, "stream", "-greeting=1")}

    def frame(self, place: Place, question: Question, form: str) -> Work:
        first, *rest = flight_data(frame(question.rows), self.batches[form])
        return Work(
            mode="exchange",
            target=place.address,
            method=EXCHANGE,
            messages=[wire.field(DESCRIPTOR, COMMAND) + first, *rest],
            expected=[question.expected.tolist()],
            read=classes,
            whole=True,
        )

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
    """Those of all record batches of an answer, which have one column without nulls."""
    fields = wire.parse(answer)
    bodies = fields[BODY]
    # The schema, if it is there, has no body.
    headers = fields[HEADER][-len(bodies) :]
    batches = [pa.ipc.read_record_batch(encapsulated(*parts), ANSWER) for parts in zip(headers, bodies, strict=True)]
    found: list[int] = pa.Table.from_batches(batches)["prediction"].to_pylist()
    return found


def encapsulated(header: wire.Value, body: wire.Value) -> pa.Buffer:
    """A message as it stands in an Arrow stream."""
    assert isinstance(header, bytes)
    assert isinstance(body, bytes)
    padded = header + bytes(-len(header) % 8)
    return pa.py_buffer(b"\xff\xff\xff\xff" + len(padded).to_bytes(4, "little") + padded + body)
