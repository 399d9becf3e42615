"""KServe's Python server with a model of a few lines, over gRPC (Open Inference Protocol)."""

from collections.abc import Sequence

from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Work
from .mlserver import infer, whole

# The default is 8 MiB.
LARGE = ["--grpc_max_send_message_length=-1", "--grpc_max_receive_message_length=-1"]


class KServe(Peer):
    name = "KServe"
    environment = "kserve"
    package = "kserve"
    forms = ("one message",)
    settings = "one worker, logging of requests off"

    def command(self, place: Place) -> Sequence[str]:
        ports = [f"--grpc_port={place.port}", f"--http_port={place.other_port}"]
        options = ["--workers=1", "--enable_latency_logging=false", *LARGE]
        return [place.python, str(SERVERS / "kserve_sample.py"), str(place.columns), *ports, *options]

    def calls(self, place: Place, question: Question) -> Works:
        return {self.name: infer(place, question)}

    def frame(self, place: Place, question: Question, form: str) -> Work:
        return whole(place, question)
