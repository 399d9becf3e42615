"""What goes over the line between the supervisor and a process."""

import asyncio
import os
import socket
from collections.abc import Callable

import pytest

from modelwire_server.execution.wire import Message, socket_pair
from modelwire_server.supervision.line import Line


class End:
    """One end, and what has come to it."""

    def __init__(self, link: socket.socket) -> None:
        self.messages: list[Message] = []
        self.fds: list[int] = []
        self.closed = asyncio.Event()
        self.news = asyncio.Event()
        self.line = Line(link, self._on_message, self.closed.set)

    def _on_message(self, message: Message, fds: list[int]) -> None:
        self.messages.append(message)
        self.fds += fds
        self.news.set()

    async def has(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()


def test_messages_come_in_order_and_with_their_descriptors() -> None:
    async def scenario() -> None:
        one, another = map(End, socket_pair())
        read, write = os.pipe()
        for number in range(3):
            assert one.line.send({"number": number})
        assert one.line.send({"pipe": True}, [read])
        os.close(read)
        await another.has(lambda: len(another.messages) == 4)
        assert another.messages[:3] == [{"number": 0}, {"number": 1}, {"number": 2}]
        os.write(write, b"!")
        (received,) = another.fds
        assert os.read(received, 10) == b"!"
        os.close(write)
        os.close(received)
        one.line.close()
        async with asyncio.timeout(10):
            await another.closed.wait()
        assert not another.line.send({"anybody": "there"})

    asyncio.run(scenario())


def test_who_does_not_read_keeps_nobody_waiting_and_learns_that_something_was_missed() -> None:
    async def scenario() -> None:
        one, another = map(End, socket_pair())
        # The other end belongs to the same loop, so it reads nothing meanwhile.
        for number in range(5000):
            one.line.tell(f"job {number}")
        assert not one.line.send({"is there": "room"})
        another.line.read()
        told = [message["notice"] for message in another.messages]
        assert told == [f"job {number}" for number in range(len(told))]
        assert 0 < len(told) < 5000
        one.line.tell("work ")
        another.line.read()
        assert another.messages[-2:] == [{"missed": True}, {"notice": "work "}]
        one.line.close()
        another.line.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("left_unread", [True, False])
def test_the_end_of_the_other_side_is_told(left_unread: bool) -> None:
    async def scenario() -> None:
        one, another = map(End, socket_pair())
        if left_unread:
            another.line.send({"unread": True})
        another.line.close()
        async with asyncio.timeout(10):
            await one.closed.wait()

    asyncio.run(scenario())
