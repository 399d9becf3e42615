"""The servers that are compared, in the order of the tables."""

from ..peer import Peer
from .bentoml import BentoML
from .echo import Echo, NativeEcho
from .flight import Flight
from .kserve import KServe
from .mlflow import MLflow
from .mlserver import MLServer, MLServerBatching, MLServerParallel
from .modelwire import Modelwire, ModelwireUncompiled, ModelwireWorkers
from .ray import RayServe, RayServeDefault

ALL: list[Peer] = [
    NativeEcho(),
    Echo(),
    Modelwire(),
    ModelwireUncompiled(),
    ModelwireWorkers(),
    MLServer(),
    MLServerBatching(),
    MLServerParallel(),
    KServe(),
    BentoML(),
    RayServe(),
    RayServeDefault(),
    MLflow(),
    Flight(),
]
