"""Puts the protocol on a server."""

from collections.abc import Callable
from typing import Any

from ...artifacts.tree import ArtifactTree
from ...frames import FrameLimits
from ...metrics import ServerMetrics
from ...prediction import Prediction
from ...registry.catalog import ModelCatalog
from .elsewhere import SERVICE, refusals
from .inference import Inference
from .repository import Repository
from .servicer import OpenInferenceServicer
from .statistics import Statistics
from .v2 import open_inference_pb2_grpc

__all__ = ["SERVICE", "add_open_inference"]


def add_open_inference(
    server: Any,
    *,
    prediction: Prediction,
    tree: ArtifactTree,
    registry: ModelCatalog,
    limits: FrameLimits,
    metrics: ServerMetrics,
    is_serving: Callable[[], bool],
) -> None:
    """Registers the service with a server, or what stands for one."""
    repository, statistics = Repository(prediction, tree, registry), Statistics()
    inference = Inference(repository=repository, prediction=prediction, statistics=statistics, metrics=metrics, limits=limits)
    servicer = OpenInferenceServicer(repository=repository, inference=inference, statistics=statistics, is_serving=is_serving)
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((refusals(),))
