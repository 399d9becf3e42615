"""Small HTTP exchanges, with what Python has of its own: they are few, and none is urgent."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

LARGEST_ANSWER = 1 << 20


class NoAnswer(Exception):
    """Nobody answered; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: any status is an answer."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn a POST into a GET, and take the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


# By the proxy that the environment names, if there is one; and past it.
_opener = urllib.request.build_opener(_NoRedirects)
_direct_opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


async def exchange(
    method: str, url: str, *, headers: dict[str, str] | None = None, body: Any = None, seconds: float, direct: bool = False
) -> Answer:
    """Sends a request, with a JSON body if there is one; `direct` says that no proxy is to see it. Raises NoAnswer, also for a URL that
    is none."""
    if not url.startswith(("http://", "https://")):
        raise NoAnswer(f"{url!r} is not an HTTP URL")
    data = None if body is None else json.dumps(body).encode()
    kind = {} if data is None else {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data, {**kind, **(headers or {})}, method=method)  # noqa: S310 - http only, as checked
    except ValueError as error:
        raise NoAnswer(f"{url!r}: {error}") from error
    return await asyncio.to_thread(_exchange, _direct_opener if direct else _opener, request, seconds)


def _exchange(opener: urllib.request.OpenerDirector, request: urllib.request.Request, seconds: float) -> Answer:
    try:
        with opener.open(request, timeout=seconds) as answer:
            return Answer(answer.status, answer.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(LARGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(str(getattr(error, "reason", "") or error) or type(error).__name__) from error
