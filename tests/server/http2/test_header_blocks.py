"""Header blocks: the examples of the RFC, and what another implementation of it writes and reads."""

import hpack
import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.hpack import NeverIndexedHeaderTuple
from hpack.huffman_table import decode_huffman
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelwire_server.http2.frames import Code, ConnectionFault
from modelwire_server.http2.header_blocks import HeaderDecoder, encode
from modelwire_server.http2.huffman import decoded

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
AUTHORITY = (":authority", "www.example.com")
# The examples with responses assume a table of 256 bytes; this says so.
TABLE_OF_256 = "3fe101"
REQUESTS = [
    [*GET, AUTHORITY],
    [*GET, AUTHORITY, ("cache-control", "no-cache")],
    [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), AUTHORITY, ("custom-key", "custom-value")],
]
_REDIRECT = [("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:21 GMT"), ("location", "https://www.example.com")]
RESPONSES = [
    [(":status", "302"), *_REDIRECT],
    [(":status", "307"), *_REDIRECT],
    [
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
]
# RFC 7541, appendix C.
EXAMPLES = {
    "C.2.1": (["400a637573746f6d2d6b65790d637573746f6d2d686561646572"], [[("custom-key", "custom-header")]]),
    "C.2.2": (["040c2f73616d706c652f70617468"], [[(":path", "/sample/path")]]),
    "C.2.3": (["100870617373776f726406736563726574"], [[("password", "secret")]]),
    "C.2.4": (["82"], [[(":method", "GET")]]),
    "C.3": (
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        REQUESTS,
    ),
    "C.4": (
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        REQUESTS,
    ),
    "C.5": (
        [
            TABLE_OF_256 + "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738"
                "666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"
            ),
        ],
        RESPONSES,
    ),
    "C.6": (
        [
            TABLE_OF_256 + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
            "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
                "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
        ],
        RESPONSES,
    ),
}
ROOM = 1 << 20
TABLE_SIZE = 4096

# Some names and values come again and again, as in real life.
names = st.sampled_from([b":path", b"user-agent", b"grpc-timeout", b"x-trace", b"x"]) | st.binary(max_size=40)
values = st.sampled_from([b"/a/b", b"grpc-python/1", b"1S", b""]) | st.binary(max_size=300) | st.just(b"v" * 4100)
headers = st.lists(st.tuples(names, values, st.booleans()), max_size=12)
# The headers, whether they are compressed, and the size of the table from then on.
blocks = st.lists(st.tuples(headers, st.booleans(), st.none() | st.integers(0, TABLE_SIZE)), min_size=1, max_size=6)


def read(decoder: HeaderDecoder, block: bytes) -> list[tuple[str, str]] | None:
    headers = decoder.decode(block)
    return headers and [*headers[0].fields, *headers[1]]


def text(fields: list[tuple[bytes, bytes, bool]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value, _ in fields]


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_examples_of_the_rfc(section: str) -> None:
    decoder = HeaderDecoder(ROOM)
    written, expected = EXAMPLES[section]
    assert [read(decoder, bytes.fromhex(block)) for block in written] == expected


@settings(deadline=None)
@given(blocks)
def test_what_others_write_is_read(sequence: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]]) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder(ROOM)
    for fields, huffman, table_size in sequence:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode(fields, huffman=huffman)
        assert read(decoder, block) == text(fields)


calls = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([0, 0, 0, 1]), st.sampled_from([7, 7, 7, 60, 900]), st.booleans()),
    min_size=150,
    max_size=300,
)


@settings(deadline=None, max_examples=50)
@given(calls, st.sampled_from([1000, TABLE_SIZE]))
def test_callers_who_say_nearly_the_same_again_and_again(sequence: list[tuple[int, int, int, bool]], table_size: int) -> None:
    """What blocks begin with moves through the table with each call, and out of it, and comes anew."""
    encoder, decoder = hpack.Encoder(), HeaderDecoder(ROOM)
    encoder.header_table_size = table_size
    for number, (common, method, length, is_last) in enumerate(sequence):
        usual = [(":method", "POST"), (":path", f"/a/{method}"), *((f"x-common-{one}", "y" * 30) for one in range(common))]
        own = ("grpc-timeout", f"{number}".zfill(length))
        fields = [*usual, own] if is_last else [own, *usual]
        assert read(decoder, encoder.encode(fields)) == fields


def test_what_was_forgotten_is_not_read_although_it_was_before() -> None:
    decoder = HeaderDecoder(ROOM)
    for turn in range(3):
        assert read(decoder, b"\x40\x01x\x01" + str(turn).encode()) == [("x", str(turn))]
        assert read(decoder, b"\x82\xbe") == [(":method", "GET"), ("x", str(turn))]
    assert read(decoder, b"\x20\x82") == [(":method", "GET")]
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\x82\xbe")


def test_what_blocks_begin_with_is_remembered_within_limits() -> None:
    """Not of a caller, either, who begins each in another way, or with thousands of fields."""
    decoder = HeaderDecoder(1 << 20)
    fields = [(":method", "GET"), (":method", "POST")]
    for number in range(1000):
        bits = [number >> bit & 1 for bit in range(10)]
        assert read(decoder, bytes(0x82 + bit for bit in bits)) == [fields[bit] for bit in bits]
        assert len(read(decoder, b"\x82" * (1000 + number)) or ()) == 1000 + number
    assert len(decoder._beginnings) <= 16


def test_sensitive_fields_are_read_and_not_remembered() -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder(ROOM)
    secret = [NeverIndexedHeaderTuple("authorization", "Bearer 1"), NeverIndexedHeaderTuple("x-key", "2")]
    assert read(decoder, encoder.encode(secret)) == [("authorization", "Bearer 1"), ("x-key", "2")]
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\xbe")  # the newest field that is remembered


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4))
@example([b"\x80"])
@example([b"\xff" * 12])
@example([b"\x40\x01a\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"])
@example([b"\x00\x81\xff\x00"])
def test_any_bytes_are_read_or_refused(sequence: list[bytes]) -> None:
    decoder = HeaderDecoder(ROOM)
    for block in sequence:
        try:
            fields = read(decoder, block)
        except ConnectionFault:
            return
        assert fields is not None
        assert all(isinstance(name, str) and isinstance(value, str) for name, value in fields)


@settings(deadline=None)
@given(blocks, st.data())
def test_what_is_read_of_broken_blocks_is_what_others_read(
    sequence: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]], data: st.DataObject
) -> None:
    encoder, decoder, other = hpack.Encoder(), HeaderDecoder(ROOM), hpack.Decoder(max_header_list_size=ROOM)
    for fields, huffman, table_size in sequence:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = bytearray(encoder.encode(fields, huffman=huffman))
        if block and data.draw(st.booleans(), label="broken"):
            block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = read(decoder, bytes(block))
        except ConnectionFault:
            return
        assert found == text([(name, value, False) for name, value in other.decode(bytes(block), raw=True)])


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255), max_size=300))))
@example([("x", "y" * length) for length in (126, 127, 128, 254, 255, 256, 20_000)])
def test_what_is_written_is_read_by_others(fields: list[tuple[str, str]]) -> None:
    decoder = hpack.Decoder(max_header_list_size=ROOM)
    # Twice, since nothing may be remembered of it.
    for _ in range(2):
        assert text([(name, value, False) for name, value in decoder.decode(encode(fields), raw=True)]) == fields
    assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("80", id="index 0"),
        pytest.param("be", id="an index beyond the table"),
        pytest.param("7e0161", id="a name beyond the table"),
        pytest.param("8220", id="a size after a field"),
        pytest.param("3fe21f", id="a size of 4097"),
        pytest.param("4001", id="a name that is cut off"),
        pytest.param("400161", id="no value"),
        pytest.param("40016103", id="a value that is cut off"),
        pytest.param("ff8080808080808001", id="a long index"),
        pytest.param("ff", id="an index that is cut off"),
        pytest.param("00018161ff", id="Huffman codes padded by zeros"),
        pytest.param("000161" + "82" + "f8ff", id="more padding than a byte"),
        pytest.param("000161" + "84" + "ffffffff", id="the end of all Huffman codes"),
    ],
)
def test_blocks_that_cannot_be_read(block: str) -> None:
    with pytest.raises(ConnectionFault) as caught:
        HeaderDecoder(ROOM).decode(bytes.fromhex(block))
    assert caught.value.code is Code.COMPRESSION_ERROR


@pytest.mark.parametrize("fields", [[("a", "b" * 67)], [("a", "b"), ("a", "b"), ("c", "")], [(":method", "GET")]])
def test_as_many_bytes_as_are_allowed(fields: list[tuple[str, str]]) -> None:
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    block = hpack.Encoder().encode(fields)
    assert read(HeaderDecoder(size), block) == fields
    assert HeaderDecoder(size - 1).decode(block) is None


def test_after_a_block_that_is_too_large_others_can_be_read() -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder(200)
    fields = [("x", "1"), ("y", "2" * 300), ("z", "3")]
    assert decoder.decode(encoder.encode(fields)) is None
    assert [read(decoder, encoder.encode([field])) for field in fields] == [[fields[0]], None, [fields[2]]]


def test_a_block_that_repeats_a_large_field_is_too_large() -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder(64 << 10)
    decoder.decode(encoder.encode([("x", "y" * 4000)]))
    assert decoder.decode(b"\xbe" * 10_000) is None


@settings(deadline=None)
@given(st.binary(max_size=30))
@example(b"")
def test_huffman_codes_as_others_read_them(codes: bytes) -> None:
    try:
        expected: str | None = decode_huffman(codes).decode("latin-1")
    except HPACKDecodingError:
        expected = None
    try:
        assert decoded(codes) == expected
    except HPACKDecodingError:
        assert expected is None
