"""Requests and answers of the Open Inference Protocol, one tensor each way."""

import numpy as np

from . import wire

INFER = "/inference.GRPCInferenceService/ModelInfer"
# The fields of InferTensorContents, by datatype.
LISTS = {"INT32": 2, "INT64": 3, "FP64": 7}
TYPES = {"INT32": "<i4", "INT64": "<i8", "FP64": "<f8", "FP32": "<f4"}


def request(model: str, tensor: str, rows: np.ndarray) -> bytes:
    """Asks a model about rows of doubles."""
    described = wire.field(1, tensor) + wire.field(2, "FP64") + wire.packed(3, rows.shape)
    return wire.field(1, model) + wire.field(5, described) + wire.field(7, rows.astype("<f8").tobytes())


def predictions(answer: bytes) -> list[int]:
    """The values of the one tensor of an answer, which are classes."""
    fields = wire.parse(answer)
    (described,) = fields[5]
    assert isinstance(described, bytes)
    tensor = wire.parse(described)
    (kind,) = tensor[2]
    assert isinstance(kind, bytes)
    datatype = kind.decode()
    if 6 in fields:
        (content,) = fields[6]
        assert isinstance(content, bytes)
        return [int(value) for value in np.frombuffer(content, TYPES[datatype])]
    (contents,) = tensor[5]
    assert isinstance(contents, bytes)
    values = wire.parse(contents)[LISTS[datatype]]
    return wire.integers(values) if datatype.startswith("INT") else [int(value) for value in wire.doubles(values)]
