"""The line between the supervisor and one of its processes: messages both ways, with descriptors where needed."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

from ..execution.wire import Message, receive_with_fds, send

OnMessage = Callable[[Message, list[int]], None]


class Line:
    """One end. `on_message` is called for each message, and owns the descriptors that come with it; `on_closed` once the other end is
    gone. Nothing here ever waits for the other end."""

    def __init__(self, link: socket.socket, on_message: OnMessage, on_closed: Callable[[], None]) -> None:
        link.setblocking(False)
        self._link = link
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._has_missed = False
        self._loop.add_reader(link, self.read)

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        """Sends from any thread; False if the other end has too much to read already, or is gone."""
        try:
            send(self._link, message, fds)
        except OSError:
            return False
        return True

    def tell(self, notice: str) -> None:
        """Sends a notice from any thread. One that cannot be sent is dropped; the other end learns later that it has missed some."""
        if self._has_missed and self.send({"missed": True}):
            self._has_missed = False
        if not self.send({"notice": notice}):
            self._has_missed = True

    def close(self) -> None:
        if self._link.fileno() >= 0:
            self._loop.remove_reader(self._link)
            self._link.close()

    def read(self) -> None:
        """Takes what has come. The event loop calls this by itself."""
        with contextlib.suppress(BlockingIOError):
            while self._link.fileno() >= 0:
                received = _receive(self._link)
                if received is None:
                    self.close()
                    self._on_closed()
                    return
                self._on_message(*received)


def _receive(link: socket.socket) -> tuple[Message, list[int]] | None:
    try:
        return receive_with_fds(link)
    except ConnectionResetError:
        return None
