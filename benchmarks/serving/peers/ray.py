"""Ray Serve, over HTTP."""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Work
from .bentoml import posted


class RayServe(Peer):
    name = "Ray Serve, HAProxy"
    environment = "ray"
    package = "ray"
    chosen: ClassVar[Mapping[str, str]] = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    forms: ClassVar[Sequence[str]] = ("one body of bytes",)
    settings = (
        "HTTP with JSON through its HAProxy (a process in C), throughput optimized, one replica, batches of up to 64 within 1 ms"
    )

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "ray_sample.py"), str(place.columns), str(place.port), str(place.folder)]

    def variables(self, place: Place) -> Mapping[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0", **self.chosen}

    def calls(self, place: Place, question: Question) -> Works:
        return {self.name: posted(f"http://{place.address}/", question, "rows", lambda answer: json.loads(answer)["predictions"])}

    def frame(self, place: Place, question: Question, form: str) -> Work:
        return Work(
            mode="post",
            target=f"http://{place.address}/",
            content_type="application/octet-stream",
            messages=[question.rows.tobytes()],
            expected=[question.expected.tolist()],
            read=lambda answer: np.frombuffer(answer, np.int64).tolist(),
            whole=True,
        )


class RayServeDefault(RayServe):
    name = "Ray Serve"
    settings = "the same with its own proxy, as it comes"
    chosen: ClassVar[Mapping[str, str]] = {}
    forms = ()
