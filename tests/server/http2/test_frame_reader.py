"""Frames come out of what a socket gives, however it is cut."""

import itertools

import pytest
from http2_peer import FRAME_SIZE_ERROR, PREFACE
from hyperframe.frame import DataFrame, Frame, PingFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_server.http2.frame_reader import FrameReader
from modelwire_server.http2.frames import DATA, END_STREAM, SETTINGS, ConnectionFault, without_padding

MAX_FRAME = 16_384
GREETING = PREFACE + SettingsFrame(0).serialize()

# What is told of frames: the streams with their content, byte by byte, their ends, and all else, in their order.
Told = list[tuple[int, object]]

data_frames = st.builds(
    lambda stream, content, ends, padded: DataFrame(
        stream, content, pad_length=3 if padded else 0, flags=["END_STREAM"] * ends + ["PADDED"] * padded
    ),
    st.sampled_from([1, 3]),
    st.binary(max_size=40),
    st.booleans(),
    st.integers(0, 9).map(lambda number: number == 0),
)
frames = data_frames | st.builds(lambda content: PingFrame(0, content), st.binary(min_size=8, max_size=8))


def meant(sent: list[Frame]) -> Told:
    told: Told = []
    for frame in sent:
        if isinstance(frame, DataFrame):
            told += [(frame.stream_id, byte) for byte in frame.data]
            told += [(frame.stream_id, "end")] * ("END_STREAM" in frame.flags)
        else:
            assert isinstance(frame, PingFrame)
            told.append((0, frame.opaque_data))
    return told


def read(reader: FrameReader, pieces: list[bytes]) -> tuple[Told, int]:
    """What the frames say, and how long those of DATA are in all."""
    told: Told = []
    length = 0
    for piece in pieces:
        reader.add(piece)
        while (frame := reader.next()) is not None:
            if frame.kind != DATA:
                told += [(0, bytes(frame.payload))] if frame.kind != SETTINGS else []
                continue
            length += frame.length if frame.begins else 0
            for payload in (without_padding(frame.payload, frame.flags), *frame.more):
                told += [(frame.stream, byte) for byte in payload]
            told += [(frame.stream, "end")] * bool(frame.ends and frame.flags & END_STREAM)
        reader.trim()
    return told, length


@settings(deadline=None)
@given(st.data(), st.lists(frames, max_size=12))
def test_frames_say_the_same_whatever_they_are_cut_into(data: st.DataObject, sent: list[Frame]) -> None:
    whole = GREETING + b"".join(frame.serialize() for frame in sent)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8))), len(whole)]
    told, length = read(FrameReader(MAX_FRAME), [whole[begin:end] for begin, end in itertools.pairwise(cuts)])
    assert told == meant(sent)
    assert length == sum(len(frame.serialize()) - 9 for frame in sent if isinstance(frame, DataFrame))


def test_frames_of_a_large_message_come_together() -> None:
    whole = GREETING + b"".join(DataFrame(1, bytes([number]) * MAX_FRAME).serialize() for number in range(20))
    reader = FrameReader(MAX_FRAME)
    reader.add(whole[:-100])
    assert reader.next() is not None  # the settings
    frame = reader.next()
    assert frame is not None
    assert not frame.ends
    assert frame.length == 20 * MAX_FRAME
    assert b"".join([frame.payload, *frame.more]) == b"".join(bytes([number]) * MAX_FRAME for number in range(20))[:-100]
    assert reader.next() is None
    reader.add(whole[-100:])
    rest = reader.next()
    assert rest is not None
    assert (rest.begins, rest.ends, len(rest.payload)) == (False, True, 100)


def test_one_that_is_too_large_is_refused_behind_others_as_well() -> None:
    reader = FrameReader(MAX_FRAME)
    reader.add(GREETING + DataFrame(1, b"some").serialize() + DataFrame(1, bytes(MAX_FRAME + 1)).serialize())
    assert reader.next() is not None  # the settings
    frame = reader.next()
    assert frame is not None
    assert bytes(frame.payload) == b"some"
    with pytest.raises(ConnectionFault) as caught:
        reader.next()
    assert caught.value.code == FRAME_SIZE_ERROR
