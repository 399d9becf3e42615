"""What a method knows of its call and does to it, however the call came."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
import structlog

log = structlog.get_logger(__name__)

Trailer = tuple[tuple[str, str | bytes], ...]


class CallContext(grpc.aio.ServicerContext[Any, Any]):
    """The status, the trailer and the deadline of a call; how messages travel is told by those that derive from it."""

    def __init__(self, metadata: Any, timeout: float | None) -> None:
        """`timeout` in seconds."""
        self._metadata = metadata
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._trailer: Trailer = ()
        self._code: Any = None
        self._text = ""
        self._callbacks: list[Callable[[Any], None]] = []

    @abstractmethod
    def peer(self) -> str: ...

    async def write_all(self, messages: Sequence[Any]) -> None:
        """write() for each, which may be done in one go."""
        for message in messages:
            await self.write(message)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Any:
        self._code, self._text, self._trailer = code, details, tuple(trailing_metadata or self._trailer)
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: Any) -> Any:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def end(self, _: object = None) -> None:
        """The call is over."""
        while self._callbacks:
            try:
                self._callbacks.pop(0)(self)
            except Exception:
                log.exception("what was to be done at the end of a call failed")

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailer = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        return self._trailer

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._text = details

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._text

    def time_remaining(self) -> Any:
        return None if self._ends is None else self._ends - time.monotonic()

    def peer_identities(self) -> Any:
        return None

    def peer_identity_key(self) -> Any:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}

    def set_compression(self, compression: grpc.Compression) -> None:
        """Answers are not compressed."""

    def disable_next_message_compression(self) -> None:
        """Answers are not compressed."""
