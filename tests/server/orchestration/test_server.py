"""A whole server and its orchestrator."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from service_directory import ServiceDirectory, listening

from modelwire_server.app import running
from modelwire_server.errors import StartError
from modelwire_server.orchestration.exchange import exchange
from modelwire_server.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "examples" / "disease.py"


def settings(folder: Path, **more: Any) -> Settings:
    fixed = {"targets": [f"{EXAMPLE}:runner"], "grpc_port": 0, "http_port": 0, "data_dir": folder}
    return Settings(**fixed, keepalive_seconds=0.05, advertised_host="model.example", **more)


async def asked(port: int, path: str) -> Any:
    return (await exchange("GET", f"http://127.0.0.1:{port}{path}", seconds=10, direct=True)).json()


def test_a_server_is_known_while_it_serves(tmp_path: Path) -> None:
    async def main() -> None:
        directory = ServiceDirectory(key="secret")
        async with listening(directory.app) as url:
            where = f"{url}/v2/services/$register"
            async with running(settings(tmp_path, orchestrator_url=where, registration_key="secret")) as server:
                await directory.until(lambda: directory.count("PUT") > 1)
                registered = directory.services["disease"]
                assert registered["url"] == f"http://model.example:{server.http_port}"
                assert registered["info"] == await asked(server.http_port, "/api/v1/info")
                assert (await asked(server.http_port, "/health"))["checks"]["registration"] == {"state": "healthy"}
                directory.refuse = 500
                pings = directory.count("PUT")
                await directory.until(lambda: directory.count("PUT") > pings + 1)
                health = await asked(server.http_port, "/health")
                assert (health["status"], health["checks"]["registration"]["state"]) == ("degraded", "degraded")
                directory.refuse = 0
            assert directory.services == {}
            assert directory.heard[-1] == ("DELETE", "/v2/services/disease")

    asyncio.run(main())


@pytest.mark.slow
def test_a_server_whose_registration_is_required_does_not_start_without(tmp_path: Path) -> None:
    async def main() -> None:
        directory = ServiceDirectory(key="secret")
        async with listening(directory.app) as url:
            where = f"{url}/v2/services/$register"
            with pytest.raises(StartError, match="registration was answered with 401"):
                async with running(settings(tmp_path, orchestrator_url=where, registration_required=True)):
                    pass

    asyncio.run(main())
