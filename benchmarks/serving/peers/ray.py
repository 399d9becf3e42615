"""Ray Serve, over HTTP."""

import json
from collections.abc import Mapping, Sequence

from ..peer import SERVERS, Peer, Place, Question
from ..work import Work
from .bentoml import posted


class RayServe(Peer):
    name = "Ray Serve"
    environment = "ray"
    package = "ray"
    settings = "HTTP with JSON through its HAProxy, throughput optimized, one replica, batches of up to 64 within 1 ms"

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "ray_sample.py"), str(place.columns), str(place.port), str(place.folder)]

    def variables(self, place: Place) -> Mapping[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}

    def subjects(self, place: Place, question: Question) -> Mapping[str, Work]:
        return {self.name: posted(f"http://{place.address}/", question, "rows", lambda answer: json.loads(answer)["predictions"])}
