"""What a peer may send on a connection, in all."""

from .frames import Code, ConnectionFault


class ReceiveWindow:
    def __init__(self, size: int) -> None:
        self._left, self._step = size, size // 2
        # What has come and is not yet granted anew.
        self._owed = 0

    def take(self, length: int) -> int:
        """Content has come; returns how much more the peer is to be told that it may send, now and then. Raises ConnectionFault."""
        self._left -= length
        if self._left < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the window of the connection takes")
        self._owed += length
        if self._owed < self._step:
            return 0
        more, self._owed = self._owed, 0
        self._left += more
        return more
