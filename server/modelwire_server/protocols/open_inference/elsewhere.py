"""Calls that other servers of the protocol answer, and this one does not: told in a sentence."""

from typing import Any

import grpc

from ...interceptors.around import Context
from .options import SHARED_MEMORY
from .v2 import open_inference_pb2 as pb

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

TRACES = "this server records no traces of single requests; its metrics are at /metrics"
LOGS = "the logs of this server are set when it starts, by --log-level"
REASONS = {
    **{f"{kind}SharedMemory{act}": SHARED_MEMORY for kind in ("System", "Cuda") for act in ("Status", "Register", "Unregister")},
    "TraceSetting": TRACES,
    "LogSettings": LOGS,
}


def refusals() -> grpc.GenericRpcHandler:
    """Handlers for all of them, whatever their messages are."""
    handlers = {name: _refusal(why) for name, why in REASONS.items()}
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _refusal(why: str) -> Any:
    async def refuse(request: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, why)
        return b""

    return grpc.unary_unary_rpc_method_handler(refuse)
