"""The HTTP side for those who run a server: is it healthy, and how is it doing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import Degraded
from ..metrics import CONTENT_TYPE, ServerMetrics

# Asks one part of the server whether it is well; raises when it is not: Degraded when the server works all the same.
Check = Callable[[], Awaitable[object]]

CHECK_SECONDS = 5.0
# From good to bad.
_STATES = ("healthy", "degraded", "unhealthy")

log = structlog.get_logger(__name__)


def http_app(*, checks: Mapping[str, Check], metrics: ServerMetrics, check_seconds: float = CHECK_SECONDS) -> Starlette:
    """GET /health and GET /metrics. A check that raises or takes longer than `check_seconds` makes the server unhealthy."""

    async def health(request: Request) -> Response:
        found = await asyncio.gather(*(_state(name, check, check_seconds) for name, check in checks.items()))
        worst = max((state["state"] for state in found), key=_STATES.index, default=_STATES[0])
        body: dict[str, object] = {"status": worst}
        if checks:
            body["checks"] = dict(zip(checks, found, strict=True))
        return JSONResponse(body, status_code=503 if worst == "unhealthy" else 200)

    async def metrics_text(request: Request) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/health", health, methods=["GET"]), Route("/metrics", metrics_text, methods=["GET"])])


async def _state(name: str, check: Check, seconds: float) -> dict[str, str]:
    try:
        async with asyncio.timeout(seconds):
            await check()
    except TimeoutError:
        return {"state": "unhealthy", "message": f"Check failed: no answer within {seconds:g} s"}
    except Degraded as error:
        return {"state": "degraded", "message": str(error)}
    except Exception as error:
        log.warning("health check failed", check=name, exc_info=True)
        return {"state": "unhealthy", "message": f"Check failed: {type(error).__name__}"}
    return {"state": "healthy"}
