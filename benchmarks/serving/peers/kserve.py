"""KServe's Python server with a model of a few lines, over gRPC (Open Inference Protocol)."""

from collections.abc import Mapping, Sequence

from ..peer import SERVERS, Peer, Place, Question
from ..work import Work
from .mlserver import infer


class KServe(Peer):
    name = "KServe"
    environment = "kserve"
    package = "kserve"
    settings = "one worker, logging of requests off"

    def command(self, place: Place) -> Sequence[str]:
        ports = [f"--grpc_port={place.port}", f"--http_port={place.other_port}"]
        return [
            place.python,
            str(SERVERS / "kserve_sample.py"),
            str(place.columns),
            *ports,
            "--enable_latency_logging=false",
            "--workers=1",
        ]

    def subjects(self, place: Place, question: Question) -> Mapping[str, Work]:
        return {self.name: infer(place, question)}
