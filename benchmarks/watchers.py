"""What watchers of quiet jobs cost: the processor time that an idle server uses while 1,000 of them are attached.

    python benchmarks/watchers.py [sqlite postgresql] [--watchers 1000] [--seconds 60]

Starts a server of its own whose jobs wait: a few run, the others are pending. Each has one watcher, with the client's default interval
of heartbeats; ten clients share them.
"""

import argparse
import asyncio
import time
from contextlib import AsyncExitStack

from stage import DATABASES, WAITING, Server, conditions, cpu_seconds, keep_off_the_server, server_on

from modelwire import AsyncClient

CLIENTS = 10
DATA = {"x": [1.0]}
HEADER = "| database | watchers | % of a core |\n|---|---|---|"


async def watch(client: AsyncClient, job_id: str, attached: asyncio.Semaphore) -> None:
    """Follows a job; releases `attached` at its first event."""
    released = False
    async for _ in client.jobs.watch(job_id):
        if not released:
            attached.release()
            released = True


async def measure(server: Server, watchers: int, seconds: float) -> float:
    """Percent of a core that the server and its processes use while nothing happens."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(server.target, wait_for_ready=True)) for _ in range(CLIENTS)]
        config = await clients[0].configs.create("benchmark", {})
        jobs = [await clients[0].train(config, DATA) for _ in range(watchers)]
        attached = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(watch(clients[n % CLIENTS], job.id, attached)) for n, job in enumerate(jobs)]
        for _ in tasks:
            await attached.acquire()
        percent = await usage(server, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return percent


async def usage(server: Server, seconds: float) -> float:
    begin, before = time.monotonic(), cpu_seconds(server)
    await asyncio.sleep(seconds)
    return 100 * (cpu_seconds(server) - before) / (time.monotonic() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="*", default=list(DATABASES), metavar="DATABASE", help=" ".join(DATABASES))
    parser.add_argument("--watchers", type=int, nargs="+", default=[0, 1000])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look for each row")
    arguments = parser.parse_args()
    keep_off_the_server()
    print(f"{conditions()}\n\n{HEADER}", flush=True)
    for database in arguments.databases:
        for watchers in arguments.watchers:
            with server_on(database, WAITING) as server:
                percent = asyncio.run(measure(server, watchers, arguments.seconds))
            print(f"| {database} | {watchers} | {percent:.2f} |", flush=True)


if __name__ == "__main__":
    main()
