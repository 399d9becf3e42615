"""Small predictions that are ready at the same time share messages."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.rpc import code_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from working_server import arrow

from modelwire import AsyncClient, Client, Internal, Model, ModelwireError
from modelwire.ahead import AHEAD_ITEMS, Ahead
from modelwire.payload import BUNDLE_BYTES, BUNDLE_MESSAGES, bundles
from modelwire.v1 import predict_service_pb2 as pb
from modelwire.v1.predict_service_pb2_grpc import PredictServiceServicer
from modelwire.wire import field_tag, write_chunk

FUTURE = field_tag(pb.PredictStreamRequest.FUTURE_FIELD_NUMBER)


def whole(call: int, size: int = 0) -> bytes:
    return pb.PredictStreamRequest(call=call, whole=pb.PredictRequest(model="m" * size)).SerializeToString()


def parts_of(message: Any) -> Any:
    return message.bundle.parts if message.HasField("bundle") else (message,)


def unpacked(message: bytes) -> list[bytes]:
    return [part.SerializeToString() for part in parts_of(pb.PredictStreamRequest.FromString(message))]


ready_messages = st.lists(
    st.one_of(
        st.integers(0, 600).map(lambda size: whole(1, size)),
        st.integers(BUNDLE_BYTES // 3, BUNDLE_BYTES + 1).map(lambda size: whole(2, size)),
        st.just(pb.PredictStreamRequest(call=3, header=pb.PredictRequest(model="m")).SerializeToString()),
        st.just(pb.PredictStreamRequest(call=3, future=b"chunk").SerializeToString()),
        st.just(pb.PredictStreamRequest(call=3, end=pb.PredictStreamEnd()).SerializeToString()),
    ),
    max_size=12,
)


@given(ready_messages)
def test_nothing_is_lost_and_the_order_stays(ready: list[bytes]) -> None:
    packed = list(bundles(ready))
    assert [part for message in packed for part in unpacked(message)] == ready
    for message in packed:
        assert len(unpacked(message)) == 1 or len(message) < BUNDLE_BYTES + 1024


def test_what_is_ready_at_once_is_one_message() -> None:
    packed = list(bundles([whole(call) for call in range(1, 2 * BUNDLE_MESSAGES + 3)]))
    assert [len(unpacked(message)) for message in packed] == [BUNDLE_MESSAGES, BUNDLE_MESSAGES, 2]
    assert list(bundles([])) == []


def test_a_lone_prediction_and_the_parts_of_a_large_one_go_as_they_are() -> None:
    chunk = write_chunk(2, FUTURE, [b"x"])
    options = pb.PredictStreamRequest(options=pb.PredictStreamOptions(bundled=True)).SerializeToString()
    ready = [options, whole(1), chunk, chunk, whole(3), whole(4), chunk]
    packed = list(bundles(ready))
    assert packed[:4] == ready[:4]
    assert unpacked(packed[4]) == ready[4:6]
    assert packed[5:] == [chunk]


def test_all_that_was_read_ahead_is_taken_at_once() -> None:
    exhausted = threading.Event()

    def items() -> Iterator[bytes]:
        yield from (b"1", b"2", b"3")
        exhausted.set()

    ahead = Ahead(items())
    assert exhausted.wait(10)
    assert ahead.take() == [b"1", b"2", b"3"]
    assert ahead.take() == []


def test_no_more_is_read_ahead_than_there_is_room_for() -> None:
    read: list[int] = []
    full = threading.Event()

    def items() -> Iterator[bytes]:
        while True:
            read.append(len(read))
            if len(read) == AHEAD_ITEMS:
                full.set()
            yield b""

    ahead = Ahead(items())
    assert full.wait(10)
    first = ahead.take()
    while len(first) < AHEAD_ITEMS:
        first += ahead.take()
    assert len(first) <= len(read) <= len(first) + AHEAD_ITEMS
    ahead.close()


def test_who_waits_is_told_when_nothing_more_is_wanted() -> None:
    asked = threading.Event()

    def stuck() -> Iterator[bytes]:
        asked.wait(20)
        yield b""

    ahead = Ahead(stuck())
    taken: list[list[bytes]] = []
    waiting = threading.Thread(target=lambda: taken.append(ahead.take()))
    waiting.start()
    ahead.close()
    waiting.join(10)
    assert taken == [[]]
    asked.set()


def doubled(call: int, content: bytes) -> list[pb.PredictStreamResponse]:
    """y = 2 x, fails for x < 0, and comes in chunks where there are many."""
    x = np.asarray(pa.ipc.open_stream(content).read_all()["x"])
    if len(x) and x[0] < 0:
        return [pb.PredictStreamResponse(call=call, error=status_pb2.Status(code=code_pb2.INTERNAL, message="no negative x"))]
    encoded = arrow(pa.table({"y": x * 2}))
    if len(x) < 1000:
        answer = pb.PredictStreamResponse(call=call)
        answer.whole.predictions.arrow = encoded
        return [answer]
    chunks = [encoded[start : start + 50_000] for start in range(0, len(encoded), 50_000)]
    parts = [pb.PredictStreamResponse(call=call, predictions=chunk) for chunk in chunks]
    return [*parts, pb.PredictStreamResponse(call=call, end=pb.PredictStreamEnd())]


class Bundler(PredictServiceServicer):
    """Reads nothing before `begin`, and answers all in one bundle when all is asked; notes how many parts each message had."""

    def __init__(self) -> None:
        self.begin = threading.Event()
        self.options: Any = None
        self.sizes: list[int] = []
        self.kinds: list[str] = []

    def PredictStream(self, request_iterator: Any, context: Any) -> Iterator[pb.PredictStreamResponse]:
        assert self.begin.wait(20)
        self.options = next(request_iterator).options
        answers: list[list[pb.PredictStreamResponse]] = []
        content = b""
        for request in request_iterator:
            self.sizes.append(len(parts_of(request)))
            for part in parts_of(request):
                self.kinds.append(part.WhichOneof("part"))
                content += part.future
                if part.HasField("whole"):
                    answers.append(doubled(part.call, part.whole.future.arrow))
                elif part.HasField("end"):
                    answers.append(doubled(part.call, content))
                    content = b""
        if self.options.out_of_order:
            answers.reverse()
        yield pb.PredictStreamResponse(bundle=pb.PredictStreamResponseBundle(parts=[part for one in answers for part in one]))


def ask(target: str, futures: Iterator[Any], model: str = "M", **options: Any) -> list[Any]:
    with Client(target) as client:
        return list(client.predict_many(model, futures, **options))


def ask_async(target: str, futures: Iterator[Any], model: str = "M", **options: Any) -> list[Any]:
    async def scenario() -> list[Any]:
        async with AsyncClient(target) as client:
            return [answer async for answer in client.predict_many(model, futures, **options)]

    return asyncio.run(scenario())


both = pytest.mark.parametrize("ask", [ask, ask_async], ids=["blocking", "asyncio"])
Ask = Callable[..., list[Any]]


def then(event: threading.Event, futures: list[Any]) -> Iterator[Any]:
    yield from futures
    event.set()


def values(answers: list[Any]) -> list[Any]:
    return [answer["y"].to_pylist() if isinstance(answer, pa.Table) else type(answer) for answer in answers]


@both
def test_predictions_that_wait_to_be_sent_share_a_message(serve: Any, ask: Ask) -> None:
    """40 times 40 kB are more than gRPC takes from who is not read."""
    server = Bundler()
    frames = [pa.table({"x": np.full(999, float(n)), "text": ["x" * 30] * 999}) for n in range(40)]
    answers = ask(serve(server), then(server.begin, frames))
    assert [answer["y"][0].as_py() for answer in answers] == [2.0 * n for n in range(40)]
    assert server.options == pb.PredictStreamOptions(bundled=True)
    assert sum(server.sizes) == 40
    assert max(server.sizes) > 1


@both
def test_a_frame_that_comes_alone_is_not_held_back(serve: Any, ask: Ask) -> None:
    """The source gives the next frame when the one before has arrived."""

    class Acknowledging(Bundler):
        def PredictStream(self, request_iterator: Any, context: Any) -> Iterator[pb.PredictStreamResponse]:
            return super().PredictStream(self._noting(request_iterator), context)

        def _noting(self, requests: Any) -> Iterator[Any]:
            yield next(requests)
            for request in requests:
                arrived.release()
                yield request

    arrived = threading.Semaphore(1)

    def futures() -> Iterator[Any]:
        for n in range(5):
            assert arrived.acquire(timeout=10)
            yield {"x": [float(n)]}

    server = Acknowledging()
    server.begin.set()
    assert values(ask(serve(server), futures())) == [[2.0 * n] for n in range(5)]
    assert server.sizes == [1] * 5


@both
@pytest.mark.parametrize("out_of_order", [False, True], ids=["in order", "out of order"])
def test_small_and_large_frames_and_failures_in_a_bundle(serve: Any, ask: Ask, out_of_order: bool) -> None:
    server = Bundler()
    server.begin.set()
    large = pa.table({"x": np.arange(300_000.0)})
    futures = [{"x": [1.0]}, {"x": [-1.0]}, large, {"x": [3.0]}, pa.table({"x": np.full(300_000, -1.0)}), {"x": []}]
    answers = ask(serve(server), iter(futures), errors="return", out_of_order=out_of_order)
    expected = [[2.0], Internal, [2.0 * n for n in range(300_000)], [6.0], Internal, []]
    if out_of_order:
        assert [number for number, _ in answers] == [5, 4, 3, 2, 1, 0]
        answers = [answer for _, answer in reversed(answers)]
    assert values(answers) == expected
    chunks = ["future"] * (server.kinds.count("future") // 2)
    assert server.kinds == ["whole", "whole", "header", *chunks, "end", "whole", "header", *chunks, "end", "whole"]


@both
def test_the_first_failure_in_a_bundle_ends_the_stream(serve: Any, ask: Ask) -> None:
    server = Bundler()
    server.begin.set()
    with pytest.raises(Internal, match="no negative x"):
        ask(serve(server), iter([{"x": [1.0]}, {"x": [-1.0]}, {"x": [3.0]}]))


@both
@pytest.mark.parametrize("in_flight", [None, 5])
def test_many_predictions_of_a_real_server(target: str, model: Model, ask: Ask, in_flight: int | None) -> None:
    futures: list[Any] = [{"x": [float(n)]} for n in range(500)]
    futures[100] = {"z": [1.0]}
    futures[250] = pa.table({"x": np.arange(300_000.0)})
    answers = ask(target, iter(futures), model.id, in_flight=in_flight, errors="return")
    assert isinstance(answers[100], ModelwireError)
    assert answers[250]["y"].to_pylist() == [3.0 * n for n in range(300_000)]
    small = [n for n in range(500) if n not in (100, 250)]
    assert [answers[n]["y"].to_pylist() for n in small] == [[3.0 * n] for n in small]
    pairs = ask(target, iter(futures), model.id, in_flight=in_flight, errors="return", out_of_order=True)
    assert sorted(number for number, _ in pairs) == list(range(500))
    assert values([dict(pairs)[n] for n in small]) == [[3.0 * n] for n in small]


def test_frames_without_end_are_not_read_on_when_nobody_wants_more(target: str, model: Model) -> None:
    with Client(target) as client, closing(client.predict_many(model, ({"x": [float(n)]} for n in count()))) as answers:
        assert values([next(answers), next(answers)]) == [[0.0], [3.0]]
    for thread in [thread for thread in threading.enumerate() if thread.name == "modelwire-requests"]:
        thread.join(10)
        assert not thread.is_alive()
