"""Liveness, and readiness that tells the truth: over HTTP, through a gateway, and in the words of grpc.health.v1."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelwire.v1 import predictor_service_pb2 as pb
from modelwire_runners import Predictor
from modelwire_server.errors import PredictorNotFound
from modelwire_server.predictors.desk import PredictorDesk, PredictorRules
from modelwire_server.predictors.readiness import ReadinessChecks

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def until(found: Callable[[], bool]) -> None:
    """Asks until what was found out before does not hold any more; each answer takes its time. The test's own limit ends it."""
    while not found():
        pass


@pytest.fixture
def broken(server: Any, port: int) -> Iterator[None]:
    """One of the models breaks after the start, and is mended after the test."""
    assert server.ask("GET", "/health/ready/?model=fragile", port=port) == (200, "READY")
    server.zoo.fragile.broken = True
    try:
        yield
    finally:
        server.zoo.fragile.broken = False
        until(lambda: server.ask("GET", "/readyz")[0] == 200)


@pytest.mark.parametrize("path", ["/livez", "/health/live"])
def test_livez_and_health_live_say_live(server: Any, port: int, path: str) -> None:
    assert server.ask("GET", path, port=port) == (200, "LIVE")


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/health/ready/?model=free", "/health/ready?model=doubling"])
def test_readyz_healthz_and_health_ready_say_ready(server: Any, port: int, path: str) -> None:
    assert server.ask("GET", path, port=port) == (200, "READY")


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/health/ready/?model=fragile"])
@pytest.mark.usefixtures("broken")
def test_a_model_that_breaks_after_the_start_is_not_ready(server: Any, port: int, path: str) -> None:
    until(lambda: bool(server.ask("GET", path, port=port)[0] == 503))
    status, problem = server.ask("GET", path, port=port)
    assert (status, problem["status"]) == (503, 503)
    assert problem["detail"].startswith("NOT_READY: fragile: the predictor `fragile` fails its self-test at predict: RuntimeError")
    assert server.ask("GET", "/health/ready/?model=free", port=port) == (200, "READY")
    assert server.ask("GET", "/livez", port=port) == (200, "LIVE")


def test_health_ready_of_an_unknown_model_is_400(server: Any, port: int) -> None:
    status, problem = server.ask("GET", "/health/ready/?model=nobody", port=port)
    assert (status, problem["status"], problem["reason"]) == (400, 400, "PREDICTOR_NOT_FOUND")
    assert "nobody" in problem["detail"]


def test_health_sums_up_live_ready_per_model_and_uptime(server: Any, port: int) -> None:
    status, report = server.ask("GET", "/health", port=port)
    assert status == 200
    assert report["status"] == "healthy"
    assert report["checks"]
    assert report["live"] is True
    assert report["ready"] == dict.fromkeys(["doubling", "free", "strict", "fragile", "slow"], True)
    assert report["uptime"] > 0


@pytest.mark.usefixtures("broken")
def test_health_is_degraded_while_a_model_is_broken(server: Any, port: int) -> None:
    until(lambda: not server.ask("GET", "/health", port=port)[1]["ready"]["fragile"])
    status, report = server.ask("GET", "/health", port=port)
    assert (status, report["status"], report["ready"]["free"]) == (200, "degraded", True)


def test_uptime_grows(server: Any, port: int) -> None:
    first, second = (server.ask("GET", "/health/uptime", port=port)[1] for _ in range(2))
    assert 0 < first < second


def test_check_readiness_of_one_and_of_all(server: Any) -> None:
    answer = server.stub.CheckReadiness(pb.CheckReadinessRequest())
    assert answer.ready
    assert [one.predictor for one in answer.predictors] == ["doubling", "free", "strict", "fragile", "slow"]
    (one,) = server.stub.CheckReadiness(pb.CheckReadinessRequest(predictor="free")).predictors
    assert (one.predictor, one.ready, one.message) == ("free", True, "")
    assert one.checked_at.seconds > 0


def test_grpc_health_knows_each_predictor_and_tells_the_truth(server: Any) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="predictors/fragile")
    assert stub.Check(request).status == SERVING
    watching = stub.Watch(request, timeout=60)
    assert next(watching).status == SERVING
    server.zoo.fragile.broken = True
    try:
        assert next(watching).status == NOT_SERVING
        assert stub.Check(request).status == NOT_SERVING
        assert stub.List(health_pb2.HealthListRequest()).statuses["predictors/fragile"].status == NOT_SERVING
        assert stub.Check(health_pb2.HealthCheckRequest(service="predictors/free")).status == SERVING
        assert stub.Check(health_pb2.HealthCheckRequest()).status == SERVING
    finally:
        server.zoo.fragile.broken = False
    assert next(watching).status == SERVING
    watching.cancel()


def test_a_check_that_hangs_never_holds_up_traffic(new_server: Any) -> None:
    """Its own predictor goes on, too, and is told to be not ready after a while; so are the catalogue and the others."""
    with new_server("slow", "free", predictor_check_seconds=0.01, predictor_check_timeout=0.2) as server:
        server.zoo.let_checks_go.clear()
        try:
            until(lambda: bool(server.ask("GET", "/health/ready/?model=slow")[0] == 503))
            assert "has not answered its test inputs for" in server.ask("GET", "/readyz")[1]["detail"]
            assert server.ask("POST", "/predict/", {"predictor": "slow", "payload": "on"}) == (200, "on")
            assert server.ask("GET", "/health/ready/?model=free") == (200, "READY")
            assert server.ask("GET", "/version/?model=slow") == (200, "v1")
        finally:
            server.zoo.let_checks_go.set()
        until(lambda: bool(server.ask("GET", "/readyz")[0] == 200))


def test_a_server_ends_while_a_check_hangs(new_server: Any) -> None:
    with new_server("slow", predictor_check_seconds=0.01, predictor_check_timeout=0.1) as server:
        zoo = server.zoo
        zoo.let_checks_go.clear()
        until(lambda: bool(server.ask("GET", "/readyz")[0] == 503))
    zoo.let_checks_go.set()


class Counting(Predictor):
    def __init__(self) -> None:
        self.tested = 0
        self.gate = threading.Event()
        self.gate.set()
        inputs: dict[str, Any] = {"test_predict_input": 1, "test_score_input": 1}
        super().__init__(None, name="counting", predict_schema={}, score_schema={}, **inputs)

    def self_test(self) -> None:
        self.tested += 1
        self.gate.wait()


def test_what_was_found_holds_for_the_configured_time() -> None:
    async def main() -> None:
        predictor = Counting()
        checks = ReadinessChecks(holds=3600)
        first = await checks.of(predictor)
        assert first.ready
        assert await checks.of(predictor) == first
        assert predictor.tested == 2  # at its construction, and now
        await ReadinessChecks(holds=0.0).of(predictor)
        assert predictor.tested == 3

    asyncio.run(main())


def test_many_who_ask_at_once_share_a_check_and_nobody_waits_longer_than_allowed() -> None:
    async def main() -> None:
        predictor = Counting()
        predictor.gate.clear()
        checks = ReadinessChecks(holds=0.0, timeout=0.05)
        found = await asyncio.gather(*(checks.of(predictor) for _ in range(20)))
        assert not any(one.ready for one in found)
        assert predictor.tested == 2
        assert not (await checks.of(predictor)).ready
        assert predictor.tested == 2
        predictor.gate.set()
        while not (await checks.of(predictor)).ready:
            pass

    asyncio.run(main())


def test_descriptions_wait_no_longer_than_their_patience() -> None:
    async def main() -> None:
        predictor = Counting()
        predictor.gate.clear()
        desk = PredictorDesk([predictor], PredictorRules(check_timeout=3600))
        (state,) = await desk.readiness("counting", patience=0.01)
        assert (state.ready, state.message) == (False, "it has not answered its test inputs yet")
        predictor.gate.set()
        assert (await desk.readiness())[0].ready
        with pytest.raises(PredictorNotFound):
            desk.get("nobody")
        desk.close()

    asyncio.run(main())
