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
