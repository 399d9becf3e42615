"""Tensors as a client of the protocol sends them."""

from typing import Any

import numpy as np

from modelwire_server.protocols.open_inference.byte_strings import pack
from modelwire_server.protocols.open_inference.datatypes import DATATYPES
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb

NUMBERS = {name: datatype.dtype for name, datatype in DATATYPES.items() if datatype.dtype is not None}


def request(raw: bool = True, **tensors: Any) -> pb.ModelInferRequest:
    """A tensor for each name: a numpy array, whose datatype follows from its own, or an array of bytes objects."""
    message = pb.ModelInferRequest()
    for name, array in tensors.items():
        add(message, name, np.asarray(array), raw=raw)
    return message


def add(message: pb.ModelInferRequest, name: str, array: "np.ndarray[Any, Any]", *, raw: bool = True) -> Any:
    datatype = datatype_of(array)
    tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
    if raw:
        message.raw_input_contents.append(raw_of(array))
    else:
        getattr(tensor.contents, DATATYPES[datatype].contents).extend(array.flatten().tolist())
    return tensor


def datatype_of(array: "np.ndarray[Any, Any]") -> str:
    return next((name for name, dtype in NUMBERS.items() if dtype == array.dtype), "BYTES")


def raw_of(array: "np.ndarray[Any, Any]") -> bytes:
    return pack(array.flatten().tolist()) if array.dtype == object else array.tobytes()
