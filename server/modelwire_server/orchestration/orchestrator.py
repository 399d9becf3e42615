"""An orchestrator, as a service sees it: it wants to know who is there, and to hear of them again and again."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from .exchange import Answer, NoAnswer, exchange

REGISTER = "/$register"
KEY_HEADER = "X-Service-Key"
SECONDS = 10.0
# Nobody waits long for a server that shuts down.
FAREWELL_SECONDS = 3.0


class Refused(Exception):
    """The orchestrator said no, or did not answer; the message says what."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the orchestrator calls the service, where it wants to hear of it, and after how many seconds of silence it forgets it."""

    id: str
    ping_url: str
    ttl_seconds: float | None = None


class Orchestrator:
    """`url` is where services register, ending in `/$register`; `key` is what they show that they may."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url
        self._headers = {KEY_HEADER: key} if key else {}

    async def register(self, id: str, service_url: str, info: dict[str, Any]) -> Registered:
        """Raises Refused."""
        document = {"id": id, "url": service_url, "info": info}
        answer = await self._ask("POST", self.url, SECONDS, document)
        if not answer.ok:
            raise Refused(f"registration was answered with {answer.status}: {_text(answer)}")
        said = answer.json()
        said = said if isinstance(said, dict) else {}
        known_as = str(said.get("id") or id)
        ping_url = str(said.get("ping_url") or f"{self._place_of(known_as)}/$ping")
        ttl = said.get("ttl_seconds")
        return Registered(known_as, urljoin(self.url, ping_url), ttl if isinstance(ttl, int | float) and ttl > 0 else None)

    async def ping(self, registered: Registered) -> bool:
        """Whether the orchestrator still knows the service. Raises Refused for any other trouble."""
        answer = await self._ask("PUT", registered.ping_url, SECONDS)
        if answer.status == 404:
            return False
        if not answer.ok:
            raise Refused(f"keepalive was answered with {answer.status}: {_text(answer)}")
        return True

    async def deregister(self, id: str) -> None:
        """Raises Refused; that the service is not known is fine."""
        answer = await self._ask("DELETE", self._place_of(id), FAREWELL_SECONDS)
        if not answer.ok and answer.status != 404:
            raise Refused(f"deregistration was answered with {answer.status}: {_text(answer)}")

    def _place_of(self, id: str) -> str:
        return f"{self.url.removesuffix('/').removesuffix(REGISTER)}/{quote(id, safe='')}"

    async def _ask(self, method: str, url: str, seconds: float, body: Any = None) -> Answer:
        try:
            return await exchange(method, url, headers=self._headers, body=body, seconds=seconds)
        except NoAnswer as error:
            raise Refused(f"the orchestrator does not answer: {error}") from error


def _text(answer: Answer) -> str:
    return answer.body[:200].decode(errors="replace")
