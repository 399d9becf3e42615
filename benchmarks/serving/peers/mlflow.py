"""MLflow's server of models, over HTTP: it has no other protocol."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..peer import SERVERS, Peer, Place, Question, Works
from .bentoml import posted


class MLflow(Peer):
    name = "MLflow"
    environment = "mlflow"
    package = "mlflow"
    settings = "HTTP with JSON (tensor input), one worker"

    def command(self, place: Place) -> Sequence[str]:
        save = [place.python, str(SERVERS / "mlflow_sample.py"), str(place.columns), str(place.folder / "model")]
        subprocess.run(save, check=True, capture_output=True)
        program = str(Path(place.python).parent / "mlflow")
        options = ["--env-manager=local", "--host=127.0.0.1", f"--port={place.port}", "--workers=1"]
        return [program, "models", "serve", "--model-uri=model", *options]

    def variables(self, place: Place) -> Mapping[str, str]:
        folder = str(Path(place.python).parent)
        return {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{folder}:/usr/bin:/bin", "UVICORN_ACCESS_LOG": "0"}

    def calls(self, place: Place, question: Question) -> Works:
        url = f"http://{place.address}/invocations"
        return {self.name: posted(url, question, "inputs", lambda answer: json.loads(answer)["predictions"])}
