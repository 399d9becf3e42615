"""Keeps this server registered with an orchestrator for as long as it serves."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import structlog

from ..errors import Degraded, StartError
from .exchange import Answer, NoAnswer, exchange
from .orchestrator import Orchestrator, Refused, Registered

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """In seconds: how often to tell that the server lives, how long to wait when it is forgotten, and between attempts to register, of
    which `tries` are made in a row; how often, and how long, to look whether the server itself answers."""

    keepalive: float = 10.0
    grace: float = 30.0
    pause: float = 2.0
    tries: int = 5
    look: float = 0.5
    patience: float = 30.0


class Registration:
    """Registers, tells again and again that the server lives, registers anew when it was forgotten, and takes its leave at the end.

    With `required` a server that cannot register does not start; otherwise it tries again for as long as it serves.
    """

    def __init__(self, orchestrator: Orchestrator, *, required: bool = False, rhythm: Rhythm | None = None) -> None:
        self._orchestrator = orchestrator
        self._required = required
        self._rhythm = rhythm or Rhythm()
        self._known_as = ""
        self._registered: Registered | None = None
        self._trouble = "not registered yet"
        self._task: asyncio.Task[None] | None = None

    async def start(self, own: str, advertised: str) -> None:
        """Begins. `own` is the URL at which this machine reaches the server, `advertised` the one for the orchestrator. Raises StartError
        if registration is required and fails."""
        if self._required and not await self._register(own, advertised):
            raise StartError(f"cannot register with {self._orchestrator.url}: {self._trouble}")
        self._task = asyncio.create_task(self._keep_registered(own, advertised), name="registration")

    async def close(self, *, farewell: bool = True) -> None:
        """Takes leave of the orchestrator; without `farewell` the server goes on, and somebody else keeps it registered."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._known_as or not farewell:
            return
        try:
            await self._orchestrator.deregister(self._known_as)
            log.info("deregistered", id=self._known_as)
        except Refused as error:
            log.warning("cannot deregister", error=str(error))

    async def check(self) -> None:
        """Raises Degraded while the orchestrator does not know this server, as far as can be told."""
        if self._trouble:
            raise Degraded(self._trouble)

    async def _keep_registered(self, own: str, advertised: str) -> None:
        while True:
            if self._registered is None and not await self._register(own, advertised):
                await asyncio.sleep(self._rhythm.grace)
                continue
            assert self._registered is not None
            await asyncio.sleep(self._interval(self._registered))
            if not await self._is_known(self._registered):
                self._trouble, self._registered = "the orchestrator has forgotten this server", None
                log.warning(self._trouble)
                await asyncio.sleep(self._rhythm.grace)

    def _interval(self, registered: Registered) -> float:
        """Where the orchestrator forgets sooner than usual, it is told more often."""
        ttl = registered.ttl_seconds
        return self._rhythm.keepalive if ttl is None else min(self._rhythm.keepalive, ttl / 3)

    async def _is_known(self, registered: Registered) -> bool:
        try:
            known = await self._orchestrator.ping(registered)
        except Refused as error:
            self._trouble = str(error)
            log.warning("cannot tell the orchestrator that this server lives", error=self._trouble)
            return True
        self._trouble = ""
        return known

    async def _register(self, own: str, advertised: str) -> bool:
        """Registers, if need be in several attempts; whether that was possible."""
        for attempt in range(self._rhythm.tries):
            if attempt:
                await asyncio.sleep(self._rhythm.pause)
            try:
                info = await self._info(own)
                # From here on the orchestrator may know this server, whatever becomes of its answer.
                self._known_as = str(info["id"])
                self._registered = await self._orchestrator.register(self._known_as, advertised, info)
            except Refused as error:
                self._trouble = str(error)
                log.warning("cannot register", orchestrator=self._orchestrator.url, error=self._trouble)
                continue
            self._known_as, self._trouble = self._registered.id, ""
            log.info("registered", orchestrator=self._orchestrator.url, id=self._known_as, url=advertised)
            return True
        return False

    async def _info(self, own: str) -> dict[str, Any]:
        """What this server says of itself, once it is well. Raises Refused if it is not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rhythm.patience):
                while not (await self._asked(f"{own}/health")).ok:  # noqa: ASYNC110 - nobody tells when all checks are well
                    await asyncio.sleep(self._rhythm.look)
                answer = await self._asked(f"{own}/api/v1/info")
                info = answer.json()
                if answer.ok and isinstance(info, dict) and "id" in info:
                    return info
        raise Refused("this server is not ready itself")

    async def _asked(self, url: str) -> Answer:
        try:
            return await exchange("GET", url, seconds=self._rhythm.patience, direct=True)
        except NoAnswer:
            return Answer(503, b"")


def own_url(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens there."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    return url_of(everywhere.get(host, host), port)


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
