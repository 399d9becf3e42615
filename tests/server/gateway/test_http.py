"""Health and metrics over HTTP, served by uvicorn in our own event loop."""

import asyncio
import http.client
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvicorn

from modelwire_server.errors import Degraded
from modelwire_server.gateway.http import http_app
from modelwire_server.metrics import ServerMetrics

Check = Callable[[], Awaitable[object]]


async def well() -> None:
    """A part that is well."""


async def broken() -> None:
    raise RuntimeError("password=secret")


async def limping() -> None:
    raise Degraded("on one leg")


async def stuck() -> None:
    await asyncio.Event().wait()


def ask(port: int, method: str, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type") or "", answer.read()
    finally:
        connection.close()


def answer_of(method: str, path: str, checks: Mapping[str, Check] | None = None) -> tuple[int, str, bytes]:
    """Asks a server that runs beside us in the event loop."""

    async def main() -> tuple[int, str, bytes]:
        app = http_app(checks={"database": well} if checks is None else checks, metrics=ServerMetrics(), check_seconds=0.1)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
            serving = asyncio.create_task(server._serve([listening]))
            try:
                return await asyncio.to_thread(ask, listening.getsockname()[1], method, path)
            finally:
                server.should_exit = True
                await serving

    return asyncio.run(main())


def test_a_healthy_server() -> None:
    status, kind, body = answer_of("GET", "/health")
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == {"status": "healthy", "checks": {"database": {"state": "healthy"}}}


def test_without_checks_there_is_only_the_status() -> None:
    assert json.loads(answer_of("GET", "/health", {})[2]) == {"status": "healthy"}


@pytest.mark.parametrize(
    ("check", "message"), [(broken, "Check failed: RuntimeError"), (stuck, "Check failed: no answer within 0.1 s")]
)
def test_one_unhealthy_part_is_enough(check: Any, message: str) -> None:
    status, _, body = answer_of("GET", "/health", {"database": well, "other": check})
    assert status == 503
    assert json.loads(body) == {
        "status": "unhealthy",
        "checks": {"database": {"state": "healthy"}, "other": {"state": "unhealthy", "message": message}},
    }


def test_a_server_that_does_less_than_it_should_goes_on() -> None:
    status, _, body = answer_of("GET", "/health", {"database": well, "other": limping})
    assert status == 200
    checks = {"database": {"state": "healthy"}, "other": {"state": "degraded", "message": "on one leg"}}
    assert json.loads(body) == {"status": "degraded", "checks": checks}
    status, _, body = answer_of("GET", "/health", {"other": limping, "broken": broken})
    assert (status, json.loads(body)["status"]) == (503, "unhealthy")


def test_metrics_for_prometheus() -> None:
    status, kind, body = answer_of("GET", "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b"\nml_train_jobs_total 0.0\n" in body


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_head_is_get_without_a_body(path: str) -> None:
    status, _, body = answer_of("HEAD", path)
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/health", 405), ("GET", "/nothing", 404)])
def test_anything_else_is_refused(method: str, path: str, status: int) -> None:
    assert answer_of(method, path)[0] == status
