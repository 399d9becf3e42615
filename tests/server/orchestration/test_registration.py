"""Being known to an orchestrator: a real one, over HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from service_directory import ServiceDirectory, SmallService, listening

from modelwire_server.errors import Degraded, StartError
from modelwire_server.orchestration.exchange import NoAnswer, exchange
from modelwire_server.orchestration.orchestrator import Orchestrator
from modelwire_server.orchestration.registration import Registration, Rhythm, own_url, url_of

QUICK = Rhythm(keepalive=0.02, grace=0.01, pause=0.01, tries=2, look=0.01, patience=5)
ADVERTISED = "http://model.example:8080"
NOWHERE = "http://127.0.0.1:1/v2/services/$register"


@asynccontextmanager
async def registering(
    directory: ServiceDirectory, service: SmallService | None = None, *, key: str = "", rhythm: Rhythm = QUICK, **options: Any
) -> AsyncIterator[Registration]:
    async with listening(directory.app) as url, listening((service or SmallService()).app) as own:
        registration = Registration(Orchestrator(f"{url}/v2/services/$register", key), rhythm=rhythm, **options)
        try:
            await registration.start(own, ADVERTISED)
            yield registration
        finally:
            await registration.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(main())


def test_from_registration_to_leave() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory(key="secret")
        async with registering(directory, key="secret") as registration:
            await directory.until(lambda: directory.count("PUT") >= 3)
            await registration.check()
            info = {"id": "disease", "display_name": "Disease"}
            assert directory.services == {"disease": {"id": "disease", "url": ADVERTISED, "info": info}}
        assert directory.services == {}
        assert directory.heard[0] == ("POST", "/v2/services/$register")
        assert directory.heard[1] == ("PUT", "/v2/services/disease/$ping")
        assert directory.heard[-1] == ("DELETE", "/v2/services/disease")
        assert directory.count("POST") == directory.count("DELETE") == 1

    run(scenario)


def test_a_forgotten_service_registers_anew() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory()
        async with registering(directory) as registration:
            for times in (2, 3):
                await directory.until(lambda: "disease" in directory.services)
                directory.services.clear()
                await directory.until(lambda times=times: directory.count("POST") == times)
            await directory.until(lambda: "disease" in directory.services)
            pings = directory.count("PUT")
            await directory.until(lambda: directory.count("PUT") > pings + 1)
            await registration.check()
            assert directory.documents[0] == directory.documents[2]

    run(scenario)


def test_it_waits_before_it_registers_anew() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory()
        async with registering(directory, rhythm=replace(QUICK, grace=0.3)) as registration:
            await directory.until(lambda: directory.count("PUT") == 1)
            directory.services.clear()
            await directory.until(lambda: directory.count("PUT") > 1)
            forgotten = asyncio.get_running_loop().time()
            await directory.until(lambda: directory.count("POST") == 2)
            assert asyncio.get_running_loop().time() - forgotten > 0.2
            assert registration is not None

    run(scenario)


def test_it_registers_when_the_orchestrator_comes_later() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory(refuse=503)
        async with registering(directory) as registration:
            await directory.until(lambda: directory.count("POST") > QUICK.tries)
            with pytest.raises(Degraded, match="503"):
                await registration.check()
            directory.refuse = 0
            await directory.until(lambda: directory.count("PUT") > 0)
            await registration.check()

    run(scenario)


def test_keepalive_goes_on_through_trouble() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory()
        async with registering(directory) as registration:
            await directory.until(lambda: directory.count("PUT") > 0)
            directory.refuse = 500
            pings = directory.count("PUT")
            await directory.until(lambda: directory.count("PUT") > pings + 2)
            with pytest.raises(Degraded, match="keepalive was answered with 500"):
                await registration.check()
            directory.refuse = 0
            pings = directory.count("PUT")
            await directory.until(lambda: directory.count("PUT") > pings + 1)
            await registration.check()
            assert directory.count("POST") == 1

    run(scenario)


def test_a_short_memory_is_refreshed_more_often() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory(ttl=0.06)
        async with registering(directory, rhythm=replace(QUICK, keepalive=3600)):
            await directory.until(lambda: directory.count("PUT") > 2)

    run(scenario)


def test_a_server_that_never_gets_well_does_not_register() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory()
        with pytest.raises(StartError, match="not ready itself"):
            async with registering(directory, SmallService(well=False), rhythm=replace(QUICK, patience=0.05), required=True):
                pass
        assert directory.heard == []

    run(scenario)


def test_it_does_not_register_before_it_is_well() -> None:
    async def scenario() -> None:
        directory, service = ServiceDirectory(), SmallService(well=False)
        async with registering(directory, service):
            await service.until(lambda: service.looks > 3)
            assert directory.heard == []
            service.well = True
            await directory.until(lambda: directory.count("POST") == 1)

    run(scenario)


@pytest.mark.parametrize(("key", "trouble"), [("wrong", "answered with 401"), ("", "answered with 401")])
def test_a_wrong_key_is_told(key: str, trouble: str) -> None:
    async def scenario() -> None:
        directory = ServiceDirectory(key="secret")
        with pytest.raises(StartError, match=trouble):
            async with registering(directory, key=key, required=True):
                pass
        assert (directory.count("POST"), directory.services) == (QUICK.tries, {})

    run(scenario)


def test_a_required_registration_is_there_once_it_has_started() -> None:
    async def scenario() -> None:
        directory = ServiceDirectory()
        async with registering(directory, required=True) as registration:
            await registration.check()
            assert "disease" in directory.services

    run(scenario)


def test_without_an_orchestrator_it_goes_on_trying() -> None:
    async def scenario() -> None:
        async with listening(SmallService().app) as own:
            registration = Registration(Orchestrator(NOWHERE), rhythm=QUICK)
            await registration.start(own, ADVERTISED)
            with pytest.raises(Degraded, match="not registered yet"):
                await registration.check()
            await registration.close()
            registration = Registration(Orchestrator(NOWHERE), rhythm=QUICK, required=True)
            with pytest.raises(StartError, match=r"127\.0\.0\.1:1.*does not answer"):
                await registration.start(own, ADVERTISED)

    run(scenario)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "nonsense", "http://", "http://[broken"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(NoAnswer):
        asyncio.run(exchange("GET", url, seconds=1))


def test_redirects_are_answers() -> None:
    async def scenario() -> None:
        from starlette.applications import Starlette
        from starlette.responses import RedirectResponse
        from starlette.routing import Route

        async def elsewhere(request: Any) -> RedirectResponse:
            return RedirectResponse("http://127.0.0.1:1/")

        async with listening(Starlette(routes=[Route("/", elsewhere, methods=["POST"])])) as url:
            answer = await exchange("POST", url, body={}, seconds=5)
            assert (answer.status, answer.ok, answer.json()) == (307, False, None)

    run(scenario)


@pytest.mark.parametrize(
    ("host", "own", "advertised"),
    [
        ("0.0.0.0", "http://127.0.0.1:1", "http://0.0.0.0:1"),  # noqa: S104 - compared, not bound
        ("::", "http://[::1]:1", "http://[::]:1"),
        ("10.0.0.7", "http://10.0.0.7:1", "http://10.0.0.7:1"),
        ("localhost", "http://localhost:1", "http://localhost:1"),
    ],
)
def test_urls(host: str, own: str, advertised: str) -> None:
    assert (own_url(host, 1), url_of(host, 1)) == (own, advertised)
