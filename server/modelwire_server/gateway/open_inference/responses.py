"""Messages become bodies of responses."""

from math import prod
from typing import Any

import orjson
from google.protobuf.message import Message
from starlette.responses import Response

from ...protocols.open_inference.options import parameters_of
from ...protocols.open_inference.v2 import open_inference_pb2 as pb
from ..exchange import JSON
from .requests import BINARY_SIZE, HEADER_LENGTH, Asked
from .values import listed

OCTETS = "application/octet-stream"


def document(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type=JSON)


def plain(message: Message) -> dict[str, Any]:
    """All fields of a message, also those that are not set; numbers as numbers, enums by name."""
    return {field.name: _plain(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _plain(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_single(field, one) for one in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return plain(value) if field.message_type is not None else value


def predictions(answer: pb.ModelInferResponse, asked: Asked) -> Response:
    """The tensors, each as JSON or, where that is wanted, as bytes after it. Raises Refused."""
    outputs, raws = [], []
    for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        shape = list(tensor.shape)
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
        if asked.binary.get(tensor.name, asked.all_binary):
            output["parameters"] = {BINARY_SIZE: len(raw)}
            raws.append(raw)
        else:
            output["data"] = listed(tensor.name, tensor.datatype, raw, prod(shape))
        outputs.append(output)
    header: dict[str, Any] = {"model_name": answer.model_name, "model_version": answer.model_version}
    if answer.id:
        header["id"] = answer.id
    header |= {"parameters": parameters_of(answer.parameters), "outputs": outputs}
    if not raws:
        return document(header)
    text = orjson.dumps(header, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(b"".join((text, *raws)), headers={HEADER_LENGTH: str(len(text))}, media_type=OCTETS)
