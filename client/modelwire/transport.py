"""How a channel is set up: target, credentials, options and service config."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from modelwire._version import __version__
from modelwire.v1 import (
    artifact_service_pb2,
    config_service_pb2,
    job_service_pb2,
    model_service_pb2,
    predict_service_pb2,
    runner_service_pb2,
    train_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from google.protobuf.descriptor import MethodDescriptor

DEFAULT_TARGET = "localhost:50051"
DEFAULT_TIMEOUT = 30.0
RECONNECT_FOR = 300.0
STALL_TIMEOUT = 300.0
CONTRACT = (
    artifact_service_pb2,
    config_service_pb2,
    job_service_pb2,
    model_service_pb2,
    predict_service_pb2,
    runner_service_pb2,
    train_service_pb2,
)
SAFE_TO_REPEAT = ("Get", "List", "Expand", "Validate", "Generate", "Predict", "Score", "Check", "Reload", "CancelJob")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach a server. Durations are in seconds; see `Client` for what each means."""

    target: str
    credentials: grpc.ChannelCredentials | None = field(default=None, repr=False)
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float | None = DEFAULT_TIMEOUT
    stall_timeout: float | None = STALL_TIMEOUT
    reconnect_for: float = RECONNECT_FOR
    wait_for_ready: bool = False


def find_target(target: str | None) -> str:
    """The argument, or else MODELWIRE_TARGET, or else localhost:50051."""
    return target or os.environ.get("MODELWIRE_TARGET") or DEFAULT_TARGET


def call_metadata(metadata: Mapping[str, str] | None, token: str | None) -> tuple[tuple[str, str], ...]:
    """Metadata of every call; keys are lower-case, as HTTP/2 wants them."""
    pairs = [(key.lower(), value) for key, value in (metadata or {}).items()]
    if token:
        pairs.append(("authorization", f"Bearer {token}"))
    return tuple(pairs)


def find_credentials(
    tls: bool,
    root_certificates: bytes | str | PathLike[str] | None,
    private_key: bytes | str | PathLike[str] | None,
    certificate_chain: bytes | str | PathLike[str] | None,
) -> grpc.ChannelCredentials | None:
    """Credentials of a TLS channel; None for one without. Each part is PEM bytes or a path."""
    if not (tls or root_certificates or private_key or certificate_chain):
        return None
    return grpc.ssl_channel_credentials(_pem(root_certificates), _pem(private_key), _pem(certificate_chain))


def _pem(source: bytes | str | PathLike[str] | None) -> bytes | None:
    return source if source is None or isinstance(source, bytes) else Path(source).read_bytes()


def channel_options() -> list[tuple[str, Any]]:
    """Options of every channel."""
    return [
        ("grpc.primary_user_agent", f"modelwire-python/{__version__}"),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.service_config", json.dumps(service_config())),
        # The server allows pings every 10 s. Quiet streams are legitimate, so their pings are not counted.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that restarts is found again within seconds, not minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Servers balance by connection: each client has its own.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def service_config() -> dict[str, Any]:
    """The gRPC service config: calls that may be repeated are, when the server cannot be reached."""
    names = [{"service": method.containing_service.full_name, "method": method.name} for method in _repeatable()]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "retryPolicy": policy}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }


def _repeatable() -> Iterator[MethodDescriptor]:
    """Calls with one request and one answer that have the same effect when they are made twice."""
    for file in CONTRACT:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                once = not (method.client_streaming or method.server_streaming)
                if once and ("request_id" in method.input_type.fields_by_name or method.name.startswith(SAFE_TO_REPEAT)):
                    yield method
