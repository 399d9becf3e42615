"""Models that were made elsewhere, and files that are out for harm."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import skl2onnx
import skops.io
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

IRIS, SPECIES = load_iris(return_X_y=True, as_frame=True)
IRIS.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, SPECIES)


def as_skops(model: Any) -> bytes:
    content: bytes = skops.io.dumps(model)
    return content


def as_onnx(model: Any, *, columns: Mapping[str, Any] | None = None, zipmap: bool = False, width: int = 4) -> bytes:
    """A graph that takes one matrix, or with `columns` an input for each."""
    kinds = skl2onnx.common.data_types
    types = (
        [(name, kind([None, 1])) for name, kind in columns.items()] if columns else [("X", kinds.FloatTensorType([None, width]))]
    )
    options = {} if zipmap or not hasattr(model, "classes_") else {"zipmap": False}
    proto = skl2onnx.convert_sklearn(model, initial_types=types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    content: bytes = proto.SerializeToString()
    return content


@dataclass(frozen=True)
class Touch:
    """An object that touches a file when it is unpickled."""

    path: str

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@dataclass(frozen=True)
class Canary:
    """A file that is there once somebody has run what a stranger wrote."""

    path: Path

    @property
    def is_dead(self) -> bool:
        return self.path.exists()

    def pickled(self, protocol: int = 5) -> bytes:
        return pickle.dumps(Touch(str(self.path)), protocol=protocol)

    def predicting(self) -> bytes:
        """A pickle that touches the file, and is a model."""

        class Model:
            def __init__(self, touched: object) -> None:
                self.touched = touched

            def predict(self, rows: pd.DataFrame) -> Any:
                return np.zeros(len(rows))

        return cloudpickle.dumps(Model(Touch(str(self.path))))  # type: ignore[no-any-return]

    def disguises(self) -> dict[str, bytes]:
        """Files that run the canary's code if anybody unpickles them, or makes what they name, by what they look like."""
        plain, command = self.pickled(), f"touch {self.path}"
        return {
            **{f"pickle of protocol {protocol}": self.pickled(protocol) for protocol in range(6)},
            "cloudpickle": self.predicting(),
            "zlib": zlib.compress(plain),
            "gzip": gzip.compress(plain),
            "bzip2": bz2.compress(plain),
            "xz": lzma.compress(plain),
            "lzma": lzma.compress(plain, format=lzma.FORMAT_ALONE),
            "zip with a pickle": zipped({"archive/data.pkl": plain, "archive/version": b"3"}),
            "npz with a pickle": _saved(np.savez, model=np.array([Touch(str(self.path))], dtype=object)),
            "npy with a pickle": _saved(np.save, np.array([Touch(str(self.path))], dtype=object)),
            "pickle before a skops file": plain + as_skops(classifier()),
            "skops with a pickle in it": zipped({"schema.json": json.dumps(_array_of("a.npy")).encode(), "a.npy": plain}),
            "skops with an array of objects": zipped(
                {
                    "schema.json": json.dumps(_array_of("a.npy")).encode(),
                    "a.npy": _saved(np.save, np.array([Touch(str(self.path))], dtype=object)),
                }
            ),
            "skops with os.system": zipped({"schema.json": json.dumps(_call("posix", "system", command)).encode()}),
            "skops with eval": zipped(
                {"schema.json": json.dumps(_call("builtins", "eval", f"open({str(self.path)!r}, 'w')")).encode()}
            ),
            "skops with a type by reduce": zipped({"schema.json": json.dumps(_reduced(command)).encode()}),
            "skops with a method": zipped({"schema.json": json.dumps(_method(str(self.path))).encode()}),
            "skops with an operator": zipped({"schema.json": json.dumps(_operator(command)).encode()}),
            "pickle called onnx": b"\x08\x08" + plain,
            "onnx and a pickle": as_onnx(classifier()) + plain,
            "safetensors and a pickle": struct.pack("<Q", 2) + b"{}" + plain,
            "safetensors of bytes": _tensors(plain),
        }


def zipped(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def _saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    content = io.BytesIO()
    save(content, *arrays, **named)
    return content.getvalue()


def _tensors(data: bytes) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


_NUMBERS = itertools.count(1)
_KNOWN = {"protocol": 2, "_skops_version": "0.16.0"}


def _node(module: str, name: str, loader: str, **more: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": next(_NUMBERS), **more}


def _text(value: str) -> dict[str, Any]:
    return _node("builtins", "str", "JsonNode", content=json.dumps(value), is_json=True)


def _tuple(*values: dict[str, Any]) -> dict[str, Any]:
    return _node("builtins", "tuple", "TupleNode", content=list(values))


def _dict(**values: Any) -> dict[str, Any]:
    keys = _node("builtins", "list", "ListNode", content=[_node("builtins", "type", "TypeNode")])
    return _node("builtins", "dict", "DictNode", content=values, key_types=keys)


def _array_of(file: str) -> dict[str, Any]:
    return {**_node("numpy", "ndarray", "NdArrayNode", type="numpy", file=file), **_KNOWN}


def _call(module: str, name: str, argument: str) -> dict[str, Any]:
    """functools.partial, of something that is called once it is made."""
    content = {
        "func": _node(module, name, "FunctionNode", content={}),
        "args": _tuple(_text(argument)),
        "kwds": _dict(),
        "namespace": _dict(),
    }
    return {**_node("functools", "partial", "PartialNode", content=content), **_KNOWN}


def _reduced(argument: str) -> dict[str, Any]:
    known = {"__reduce__": {"args": _tuple(_text(argument))}, "content": _dict(), "constructor": "system"}
    return {**_node("posix", "system", "ReduceNode", **known), **_node("posix", "system", "LossNode", **known), **_KNOWN}


def _method(path: str) -> dict[str, Any]:
    holder = _node("pathlib", "PosixPath", "ObjectNode", content=_dict(path=_text(path)))
    return {**_node("pathlib", "PosixPath", "MethodNode", content={"func": "touch", "obj": holder}), **_KNOWN}


def _operator(command: str) -> dict[str, Any]:
    return {**_node("posix", "system", "OperatorFuncNode", attrs=_tuple(_text(command))), **_KNOWN}


def with_outside_data(path: str) -> bytes:
    """A graph whose numbers are in another file, which is to be read on the machine of whoever loads it."""
    weights = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[4, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", path), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    return _graph([weights])


def with_hidden_outside_data(path: str) -> bytes:
    """The same within an attribute of a node."""
    weights = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[4, 1], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=path)
    return _graph([], helper.make_node("Constant", [], ["W"], value=weights))


def _graph(weights: list[Any], *nodes: Any) -> bytes:
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "outside",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1])],
        initializer=weights,
    )
    content: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    return content


def linear_graph(weights: list[float], **notes: str) -> bytes:
    """A graph that weighs its columns and adds them up."""
    numbers = helper.make_tensor("W", TensorProto.FLOAT, [len(weights), 1], weights)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "sum",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1])],
        initializer=[numbers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, notes)
    content: bytes = model.SerializeToString()
    return content
