"""What a packaged model is besides its files: another project in its place, clouds that it is put into, weights that are only data."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from modelwire_runners import Predictor
from modelwire_server.image.context import Order, write_context

PAGE = (Path(__file__).parents[3] / "docs" / "packaging.md").read_text()
SERVICE = """
from modelwire_runners import Predictor
from factors import FACTOR


class Times(Predictor):
    def convert_prediction_input(self, payload):
        return payload

    def convert_score_input(self, payload):
        return payload, payload

    def run_predict(self, x):
        return x * FACTOR

    def run_scores(self, x, y):
        return 1.0


predictor = Times(None, name="times", predict_schema={}, score_schema={}, test_predict_input=1, test_score_input=1)
"""
TESTS = "from service import predictor\n\n\ndef test_it() -> None:\n    assert predictor.predict(10) == {expected}\n"


def project(folder: Path, factor: int, expected: int) -> Path:
    """A project whose extra module is part of it."""
    (folder / "tests").mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    (folder / "factors.py").write_text(f"FACTOR = {factor}\n")
    (folder / "tests" / "test_service.py").write_text(TESTS.format(expected=expected))
    return folder


def run(*command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def served(folder: Path, data: Path) -> Iterator[str]:
    """As the entry point of the image does it."""
    command = [sys.executable, "-m", "modelwire", "--json", "serve", "service.py:predictor", "--grpc-port=0", "--http-port=0"]
    process = subprocess.Popen([*command, f"--data-dir={data}"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["http"])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def predicted(address: str) -> Any:
    body = json.dumps({"predictor": "times", "payload": 10}).encode()
    with urllib.request.urlopen(f"http://{address.removeprefix('http://')}/predict/", data=body, timeout=30) as answer:
        return json.load(answer)


def test_the_model_is_replaced_by_mounting_a_folder_and_its_tests_run_too(tmp_path: Path) -> None:
    app = tmp_path / "app"
    for factor in (2, 3):
        shutil.rmtree(app, ignore_errors=True)
        project(app, factor, 10 * factor)
        assert run("modelwire", "check", "service.py:predictor", folder=app).returncode == 0
        assert run("pytest", "-q", "-p", "no:cacheprovider", "tests", folder=app).returncode == 0
        with served(app, tmp_path / "data") as address:
            assert predicted(address) == 10 * factor
    (app / "factors.py").write_text("FACTOR = 4\n")
    assert run("pytest", "-q", "-p", "no:cacheprovider", "tests", folder=app).returncode == 1


def test_make_tests_and_serves_the_mounted_folder(tmp_path: Path) -> None:
    root, make = project(tmp_path / "times", 2, 20), shutil.which("make")
    assert make
    (tmp_path / "modelwire-9.9.9-py3-none-any.whl").write_bytes(b"")
    wheel = tmp_path / "modelwire-9.9.9-py3-none-any.whl"
    order = Order(name="times", title="Times", targets=["service.py:predictor"], root=root, python="3.12", wheel=wheel)
    write_context(order, tmp_path / "image")

    def commands(*arguments: str) -> str:
        shown = subprocess.run(
            [make, "--dry-run", "ENGINE=podman", *arguments], cwd=tmp_path / "image", capture_output=True, text=True, check=True
        )
        return shown.stdout.replace("\\\n", " ")

    assert "/app:ro" not in commands("serve", "test")
    mounted = f"--volume {tmp_path / 'other'}:/app:ro"
    serve = commands("serve", "PROJECT=../other", "TARGETS=service.py:predictor")
    assert mounted in serve
    assert serve.strip().endswith("serve service.py:predictor")
    test = commands("test", "PROJECT=../other")
    assert mounted in test
    assert 'for target in service.py:predictor; do modelwire check "$target"' in test
    assert "python -m pytest -q -p no:cacheprovider tests" in test
    smoke = commands("smoke")
    assert [path for path in ("/health", "/readyz", "/api/v1/runners", "/list") if path not in smoke] == []


def test_targets_of_a_cloud_deployment_are_documented() -> None:
    section = PAGE.partition("## In a cloud")[2]
    for word in ("create", "build", "deploy", "test", "delete"):
        assert re.search(rf"^\S.*# {word}$", section, re.MULTILINE), word
    (manifest,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    pod = yaml.safe_load(manifest)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == 1000
    assert (container["livenessProbe"]["httpGet"]["path"], container["readinessProbe"]["httpGet"]["path"]) == ("/livez", "/readyz")


class Linear(Predictor):
    """Predicts with weights that were persisted."""

    def convert_prediction_input(self, payload: Any) -> Any:
        return np.asarray(payload, dtype=np.float32)

    def convert_score_input(self, payload: Any) -> Any:
        return self.convert_prediction_input(payload["x"]), np.asarray(payload["y"])

    def run_scores(self, x: Any, y: Any) -> Any:
        return float(np.abs(self.run_predict(x) - y).max())


class OnOnnx(Linear):
    def run_predict(self, x: Any) -> Any:
        return self.model.run(None, {self.model.get_inputs()[0].name: x})[0].ravel()


class OnTensors(Linear):
    def run_predict(self, x: Any) -> Any:
        return x @ self.model["weights"] + self.model["bias"]


@pytest.mark.parametrize("format", ["onnx", "safetensors"])
def test_weights_are_persisted_in_portable_formats_instead_of_pickle(tmp_path: Path, format: str) -> None:
    path, x, y = tmp_path / f"weights.{format}", [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1.0, 3.0, 4.0]
    predictor = persisted_as_onnx(path, x, y) if format == "onnx" else persisted_as_tensors(path)
    made = predictor(name="linear", predict_schema={}, score_schema={}, test_predict_input=x, test_score_input={"x": x, "y": y})
    assert made.predict([[2.0, 2.0]]) == pytest.approx([11.0])
    assert made.score({"x": x, "y": y}).values["score"] < 1e-5
    assert not path.read_bytes().startswith(b"\x80")  # a pickle
    assert "ONNX, safetensors, skops" in PAGE


def persisted_as_onnx(path: Path, x: Any, y: Any) -> Any:
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(x, y)
    path.write_bytes(to_onnx(model, np.asarray(x, dtype=np.float32)).SerializeToString())
    return lambda **about: OnOnnx(onnxruntime.InferenceSession(path), **about)


def persisted_as_tensors(path: Path) -> Any:
    from safetensors.numpy import load_file, save_file

    save_file({"weights": np.array([2.0, 3.0], np.float32), "bias": np.array(1.0, np.float32)}, path)
    return lambda **about: OnTensors(load_file(path), **about)
