"""A server with several workers and its orchestrator, to which it is one service."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from service_directory import ServiceDirectory, listening

from modelwire_server.orchestration.exchange import exchange

EXAMPLE = Path(__file__).parents[3] / "examples" / "disease.py"


@asynccontextmanager
async def serving(folder: Path, url: str, **settings: object) -> AsyncIterator[Process]:
    """`modelwire serve` with two workers, ended by SIGTERM."""
    fixed = {"keepalive_seconds": 0.05, "advertised_host": "model.example", "max_connection_age": 1, "orchestrator_url": url}
    variables = {f"MODELWIRE_{name.upper()}": str(value) for name, value in {**fixed, **settings}.items()}
    ports = ("--grpc-port=0", "--http-port=0", f"--data-dir={folder}", "--workers=2", "--json")
    command = (str(Path(sys.executable).parent / "modelwire"), "serve", f"{EXAMPLE}:runner", *ports)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env={**os.environ, **variables})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            await process.communicate()


async def health(where: str) -> Any:
    return (await exchange("GET", f"{where}/health", seconds=10, direct=True)).json()


async def until_said(process: Process, words: str) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(40):
        while words not in (await process.stderr.readline()).decode():
            pass


def test_it_is_known_once_and_for_as_long_as_it_serves(tmp_path: Path) -> None:
    async def main() -> None:
        directory = ServiceDirectory(key="secret")
        async with listening(directory.app) as url:
            async with serving(tmp_path, f"{url}/v2/services/$register", registration_key="secret") as process:
                assert process.stdout is not None
                where = json.loads(await process.stdout.readline())["http"].replace("localhost", "127.0.0.1")
                await directory.until(lambda: directory.count("PUT") > 1)
                port = where.rpartition(":")[2]
                assert directory.services["disease"]["url"] == f"http://model.example:{port}"
                assert (await health(where))["checks"]["registration"] == {"state": "healthy"}
                directory.refuse = 500
                pings = directory.count("PUT")
                await directory.until(lambda: directory.count("PUT") > pings + 1)
                assert (await health(where))["checks"]["registration"]["state"] == "degraded"
                directory.refuse = 0
                process.send_signal(signal.SIGHUP)
                await until_said(process, "all workers are renewed")
                pings = directory.count("PUT")
                await directory.until(lambda: directory.count("PUT") > pings + 1)
                # It has not taken its leave meanwhile.
                assert directory.count("DELETE") == 0
                assert directory.count("POST") == 2
            assert directory.services == {}
            assert directory.heard[-1] == ("DELETE", "/v2/services/disease")

    asyncio.run(main())


@pytest.mark.slow
def test_it_does_not_start_without_if_registration_is_required(tmp_path: Path) -> None:
    async def main() -> None:
        directory = ServiceDirectory(key="secret")
        async with (
            listening(directory.app) as url,
            serving(tmp_path, f"{url}/v2/services/$register", registration_required=True) as process,
        ):
            _, said = await process.communicate()
            assert process.returncode == 2
            assert "registration was answered with 401" in said.decode()

    asyncio.run(main())
