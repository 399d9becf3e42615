"""Chunks are written and read as protobuf would."""

from hypothesis import given
from hypothesis import strategies as st

from modelwire.v1.predict_service_pb2 import PredictRequest, PredictStreamEnd, PredictStreamRequest
from modelwire.wire import ALIGNMENT, field_tag, read_chunk, read_tag, write_bundle, write_chunk

FUTURE = field_tag(PredictStreamRequest.FUTURE_FIELD_NUMBER)
numbers = st.integers(0, (1 << 63) - 1)


@given(number=numbers, buffers=st.lists(st.binary(max_size=300), max_size=4))
def test_protobuf_reads_what_is_written(number: int, buffers: list[bytes]) -> None:
    message = write_chunk(number, FUTURE, buffers)
    assert PredictStreamRequest.FromString(message) == PredictStreamRequest(call=number, future=b"".join(buffers))


@given(number=st.integers(1, (1 << 63) - 1), chunk=st.binary(max_size=300))
def test_what_protobuf_writes_is_read(number: int, chunk: bytes) -> None:
    message = PredictStreamRequest(call=number, future=chunk).SerializeToString()
    assert read_chunk(message, {FUTURE}) == (number, FUTURE, memoryview(chunk))


@given(number=st.integers(0, 1 << 20), size=st.sampled_from([0, 1, 127, 128, 20_000, 3_000_000]))
def test_chunks_are_aligned(number: int, size: int) -> None:
    message = write_chunk(number, FUTURE, [bytes(size)])
    assert (len(message) - size) % ALIGNMENT == 0
    found = read_chunk(message, {FUTURE})
    assert found is not None
    assert found[0] == number


@given(st.binary(max_size=40))
def test_anything_else_is_left_to_protobuf(data: bytes) -> None:
    found = read_chunk(data, {FUTURE})
    if found is not None:
        number, _, chunk = found
        assert PredictStreamRequest.FromString(data) == PredictStreamRequest(call=number, future=bytes(chunk))


def test_messages_without_a_chunk_are_none() -> None:
    assert read_chunk(PredictStreamRequest(call=1, end=PredictStreamEnd()).SerializeToString(), {FUTURE}) is None
    assert read_chunk(PredictStreamRequest(call=-1, future=b"x").SerializeToString(), {FUTURE}) is None
    assert read_chunk(PredictStreamRequest(call=1, geo=b"x").SerializeToString(), {FUTURE}) is None
    assert read_chunk(PredictStreamRequest(call=1, future=b"xyz").SerializeToString()[:-1], {FUTURE}) is None


@given(calls=st.lists(numbers, min_size=1, max_size=5), chunk=st.binary(max_size=300))
def test_protobuf_reads_a_bundle(calls: list[int], chunk: bytes) -> None:
    tag = field_tag(PredictStreamRequest.BUNDLE_FIELD_NUMBER)
    message = write_bundle(tag, [write_chunk(call, FUTURE, [chunk]) for call in calls])
    parts = PredictStreamRequest.FromString(message).bundle.parts
    assert [(part.call, part.future) for part in parts] == [(call, chunk) for call in calls]


@given(call=st.integers(1, (1 << 63) - 1))
def test_what_a_message_holds_is_told_by_its_tag(call: int) -> None:
    whole = PredictStreamRequest(call=call, whole=PredictRequest(model="m")).SerializeToString()
    assert read_tag(whole) == field_tag(PredictStreamRequest.WHOLE_FIELD_NUMBER)
    assert read_tag(write_chunk(call, FUTURE, [b"x"])) == FUTURE
    assert read_tag(PredictStreamRequest(call=call).SerializeToString()) == 0
    assert read_tag(PredictStreamRequest(end=PredictStreamEnd()).SerializeToString()) == 0
    assert read_tag(b"") == 0
