"""What of a request over HTTP goes along with its calls: some of its headers, and how long its client waits."""

import re
from collections.abc import Collection

from starlette.requests import Request

from .calls import Sending
from .problems import Problem

# Headers that become metadata. Any other may be sent with the prefix, which is taken off.
FORWARDED = ("authorization", "baggage", "traceparent", "tracestate", "x-api-key")
PREFIX = "grpc-metadata-"
REQUEST_ID = "x-request-id"
LONGEST_TIMEOUT = 366 * 24 * 3600.0
_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_GRPC_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def sending_of(request: Request, request_id: str, forwarded: Collection[str] = ()) -> Sending:
    """Raises Problem for a deadline that is none."""
    allowed = {*FORWARDED, *forwarded}
    pairs = [
        (key.removeprefix(PREFIX), value) for key, value in request.headers.items() if key in allowed or key.startswith(PREFIX)
    ]
    metadata = tuple(pair for pair in pairs if _travels(*pair))
    peer = f"http:{request.client.host}:{request.client.port}" if request.client else "http"
    return Sending((*metadata, (REQUEST_ID, request_id)), timeout_of(request), peer)


def _travels(key: str, value: str) -> bool:
    """Whether gRPC carries this as metadata, and it is not gRPC's own."""
    ours = key != REQUEST_ID and not key.startswith("grpc-") and not key.endswith("-bin")
    return ours and _KEY.fullmatch(key) is not None and _VALUE.fullmatch(value) is not None


def timeout_of(request: Request) -> float | None:
    """Seconds that the client waits, by `grpc-timeout: 1500m` or `x-timeout: 1.5`. Raises Problem for what is neither."""
    grpc, plain = request.headers.get("grpc-timeout"), request.headers.get("x-timeout")
    if grpc is not None:
        return _seconds("grpc-timeout", grpc, _grpc_seconds(grpc))
    return None if plain is None else _seconds("x-timeout", plain, _plain_seconds(plain))


def _grpc_seconds(text: str) -> float:
    found = _GRPC_TIMEOUT.fullmatch(text)
    return int(found.group(1)) * _UNITS[found.group(2)] if found else 0.0


def _plain_seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _seconds(header: str, text: str, seconds: float) -> float:
    if not seconds > 0:
        raise Problem(400, "bad-request", "Bad Request", f"{header}: {text[:50]!r} is no time to wait")
    return min(seconds, LONGEST_TIMEOUT)
