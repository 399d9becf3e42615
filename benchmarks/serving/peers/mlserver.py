"""MLServer with its own runtime for scikit-learn, over gRPC (Open Inference Protocol)."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from .. import oip, sample
from ..peer import Peer, Place, Question, Works
from ..work import Work


class MLServer(Peer):
    name = "MLServer"
    environment = "mlserver"
    package = "mlserver"
    settings = "in the serving process, no batching, metrics off"
    workers: ClassVar[int] = 0
    batching: ClassVar[dict[str, float]] = {}
    forms: ClassVar[Sequence[str]] = ("one message",)

    def command(self, place: Place) -> Sequence[str]:
        subprocess.run([place.python, sample.__file__, str(place.columns), str(place.folder / "model.joblib")], check=True)
        model = {"name": "sample", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
        server = {
            "host": "127.0.0.1",
            "http_port": place.other_port,
            "grpc_port": place.port,
            "metrics_endpoint": None,
            "parallel_workers": self.workers,
            "debug": False,
            "grpc_max_message_length": -1,
        }
        (place.folder / "model-settings.json").write_text(json.dumps({**model, **self.batching}))
        (place.folder / "settings.json").write_text(json.dumps(server))
        return [str(Path(place.python).parent / "mlserver"), "start", "."]

    def calls(self, place: Place, question: Question) -> Works:
        return {self.name: infer(place, question)}

    def frame(self, place: Place, question: Question, form: str) -> Work:
        return whole(place, question)


class MLServerBatching(MLServer):
    name = "MLServer, batching"
    settings = "in the serving process, adaptive batching of up to 64 within 1 ms, metrics off"
    forms = ()
    batching: ClassVar[dict[str, float]] = {"max_batch_size": 64, "max_batch_time": 0.001}


class MLServerParallel(MLServer):
    name = "MLServer, worker"
    settings = "one process for inference beside the serving process, adaptive batching, metrics off"
    forms = ()
    workers = 1
    batching = MLServerBatching.batching


def infer(place: Place, question: Question, model: str = "sample") -> Work:
    """The rows one by one, by the Open Inference Protocol."""
    asked = [(oip.request(model, "predict", row), expected) for row, expected in question.single()]
    return Work(
        mode="unary",
        target=place.address,
        method=oip.INFER,
        messages=[message for message, _ in asked],
        expected=[expected for _, expected in asked],
        read=oip.predictions,
    )


def whole(place: Place, question: Question) -> Work:
    """All rows in one message."""
    return Work(
        mode="unary",
        target=place.address,
        method=oip.INFER,
        messages=[oip.request("sample", "predict", question.rows)],
        expected=[question.expected.tolist()],
        read=oip.predictions,
        whole=True,
    )
