"""JSON texts of requests."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelwire_server.gateway.json_text import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(VALUES)
@example(2**63 - 1)
@example(-(2**63))
@example(-(2**63) - 1)
@example([2**64 - 1, 2**64, -(2**64)])
@example({"id": "12345678901234567890", "x": 1.2345678901234567})
@example(-(10**300))
def test_every_digit_is_kept(value: Any) -> None:
    parsed = parse_json(json.dumps(value).encode())
    assert repr(parsed) == repr(value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity, 123456789012345678901234567890]",
        b"1e400",
        b"[1e400, 123456789012345678901234567890]",
        b'"\\ud800"',
        b"\xff",
        b"1" * 400,
        b"[" * 2000 + b"]" * 2000,
        b"[" * 1020 + b"123456789012345678901234567890" + b"]" * 1020,
    ],
)
def test_what_is_no_json_or_beyond_all_measure_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_json(text)
