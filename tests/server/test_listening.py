import asyncio
import http.client
import statistics
import time

from starlette.responses import PlainTextResponse

from modelwire_server.listening import HttpServer
from modelwire_server.settings import Settings


def durations(port: int, count: int) -> list[float]:
    """Of so many requests on one connection, after the first."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    found = []
    for _ in range(count + 1):
        begin = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        found.append(time.perf_counter() - begin)
    connection.close()
    return found[1:]


async def measured(count: int) -> list[float]:
    server = HttpServer(PlainTextResponse("well"), Settings(http_port=0))
    await server.start()
    try:
        return await asyncio.to_thread(durations, server.port, count)
    finally:
        await server.stop()


def test_a_connection_that_is_used_again_does_not_wait_for_acknowledgements() -> None:
    # Waiting for the acknowledgement of the headers takes 40 ms.
    assert statistics.median(asyncio.run(measured(20))) < 0.03


def asked(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    """The status, and what becomes of the connection."""
    connection.request("GET", "/")
    response = connection.getresponse()
    return response.status, response.headers["connection"]


async def answer_of_one_that_leaves() -> tuple[int, str | None]:
    """It leaves in the turn of the event loop in which it accepts a connection."""
    server = HttpServer(PlainTextResponse("well"), Settings(http_port=0))
    await server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        await asyncio.to_thread(asked, connection)
        connection.close()
        connection.connect()
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(server.leave)
        return await asyncio.to_thread(asked, connection)
    finally:
        connection.close()
        await server.stop()


def test_a_connection_that_was_just_accepted_is_still_served_by_one_that_leaves() -> None:
    assert asyncio.run(answer_of_one_that_leaves()) == (200, "close")
