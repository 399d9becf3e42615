"""Messages that arrive in pieces, compressed or not, and what is not taken for one."""

import gzip
import itertools
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_server.http2.messages import BadMessage, MessageReader, prefixed

COMPRESS = {"identity": bytes, "deflate": zlib.compress, "gzip": gzip.compress}
LIMIT = 1000
encodings = st.sampled_from(sorted(COMPRESS))


def written(messages: list[tuple[bytes, bool]], encoding: str) -> bytes:
    """Messages as they travel, each with whether it is compressed."""
    travelling = [(COMPRESS[encoding](content) if compressed else content, compressed) for content, compressed in messages]
    return b"".join(struct.pack(">?I", compressed, len(content)) + content for content, compressed in travelling)


def read(reader: MessageReader, *pieces: bytes) -> list[bytes]:
    return [reader.unpacked(message) for piece in pieces for message in reader.read((memoryview(piece),))]


def refusal(reader: MessageReader, data: bytes) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        read(reader, data)
    return caught.value


@settings(deadline=None)
@given(st.data(), encodings, st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8))
def test_messages_come_out_whatever_they_are_cut_into(
    data: st.DataObject, encoding: str, messages: list[tuple[bytes, bool]]
) -> None:
    messages = [(content, compressed and encoding != "identity") for content, compressed in messages]
    whole = written(messages, encoding)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12))), len(whole)]
    reader = MessageReader(LIMIT, encoding)
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(cuts)]
    assert read(reader, *pieces) == [content for content, _ in messages]
    assert not reader.held


@settings(deadline=None)
@given(st.data(), st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_what_is_held_are_the_bytes_of_the_message_that_is_not_complete(data: st.DataObject, messages: list[bytes]) -> None:
    whole = b"".join(map(prefixed, messages))
    end = data.draw(st.integers(0, len(whole)))
    reader = MessageReader(LIMIT, "identity")
    complete = read(reader, whole[:end])
    assert reader.held == end - sum(map(len, map(prefixed, complete)))
    assert complete + read(reader, whole[end:]) == messages


@settings(deadline=None)
@given(st.data(), st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_pieces_that_were_received_at_once_are_read_as_one(data: st.DataObject, messages: list[bytes]) -> None:
    whole = memoryview(b"".join(map(prefixed, messages)))
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12))), len(whole)]
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(cuts)]
    reader = MessageReader(LIMIT, "identity")
    assert [message.content for message in reader.read(pieces)] == messages


@settings(deadline=None)
@given(st.integers(64, 5000), st.data())
def test_a_message_in_pieces_ends_where_numbers_may(size: int, data: st.DataObject) -> None:
    content = bytes(range(256)) * 20
    whole = prefixed(content[:size])
    cut = data.draw(st.integers(1, len(whole) - 1))
    reader = MessageReader(size, "identity")
    assert not list(reader.read((memoryview(whole[:cut]),)))
    (message,) = reader.read((memoryview(whole[cut:]),))
    assert message.content == content[:size]
    assert (np.frombuffer(message.content, "u1").ctypes.data + size) % 16 == 0


@pytest.mark.parametrize("times", [1, 8])
def test_a_small_piece_does_not_keep_what_came_with_it(times: int) -> None:
    received = prefixed(bytes(1000)) * 100
    reader = MessageReader(LIMIT, "identity")
    before = sys.getrefcount(received)
    assert not list(reader.read([memoryview(received)[place : place + 100] for place in range(0, 100 * times, 100)]))
    assert reader.held == 100 * times
    assert sys.getrefcount(received) == before


@pytest.mark.parametrize("size", [1, 16, 300, 5000])
def test_what_is_held_takes_no_more_than_a_few_times_its_size(size: int) -> None:
    """A stranger may cut a message into whatever frames."""
    count = (1 << 18) // size
    received = prefixed(bytes(1 << 20))[: count * size]
    reader = MessageReader(2 << 20, "identity")
    tracemalloc.start()
    try:
        assert not list(reader.read([memoryview(received)[at : at + size] for at in range(0, len(received), size)]))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.held == len(received)
    assert held < 2 * len(received)


def test_byte_by_byte() -> None:
    whole = written([(b"one", True), (b"", False), (b"", True), (b"four" * 100, False)], "gzip")
    pieces = [bytes([byte]) for byte in whole]
    assert read(MessageReader(LIMIT, "gzip"), *pieces) == [b"one", b"", b"", b"four" * 100]


def test_messages_are_written_as_they_are_read() -> None:
    assert prefixed(b"abc") == b"\0\0\0\0\3abc"
    assert read(MessageReader(LIMIT, "identity"), prefixed(b"x" * LIMIT)) == [b"x" * LIMIT]


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("cut", [3, 5, 9, LIMIT * 2], ids="cut at {}".format)
def test_as_large_as_is_allowed(encoding: str, cut: int) -> None:
    compressed = encoding != "identity"
    good, bad = (written([(bytes(size), compressed)], encoding) for size in (LIMIT, LIMIT + 1))
    assert read(MessageReader(LIMIT, encoding), good[:cut], good[cut:]) == [bytes(LIMIT)]
    reader = MessageReader(LIMIT, encoding)
    with pytest.raises(BadMessage, match="larger than max") as caught:
        read(reader, bad[:cut], bad[cut:])
    assert caught.value.is_too_large


def test_a_large_one_is_refused_by_its_prefix() -> None:
    assert refusal(MessageReader(LIMIT, "identity"), struct.pack(">BI", 0, LIMIT + 1)).is_too_large
    assert refusal(MessageReader(LIMIT, "gzip"), struct.pack(">BI", 1, 0xFFFF_FFFF)).is_too_large


def test_a_bomb_does_not_go_off() -> None:
    deflate = zlib.compressobj(9)
    bomb = b"".join([*(deflate.compress(bytes(1 << 20)) for _ in range(64)), deflate.flush()])
    limit = 1 << 20
    assert len(bomb) < limit
    data = struct.pack(">BI", 1, len(bomb)) + bomb
    tracemalloc.start()
    try:
        assert refusal(MessageReader(limit, "deflate"), data).is_too_large
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * limit


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        pytest.param("identity", b"\2\0\0\0\1x", id="a prefix that there is not"),
        pytest.param("gzip", b"\xff\0\0\0\1x", id="another"),
        pytest.param("identity", b"\1\0\0\0\1x", id="compressed, nobody says how"),
        pytest.param("snappy", b"\1\0\0\0\1x", id="compressed in an unknown way"),
        pytest.param("gzip", b"\1\0\0\0\1x", id="not compressed at all"),
        pytest.param("gzip", b"\1\0\0\0\0", id="nothing is no gzip"),
        pytest.param("deflate", written([(b"abc", True)], "gzip"), id="gzip instead of deflate"),
        pytest.param("gzip", written([(b"abc", True)], "deflate"), id="deflate instead of gzip"),
        pytest.param("gzip", struct.pack(">BI", 1, 15) + gzip.compress(b"a" * 100)[:15], id="cut off"),
        pytest.param("gzip", struct.pack(">BI", 1, 24) + gzip.compress(b"a" * 100)[:-8] + bytes(8), id="a wrong checksum"),
    ],
)
def test_what_is_no_message(encoding: str, data: bytes) -> None:
    bad = refusal(MessageReader(LIMIT, encoding), data)
    assert not bad.is_too_large
    assert str(bad)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=5), encodings)
def test_any_bytes_are_messages_or_refused(pieces: list[bytes], encoding: str) -> None:
    reader = MessageReader(LIMIT, encoding)
    try:
        for message in read(reader, *pieces):
            assert len(message) <= LIMIT
    except BadMessage:
        pass
