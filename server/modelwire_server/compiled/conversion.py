"""From methods of scikit-learn's estimators to ONNX graphs, by means of skl2onnx."""

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .layouts import MATRIX, Layout, NotSupported, Reader, layouts_of
from .places import Place
from .stand_ins import FORMS, Graph, open_session

# One version for all, so that equal models make equal files.
OPSETS = {"": 18, "ai.onnx.ml": 3}
# How far numbers may be from what the estimator says, relative to their size where that is above 1.
TOLERANCE = 1e-5


def is_installed() -> bool:
    """Whether there is what a conversion needs, the extra `onnx`."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "skl2onnx"))


def preload() -> None:
    """Imports what a conversion needs, which takes more than a second."""
    import onnxruntime  # noqa: F401
    import skl2onnx  # noqa: F401


def convert(place: Place, estimator: Any, method: str, rows: Any, expected: Any) -> Graph:
    """The method as a graph that gives what is expected for these rows. Raises NotSupported with the reason if there is none."""
    expected = np.asarray(expected)
    why = ""
    for layout in layouts_of(rows):
        try:
            return _convert(Graph(place, method, layout, "", str(expected.dtype), b""), estimator, rows, expected)
        except MemoryError:
            raise
        except Exception as error:
            # Anything may come out of a converter, and the first layout is the one that should have worked.
            why = why or f"{type(estimator).__name__}.{method} cannot be converted: {_short(error)}"
    raise NotSupported(why)


def _convert(wanted: Graph, estimator: Any, rows: Any, expected: Any) -> Graph:
    feeds = Reader(wanted.layout)(rows)
    if feeds is None:
        raise NotSupported("the rows have missing values")
    proto = _onnx_of(estimator, wanted)
    outputs = open_session(proto.SerializeToString()).run(None, feeds)
    best = np.inf
    for description, output in zip(proto.graph.output, outputs, strict=True):
        for form, shaped in FORMS.items():
            found = shaped(output) if form == "same" or getattr(output, "ndim", 0) == 2 else output
            difference = differs(expected, found)
            if difference <= TOLERANCE:
                return _graph(wanted, proto, description.name, form)
            best = min(best, difference)
    raise NotSupported(f"what it computes differs by {best:g}")


def differs(expected: Any, found: Any) -> float:
    """How far numbers are from each other at most; infinite where the shapes differ, or values that are no floats."""
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape:
        return np.inf
    if expected.dtype.kind != "f" or found.dtype.kind != "f":
        return 0.0 if expected.dtype.kind != "f" and bool((expected == found).all()) else np.inf
    with np.errstate(invalid="ignore"):
        distances = np.abs(expected - found) / np.maximum(1.0, np.abs(expected))
    distances[(expected == found) | (np.isnan(expected) & np.isnan(found))] = 0.0
    # What is no number on one side only is no distance either.
    return float(np.max(np.nan_to_num(distances, nan=np.inf), initial=0.0))


def _onnx_of(estimator: Any, wanted: Graph) -> Any:
    import skl2onnx

    with _plain_attributes(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proto = skl2onnx.convert_sklearn(
            estimator,
            initial_types=_types(wanted.layout),
            options=_options(estimator, wanted.method),
            target_opset=OPSETS,
        )
    _correct_trees(proto)
    return proto


def _correct_trees(proto: Any) -> None:
    """Trees of scikit-learn round what they are given to 32 bits before they compare, and those of ONNX return 32 bits whatever they are
    given: skl2onnx knows neither."""
    from onnx import TensorProto, helper

    nodes = list(proto.graph.node)
    trees = [node for node in nodes if node.op_type.startswith("TreeEnsemble")]
    for number, tree in enumerate(trees):
        rounded = f"{tree.input[0]} in 32 bits for tree {number}"
        nodes.insert(nodes.index(tree), helper.make_node("Cast", [tree.input[0]], [rounded], name=rounded, to=TensorProto.FLOAT))
        tree.input[0] = rounded
    returned = {name for tree in trees for name in tree.output}
    for value in (*proto.graph.output, *proto.graph.value_info):
        if value.name in returned and value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _options(estimator: Any, method: str) -> dict[int, dict[str, bool]]:
    """Classifiers are to return matrices, and what they decide by where that is asked for."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    if not hasattr(last, "classes_"):
        return {}
    return {id(last): {"zipmap": False, **({"raw_scores": True} if method == "decision_function" else {})}}


def _types(layout: Layout) -> list[tuple[str, Any]]:
    from skl2onnx.common import data_types

    types = {
        "double": data_types.DoubleTensorType,
        "float": data_types.FloatTensorType,
        "int64": data_types.Int64TensorType,
        "text": data_types.StringTensorType,
    }
    if layout.kind:
        return [(MATRIX, types[layout.kind]([None, layout.width]))]
    return [(name, types[kind]([None, 1])) for name, kind in zip(layout.names or (), layout.kinds, strict=True)]


@contextmanager
def _plain_attributes() -> Iterator[None]:
    """skl2onnx writes numpy's booleans and numbers into attributes of nodes; protobuf 7 takes only Python's own."""
    from onnx import helper

    original = helper.make_attribute

    def make_attribute(key: str, value: Any, *more: Any, **options: Any) -> Any:
        return original(key, _plain(value), *more, **options)

    helper.make_attribute = make_attribute
    try:
        yield
    finally:
        helper.make_attribute = original


def _plain(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _graph(wanted: Graph, proto: Any, output: str, form: str) -> Graph:
    """The part of the graph that computes one output, with a note of what it is."""
    from onnx import helper
    from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

    part = select_model_inputs_outputs(proto, outputs=[output]) if len(proto.graph.output) > 1 else proto
    graph = Graph(wanted.place, wanted.method, wanted.layout, form, wanted.dtype, b"")
    helper.set_model_props(part, graph.note)
    return Graph(graph.place, graph.method, graph.layout, form, graph.dtype, part.SerializeToString())


def _short(error: Exception) -> str:
    """The first line of what went wrong: converters tell all they know."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"
