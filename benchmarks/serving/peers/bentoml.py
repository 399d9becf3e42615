"""BentoML, over HTTP: it has no gRPC any more."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Work


class BentoML(Peer):
    name = "BentoML"
    environment = "bentoml"
    package = "bentoml"
    settings = "HTTP with JSON, one worker, adaptive batching, metrics and access log off"

    def command(self, place: Place) -> Sequence[str]:
        program = str(Path(place.python).parent / "bentoml")
        return [program, "serve", "bentoml_sample:Sample", f"--working-dir={SERVERS}", "--host=127.0.0.1", f"--port={place.port}"]

    def variables(self, place: Place) -> Mapping[str, str]:
        home = {"BENTOML_HOME": str(place.folder), "BENTOML_DO_NOT_TRACK": "True", "SAMPLE_COLUMNS": str(place.columns)}
        return {**home, "PATH": f"{Path(place.python).parent}:/usr/bin:/bin"}

    def calls(self, place: Place, question: Question) -> Works:
        return {self.name: posted(f"http://{place.address}/predict", question, "rows", lambda answer: json.loads(answer))}


def posted(url: str, question: Question, name: str, read: Callable[[bytes], list[int]]) -> Work:
    asked = [(json.dumps({name: row.tolist()}).encode(), expected) for row, expected in question.single()]
    return Work(
        mode="post", target=url, messages=[body for body, _ in asked], expected=[expected for _, expected in asked], read=read
    )
