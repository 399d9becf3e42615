"""What a server says of itself over HTTP: is it healthy, how is it doing, where does it run."""

import asyncio
import platform
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..errors import Degraded
from ..metrics import CONTENT_TYPE, MetricsText
from .answers import Streamed
from .jobs import read_interval
from .predictor_routes import uptime
from .readiness import Ready
from .streams import EVENT_STREAM, HEADERS, data

# Asks one part of the server whether it is well; raises when it is not: Degraded when the server works all the same.
Check = Callable[[], Awaitable[object]]

# Tells what can predict.
Summary = Callable[[], Awaitable[Ready]]

CHECK_SECONDS = 5.0
HEALTH_INTERVAL = 1.0
# From good to bad.
_STATES = ("healthy", "degraded", "unhealthy")
_APP: dict[str, Any] = {
    "type": "object",
    "title": "AppInfo",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "version", "prefix")},
        **{name: {"type": ["string", "null"]} for name in ("description", "author", "entry")},
        "is_package": {"type": "boolean"},
    },
    "required": ["name", "version", "prefix"],
}

log = structlog.get_logger(__name__)


def system_routes(
    checks: Mapping[str, Check], metrics: MetricsText, check_seconds: float = CHECK_SECONDS, summary: Summary | None = None
) -> list[BaseRoute]:
    """A check that raises or takes longer than `check_seconds` makes the server unhealthy."""

    async def health(request: Request) -> Response:
        report = await _report(checks, check_seconds)
        if summary is not None and (known := await summary()).ready:
            degraded = known.degraded or not all(known.ready.values())
            report["status"] = max(report["status"], _STATES[degraded], key=_STATES.index)
            report |= {"live": True, "ready": known.ready, "uptime": uptime(), **({"models": known.models} if known.models else {})}
        return JSONResponse(report, status_code=503 if report["status"] == "unhealthy" else 200)

    async def health_stream(request: Request) -> Response:
        interval = read_interval(request.query_params.get("poll_interval"), HEALTH_INTERVAL)
        return Streamed(_reports(checks, check_seconds, interval), headers={**HEADERS, "content-type": EVENT_STREAM})

    async def metrics_text(request: Request) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/health/$stream", health_stream, methods=["GET"]),
        Route("/metrics", metrics_text, methods=["GET"]),
        Route("/api/v1/system", _system, methods=["GET"]),
        Route("/api/v1/system/apps", _apps, methods=["GET"]),
        Route("/api/v1/system/apps/$schema", _apps_schema, methods=["GET"]),
    ]


async def _reports(checks: Mapping[str, Check], seconds: float, interval: float) -> AsyncGenerator[bytes, None]:
    while True:
        yield data(await _report(checks, seconds))
        await asyncio.sleep(interval)


async def _report(checks: Mapping[str, Check], seconds: float) -> dict[str, Any]:
    found = await asyncio.gather(*(_state(name, check, seconds) for name, check in checks.items()))
    report: dict[str, Any] = {"status": max((state["state"] for state in found), key=_STATES.index, default=_STATES[0])}
    return report | ({"checks": dict(zip(checks, found, strict=True))} if checks else {})


class Unwell(Exception):
    """Raised by checks whose message may be told to anybody."""


async def _state(name: str, check: Check, seconds: float) -> dict[str, str]:
    try:
        async with asyncio.timeout(seconds):
            await check()
    except TimeoutError:
        return {"state": "unhealthy", "message": f"Check failed: no answer within {seconds:g} s"}
    except Degraded as error:
        return {"state": "degraded", "message": str(error)}
    except Unwell as error:
        log.warning("health check failed", check=name, error=str(error))
        return {"state": "unhealthy", "message": f"Check failed: {error}"}
    except Exception as error:
        log.warning("health check failed", check=name, exc_info=True)
        return {"state": "unhealthy", "message": f"Check failed: {type(error).__name__}"}
    return {"state": "healthy"}


async def _system(request: Request) -> Response:
    return JSONResponse(
        {
            "current_time": datetime.now(UTC).isoformat(),
            "timezone": time.tzname[0],
            "python_version": platform.python_version(),
            "platform": platform.platform(),
            "hostname": socket.gethostname(),
        }
    )


async def _apps(request: Request) -> Response:
    return JSONResponse([])


async def _apps_schema(request: Request) -> Response:
    return JSONResponse({"type": "array", "items": {"$ref": "#/$defs/AppInfo"}, "$defs": {"AppInfo": _APP}})
