"""Messages between the server, the fork server and the processes of jobs: JSON objects over sockets that keep their borders.

Sockets are of type SOCK_SEQPACKET. A message arrives whole or not at all, also when several processes of one job send.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

# The kernel's default for what one message may hold is a little above 200 KiB.
MAX_MESSAGE = 160 * 1024
_MAX_FDS = 8


class MessageTooLong(Exception):
    """A message does not fit into one packet."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(link: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Sends a message, and descriptors along with it. Raises MessageTooLong, OSError."""
    data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    if len(data) > MAX_MESSAGE:
        raise MessageTooLong(f"{len(data)} bytes")
    if fds:
        socket.send_fds(link, [data], fds)
    else:
        link.send(data)


def receive(link: socket.socket) -> Message | None:
    """The next message; None when the other side is gone. Raises BlockingIOError when there is none yet."""
    received = receive_with_fds(link)
    if received is None:
        return None
    for fd in received[1]:
        os.close(fd)
    return received[0]


def receive_with_fds(link: socket.socket) -> tuple[Message, list[int]] | None:
    """As receive(), with the descriptors that came with the message; they are now this process's to close."""
    try:
        data, fds, _, _ = _receive(link)
    except ConnectionResetError:
        # Linux tells once that the other side left without reading all; what it had sent before is still to be had.
        data, fds, _, _ = _receive(link)
    return (json.loads(data), fds) if data else None


def _receive(link: socket.socket) -> tuple[bytes, list[int], int, Any]:
    return socket.recv_fds(link, MAX_MESSAGE, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)


def clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """The text without what databases refuse (NUL, lone surrogates), shortened until its JSON has at most `limit` bytes."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "backslashreplace").decode()
    size = _json_size(text)
    while size > limit:
        keep = min(len(text) - 1, max(1, len(text) * limit // size))
        text = text[-keep:] if keep_end else text[:keep]
        size = _json_size(text)
    return text


def _json_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
