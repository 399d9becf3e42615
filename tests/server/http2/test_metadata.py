"""What the headers of a call say, and how its end is told: to the letter of the protocol, and as gRPC's own client reads it."""

import contextlib
import math
import tracemalloc

import grpc
import pytest
from http2_peer import SERVICE, asynchronous, request, serving, unary
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from modelwire_server.http2.metadata import Malformed, metadata_fields, read_request, read_timeout, status_fields


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("30S", 30), ("1500m", 1.5), ("250000u", 0.25), ("99999999n", 0.099999999), ("0n", 0), ("007S", 7)],
)
def test_timeouts(text: str, seconds: float) -> None:
    assert math.isclose(read_timeout(text), seconds)


@pytest.mark.parametrize(
    "text", ["", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", "1 S", " 1S", "1S ", "123456789n", "²S", "1_0S", "1SS", "१S"]
)
def test_what_is_no_timeout(text: str) -> None:
    with pytest.raises(ValueError, match="no timeout"):
        read_timeout(text)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_a_timeout_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= read_timeout(text) < 1e13


@pytest.mark.parametrize("timeout", [0.4, 1.5, 59.0, 7_200.0, 3e6])
def test_timeouts_as_the_client_of_grpc_writes_them(timeout: float) -> None:
    left: list[float] = []

    async def behave(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        left.append(context.time_remaining())
        return b""

    @asynchronous
    async def main() -> None:
        async with serving(Ask=unary(behave)) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            await channel.unary_unary(f"/{SERVICE}/Ask")(b"", timeout=timeout)

    main()
    assert timeout * 0.98 - 0.4 < left[0] <= timeout * 1.02


names = st.from_regex(r"[a-z0-9_.-]{1,20}", fullmatch=True).map(lambda name: f"x-{name}".removesuffix("-bin"))
text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=50)
binary = st.tuples(names.map(lambda name: f"{name}-bin"), st.binary(max_size=50))
metadata = st.lists(st.tuples(names, text) | binary, max_size=6)


@settings(deadline=None)
@given(metadata)
def test_metadata_are_read_as_they_were_written(sent: list[tuple[str, str | bytes]]) -> None:
    read = read_request([*request(), *metadata_fields(sent)])
    assert read.metadata == tuple(sent)
    assert (read.method, read.path) == ("POST", f"/{SERVICE}/Echo")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", [b""]),
        ("AAE=", [b"\0\1"]),
        ("AAE", [b"\0\1"]),
        ("AAE=,/w", [b"\0\1", b"\xff"]),
        ("AAE, /w==", [b"\0\1", b"\xff"]),
        ("+/+/", [b"\xfb\xff\xbf"]),
    ],
)
def test_binary_metadata(value: str, read: list[bytes]) -> None:
    assert read_request(request("Echo", ("x-bin", value))).metadata == tuple(("x-bin", content) for content in read)


def test_fields_of_the_protocol_are_no_metadata() -> None:
    read = read_request(request("Echo", ("x", "1"), grpc_timeout="1S", grpc_encoding="gzip", user_agent="me", content_length="7"))
    assert dict(read.metadata) == {"x": "1", "user-agent": "me"}
    assert (read.fields["grpc-timeout"], read.fields["grpc-encoding"], read.fields["content-length"]) == ("1S", "gzip", "7")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(request()[1:], id="no method"),
        pytest.param([field for field in request() if field[0] != ":scheme"], id="no scheme"),
        pytest.param([field for field in request() if field[0] != ":path"], id="no path"),
        pytest.param([(":path", ""), *[field for field in request() if field[0] != ":path"]], id="an empty path"),
        pytest.param([*request(), (":authority", "x")], id="one twice, and too late"),
        pytest.param([request()[0], *request()], id="one twice"),
        pytest.param([*request()[1:], request()[0]], id="one after the others"),
        pytest.param([("x", "y"), *request()], id="metadata first"),
        pytest.param([(":status", "200"), *request()], id="one of answers"),
        pytest.param([(":protocol", "websocket"), *request()], id="an unknown one"),
        pytest.param(request("Echo", ("X", "y")), id="a large letter"),
        pytest.param(request("Echo", ("", "y")), id="no name"),
        pytest.param(request("Echo", ("a b", "y")), id="a space in a name"),
        pytest.param(request("Echo", ("a:", "y")), id="a colon in a name"),
        pytest.param(request("Echo", ("a\n", "y")), id="a line's end in a name"),
        pytest.param(request("Echo", ("ä", "y")), id="a name that is not ASCII"),
        pytest.param(request("Echo", ("connection", "close")), id="connection"),
        pytest.param(request("Echo", ("transfer-encoding", "chunked")), id="transfer-encoding"),
        pytest.param(request("Echo", ("upgrade", "h2c")), id="upgrade"),
        pytest.param(request(te="gzip"), id="te"),
        pytest.param(request("Echo", ("x", "a\r\nb")), id="a line's end in a value"),
        pytest.param(request("Echo", ("x", "a\0b")), id="a zero in a value"),
        pytest.param(request("Echo", ("x-bin", "=")), id="no base64"),
        pytest.param(request("Echo", ("x-bin", "a")), id="half a byte"),
        pytest.param(request("Echo", ("x-bin", "AA\xfc")), id="base64 that is not ASCII"),
        pytest.param(request(content_length="-1"), id="a negative length"),
        pytest.param(request(content_length=""), id="an empty length"),
        pytest.param(request(content_length="1e3"), id="no length"),
    ],
)
def test_malformed_requests(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Malformed):
        read_request(fields)


any_text = st.text(st.characters(max_codepoint=255), max_size=20)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([name for name, _ in request()]) | any_text, any_text), max_size=8))
def test_any_fields_are_a_request_or_malformed(fields: list[tuple[str, str]]) -> None:
    for some in (fields, [*request(), *fields]):
        with contextlib.suppress(Malformed):
            read_request(some)


def test_long_names_of_strangers_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(1_000):
            read_request(request("Echo", (f"x{number}" + "y" * 10_000, "z")))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain text, with ~ and more!", "plain text, with ~ and more!"),
        ("100 %", "100 %25"),
        ("%41", "%2541"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("a\nb\x7f\0", "a%0Ab%7F%00"),
        ("\ud800", "?"),
    ],
)
def test_texts_of_statuses_are_escaped(text: str, written: str) -> None:
    assert status_fields(5, text) == [("grpc-status", "5"), ("grpc-message", written)]


def test_no_text_is_no_field() -> None:
    assert status_fields(0, "") == [("grpc-status", "0")]


async def refuse(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.ABORTED, message.decode())
    return b""


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=200), min_size=5, max_size=20))
def test_texts_of_statuses_as_the_client_of_grpc_reads_them(texts: list[str]) -> None:
    @asynchronous
    async def main() -> None:
        async with serving(Refuse=unary(refuse)) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            method = channel.unary_unary(f"/{SERVICE}/Refuse")
            for text in [*texts, "%", "%2", "\r\n\0", "Größe 100 %41 \U0001f600"]:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await method(text.encode())
                assert caught.value.details() == text

    main()


@settings(max_examples=10, deadline=None)
@given(metadata)
def test_metadata_of_the_client_of_grpc_and_back(sent: list[tuple[str, str | bytes]]) -> None:
    """Metadata of the caller come back as the trailer, and before the answer."""
    # The client takes these away, or refuses to send them.
    sent = [(name, value.strip(" ") if isinstance(value, str) else value) for name, value in sent]
    seen: list[tuple[str, str | bytes]] = []

    async def behave(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        mine = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-")]
        seen.extend(mine)
        await context.send_initial_metadata(mine)
        context.set_trailing_metadata(mine)
        return message

    @asynchronous
    async def main() -> None:
        async with serving(Back=unary(behave)) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.unary_unary(f"/{SERVICE}/Back")(b"", metadata=sent)
            await call
            expected = sorted(sent)
            assert sorted(seen) == expected
            assert sorted(map(tuple, await call.initial_metadata())) == expected
            assert sorted(map(tuple, await call.trailing_metadata())) == expected

    main()


@pytest.mark.parametrize("name", ["grpc-status", "grpc-message", "grpc-encoding", "content-type", ":status", "connection"])
def test_metadata_cannot_be_taken_for_what_the_protocol_says(name: str) -> None:
    with capture_logs() as logs:
        fields = metadata_fields([("x", "1"), (name, "0"), ("grpc-status-details-bin", b"\0")])
    assert fields == [("x", "1"), ("grpc-status-details-bin", "AA")]
    assert [entry["name"] for entry in logs] == [name]
