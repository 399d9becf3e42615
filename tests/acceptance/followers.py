"""Models that a server follows in MLflow: what is said of them, and what somebody may put there who means harm."""

import json
import os
import pickle
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlflow_server import MLflowServer
from serving import ServerProcess

# The client of MLflow takes seconds to be imported, more on a busy machine.
PATIENCE = 90
RELOAD_RECEIVED, NOT_AVAILABLE, LOADED = "model reload request received", "model is not available", "model is loaded"
FEATURES = 300


class Follower:
    """A model that a server follows, and what is said of it."""

    def __init__(self, process: ServerProcess, name: str = "wine") -> None:
        self.process = process
        self.name = name

    def log(self, *events: str) -> list[dict[str, Any]]:
        """The lines with these events that are about the model, in their order."""
        lines = [json.loads(line) for line in self.process.output().splitlines() if line.startswith("{")]
        own = [line for line in lines if str(line.get("model", "")).partition("/")[0] == self.name]
        # Each process of the server says for itself what it cannot serve, without a source.
        return [line for line in own if line["event"] in events and ("source" in line or line["event"] == RELOAD_RECEIVED)]

    def said(self) -> list[tuple[str, str]]:
        """What is said of the model, in its order."""
        return [(line["level"], line["event"]) for line in self.log(RELOAD_RECEIVED, NOT_AVAILABLE, LOADED)]

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.process.http_port}{path}"
        request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def predicted(self) -> float | None:
        """What the model predicts; None while it does not."""
        status, answer = self.rest("/predict", {"model_id": self.name, "features": {"x": 1.0}})
        assert status in (200, 503), answer
        return None if status == 503 else answer["prediction"]

    def predicts(self, value: float) -> Callable[[], bool]:
        return lambda: self.predicted() == value

    def has_warned(self, times: int = 1) -> Callable[[], bool]:
        return lambda: len(self.log(NOT_AVAILABLE)) >= times

    def reload(self) -> None:
        assert self.rest(f"/reload?model={self.name}")[0] == 200


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def champion(mlflow: MLflowServer, name: str, value: float, **more: Any) -> None:
    """Trains a model, and gives it the alias."""
    mlflow.set_alias(name=name, alias="champion", version=mlflow.train(name=name, value=value, **more))


def commands_of(page: Path, begin: str, end: str) -> list[str]:
    """The commands between two headings."""
    part = page.read_text().partition(f"\n{begin}\n")[2].partition(f"\n{end}")[0]
    found = re.findall(r"^```bash\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def linear_graph() -> bytes:
    """Adds the features up, with weights that are large enough for MLflow to put them into a file of their own."""
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    model.coef_, model.intercept_, model.n_features_in_ = np.ones(FEATURES), 0.0, FEATURES
    content: bytes = to_onnx(model, np.zeros((1, FEATURES), dtype=np.float32)).SerializeToString()
    return content


@contextmanager
def empty_registry(port: int) -> Iterator[None]:
    """Answers as MLflow does that has no models."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model not found"}).encode()
            self.send_response(404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self._path),))


# Ways in for a pickle: what MLmodel says of it, and how its file is called.
HARMFUL: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "harmful-sklearn": ({"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}}, "model.pkl"),
    "harmful-python": ({"python_function": {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl"}}, "model.pkl"),
    "harmful-skops": ({"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}, "model.skops"),
    "harmful-onnx": ({"onnx": {"data": "model.onnx"}}, "model.onnx"),
}
# Places of the file that are none in the model's folder.
OUTSIDE = {"outside-1": "../../secret", "outside-2": "/etc/hosts", "outside-3": ""}


def register_harm(mlflow: MLflowServer, canaries: Path) -> None:
    """Registers them all; a pickle that is run makes a folder in `canaries`."""
    for name, (flavours, file) in HARMFUL.items():
        content = {file: pickle.dumps(Canary(canaries / name)).hex()}
        version = mlflow.register_files(name=name, description=json.dumps({"flavors": flavours}), content=content)
        mlflow.set_alias(name=name, alias="champion", version=version)
    for name, place in OUTSIDE.items():
        described = {"flavors": {"sklearn": {"pickled_model": place, "serialization_format": "skops"}}}
        version = mlflow.register_files(name=name, description=json.dumps(described), content={})
        mlflow.set_alias(name=name, alias="champion", version=version)
