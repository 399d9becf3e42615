"""Whether a server that was started is there."""

import subprocess

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

_SECONDS = 60


def has_arrived(process: subprocess.Popen[bytes], target: str) -> bool:
    """Waits until a server at this target answers. False if none does, or if it is not this process: that has ended.

    By a call and not by the state of a channel: the thread that tells of it may fail when the channel is closed.
    """
    with grpc.insecure_channel(target) as channel:
        try:
            HealthStub(channel).Check(HealthCheckRequest(), timeout=_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return False
    return process.poll() is None
