"""A program that asks an MLflow server, started by conversation.Conversation: MLflow's client takes seconds and 200 MB to import, and a
question that hangs can be ended here.

It reads questions, a line of JSON each, and answers each with a line: `{"id": 1, "ask": "resolve", ...}`, `{"id": 1, "answer": {...}}` or
`{"id": 1, "error": KIND, "message": ...}`. Nothing that it downloads is read as a model.
"""

import concurrent.futures
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from ..execution.linux import die_with_parent

NOT_FOUND, REFUSED, TOO_LARGE, UNAVAILABLE = "not_found", "refused", "too_large", "unavailable"
_AT_ONCE = 8
_writing = threading.Lock()
_LARGEST_DESCRIPTION = 1024 * 1024
# What MLflow calls the types of columns, and what Arrow does.
_TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "string": "string",
    "binary": "binary",
    "datetime": "timestamp[ns]",
}


class Failure(Exception):
    """Why there is no answer; `kind` is one of the constants above."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> None:
    """`python -m modelwire_server.sources.mlflow_program PARENT_PID`"""
    die_with_parent(int(sys.argv[1]), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that print must not get between the answers.
    answers, sys.stdout = os.fdopen(os.dup(1), "w", buffering=1), sys.stderr
    os.dup2(2, 1)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as threads:
        for line in sys.stdin:
            threads.submit(_respond, json.loads(line), answers)
        # Nobody listens any more.
        os._exit(0)


def _respond(question: Mapping[str, Any], answers: TextIO) -> None:
    answer: dict[str, Any] = {"id": question["id"]}
    try:
        answer["answer"] = _ASKED[question["ask"]](question)
    except Failure as failure:
        answer |= {"error": failure.kind, "message": str(failure)}
    except Exception as error:
        answer |= _in_own_words(error)
    with _writing:
        answers.write(json.dumps(answer) + "\n")


def _in_own_words(error: Exception) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    # Without the password that the server's address may have.
    message = re.sub(r"//[^/@\s]*@", "//", str(error).partition("\n")[0][:1000])
    code = error.error_code if isinstance(error, MlflowException) else ""
    missing = code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and "alias" in message)
    return {"error": NOT_FOUND if missing else UNAVAILABLE, "message": message.removeprefix(f"{code}: ")}


def _resolve(question: Mapping[str, Any]) -> dict[str, Any]:
    """Which version `name` with a `version`, `alias` or `stage` means now."""
    found = _version(question)
    return {"version": str(found.version), "created": int(found.creation_timestamp)}


def _version(question: Mapping[str, Any]) -> Any:
    from mlflow import MlflowClient

    client, name = MlflowClient(), question["name"]
    if question["alias"]:
        return client.get_model_version_by_alias(name, question["alias"])
    if question["version"]:
        return client.get_model_version(name, question["version"])
    versions = client.search_model_versions(f"name='{name}'")
    staged = [version for version in versions if version.current_stage == question["stage"]]
    if not staged:
        raise Failure(NOT_FOUND, f"no version of {name} has the stage {question['stage']}")
    return max(staged, key=lambda version: int(version.version))


def _fetch(question: Mapping[str, Any]) -> dict[str, Any]:
    """Downloads the file of the model `name`, `version` into the folder `into`, if it has no more than `max_bytes`."""
    # Here, as the server imports this module for its words.
    import yaml
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    version, into = _version(question), question["into"]
    files: Any = get_artifact_repository(f"models:/{version.name}/{version.version}")
    sizes = {file.path: file.file_size or 0 for file in files.list_artifacts("") or () if not file.is_dir}
    if sizes.get("MLmodel", 0) > _LARGEST_DESCRIPTION:
        raise Failure(TOO_LARGE, "the file MLmodel is no description of a model: it is too large")
    description = yaml.safe_load(Path(files.download_artifacts("MLmodel", into)).read_text())
    told = _file_of(description)
    wanted = list(sizes) if told["format"] == "onnx" else [told["path"]]
    if sum(sizes.get(name, 0) for name in wanted) > question["max_bytes"]:
        raise Failure(TOO_LARGE, f"the model has {sum(sizes.values()):,} bytes, and may have {question['max_bytes']:,}")
    for name in wanted:
        path = files.download_artifacts(name, into)
        if name == told["path"]:
            told["path"] = path
    if told["format"] == "onnx":
        _in_one_file(Path(told["path"]))
    return {**told, **_signature(description), **_run(version), "description": version.description or ""}


def _file_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Where the model is in its folder, and in which format, by its flavours; what is no plain file is refused."""
    flavours = description.get("flavors", {})
    if onnx := flavours.get("onnx"):
        return {"path": _inside(onnx.get("data", "")), "format": "onnx", "framework": _framework("onnx", onnx)}
    if sklearn := flavours.get("sklearn"):
        written = sklearn.get("serialization_format", "")
        path = _inside(sklearn.get("pickled_model", ""))
        framework = _framework("scikit-learn", sklearn, "sklearn_version")
        return {"path": path, "format": "skops" if written == "skops" else "cloudpickle", "framework": framework}
    python = flavours.get("python_function", {})
    if path := python.get("python_model"):
        return {"path": _inside(path), "format": "cloudpickle", "framework": _framework("mlflow", description, "mlflow_version")}
    known = ", ".join(flavours) or "none"
    raise Failure(
        REFUSED, f"the model has none of the flavours sklearn, onnx and python_function with a Python model, but: {known}"
    )


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or path.startswith("/"):
        raise Failure(REFUSED, f"the description of the model names a file that is none of its folder: {path!r}")
    return path


def _framework(library: str, flavour: Mapping[str, Any], version: str = "onnx_version") -> str:
    return f"{library} {flavour.get(version) or ''}".strip()


def _in_one_file(path: Path) -> None:
    """MLflow puts the weights of an ONNX model into files of their own."""
    try:
        import onnx
    except ModuleNotFoundError:
        return
    try:
        path.write_bytes(onnx.load(path).SerializeToString())
    except Exception as error:
        raise Failure(REFUSED, f"{path.name} is no ONNX model: {error}") from error


def _signature(description: Mapping[str, Any]) -> dict[str, Any]:
    """The columns, as far as they are named; tensors tell none."""
    told = description.get("signature") or {}
    columns = {side: json.loads(told.get(side) or "[]") for side in ("inputs", "outputs")}
    found = {side: [_column(one) for one in columns[side] if one.get("name") and one["type"] in _TYPES] for side in columns}
    if not found["inputs"] or len(found["inputs"]) < len(columns["inputs"]):
        return {"signature": {}, "features": []}
    return {"signature": {**found, "targets": []}, "features": [column["name"] for column in found["inputs"]]}


def _column(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": told["name"], "type": _TYPES[told["type"]], "nullable": not told.get("required", True)}


def _run(version: Any) -> dict[str, Any]:
    """What the run that made a version knows; it may have been deleted."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    trained = {"trained_at": int(version.creation_timestamp) / 1000, "metrics": {}}
    if not version.run_id:
        return trained
    try:
        run = MlflowClient().get_run(version.run_id)
    except MlflowException:
        return trained
    return {"trained_at": int(run.info.end_time or version.creation_timestamp) / 1000, "metrics": dict(run.data.metrics)}


_ASKED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"resolve": _resolve, "fetch": _fetch}

if __name__ == "__main__":
    main()
