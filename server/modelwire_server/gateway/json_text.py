"""JSON texts of requests."""

import json
from typing import Any

import orjson

# Every digit as 0 and everything else but signs as a blank, to look for long numbers at the speed of memory.
_DIGITS = bytes(ord("0") if chr(code).isdigit() and code < 128 else code if code == ord("-") else ord(" ") for code in range(256))
_BEYOND_64_BITS = (b"0" * 20, b"-" + b"0" * 19)


def parse_json(text: bytes) -> Any:
    """The value of a JSON text; integers have all their digits. Raises ValueError for what is no JSON, and for numbers beyond floats."""
    value = orjson.loads(text)
    digits = text.translate(_DIGITS)
    if not any(long in digits for long in _BEYOND_64_BITS):
        return value
    try:
        return json.loads(text)  # orjson makes floats of integers beyond 64 bits
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
