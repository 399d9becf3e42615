"""Strings in Huffman codes (RFC 7541, section 5.2), read a byte at a time.

`hpack` brings the table, which takes half a byte at a time. What whole bytes come to is found out once, when they come first.
"""

from functools import lru_cache

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

# Those are remembered: callers who all have the same time to wait say one of a few thousand timeouts.
_SHORT = 8
_STATES = len(HUFFMAN_TABLE) // 16


class _Row(dict[int, tuple["_Row", str, bool]]):
    """What a byte comes to in a state: the next one, the characters that are complete, and whether the string may end there."""

    def __init__(self, state: int) -> None:
        self._state = state

    def __missing__(self, byte: int) -> tuple["_Row", str, bool]:
        """Raises HPACKDecodingError."""
        state, text, flags = self._state, "", 0
        for half in (byte >> 4, byte & 0xF):
            state, flags, character = HUFFMAN_TABLE[state * 16 + half]
            if flags & HUFFMAN_FAIL:
                raise HPACKDecodingError("no Huffman code")
            if flags & HUFFMAN_EMIT_SYMBOL:
                text += chr(character)
        step = self[byte] = _ROWS[state], text, bool(flags & HUFFMAN_COMPLETE)
        return step


_ROWS = [_Row(state) for state in range(_STATES)]


def decoded(codes: bytes) -> str:
    """One character for each byte of the string. Raises HPACKDecodingError."""
    return _known(codes) if len(codes) <= _SHORT else _decoded(codes)


@lru_cache(4096)
def _known(codes: bytes) -> str:
    return _decoded(codes)


def _decoded(codes: bytes) -> str:
    row, text, may_end = _ROWS[0], "", True
    for byte in codes:
        row, more, may_end = row[byte]
        text += more
    if not may_end:
        raise HPACKDecodingError("a Huffman code that is cut off")
    return text
