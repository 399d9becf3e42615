"""Frames that arrive in pieces are read as they would be as a whole, wherever their bytes are cut."""

import io
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_server.errors import FrameTooLarge, InvalidField, InvalidFrame
from modelwire_server.frame_stream import LEAST_COMPILED_PIECE, LEAST_PIECE, FrameStream, Pieces
from modelwire_server.frames import FrameLimits, read_frame, write_frame

LIMITS = FrameLimits()


def written(batches: Iterable[pa.RecordBatch], schema: pa.Schema, **options: object) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def plain() -> bytes:
    return write_frame(pa.table({"x": [1.0, 2.0, None], "n": pa.nulls(3), "s": ["a", "", None], "d": [[1], [], None]}))


def many_batches() -> bytes:
    schema = pa.schema([("x", pa.int64())])
    return written([pa.record_batch([pa.array(range(n))], schema=schema) for n in (3, 0, 1, 7)], schema)


def compressed() -> bytes:
    table = pa.table({"x": np.zeros(500), "s": ["abc"] * 500})
    return written(table.to_batches(max_chunksize=200), table.schema, compression="zstd")


def dictionaries() -> bytes:
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("c", kind), ("d", kind)])
    words = [["a", "b"], ["a", "b", "c"], ["z"], ["z", "y"]]
    arrays = [pa.DictionaryArray.from_arrays(pa.array([0] * 3, pa.int8()), known) for known in words]
    return written([pa.record_batch([one, one], schema=schema) for one in arrays], schema, emit_dictionary_deltas=True)


def no_batches() -> bytes:
    return written([], pa.schema([("x", pa.int64()), ("c", pa.dictionary(pa.int8(), pa.string()))]))


def no_columns() -> bytes:
    return write_frame(pa.table({"x": [1, 2]}).select([]))


def old_format() -> bytes:
    """Without continuation marks, as before Arrow 0.15."""
    table = pa.table({"x": [1, 2, 3]})
    return written(table.to_batches(), table.schema, use_legacy_format=True)


FRAMES = [plain, many_batches, compressed, dictionaries, no_batches, no_columns, old_format]
frames = pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.__name__)


def read_in_pieces(chunks: Iterable[bytes], limits: FrameLimits = LIMITS) -> pa.Table:
    stream = FrameStream(limits, "future")
    batches: list[pa.RecordBatch] = []
    for chunk in chunks:
        if stream.feed(chunk):
            batches.extend(stream.batches())
    schema = stream.finish()
    return pa.Table.from_batches(batches, schema)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@frames
@pytest.mark.parametrize("size", [1, 3, 8, 64, 1 << 20])
def test_bytes_may_be_cut_anywhere(frame: Callable[[], bytes], size: int) -> None:
    data = frame()
    table = read_in_pieces(data[at : at + size] for at in range(0, len(data), size))
    assert table.equals(read_frame(data, LIMITS, "future"), check_metadata=True)


@settings(deadline=None, max_examples=60)
@given(frame=st.sampled_from(FRAMES), places=st.lists(st.integers(0, 1 << 16), max_size=12))
def test_any_cuts(frame: Callable[[], bytes], places: list[int]) -> None:
    data = frame()
    assert read_in_pieces(cut(data, places)).equals(read_frame(data, LIMITS, "future"))


@settings(deadline=None, max_examples=150)
@given(
    frame=st.sampled_from(FRAMES),
    damage=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 1 << 16), max_size=6),
)
def test_damaged_frames_are_read_or_refused_as_whole_ones_are(
    frame: Callable[[], bytes], damage: list[tuple[int, int]], places: list[int]
) -> None:
    data = bytearray(frame())
    for place, value in damage:
        data[place % len(data)] = value
    try:
        expected = read_frame(bytes(data), LIMITS, "future")
    except InvalidField:
        with pytest.raises(InvalidField):
            read_in_pieces(cut(bytes(data), places))
    else:
        assert read_in_pieces(cut(bytes(data), places)).schema == expected.schema


@frames
def test_a_frame_that_ends_early_is_refused(frame: Callable[[], bytes]) -> None:
    data = frame()
    whole = {len(data), len(data) - 4, len(data) - 8}  # the mark of the end may be missing
    for end in set(range(len(data))) - whole:
        try:
            read_frame(data[:end], LIMITS, "future")
        except InvalidFrame:
            with pytest.raises(InvalidFrame):
                read_in_pieces([data[:end]])


def test_what_follows_after_the_end_is_refused() -> None:
    with pytest.raises(InvalidFrame, match="bytes follow after its end"):
        read_in_pieces([plain(), b"x"])
    with pytest.raises(InvalidFrame, match="second schema"):
        read_in_pieces([plain()[:-8], plain()])
    with pytest.raises(InvalidFrame, match="begins with a schema"):
        read_in_pieces([])


def test_a_batch_in_one_chunk_is_a_view_of_it() -> None:
    table = pa.table({"x": np.arange(100_000.0)})
    head = len(table.schema.serialize())
    data = bytes(write_frame(table))
    stream = FrameStream(LIMITS, "future")
    stream.feed(data[:head])
    chunk = data[head:]
    stream.feed(chunk)
    (batch,) = stream.batches()
    begin = pa.py_buffer(chunk).address
    assert begin <= batch.column(0).buffers()[1].address < begin + len(chunk)


@pytest.mark.parametrize("shift", range(8))
def test_numbers_are_aligned_wherever_they_arrive(shift: int) -> None:
    data = write_frame(pa.table({"x": np.arange(1000.0)}))
    padded = memoryview(bytes(shift) + data)[shift:]
    stream = FrameStream(LIMITS, "future")
    stream.feed(padded)
    (batch,) = stream.batches()
    assert batch.column(0).buffers()[1].address % 8 == 0
    assert batch.column(0).to_pylist() == list(map(float, range(1000)))


@pytest.mark.parametrize(
    ("limits", "chunks"),
    [
        (FrameLimits(max_bytes=100), [plain()[:101]]),
        (FrameLimits(max_batch_bytes=1000), [write_frame(pa.table({"x": np.zeros(1000)}))[:500]]),
        (FrameLimits(max_rows=2), [plain()]),
        (FrameLimits(max_columns=3), [plain()]),
        (FrameLimits(max_batches=3), [many_batches()]),
        (FrameLimits(max_decompressed_bytes=3000), [compressed()]),
        (FrameLimits(max_metadata_bytes=50), [plain()[:9]]),
    ],
)
def test_what_is_announced_above_a_limit_is_refused_before_it_came(limits: FrameLimits, chunks: list[bytes]) -> None:
    with pytest.raises(FrameTooLarge) as caught:
        read_in_pieces(chunks, limits)
    assert caught.value.violations[0].field == "future"


@pytest.mark.parametrize("least", [LEAST_PIECE, LEAST_COMPILED_PIECE])
def test_small_batches_are_put_together_and_large_ones_sliced_without_copies(least: int) -> None:
    numbers = np.arange(1_000_000.0)
    table = pa.table({"x": numbers})
    for rows in (1000, 50_000, 1_000_000):
        pieces = Pieces(least)
        tables: list[pa.Table] = []
        for batch in table.to_batches(max_chunksize=rows):
            tables.extend(pieces.add(batch))
        tables.extend(pieces.rest(table.schema))
        assert pa.concat_tables(tables).equals(table)
        assert all(least <= one.nbytes <= 2 * least for one in tables[:-1])
        whole = numbers.__array_interface__["data"][0]
        addresses = [chunk.buffers()[1].address for one in tables for chunk in one.column("x").chunks]
        assert all(whole <= address < whole + numbers.nbytes for address in addresses)
